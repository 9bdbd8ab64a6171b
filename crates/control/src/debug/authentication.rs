//! Mutual TLS as one proxy meets it: for each port of each service, what the server asks for, what
//! the client sends, and whether that goes together. The data of `authn tls-check`, in the shape it
//! had up to Istio 1.5.

use mizzen_api::networking::{ClientTlsMode, TrafficPolicy};
use mizzen_model::policy::ServerTls;
use mizzen_model::{DestinationRule, Port, Service, Snapshot, Workload};
use serde_json::{Value, json};

/// What is said where no object has a say.
const NONE: &str = "-";

/// One row for each port of each service that `client` sees, by host and port.
pub(super) fn table(snapshot: &Snapshot, client: &Workload) -> Value {
    let mut rows = Vec::new();
    for (host, _) in snapshot.hosts() {
        let Some(service) = snapshot.service(host, &client.namespace) else { continue };
        let rule = snapshot.destination_rule(service, &client.namespace, &client.labels);
        for port in &service.ports {
            rows.push(row(snapshot, service, port, rule.map(|rule| &**rule)));
        }
    }
    rows.sort_by_key(|row| {
        (row["host"].as_str().unwrap_or_default().to_owned(), row["port"].as_u64().unwrap_or_default())
    });
    Value::Array(rows)
}

fn row(snapshot: &Snapshot, service: &Service, port: &Port, rule: Option<&DestinationRule>) -> Value {
    let (server, policy) = server_side(snapshot, service, port);
    let client = rule.and_then(|rule| client_mode(rule.policy.as_deref()?, port));
    let automatic = client.is_none() && snapshot.mesh().auto_mtls && server.is_some();
    json!({
        "host": service.host.as_str(),
        "port": port.number,
        "authentication_policy_name": policy,
        "destination_rule_name": rule.map_or_else(|| NONE.to_owned(), |rule| rule.object_name().to_string()),
        "server_protocol": server.map_or("DISABLE", ServerTls::as_str),
        "client_protocol": client.map_or(NONE, mode_text),
        "TLS_conflict_status": verdict(server, client, automatic)
    })
}

/// The strictest mode of the workloads behind a port, and the policy it comes from. Nothing where no
/// workload is in the mesh: such servers know plain connections only.
fn server_side(snapshot: &Snapshot, service: &Service, port: &Port) -> (Option<ServerTls>, String) {
    let endpoints = snapshot.endpoints(&service.key());
    let endpoints = endpoints.iter().flat_map(|endpoints| endpoints.of_port(port.number));
    let strictest = endpoints
        .filter(|endpoint| endpoint.workload.meshed)
        .map(|endpoint| {
            let policy = snapshot.peer_policy(&endpoint.workload.namespace, &endpoint.workload.labels);
            (policy.of_port(endpoint.port), policy)
        })
        .max_by_key(|(mode, _)| *mode);
    match strictest {
        Some((mode, policy)) => {
            let name =
                policy.source().map_or_else(|| NONE.to_owned(), |source| source.object_name().to_string());
            (Some(mode), name)
        }
        None => (None, NONE.to_owned()),
    }
}

/// What a DestinationRule makes clients send to a port; a port's own settings replace the others.
fn client_mode(policy: &TrafficPolicy, port: &Port) -> Option<ClientTlsMode> {
    let of_port = policy.port_level_settings.iter().find(|settings| {
        settings.port.as_ref().is_some_and(|selector| selector.number == u32::from(port.number))
    });
    let tls = match of_port {
        Some(settings) => settings.tls.as_ref(),
        None => policy.tls.as_ref(),
    };
    tls.map(|tls| tls.mode.unwrap_or_default())
}

fn mode_text(mode: ClientTlsMode) -> &'static str {
    match mode {
        ClientTlsMode::Disable => "DISABLE",
        ClientTlsMode::Simple => "SIMPLE",
        ClientTlsMode::Mutual => "MUTUAL",
        ClientTlsMode::IstioMutual => "ISTIO_MUTUAL",
    }
}

/// Whether both sides understand each other.
fn verdict(server: Option<ServerTls>, client: Option<ClientTlsMode>, automatic: bool) -> &'static str {
    if automatic {
        return "AUTO";
    }
    let agree = match (server, client) {
        // The application itself may speak TLS; that is nobody's conflict.
        (None, client) => client != Some(ClientTlsMode::IstioMutual),
        (Some(ServerTls::Disable), client) => matches!(client, None | Some(ClientTlsMode::Disable)),
        (Some(ServerTls::Permissive), client) => {
            !matches!(client, Some(ClientTlsMode::Simple | ClientTlsMode::Mutual))
        }
        (Some(ServerTls::Strict), client) => client == Some(ClientTlsMode::IstioMutual),
    };
    if agree { "OK" } else { "CONFLICT" }
}

#[cfg(test)]
#[path = "authentication_tests.rs"]
mod tests;
