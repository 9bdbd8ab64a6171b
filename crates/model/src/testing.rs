//! Meshes made of manifests, for tests here and in the rooms above.

use mizzen_api::{Kind, source};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Applied, Change, Object, ObjectRef, Store};

/// A store that holds what manifests declare; objects without a namespace are in `default`.
///
/// # Panics
///
/// Where a manifest is not readable.
pub fn store(manifests: &str) -> Store {
    let mut store = Store::with_validation("cluster.local", mizzen_api::validate);
    apply(&mut store, manifests);
    store
}

/// Applies manifests to a store.
///
/// # Panics
///
/// Where a manifest is not readable.
pub fn apply(store: &mut Store, manifests: &str) -> Applied {
    let documents = source::read(manifests).expect("the manifests are YAML");
    store.apply(documents.into_iter().map(|document| Change::Upsert(object(document.value))).collect())
}

/// Deletes one of Istio's resources.
pub fn delete(store: &mut Store, kind: Kind, namespace: &str, name: &str) -> Applied {
    store.apply(vec![Change::Delete(ObjectRef::config(kind, namespace, name))])
}

fn object(mut value: Value) -> Object {
    let kind = value["kind"].as_str().unwrap_or_default().to_owned();
    if !matches!(kind.as_str(), "Namespace" | "Node") && value["metadata"]["namespace"].is_null() {
        value["metadata"]["namespace"] = "default".into();
    }
    match kind.as_str() {
        "Namespace" => Object::Namespace(read(value)),
        "Service" => Object::Service(read(value)),
        "EndpointSlice" => Object::EndpointSlice(read(value)),
        "Pod" => Object::Pod(read(value)),
        "Secret" => Object::Secret(read(value)),
        "Node" => Object::Node(read(value)),
        _ => Object::Config(Box::new(mizzen_api::parse(value).expect("the resource is readable"))),
    }
}

fn read<T: DeserializeOwned>(value: Value) -> Box<T> {
    Box::new(serde_json::from_value(value).expect("the object is readable"))
}

/// A meshed pod `name` of an application, with its service account named after the application.
pub fn pod(namespace: &str, name: &str, app: &str, version: &str, address: &str) -> String {
    format!(
        "---
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  namespace: {namespace}
  labels: {{app: {app}, version: {version}, security.istio.io/tlsMode: istio}}
spec:
  serviceAccountName: {app}
  nodeName: node-1
  containers: [{{name: app, image: echo, ports: [{{name: web, containerPort: 8080}}]}}]
status: {{phase: Running, podIP: {address}, podIPs: [{{ip: {address}}}]}}
"
    )
}

/// The endpoints of a service's port `http`: pods with their addresses.
pub fn slice(namespace: &str, service: &str, port_name: &str, pods: &[(&str, &str)]) -> String {
    let endpoints: Vec<String> = pods
        .iter()
        .map(|(pod, address)| {
            format!(
                "{{addresses: [{address}], conditions: {{ready: true}}, nodeName: node-1, \
                 targetRef: {{kind: Pod, name: {pod}, namespace: {namespace}}}}}"
            )
        })
        .collect();
    format!(
        "---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {service}-1
  namespace: {namespace}
  labels: {{kubernetes.io/service-name: {service}}}
addressType: IPv4
ports: [{{name: '{port_name}', port: 8080, protocol: TCP}}]
endpoints: [{}]
",
        endpoints.join(", ")
    )
}

/// A service of an application on port 80, leading to 8080.
pub fn service(namespace: &str, name: &str, port_name: &str, address: &str) -> String {
    format!(
        "---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  clusterIP: {address}
  clusterIPs: [{address}]
  selector: {{app: {name}}}
  ports: [{{name: '{port_name}', port: 80, targetPort: 8080}}]
"
    )
}
