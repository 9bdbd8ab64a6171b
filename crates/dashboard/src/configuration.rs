//! The configuration page: all of Istio's objects in the cluster.

use crate::server::State;
use kube::api::{Api, DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};
use mizzen_api::Kind;
use serde_json::{Value, json};

/// One entry an object, by kind, namespace and name, each whole and with the conditions of its status.
pub async fn list(state: &State) -> anyhow::Result<Value> {
    let mut objects = Vec::new();
    for kind in Kind::ALL {
        let resource = ApiResource {
            plural: kind.plural().to_owned(),
            ..ApiResource::from_gvk(&GroupVersionKind::gvk(kind.group(), kind.storage_version(), kind.name()))
        };
        let api: Api<DynamicObject> = Api::all_with(state.client.clone(), &resource);
        let list = match api.list(&ListParams::default()).await {
            Ok(list) => list,
            // A kind whose definition is not installed has no objects.
            Err(kube::Error::Api(status)) if status.code == 404 => continue,
            Err(error) => return Err(error.into()),
        };
        for mut object in list.items {
            object.metadata.managed_fields = None;
            objects.push(json!({
                "kind": kind.name(),
                "namespace": object.metadata.namespace,
                "name": object.metadata.name,
                "spec": object.data["spec"],
                "status": object.data["status"]
            }));
        }
    }
    Ok(json!({"objects": objects, "messages": []}))
}
