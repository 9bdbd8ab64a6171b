//! Which files and volumes a container sees where. Volumes must have been made before.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, Pod, Volume, VolumeMount};

use super::context::PodContext;
use super::environment::expand;
use super::mounts::Bind;
use super::volumes::{self, VolumeError};

/// Where service-account credentials are expected.
pub const CREDENTIALS_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// The volume that holds them when nobody has asked for one.
pub const CREDENTIALS_VOLUME: &str = "kube-api-access";

/// Everything mounted into a container, outer paths before inner ones.
pub fn binds(
    context: &PodContext,
    pod: &Pod,
    container: &Container,
    environment: &BTreeMap<String, String>,
) -> Result<Vec<Bind>, VolumeError> {
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
    let mut binds: BTreeMap<PathBuf, Bind> = BTreeMap::new();
    let own = |name: &str| Bind {
        source: context.folder().join("etc").join(name),
        target: Path::new("/etc").join(name),
        read_only: false,
    };
    for bind in ["hosts", "resolv.conf", "hostname"].map(own) {
        binds.insert(bind.target.clone(), bind);
    }
    if wants_credentials(pod, container) {
        let bind = Bind {
            source: context.volume_folder(CREDENTIALS_VOLUME),
            target: PathBuf::from(CREDENTIALS_PATH),
            read_only: true,
        };
        binds.insert(bind.target.clone(), bind);
    }
    for mount in container.volume_mounts.iter().flatten() {
        let volume = volumes.iter().find(|volume| volume.name == mount.name);
        let volume = volume.ok_or_else(|| VolumeError::Unsupported(mount.name.clone()))?;
        let target = Path::new("/").join(&mount.mount_path);
        let source = source(context, volume, mount, environment)?;
        let read_only = mount.read_only == Some(true) || volumes::is_from_api(volume);
        binds.insert(target.clone(), Bind { source, target, read_only });
    }
    Ok(binds.into_values().collect())
}

/// Whether the kubelet gives the container its service account's credentials by itself.
fn wants_credentials(pod: &Pod, container: &Container) -> bool {
    let asked = container.volume_mounts.iter().flatten().any(|mount| mount.mount_path == CREDENTIALS_PATH);
    let refused = pod.spec.as_ref().and_then(|spec| spec.automount_service_account_token) == Some(false);
    !asked && !refused
}

/// Whether any container is given credentials by the kubelet.
pub fn any_wants_credentials(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let mut all = spec.init_containers.iter().flatten().chain(&spec.containers);
    all.any(|container| wants_credentials(pod, container))
}

/// The volume with a service account's credentials, as Kubernetes' admission would add it.
pub fn credentials_volume() -> Volume {
    let volume = serde_json::json!({
        "name": CREDENTIALS_VOLUME,
        "projected": {"sources": [
            {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}}
        ]}
    });
    // The value above is one; the fallback only keeps this free of panics.
    serde_json::from_value(volume).unwrap_or_default()
}

fn source(
    context: &PodContext,
    volume: &Volume,
    mount: &VolumeMount,
    environment: &BTreeMap<String, String>,
) -> Result<PathBuf, VolumeError> {
    let root = match &volume.host_path {
        Some(host) => volumes::host_path(host)?,
        None => context.volume_folder(&volume.name),
    };
    let expanded = mount.sub_path_expr.as_ref().map(|text| expand(text, environment));
    let Some(inner) = expanded.or_else(|| mount.sub_path.clone()).filter(|inner| !inner.is_empty()) else {
        return Ok(root);
    };
    let inside =
        Path::new(&inner).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if !inside {
        return Err(VolumeError::Path(inner));
    }
    let path = root.join(inner);
    if !path.exists() {
        std::fs::create_dir_all(&path).map_err(|source| VolumeError::Write { path: path.clone(), source })?;
    }
    Ok(path)
}
