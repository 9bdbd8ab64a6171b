//! How a case is written.

use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The files of the table.
const FILES: [(&str, &str); 6] = [
    ("matching", include_str!("cases/matching.yaml")),
    ("actions", include_str!("cases/actions.yaml")),
    ("resilience", include_str!("cases/resilience.yaml")),
    ("destinations", include_str!("cases/destinations.yaml")),
    ("protocols", include_str!("cases/protocols.yaml")),
    ("security", include_str!("cases/security.yaml")),
];

/// A case: what is applied, what is called, and what is to come of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub name: String,
    /// Istio's resources.
    #[serde(default)]
    pub resources: Vec<Resource>,
    /// All of them have to come out as expected in one go.
    pub calls: Vec<Call>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resource {
    pub kind: String,
    /// `case` when absent.
    pub name: Option<String>,
    /// That of the column when absent.
    pub namespace: Option<String>,
    pub spec: Value,
}

/// One call, or several alike.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Call {
    /// Arguments of curl, as a shell reads them.
    pub curl: Option<String>,
    /// In place of curl: a shell script.
    pub shell: Option<String>,
    /// Whether the caller has no sidecar.
    #[serde(default)]
    pub stranger: bool,
    /// How often.
    #[serde(default = "once")]
    pub times: usize,
    /// The status of every answer; 0 where the connection fails.
    pub status: Option<u16>,
    /// The version that gives every answer.
    pub from: Option<String>,
    /// Shares of the answers by version, percent: at least and at most.
    pub shares: Option<BTreeMap<String, (usize, usize)>>,
    /// Whether one and the same pod gives all answers.
    #[serde(default)]
    pub sticky: bool,
    /// Headers of the answers; null for one that must be absent.
    #[serde(default)]
    pub headers: BTreeMap<String, Option<String>>,
    /// What the server says it received, by path into its description; null for what must be absent.
    #[serde(default)]
    pub received: BTreeMap<String, Option<String>>,
    /// The body of the answers.
    pub body: Option<String>,
    /// What the script prints.
    pub output: Option<String>,
    /// The flags in the client's access log, in any order.
    pub flags: Option<String>,
    /// The version that gets a copy.
    pub mirrored_to: Option<String>,
}

fn once() -> usize {
    1
}

/// The whole table for a namespace, for which `{ns}` stands in the files.
pub fn cases(namespace: &str) -> Vec<Case> {
    let read = |(file, text): &(&str, &str)| {
        let text = text.replace("{ns}", namespace);
        serde_saphyr::from_str::<Vec<Case>>(&text).unwrap_or_else(|error| panic!("{file}.yaml: {error}"))
    };
    FILES.iter().flat_map(read).collect()
}

impl Case {
    /// The manifest of its resources in a namespace. None where there are none.
    pub fn manifest(&self, namespace: &str) -> Option<String> {
        let objects = self.resources.iter().map(|resource| resource.object(namespace).to_string());
        let objects: Vec<String> = objects.collect();
        (!objects.is_empty()).then(|| objects.join("\n---\n"))
    }
}

impl Resource {
    fn object(&self, namespace: &str) -> Value {
        let group = match self.kind.as_str() {
            "PeerAuthentication" | "AuthorizationPolicy" | "RequestAuthentication" => "security",
            _ => "networking",
        };
        json!({
            "apiVersion": format!("{group}.istio.io/v1"), "kind": self.kind,
            "metadata": {
                "name": self.name.as_deref().unwrap_or("case"),
                "namespace": self.namespace.as_deref().unwrap_or(namespace)
            },
            "spec": self.spec
        })
    }
}
