//! Loading objects into an API: from files, folders and standard input, or made by this program.

use crate::manifests;
use anyhow::{Context as _, bail};
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::discovery::{ApiCapabilities, Scope, pinned_kind};
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

/// The field manager of what is applied.
const MANAGER: &str = "mizzen";
/// How long a kind may take to be served after its definition was applied.
const PATIENCE: Duration = Duration::from_secs(10);

/// An object and where it was read.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The object.
    pub object: Value,
    /// `file.yaml:12`, or who made it.
    pub origin: String,
}

/// Reads a file, all manifests of a folder in order of their names, or `-`.
pub fn read(source: &Path) -> anyhow::Result<Vec<Manifest>> {
    let files = if source.is_dir() {
        manifests::files(&[source.to_owned()], false)?
    } else {
        // What is named is read whatever its name ends in, pipes among it.
        vec![source.to_owned()]
    };
    if files.is_empty() {
        bail!("{} holds no .yaml, .yml or .json files", source.display());
    }
    let mut objects = Vec::new();
    for file in files {
        for manifest in manifests::read(&file)? {
            objects.extend(taken_apart(manifest)?);
        }
    }
    Ok(objects)
}

/// Reads a text of one or more documents.
pub fn parse(name: &str, text: &str) -> anyhow::Result<Vec<Manifest>> {
    let documents = manifests::parse(name, text)?;
    let objects: Vec<_> = documents.into_iter().map(taken_apart).collect::<Result<_, _>>()?;
    Ok(objects.into_iter().flatten().collect())
}

/// The objects of a document: itself, or those of the list it is.
fn taken_apart(document: mizzen_analysis::Manifest) -> anyhow::Result<Vec<Manifest>> {
    let place = document.origin.place("");
    let origin = format!("{}:{}", place.file, place.line);
    match document.value {
        Value::Object(fields) => match fields.get("items") {
            Some(Value::Array(items)) => Ok(items
                .iter()
                .map(|object| Manifest { object: object.clone(), origin: origin.clone() })
                .collect()),
            _ => Ok(vec![Manifest { object: Value::Object(fields), origin }]),
        },
        _ => bail!("{origin}: this is not a Kubernetes object"),
    }
}

/// Applies objects in their order.
pub struct Applier {
    client: kube::Client,
    kinds: HashMap<GroupVersionKind, (ApiResource, ApiCapabilities)>,
}

impl Applier {
    /// Applies through a client.
    pub fn new(client: kube::Client) -> Self {
        Self { client, kinds: HashMap::new() }
    }

    /// Creates or updates the object (server-side apply). Errors name where it came from and what it is.
    pub async fn apply(&mut self, manifest: &Manifest) -> anyhow::Result<()> {
        let name = described(&manifest.object);
        self.apply_object(&manifest.object).await.with_context(|| format!("{}: {name}", manifest.origin))
    }

    async fn apply_object(&mut self, object: &Value) -> anyhow::Result<()> {
        let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let (version, kind) = (text("/apiVersion"), text("/kind"));
        if version.is_empty() || kind.is_empty() {
            bail!("apiVersion and kind must be set");
        }
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let (resource, capabilities) = self.kind(GroupVersionKind::gvk(group, version, kind)).await?;
        let api: Api<DynamicObject> = match capabilities.scope {
            Scope::Cluster => Api::all_with(self.client.clone(), &resource),
            Scope::Namespaced => {
                let namespace = Some(text("/metadata/namespace")).filter(|namespace| !namespace.is_empty());
                Api::namespaced_with(self.client.clone(), namespace.unwrap_or("default"), &resource)
            }
        };
        let name = text("/metadata/name");
        if name.is_empty() {
            if text("/metadata/generateName").is_empty() {
                bail!("metadata.name must be set");
            }
            let object = serde_json::from_value(object.clone())?;
            api.create(&PostParams::default(), &object).await.map_err(plain)?;
            return Ok(());
        }
        api.patch(name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(object)).await.map_err(plain)?;
        Ok(())
    }

    async fn kind(&mut self, kind: GroupVersionKind) -> anyhow::Result<(ApiResource, ApiCapabilities)> {
        if let Some(known) = self.kinds.get(&kind) {
            return Ok(known.clone());
        }
        let asked = std::time::Instant::now();
        loop {
            match pinned_kind(&self.client, &kind).await {
                Ok(found) => {
                    self.kinds.insert(kind, found.clone());
                    return Ok(found);
                }
                Err(_) if asked.elapsed() < PATIENCE && self.is_being_defined(&kind) => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(error) => {
                    return Err(plain(error)).with_context(|| {
                        let GroupVersionKind { group, version, kind } = &kind;
                        format!("the API has no kind {kind} in {group}/{version}")
                    });
                }
            }
        }
    }

    /// Whether a definition was applied that may be of this kind: then it is worth waiting.
    fn is_being_defined(&self, kind: &GroupVersionKind) -> bool {
        !kind.group.is_empty() && self.kinds.keys().any(|known| known.kind == "CustomResourceDefinition")
    }
}

/// The API's own words, without the client's wrapping.
fn plain(error: kube::Error) -> anyhow::Error {
    match error {
        kube::Error::Api(status) => anyhow::anyhow!("{}", status.message),
        other => other.into(),
    }
}

/// `Deployment shop/reviews`.
pub fn described(object: &Value) -> String {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str);
    let kind = text("/kind").unwrap_or("object");
    let name = text("/metadata/name").or_else(|| text("/metadata/generateName")).unwrap_or("without a name");
    match text("/metadata/namespace") {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}

#[cfg(test)]
#[path = "apply_tests.rs"]
mod tests;
