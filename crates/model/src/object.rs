//! What the store is told: objects that came, changed or went.

use std::fmt;

use k8s_openapi::api::{core::v1 as core, discovery::v1 as discovery};
use mizzen_api::{Config, Kind, Violation};

use crate::mesh::MeshConfig;

/// An object of the API that the mesh depends on.
#[derive(Clone, Debug)]
pub enum Object {
    /// One of Istio's resources.
    Config(Box<Config>),
    /// A resource that could not be read; it is quarantined.
    Unreadable(ObjectRef, Vec<Violation>),
    /// A namespace.
    Namespace(Box<core::Namespace>),
    /// A service.
    Service(Box<core::Service>),
    /// Some of a service's endpoints.
    EndpointSlice(Box<discovery::EndpointSlice>),
    /// A pod.
    Pod(Box<core::Pod>),
    /// A secret with a certificate or a bundle of authorities.
    Secret(Box<core::Secret>),
    /// A node, for where its pods run.
    Node(Box<core::Node>),
    /// The settings of the mesh.
    MeshConfig(Box<MeshConfig>),
}

/// The name of an object of the API.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectRef {
    /// One of Istio's resources.
    Config {
        /// Its kind.
        kind: Kind,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A namespace.
    Namespace {
        /// Its name.
        name: String,
    },
    /// A service.
    Service {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// Some of a service's endpoints.
    EndpointSlice {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A pod.
    Pod {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A secret.
    Secret {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A node.
    Node {
        /// Its name.
        name: String,
    },
    /// The settings of the mesh; without them the defaults hold.
    MeshConfig,
}

/// One step of the store.
#[derive(Clone, Debug)]
pub enum Change {
    /// The object exists now and looks like this.
    Upsert(Object),
    /// The object is gone.
    Delete(ObjectRef),
}

impl ObjectRef {
    /// The name of one of Istio's resources.
    pub fn config(kind: Kind, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self::Config { kind, namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config { kind, namespace, name } => write!(formatter, "{kind} {namespace}/{name}"),
            Self::Namespace { name } => write!(formatter, "Namespace {name}"),
            Self::Service { namespace, name } => write!(formatter, "Service {namespace}/{name}"),
            Self::EndpointSlice { namespace, name } => write!(formatter, "EndpointSlice {namespace}/{name}"),
            Self::Pod { namespace, name } => write!(formatter, "Pod {namespace}/{name}"),
            Self::Secret { namespace, name } => write!(formatter, "Secret {namespace}/{name}"),
            Self::Node { name } => write!(formatter, "Node {name}"),
            Self::MeshConfig => formatter.write_str("mesh configuration"),
        }
    }
}
