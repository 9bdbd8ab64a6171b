//! Compiled route configurations, and how a request finds its route.
//!
//! Routes in order, the first that matches wins. Source: Envoy's `envoy.config.route.v3`.

use super::domains::{Domains, Taken};
use super::filter::{cors::CorsPolicy, fault::Fault, rbac::Rbac};
use super::matcher::{Fraction, HeaderMatcher, HeaderView, QueryMatcher, Reading, Substitution};
use super::mutation::HeaderMutations;
use crate::retry::RetryPolicy;
use crate::upstream::balance::EvenSequence;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use regex::bytes::Regex;
use std::sync::Arc;
use std::time::Duration;

/// A compiled route configuration.
#[derive(Debug, Default)]
pub struct RouteTable {
    /// Its name.
    pub name: Arc<str>,
    /// All virtual hosts; see [`RouteTable::serve`].
    pub hosts: Vec<Arc<VirtualHost>>,
    /// Whether a host's port is not compared.
    pub ignore_port: bool,
    /// Whether `;name=value` at the end of a path is not compared.
    pub ignore_path_parameters: bool,
    /// Headers that clients may not send.
    pub internal_only_headers: Vec<HeaderName>,
    /// Changes to requests.
    pub request_headers: HeaderMutations,
    /// Changes to responses.
    pub response_headers: HeaderMutations,
    /// Whether a route's changes win over the table's.
    pub most_specific_wins: bool,
    /// Whether it has virtual hosts beside it (VHDS).
    pub discovers: bool,
    pub(crate) domains: Domains,
}

/// Which requests must come over TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RequireTls {
    /// None.
    #[default]
    None,
    /// Those from outside.
    External,
    /// All.
    All,
}

/// A compiled virtual host.
#[derive(Debug, Default)]
pub struct VirtualHost {
    /// Its name.
    pub name: Arc<str>,
    /// The hosts it serves, in lower case, with wildcards.
    pub domains: Box<[Box<str>]>,
    /// Its routes in order.
    pub routes: Vec<Arc<Route>>,
    /// Which requests must come over TLS.
    pub require_tls: RequireTls,
    /// Changes to requests.
    pub request_headers: HeaderMutations,
    /// Changes to responses.
    pub response_headers: HeaderMutations,
    /// Whether upstreams are told the number of the attempt.
    pub attempt_count: bool,
    /// Whether clients are told the number of attempts.
    pub attempt_count_in_response: bool,
    /// Configuration of filters.
    pub filters: RouteFilters,
}

/// Configuration of filters for a route or virtual host. `None` leaves it to the next wider scope.
#[derive(Clone, Debug, Default)]
pub struct RouteFilters {
    /// CORS.
    pub cors: Option<Arc<CorsPolicy>>,
    /// Faults.
    pub fault: Option<Arc<Fault>>,
    /// Authorization, which replaces that of the filter; an empty one switches it off.
    pub rbac: Option<Arc<Rbac>>,
}

/// A compiled route.
#[derive(Debug)]
pub struct Route {
    /// Its name; empty when it has none.
    pub name: Arc<str>,
    /// Which requests it takes.
    pub matcher: RouteMatch,
    /// What it does with them.
    pub action: Action,
    /// Changes to requests.
    pub request_headers: HeaderMutations,
    /// Changes to responses.
    pub response_headers: HeaderMutations,
    /// Name of the operation in traces.
    pub operation: Option<Arc<str>>,
    /// Configuration of filters.
    pub filters: RouteFilters,
    /// Bytes of a request that are kept for retries.
    pub buffer_limit: Option<usize>,
}

/// Which requests a route takes.
#[derive(Debug)]
pub struct RouteMatch {
    /// On the path.
    pub path: PathMatch,
    /// On headers, all of them.
    pub headers: Vec<HeaderMatcher>,
    /// On query parameters, all of them.
    pub query: Vec<QueryMatcher>,
    /// Only this share.
    pub fraction: Option<Fraction>,
    /// Only gRPC.
    pub grpc: bool,
    /// Only connections with (or without) a client certificate, and a validated one.
    pub tls: Option<(Option<bool>, Option<bool>)>,
}

/// A match on the path without its query. The flag ignores ASCII case.
#[derive(Debug)]
pub enum PathMatch {
    /// Any path.
    Any,
    /// Its start.
    Prefix(Box<str>, bool),
    /// The whole.
    Exact(Box<str>, bool),
    /// Its start, ending where a segment ends.
    Segments(Box<str>, bool),
    /// The whole, by a regular expression.
    Regex(Regex),
    /// `CONNECT` requests.
    Connect,
}

/// What a request looks like to matching and policy.
#[derive(Clone, Copy, Debug)]
pub struct RequestView<'a> {
    /// Method, path with query, authority, scheme and headers.
    pub header: HeaderView<'a>,
    /// The host in lower case, for virtual hosts.
    pub host: &'a str,
    /// Path without query, normalised.
    pub path: &'a str,
    /// The query, empty when there is none.
    pub query: &'a str,
    /// Whether it is a gRPC request.
    pub grpc: bool,
    /// Whether it is a `CONNECT` request.
    pub connect: bool,
    /// Drawn once for each request; all chances come from it.
    pub random: u64,
    /// Whether the client showed a certificate. It was validated, or the connection would not be.
    pub client_certificate: bool,
}

impl RouteMatch {
    /// Whether the request is taken.
    pub fn matches(&self, view: &RequestView<'_>, ignore_parameters: bool) -> bool {
        let path = match ignore_parameters {
            true => view.path.split(';').next().unwrap_or_default(),
            false => view.path,
        };
        if view.connect != matches!(self.path, PathMatch::Connect) {
            return false;
        }
        let path_matches = match &self.path {
            PathMatch::Any | PathMatch::Connect => true,
            PathMatch::Prefix(prefix, false) => path.starts_with(&**prefix),
            PathMatch::Prefix(prefix, true) => starts_with_ignoring_case(path, prefix),
            PathMatch::Exact(wanted, false) => path == &**wanted,
            PathMatch::Exact(wanted, true) => path.eq_ignore_ascii_case(wanted),
            PathMatch::Segments(prefix, ignore_case) => {
                let starts = if *ignore_case {
                    starts_with_ignoring_case(path, prefix)
                } else {
                    path.starts_with(&**prefix)
                };
                starts && matches!(path.as_bytes().get(prefix.len()), None | Some(b'/'))
            }
            PathMatch::Regex(regex) => regex.is_match(path.as_bytes()),
        };
        path_matches
            && (!self.grpc || view.grpc)
            && self.tls.is_none_or(|(presented, validated)| {
                presented.is_none_or(|wanted| wanted == view.client_certificate)
                    && validated.is_none_or(|wanted| wanted == view.client_certificate)
            })
            && self.headers.iter().all(|matcher| matcher.matches(&view.header, Reading::Each))
            && self.query.iter().all(|matcher| matcher.matches(view.query))
            && self.fraction.is_none_or(|fraction| fraction.happens(view.random, 0x0072_6f75_7465))
    }
}

fn starts_with_ignoring_case(text: &str, prefix: &str) -> bool {
    text.as_bytes().get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
}

/// What a route does.
#[derive(Debug)]
pub enum Action {
    /// Sends the request to a cluster.
    Forward(Box<Forward>),
    /// Sends the client elsewhere.
    Redirect(Redirect),
    /// Answers itself.
    Respond(DirectResponse),
}

/// Sends the request to a cluster.
#[derive(Debug, Default)]
pub struct Forward {
    /// Which cluster.
    pub cluster: ClusterChoice,
    /// The answer when it does not exist.
    pub not_found: StatusCode,
    /// Change of the path.
    pub path: PathRewrite,
    /// Change of the host.
    pub host: HostRewrite,
    /// Whether the old host is kept in `x-forwarded-host`.
    pub append_forwarded_host: bool,
    /// Longest time for the whole response; `None` is no limit.
    pub timeout: Option<Duration>,
    /// Longest silence of a stream, instead of the connection manager's; zero is no limit.
    pub idle_timeout: Option<Duration>,
    /// Longest life of a stream, instead of the connection manager's; zero is no limit.
    pub max_stream_duration: Option<Duration>,
    /// How the header `grpc-timeout` takes part.
    pub grpc_timeout: GrpcTimeout,
    /// Retries.
    pub retry: Option<Arc<RetryPolicy>>,
    /// Copies.
    pub mirrors: Vec<Mirror>,
    /// Hash for consistent load balancing.
    pub hash: Vec<HashPolicy>,
    /// Upgrades this route allows or forbids, by lower-case type.
    pub upgrades: Vec<(String, bool)>,
}

/// How the header `grpc-timeout` takes part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GrpcTimeout {
    /// It does not.
    #[default]
    Ignored,
    /// It is the timeout, at most this where given, less the offset.
    Timeout(Option<Duration>, Duration),
    /// It is the longest life of the stream, at most this where given, less the offset.
    StreamDuration(Option<Duration>, Duration),
}

/// Which cluster.
#[derive(Debug)]
pub enum ClusterChoice {
    /// This one.
    Named(Arc<str>),
    /// One of several, by weight.
    Weighted(Weighted),
    /// The one a request header names.
    Header(HeaderName),
}

impl Default for ClusterChoice {
    fn default() -> Self {
        Self::Named("".into())
    }
}

/// Several clusters that share by weight.
#[derive(Debug)]
pub struct Weighted {
    /// The clusters.
    pub clusters: Vec<WeightedCluster>,
    /// Sum of their weights.
    pub total: u64,
    /// Where in the sum the next request falls. Even over any long run, all workers together.
    pub sequence: EvenSequence,
    /// Takes the point from this request header instead.
    pub header: Option<HeaderName>,
}

impl Weighted {
    /// The cluster for the next request.
    pub fn next(&self) -> Option<&WeightedCluster> {
        self.at(self.sequence.next(self.total))
    }

    /// The cluster that owns a point below the total.
    pub fn at(&self, point: u64) -> Option<&WeightedCluster> {
        let index = self.clusters.partition_point(|cluster| cluster.up_to <= point);
        self.clusters.get(index)
    }
}

/// One of several clusters.
#[derive(Debug)]
pub struct WeightedCluster {
    /// Its name.
    pub name: Arc<str>,
    /// Sum of weights up to and including this one.
    pub up_to: u64,
    /// Changes to requests.
    pub request_headers: HeaderMutations,
    /// Changes to responses.
    pub response_headers: HeaderMutations,
    /// A host for requests sent to it.
    pub host: Option<HeaderValue>,
}

/// Change of the path.
#[derive(Debug, Default)]
pub enum PathRewrite {
    /// None.
    #[default]
    Keep,
    /// What the route matched is replaced.
    Prefix(Box<str>),
    /// What an expression matches is replaced.
    Regex(Substitution),
}

/// Change of the host.
#[derive(Debug, Default)]
pub enum HostRewrite {
    /// None.
    #[default]
    Keep,
    /// To this.
    Literal(HeaderValue),
    /// To the upstream host's name.
    Auto,
    /// To what a request header says.
    Header(HeaderName),
    /// To what becomes of the path.
    Path(Substitution),
}

/// A copy of requests.
#[derive(Debug)]
pub struct Mirror {
    /// Where to.
    pub cluster: Arc<str>,
    /// Only this share.
    pub fraction: Fraction,
    /// Whether the host gets `-shadow` appended.
    pub mark_host: bool,
}

/// One part of a request's hash.
#[derive(Debug)]
pub struct HashPolicy {
    /// Of what.
    pub source: HashSource,
    /// Whether later parts are left out once this one gave a hash.
    pub terminal: bool,
}

/// What is hashed.
#[derive(Debug)]
pub enum HashSource {
    /// A header, perhaps changed.
    Header(HeaderName, Option<Substitution>),
    /// A cookie; made with this life and path when it is absent.
    Cookie {
        /// Its name.
        name: Box<str>,
        /// How long a new one lives; `None` makes none, zero lives for the session.
        ttl: Option<Duration>,
        /// Path of a new one.
        path: Box<str>,
    },
    /// The client's address.
    SourceIp,
    /// A query parameter.
    QueryParameter(Box<str>),
}

/// Sends the client elsewhere.
#[derive(Debug, Default)]
pub struct Redirect {
    /// Status.
    pub status: StatusCode,
    /// Scheme; the request's when not given.
    pub scheme: Option<Box<str>>,
    /// Host; the request's when not given.
    pub host: Option<Box<str>>,
    /// Port; the request's when not given.
    pub port: Option<u16>,
    /// Path; the request's when not given.
    pub path: RedirectPath,
    /// Whether the query is left out.
    pub strip_query: bool,
}

/// The path of a redirect.
#[derive(Debug, Default)]
pub enum RedirectPath {
    /// The request's.
    #[default]
    Keep,
    /// This one, perhaps with a query of its own.
    Replace(Box<str>),
    /// With what the route matched replaced.
    Prefix(Box<str>),
    /// With what an expression matches replaced.
    Regex(Substitution),
}

/// Answers itself.
#[derive(Debug)]
pub struct DirectResponse {
    /// Status.
    pub status: StatusCode,
    /// Body.
    pub body: Bytes,
}

impl RouteTable {
    /// Sets the virtual hosts.
    pub fn serve(&mut self, hosts: Vec<Arc<VirtualHost>>) -> Result<(), Taken> {
        self.domains = Domains::of(&hosts)?;
        self.hosts = hosts;
        Ok(())
    }

    /// Sets the virtual hosts: the table's own, and those that were discovered. A domain that several of the
    /// latter want goes to the one that names it first of all its domains, else to the first; they come from
    /// objects that know nothing of each other. Its own get what is left.
    pub fn serve_discovered(&mut self, own: Vec<Arc<VirtualHost>>, discovered: &[Arc<VirtualHost>]) {
        let count = own.len();
        let hosts: Vec<_> = own.into_iter().chain(discovered.iter().cloned()).collect();
        self.domains = Domains::shared(&hosts, count);
        self.hosts = hosts;
    }

    /// The virtual host that serves a host in lower case (without port, where that is ignored).
    pub fn virtual_host(&self, host: &str) -> Option<&Arc<VirtualHost>> {
        self.hosts.get(self.domains.find(&self.hosts, host)?)
    }
}

impl VirtualHost {
    /// The first route that takes the request.
    pub fn route(&self, view: &RequestView<'_>, ignore_parameters: bool) -> Option<&Arc<Route>> {
        self.routes.iter().find(|route| route.matcher.matches(view, ignore_parameters))
    }
}

/// The path after a rewrite; `path` has no query.
pub fn rewritten(rewrite: &PathRewrite, matcher: &PathMatch, path: &str) -> Option<String> {
    match rewrite {
        PathRewrite::Keep => None,
        PathRewrite::Regex(substitution) => Some(substitution.apply(path)),
        PathRewrite::Prefix(replacement) => Some(replace_matched(matcher, path, replacement)),
    }
}

/// The path with what the route matched replaced.
pub fn replace_matched(matcher: &PathMatch, path: &str, replacement: &str) -> String {
    let matched = match matcher {
        PathMatch::Prefix(prefix, _) | PathMatch::Segments(prefix, _) => prefix.len(),
        PathMatch::Exact(..) | PathMatch::Regex(_) => path.len(),
        PathMatch::Any | PathMatch::Connect => 0,
    };
    let rest = path.get(matched..).unwrap_or_default();
    format!("{replacement}{rest}")
}

#[cfg(test)]
#[path = "routes_tests.rs"]
mod tests;
