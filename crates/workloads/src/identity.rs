//! Who this process is: what its pod's environment and files say.

use std::collections::BTreeMap;
use std::path::Path;

/// Where the downward API puts the pod's labels, by custom and by sidecar injection.
const LABEL_FILES: [&str; 2] = ["/etc/podinfo/labels", "/etc/istio/pod/labels"];
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// The pod an application runs in; empty where it is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    pub pod: String,
    pub namespace: String,
    /// The label `version`, the environment variable `VERSION`, or the tag of the stood-in image.
    pub version: String,
}

impl Identity {
    /// Reads this process' environment and files.
    pub fn of_this_process() -> Self {
        Self::read(|name| std::env::var(name).ok(), |path| std::fs::read_to_string(path).ok())
    }

    /// The same from any source of variables and files.
    fn read(variable: impl Fn(&str) -> Option<String>, file: impl Fn(&Path) -> Option<String>) -> Self {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let label_version = || {
            let texts = LABEL_FILES.iter().filter_map(|path| file(Path::new(path)));
            texts.map(|text| parse_labels(&text)).find_map(|mut labels| labels.remove("version"))
        };
        Self {
            pod: variable("POD_NAME").or_else(|| variable("HOSTNAME")).unwrap_or_default(),
            namespace: variable("POD_NAMESPACE")
                .or_else(|| file(Path::new(NAMESPACE_FILE)).map(|text| text.trim().to_owned()))
                .unwrap_or_default(),
            version: variable("VERSION")
                .or_else(label_version)
                .or_else(|| variable("MIZZEN_ECHO_IMAGE").and_then(|image| tag(&image)))
                .unwrap_or_default(),
        }
    }
}

/// Lines of `name="value"`, with Go's escapes of the quoted text (downward API).
fn parse_labels(text: &str) -> BTreeMap<String, String> {
    let line = |line: &str| {
        let (name, value) = line.split_once('=')?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| value.trim_matches('"').to_owned());
        Some((name.trim().to_owned(), value))
    };
    text.lines().filter_map(line).collect()
}

/// The tag of an image name, without registry port and digest.
fn tag(image: &str) -> Option<String> {
    let name = image.split('@').next()?.rsplit('/').next()?;
    name.split_once(':').map(|(_, tag)| tag.to_owned())
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;
