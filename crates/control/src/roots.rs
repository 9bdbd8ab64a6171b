//! ConfigMap `istio-ca-root-cert` in every namespace: how proxies know whom to trust before they
//! have a certificate of their own. And the same roots in the webhook configurations.

use crate::push::Mesh;
use futures::StreamExt;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::watcher;
use kube::{Client, ResourceExt};
use mizzen_registry::Observed;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Source: Istio, `CACertNamespaceConfigMap`.
const NAME: &str = "istio-ca-root-cert";
const KEY: &str = "root-cert.pem";
const LABEL: &str = "istio.io/config";
/// Pause before what failed is tried again.
const RETRY: Duration = Duration::from_secs(2);
/// Webhook configurations of these names are ours to complete. Source: Istio.
const INJECTOR: &str = "istio-sidecar-injector";
const VALIDATOR: &str = "istio-validator";

/// Keeps the ConfigMap in all namespaces, for ever. New namespaces get theirs at once.
pub(crate) async fn distribute(client: Client, mesh: Arc<Mesh>, mut roots: watch::Receiver<Arc<str>>) {
    let only = watcher::Config::default().fields(&format!("metadata.name={NAME}"));
    let mut maps = mizzen_registry::watch("ConfigMap", Api::<ConfigMap>::all(client.clone()), only).boxed();
    let mut snapshots = mesh.watch();
    // What each namespace has, as far as is known.
    let mut present: BTreeMap<String, String> = BTreeMap::new();
    let mut complete = false;
    loop {
        let root = roots.borrow_and_update().clone();
        let namespaces: BTreeSet<String> =
            mesh.snapshot().namespaces().map(|namespace| namespace.name.clone()).collect();
        present.retain(|namespace, _| namespaces.contains(namespace));
        let mut failed = false;
        // Before the first list is in, nearly everything would be written again for nothing.
        for namespace in namespaces.iter().filter(|_| complete) {
            if present.get(namespace).is_some_and(|text| **text == *root) {
                continue;
            }
            match write(&client, namespace, &root).await {
                Ok(()) => {
                    present.insert(namespace.clone(), root.to_string());
                }
                Err(error) => {
                    tracing::debug!(
                        "ConfigMap {NAME} in namespace {namespace} not written, trying again: {error}"
                    );
                    failed = true;
                }
            }
        }
        tokio::select! {
            observed = maps.next() => match observed {
                Some(Observed::Present(map)) => {
                    let text = map.data.as_ref().and_then(|data| data.get(KEY)).cloned();
                    present.insert(map.namespace().unwrap_or_default(), text.unwrap_or_default());
                }
                Some(Observed::Gone { namespace, .. }) => {
                    present.remove(&namespace);
                }
                Some(Observed::Complete) => complete = true,
                None => return,
            },
            changed = snapshots.changed() => if changed.is_err() { return },
            changed = roots.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(RETRY), if failed => {}
        }
    }
}

async fn write(client: &Client, namespace: &str, root: &str) -> Result<(), kube::Error> {
    let api = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    let labels = [(LABEL.to_owned(), "true".to_owned())].into();
    let map = ConfigMap {
        metadata: ObjectMeta { name: Some(NAME.to_owned()), labels: Some(labels), ..ObjectMeta::default() },
        data: Some([(KEY.to_owned(), root.to_owned())].into()),
        ..ConfigMap::default()
    };
    match api.create(&PostParams::default(), &map).await {
        Err(kube::Error::Api(status)) if status.code == 409 => {
            let patch = Patch::Merge(json!({"data": {KEY: root}}));
            api.patch(NAME, &PatchParams::default(), &patch).await.map(drop)
        }
        other => other.map(drop),
    }
}

/// Keeps `caBundle` of our webhook configurations, for ever.
pub(crate) async fn complete_webhooks(client: Client, mut roots: watch::Receiver<Arc<str>>) {
    let mutating = Api::<MutatingWebhookConfiguration>::all(client.clone());
    let validating = Api::<ValidatingWebhookConfiguration>::all(client.clone());
    let all = watcher::Config::default();
    let mut mutating_events =
        mizzen_registry::watch("MutatingWebhookConfiguration", mutating, all.clone()).boxed();
    let mut validating_events =
        mizzen_registry::watch("ValidatingWebhookConfiguration", validating, all).boxed();
    // What each configuration's webhooks have now.
    let mut injectors: BTreeMap<String, Vec<Option<Vec<u8>>>> = BTreeMap::new();
    let mut validators: BTreeMap<String, Vec<Option<Vec<u8>>>> = BTreeMap::new();
    loop {
        let root = roots.borrow_and_update().clone();
        let mut failed = false;
        for (name, bundles) in injectors.iter_mut() {
            failed |= !complete::<MutatingWebhookConfiguration>(&client, name, bundles, &root).await;
        }
        for (name, bundles) in validators.iter_mut() {
            failed |= !complete::<ValidatingWebhookConfiguration>(&client, name, bundles, &root).await;
        }
        tokio::select! {
            observed = mutating_events.next() => match observed {
                Some(Observed::Present(object)) if object.name_any().starts_with(INJECTOR) => {
                    let configs = object.webhooks.iter().flatten().map(|webhook| &webhook.client_config);
                    injectors.insert(object.name_any(), bundles(configs));
                }
                Some(Observed::Gone { name, .. }) => drop(injectors.remove(&name)),
                Some(_) => {}
                None => return,
            },
            observed = validating_events.next() => match observed {
                Some(Observed::Present(object)) if object.name_any().starts_with(VALIDATOR) => {
                    let configs = object.webhooks.iter().flatten().map(|webhook| &webhook.client_config);
                    validators.insert(object.name_any(), bundles(configs));
                }
                Some(Observed::Gone { name, .. }) => drop(validators.remove(&name)),
                Some(_) => {}
                None => return,
            },
            changed = roots.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(RETRY), if failed => {}
        }
    }
}

fn bundles<'a>(configs: impl Iterator<Item = &'a WebhookClientConfig>) -> Vec<Option<Vec<u8>>> {
    configs.map(|config| config.ca_bundle.as_ref().map(|bundle| bundle.0.clone())).collect()
}

/// Patches one configuration if it needs it. Returns whether it is as it should be.
async fn complete<K>(client: &Client, name: &str, bundles: &mut [Option<Vec<u8>>], root: &str) -> bool
where
    K: kube::Resource<DynamicType = ()>,
{
    let Some(patch) = bundle_patch(bundles, root) else { return true };
    match send(client, format!("{}/{name}", K::url_path(&(), None)), &patch).await {
        Ok(()) => {
            tracing::info!("webhook configuration {name} now trusts the mesh's root");
            bundles.iter_mut().for_each(|bundle| *bundle = Some(root.as_bytes().to_vec()));
            true
        }
        Err(error) => {
            tracing::warn!("webhook configuration {name} cannot be given the mesh's root: {error}");
            false
        }
    }
}

async fn send(client: &Client, path: String, patch: &serde_json::Value) -> Result<(), kube::Error> {
    let request = http::Request::patch(path)
        .header(http::header::CONTENT_TYPE, "application/json-patch+json")
        .body(patch.to_string().into_bytes())
        .map_err(kube::Error::HttpError)?;
    client.request::<serde_json::Value>(request).await.map(drop)
}

/// The JSON patch that puts `root` where it is missing.
fn bundle_patch(bundles: &[Option<Vec<u8>>], root: &str) -> Option<serde_json::Value> {
    use base64::Engine;
    let encoded = base64::engine::general_purpose::STANDARD.encode(root);
    let operations: Vec<_> = bundles
        .iter()
        .enumerate()
        .filter(|(_, bundle)| bundle.as_deref() != Some(root.as_bytes()))
        .map(|(index, _)| {
            json!({"op": "add", "path": format!("/webhooks/{index}/clientConfig/caBundle"), "value": encoded})
        })
        .collect();
    (!operations.is_empty()).then_some(serde_json::Value::Array(operations))
}

#[cfg(test)]
#[path = "roots_tests.rs"]
mod tests;
