//! The columns of the built-in kinds, as kubectl's server prints them.

use serde_json::Value;

use super::{Column, Layout, pods, workloads};
use crate::object::{age, at, integer, items, map, name, text, text_or_empty};
use crate::resources::Resource;

/// A heading, its type and priority, and the cell.
pub(super) type Cell = (&'static str, &'static str, i64, fn(&Value) -> Value);

pub(super) const NAME: Cell = ("Name", "string", 0, |object| name(object).into());
pub(super) const AGE: Cell =
    ("Age", "string", 0, |object| age(text(object, &["metadata", "creationTimestamp"])).into());

pub(super) fn layout(resource: &Resource) -> Layout {
    let cells: &'static [Cell] = match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "pods") => pods::PODS,
        ("apps", "deployments") => workloads::DEPLOYMENTS,
        ("apps", "replicasets") => workloads::REPLICA_SETS,
        ("apps", "statefulsets") => workloads::STATEFUL_SETS,
        ("apps", "daemonsets") => workloads::DAEMON_SETS,
        ("batch", "jobs") => workloads::JOBS,
        ("batch", "cronjobs") => workloads::CRON_JOBS,
        ("", "services") => SERVICES,
        ("", "nodes") => NODES,
        ("", "namespaces") => NAMESPACES,
        ("", "configmaps") => CONFIG_MAPS,
        ("", "secrets") => SECRETS,
        ("", "serviceaccounts") => SERVICE_ACCOUNTS,
        ("", "endpoints") => ENDPOINTS,
        ("", "events") => EVENTS,
        ("events.k8s.io", "events") => NEW_EVENTS,
        ("discovery.k8s.io", "endpointslices") => ENDPOINT_SLICES,
        ("apiextensions.k8s.io", "customresourcedefinitions") => DEFINITIONS,
        ("networking.k8s.io", "ingresses") => INGRESSES,
        ("coordination.k8s.io", "leases") => LEASES,
        (
            "admissionregistration.k8s.io",
            "mutatingwebhookconfigurations" | "validatingwebhookconfigurations",
        ) => WEBHOOKS,
        ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings") => BINDINGS,
        ("rbac.authorization.k8s.io", "roles" | "clusterroles") => ROLES,
        _ => &[NAME, AGE],
    };
    Layout {
        columns: cells.iter().map(|(name, kind, priority, _)| Column::new(name, kind, *priority)).collect(),
        cells: Box::new(move |object| cells.iter().map(|(_, _, _, cell)| cell(object)).collect()),
    }
}

/// Text, or what kubectl prints in its place.
pub(super) fn or(text: &str, otherwise: &str) -> Value {
    if text.is_empty() { otherwise.into() } else { text.into() }
}

/// `a=b,c=d`, sorted.
pub(super) fn joined_map(object: &Value, path: &[&str]) -> Value {
    let mut pairs: Vec<String> = map(object, path)
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    pairs.sort();
    or(&pairs.join(","), "<none>")
}

fn count(object: &Value, path: &[&str]) -> usize {
    match at(object, path) {
        Some(Value::Object(map)) => map.len(),
        Some(Value::Array(list)) => list.len(),
        _ => 0,
    }
}

static SERVICES: &[Cell] = &[
    NAME,
    ("Type", "string", 0, |service| text_or_empty(service, &["spec", "type"]).into()),
    ("Cluster-IP", "string", 0, |service| or(text_or_empty(service, &["spec", "clusterIP"]), "<none>")),
    ("External-IP", "string", 0, |service| external_address(service).into()),
    ("Port(s)", "string", 0, |service| service_ports(service)),
    AGE,
    ("Selector", "string", 1, |service| joined_map(service, &["spec", "selector"])),
];

fn external_address(service: &Value) -> String {
    let listed = items(service, &["spec", "externalIPs"]).iter().filter_map(Value::as_str).map(str::to_owned);
    let mut addresses: Vec<String> = Vec::new();
    let kind = text_or_empty(service, &["spec", "type"]);
    if kind == "ExternalName" {
        return text_or_empty(service, &["spec", "externalName"]).to_owned();
    }
    if kind == "LoadBalancer" {
        addresses.extend(items(service, &["status", "loadBalancer", "ingress"]).iter().filter_map(
            |ingress| text(ingress, &["ip"]).or_else(|| text(ingress, &["hostname"])).map(str::to_owned),
        ));
    }
    addresses.extend(listed);
    match (addresses.is_empty(), kind) {
        (true, "LoadBalancer") => "<pending>".to_owned(),
        (true, _) => "<none>".to_owned(),
        (false, _) => addresses.join(","),
    }
}

fn service_ports(service: &Value) -> Value {
    let ports: Vec<String> = items(service, &["spec", "ports"])
        .iter()
        .map(|port| {
            let number = integer(port, &["port"]).unwrap_or_default();
            let protocol = text(port, &["protocol"]).unwrap_or("TCP");
            match integer(port, &["nodePort"]) {
                Some(node_port) if node_port > 0 => format!("{number}:{node_port}/{protocol}"),
                _ => format!("{number}/{protocol}"),
            }
        })
        .collect();
    or(&ports.join(","), "<none>")
}

static NODES: &[Cell] = &[
    NAME,
    ("Status", "string", 0, |node| node_status(node).into()),
    ("Roles", "string", 0, |node| {
        let labels = map(node, &["metadata", "labels"]);
        let roles: Vec<&str> = labels
            .into_iter()
            .flatten()
            .filter_map(|(key, _)| key.strip_prefix("node-role.kubernetes.io/"))
            .collect();
        or(&roles.join(","), "<none>")
    }),
    AGE,
    ("Version", "string", 0, |node| text_or_empty(node, &["status", "nodeInfo", "kubeletVersion"]).into()),
    ("Internal-IP", "string", 1, |node| node_address(node, "InternalIP")),
    ("External-IP", "string", 1, |node| node_address(node, "ExternalIP")),
    ("OS-Image", "string", 1, |node| {
        or(text_or_empty(node, &["status", "nodeInfo", "osImage"]), "<unknown>")
    }),
    ("Kernel-Version", "string", 1, |node| {
        or(text_or_empty(node, &["status", "nodeInfo", "kernelVersion"]), "<unknown>")
    }),
    ("Container-Runtime", "string", 1, |node| {
        or(text_or_empty(node, &["status", "nodeInfo", "containerRuntimeVersion"]), "<unknown>")
    }),
];

fn node_status(node: &Value) -> String {
    let ready = condition(node, "Ready");
    let mut status = match ready {
        Some("True") => "Ready".to_owned(),
        Some(_) => "NotReady".to_owned(),
        None => "Unknown".to_owned(),
    };
    if at(node, &["spec", "unschedulable"]) == Some(&Value::Bool(true)) {
        status.push_str(",SchedulingDisabled");
    }
    status
}

fn node_address(node: &Value, kind: &str) -> Value {
    let address = items(node, &["status", "addresses"])
        .iter()
        .find(|address| text(address, &["type"]) == Some(kind))
        .and_then(|address| text(address, &["address"]));
    or(address.unwrap_or_default(), "<none>")
}

/// The status of a condition.
pub(super) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a str> {
    items(object, &["status", "conditions"])
        .iter()
        .find(|condition| text(condition, &["type"]) == Some(kind))
        .and_then(|condition| text(condition, &["status"]))
}

static NAMESPACES: &[Cell] =
    &[NAME, ("Status", "string", 0, |namespace| text_or_empty(namespace, &["status", "phase"]).into()), AGE];

static CONFIG_MAPS: &[Cell] = &[
    NAME,
    ("Data", "string", 0, |config| {
        (count(config, &["data"]) + count(config, &["binaryData"])).to_string().into()
    }),
    AGE,
];

static SECRETS: &[Cell] = &[
    NAME,
    ("Type", "string", 0, |secret| text_or_empty(secret, &["type"]).into()),
    ("Data", "string", 0, |secret| count(secret, &["data"]).to_string().into()),
    AGE,
];

static SERVICE_ACCOUNTS: &[Cell] =
    &[NAME, ("Secrets", "string", 0, |account| count(account, &["secrets"]).to_string().into()), AGE];

static ENDPOINTS: &[Cell] = &[
    NAME,
    ("Endpoints", "string", 0, |endpoints| {
        let mut addresses = Vec::new();
        for subset in items(endpoints, &["subsets"]) {
            for address in items(subset, &["addresses"]).iter().filter_map(|address| text(address, &["ip"])) {
                let ports = items(subset, &["ports"]).iter().filter_map(|port| integer(port, &["port"]));
                addresses.extend(ports.map(|port| format!("{address}:{port}")));
            }
        }
        or(&shortened(addresses, 3), "<none>")
    }),
    AGE,
];

/// The first few, and how many more there are.
fn shortened(mut all: Vec<String>, shown: usize) -> String {
    let more = all.len().saturating_sub(shown);
    all.truncate(shown);
    match more {
        0 => all.join(","),
        more => format!("{} + {more} more...", all.join(",")),
    }
}

static ENDPOINT_SLICES: &[Cell] = &[
    NAME,
    ("AddressType", "string", 0, |slice| text_or_empty(slice, &["addressType"]).into()),
    ("Ports", "string", 0, |slice| {
        let ports = items(slice, &["ports"])
            .iter()
            .map(|port| integer(port, &["port"]).map_or_else(|| "*".to_owned(), |port| port.to_string()));
        or(&shortened(ports.collect(), 3), "<unset>")
    }),
    ("Endpoints", "string", 0, |slice| {
        let addresses = items(slice, &["endpoints"])
            .iter()
            .flat_map(|endpoint| items(endpoint, &["addresses"]))
            .filter_map(Value::as_str);
        or(&shortened(addresses.map(str::to_owned).collect(), 3), "<unset>")
    }),
    AGE,
];

static EVENTS: &[Cell] = &[
    ("Last Seen", "string", 0, |event| last_seen(event, &["lastTimestamp"], &["firstTimestamp"])),
    ("Type", "string", 0, |event| text_or_empty(event, &["type"]).into()),
    ("Reason", "string", 0, |event| text_or_empty(event, &["reason"]).into()),
    ("Object", "string", 0, |event| involved(event, "involvedObject")),
    ("Subobject", "string", 1, |event| text_or_empty(event, &["involvedObject", "fieldPath"]).into()),
    ("Source", "string", 1, |event| text_or_empty(event, &["source", "component"]).into()),
    ("Message", "string", 0, |event| text_or_empty(event, &["message"]).trim().into()),
    ("First Seen", "string", 1, |event| last_seen(event, &["firstTimestamp"], &["eventTime"])),
    ("Count", "string", 1, |event| integer(event, &["count"]).unwrap_or(1).to_string().into()),
    ("Name", "string", 1, |event| name(event).into()),
];

static NEW_EVENTS: &[Cell] = &[
    ("Last Seen", "string", 0, |event| {
        last_seen(event, &["deprecatedLastTimestamp"], &["deprecatedFirstTimestamp"])
    }),
    ("Type", "string", 0, |event| text_or_empty(event, &["type"]).into()),
    ("Reason", "string", 0, |event| text_or_empty(event, &["reason"]).into()),
    ("Object", "string", 0, |event| involved(event, "regarding")),
    ("Message", "string", 0, |event| text_or_empty(event, &["note"]).trim().into()),
    ("Name", "string", 1, |event| name(event).into()),
];

fn last_seen(event: &Value, first: &[&str], second: &[&str]) -> Value {
    let series = text(event, &["series", "lastObservedTime"]);
    let seen = series
        .or_else(|| text(event, first))
        .or_else(|| text(event, second))
        .or_else(|| text(event, &["eventTime"]))
        .or_else(|| text(event, &["metadata", "creationTimestamp"]));
    age(seen).into()
}

fn involved(event: &Value, field: &str) -> Value {
    let kind = text_or_empty(event, &[field, "kind"]).to_ascii_lowercase();
    format!("{kind}/{}", text_or_empty(event, &[field, "name"])).into()
}

static DEFINITIONS: &[Cell] = &[
    NAME,
    ("Created At", "date", 0, |definition| {
        text_or_empty(definition, &["metadata", "creationTimestamp"]).into()
    }),
];

static INGRESSES: &[Cell] = &[
    NAME,
    ("Class", "string", 0, |ingress| or(text_or_empty(ingress, &["spec", "ingressClassName"]), "<none>")),
    ("Hosts", "string", 0, |ingress| {
        let hosts = items(ingress, &["spec", "rules"]).iter().filter_map(|rule| text(rule, &["host"]));
        or(&shortened(hosts.map(str::to_owned).collect(), 3), "*")
    }),
    ("Address", "string", 0, |ingress| {
        let addresses = items(ingress, &["status", "loadBalancer", "ingress"]).iter();
        let addresses =
            addresses.filter_map(|ingress| text(ingress, &["ip"]).or_else(|| text(ingress, &["hostname"])));
        addresses.collect::<Vec<_>>().join(",").into()
    }),
    ("Ports", "string", 0, |ingress| {
        if items(ingress, &["spec", "tls"]).is_empty() { "80".into() } else { "80, 443".into() }
    }),
    AGE,
];

static LEASES: &[Cell] =
    &[NAME, ("Holder", "string", 0, |lease| text_or_empty(lease, &["spec", "holderIdentity"]).into()), AGE];

static WEBHOOKS: &[Cell] =
    &[NAME, ("Webhooks", "integer", 0, |configuration| count(configuration, &["webhooks"]).into()), AGE];

static BINDINGS: &[Cell] = &[
    NAME,
    ("Role", "string", 0, |binding| {
        let role = |field| text_or_empty(binding, &["roleRef", field]);
        format!("{}/{}", role("kind"), role("name")).into()
    }),
    AGE,
];

static ROLES: &[Cell] =
    &[NAME, ("Created At", "date", 0, |role| text_or_empty(role, &["metadata", "creationTimestamp"]).into())];
