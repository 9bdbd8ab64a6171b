//! What makes a PeerAuthentication, AuthorizationPolicy and RequestAuthentication valid.

use super::{check_attachment, findings::Findings, names};
use crate::security::{
    AuthorizationAction, AuthorizationPolicy, AuthorizationRule, Condition, Operation, PeerAuthentication,
    RequestAuthentication, Source,
};

/// Checks a PeerAuthentication.
pub(super) fn check_peer_authentication(spec: &PeerAuthentication, findings: &mut Findings) {
    let labels = spec.selector.as_ref().map(|selector| &selector.match_labels);
    if let Some(labels) = labels {
        names::check_labels(labels, "spec.selector.matchLabels", findings);
    }
    if !spec.port_level_mtls.is_empty() && labels.is_none_or(|labels| labels.is_empty()) {
        let message = "needs a selector with matchLabels, as ports are those of the selected workloads";
        findings.error("spec.portLevelMtls", message);
    }
    for port in spec.port_level_mtls.keys() {
        names::check_port(u32::from(*port), &format!("spec.portLevelMtls[{port}]"), findings);
    }
}

/// Checks an AuthorizationPolicy.
pub(super) fn check_authorization_policy(spec: &AuthorizationPolicy, findings: &mut Findings) {
    check_attachment(spec.selector.as_ref(), spec.target_ref.as_ref(), &spec.target_refs, findings);
    let action = spec.action.unwrap_or_default();
    match (action, &spec.provider) {
        (AuthorizationAction::Custom, None) => {
            findings.error("spec.provider", "is required by action CUSTOM; name an extension provider");
        }
        (AuthorizationAction::Custom, Some(_)) | (_, None) => {}
        (_, Some(_)) => findings.error("spec.provider", "is used only by action CUSTOM; take it out"),
    }
    if action == AuthorizationAction::Deny && spec.rules.is_empty() {
        findings.warning("spec.rules", "is empty, so nothing is denied; \"rules: [{}]\" denies everything");
    }
    for (index, rule) in spec.rules.iter().enumerate() {
        check_rule(rule, &format!("spec.rules[{index}]"), findings);
    }
}

fn check_rule(rule: &AuthorizationRule, path: &str, findings: &mut Findings) {
    for (index, from) in rule.from.iter().enumerate() {
        let path = format!("{path}.from[{index}].source");
        match &from.source {
            Some(source) if *source != Source::default() => check_source(source, &path, findings),
            _ => findings.error(path, "is empty; say who, or leave from out to mean everyone"),
        }
    }
    for (index, to) in rule.to.iter().enumerate() {
        let path = format!("{path}.to[{index}].operation");
        match &to.operation {
            Some(operation) if *operation != Operation::default() => {
                check_operation(operation, &path, findings)
            }
            _ => findings.error(path, "is empty; say what, or leave to out to mean everything"),
        }
    }
    for (index, condition) in rule.when.iter().enumerate() {
        check_condition(condition, &format!("{path}.when[{index}]"), findings);
    }
}

fn check_source(source: &Source, path: &str, findings: &mut Findings) {
    let texts = [
        ("principals", &source.principals),
        ("notPrincipals", &source.not_principals),
        ("requestPrincipals", &source.request_principals),
        ("notRequestPrincipals", &source.not_request_principals),
        ("namespaces", &source.namespaces),
        ("notNamespaces", &source.not_namespaces),
        ("serviceAccounts", &source.service_accounts),
        ("notServiceAccounts", &source.not_service_accounts),
        ("trustDomains", &source.trust_domains),
        ("notTrustDomains", &source.not_trust_domains),
    ];
    for (field, values) in texts {
        check_texts(values, &format!("{path}.{field}"), findings);
    }
    for (index, principal) in source.principals.iter().chain(&source.not_principals).enumerate() {
        if principal.starts_with("spiffe://") {
            let message =
                format!("{principal:?} must be without \"spiffe://\": TRUST_DOMAIN/ns/NAMESPACE/sa/ACCOUNT");
            let field = if index < source.principals.len() { "principals" } else { "notPrincipals" };
            findings.error(format!("{path}.{field}"), message);
        }
    }
    for (field, blocks) in [
        ("ipBlocks", &source.ip_blocks),
        ("notIpBlocks", &source.not_ip_blocks),
        ("remoteIpBlocks", &source.remote_ip_blocks),
        ("notRemoteIpBlocks", &source.not_remote_ip_blocks),
    ] {
        names::check_subnets(blocks, &format!("{path}.{field}"), findings);
    }
    let by_account = !(source.service_accounts.is_empty() && source.not_service_accounts.is_empty());
    let by_other = [&source.principals, &source.not_principals, &source.namespaces, &source.not_namespaces];
    if by_account && by_other.iter().any(|values| !values.is_empty()) {
        findings.error(path, "serviceAccounts cannot be combined with principals or namespaces");
    }
}

fn check_operation(operation: &Operation, path: &str, findings: &mut Findings) {
    for (field, values) in [
        ("hosts", &operation.hosts),
        ("notHosts", &operation.not_hosts),
        ("methods", &operation.methods),
        ("notMethods", &operation.not_methods),
        ("paths", &operation.paths),
        ("notPaths", &operation.not_paths),
    ] {
        check_texts(values, &format!("{path}.{field}"), findings);
    }
    for (field, values) in [("ports", &operation.ports), ("notPorts", &operation.not_ports)] {
        for (index, value) in values.iter().enumerate() {
            check_port_text(value, &format!("{path}.{field}[{index}]"), findings);
        }
    }
    for (field, values) in [("paths", &operation.paths), ("notPaths", &operation.not_paths)] {
        for (index, value) in values.iter().enumerate() {
            check_path_template(value, &format!("{path}.{field}[{index}]"), findings);
        }
    }
}

fn check_texts(values: &[String], path: &str, findings: &mut Findings) {
    for (index, value) in values.iter().enumerate() {
        let path = format!("{path}[{index}]");
        if value.is_empty() {
            findings.error(path, "must not be empty; \"*\" means any that is there");
        } else if value.trim_start_matches('*').trim_end_matches('*').contains('*') && !value.contains('{') {
            let message = format!(
                "in {value:?} the inner \"*\" stands for itself; only a first or last one is a wildcard"
            );
            findings.warning(path, message);
        } else if value.len() > 2 && value.starts_with('*') && value.ends_with('*') {
            let message =
                format!("in {value:?} only the first \"*\" is a wildcard; the last one stands for itself");
            findings.warning(path, message);
        }
    }
}

fn check_port_text(value: &str, path: &str, findings: &mut Findings) {
    if !value.parse::<u16>().is_ok_and(|port| port > 0) {
        findings.error(path, format!("{value:?} is not a port; use a number from 1 to 65535"));
    }
}

/// A path with `{*}` or `{**}` is a template: those stand for whole segments, `{**}` for the last ones.
fn check_path_template(value: &str, path: &str, findings: &mut Findings) {
    if !(value.contains("{*}") || value.contains("{**}")) {
        return;
    }
    let segments: Vec<_> = value.split('/').collect();
    let last = segments.len().saturating_sub(1);
    for (index, segment) in segments.into_iter().enumerate() {
        let wrong = match segment {
            "{*}" => None,
            "{**}" if index == last => None,
            "{**}" => Some("{**} can only be the last segment"),
            other if other.contains(['{', '}', '*']) => Some("{*} and {**} stand for whole segments"),
            _ => None,
        };
        if let Some(message) = wrong {
            findings.error(path, format!("in {value:?} {message}"));
            return;
        }
    }
}

/// The attributes a condition may have, besides those in brackets.
const KEYS: [&str; 13] = [
    "source.ip",
    "remote.ip",
    "source.namespace",
    "source.principal",
    "source.serviceAccount",
    "source.trustDomain",
    "request.auth.principal",
    "request.auth.audiences",
    "request.auth.presenter",
    "destination.ip",
    "destination.port",
    "connection.sni",
    "request.headers[NAME]",
];

fn check_condition(condition: &Condition, path: &str, findings: &mut Findings) {
    if condition.values.is_empty() && condition.not_values.is_empty() {
        findings.error(path, "compares with nothing; set values or notValues");
    }
    let key = condition.key.as_str();
    let bracketed = ["request.headers[", "request.auth.claims[", "experimental.envoy.filters."]
        .iter()
        .any(|prefix| key.strip_prefix(prefix).is_some_and(|rest| rest.ends_with(']') && rest.len() > 1));
    if !bracketed && !KEYS.contains(&key) {
        findings.error(
            format!("{path}.key"),
            format!("{key:?} is not an attribute; use one of {}", KEYS.join(", ")),
        );
    }
    for (field, values) in [("values", &condition.values), ("notValues", &condition.not_values)] {
        let path = format!("{path}.{field}");
        match key {
            "source.ip" | "remote.ip" | "destination.ip" => names::check_subnets(values, &path, findings),
            "destination.port" => {
                for (index, value) in values.iter().enumerate() {
                    check_port_text(value, &format!("{path}[{index}]"), findings);
                }
            }
            _ => check_texts(values, &path, findings),
        }
    }
}

/// Checks a RequestAuthentication.
pub(super) fn check_request_authentication(spec: &RequestAuthentication, findings: &mut Findings) {
    check_attachment(spec.selector.as_ref(), spec.target_ref.as_ref(), &spec.target_refs, findings);
    for (index, rule) in spec.jwt_rules.iter().enumerate() {
        let path = format!("spec.jwtRules[{index}]");
        if rule.issuer.is_none() {
            findings.error(format!("{path}.issuer"), "is required; it is the iss claim of the tokens");
        }
        if rule.jwks.is_some() && rule.jwks_uri.is_some() {
            findings.error(&path, "has jwks and jwksUri set; only one of them can be");
        }
    }
}
