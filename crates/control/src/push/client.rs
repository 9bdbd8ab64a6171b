//! A proxy as it introduces itself, and whether it may call itself that.

use crate::caller::Caller;
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::google::protobuf::value::Kind;
use std::net::IpAddr;

/// What a proxy says of itself. Source: Istio, `pilot/pkg/model/context.go`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    /// `sidecar` or `router`.
    pub(crate) kind: String,
    /// Its address.
    pub(crate) address: Option<IpAddr>,
    /// The pod.
    pub(crate) pod: String,
    /// The pod's namespace.
    pub(crate) namespace: String,
}

/// Why a node is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ClientError {
    /// Not four parts.
    #[error("node id '{0}' is not of the form TYPE~IP~POD.NAMESPACE~DOMAIN")]
    Form(String),
    /// A type we have no configuration for.
    #[error("node type '{0}' is not served; sidecar and router are")]
    Kind(String),
    /// Claims to be somebody else.
    #[error("the caller is {caller}, but the node says that its {what} is '{claimed}'")]
    Claim {
        /// Who it is.
        caller: String,
        /// What it claims.
        what: &'static str,
        /// The value claimed.
        claimed: String,
    },
}

impl Client {
    /// Reads the node and holds it against who is really calling.
    pub(crate) fn verify(node: &Node, caller: &Caller) -> Result<Self, ClientError> {
        let client = Self::read(node)?;
        if let Caller::Workload { namespace, service_account } = caller {
            let claims = [
                ("namespace", Some(client.namespace.clone()), namespace),
                ("metadata NAMESPACE", metadata(node, "NAMESPACE"), namespace),
                ("metadata SERVICE_ACCOUNT", metadata(node, "SERVICE_ACCOUNT"), service_account),
            ];
            for (what, claimed, real) in claims {
                if let Some(claimed) = claimed.filter(|claimed| !claimed.is_empty() && claimed != real) {
                    let caller = format!("service account {namespace}/{service_account}");
                    return Err(ClientError::Claim { caller, what, claimed });
                }
            }
        }
        Ok(client)
    }

    fn read(node: &Node) -> Result<Self, ClientError> {
        let form = || ClientError::Form(node.id.chars().take(200).collect());
        let parts: Vec<_> = node.id.split('~').collect();
        let [kind, address, name, _domain] = parts.as_slice() else { return Err(form()) };
        if !matches!(*kind, "sidecar" | "router") {
            return Err(ClientError::Kind(kind.chars().take(50).collect()));
        }
        // Names of pods have dots at times; those of namespaces never.
        let (pod, namespace) = name.rsplit_once('.').ok_or_else(form)?;
        if pod.is_empty() || namespace.is_empty() {
            return Err(form());
        }
        Ok(Self {
            kind: (*kind).to_owned(),
            address: address.parse().ok(),
            pod: pod.to_owned(),
            namespace: namespace.to_owned(),
        })
    }
}

/// A text of the node's metadata.
pub(crate) fn metadata(node: &Node, key: &str) -> Option<String> {
    match node.metadata.as_ref()?.fields.get(key)?.kind.as_ref()? {
        Kind::StringValue(text) => Some(text.clone()),
        _ => None,
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
