//! Workloads: pods, and what a WorkloadEntry describes.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use crate::map::Name;

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// Whether `labels` have every entry of `selector`. An empty selector selects everything.
pub fn selects(selector: &Labels, labels: &Labels) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// Where a workload runs, as far as traffic cares.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Locality {
    /// Label `topology.kubernetes.io/region` of the node.
    pub region: String,
    /// Label `topology.kubernetes.io/zone` of the node.
    pub zone: String,
    /// Label `topology.istio.io/subzone` of the node.
    pub subzone: String,
}

impl Locality {
    /// Reads `region/zone/subzone`, the form of WorkloadEntries and of settings. The label
    /// `istio-locality` uses dots, because a label cannot hold a slash.
    pub fn parse(text: &str) -> Self {
        let separator = if text.contains('/') { '/' } else { '.' };
        let mut parts = text.splitn(3, separator).map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        Self { region: next(), zone: next(), subzone: next() }
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.region.is_empty() && self.zone.is_empty() && self.subzone.is_empty()
    }
}

/// What a [`Workload`] is in the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkloadKind {
    /// A pod.
    Pod,
    /// A WorkloadEntry, or an endpoint written into a ServiceEntry.
    Entry,
}

/// Something that has an address and an identity.
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    /// Its namespace.
    pub namespace: Name,
    /// The name of the pod or WorkloadEntry.
    pub name: Name,
    /// What it is in the API.
    pub kind: WorkloadKind,
    /// Its addresses, the first being the main one.
    pub addresses: Vec<IpAddr>,
    /// Its labels.
    pub labels: Arc<Labels>,
    /// Its annotations that traffic cares about.
    pub annotations: Arc<Labels>,
    /// The service account, without namespace; empty where there is none.
    pub service_account: Name,
    /// The name of the Deployment, StatefulSet… it belongs to, or its own.
    pub workload_name: Name,
    /// Where it runs.
    pub locality: Locality,
    /// The node it runs on.
    pub node: Name,
    /// The network it is in.
    pub network: Name,
    /// Whether it accepts mutual TLS: label `security.istio.io/tlsMode: istio`, set at injection.
    pub meshed: bool,
    /// Whether it shares its node's addresses, so that they do not identify it.
    pub host_network: bool,
    /// The named ports of its containers.
    pub ports: BTreeMap<String, u16>,
}

/// The label that says a workload accepts mutual TLS.
pub const TLS_MODE_LABEL: &str = "security.istio.io/tlsMode";
/// The label that places a workload, against what its node says.
pub const LOCALITY_LABEL: &str = "istio-locality";

impl Workload {
    /// The service the workload is part of, for telemetry.
    pub fn canonical_name(&self) -> &str {
        canonical_name(&self.labels).unwrap_or(&self.workload_name)
    }

    /// The version of that service, for telemetry.
    pub fn canonical_revision(&self) -> &str {
        canonical_revision(&self.labels)
    }
}

/// The canonical service name labels give; the workload's name stands in where there is none.
pub fn canonical_name(labels: &Labels) -> Option<&str> {
    ["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"]
        .into_iter()
        .find_map(|label| labels.get(label))
        .map(String::as_str)
}

/// The canonical revision labels give, `latest` where they say nothing.
pub fn canonical_revision(labels: &Labels) -> &str {
    ["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"]
        .into_iter()
        .find_map(|label| labels.get(label))
        .map_or("latest", String::as_str)
}

/// A namespace of the mesh.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Its name.
    pub name: String,
    /// Its labels, injection's among them.
    pub labels: Labels,
}

impl Namespace {
    /// Whether pods without a word of their own are injected: `istio-injection: enabled`, or a revision
    /// in `istio.io/rev` where `istio-injection` says nothing.
    pub fn injects(&self) -> bool {
        match self.labels.get("istio-injection").map(String::as_str) {
            Some(setting) => setting == "enabled",
            None => self.labels.contains_key("istio.io/rev"),
        }
    }
}
