//! One resource of the mesh's configuration, of whatever kind.

use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    extensions::{TrafficExtension, WasmPlugin},
    kind::Kind,
    meta::Meta,
    networking::{
        DestinationRule, EnvoyFilter, Gateway, ProxyConfig, ServiceEntry, Sidecar, VirtualService,
        WorkloadEntry, WorkloadGroup,
    },
    security::{AuthorizationPolicy, PeerAuthentication, RequestAuthentication},
    telemetry::Telemetry,
};

/// One resource of the mesh's configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Names, labels and bookkeeping.
    pub meta: Meta,
    /// What is asked for.
    pub spec: Spec,
}

impl Config {
    /// The kind.
    pub fn kind(&self) -> Kind {
        self.spec.kind()
    }

    /// The object as the API has it, in the version it is stored in, without status.
    ///
    /// # Errors
    /// A number JSON cannot hold (not a number, infinite), which [`crate::parse`] never yields.
    pub fn to_value(&self) -> Result<Value, serde_json::Error> {
        let kind = self.kind();
        Ok(json!({
            "apiVersion": format!("{}/{}", kind.group(), kind.storage_version()),
            "kind": kind.name(),
            "metadata": self.meta.to_value(),
            "spec": serde_json::to_value(&self.spec)?,
        }))
    }
}

macro_rules! specs {
    ($($kind:ident),* $(,)?) => {
        /// What a resource asks for, by kind.
        #[derive(Clone, Debug, PartialEq, Serialize)]
        #[serde(untagged)]
        pub enum Spec {
            $(
                #[doc = concat!("Of a [`", stringify!($kind), "`].")]
                $kind(Box<$kind>),
            )*
        }

        impl Spec {
            /// The kind of resource this is the spec of.
            pub fn kind(&self) -> Kind {
                match self {
                    $(Spec::$kind(_) => Kind::$kind,)*
                }
            }

            /// Reads a spec whose fields are known to have the right types.
            pub(crate) fn from_value(kind: Kind, value: Value) -> Result<Self, serde_json::Error> {
                match kind {
                    $(Kind::$kind => Ok(Spec::$kind(serde_json::from_value(value)?)),)*
                }
            }

            /// The JSON schema of a kind's spec, as its Rust types have it.
            pub(crate) fn json_schema(kind: Kind, generator: schemars::SchemaGenerator) -> schemars::Schema {
                match kind {
                    $(Kind::$kind => generator.into_root_schema_for::<$kind>(),)*
                }
            }
        }

        $(
            impl From<$kind> for Spec {
                fn from(spec: $kind) -> Self {
                    Spec::$kind(Box::new(spec))
                }
            }
        )*
    };
}

specs!(
    Gateway,
    VirtualService,
    DestinationRule,
    ServiceEntry,
    WorkloadEntry,
    WorkloadGroup,
    Sidecar,
    EnvoyFilter,
    ProxyConfig,
    WasmPlugin,
    TrafficExtension,
    PeerAuthentication,
    RequestAuthentication,
    AuthorizationPolicy,
    Telemetry,
);
