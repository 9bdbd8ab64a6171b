//! Probes of the application go through the agent: under strict mTLS the kubelet, which has no
//! certificate, could not reach the application. The agent is told what to ask the application by
//! the environment variable `ISTIO_KUBE_APP_PROBERS`, in Istio's JSON form.

use super::InjectError;
use k8s_openapi::api::core::v1::{Container, HTTPGetAction, Pod, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Map, Value, json};

/// The agent's port for probes.
const STATUS_PORT: i32 = 15020;

/// Rewrites the probes of `pod`; returns the JSON for the agent, `None` when there is nothing to do.
pub(crate) fn rewrite(pod: &mut Pod) -> Result<Option<String>, InjectError> {
    let Some(spec) = &mut pod.spec else { return Ok(None) };
    let mut probers = Map::new();
    for container in &mut spec.containers {
        let ports = container.clone();
        for (name, path, probe) in [
            ("readiness", "readyz", &mut container.readiness_probe),
            ("liveness", "livez", &mut container.liveness_probe),
            ("startup", "startupz", &mut container.startup_probe),
        ] {
            let Some(probe) = probe else { continue };
            let Some(prober) = describe(&ports, name, probe)? else { continue };
            let path = format!("/app-health/{}/{path}", ports.name);
            probers.insert(path.clone(), prober);
            probe.tcp_socket = None;
            probe.grpc = None;
            probe.http_get = Some(HTTPGetAction {
                path: Some(path),
                port: IntOrString::Int(STATUS_PORT),
                ..HTTPGetAction::default()
            });
        }
    }
    if probers.is_empty() { Ok(None) } else { Ok(Some(Value::Object(probers).to_string())) }
}

/// What the agent asks in the kubelet's place; `None` for commands, which run inside the container.
fn describe(container: &Container, name: &'static str, probe: &Probe) -> Result<Option<Value>, InjectError> {
    let timeout = probe.timeout_seconds.unwrap_or(1);
    let number = |port: &IntOrString| resolve(container, name, port);
    if let Some(http) = &probe.http_get {
        let mut get = json!({
            "path": http.path.as_deref().unwrap_or("/"),
            "port": number(&http.port)?,
            "scheme": http.scheme.as_deref().unwrap_or("HTTP")
        });
        if let Some(host) = &http.host {
            get["host"] = json!(host);
        }
        if let Some(headers) = &http.http_headers {
            get["httpHeaders"] =
                headers.iter().map(|header| json!({"name": header.name, "value": header.value})).collect();
        }
        return Ok(Some(json!({"httpGet": get, "timeoutSeconds": timeout})));
    }
    if let Some(tcp) = &probe.tcp_socket {
        let mut socket = json!({"port": number(&tcp.port)?});
        if let Some(host) = &tcp.host {
            socket["host"] = json!(host);
        }
        return Ok(Some(json!({"tcpSocket": socket, "timeoutSeconds": timeout})));
    }
    if let Some(grpc) = &probe.grpc {
        let service = grpc.service.as_deref().unwrap_or_default();
        return Ok(Some(json!({"grpc": {"port": grpc.port, "service": service}, "timeoutSeconds": timeout})));
    }
    Ok(None)
}

fn resolve(container: &Container, probe: &'static str, port: &IntOrString) -> Result<i32, InjectError> {
    match port {
        IntOrString::Int(number) => Ok(*number),
        IntOrString::String(name) => {
            let declared = container.ports.iter().flatten().find(|port| port.name.as_deref() == Some(name));
            declared.map(|port| port.container_port).ok_or_else(|| InjectError::ProbePort {
                container: container.name.clone(),
                probe,
                port: name.clone(),
            })
        }
    }
}
