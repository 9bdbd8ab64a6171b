//! Names: hosts, labels, gateways, namespaces, ports, addresses.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use regex::Regex;

use super::findings::Findings;
use crate::common::{Percent, StringMatch};

/// Whether a text is one label of a DNS name (RFC 1123): letters, digits and inner hyphens, 63 at most.
pub(super) fn is_dns_label(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 63
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Whether a text is a DNS name, with or without a final dot. Underscores pass, as they do in Istio,
/// at the beginning of labels.
pub(super) fn is_dns_name(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    !text.is_empty()
        && text.len() <= 253
        && text.split('.').all(|label| is_dns_label(label.trim_start_matches('_')))
}

/// Whether a text is a DNS name, perhaps with `*` in place of its first label, or `*` alone.
fn is_wildcard_name(text: &str) -> bool {
    text == "*" || is_dns_name(text.strip_prefix("*.").unwrap_or(text))
}

/// Checks a host that may begin with `*.`, be `*`, or be an IP address.
pub(super) fn check_host(host: &str, path: &str, findings: &mut Findings) {
    if host.is_empty() {
        findings.error(path, "must not be empty; name a host");
    } else if !is_wildcard_name(host) && host.parse::<IpAddr>().is_err() {
        let message = format!(
            "{host:?} is not a host; use a DNS name, which may begin with \"*.\", or an IP address, without port"
        );
        findings.error(path, message);
    }
}

/// Checks the host of a destination: one service, so not `*`.
pub(super) fn check_destination_host(host: &str, path: &str, findings: &mut Findings) {
    if host == "*" {
        findings.error(path, "\"*\" does not name one service; name the service traffic goes to");
    } else {
        check_host(host, path, findings);
    }
}

/// Checks `NAMESPACE/HOST` or `HOST`. `namespaces` are the special names allowed besides real ones.
pub(super) fn check_scoped_host(
    text: &str,
    namespaces: &[&str],
    needs_namespace: bool,
    path: &str,
    findings: &mut Findings,
) {
    let (namespace, host) = match text.split_once('/') {
        Some((namespace, host)) => (Some(namespace), host),
        None => (None, text),
    };
    match namespace {
        None if needs_namespace => {
            findings.error(
                path,
                format!("{text:?} must be NAMESPACE/HOST; write \"./{text}\" for this namespace"),
            );
            return;
        }
        Some(namespace) if !namespaces.contains(&namespace) && !is_dns_label(namespace) => {
            let message =
                format!("{namespace:?} is not a namespace; use a name or {}", namespaces.join(", "));
            findings.error(path, message);
        }
        _ => {}
    }
    check_host(host, path, findings);
}

/// Checks the name of a gateway a VirtualService is bound to.
pub(super) fn check_gateway_name(name: &str, path: &str, findings: &mut Findings) {
    let valid = match name.split_once('/') {
        Some((namespace, gateway)) => (namespace == "." || is_dns_label(namespace)) && is_dns_name(gateway),
        None => is_dns_name(name),
    };
    if !valid {
        findings.error(
            path,
            format!("{name:?} is not a gateway; write NAME, NAMESPACE/NAME, or mesh for the sidecars"),
        );
    }
}

/// Checks the namespaces an object is visible in.
pub(super) fn check_export_to(export_to: &[String], findings: &mut Findings) {
    for (index, namespace) in export_to.iter().enumerate() {
        let path = format!("spec.exportTo[{index}]");
        match namespace.as_str() {
            "*" | "." => {}
            "~" => {
                findings.error(path, "\"~\" is for Services only; use \".\" to keep it to its own namespace")
            }
            name if is_dns_label(name) => {}
            name => findings.error(path, format!("{name:?} is not a namespace; use a name, \".\" or \"*\"")),
        }
    }
    let all = export_to.iter().any(|namespace| namespace == "*");
    if all && export_to.len() > 1 {
        findings.error("spec.exportTo", "\"*\" already means every namespace; leave the others out");
    }
    findings.unique(export_to, |n| Some(n.clone()), |i| format!("spec.exportTo[{i}]"), "the namespace");
}

/// Checks labels that select or are given.
pub(super) fn check_labels(labels: &BTreeMap<String, String>, path: &str, findings: &mut Findings) {
    for (key, value) in labels {
        let path = format!("{path}[{key}]");
        let (prefix, name) =
            key.rsplit_once('/').map_or((None, key.as_str()), |(prefix, name)| (Some(prefix), name));
        if key.is_empty() {
            findings.error(path, "a label's key must not be empty");
        } else if key.contains('*') || value.contains('*') {
            findings.error(path, "labels are compared whole; \"*\" is not supported here");
        } else if !is_label_text(name) || prefix.is_some_and(|prefix| !is_dns_name(prefix)) {
            findings.error(path, format!("{key:?} is not a label's key"));
        } else if !value.is_empty() && !is_label_text(value) {
            findings.error(path, format!("{value:?} is not a label's value"));
        }
    }
}

/// Whether a text can be the name or value of a label: at most 63 letters, digits, `-`, `_` and `.`,
/// beginning and ending with a letter or digit.
fn is_label_text(text: &str) -> bool {
    let alphanumeric = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
    text.len() <= 63
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && alphanumeric(text.bytes().next())
        && alphanumeric(text.bytes().next_back())
}

/// Checks a port number.
pub(super) fn check_port(number: u32, path: &str, findings: &mut Findings) {
    if !(1..=65535).contains(&number) {
        findings.error(path, format!("{number} is not a port; use a number from 1 to 65535"));
    }
}

/// What may be spoken on a port.
const PROTOCOLS: [&str; 12] = [
    "HTTP",
    "HTTPS",
    "GRPC",
    "GRPC-WEB",
    "HTTP2",
    "HTTP_PROXY",
    "MONGO",
    "TCP",
    "TLS",
    "UDP",
    "MYSQL",
    "REDIS",
];

/// Checks the protocol of a port.
pub(super) fn check_protocol(protocol: &str, path: &str, findings: &mut Findings) {
    if !PROTOCOLS.iter().any(|known| known.eq_ignore_ascii_case(protocol)) {
        let message = format!("{protocol:?} is not a protocol; use one of {}", PROTOCOLS.join(", "));
        findings.error(path, message);
    }
}

/// Checks addresses or ranges.
pub(super) fn check_subnets(subnets: &[String], path: &str, findings: &mut Findings) {
    for (index, subnet) in subnets.iter().enumerate() {
        if !is_subnet(subnet) {
            let message = format!("{subnet:?} is not an IP address or range such as 10.0.0.0/8");
            findings.error(format!("{path}[{index}]"), message);
        }
    }
}

/// Whether a text is an IP address or range.
pub(super) fn is_subnet(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok() || text.parse::<IpNet>().is_ok()
}

/// Checks a regular expression. Its time must be linear in the text, which rules out back-references
/// and look-around, as in RE2.
pub(super) fn check_regex(pattern: &str, path: &str, findings: &mut Findings) {
    if pattern.is_empty() {
        findings.error(path, "must not be empty; \".*\" matches everything");
    } else if let Err(error) = Regex::new(pattern) {
        let reason = match error {
            regex::Error::Syntax(text) => text.lines().last().unwrap_or_default().trim().to_owned(),
            other => other.to_string(),
        };
        findings.error(path, format!("{pattern:?} is not a regular expression: {reason}"));
    }
}

/// Checks how a text is compared.
pub(super) fn check_string_match(value: &StringMatch, path: &str, findings: &mut Findings) {
    match value {
        StringMatch::Present | StringMatch::Exact(_) => {}
        StringMatch::Prefix(prefix) if prefix.is_empty() => {
            findings.error(
                format!("{path}.prefix"),
                "must not be empty; leave the match out to match everything",
            );
        }
        StringMatch::Prefix(_) => {}
        StringMatch::Regex(pattern) => check_regex(pattern, &format!("{path}.regex"), findings),
    }
}

/// Checks the name of a header.
pub(super) fn check_header_name(name: &str, path: &str, findings: &mut Findings) {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(token) {
        findings.error(path, format!("{name:?} is not the name of a header"));
    }
}

/// Checks a share of requests.
pub(super) fn check_percent(percent: &Percent, path: &str, findings: &mut Findings) {
    if !(0.0..=100.0).contains(&percent.value) {
        findings
            .error(format!("{path}.value"), format!("{} is not a percentage; use 0 to 100", percent.value));
    }
}
