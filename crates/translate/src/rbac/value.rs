//! Single values of policies as matchers.

use super::join::{permission, principal};
use super::{Permission, Principal};
use crate::envoy::{self as e, matcher, rbac as pb, route};

/// A text as policies write it: exact, `prefix*`, `*suffix`, or `*` for any that is there.
pub(super) fn text_matcher(text: &str) -> matcher::StringMatcher {
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
pub(super) fn identity(text: &str, domains: &[String]) -> Vec<Principal> {
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

pub(super) fn namespace(text: &str) -> Principal {
    authenticated(e::regex(&format!("spiffe://[^/]+/ns/{}/sa/[^/]+", segment(text))))
}

/// `namespace/account`, or an account of the policy's own namespace.
pub(super) fn service_account(text: &str, own_namespace: &str) -> Principal {
    let (namespace, account) = text.split_once('/').unwrap_or((own_namespace, text));
    let expression =
        format!("spiffe://[^/]+/ns/{}/sa/{}", e::escape_regex(namespace), e::escape_regex(account));
    authenticated(e::regex(&expression))
}

pub(super) fn trust_domain(text: &str) -> Principal {
    authenticated(e::regex(&format!("spiffe://{}/.+", segment(text))))
}

pub(super) fn direct_address(text: &str) -> Vec<Principal> {
    let range = e::parse_cidr(text).map(pb::principal::Identifier::DirectRemoteIp);
    range.map(principal).into_iter().collect()
}

pub(super) fn remote_address(text: &str) -> Vec<Principal> {
    let range = e::parse_cidr(text).map(pb::principal::Identifier::RemoteIp);
    range.map(principal).into_iter().collect()
}

pub(super) fn destination_address(text: &str) -> Vec<Permission> {
    let range = e::parse_cidr(text).map(pb::permission::Rule::DestinationIp);
    range.map(permission).into_iter().collect()
}

pub(super) fn port(text: &str) -> Vec<Permission> {
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

pub(super) fn header(name: &str, text: &str) -> Permission {
    permission(pb::permission::Rule::Header(header_matcher(name, text)))
}

pub(super) fn header_principal(name: &str, text: &str) -> Principal {
    principal(pb::principal::Identifier::Header(header_matcher(name, text)))
}

/// A host, whatever its case, with or without a port.
pub(super) fn host(text: &str) -> Permission {
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
pub(super) fn path(text: &str) -> Permission {
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
