//! The configuration page: all of Istio's objects in the cluster, and what analysis says of them.

use crate::server::State;
use kube::api::{Api, DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};
use mizzen_analysis::{Settings, World, analyze, format};
use mizzen_api::Kind;
use serde_json::{Value, json};

/// What analysis looks at beside Istio's own: group and kind, all of version v1. Secrets are left
/// out: the pages have no business with their contents.
const KUBERNETES: [(&str, &str); 6] = [
    ("", "Namespace"),
    ("", "Service"),
    ("", "Pod"),
    ("apps", "Deployment"),
    ("apps", "StatefulSet"),
    ("apps", "DaemonSet"),
];

/// `objects`, by kind, namespace and name; `messages`, in the form of `analyze -o json`.
pub async fn list(state: &State) -> anyhow::Result<Value> {
    // Without Secrets the world is not whole, so nothing is said of what it lacks.
    let mut world = World::new(Settings { is_live: false, ..Settings::default() });
    for (group, kind) in KUBERNETES {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", kind));
        for object in objects_of(state, &resource).await? {
            world.add(object, None);
        }
    }
    let mut objects = Vec::new();
    for kind in Kind::ALL {
        let gvk = GroupVersionKind::gvk(kind.group(), kind.storage_version(), kind.name());
        let resource = ApiResource::from_gvk_with_plural(&gvk, kind.plural());
        for object in objects_of(state, &resource).await? {
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

/// All objects of a kind; none where the API does not serve it.
async fn objects_of(state: &State, resource: &ApiResource) -> anyhow::Result<Vec<Value>> {
    let api: Api<DynamicObject> = Api::all_with(state.client.clone(), resource);
    let list = match api.list(&ListParams::default()).await {
        Ok(list) => list,
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let whole = |mut object: DynamicObject| {
        object.metadata.managed_fields = None;
        let mut value = serde_json::to_value(&object)?;
        // Objects in lists leave out what they are.
        value["apiVersion"] = resource.api_version.clone().into();
        value["kind"] = resource.kind.clone().into();
        Ok(value)
    };
    list.items.into_iter().map(whole).collect()
}
