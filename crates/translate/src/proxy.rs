//! Who asks: what a proxy says of itself when it connects.

use std::{net::IpAddr, sync::Arc};

use envoy_types::pb::{
    envoy::config::core::v3::Node,
    google::protobuf::{Struct, Value, value::Kind},
};
use mizzen_model::{Labels, Locality, Snapshot, map::Name};

/// What a proxy does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProxyKind {
    /// Beside an application.
    Sidecar,
    /// At the edge: a gateway.
    Router,
}

/// How connections get to the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Interception {
    /// Redirected by the kernel, the original destination asked of the socket.
    Redirect,
    /// Redirected with addresses kept.
    Tproxy,
    /// Not at all: the application dials the proxy.
    None,
}

/// A proxy as far as its resources depend on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Proxy {
    /// The whole node id.
    pub id: String,
    /// What it does.
    pub kind: ProxyKind,
    /// Its addresses, the main one first.
    pub addresses: Vec<IpAddr>,
    /// The name of its pod.
    pub name: Name,
    /// Its namespace.
    pub namespace: Name,
    /// Its labels when it started.
    pub labels: Arc<Labels>,
    /// Its service account.
    pub service_account: Name,
    /// The workload it belongs to.
    pub workload_name: Name,
    /// The cluster it is in.
    pub cluster: Name,
    /// The mesh it is in.
    pub mesh_id: Name,
    /// Its version, as `ISTIO_VERSION` says.
    pub version: String,
    /// Where it runs.
    pub locality: Locality,
    /// The node it runs on.
    pub node: Name,
    /// Whether it has Istio's own filters. Stock Envoy has not.
    pub istio_filters: bool,
    /// Whether it takes the virtual hosts of services one by one (VHDS), so that a change of one does not
    /// send all of its port again. Stock Envoy could, but holds back requests until a host is asked for.
    pub virtual_host_discovery: bool,
    /// Whether it accepts HTTP/1.0.
    pub http10: bool,
    /// How connections get to it.
    pub interception: Interception,
    /// Whether it answers DNS queries of its application.
    pub dns_capture: bool,
}

/// Why a node cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// The id has not four parts.
    #[error("node id {0:?} must be TYPE~IP~NAME.NAMESPACE~DOMAIN")]
    Id(String),
    /// The type is not served.
    #[error("node type {0:?} is not served; sidecar and router are")]
    Kind(String),
    /// No address is known.
    #[error("node {0:?} says no IP address, neither in its id nor in INSTANCE_IPS")]
    Address(String),
}

impl Proxy {
    /// Reads what a proxy says of itself: the node id and Istio's metadata.
    pub fn from_node(node: &Node) -> Result<Self, ProxyError> {
        let parts: Vec<&str> = node.id.split('~').collect();
        let [kind, address, name, domain] = parts.as_slice() else {
            return Err(ProxyError::Id(node.id.clone()));
        };
        let kind = match *kind {
            "sidecar" => ProxyKind::Sidecar,
            "router" => ProxyKind::Router,
            other => return Err(ProxyError::Kind(other.to_owned())),
        };
        let empty = Struct::default();
        let metadata = node.metadata.as_ref().unwrap_or(&empty);
        let text = |key: &str| text(metadata, key).unwrap_or_default();
        let listed = text("INSTANCE_IPS");
        let mut addresses: Vec<IpAddr> = listed.split(',').filter_map(|ip| ip.trim().parse().ok()).collect();
        if let Ok(main) = address.parse()
            && !addresses.contains(&main)
        {
            addresses.insert(0, main);
        }
        if addresses.is_empty() {
            return Err(ProxyError::Address(node.id.clone()));
        }
        let (pod, namespace_of_id) =
            name.rsplit_once('.').unwrap_or((name, domain.split('.').next().unwrap_or("")));
        let namespace = Some(text("NAMESPACE")).filter(|text| !text.is_empty());
        let features = text("MIZZEN_FEATURES");
        let has = |feature: &str| features.split(',').any(|named| named.trim() == feature);
        Ok(Self {
            id: node.id.clone(),
            kind,
            addresses,
            name: pod.into(),
            namespace: namespace.unwrap_or_else(|| namespace_of_id.to_owned()).into(),
            labels: Arc::new(labels(metadata)),
            service_account: text("SERVICE_ACCOUNT").into(),
            workload_name: text("WORKLOAD_NAME").into(),
            cluster: Some(text("CLUSTER_ID"))
                .filter(|id| !id.is_empty())
                .unwrap_or_else(|| "Kubernetes".into())
                .into(),
            mesh_id: text("MESH_ID").into(),
            version: text("ISTIO_VERSION"),
            locality: node.locality.as_ref().map_or_else(Locality::default, |locality| Locality {
                region: locality.region.clone(),
                zone: locality.zone.clone(),
                subzone: locality.sub_zone.clone(),
            }),
            node: text("NODE_NAME").into(),
            istio_filters: has("istio-filters"),
            virtual_host_discovery: has("vhds"),
            http10: is_true(&text("HTTP10")),
            interception: match text("INTERCEPTION_MODE").as_str() {
                "TPROXY" => Interception::Tproxy,
                "NONE" => Interception::None,
                _ => Interception::Redirect,
            },
            dns_capture: is_true(&text("DNS_CAPTURE")),
        })
    }

    /// Whether it is a gateway.
    pub fn is_router(&self) -> bool {
        self.kind == ProxyKind::Router
    }

    /// The labels of its workload as they are now, or as they were when the proxy started.
    pub fn current_labels(&self, snapshot: &Snapshot) -> Arc<Labels> {
        let workload = snapshot
            .pod(&self.namespace, &self.name)
            .or_else(|| snapshot.workload_entry(&self.namespace, &self.name));
        workload.map_or_else(|| Arc::clone(&self.labels), |workload| Arc::clone(&workload.labels))
    }

    /// Where it runs: what the proxy says, or what its workload's node says.
    pub fn current_locality(&self, snapshot: &Snapshot) -> Locality {
        if !self.locality.is_empty() {
            return self.locality.clone();
        }
        snapshot.pod(&self.namespace, &self.name).map(|pod| pod.locality.clone()).unwrap_or_default()
    }
}

fn is_true(text: &str) -> bool {
    matches!(text, "true" | "1")
}

/// A metadata field as text, whatever its type: injected environment variables are all text, other
/// sources use proper booleans and numbers.
fn text(metadata: &Struct, key: &str) -> Option<String> {
    match metadata.fields.get(key)?.kind.as_ref()? {
        Kind::StringValue(text) => Some(text.clone()),
        Kind::BoolValue(value) => Some(value.to_string()),
        Kind::NumberValue(value) => Some(value.to_string()),
        Kind::ListValue(list) => {
            let texts = list.values.iter().filter_map(|value| match &value.kind {
                Some(Kind::StringValue(text)) => Some(text.as_str()),
                _ => None,
            });
            Some(texts.collect::<Vec<_>>().join(","))
        }
        _ => None,
    }
}

fn labels(metadata: &Struct) -> Labels {
    let value = |value: &Value| match &value.kind {
        Some(Kind::StringValue(text)) => Some(text.clone()),
        _ => None,
    };
    match metadata.fields.get("LABELS").and_then(|field| field.kind.as_ref()) {
        Some(Kind::StructValue(labels)) => {
            labels.fields.iter().filter_map(|(key, field)| Some((key.clone(), value(field)?))).collect()
        }
        _ => Labels::new(),
    }
}

#[cfg(test)]
#[path = "proxy_tests.rs"]
mod tests;
