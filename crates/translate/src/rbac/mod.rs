//! Authorization policies as RBAC filters: DENY first, then ALLOW.
//!
//! Identities are matched exactly wherever a policy names them exactly; where it does not, by anchored
//! expressions in which everything but the wildcard is escaped. What cannot be expressed never widens what
//! is allowed: such a rule never allows, and always denies.

mod join;
mod value;

use envoy_types::pb::envoy::extensions::filters::{
    http::rbac::v3::Rbac as HttpRbac, network::rbac::v3::Rbac as NetworkRbac,
};
use mizzen_api::security::{
    AuthorizationAction, AuthorizationPolicy, AuthorizationRule, Condition, Operation, Source,
};
use mizzen_model::Declared;

use self::join::{all_of, demand, permission};
use self::value::{
    destination_address, direct_address, header, header_principal, host, identity, namespace, path, port,
    remote_address, service_account, text_matcher, trust_domain,
};
use crate::{
    context::Context,
    envoy::{self as e, hcm, listener, rbac as pb},
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
                shadow_rules_stat_prefix: if shadow_rules.is_some() {
                    prefix.to_owned()
                } else {
                    String::new()
                },
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
                shadow_rules_stat_prefix: if shadow_rules.is_some() {
                    prefix.to_owned()
                } else {
                    String::new()
                },
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
        Some(all_of(all))
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
        Some(all_of(all))
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
        demand(&mut all, &source.principals, &source.not_principals, |text| identity(text, &domains));
        demand(&mut all, &source.namespaces, &source.not_namespaces, |text| vec![namespace(text)]);
        let account = |text: &str| vec![service_account(text, self.namespace)];
        demand(&mut all, &source.service_accounts, &source.not_service_accounts, account);
        demand(&mut all, &source.trust_domains, &source.not_trust_domains, |text| vec![trust_domain(text)]);
        demand(&mut all, &source.ip_blocks, &source.not_ip_blocks, direct_address);
        match self.layer {
            Layer::Http => {
                demand(&mut all, &source.remote_ip_blocks, &source.not_remote_ip_blocks, |text| {
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
        demand(&mut all, &operation.ports, &operation.not_ports, port);
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
        demand(&mut all, &operation.hosts, &operation.not_hosts, |text| vec![host(text)]);
        demand(&mut all, &operation.methods, &operation.not_methods, |text| vec![header(":method", text)]);
        demand(&mut all, &operation.paths, &operation.not_paths, |text| vec![path(text)]);
        Ok(all)
    }

    // === when ===

    fn principal_condition(&self, condition: &Condition) -> Result<Vec<Principal>, Unseen> {
        let (values, not_values) = (&condition.values, &condition.not_values);
        let mut all = Vec::new();
        let domains = self.trust_domains();
        match condition.key.as_str() {
            "source.ip" => demand(&mut all, values, not_values, direct_address),
            "remote.ip" if self.layer == Layer::Http => {
                demand(&mut all, values, not_values, remote_address);
            }
            "source.namespace" => demand(&mut all, values, not_values, |text| vec![namespace(text)]),
            "source.principal" => demand(&mut all, values, not_values, |text| identity(text, &domains)),
            "source.serviceAccount" => {
                demand(&mut all, values, not_values, |text| vec![service_account(text, self.namespace)]);
            }
            "source.trustDomain" => demand(&mut all, values, not_values, |text| vec![trust_domain(text)]),
            "destination.ip" | "destination.port" | "connection.sni" => {}
            key => match header_name(key) {
                Some(name) if self.layer == Layer::Http => {
                    demand(&mut all, values, not_values, |text| vec![header_principal(name, text)]);
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
            "destination.ip" => demand(&mut all, values, not_values, destination_address),
            "destination.port" => demand(&mut all, values, not_values, port),
            "connection.sni" => demand(&mut all, values, not_values, |text| {
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

#[cfg(test)]
#[path = "rbac_tests.rs"]
mod tests;
