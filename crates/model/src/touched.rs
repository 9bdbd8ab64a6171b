//! Which parts of the mesh a batch of changes touched, named as precisely as pushes can use it.

use std::{collections::BTreeSet, sync::Arc};

use crate::{host::Host, map::Name};

/// A namespaced object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    /// Its namespace.
    pub namespace: Name,
    /// Its name.
    pub name: Name,
}

impl ObjectName {
    /// Names an object.
    pub fn new(namespace: impl Into<Name>, name: impl Into<Name>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl std::fmt::Display for ObjectName {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

/// What changed between two snapshots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Hosts whose service came, went or changed: its ports, addresses, resolution, visibility, or the
    /// identities behind it.
    pub services: BTreeSet<Host>,
    /// Hosts of which only endpoints changed.
    pub endpoints: BTreeSet<Host>,
    /// Hosts (or wildcards) whose routes in sidecars changed.
    pub virtual_services: BTreeSet<Host>,
    /// Gateways that changed, or whose routes did.
    pub gateways: BTreeSet<ObjectName>,
    /// Hosts (or wildcards) whose destination rules changed.
    pub destination_rules: BTreeSet<Host>,
    /// Namespaces whose PeerAuthentications changed.
    pub peer_authentications: BTreeSet<Name>,
    /// Namespaces whose AuthorizationPolicies changed.
    pub authorization_policies: BTreeSet<Name>,
    /// Namespaces whose RequestAuthentications changed.
    pub request_authentications: BTreeSet<Name>,
    /// Namespaces whose Telemetry resources changed.
    pub telemetries: BTreeSet<Name>,
    /// Namespaces whose Sidecars changed.
    pub sidecars: BTreeSet<Name>,
    /// Secrets that came, went or were renewed.
    pub secrets: BTreeSet<ObjectName>,
    /// Workloads whose labels, identity or addresses changed.
    pub workloads: BTreeSet<ObjectName>,
    /// Namespaces that came, went or whose labels changed.
    pub namespaces: BTreeSet<Name>,
    /// The settings of the mesh changed: everything may look different.
    pub mesh: bool,
    /// Objects that were put into quarantine or let out of it, so that their status is written.
    pub quarantine: bool,
    /// Istio's resources came, went or changed, whatever else that touched: their status is to be written.
    pub configs: bool,
}

impl Touched {
    /// Whether nothing that matters changed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Joins what two batches touched, so that a burst is pushed once.
    pub fn merge(&mut self, other: Touched) {
        self.services.extend(other.services);
        self.endpoints.extend(other.endpoints);
        self.virtual_services.extend(other.virtual_services);
        self.gateways.extend(other.gateways);
        self.destination_rules.extend(other.destination_rules);
        self.peer_authentications.extend(other.peer_authentications);
        self.authorization_policies.extend(other.authorization_policies);
        self.request_authentications.extend(other.request_authentications);
        self.telemetries.extend(other.telemetries);
        self.sidecars.extend(other.sidecars);
        self.secrets.extend(other.secrets);
        self.workloads.extend(other.workloads);
        self.namespaces.extend(other.namespaces);
        self.mesh |= other.mesh;
        self.quarantine |= other.quarantine;
        self.configs |= other.configs;
    }
}

/// What [`crate::Store::apply`] hands out.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The mesh as it is now.
    pub snapshot: Arc<crate::Snapshot>,
    /// What differs from the snapshot before.
    pub touched: Touched,
}
