//! Authorization policies as RBAC filters: DENY first, then ALLOW.
//!
//! Identities are matched exactly wherever a policy names them exactly; where it does not, by anchored
//! expressions in which everything but the wildcard is escaped. What cannot be expressed never widens what
//! is allowed: such a rule never allows, and always denies.

use envoy_types::pb::envoy::extensions::filters::{
    http::rbac::v3::Rbac as HttpRbac, network::rbac::v3::Rbac as NetworkRbac,
};
use mizzen_api::security::{
    AuthorizationAction, AuthorizationPolicy, AuthorizationRule, Condition, Operation, Source,
};
use mizzen_model::Declared;

use crate::{
    context::Context,
    envoy::{self as e, hcm, listener, matcher, rbac as pb, route},
    wire::{self, Shape},
};

static RULES: Shape = wire::shape(&[2], &[]);
static RBAC: Shape = wire::shape(&[], &[(1, &RULES), (2, &RULES)]);

/// The annotation that makes a policy only count what it would do.
const DRY_RUN_ANNOTATION: &str = "istio.io/dry-run";

/// The filters of HTTP.
pub(crate) fn http_filters(context: &Context<'_>) -> Vec<hcm::HttpFilter> {
    let rules = collect(context, Layer::Http);
    let filter = |(rules, shadow_rules): (Option<pb::Rbac>, Option<pb::Rbac>), prefix: &str| {
        (rules.is_some() || shadow_rules.is_some()).then(|| {
            let config = HttpRbac {
                rules,
                shadow_rules_stat_prefix: shadow_rules
                    .is_some()
                    .then(|| prefix.to_owned())
                    .unwrap_or_default(),
                shadow_rules,
                ..Default::default()
            };
            e::http_filter("envoy.filters.http.rbac", e::any_of(&config, &RBAC))
        })
    };
    let [deny, allow] = rules;
    filter(deny, "istio_dry_run_deny_").into_iter().chain(filter(allow, "istio_dry_run_allow_")).collect()
}

/// The filters of plain connections.
pub(crate) fn network_filters(context: &Context<'_>) -> Vec<listener::Filter> {
    let rules = collect(context, Layer::Tcp);
    let filter = |(rules, shadow_rules): (Option<pb::Rbac>, Option<pb::Rbac>), prefix: &str| {
        (rules.is_some() || shadow_rules.is_some()).then(|| {
            let config = NetworkRbac {
                rules,
                shadow_rules_stat_prefix: shadow_rules
                    .is_some()
                    .then(|| prefix.to_owned())
                    .unwrap_or_default(),
                shadow_rules,
                stat_prefix: "tcp.".to_owned(),
                ..Default::default()
            };
            e::network_filter("envoy.filters.network.rbac", e::any_of(&config, &RBAC))
        })
    };
    let [deny, allow] = rules;
    filter(deny, "istio_dry_run_deny_").into_iter().chain(filter(allow, "istio_dry_run_allow_")).collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Layer {
    Http,
    Tcp,
}

/// What is enforced and what is only counted, for DENY and for ALLOW.
fn collect(context: &Context<'_>, layer: Layer) -> [(Option<pb::Rbac>, Option<pb::Rbac>); 2] {
    let policies = context.snapshot().authorization_policies(&context.proxy.namespace, &context.labels);
    let of_action = |action: AuthorizationAction| {
        let (dry, enforced): (Vec<_>, Vec<_>) =
            policies.iter().filter(|policy| policy.spec.action.unwrap_or_default() == action).partition(
                |policy| policy.meta.annotations.get(DRY_RUN_ANNOTATION).is_some_and(|value| value == "true"),
            );
        (compile(context, &enforced, action, layer), compile(context, &dry, action, layer))
    };
    [of_action(AuthorizationAction::Deny), of_action(AuthorizationAction::Allow)]
}

type Policy = std::sync::Arc<Declared<AuthorizationPolicy>>;

fn compile(
    context: &Context<'_>,
    policies: &[&Policy],
    action: AuthorizationAction,
    layer: Layer,
) -> Option<pb::Rbac> {
    if policies.is_empty() {
        return None;
    }
    let denies = action == AuthorizationAction::Deny;
    let mut rbac = pb::Rbac {
        action: if denies { pb::rbac::Action::Deny } else { pb::rbac::Action::Allow } as i32,
        ..Default::default()
    };
    for policy in policies {
        for (index, rule) in policy.spec.rules.iter().enumerate() {
            let compiler = Compiler { context, layer, denies, namespace: &policy.meta.namespace };
            if let Some(compiled) = compiler.rule(rule) {
                let name =
                    format!("ns[{}]-policy[{}]-rule[{index}]", policy.meta.namespace, policy.meta.name);
                rbac.policies.insert(name, compiled);
            }
        }
    }
    // Nothing to deny is nothing to do; nothing to allow is everything to refuse.
    (!denies || !rbac.policies.is_empty()).then_some(rbac)
}

/// Something a rule asks for that this layer cannot see.
struct Unseen;

struct Compiler<'a> {
    context: &'a Context<'a>,
    layer: Layer,
    denies: bool,
    namespace: &'a str,
}

type Permission = pb::Permission;
type Principal = pb::Principal;

impl Compiler<'_> {
    /// A rule, or nothing where it can never match.
    fn rule(&self, rule: &AuthorizationRule) -> Option<pb::Policy> {
        let mut principals = Vec::new();
        for source in rule.from.iter().filter_map(|from| from.source.as_ref()) {
            principals.push(self.all_principals(self.source(source), &rule.when)?);
        }
        if rule.from.is_empty() {
            principals.push(self.all_principals(Ok(Vec::new()), &rule.when)?);
        }
        let mut permissions = Vec::new();
        for operation in rule.to.iter().filter_map(|to| to.operation.as_ref()) {
            permissions.push(self.all_permissions(self.operation(operation), &rule.when)?);
        }
        if rule.to.is_empty() {
            permissions.push(self.all_permissions(Ok(Vec::new()), &rule.when)?);
        }
        Some(pb::Policy { permissions, principals, ..Default::default() })
    }

    fn all_principals(&self, own: Result<Vec<Principal>, Unseen>, when: &[Condition]) -> Option<Principal> {
        let mut all = own.ok()?;
        for condition in when {
            all.extend(self.principal_condition(condition).ok()?);
        }
        Some(and_principals(all))
    }

    fn all_permissions(
        &self,
        own: Result<Vec<Permission>, Unseen>,
        when: &[Condition],
    ) -> Option<Permission> {
        let mut all = own.ok()?;
        for condition in when {
            all.extend(self.permission_condition(condition).ok()?);
        }
        Some(and_permissions(all))
    }

    /// What is to be done about a field of HTTP on a plain connection: an ALLOW rule never matches, a DENY
    /// rule matches without it.
    fn unseen<T>(&self, values: &[String], not_values: &[String]) -> Result<Vec<T>, Unseen> {
        let asked = !values.is_empty() || !not_values.is_empty();
        if asked && !self.denies { Err(Unseen) } else { Ok(Vec::new()) }
    }

    // === from ===

    fn source(&self, source: &Source) -> Result<Vec<Principal>, Unseen> {
        let mut all = Vec::new();
        let domains = self.trust_domains();
        principals(&mut all, &source.principals, &source.not_principals, |text| identity(text, &domains));
        principals(&mut all, &source.namespaces, &source.not_namespaces, |text| vec![namespace(text)]);
        let account = |text: &str| vec![service_account(text, self.namespace)];
        principals(&mut all, &source.service_accounts, &source.not_service_accounts, account);
        principals(&mut all, &source.trust_domains, &source.not_trust_domains, |text| {
            vec![trust_domain(text)]
        });
        principals(&mut all, &source.ip_blocks, &source.not_ip_blocks, |text| direct_address(text));
        match self.layer {
            Layer::Http => {
                principals(&mut all, &source.remote_ip_blocks, &source.not_remote_ip_blocks, |text| {
                    remote_address(text)
                });
            }
            Layer::Tcp => {
                all.extend(self.unseen(&source.remote_ip_blocks, &source.not_remote_ip_blocks)?);
            }
        }
        // No token is checked, so no request has a principal.
        all.extend(self.unseen(&source.request_principals, &source.not_request_principals)?);
        Ok(all)
    }

    fn trust_domains(&self) -> Vec<String> {
        let mesh = self.context.snapshot().mesh();
        std::iter::once(&mesh.trust_domain).chain(&mesh.trust_domain_aliases).cloned().collect()
    }

    // === to ===

    fn operation(&self, operation: &Operation) -> Result<Vec<Permission>, Unseen> {
        let mut all = Vec::new();
        permissions(&mut all, &operation.ports, &operation.not_ports, |text| port(text));
        if self.layer == Layer::Tcp {
            for (values, not_values) in [
                (&operation.hosts, &operation.not_hosts),
                (&operation.methods, &operation.not_methods),
                (&operation.paths, &operation.not_paths),
            ] {
                all.extend(self.unseen(values, not_values)?);
            }
            return Ok(all);
        }
        permissions(&mut all, &operation.hosts, &operation.not_hosts, |text| vec![host(text)]);
        permissions(&mut all, &operation.methods, &operation.not_methods, |text| {
            vec![header(":method", text)]
        });
        permissions(&mut all, &operation.paths, &operation.not_paths, |text| vec![path(text)]);
        Ok(all)
    }

    // === when ===

    fn principal_condition(&self, condition: &Condition) -> Result<Vec<Principal>, Unseen> {
        let (values, not_values) = (&condition.values, &condition.not_values);
        let mut all = Vec::new();
        let domains = self.trust_domains();
        match condition.key.as_str() {
            "source.ip" => principals(&mut all, values, not_values, |text| direct_address(text)),
            "remote.ip" if self.layer == Layer::Http => {
                principals(&mut all, values, not_values, |text| remote_address(text));
            }
            "source.namespace" => principals(&mut all, values, not_values, |text| vec![namespace(text)]),
            "source.principal" => principals(&mut all, values, not_values, |text| identity(text, &domains)),
            "source.serviceAccount" => {
                principals(&mut all, values, not_values, |text| vec![service_account(text, self.namespace)]);
            }
            "source.trustDomain" => principals(&mut all, values, not_values, |text| vec![trust_domain(text)]),
            "destination.ip" | "destination.port" | "connection.sni" => {}
            key => match header_name(key) {
                Some(name) if self.layer == Layer::Http => {
                    principals(&mut all, values, not_values, |text| vec![header_principal(name, text)]);
                }
                _ => return self.unseen(values, not_values),
            },
        }
        Ok(all)
    }

    fn permission_condition(&self, condition: &Condition) -> Result<Vec<Permission>, Unseen> {
        let (values, not_values) = (&condition.values, &condition.not_values);
        let mut all = Vec::new();
        match condition.key.as_str() {
            "destination.ip" => permissions(&mut all, values, not_values, |text| destination_address(text)),
            "destination.port" => permissions(&mut all, values, not_values, |text| port(text)),
            "connection.sni" => permissions(&mut all, values, not_values, |text| {
                vec![permission(pb::permission::Rule::RequestedServerName(text_matcher(text)))]
            }),
            _ => {}
        }
        Ok(all)
    }
}

/// The header a condition's key names: `request.headers[x-token]`.
fn header_name(key: &str) -> Option<&str> {
    key.strip_prefix("request.headers[")?.strip_suffix(']')
}

// === joining ===

/// Any of `values`, and none of `not_values`. A value that means nothing matches nothing.
fn principals(
    all: &mut Vec<Principal>,
    values: &[String],
    not_values: &[String],
    matcher: impl Fn(&str) -> Vec<Principal>,
) {
    let any = |values: &[String]| {
        let ids: Vec<Principal> = values.iter().flat_map(|value| matcher(value)).collect();
        if ids.is_empty() {
            let anyone = principal(pb::principal::Identifier::Any(true));
            return principal(pb::principal::Identifier::NotId(Box::new(anyone)));
        }
        principal(pb::principal::Identifier::OrIds(pb::principal::Set { ids }))
    };
    if !values.is_empty() {
        all.push(any(values));
    }
    if !not_values.is_empty() {
        all.push(principal(pb::principal::Identifier::NotId(Box::new(any(not_values)))));
    }
}

fn permissions(
    all: &mut Vec<Permission>,
    values: &[String],
    not_values: &[String],
    matcher: impl Fn(&str) -> Vec<Permission>,
) {
    let any = |values: &[String]| {
        let rules: Vec<Permission> = values.iter().flat_map(|value| matcher(value)).collect();
        if rules.is_empty() {
            let anything = permission(pb::permission::Rule::Any(true));
            return permission(pb::permission::Rule::NotRule(Box::new(anything)));
        }
        permission(pb::permission::Rule::OrRules(pb::permission::Set { rules }))
    };
    if !values.is_empty() {
        all.push(any(values));
    }
    if !not_values.is_empty() {
        all.push(permission(pb::permission::Rule::NotRule(Box::new(any(not_values)))));
    }
}

fn and_principals(ids: Vec<Principal>) -> Principal {
    match ids.is_empty() {
        true => principal(pb::principal::Identifier::Any(true)),
        false => principal(pb::principal::Identifier::AndIds(pb::principal::Set { ids })),
    }
}

fn and_permissions(rules: Vec<Permission>) -> Permission {
    match rules.is_empty() {
        true => permission(pb::permission::Rule::Any(true)),
        false => permission(pb::permission::Rule::AndRules(pb::permission::Set { rules })),
    }
}

fn principal(identifier: pb::principal::Identifier) -> Principal {
    Principal { identifier: Some(identifier) }
}

fn permission(rule: pb::permission::Rule) -> Permission {
    Permission { rule: Some(rule) }
}

// === single values ===

/// A text as policies write it: exact, `prefix*`, `*suffix`, or `*` for any that is there.
pub(crate) fn text_matcher(text: &str) -> matcher::StringMatcher {
    match (text, text.strip_suffix('*'), text.strip_prefix('*')) {
        ("*", _, _) => e::regex(".+"),
        (_, Some(start), _) => e::prefix(start),
        (_, _, Some(end)) => e::suffix(end),
        _ => e::exact(text),
    }
}

fn authenticated(name: matcher::StringMatcher) -> Principal {
    principal(pb::principal::Identifier::Authenticated(pb::principal::Authenticated {
        principal_name: Some(name),
    }))
}

/// `cluster.local/ns/shop/sa/web`. The mesh's trust domain stands for its older names too, and
/// `cluster.local` for the mesh's own.
fn identity(text: &str, domains: &[String]) -> Vec<Principal> {
    const SCHEME: &str = "spiffe://";
    if text == "*" {
        return vec![authenticated(e::regex(".+"))];
    }
    if let Some(end) = text.strip_prefix('*') {
        return vec![authenticated(e::suffix(end))];
    }
    let (domain, rest) = text.split_once('/').map_or((text, None), |(domain, rest)| (domain, Some(rest)));
    let Some(rest) = rest else {
        return match domain.strip_suffix('*') {
            Some(start) => vec![authenticated(e::prefix(&format!("{SCHEME}{start}")))],
            None => vec![authenticated(e::exact(&format!("{SCHEME}{domain}")))],
        };
    };
    let own = domain == "cluster.local" || domains.iter().any(|known| known == domain);
    let expanded: Vec<String> = if own { domains.to_vec() } else { vec![domain.to_owned()] };
    expanded
        .into_iter()
        .map(|domain| match rest.strip_suffix('*') {
            Some(start) => authenticated(e::prefix(&format!("{SCHEME}{domain}/{start}"))),
            None => authenticated(e::exact(&format!("{SCHEME}{domain}/{rest}"))),
        })
        .collect()
}

/// The part of an expression that a text with wildcards stands for, within one segment of a path.
fn segment(text: &str) -> String {
    match (text, text.strip_suffix('*'), text.strip_prefix('*')) {
        ("*", _, _) => "[^/]+".to_owned(),
        (_, Some(start), _) => format!("{}[^/]*", e::escape_regex(start)),
        (_, _, Some(end)) => format!("[^/]*{}", e::escape_regex(end)),
        _ => e::escape_regex(text),
    }
}

fn namespace(text: &str) -> Principal {
    authenticated(e::regex(&format!("spiffe://[^/]+/ns/{}/sa/[^/]+", segment(text))))
}

/// `namespace/account`, or an account of the policy's own namespace.
fn service_account(text: &str, own_namespace: &str) -> Principal {
    let (namespace, account) = text.split_once('/').unwrap_or((own_namespace, text));
    let expression =
        format!("spiffe://[^/]+/ns/{}/sa/{}", e::escape_regex(namespace), e::escape_regex(account));
    authenticated(e::regex(&expression))
}

fn trust_domain(text: &str) -> Principal {
    authenticated(e::regex(&format!("spiffe://{}/.+", segment(text))))
}

fn direct_address(text: &str) -> Vec<Principal> {
    let range = e::parse_cidr(text).map(pb::principal::Identifier::DirectRemoteIp);
    range.map(principal).into_iter().collect()
}

fn remote_address(text: &str) -> Vec<Principal> {
    let range = e::parse_cidr(text).map(pb::principal::Identifier::RemoteIp);
    range.map(principal).into_iter().collect()
}

fn destination_address(text: &str) -> Vec<Permission> {
    let range = e::parse_cidr(text).map(pb::permission::Rule::DestinationIp);
    range.map(permission).into_iter().collect()
}

fn port(text: &str) -> Vec<Permission> {
    let port = text.parse::<u16>().ok().map(|port| pb::permission::Rule::DestinationPort(u32::from(port)));
    port.map(permission).into_iter().collect()
}

fn header_matcher(name: &str, text: &str) -> route::HeaderMatcher {
    let specifier = if text == "*" {
        route::header_matcher::HeaderMatchSpecifier::PresentMatch(true)
    } else {
        route::header_matcher::HeaderMatchSpecifier::StringMatch(text_matcher(text))
    };
    route::HeaderMatcher {
        name: name.to_owned(),
        header_match_specifier: Some(specifier),
        ..Default::default()
    }
}

fn header(name: &str, text: &str) -> Permission {
    permission(pb::permission::Rule::Header(header_matcher(name, text)))
}

fn header_principal(name: &str, text: &str) -> Principal {
    principal(pb::principal::Identifier::Header(header_matcher(name, text)))
}

/// A host, whatever its case, with or without a port.
fn host(text: &str) -> Permission {
    if text == "*" {
        return header(":authority", "*");
    }
    let name = match (text.strip_suffix('*'), text.strip_prefix('*')) {
        (Some(start), _) => format!("{}.*", e::escape_regex(start)),
        (_, Some(end)) => format!(".*{}", e::escape_regex(end)),
        _ => e::escape_regex(text),
    };
    let expression = if text.contains(':') { format!("(?i){name}") } else { format!("(?i){name}(:[0-9]+)?") };
    permission(pb::permission::Rule::Header(route::HeaderMatcher {
        name: ":authority".to_owned(),
        header_match_specifier: Some(route::header_matcher::HeaderMatchSpecifier::StringMatch(e::regex(
            &expression,
        ))),
        ..Default::default()
    }))
}

/// A path without its query. `{*}` stands for one segment, `{**}` for any number.
fn path(text: &str) -> Permission {
    let matching = if text.contains("{*}") || text.contains("{**}") {
        let expression: Vec<String> = text
            .split('/')
            .map(|part| match part {
                "{*}" => "[^/]+".to_owned(),
                "{**}" => ".*".to_owned(),
                other => e::escape_regex(other),
            })
            .collect();
        e::regex(&expression.join("/"))
    } else {
        text_matcher(text)
    };
    permission(pb::permission::Rule::UrlPath(matcher::PathMatcher {
        rule: Some(matcher::path_matcher::Rule::Path(matching)),
    }))
}

#[cfg(test)]
#[path = "rbac_tests.rs"]
mod tests;
