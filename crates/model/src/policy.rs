//! Which mutual TLS a workload asks of its clients: PeerAuthentication, narrowest scope first.

use std::sync::Arc;

use mizzen_api::security::{MutualTlsMode, PeerAuthentication};

use crate::{
    index::attached::{Declared, Selecting},
    snapshot::Snapshot,
    workload::Labels,
};

/// What a server asks of its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ServerTls {
    /// Plain connections only; mutual TLS is not offered.
    Disable,
    /// Both are accepted.
    Permissive,
    /// Mutual TLS only.
    Strict,
}

impl ServerTls {
    /// As it is written in a PeerAuthentication.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "DISABLE",
            Self::Permissive => "PERMISSIVE",
            Self::Strict => "STRICT",
        }
    }
}

/// The mutual TLS that holds for a workload, by port.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerPolicy {
    mode: ServerTls,
    ports: Vec<(u16, ServerTls)>,
    source: Option<Arc<Declared<PeerAuthentication>>>,
}

impl PeerPolicy {
    /// For ports nothing special is said of.
    pub fn mode(&self) -> ServerTls {
        self.mode
    }

    /// For a port of the workload.
    pub fn of_port(&self, port: u16) -> ServerTls {
        self.ports.iter().find(|(number, _)| *number == port).map_or(self.mode, |(_, mode)| *mode)
    }

    /// The ports something special is said of.
    pub fn ports(&self) -> impl Iterator<Item = (u16, ServerTls)> {
        self.ports.iter().copied()
    }

    /// The narrowest PeerAuthentication that has a say.
    pub fn source(&self) -> Option<&Arc<Declared<PeerAuthentication>>> {
        self.source.as_ref()
    }
}

impl Snapshot {
    /// The mutual TLS a workload asks for: of its own PeerAuthentication, else the namespace's, else the
    /// mesh's, the oldest of several; what is unset is inherited, and the last word is PERMISSIVE.
    pub fn peer_policy(&self, namespace: &str, labels: &Labels) -> PeerPolicy {
        let root = self.root_namespace();
        let own = self.peer_authentications.of_namespace(namespace, labels);
        let of_mesh = self.peer_authentications.of_namespace(root, labels);
        let (selecting, whole): (Vec<_>, Vec<_>) =
            own.into_iter().partition(|policy| policy.spec.selector().is_some());
        let workload = selecting.into_iter().next();
        let whole = whole.into_iter().next().filter(|_| namespace != root);
        let of_mesh = of_mesh.into_iter().find(|policy| policy.spec.selector().is_none());

        let mode = |policy: &Option<Arc<Declared<PeerAuthentication>>>| {
            policy.as_ref().and_then(|policy| read(policy.spec.mtls.as_ref()?.mode?))
        };
        let inherited = mode(&whole).or_else(|| mode(&of_mesh)).unwrap_or(ServerTls::Permissive);
        let effective = mode(&workload).unwrap_or(inherited);
        let ports = workload.iter().flat_map(|policy| &policy.spec.port_level_mtls);
        PeerPolicy {
            mode: effective,
            ports: ports.map(|(port, tls)| (*port, tls.mode.and_then(read).unwrap_or(effective))).collect(),
            source: workload.or(whole).or(of_mesh),
        }
    }
}

fn read(mode: MutualTlsMode) -> Option<ServerTls> {
    match mode {
        MutualTlsMode::Unset => None,
        MutualTlsMode::Disable => Some(ServerTls::Disable),
        MutualTlsMode::Permissive => Some(ServerTls::Permissive),
        MutualTlsMode::Strict => Some(ServerTls::Strict),
    }
}
