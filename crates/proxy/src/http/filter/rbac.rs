//! Authorization: Envoy's RBAC policies, for HTTP requests and for TCP connections.
//!
//! What cannot be evaluated does not match where that would allow, and matches where that would
//! deny: an error never opens a door. Identities are compared as strings, not by expressions made
//! of them. Source: `envoy.config.rbac.v3`.

use super::super::matcher::{HeaderMatcher, HeaderView, Reading, StringMatcher};
use crate::compile::CompileError;
use crate::connection::Downstream;
use envoy_types::pb::envoy::config::core::v3::CidrRange;
use envoy_types::pb::envoy::config::rbac::v3 as pb;
use envoy_types::pb::envoy::extensions::filters::http::rbac::v3::Rbac as HttpRbac;
use envoy_types::pb::envoy::extensions::filters::network::rbac::v3::Rbac as NetworkRbac;
use envoy_types::pb::envoy::r#type::matcher::v3::{PathMatcher, path_matcher};
use ipnet::IpNet;
use mizzen_identity::PeerCertificate;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// A compiled filter: rules in force, and rules that are only counted.
#[derive(Clone, Debug, Default)]
pub struct Rbac {
    /// In force.
    pub rules: Option<Rules>,
    /// Only counted (`istio.io/dry-run`).
    pub shadow: Option<Rules>,
}

/// Policies with what happens when one matches.
#[derive(Clone, Debug)]
pub struct Rules {
    action: Action,
    /// By name, in the order of names.
    policies: Vec<(Arc<str>, Policy)>,
}

/// What happens when a policy matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is allowed; what matches no policy is denied.
    Allow,
    /// It is denied; what matches no policy is allowed.
    Deny,
    /// Nothing.
    Log,
}

#[derive(Clone, Debug)]
struct Policy {
    permissions: Vec<Rule>,
    principals: Vec<Rule>,
}

/// A condition on a request or its connection.
#[derive(Clone, Debug)]
enum Rule {
    Any(bool),
    All(Vec<Rule>),
    AnyOf(Vec<Rule>),
    Not(Box<Rule>),
    Header(HeaderMatcher),
    Path(StringMatcher),
    DestinationIp(IpNet),
    DestinationPorts(u16, u16),
    ServerName(StringMatcher),
    /// A verified client certificate, with this name where given.
    Authenticated(Option<StringMatcher>),
    /// The client after PROXY protocol or `x-forwarded-for`, where those are trusted.
    RemoteIp(IpNet),
    /// The client of the connection, after PROXY protocol.
    SourceIp(IpNet),
    /// The other end of the socket.
    DirectRemoteIp(IpNet),
    /// Metadata that no filter of this proxy sets; it is absent.
    AbsentMetadata,
}

/// What policies may look at.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The address the client connected to.
    pub local: SocketAddr,
    /// The client of the connection, after PROXY protocol.
    pub peer: SocketAddr,
    /// The other end of the socket.
    pub direct_peer: SocketAddr,
    /// The client's address, after `x-forwarded-for` where that is trusted.
    pub remote: SocketAddr,
    /// The server name of the ClientHello.
    pub server_name: Option<&'a str>,
    /// The client's verified certificate.
    pub certificate: Option<&'a PeerCertificate>,
    /// The request; none for a TCP connection.
    pub request: Option<Request<'a>>,
}

impl<'a> Subject<'a> {
    /// A connection as a subject, without a request.
    pub fn of(downstream: &'a Downstream) -> Self {
        Self {
            local: downstream.local,
            peer: downstream.peer,
            direct_peer: downstream.direct_peer,
            remote: downstream.peer,
            server_name: downstream.server_name.as_deref(),
            certificate: downstream.tls.as_ref().and_then(|tls| tls.peer.as_deref()),
            request: None,
        }
    }
}

/// The part of a request that policies may look at.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Headers and pseudo headers.
    pub header: &'a HeaderView<'a>,
    /// Path without query, normalised as for routing.
    pub path: &'a str,
}

/// The answer of a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on; the name of the policy that allowed it, where one did.
    Allowed(Option<Arc<str>>),
    /// Refused; the name of the policy that denied it, or none where no policy allowed it.
    Denied(Option<Arc<str>>),
}

impl Verdict {
    /// Envoy's `%RESPONSE_CODE_DETAILS%` and `%CONNECTION_TERMINATION_DETAILS%`.
    pub fn details(&self) -> String {
        match self {
            Self::Allowed(_) => String::new(),
            Self::Denied(policy) => {
                let policy = policy.as_deref().unwrap_or("none");
                format!("rbac_access_denied_matched_policy[{policy}]").replace(char::is_whitespace, "_")
            }
        }
    }
}

impl Rbac {
    /// Compiles the HTTP filter.
    pub fn compile_http(message: &HttpRbac) -> Result<Self, CompileError> {
        if message.matcher.is_some() || message.shadow_matcher.is_some() {
            return Err(CompileError::unsupported("matcher", "a matcher tree"));
        }
        Self::compile(message.rules.as_ref(), message.shadow_rules.as_ref())
    }

    /// Compiles the network filter.
    pub fn compile_network(message: &NetworkRbac) -> Result<Self, CompileError> {
        if message.matcher.is_some() || message.shadow_matcher.is_some() {
            return Err(CompileError::unsupported("matcher", "a matcher tree"));
        }
        if message.enforcement_type != 0 {
            return Err(CompileError::unsupported("enforcement_type", "CONTINUOUS"));
        }
        if message.delay_deny.is_some() {
            return Err(CompileError::unsupported("delay_deny", "a delayed denial"));
        }
        Self::compile(message.rules.as_ref(), message.shadow_rules.as_ref())
    }

    fn compile(rules: Option<&pb::Rbac>, shadow: Option<&pb::Rbac>) -> Result<Self, CompileError> {
        let compiled = |rules: Option<&pb::Rbac>, field: &str| {
            rules.map(|rules| Rules::compile(rules).map_err(|error| error.at(field))).transpose()
        };
        Ok(Self { rules: compiled(rules, "rules")?, shadow: compiled(shadow, "shadow_rules")? })
    }

    /// Whether the subject may go on.
    pub fn check(&self, subject: &Subject<'_>) -> Verdict {
        self.rules.as_ref().map_or(Verdict::Allowed(None), |rules| rules.check(subject))
    }

    /// What the rules that are only counted would say.
    pub fn check_shadow(&self, subject: &Subject<'_>) -> Option<Verdict> {
        self.shadow.as_ref().map(|rules| rules.check(subject))
    }
}

impl Rules {
    fn compile(message: &pb::Rbac) -> Result<Self, CompileError> {
        let action = match message.action {
            0 => Action::Allow,
            1 => Action::Deny,
            2 => Action::Log,
            other => return Err(CompileError::invalid("action", format!("{other} is not an action"))),
        };
        if message.audit_logging_options.as_ref().is_some_and(|options| !options.logger_configs.is_empty()) {
            return Err(CompileError::unsupported("audit_logging_options", "audit logging"));
        }
        let sorted: BTreeMap<_, _> = message.policies.iter().collect();
        let policies = sorted
            .into_iter()
            .map(|(name, policy)| {
                let compiled =
                    Policy::compile(policy).map_err(|error| error.at(format!("policies[\"{name}\"]")))?;
                Ok((name.as_str().into(), compiled))
            })
            .collect::<Result<_, CompileError>>()?;
        Ok(Self { action, policies })
    }

    fn check(&self, subject: &Subject<'_>) -> Verdict {
        let reading = match self.action {
            Action::Allow => Reading::Every,
            Action::Deny | Action::Log => Reading::Any,
        };
        let matched = self
            .policies
            .iter()
            .find(|(_, policy)| policy.matches(subject, reading))
            .map(|(name, _)| Arc::clone(name));
        match (self.action, matched) {
            (Action::Allow, Some(name)) => Verdict::Allowed(Some(name)),
            (Action::Allow, None) => Verdict::Denied(None),
            (Action::Deny, Some(name)) => Verdict::Denied(Some(name)),
            (Action::Deny | Action::Log, _) => Verdict::Allowed(None),
        }
    }
}

impl Policy {
    fn compile(message: &pb::Policy) -> Result<Self, CompileError> {
        if message.condition.is_some() || message.checked_condition.is_some() || message.cel_config.is_some()
        {
            return Err(CompileError::unsupported("condition", "a CEL condition"));
        }
        let permissions = list(&message.permissions, "permissions", permission)?;
        let principals = list(&message.principals, "principals", principal)?;
        Ok(Self { permissions, principals })
    }

    fn matches(&self, subject: &Subject<'_>, reading: Reading) -> bool {
        let any = |rules: &[Rule]| rules.iter().any(|rule| rule.matches(subject, reading));
        any(&self.permissions) && any(&self.principals)
    }
}

fn list<M>(
    messages: &[M],
    field: &str,
    compile: fn(&M) -> Result<Rule, CompileError>,
) -> Result<Vec<Rule>, CompileError> {
    let compiled = |(index, message)| compile(message).map_err(|error| error.at(format!("{field}[{index}]")));
    messages.iter().enumerate().map(compiled).collect()
}

fn permission(message: &pb::Permission) -> Result<Rule, CompileError> {
    use pb::permission::Rule as Message;
    Ok(match &message.rule {
        None => return Err(CompileError::missing("rule")),
        Some(Message::Any(any)) => Rule::Any(*any),
        Some(Message::AndRules(set)) => Rule::All(list(&set.rules, "and_rules.rules", permission)?),
        Some(Message::OrRules(set)) => Rule::AnyOf(list(&set.rules, "or_rules.rules", permission)?),
        Some(Message::NotRule(rule)) => {
            Rule::Not(Box::new(permission(rule).map_err(|error| error.at("not_rule"))?))
        }
        Some(Message::Header(header)) => header_rule(header)?,
        Some(Message::UrlPath(path)) => path_rule(path)?,
        Some(Message::DestinationIp(range)) => Rule::DestinationIp(network(range, "destination_ip")?),
        Some(Message::DestinationPort(port)) => {
            let port = u16::try_from(*port)
                .map_err(|_| CompileError::invalid("destination_port", format!("{port} is not a port")))?;
            Rule::DestinationPorts(port, port)
        }
        Some(Message::DestinationPortRange(range)) => {
            // The end is not part of the range.
            let port = |number: i32| u16::try_from(number.clamp(0, i32::from(u16::MAX))).unwrap_or(u16::MAX);
            if range.start >= range.end {
                return Err(CompileError::invalid("destination_port_range", "is empty"));
            }
            Rule::DestinationPorts(port(range.start), port(range.end - 1))
        }
        Some(Message::RequestedServerName(name)) => {
            Rule::ServerName(StringMatcher::compile(name).map_err(|error| error.at("requested_server_name"))?)
        }
        Some(Message::Metadata(metadata)) => metadata_rule(metadata.invert),
        Some(Message::SourcedMetadata(sourced)) => {
            metadata_rule(sourced.metadata_matcher.as_ref().is_some_and(|matcher| matcher.invert))
        }
        Some(Message::Matcher(_)) => return Err(CompileError::unsupported("matcher", "a matcher extension")),
        Some(Message::UriTemplate(_)) => {
            return Err(CompileError::unsupported("uri_template", "a path template"));
        }
    })
}

fn principal(message: &pb::Principal) -> Result<Rule, CompileError> {
    use pb::principal::Identifier as Message;
    Ok(match &message.identifier {
        None => return Err(CompileError::missing("identifier")),
        Some(Message::Any(any)) => Rule::Any(*any),
        Some(Message::AndIds(set)) => Rule::All(list(&set.ids, "and_ids.ids", principal)?),
        Some(Message::OrIds(set)) => Rule::AnyOf(list(&set.ids, "or_ids.ids", principal)?),
        Some(Message::NotId(id)) => Rule::Not(Box::new(principal(id).map_err(|error| error.at("not_id"))?)),
        Some(Message::Authenticated(authenticated)) => {
            let name = authenticated.principal_name.as_ref().map(StringMatcher::compile).transpose();
            Rule::Authenticated(name.map_err(|error| error.at("authenticated.principal_name"))?)
        }
        Some(Message::SourceIp(range)) => Rule::SourceIp(network(range, "source_ip")?),
        Some(Message::DirectRemoteIp(range)) => Rule::DirectRemoteIp(network(range, "direct_remote_ip")?),
        Some(Message::RemoteIp(range)) => Rule::RemoteIp(network(range, "remote_ip")?),
        Some(Message::Header(header)) => header_rule(header)?,
        Some(Message::UrlPath(path)) => path_rule(path)?,
        Some(Message::Metadata(metadata)) => metadata_rule(metadata.invert),
        Some(Message::SourcedMetadata(sourced)) => {
            metadata_rule(sourced.metadata_matcher.as_ref().is_some_and(|matcher| matcher.invert))
        }
        Some(Message::FilterState(_)) => {
            return filter_state(message);
        }
        Some(Message::Custom(_)) => return Err(CompileError::unsupported("custom", "a principal extension")),
    })
}

/// Istio matches identities by the filter state `io.istio.peer_principal`, which is the peer's URI
/// SAN.
fn filter_state(message: &pb::Principal) -> Result<Rule, CompileError> {
    use envoy_types::pb::envoy::r#type::matcher::v3::filter_state_matcher::Matcher;
    let Some(pb::principal::Identifier::FilterState(state)) = &message.identifier else {
        return Err(CompileError::missing("identifier"));
    };
    match (state.key.as_str(), &state.matcher) {
        ("io.istio.peer_principal", Some(Matcher::StringMatch(matcher))) => {
            let matcher =
                StringMatcher::compile(matcher).map_err(|error| error.at("filter_state.string_match"))?;
            Ok(Rule::Authenticated(Some(matcher)))
        }
        (key, _) => Err(CompileError::unsupported("filter_state", format!("matching filter state '{key}'"))),
    }
}

/// No filter of this proxy sets metadata, so a match on it fails and an inverted one succeeds.
fn metadata_rule(invert: bool) -> Rule {
    if invert { Rule::Not(Box::new(Rule::AbsentMetadata)) } else { Rule::AbsentMetadata }
}

fn header_rule(
    header: &envoy_types::pb::envoy::config::route::v3::HeaderMatcher,
) -> Result<Rule, CompileError> {
    HeaderMatcher::compile(header).map(Rule::Header).map_err(|error| error.at("header"))
}

fn path_rule(path: &PathMatcher) -> Result<Rule, CompileError> {
    match &path.rule {
        Some(path_matcher::Rule::Path(matcher)) => {
            StringMatcher::compile(matcher).map(Rule::Path).map_err(|error| error.at("url_path.path"))
        }
        None => Err(CompileError::missing("url_path.path")),
    }
}

/// Compiles an address range; the prefix length is 0 when absent, as in Envoy.
pub fn network(range: &CidrRange, field: &str) -> Result<IpNet, CompileError> {
    let address: IpAddr = range.address_prefix.parse().map_err(|_| {
        CompileError::invalid(
            format!("{field}.address_prefix"),
            format!("'{}' is not an address", range.address_prefix),
        )
    })?;
    let length = range.prefix_len.as_ref().map_or(0, |length| length.value);
    u8::try_from(length)
        .ok()
        .and_then(|length| IpNet::new(address, length).ok())
        .map(|net| net.trunc())
        .ok_or_else(|| {
            CompileError::invalid(format!("{field}.prefix_len"), format!("{length} does not fit {address}"))
        })
}

impl Rule {
    fn matches(&self, subject: &Subject<'_>, reading: Reading) -> bool {
        let within = |net: &IpNet, address: SocketAddr| net.contains(&address.ip().to_canonical());
        match self {
            Self::Any(any) => *any,
            Self::All(rules) => rules.iter().all(|rule| rule.matches(subject, reading)),
            Self::AnyOf(rules) => rules.iter().any(|rule| rule.matches(subject, reading)),
            Self::Not(rule) => !rule.matches(subject, reading.negated()),
            // A TCP connection has no headers and no path.
            Self::Header(matcher) => {
                subject.request.is_some_and(|request| matcher.matches(request.header, reading))
            }
            Self::Path(matcher) => {
                subject.request.is_some_and(|request| matcher.matches(request.path.as_bytes()))
            }
            Self::DestinationIp(net) => within(net, subject.local),
            Self::DestinationPorts(first, last) => (*first..=*last).contains(&subject.local.port()),
            Self::ServerName(matcher) => matcher.matches(subject.server_name.unwrap_or_default().as_bytes()),
            Self::Authenticated(name) => authenticated(subject.certificate, name.as_ref()),
            Self::RemoteIp(net) => within(net, subject.remote),
            Self::SourceIp(net) => within(net, subject.peer),
            Self::DirectRemoteIp(net) => within(net, subject.direct_peer),
            Self::AbsentMetadata => false,
        }
    }
}

/// A name is any URI SAN, else any DNS SAN, else the subject, as in Envoy.
fn authenticated(certificate: Option<&PeerCertificate>, name: Option<&StringMatcher>) -> bool {
    let Some(peer) = certificate else { return false };
    let Some(matcher) = name else { return true };
    let any = |names: &[Arc<str>]| names.iter().any(|name| matcher.matches(name.as_bytes()));
    match (peer.uri_sans.is_empty(), peer.dns_sans.is_empty()) {
        (false, _) => any(&peer.uri_sans),
        (true, false) => any(&peer.dns_sans),
        (true, true) => matcher.matches(peer.subject.as_bytes()),
    }
}

#[cfg(test)]
#[path = "rbac_tests.rs"]
mod tests;
