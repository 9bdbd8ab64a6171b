//! The TCP data path: network filters, and bytes passed on as they are.

mod metadata_exchange;
mod proxy;

pub use proxy::{Target, TcpProxy, WeightedCluster};

use crate::connection::Downstream;
use crate::http::filter::rbac::{Rbac, Subject, Verdict};
use crate::stream::Stream;
use std::sync::Arc;

pub(crate) use proxy::serve;

/// A network filter that comes before the last one of a chain.
pub enum NetworkFilter {
    /// Closes connections that policy does not allow.
    Rbac(Arc<Rbac>),
    /// Proxies tell each other who they are, where this application protocol was agreed.
    MetadataExchange(Arc<[u8]>),
}

/// Asks the filters that decide whether the connection may be served; the reason where not, as
/// `%CONNECTION_TERMINATION_DETAILS%` gives it.
pub(crate) fn denied(downstream: &Downstream) -> Option<String> {
    downstream.chain.filters.iter().find_map(|filter| match filter {
        NetworkFilter::Rbac(rbac) => match rbac.check(&Subject::of(downstream)) {
            Verdict::Allowed(_) => None,
            denied => Some(denied.details()),
        },
        NetworkFilter::MetadataExchange(_) => None,
    })
}

/// Whether client and this proxy agreed to exchange metadata at the start of the connection.
fn exchanges_metadata(downstream: &Downstream) -> bool {
    let agreed = downstream.tls.as_ref().and_then(|tls| tls.application_protocol.as_deref());
    agreed.is_some_and(|agreed| {
        downstream.chain.filters.iter().any(|filter| match filter {
            NetworkFilter::MetadataExchange(protocol) => **protocol == *agreed,
            NetworkFilter::Rbac(_) => false,
        })
    })
}

/// The two ends of a proxied connection.
struct Ends {
    downstream: Stream,
    upstream: Stream,
}
