//! Name resolution for `STRICT_DNS` and `LOGICAL_DNS` clusters: one task a cluster on the control
//! runtime, which replaces the hosts when answers change. A name that does not resolve keeps its
//! last addresses.

use super::cluster::{Cluster, Described, endpoint_socket, place, port};
use super::host::Health;
use super::settings::Discovery;
use crate::compile::CompileError;
use envoy_types::pb::envoy::config::core::v3::{Locality, Metadata};
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use hickory_resolver::Resolver;
use hickory_resolver::config::LookupIpStrategy;
use hickory_resolver::net::runtime::iocompat::AsyncIoTokioAsStd;
use hickory_resolver::net::runtime::{RuntimeProvider, TokioHandle, TokioTime};
use mizzen_net::{ConnectOptions, PROXY_MARK};
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::net::{TcpStream, UdpSocket};

/// Longest wait for one round of answers.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// Which addresses are asked for, and how often.
#[derive(Clone, Debug, PartialEq)]
pub struct DnsSettings {
    /// Time between rounds; Envoy's default is 5 s.
    pub refresh: Duration,
    /// Time after a round that failed; the refresh time when not given.
    pub failure_refresh: Option<Duration>,
    /// Takes the time from the answers instead.
    pub respect_ttl: bool,
    /// Which addresses.
    pub family: Family,
}

/// Which addresses of a name are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv6 if there are any, else IPv4 (Envoy's AUTO).
    Auto,
    /// Only IPv4.
    V4,
    /// Only IPv6.
    V6,
    /// IPv4 if there are any, else IPv6.
    V4Preferred,
    /// All of them.
    All,
}

impl Default for DnsSettings {
    fn default() -> Self {
        Self {
            refresh: Duration::from_secs(5),
            failure_refresh: None,
            respect_ttl: false,
            family: Family::Auto,
        }
    }
}

/// One endpoint to resolve.
struct Target {
    name: String,
    literal: Option<IpAddr>,
    port: u16,
    hostname: Arc<str>,
    weight: u32,
    priority: u32,
    locality: Arc<Locality>,
    locality_number: u32,
    health: Health,
    metadata: Option<Metadata>,
    /// The last addresses that were found.
    found: Vec<IpAddr>,
}

/// Starts resolving; the task ends with the cluster.
pub(super) fn start(cluster: &Arc<Cluster>, assignment: &ClusterLoadAssignment) -> Result<(), CompileError> {
    let mut targets = targets(assignment).map_err(|error| error.at("load_assignment"))?;
    let logical = matches!(cluster.settings().discovery, Discovery::LogicalDns);
    if logical && targets.len() != 1 {
        let reason = format!("LOGICAL_DNS needs exactly one endpoint, not {}", targets.len());
        return Err(CompileError::invalid("load_assignment.endpoints", reason));
    }
    let weights = assignment
        .endpoints
        .iter()
        .zip(0u32..)
        .filter_map(|(locality, number)| {
            let weight = locality.load_balancing_weight.as_ref()?;
            Some((locality.priority, number, weight.value))
        })
        .collect::<Vec<_>>();
    let settings = cluster.settings().dns.clone();
    if targets.iter().all(|target| target.literal.is_some()) {
        apply(cluster, &targets, &weights, logical);
        return Ok(());
    }
    let weak = Arc::downgrade(cluster);
    cluster.control.spawn(async move {
        let resolver = resolver();
        loop {
            let round = resolve(&resolver, &mut targets, settings.family).await;
            let Some(cluster) = Weak::upgrade(&weak) else { return };
            if round.changed || !cluster.is_warm() {
                apply(&cluster, &targets, &weights, logical);
            }
            drop(cluster);
            let pause = match (round.failed, settings.respect_ttl, round.valid_for) {
                (true, ..) => settings.failure_refresh.unwrap_or(settings.refresh),
                (false, true, Some(ttl)) => ttl.max(Duration::from_secs(1)),
                _ => settings.refresh,
            };
            tokio::time::sleep(pause).await;
            if weak.strong_count() == 0 {
                return;
            }
        }
    });
    Ok(())
}

fn targets(assignment: &ClusterLoadAssignment) -> Result<Vec<Target>, CompileError> {
    let mut targets = Vec::new();
    for (number, locality) in (0u32..).zip(&assignment.endpoints) {
        let place = place(locality.locality.as_ref());
        for (index, endpoint) in locality.lb_endpoints.iter().enumerate() {
            let at = |error: CompileError| error.at(format!("endpoints[{number}].lb_endpoints[{index}]"));
            let (configured, socket) = endpoint_socket(endpoint).map_err(at)?;
            let hostname =
                if configured.hostname.is_empty() { &socket.address } else { &configured.hostname };
            let literal = socket.address.parse().ok();
            targets.push(Target {
                name: socket.address.clone(),
                literal,
                port: port(socket).map_err(at)?,
                hostname: hostname.as_str().into(),
                weight: endpoint.load_balancing_weight.as_ref().map_or(1, |weight| weight.value.max(1)),
                priority: locality.priority,
                locality: Arc::clone(&place),
                locality_number: number,
                health: Health::from_status(endpoint.health_status),
                metadata: endpoint.metadata.clone(),
                found: literal.into_iter().collect(),
            });
        }
    }
    Ok(targets)
}

/// How one round of questions went.
#[derive(Default)]
struct Round {
    changed: bool,
    failed: bool,
    valid_for: Option<Duration>,
}

async fn resolve(
    resolver: &Result<Resolver<MarkedSockets>, String>,
    targets: &mut [Target],
    family: Family,
) -> Round {
    let mut round = Round::default();
    for target in targets.iter_mut().filter(|target| target.literal.is_none()) {
        let found = match resolver {
            Ok(resolver) => lookup(resolver, &target.name, family).await,
            Err(reason) => Err(reason.clone()),
        };
        match found {
            Ok((mut addresses, valid_for)) => {
                addresses.sort_unstable();
                round.valid_for = Some(round.valid_for.map_or(valid_for, |other| other.min(valid_for)));
                if addresses != target.found {
                    round.changed = true;
                    target.found = addresses;
                }
            }
            Err(error) => {
                tracing::debug!("cannot resolve '{}': {error}", target.name);
                round.failed = true;
            }
        }
    }
    round
}

fn apply(cluster: &Cluster, targets: &[Target], weights: &[(u32, u32, u32)], logical: bool) {
    let mut described = Vec::new();
    for target in targets {
        // A logical host has one address at a time; a strict one is as many hosts as it has.
        let count = if logical { 1 } else { target.found.len() };
        for address in target.found.iter().take(count) {
            described.push(Described {
                address: SocketAddr::new(*address, target.port),
                hostname: Some(Arc::clone(&target.hostname)),
                weight: target.weight,
                priority: target.priority,
                locality: Arc::clone(&target.locality),
                locality_number: target.locality_number,
                health: target.health,
                metadata: target.metadata.as_ref(),
            });
        }
    }
    // Two names for one address are one host.
    let mut seen = ahash::AHashSet::new();
    described.retain(|host| seen.insert(host.address));
    cluster.replace(described, weights.to_vec(), None);
}

/// Addresses of a name, and for how long the answer holds.
async fn lookup(
    resolver: &Resolver<MarkedSockets>,
    name: &str,
    family: Family,
) -> Result<(Vec<IpAddr>, Duration), String> {
    let answer = tokio::time::timeout(LOOKUP_TIMEOUT, resolver.lookup_ip(name))
        .await
        .map_err(|_| format!("no answer within {LOOKUP_TIMEOUT:?}"))?
        .map_err(|error| error.to_string())?;
    let valid_for = answer.valid_until().saturating_duration_since(Instant::now());
    Ok((choose(answer.iter().collect(), family)?, valid_for))
}

fn choose(all: Vec<IpAddr>, family: Family) -> Result<Vec<IpAddr>, String> {
    let (v4, v6): (Vec<IpAddr>, Vec<IpAddr>) = all.iter().partition(|address| address.is_ipv4());
    let chosen = match family {
        Family::V4 => v4,
        Family::V6 => v6,
        Family::Auto => {
            if v6.is_empty() {
                v4
            } else {
                v6
            }
        }
        Family::V4Preferred => {
            if v4.is_empty() {
                v6
            } else {
                v4
            }
        }
        Family::All => all,
    };
    if chosen.is_empty() { Err("no address of the wanted family".to_owned()) } else { Ok(chosen) }
}

/// A resolver that asks the system's servers.
fn resolver() -> Result<Resolver<MarkedSockets>, String> {
    let mut builder = Resolver::builder(MarkedSockets::default()).map_err(|error| error.to_string())?;
    let options = builder.options_mut();
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    // The task keeps time itself.
    options.cache_size = 0;
    builder.build().map_err(|error| error.to_string())
}

/// Sockets that carry the proxy's mark, so that interception does not send its own questions back to
/// it. The handle is one for all of them: its tasks, which receive the answers, end with the last copy of it.
#[derive(Clone, Default)]
struct MarkedSockets(TokioHandle);

impl RuntimeProvider for MarkedSockets {
    type Handle = TokioHandle;
    type Timer = TokioTime;
    type Udp = UdpSocket;
    type Tcp = AsyncIoTokioAsStd<TcpStream>;

    fn create_handle(&self) -> Self::Handle {
        self.0.clone()
    }

    fn connect_tcp(
        &self,
        server: SocketAddr,
        _bind: Option<SocketAddr>,
        timeout: Option<Duration>,
    ) -> Pin<Box<dyn Send + Future<Output = io::Result<Self::Tcp>>>> {
        let timeout = Some(timeout.unwrap_or(LOOKUP_TIMEOUT));
        Box::pin(async move {
            let options = ConnectOptions { mark: Some(PROXY_MARK), timeout, ..ConnectOptions::default() };
            mizzen_net::connect(server, &options).await.map(AsyncIoTokioAsStd)
        })
    }

    fn bind_udp(
        &self,
        local: SocketAddr,
        _server: SocketAddr,
    ) -> Pin<Box<dyn Send + Future<Output = io::Result<Self::Udp>>>> {
        Box::pin(async move {
            let socket = UdpSocket::bind(local).await?;
            mizzen_net::socket::set_mark(&socket, PROXY_MARK)?;
            Ok(socket)
        })
    }
}

#[cfg(test)]
#[path = "dns_tests.rs"]
mod tests;
