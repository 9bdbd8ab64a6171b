//! What `analyze` reads from a live mesh: its objects, its configuration, and the sockets of its pods.

use crate::access::{Access, AccessOptions};
use anyhow::Context as _;
use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, AttachParams};
use mizzen_analysis::{ResourceName, Settings, World};
use mizzen_api::mesh::{MeshConfig, parse_mesh_config};
use mizzen_api::{Kind, Violation};
use mizzen_dashboard::cluster;
use serde_json::Value;
use std::net::SocketAddr;
use tokio::io::AsyncReadExt as _;

use super::sockets;

/// The label of what belongs to one revision of the control plane.
const REVISION: &str = "istio.io/rev";
/// Pods whose sockets are read at the same time.
const PODS_AT_ONCE: usize = 16;

/// A live mesh to read.
pub struct Live<'a> {
    /// How it is reached.
    pub access: &'a AccessOptions,
    /// The revision of the control plane; default: whichever there is.
    pub revision: Option<&'a str>,
    /// The mesh's configuration, where it is not to be that of the mesh.
    pub mesh: Option<&'a MeshConfig>,
    /// Whose sockets are read.
    pub sockets: Sockets,
}

/// The pods whose sockets are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sockets {
    /// None.
    Nobodys,
    /// Those of the namespace in use.
    OfNamespace,
    /// All.
    Everybodys,
}

/// The objects of a live mesh, and the namespace in use.
pub async fn read(live: &Live<'_>) -> anyhow::Result<(World, String)> {
    let access = live.access.connect().await?;
    let mesh = match live.mesh {
        Some(mesh) => mesh.clone(),
        None => mesh_config(&access, live.revision).await?,
    };
    let mut world = World::new(Settings {
        root_namespace: mesh.root_namespace.clone(),
        mesh: Some(mesh),
        default_namespace: access.namespace.clone(),
        is_live: true,
        ..Settings::default()
    });
    let resources = cluster::kubernetes_kinds().chain([cluster::secrets()]);
    for resource in resources {
        for object in objects(&access.client, &resource).await? {
            world.add(object, None);
        }
    }
    for kind in Kind::ALL {
        let found = objects(&access.client, &cluster::istio_kind(kind)).await?;
        for object in found.into_iter().filter(|object| is_of_revision(object, live.revision)) {
            world.add(object, None);
        }
    }
    let pods = match live.sockets {
        Sockets::Nobodys => Vec::new(),
        Sockets::OfNamespace => access.running_pods(&access.namespace, "").await?,
        Sockets::Everybodys => access.all_running_pods().await?,
    };
    add_sockets(&access, pods, &mut world).await;
    Ok((world, access.namespace))
}

async fn objects(client: &kube::Client, resource: &kube::api::ApiResource) -> anyhow::Result<Vec<Value>> {
    cluster::objects(client, resource).await.with_context(|| format!("cannot list {}", resource.plural))
}

/// Whether a control plane of this revision takes the object: it says another one nowhere.
fn is_of_revision(object: &Value, revision: Option<&str>) -> bool {
    let Some(revision) = revision else { return true };
    let labels = object.pointer("/metadata/labels");
    let own = labels.and_then(|labels| labels.get(REVISION)).and_then(Value::as_str);
    own.is_none_or(|own| own == revision)
}

/// The mesh's configuration: that of the revision, else the one of all; the defaults where there is none.
async fn mesh_config(access: &Access, revision: Option<&str>) -> anyhow::Result<MeshConfig> {
    let maps: Api<ConfigMap> = Api::namespaced(access.client.clone(), &access.istio_namespace);
    let of_revision = revision.map(|revision| format!("istio-{revision}"));
    for name in of_revision.into_iter().chain(["istio".to_owned()]) {
        let Some(map) = maps.get_opt(&name).await.with_context(|| format!("cannot read ConfigMap {name}"))?
        else {
            continue;
        };
        let text = map.data.unwrap_or_default().remove("mesh").unwrap_or_default();
        let place = format!("ConfigMap {}/{name}", access.istio_namespace);
        return parse_mesh_config(&text)
            .map(|parsed| parsed.config)
            .map_err(|violations| anyhow::anyhow!("{place}: {}", listed(&violations)));
    }
    Ok(MeshConfig { root_namespace: access.istio_namespace.clone(), ..MeshConfig::default() })
}

/// Violations on one line.
pub fn listed(violations: &[Violation]) -> String {
    violations.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Adds what listens in the pods. Those that cannot be looked into are counted on standard error.
async fn add_sockets(access: &Access, pods: Vec<Pod>, world: &mut World) {
    let on_own_network = |pod: &Pod| pod.spec.as_ref().is_some_and(|spec| spec.host_network != Some(true));
    let looks = pods.into_iter().filter(on_own_network).map(async |pod| {
        let name = pod.metadata.name.unwrap_or_default();
        let namespace = pod.metadata.namespace.unwrap_or_default();
        let container = pod.spec.and_then(|spec| spec.containers.into_iter().next());
        let container = container.map(|container| container.name).unwrap_or_default();
        let sockets = listening(access, &namespace, &name, &container).await;
        (ResourceName { kind: "Pod".to_owned(), name, namespace }, sockets)
    });
    let found: Vec<_> = stream::iter(looks).buffer_unordered(PODS_AT_ONCE).collect().await;
    let mut unread = Vec::new();
    for (pod, sockets) in found {
        match sockets {
            Ok(sockets) => world.add_listeners(pod, sockets),
            Err(error) => unread.push(format!("{pod}: {error:#}")),
        }
    }
    unread.sort();
    if let Some(first) = unread.first() {
        let count = unread.len();
        eprintln!("Note: IST0143 is not looked for in {count} pods whose sockets cannot be read, as {first}");
    }
}

/// The sockets that listen in a pod, as the kernel lists them.
async fn listening(
    access: &Access,
    namespace: &str,
    pod: &str,
    container: &str,
) -> anyhow::Result<Vec<SocketAddr>> {
    let pods: Api<Pod> = Api::namespaced(access.client.clone(), namespace);
    let attach = AttachParams::default().container(container).stderr(false);
    let mut process = pods.exec(pod, ["cat", "/proc/net/tcp", "/proc/net/tcp6"], &attach).await?;
    let mut text = String::new();
    process.stdout().context("no output")?.read_to_string(&mut text).await?;
    process.join().await?;
    anyhow::ensure!(!text.is_empty(), "`cat` printed nothing");
    Ok(sockets::listening(&text))
}

#[cfg(test)]
#[path = "live_tests.rs"]
mod tests;
