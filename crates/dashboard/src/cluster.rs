//! The objects of a live cluster as analysis reads them: for the configuration page, and for `analyze`.

use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use kube::core::GroupVersionKind;
use mizzen_api::Kind;
use serde_json::Value;

/// What analysis looks at beside Istio's own: group and kind, all of version v1.
const KUBERNETES: [(&str, &str); 6] = [
    ("", "Namespace"),
    ("", "Service"),
    ("", "Pod"),
    ("apps", "Deployment"),
    ("apps", "StatefulSet"),
    ("apps", "DaemonSet"),
];

/// The kinds of Kubernetes' own that analysis looks at, but for Secrets.
pub fn kubernetes_kinds() -> impl Iterator<Item = ApiResource> {
    KUBERNETES.iter().map(|(group, kind)| ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", kind)))
}

/// Secrets, for those who have business with their contents.
pub fn secrets() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Secret"))
}

/// A kind of Istio's.
pub fn istio_kind(kind: Kind) -> ApiResource {
    let gvk = GroupVersionKind::gvk(kind.group(), kind.storage_version(), kind.name());
    ApiResource::from_gvk_with_plural(&gvk, kind.plural())
}

/// All objects of a kind, whole; none where the API does not serve it.
///
/// # Errors
/// What the API answers, and objects that are no JSON.
pub async fn objects(client: &kube::Client, resource: &ApiResource) -> Result<Vec<Value>, kube::Error> {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), resource);
    let list = match api.list(&ListParams::default()).await {
        Ok(list) => list,
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let whole = |mut object: DynamicObject| {
        object.metadata.managed_fields = None;
        let mut value = serde_json::to_value(&object).map_err(kube::Error::SerdeError)?;
        // Objects in lists leave out what they are.
        value["apiVersion"] = resource.api_version.clone().into();
        value["kind"] = resource.kind.clone().into();
        Ok(value)
    };
    list.items.into_iter().map(whole).collect()
}
