//! What is there before anybody asks: the system namespaces, the Service `kubernetes`, and in every namespace the `default`
//! ServiceAccount and the authority's certificate.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::api::Api;
use crate::object;
use crate::resources::Resource;

/// ConfigMap that projected volumes take the authority's certificate from.
pub(crate) const ROOT_CERTIFICATE: &str = "kube-root-ca.crt";

/// Namespaces of a fresh cluster.
const NAMESPACES: &[&str] = &["default", "kube-node-lease", "kube-public", "kube-system"];

/// Puts in what is missing. Done at every start.
pub(crate) fn cluster(api: &Api, advertised: Option<SocketAddr>) {
    for name in NAMESPACES {
        put(api, "", "v1", "namespaces", json!({"metadata": {"name": name}}));
        namespace(api, name);
    }
    // Namespaces from an earlier run, which may have ended between the two steps.
    let (namespaces, _) = api.store.list("/namespaces", None);
    for stored in namespaces {
        namespace(api, object::name(&stored.object));
    }
    kubernetes_service(api, advertised);
}

/// What every namespace holds. The ServiceAccount is made with the namespace, so that no pod has to wait for a controller.
pub(crate) fn namespace(api: &Api, name: &str) {
    let meta = |own: &str| json!({"name": own, "namespace": name});
    put(api, "", "v1", "serviceaccounts", json!({"metadata": meta("default")}));
    let description = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.";
    let mut metadata = meta(ROOT_CERTIFICATE);
    object::set(&mut metadata, &["annotations", "kubernetes.io/description"], description);
    put(api, "", "v1", "configmaps", json!({"metadata": metadata, "data": {"ca.crt": api.authority_pem}}));
}

fn kubernetes_service(api: &Api, advertised: Option<SocketAddr>) {
    let address = Ipv4Addr::from(u32::from(api.service_range.network()).saturating_add(1)).to_string();
    let labels = json!({"component": "apiserver", "provider": "kubernetes"});
    let port = advertised.map_or(6443, |address| address.port());
    let service = json!({
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": labels},
        "spec": {
            "type": "ClusterIP",
            "clusterIP": address,
            "clusterIPs": [address],
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": port}],
        },
    });
    put(api, "", "v1", "services", service);
    let Some(advertised) = advertised else { return };
    let slice = json!({
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": "kubernetes"},
        },
        "addressType": if advertised.is_ipv4() { "IPv4" } else { "IPv6" },
        "endpoints": [{"addresses": [advertised.ip().to_string()], "conditions": {"ready": true}}],
        "ports": [{"name": "https", "port": advertised.port(), "protocol": "TCP"}],
    });
    // The address may be another one than at the last start.
    replace(api, "discovery.k8s.io", "v1", "endpointslices", slice);
}

/// Stores an object unless there is one of that name.
fn put(api: &Api, group: &str, version: &str, plural: &str, object: Value) {
    let catalogue = api.catalogue.load();
    let Some(resource) = catalogue.find(group, version, plural) else { return };
    let object = finished(resource, object);
    // An object of that name, or a namespace that is going, are both fine.
    let _ = api.store.create(&resource.collection, object, |namespace| {
        namespace.is_some_and(|namespace| !object::is_terminating(namespace))
    });
}

fn replace(api: &Api, group: &str, version: &str, plural: &str, object: Value) {
    let catalogue = api.catalogue.load();
    let Some(resource) = catalogue.find(group, version, plural) else { return };
    let location = Api::location(resource, &object);
    match api.store.get(&location.collection, &location.namespace, &location.name) {
        None => put(api, group, version, plural, object),
        Some(_) => {
            let fresh = finished(resource, object);
            crate::operations::delete::rewrite(api, &location, |current| {
                for field in ["addressType", "endpoints", "ports"] {
                    if let Some(value) = fresh.get(field) {
                        object::set(current, &[field], value.clone());
                    }
                }
            });
        }
    }
}

fn finished(resource: &Arc<Resource>, mut object: Value) -> Value {
    object::set(&mut object, &["apiVersion"], resource.api_version());
    object::set(&mut object, &["kind"], resource.kind.as_str());
    object::set(&mut object, &["metadata", "uid"], uuid::Uuid::new_v4().to_string());
    object::set(&mut object, &["metadata", "creationTimestamp"], object::now());
    crate::defaults::apply(resource, &mut object, None);
    object
}
