//! Defaults of Services, and the addresses and node ports they get.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde_json::{Value, json};

use super::each;
use crate::api::Api;
use crate::error::{ApiError, FieldError};
use crate::object::{self, at, integer, items, remove, set, set_default, text, text_or_empty};

/// Node ports, as in Kubernetes.
const NODE_PORTS: std::ops::RangeInclusive<i64> = 30_000..=32_767;

/// How many addresses at the start of the range are only given when asked for by number (the Service `kubernetes`, DNS).
const KEPT_BACK: u32 = 16;

pub(super) fn apply(service: &mut Value, old: Option<&Value>) {
    set_default(service, &["spec", "type"], "ClusterIP");
    set_default(service, &["spec", "sessionAffinity"], "None");
    if text(service, &["spec", "sessionAffinity"]) == Some("ClientIP") {
        set_default(service, &["spec", "sessionAffinityConfig", "clientIP", "timeoutSeconds"], 10_800);
    }
    each(service, &["spec", "ports"], |port| {
        set_default(port, &["protocol"], "TCP");
        let number = port.get("port").cloned().unwrap_or_default();
        // Zero is no port: a client that always writes the field means "not set".
        if port.get("targetPort") == Some(&json!(0)) || port.get("targetPort") == Some(&json!("")) {
            remove(port, &["targetPort"]);
        }
        set_default(port, &["targetPort"], number);
    });
    let kind = text_or_empty(service, &["spec", "type"]).to_owned();
    if kind != "ExternalName" {
        set_default(service, &["spec", "internalTrafficPolicy"], "Cluster");
    }
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
        set_default(service, &["spec", "externalTrafficPolicy"], "Cluster");
    }
    if kind == "LoadBalancer" {
        set_default(service, &["spec", "allocateLoadBalancerNodePorts"], true);
    }
    if old.is_none() {
        set_default(service, &["status", "loadBalancer"], json!({}));
    }
    // An update that does not mention the address means the one there is.
    if let Some(old) = old
        && kind != "ExternalName"
        && text_or_empty(service, &["spec", "clusterIP"]).is_empty()
    {
        for field in ["clusterIP", "clusterIPs"] {
            if let Some(value) = at(old, &["spec", field]) {
                set(service, &["spec", field], value.clone());
            }
        }
    }
    keep_node_ports(service, old);
}

/// An update that leaves out a port's node port means the one it has.
fn keep_node_ports(service: &mut Value, old: Option<&Value>) {
    let kind = text_or_empty(service, &["spec", "type"]);
    let Some(old) = old.filter(|_| matches!(kind, "NodePort" | "LoadBalancer")) else {
        if kind == "ClusterIP" {
            each(service, &["spec", "ports"], |port| {
                remove(port, &["nodePort"]);
            });
        }
        return;
    };
    let had: Vec<Value> = items(old, &["spec", "ports"]).to_vec();
    each(service, &["spec", "ports"], |port| {
        if integer(port, &["nodePort"]).unwrap_or_default() != 0 {
            return;
        }
        let same = had.iter().find(|had| {
            had.get("port") == port.get("port")
                && text(had, &["protocol"]).unwrap_or("TCP") == text(port, &["protocol"]).unwrap_or("TCP")
        });
        if let Some(node_port) = same.and_then(|same| integer(same, &["nodePort"])) {
            set(port, &["nodePort"], node_port);
        }
    });
}

/// Gives a Service its cluster IP and node ports. The caller holds the lock on addresses until the Service is written.
pub(crate) fn allocate(api: &Api, service: &mut Value, old: Option<&Value>) -> Result<(), ApiError> {
    let kind = text_or_empty(service, &["spec", "type"]).to_owned();
    let name = object::name(service).to_owned();
    let invalid = |error: FieldError| ApiError::invalid("", "Service", &name, &[error]);
    if kind == "ExternalName" {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            remove(service, &["spec", field]);
        }
        return Ok(());
    }
    let others = others(api, service);
    let wanted = text_or_empty(service, &["spec", "clusterIP"]).to_owned();
    let address = match wanted.as_str() {
        "" => free_address(api.service_range, &taken_addresses(&others))
            .ok_or_else(|| {
                ApiError::internal("the range of service addresses is used up; delete Services or widen it")
            })?
            .to_string(),
        "None" => wanted,
        _ if old.is_some_and(|old| text(old, &["spec", "clusterIP"]) == Some(&wanted)) => wanted,
        _ => {
            let value = json!([wanted]);
            let refuse = |detail: String| invalid(FieldError::invalid("spec.clusterIPs", &value, detail));
            let address: Ipv4Addr = wanted
                .parse()
                .map_err(|_| refuse("must be a valid IP address, (e.g. 10.9.8.7)".to_owned()))?;
            if !api.service_range.contains(&address) {
                let range = api.service_range;
                return Err(refuse(format!(
                    "failed to allocate IP {address}: the provided IP is not in the valid range. The range of valid IPs is {range}"
                )));
            }
            if taken_addresses(&others).contains(&address) {
                return Err(refuse(format!(
                    "failed to allocate IP {address}: provided IP is already allocated"
                )));
            }
            wanted
        }
    };
    set(service, &["spec", "clusterIP"], address.as_str());
    set(service, &["spec", "clusterIPs"], json!([address]));
    set_default(service, &["spec", "ipFamilies"], json!(["IPv4"]));
    set_default(service, &["spec", "ipFamilyPolicy"], "SingleStack");
    let wants_ports = kind == "NodePort"
        || kind == "LoadBalancer"
            && at(service, &["spec", "allocateLoadBalancerNodePorts"]) != Some(&Value::Bool(false));
    if wants_ports { allocate_node_ports(&others, service).map_err(invalid) } else { Ok(()) }
}

fn others(api: &Api, service: &Value) -> Vec<std::sync::Arc<crate::store::Stored>> {
    let (mut services, _) = api.store.list("/services", None);
    services.retain(|other| {
        (object::namespace(&other.object), object::name(&other.object))
            != (object::namespace(service), object::name(service))
    });
    services
}

fn taken_addresses(services: &[std::sync::Arc<crate::store::Stored>]) -> HashSet<Ipv4Addr> {
    services
        .iter()
        .filter_map(|service| text(&service.object, &["spec", "clusterIP"])?.parse().ok())
        .collect()
}

/// The lowest address that is free, those kept back last.
fn free_address(range: Ipv4Net, taken: &HashSet<Ipv4Addr>) -> Option<Ipv4Addr> {
    let first = u32::from(range.network());
    let last = u32::from(range.broadcast());
    let usual = first.saturating_add(KEPT_BACK)..last;
    let kept_back = first.saturating_add(1)..first.saturating_add(KEPT_BACK).min(last);
    usual.chain(kept_back).map(Ipv4Addr::from).find(|address| !taken.contains(address))
}

fn allocate_node_ports(
    others: &[std::sync::Arc<crate::store::Stored>],
    service: &mut Value,
) -> Result<(), FieldError> {
    let mut taken: HashSet<i64> = others
        .iter()
        .flat_map(|other| items(&other.object, &["spec", "ports"]))
        .filter_map(|port| integer(port, &["nodePort"]))
        .collect();
    let mut outcome = Ok(());
    for (index, port) in items(service, &["spec", "ports"]).iter().enumerate() {
        let path = format!("spec.ports[{index}].nodePort");
        match integer(port, &["nodePort"]) {
            None | Some(0) => {}
            Some(wanted) if !NODE_PORTS.contains(&wanted) => {
                let detail =
                    "provided port is not in the valid range. The range of valid ports is 30000-32767";
                return Err(FieldError::invalid(path, &wanted.into(), detail));
            }
            Some(wanted) => {
                if taken.contains(&wanted) {
                    return Err(FieldError::invalid(
                        path,
                        &wanted.into(),
                        "provided port is already allocated",
                    ));
                }
            }
        }
    }
    each(service, &["spec", "ports"], |port| {
        if let Some(wanted) = integer(port, &["nodePort"]).filter(|wanted| *wanted != 0) {
            taken.insert(wanted);
        } else if let Some(free) = NODE_PORTS.clone().find(|free| !taken.contains(free)) {
            taken.insert(free);
            set(port, &["nodePort"], free);
        } else {
            outcome = Err(FieldError::forbidden(
                "spec.ports",
                "all node ports are in use; delete Services that have some",
            ));
        }
    });
    outcome
}
