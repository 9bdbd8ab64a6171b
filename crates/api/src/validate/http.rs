//! What makes an HTTP rule of a VirtualService valid.

use std::collections::BTreeMap;

use super::{
    findings::Findings,
    names::{
        check_gateway_name, check_header_name, check_host, check_labels, check_percent, check_port,
        check_regex, check_string_match, is_dns_label,
    },
    virtual_service::{check_destination, check_weights},
};
use crate::{
    common::StringMatch,
    networking::{
        CorsPolicy, Delegate, FaultAbort, FaultDelay, HeaderChanges, HeaderOperations, HttpDirectResponse,
        HttpMatch, HttpRedirect, HttpRetry, HttpRewrite, HttpRoute, grpc_status,
    },
};

/// The largest body of a fixed response, in bytes.
const LARGEST_BODY: usize = 1024 * 1024;

/// Header keys that route by the claims of a JSON web token begin so.
pub(crate) const CLAIM_HEADER_PREFIX: &str = "@request.auth.claims";

pub(super) fn check_route(route: &HttpRoute, in_delegate: bool, path: &str, findings: &mut Findings) {
    check_action(route, in_delegate, path, findings);
    for (index, condition) in route.matches.iter().enumerate() {
        check_match(condition, &format!("{path}.match[{index}]"), findings);
    }
    for (index, target) in route.route.iter().enumerate() {
        let path = format!("{path}.route[{index}]");
        check_destination(&target.destination, &format!("{path}.destination"), findings);
        check_header_changes(target.headers.as_ref(), &format!("{path}.headers"), findings);
    }
    check_weights(route.route.iter().map(|target| target.weight), &format!("{path}.route"), findings);
    if let Some(redirect) = &route.redirect {
        check_redirect(redirect, &format!("{path}.redirect"), findings);
    }
    if let Some(response) = &route.direct_response {
        check_direct_response(response, &format!("{path}.directResponse"), findings);
    }
    if let Some(delegate) = &route.delegate {
        check_delegate(delegate, &format!("{path}.delegate"), findings);
    }
    if let Some(rewrite) = &route.rewrite {
        check_rewrite(rewrite, &format!("{path}.rewrite"), findings);
    }
    if let Some(retries) = &route.retries {
        check_retries(retries, &format!("{path}.retries"), findings);
    }
    if let Some(fault) = &route.fault {
        let path = format!("{path}.fault");
        if fault.delay.is_none() && fault.abort.is_none() {
            findings.error(&path, "is empty; set delay or abort");
        }
        fault.delay.iter().for_each(|delay| check_delay(delay, &format!("{path}.delay"), findings));
        fault.abort.iter().for_each(|abort| check_abort(abort, &format!("{path}.abort"), findings));
    }
    check_mirrors(route, path, findings);
    if let Some(cors) = &route.cors_policy {
        check_cors(cors, &format!("{path}.corsPolicy"), findings);
    }
    check_header_changes(route.headers.as_ref(), &format!("{path}.headers"), findings);
}

/// A rule does one thing, and only with what goes with it.
fn check_action(route: &HttpRoute, in_delegate: bool, path: &str, findings: &mut Findings) {
    let actions = [
        ("route", !route.route.is_empty()),
        ("redirect", route.redirect.is_some()),
        ("directResponse", route.direct_response.is_some()),
        ("delegate", route.delegate.is_some()),
    ];
    let set: Vec<_> = actions.into_iter().filter(|(_, set)| *set).map(|(name, _)| name).collect();
    match set.as_slice() {
        [] => findings.error(path, "does nothing; set one of route, redirect, directResponse and delegate"),
        [_] => {}
        several => {
            findings.error(path, format!("has {} set; only one of them can be", several.join(" and ")))
        }
    }
    if in_delegate && route.delegate.is_some() {
        findings.error(format!("{path}.delegate"), "a delegate cannot delegate further; give it routes");
    }
    let answers_itself = route.redirect.is_some() || route.direct_response.is_some();
    let for_upstream = [
        ("rewrite", route.rewrite.is_some()),
        ("retries", route.retries.is_some()),
        ("timeout", route.timeout.is_some()),
        ("mirror", route.mirror.is_some()),
        ("mirrors", !route.mirrors.is_empty()),
    ];
    for (name, _) in for_upstream.into_iter().filter(|(_, set)| *set && answers_itself) {
        findings
            .error(format!("{path}.{name}"), "has no effect on a redirect or direct response; take it out");
    }
}

fn check_match(condition: &HttpMatch, path: &str, findings: &mut Findings) {
    for (name, value) in [
        ("uri", &condition.uri),
        ("scheme", &condition.scheme),
        ("method", &condition.method),
        ("authority", &condition.authority),
    ] {
        let Some(value) = value else { continue };
        let path = format!("{path}.{name}");
        if matches!(value, StringMatch::Present) {
            findings.error(&path, "says nothing; set exact, prefix or regex");
        }
        check_string_match(value, &path, findings);
    }
    for (field, headers) in [("headers", &condition.headers), ("withoutHeaders", &condition.without_headers)]
    {
        for (name, value) in headers {
            let path = format!("{path}.{field}[{name}]");
            if !name.starts_with(CLAIM_HEADER_PREFIX) {
                check_header_name(name.strip_prefix(':').unwrap_or(name), &path, findings);
            }
            check_string_match(value, &path, findings);
        }
    }
    for (name, value) in &condition.query_params {
        let path = format!("{path}.queryParams[{name}]");
        if name.is_empty() {
            findings.error(&path, "a query parameter has a name");
        }
        check_string_match(value, &path, findings);
    }
    if let Some(port) = condition.port {
        check_port(port, &format!("{path}.port"), findings);
    }
    check_labels(&condition.source_labels, &format!("{path}.sourceLabels"), findings);
    for (index, gateway) in condition.gateways.iter().enumerate() {
        check_gateway_name(gateway, &format!("{path}.gateways[{index}]"), findings);
    }
}

fn check_redirect(redirect: &HttpRedirect, path: &str, findings: &mut Findings) {
    let HttpRedirect { uri, prefix_rewrite, authority, port, derive_port, scheme, redirect_code } = redirect;
    let empty = uri.is_none()
        && prefix_rewrite.is_none()
        && authority.is_none()
        && port.is_none()
        && derive_port.is_none()
        && scheme.is_none();
    if empty {
        findings
            .error(path, "changes nothing; set uri, prefixRewrite, authority, port, derivePort or scheme");
    }
    if uri.is_some() && prefix_rewrite.is_some() {
        findings.error(path, "has uri and prefixRewrite set; only one of them can be");
    }
    if let Some(port) = port {
        check_port(*port, &format!("{path}.port"), findings);
    }
    if let Some(scheme) = scheme.as_deref().filter(|scheme| !["http", "https"].contains(scheme)) {
        findings.error(format!("{path}.scheme"), format!("{scheme:?} is not a scheme; use http or https"));
    }
    // 0 is how protobuf leaves the code out.
    if let Some(code) = redirect_code.filter(|code| ![0, 301, 302, 303, 307, 308].contains(code)) {
        let message = format!("{code} is not a redirect that is made; use 301, 302, 303, 307 or 308");
        findings.error(format!("{path}.redirectCode"), message);
    }
}

fn check_direct_response(response: &HttpDirectResponse, path: &str, findings: &mut Findings) {
    if !(200..=599).contains(&response.status) {
        findings
            .error(format!("{path}.status"), format!("{} is not a status; use 200 to 599", response.status));
    }
    let Some(body) = &response.body else { return };
    // Four letters of base64 are three bytes.
    let size =
        body.string.as_ref().map_or_else(|| body.bytes.as_ref().map_or(0, |b| b.len() / 4 * 3), String::len);
    if size > LARGEST_BODY {
        findings.error(format!("{path}.body"), format!("is {size} bytes long; the most is {LARGEST_BODY}"));
    }
}

fn check_delegate(delegate: &Delegate, path: &str, findings: &mut Findings) {
    if delegate.name.is_empty() {
        findings.error(format!("{path}.name"), "is required; name the VirtualService that continues");
    }
    if let Some(namespace) = delegate.namespace.as_ref().filter(|namespace| !is_dns_label(namespace)) {
        findings.error(format!("{path}.namespace"), format!("{namespace:?} is not a namespace"));
    }
}

fn check_rewrite(rewrite: &HttpRewrite, path: &str, findings: &mut Findings) {
    let HttpRewrite { uri, authority, uri_regex_rewrite } = rewrite;
    if uri.is_none() && authority.is_none() && uri_regex_rewrite.is_none() {
        findings.error(path, "changes nothing; set uri, uriRegexRewrite or authority");
    }
    if uri.is_some() && uri_regex_rewrite.is_some() {
        findings.error(path, "has uri and uriRegexRewrite set; only one of them can be");
    }
    if let Some(substitution) = uri_regex_rewrite {
        check_regex(&substitution.pattern, &format!("{path}.uriRegexRewrite.match"), findings);
    }
}

/// What `retryOn` may list besides status codes. Source: Envoy's `x-envoy-retry-on` and `x-envoy-retry-grpc-on`.
const RETRY_CONDITIONS: [&str; 15] = [
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "envoy-ratelimited",
    "retriable-4xx",
    "refused-stream",
    "retriable-status-codes",
    "retriable-headers",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
];

fn check_retries(retries: &HttpRetry, path: &str, findings: &mut Findings) {
    if retries.attempts == 0 && (retries.per_try_timeout.is_some() || retries.retry_on.is_some()) {
        findings.error(
            format!("{path}.attempts"),
            "is 0, which turns retries off; raise it or take the rest out",
        );
    }
    for condition in retries.retry_on.iter().flat_map(|conditions| conditions.split(',')).map(str::trim) {
        let status = condition.parse::<u16>().is_ok_and(|status| (100..=599).contains(&status));
        if !status && !RETRY_CONDITIONS.contains(&condition) && condition != "http3-post-connect-failure" {
            let message = format!(
                "{condition:?} is not a condition for retries; use status codes and {}",
                RETRY_CONDITIONS.join(", ")
            );
            findings.error(format!("{path}.retryOn"), message);
        }
    }
}

fn check_delay(delay: &FaultDelay, path: &str, findings: &mut Findings) {
    if delay.fixed_delay.is_none() && delay.exponential_delay.is_none() {
        findings.error(path, "does not say for how long; set fixedDelay");
    }
    if let Some(percentage) = &delay.percentage {
        check_percent(percentage, &format!("{path}.percentage"), findings);
    }
    if delay.percentage.is_none() && delay.percent.is_none() {
        findings.warning(path, "has no percentage, so no request is held up; set percentage");
    }
}

fn check_abort(abort: &FaultAbort, path: &str, findings: &mut Findings) {
    if abort.http_status.is_none() && abort.grpc_status.is_none() && abort.http2_error.is_none() {
        findings.error(path, "does not say with what; set httpStatus or grpcStatus");
    }
    if let Some(status) = abort.http_status.filter(|status| !(200..=599).contains(status)) {
        findings.error(format!("{path}.httpStatus"), format!("{status} is not a status; use 200 to 599"));
    }
    if let Some(status) = &abort.grpc_status
        && grpc_status(status).is_none()
    {
        let message =
            format!("{status:?} is not a gRPC status; use a name such as UNAVAILABLE or its number");
        findings.error(format!("{path}.grpcStatus"), message);
    }
    match &abort.percentage {
        Some(percentage) => check_percent(percentage, &format!("{path}.percentage"), findings),
        None => findings.warning(path, "has no percentage, so no request is failed; set percentage"),
    }
}

fn check_mirrors(route: &HttpRoute, path: &str, findings: &mut Findings) {
    if let Some(mirror) = &route.mirror {
        check_destination(mirror, &format!("{path}.mirror"), findings);
        if !route.mirrors.is_empty() {
            findings.error(path, "has mirror and mirrors set; move mirror into mirrors");
        }
    } else if route.mirror_percentage.is_some() || route.mirror_percent.is_some() {
        findings.error(format!("{path}.mirrorPercentage"), "belongs to mirror, which is absent");
    }
    if let Some(percentage) = &route.mirror_percentage {
        check_percent(percentage, &format!("{path}.mirrorPercentage"), findings);
    }
    for (index, mirror) in route.mirrors.iter().enumerate() {
        let path = format!("{path}.mirrors[{index}]");
        check_destination(&mirror.destination, &format!("{path}.destination"), findings);
        if let Some(percentage) = &mirror.percentage {
            check_percent(percentage, &format!("{path}.percentage"), findings);
        }
    }
}

const METHODS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "*"];

fn check_cors(cors: &CorsPolicy, path: &str, findings: &mut Findings) {
    for (index, origin) in cors.allow_origins.iter().enumerate() {
        let path = format!("{path}.allowOrigins[{index}]");
        if matches!(origin, StringMatch::Present) {
            findings.error(&path, "says nothing; set exact, prefix or regex");
        }
        check_string_match(origin, &path, findings);
    }
    if !cors.allow_origin.is_empty() {
        findings.warning(format!("{path}.allowOrigin"), "is superseded; use allowOrigins with exact");
    }
    for (index, method) in cors.allow_methods.iter().enumerate() {
        if !METHODS.contains(&method.as_str()) {
            findings.error(format!("{path}.allowMethods[{index}]"), format!("{method:?} is not a method"));
        }
    }
    for (field, names) in [("allowHeaders", &cors.allow_headers), ("exposeHeaders", &cors.expose_headers)] {
        for (index, name) in names.iter().enumerate().filter(|(_, name)| *name != "*") {
            check_header_name(name, &format!("{path}.{field}[{index}]"), findings);
        }
    }
    if cors.max_age.is_some_and(|age| age.as_std().subsec_nanos() != 0) {
        findings.error(format!("{path}.maxAge"), "must be a whole number of seconds, as browsers count them");
    }
}

fn check_header_changes(changes: Option<&HeaderChanges>, path: &str, findings: &mut Findings) {
    let Some(changes) = changes else { return };
    check_header_operations(changes.request.as_ref(), &format!("{path}.request"), findings);
    check_header_operations(changes.response.as_ref(), &format!("{path}.response"), findings);
}

fn check_header_operations(operations: Option<&HeaderOperations>, path: &str, findings: &mut Findings) {
    let Some(operations) = operations else { return };
    for (field, headers) in [("set", &operations.set), ("add", &operations.add)] {
        check_header_values(headers, &format!("{path}.{field}"), findings);
    }
    for (index, name) in operations.remove.iter().enumerate() {
        check_header_name(name, &format!("{path}.remove[{index}]"), findings);
        if name.eq_ignore_ascii_case("host") {
            findings
                .error(format!("{path}.remove[{index}]"), "a request must have a host; use set to change it");
        }
    }
}

fn check_header_values(headers: &BTreeMap<String, String>, path: &str, findings: &mut Findings) {
    for (name, value) in headers {
        let path = format!("{path}[{name}]");
        if name == ":authority" {
            check_host(value.rsplit_once(':').map_or(value.as_str(), |(host, _)| host), &path, findings);
        } else {
            check_header_name(name, &path, findings);
        }
        if value.contains(['\r', '\n', '\0']) {
            findings.error(path, "a header's value must be one line");
        }
    }
}
