//! What proxies tell each other about the workload behind them: the values of metric labels such as
//! `source_workload`. Istio's wire form is a base64 `google.protobuf.Struct` in the header
//! `x-envoy-peer-metadata` and, for TCP, the same struct in an `Any` behind a small frame.
//!
//! Source: istio/proxy `extensions/common/metadata_object.cc`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::google::protobuf::{Struct, Value, value::Kind};
use prost::Message;
use std::collections::HashMap;

/// Longest header value that is decoded; longer ones are ignored, the peer stays unknown.
const HEADER_LIMIT: usize = 16 * 1024;

/// A workload as metrics name it. An empty string is an unknown value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PeerMetadata {
    /// The pod or VM instance.
    pub instance: String,
    /// The workload, in Kubernetes the Deployment or the like.
    pub workload: String,
    /// Its namespace.
    pub namespace: String,
    /// Its cluster (`CLUSTER_ID`).
    pub cluster: String,
    /// Label `service.istio.io/canonical-name` or what stands in for it.
    pub canonical_service: String,
    /// Label `service.istio.io/canonical-revision` or what stands in for it.
    pub canonical_revision: String,
    /// Label `app`.
    pub app: String,
    /// Label `version`.
    pub version: String,
    /// Kubernetes owner reference, as `kubernetes://apis/apps/v1/namespaces/NS/deployments/NAME`.
    pub owner: String,
    /// The mesh (`MESH_ID`).
    pub mesh: String,
}

impl PeerMetadata {
    /// The local workload, from the node metadata of the bootstrap.
    pub fn from_node(node: &Node) -> Self {
        node.metadata.as_ref().map(Self::from_struct).unwrap_or_default()
    }

    /// The struct we send of ourselves.
    pub fn of_node(node: &Node) -> Struct {
        Self::from_node(node).to_struct()
    }

    /// From the struct that crosses the wire; also the shape of node metadata.
    pub fn from_struct(metadata: &Struct) -> Self {
        let text = |name: &str| string(&metadata.fields, name).to_owned();
        let labels = match metadata.fields.get("LABELS").and_then(|value| value.kind.as_ref()) {
            Some(Kind::StructValue(labels)) => Some(&labels.fields),
            _ => None,
        };
        let label = |name: &str| labels.map(|labels| string(labels, name)).filter(|value| !value.is_empty());
        let workload = text("WORKLOAD_NAME");
        let first = |names: &[&str]| names.iter().find_map(|name| label(name)).unwrap_or_default().to_owned();
        let mut canonical_service =
            first(&["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"]);
        if canonical_service.is_empty() {
            canonical_service.clone_from(&workload);
        }
        let mut canonical_revision =
            first(&["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"]);
        if canonical_revision.is_empty() && !canonical_service.is_empty() {
            canonical_revision.push_str("latest");
        }
        Self {
            instance: text("NAME"),
            namespace: text("NAMESPACE"),
            cluster: text("CLUSTER_ID"),
            owner: text("OWNER"),
            mesh: text("MESH_ID"),
            app: first(&["app"]),
            version: first(&["version"]),
            workload,
            canonical_service,
            canonical_revision,
        }
    }

    /// From endpoint metadata `istio.workload`: `NAME;NAMESPACE;CANONICAL;REVISION;CLUSTER`.
    pub fn of_endpoint(text: &str) -> Option<Self> {
        let mut parts = text.split(';').map(str::to_owned);
        let workload = parts.next()?;
        let namespace = parts.next()?;
        let canonical_service = parts.next().unwrap_or_default();
        let canonical_revision = parts.next().unwrap_or_default();
        let cluster = parts.next().unwrap_or_default();
        Some(Self { workload, namespace, canonical_service, canonical_revision, cluster, ..Self::default() })
    }

    /// From the header `x-envoy-peer-metadata`. `None` when it is not base64 of a struct.
    pub fn of_header(value: &[u8]) -> Option<Self> {
        if value.is_empty() || value.len() > HEADER_LIMIT {
            return None;
        }
        let bytes = STANDARD.decode(value).ok()?;
        Struct::decode(bytes.as_slice()).ok().map(|metadata| Self::from_struct(&metadata))
    }

    /// The struct that crosses the wire, the same for the header and for TCP.
    pub fn to_struct(&self) -> Struct {
        let mut labels = HashMap::new();
        for (name, value) in [
            ("service.istio.io/canonical-name", &self.canonical_service),
            ("service.istio.io/canonical-revision", &self.canonical_revision),
            ("app", &self.app),
            ("version", &self.version),
        ] {
            insert(&mut labels, name, value);
        }
        let mut fields = HashMap::new();
        for (name, value) in [
            ("NAME", &self.instance),
            ("NAMESPACE", &self.namespace),
            ("CLUSTER_ID", &self.cluster),
            ("OWNER", &self.owner),
            ("MESH_ID", &self.mesh),
            ("WORKLOAD_NAME", &self.workload),
        ] {
            insert(&mut fields, name, value);
        }
        if !labels.is_empty() {
            let kind = Some(Kind::StructValue(Struct { fields: labels }));
            fields.insert("LABELS".to_owned(), Value { kind });
        }
        Struct { fields }
    }

    /// The value of the header `x-envoy-peer-metadata`.
    pub fn to_header(&self) -> String {
        STANDARD.encode(self.to_struct().encode_to_vec())
    }
}

fn string<'a>(fields: &'a HashMap<String, Value>, name: &str) -> &'a str {
    match fields.get(name).and_then(|value| value.kind.as_ref()) {
        Some(Kind::StringValue(text)) => text,
        _ => "",
    }
}

/// A text member of a struct.
pub(super) fn text<'a>(metadata: &'a Struct, name: &str) -> Option<&'a str> {
    Some(string(&metadata.fields, name)).filter(|value| !value.is_empty())
}

fn insert(fields: &mut HashMap<String, Value>, name: &str, value: &str) {
    if !value.is_empty() {
        fields.insert(name.to_owned(), Value { kind: Some(Kind::StringValue(value.to_owned())) });
    }
}

#[cfg(test)]
#[path = "peer_tests.rs"]
mod tests;
