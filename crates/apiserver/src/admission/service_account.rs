//! Pods run as a service account: the plugin that gives them one and mounts its token
//! (`plugin/pkg/admission/serviceaccount`).

use std::sync::Arc;

use serde_json::{Value, json};

use crate::api::Api;
use crate::error::ApiError;
use crate::lifecycle::furnish::ROOT_CERTIFICATE;
use crate::object::{self, at, items, set, text, text_or_empty};
use crate::resources::Resource;

/// Where containers find the token, the certificate and the namespace.
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Life of a projected token, in seconds; a kubelet renews it before.
const TOKEN_LIFE: i64 = 3607;

/// Gives a pod its account, its image pull secrets and the volume.
pub(crate) fn admit(api: &Api, resource: &Arc<Resource>, pod: &mut Value) -> Result<(), ApiError> {
    if !resource.is("", "pods") || !pod.get("spec").is_some_and(Value::is_object) {
        return Ok(());
    }
    let account = match text_or_empty(pod, &["spec", "serviceAccountName"]) {
        "" => "default",
        name => name,
    }
    .to_owned();
    let namespace = object::namespace(pod).to_owned();
    let name = object::name(pod).to_owned();
    let stored = api.store.get("/serviceaccounts", &namespace, &account).ok_or_else(|| {
        let why = format!(
            "error looking up service account {namespace}/{account}: serviceaccount {account:?} not found"
        );
        ApiError::forbidden(resource.named(&name), &why)
    })?;
    set(pod, &["spec", "serviceAccountName"], account.as_str());
    set(pod, &["spec", "serviceAccount"], account.as_str());
    let pull_secrets = items(&stored.object, &["imagePullSecrets"]);
    if items(pod, &["spec", "imagePullSecrets"]).is_empty() && !pull_secrets.is_empty() {
        set(pod, &["spec", "imagePullSecrets"], pull_secrets.to_vec());
    }
    let automount = at(pod, &["spec", "automountServiceAccountToken"])
        .or_else(|| at(&stored.object, &["automountServiceAccountToken"]))
        .and_then(Value::as_bool)
        .unwrap_or(true);
    if automount {
        mount(pod);
    }
    Ok(())
}

fn mount(pod: &mut Value) {
    let existing = items(pod, &["spec", "volumes"])
        .iter()
        .filter_map(|volume| text(volume, &["name"]))
        .find(|name| name.starts_with("kube-api-access-"))
        .map(str::to_owned);
    let volume = existing.clone().unwrap_or_else(|| {
        let id = uuid::Uuid::new_v4().simple().to_string();
        format!("kube-api-access-{}", id.get(..5).unwrap_or_default())
    });
    let mut mounted = false;
    for list in ["initContainers", "containers"] {
        crate::defaults::each(pod, &["spec", list], |container| {
            let has = items(container, &["volumeMounts"]).iter().any(|mount| {
                text(mount, &["mountPath"]).map(|path| path.trim_end_matches('/')) == Some(MOUNT_PATH)
            });
            if !has {
                let mut mounts = items(container, &["volumeMounts"]).to_vec();
                mounts.push(json!({"name": volume, "readOnly": true, "mountPath": MOUNT_PATH}));
                set(container, &["volumeMounts"], mounts);
                mounted = true;
            }
        });
    }
    if mounted && existing.is_none() {
        let mut volumes = items(pod, &["spec", "volumes"]).to_vec();
        volumes.push(json!({
            "name": volume,
            "projected": {
                "defaultMode": 0o644,
                "sources": [
                    {"serviceAccountToken": {"expirationSeconds": TOKEN_LIFE, "path": "token"}},
                    {"configMap": {"name": ROOT_CERTIFICATE, "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                    {"downwardAPI": {"items": [{
                        "path": "namespace",
                        "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
                    }]}},
                ],
            },
        }));
        set(pod, &["spec", "volumes"], volumes);
    }
}
