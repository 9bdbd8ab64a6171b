//! Services.

use std::collections::HashSet;

use serde_json::Value;

use super::names::dns_label;
use super::port_number;
use crate::error::FieldError;
use crate::object::{items, text, text_or_empty};

pub(super) fn violations(service: &Value, errors: &mut Vec<FieldError>) {
    let kind = text_or_empty(service, &["spec", "type"]);
    let supported = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    if !supported.contains(&kind) {
        errors.push(FieldError::not_supported("spec.type", &kind.into(), &supported));
    }
    let headless = text(service, &["spec", "clusterIP"]) == Some("None");
    let ports = items(service, &["spec", "ports"]);
    if ports.is_empty() && !headless && kind != "ExternalName" {
        errors.push(FieldError::required("spec.ports", ""));
    }
    if kind == "ExternalName" && text_or_empty(service, &["spec", "externalName"]).is_empty() {
        errors.push(FieldError::required("spec.externalName", ""));
    }
    if headless && matches!(kind, "LoadBalancer" | "NodePort") {
        let detail = format!("may not be set to 'None' for {kind} services");
        errors.push(FieldError::invalid("spec.clusterIPs[0]", &"None".into(), detail));
    }
    let mut names = HashSet::new();
    let mut numbers = HashSet::new();
    for (index, port) in ports.iter().enumerate() {
        let path = format!("spec.ports[{index}]");
        let name = text_or_empty(port, &["name"]);
        if name.is_empty() && ports.len() > 1 {
            errors.push(FieldError::required(format!("{path}.name"), ""));
        } else if !name.is_empty() {
            if let Err(detail) = dns_label(name) {
                errors.push(FieldError::invalid(format!("{path}.name"), &name.into(), detail));
            }
            if !names.insert(name) {
                errors.push(FieldError::duplicate(format!("{path}.name"), &name.into()));
            }
        }
        port_number(format!("{path}.port"), port.get("port"), errors);
        let protocol = text_or_empty(port, &["protocol"]);
        if !matches!(protocol, "TCP" | "UDP" | "SCTP") {
            errors.push(FieldError::not_supported(
                format!("{path}.protocol"),
                &protocol.into(),
                &["SCTP", "TCP", "UDP"],
            ));
        }
        match port.get("targetPort") {
            Some(number @ Value::Number(_)) => {
                port_number(format!("{path}.targetPort"), Some(number), errors)
            }
            Some(Value::String(name)) if !is_port_name(name) => {
                let detail = "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-), at most 15 of them and at least one letter";
                errors.push(FieldError::invalid(format!("{path}.targetPort"), &name.as_str().into(), detail));
            }
            _ => {}
        }
        if !numbers.insert((port.get("port").map(Value::to_string), protocol)) {
            errors.push(FieldError::duplicate(
                path,
                &serde_json::json!({"port": port.get("port"), "protocol": protocol}),
            ));
        }
    }
    super::names::labels(service, &["spec", "selector"], errors);
}

/// An IANA service name (RFC 6335).
fn is_port_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=15).contains(&name.len())
        && name.chars().all(allowed)
        && name.chars().any(|c| c.is_ascii_lowercase())
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--")
}
