//! Loading objects into an API: from files, folders and standard input, or made by this program.

use anyhow::{Context as _, bail};
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::discovery::{ApiCapabilities, Scope, pinned_kind};
use serde_json::Value;
use std::collections::HashMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
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
    if source == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
        return parse(&text, "standard input");
    }
    let mut manifests = Vec::new();
    for file in files(source)? {
        let text =
            std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        manifests.extend(parse(&text, &file.display().to_string())?);
    }
    Ok(manifests)
}

fn files(source: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !source.is_dir() {
        return Ok(vec![source.to_owned()]);
    }
    let manifest = |path: &Path| {
        matches!(path.extension().and_then(|extension| extension.to_str()), Some("yaml" | "yml" | "json"))
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(source).with_context(|| format!("cannot read {}", source.display()))? {
        let path = entry?.path();
        if manifest(&path) {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        bail!("{} holds no .yaml, .yml or .json files", source.display());
    }
    Ok(files)
}

/// Reads a text of one or more documents; lists are taken apart.
pub fn parse(text: &str, name: &str) -> anyhow::Result<Vec<Manifest>> {
    let mut manifests = Vec::new();
    for (line, document) in documents(text) {
        let value: Value = serde_saphyr::from_str(&document).map_err(|error| {
            let at = error.location().map_or(line, |location| line + location.line() as usize - 1);
            anyhow::anyhow!("{name}:{at}: {error}")
        })?;
        // The line a person looks for is that of the first word, not of the separator.
        let blank = document
            .lines()
            .take_while(|text| text.trim().is_empty() || text.trim().starts_with('#'))
            .count();
        let origin = format!("{name}:{}", line + blank);
        match value {
            Value::Null => {}
            Value::Object(fields) if fields.get("items").is_some_and(Value::is_array) => {
                let items = fields.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
                manifests.extend(items.into_iter().map(|object| Manifest { object, origin: origin.clone() }));
            }
            Value::Object(_) => manifests.push(Manifest { object: value, origin }),
            _ => bail!("{origin}: this is not a Kubernetes object"),
        }
    }
    Ok(manifests)
}

/// The documents of a text with the line each begins at, counted from one.
fn documents(text: &str) -> Vec<(usize, String)> {
    let mut documents = vec![(1, String::new())];
    for (index, line) in text.lines().enumerate() {
        if line == "---" || line.starts_with("--- ") {
            documents.push((index + 2, String::new()));
        } else if let Some((_, document)) = documents.last_mut() {
            document.push_str(line);
            document.push('\n');
        }
    }
    let empty =
        |document: &str| document.lines().all(|line| line.trim().is_empty() || line.trim().starts_with('#'));
    documents.retain(|(_, document)| !empty(document));
    documents
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
