//! The mesh as the control plane has it.

use super::{Debug, Query, not_connected, pod_of};
use axum::Json;
use axum::extract::{Query as Parameters, State};
use axum::response::{IntoResponse, Response};
use mizzen_api::Kind;
use mizzen_model::{Service, Snapshot};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// `/debug/registryz`.
pub(super) async fn services(State(debug): State<Debug>) -> Json<Value> {
    let snapshot = debug.mesh.snapshot();
    Json(snapshot.hosts().flat_map(|(_, services)| services).map(describe).collect())
}

fn describe(service: &Arc<Service>) -> Value {
    let ports: Vec<_> = service
        .ports
        .iter()
        .map(|port| json!({"name": port.name, "port": port.number, "protocol": format!("{:?}", port.protocol)}))
        .collect();
    let addresses: Vec<_> = service.addresses.iter().map(|network| network.addr().to_string()).collect();
    json!({
        "hostname": service.host.as_str(),
        "Attributes": {"Name": &*service.name, "Namespace": &*service.namespace, "ServiceRegistry": format!("{:?}", service.registry)},
        "addresses": addresses,
        "ports": ports,
        "Resolution": format!("{:?}", service.resolution),
        "MeshExternal": service.location != mizzen_model::Location::Mesh
    })
}

/// `/debug/endpointz`.
pub(super) async fn endpoints(State(debug): State<Debug>) -> Json<Value> {
    let snapshot = debug.mesh.snapshot();
    let services = snapshot.hosts().flat_map(|(_, services)| services);
    Json(services.map(|service| endpoints_of(&snapshot, service)).collect())
}

fn endpoints_of(snapshot: &Snapshot, service: &Service) -> Value {
    let endpoints: Vec<_> = snapshot
        .endpoints(&service.key())
        .into_iter()
        .flat_map(|endpoints| endpoints.iter())
        .map(|(port, endpoint)| {
            json!({
                "servicePort": port,
                "address": endpoint.address.to_string(),
                "port": endpoint.port,
                "workload": format!("{}/{}", endpoint.workload.namespace, endpoint.workload.name),
                "serviceAccount": &*endpoint.workload.service_account,
                "tlsMode": if endpoint.workload.meshed { "istio" } else { "disabled" },
                "labels": &*endpoint.workload.labels
            })
        })
        .collect();
    json!({"svc": service.host.as_str(), "namespace": &*service.namespace, "ep": endpoints})
}

/// `/debug/configz`.
pub(super) async fn configs(State(debug): State<Debug>, Parameters(query): Parameters<Query>) -> Json<Value> {
    let snapshot = debug.mesh.snapshot();
    let wanted = |kind: &Kind| {
        let names = [kind.name(), kind.plural(), kind.singular()];
        query.kind.is_empty() || names.iter().any(|name| name.eq_ignore_ascii_case(&query.kind))
    };
    let configs = Kind::ALL.into_iter().filter(wanted).flat_map(|kind| snapshot.configs(kind));
    Json(configs.filter_map(|config| config.to_value().ok()).collect())
}

/// `/debug/quarantinez`.
pub(super) async fn quarantined(State(debug): State<Debug>) -> Json<Value> {
    let snapshot = debug.mesh.snapshot();
    let quarantined: Map<_, _> = snapshot
        .quarantined()
        .map(|(object, violations)| {
            let reasons: Vec<_> = violations.iter().map(ToString::to_string).collect();
            (object.to_string(), json!(reasons))
        })
        .collect();
    Json(Value::Object(quarantined))
}

/// `/debug/authenticationz?proxyID=`: for each port of each service the proxy sees, what the server
/// asks for and what the client sends, and whether that goes together.
pub(super) async fn authentication(
    State(debug): State<Debug>,
    Parameters(query): Parameters<Query>,
) -> Response {
    let snapshot = debug.mesh.snapshot();
    let pod = pod_of(&query.proxy).and_then(|(pod, namespace)| snapshot.pod(namespace, pod));
    let Some(pod) = pod else { return not_connected(&query.proxy) };
    Json(super::authentication::table(&snapshot, pod)).into_response()
}
