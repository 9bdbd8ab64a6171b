//! The configuration page: all of Istio's objects in the cluster, and what analysis says of them.

use crate::cluster;
use crate::server::State;
use mizzen_analysis::{Settings, World, analyze, format};
use mizzen_api::Kind;
use serde_json::{Value, json};

/// `objects`, by kind, namespace and name; `messages`, in the form of `analyze -o json`. Secrets are left
/// out: the pages have no business with their contents.
pub async fn list(state: &State) -> anyhow::Result<Value> {
    // Without Secrets the world is not whole, so nothing is said of what it lacks.
    let mut world = World::new(Settings { is_live: false, ..Settings::default() });
    for resource in cluster::kubernetes_kinds() {
        for object in cluster::objects(&state.client, &resource).await? {
            world.add(object, None);
        }
    }
    let mut objects = Vec::new();
    for kind in Kind::ALL {
        for object in cluster::objects(&state.client, &cluster::istio_kind(kind)).await? {
            objects.push(json!({
                "kind": kind.name(),
                "namespace": object["metadata"]["namespace"],
                "name": object["metadata"]["name"],
                "spec": object["spec"],
                "status": object["status"]
            }));
            world.add(object, None);
        }
    }
    let messages: Value = serde_json::from_str(&format::json(&analyze(&world))?)?;
    Ok(json!({"objects": objects, "messages": messages}))
}
