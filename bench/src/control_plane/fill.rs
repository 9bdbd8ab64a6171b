//! Fills an API with the objects of a mesh, and changes them.

use super::objects::{self, Size};
use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use indicatif::{ProgressBar, ProgressStyle};
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use std::ops::Range;
use std::path::Path;

/// Requests at a time.
const CONCURRENCY: usize = 64;

/// A client of the API that a kubeconfig leads to.
pub async fn client(kubeconfig: &Path) -> anyhow::Result<kube::Client> {
    let file = kube::config::Kubeconfig::read_from(kubeconfig)
        .with_context(|| format!("cannot use {}", kubeconfig.display()))?;
    let config =
        kube::Config::from_custom_kubeconfig(file, &kube::config::KubeConfigOptions::default()).await?;
    Ok(kube::Client::try_from(config)?)
}

/// Creates what a control plane needs before it starts, and the namespaces.
pub async fn prepare(client: &kube::Client, size: Size) -> anyhow::Result<()> {
    create(client, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "istio-system"}}))
        .await?;
    for definition in mizzen_api::custom_resource_definitions() {
        create(client, definition).await?;
    }
    create(client, objects::node()).await?;
    for object in size.namespaces().flat_map(|name| objects::namespace(&name)) {
        create(client, object).await?;
    }
    Ok(())
}

/// Creates the services of `range` with all that belongs to them.
pub async fn services(client: &kube::Client, size: Size, range: Range<usize>) -> anyhow::Result<()> {
    let progress = &progress(range.len(), "services created");
    stream::iter(range.map(|index| size.service(index).objects()))
        .map(|objects| async move {
            for object in objects {
                create(client, object).await?;
            }
            progress.inc(1);
            anyhow::Ok(())
        })
        .buffer_unordered(CONCURRENCY)
        .try_collect::<()>()
        .await?;
    progress.finish();
    Ok(())
}

/// Merges `patch` into an object of a namespace.
pub async fn patch(
    client: &kube::Client,
    (api_version, kind): (&str, &str),
    (namespace, name): (&str, &str),
    patch: Value,
) -> anyhow::Result<()> {
    let api: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), namespace, &resource(api_version, kind));
    api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
    Ok(())
}

async fn create(client: &kube::Client, object: Value) -> anyhow::Result<()> {
    let object: DynamicObject = serde_json::from_value(object)?;
    let types = object.types.clone().context("an object without a type")?;
    let resource = resource(&types.api_version, &types.kind);
    let api: Api<DynamicObject> = match &object.metadata.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    match api.create(&PostParams::default(), &object).await {
        // Of an earlier run, or made by the API itself.
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
        result => {
            let name = object.metadata.name.unwrap_or_default();
            result.map(drop).with_context(|| format!("cannot create {} {name}", types.kind))
        }
    }
}

fn resource(api_version: &str, kind: &str) -> ApiResource {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

/// A bar on a terminal, nothing elsewhere.
pub fn progress(length: usize, what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:24} {bar:40} {pos}/{len} {elapsed}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length as u64).with_style(style).with_message(what)
}
