//! What a simulated proxy needs to know of a resource. Found out once for all proxies: a version is a
//! hash of the body, so that equal versions are equal resources.

use super::objects::{MARK_PREFIX, mark_of_address};
use bytes::Bytes;
use envoy_types::pb::envoy::config::cluster::v3::{Cluster, cluster};
use envoy_types::pb::envoy::config::core::v3::address::Address;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::envoy::config::listener::v3::Listener;
use envoy_types::pb::envoy::config::listener::v3::filter::ConfigType;
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, http_connection_manager::RouteSpecifier,
};
use mizzen_xds::TypeUrl;
use parking_lot::RwLock;
use prost::Message as _;
use std::collections::HashMap;
use std::sync::Arc;

/// Of one resource in one version.
#[derive(Debug, PartialEq)]
pub struct Facts {
    /// Its name.
    pub name: Arc<str>,
    /// The newest mark that it carries; 0 if none.
    pub mark: u32,
    /// The endpoints, routes or virtual hosts that have to be asked for along with it.
    pub refers_to: Vec<Arc<str>>,
}

/// The facts of every version that any proxy was sent.
#[derive(Default)]
pub struct FactBook(RwLock<HashMap<u64, Arc<Facts>>>);

impl FactBook {
    /// Looks a resource up, and into it when it is the first of its version.
    ///
    /// # Errors
    /// A body that is not of its type.
    pub fn look_up(
        &self,
        type_url: TypeUrl,
        name: &str,
        version: u64,
        body: &Bytes,
    ) -> Result<Arc<Facts>, prost::DecodeError> {
        if let Some(facts) = self.0.read().get(&version) {
            return Ok(facts.clone());
        }
        let (mark, refers_to) = match type_url {
            TypeUrl::CLUSTER => (0, endpoints_of(body)?),
            TypeUrl::LISTENER => (0, routes_of(body)?),
            TypeUrl::ROUTE => (mark_of_text(body), virtual_hosts_of(body)?),
            TypeUrl::ENDPOINT => (mark_of_endpoints(body)?, Vec::new()),
            _ => (mark_of_text(body), Vec::new()),
        };
        let facts = Arc::new(Facts { name: name.into(), mark, refers_to });
        Ok(self.0.write().entry(version).or_insert(facts).clone())
    }
}

fn endpoints_of(body: &Bytes) -> Result<Vec<Arc<str>>, prost::DecodeError> {
    let cluster = Cluster::decode(body.clone())?;
    let eds = cluster::ClusterDiscoveryType::Type(cluster::DiscoveryType::Eds.into());
    if cluster.cluster_discovery_type != Some(eds) {
        return Ok(Vec::new());
    }
    let named = cluster.eds_cluster_config.map(|config| config.service_name).filter(|name| !name.is_empty());
    Ok(vec![named.unwrap_or(cluster.name).into()])
}

fn routes_of(body: &Bytes) -> Result<Vec<Arc<str>>, prost::DecodeError> {
    let listener = Listener::decode(body.clone())?;
    let mut routes = Vec::new();
    let chains = listener.filter_chains.into_iter().chain(listener.default_filter_chain);
    for filter in chains.flat_map(|chain| chain.filters) {
        let Some(ConfigType::TypedConfig(any)) = filter.config_type else { continue };
        if !any.type_url.ends_with(".HttpConnectionManager") {
            continue;
        }
        if let Some(RouteSpecifier::Rds(rds)) =
            HttpConnectionManager::decode(any.value.as_slice())?.route_specifier
        {
            routes.push(rds.route_config_name.into());
        }
    }
    Ok(routes)
}

fn virtual_hosts_of(body: &Bytes) -> Result<Vec<Arc<str>>, prost::DecodeError> {
    let routes = RouteConfiguration::decode(body.clone())?;
    Ok(routes.vhds.map(|_| routes.name.into()).into_iter().collect())
}

fn mark_of_endpoints(body: &Bytes) -> Result<u32, prost::DecodeError> {
    let assignment = ClusterLoadAssignment::decode(body.clone())?;
    let endpoints = assignment.endpoints.into_iter().flat_map(|locality| locality.lb_endpoints);
    let marks = endpoints.filter_map(|endpoint| {
        let Some(HostIdentifier::Endpoint(endpoint)) = endpoint.host_identifier else { return None };
        match endpoint.address?.address? {
            Address::SocketAddress(socket) => mark_of_address(&socket.address),
            _ => None,
        }
    });
    Ok(marks.max().unwrap_or(0))
}

/// Marks stand in routes as text.
fn mark_of_text(body: &[u8]) -> u32 {
    let marks = memchr::memmem::find_iter(body, MARK_PREFIX).map(|start| {
        let digits = body[start + MARK_PREFIX.len()..].iter().take_while(|byte| byte.is_ascii_digit());
        digits.fold(0u32, |mark, digit| mark.saturating_mul(10).saturating_add(u32::from(digit - b'0')))
    });
    marks.max().unwrap_or(0)
}

#[cfg(test)]
#[path = "facts_tests.rs"]
mod tests;
