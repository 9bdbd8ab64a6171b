//! Which requests a rule is for.

use mizzen_api::{common::StringMatch, networking::HttpMatch};

use crate::envoy::{self as e, matcher, route as pb};

/// Headers whose name begins so stand for claims of a token.
const CLAIM_PREFIX: &str = "@request.auth.claims";

/// Whether a match needs a checked token, which no filter checks: such a rule can never match.
pub(crate) fn needs_token(matching: &HttpMatch) -> bool {
    matching.headers.keys().chain(matching.without_headers.keys()).any(|name| name.starts_with(CLAIM_PREFIX))
}

/// A match as Envoy reads it. No match at all is every request.
pub(crate) fn route_match(matching: Option<&HttpMatch>) -> pb::RouteMatch {
    let Some(matching) = matching else { return super::everything() };
    let path = match &matching.uri {
        None | Some(StringMatch::Present) => pb::route_match::PathSpecifier::Prefix("/".to_owned()),
        Some(StringMatch::Exact(path)) => pb::route_match::PathSpecifier::Path(path.clone()),
        Some(StringMatch::Prefix(prefix)) => pb::route_match::PathSpecifier::Prefix(prefix.clone()),
        Some(StringMatch::Regex(regex)) => pb::route_match::PathSpecifier::SafeRegex(e::regex_matcher(regex)),
    };
    let pseudo =
        [(":method", &matching.method), (":authority", &matching.authority), (":scheme", &matching.scheme)];
    let own = matching.headers.iter().map(|(name, value)| header(name, value));
    // A request that lacks the header has not the value that it must not have. Envoy alone would say that it does not
    // match either way. Source: Istio, `pilot/pkg/networking/core/route/route.go`.
    let without = matching.without_headers.iter().map(|(name, value)| pb::HeaderMatcher {
        invert_match: true,
        treat_missing_header_as_empty: !matches!(value, StringMatch::Present),
        ..header(name, value)
    });
    let pseudo = pseudo.into_iter().filter_map(|(name, value)| Some(header(name, value.as_ref()?)));
    pb::RouteMatch {
        path_specifier: Some(path),
        case_sensitive: Some(e::boolean(!matching.ignore_uri_case)),
        headers: own.chain(without).chain(pseudo).collect(),
        query_parameters: matching
            .query_params
            .iter()
            .map(|(name, value)| query_parameter(name, value))
            .collect(),
        ..Default::default()
    }
}

/// Whether every request matches, so that nothing after it is ever reached.
pub(crate) fn is_catch_all(matching: &pb::RouteMatch) -> bool {
    let path = match &matching.path_specifier {
        Some(pb::route_match::PathSpecifier::Prefix(prefix)) => prefix == "/",
        Some(pb::route_match::PathSpecifier::SafeRegex(regex)) => regex.regex == "*" || regex.regex == ".*",
        _ => false,
    };
    path && matching.headers.is_empty() && matching.query_parameters.is_empty()
}

fn text(value: &StringMatch) -> Option<matcher::StringMatcher> {
    match value {
        StringMatch::Present => None,
        StringMatch::Exact(text) => Some(e::exact(text)),
        StringMatch::Prefix(text) => Some(e::prefix(text)),
        StringMatch::Regex(text) => Some(e::regex(text)),
    }
}

/// A text matched as a rule of CORS writes it.
pub(crate) fn string_matcher(value: &StringMatch) -> matcher::StringMatcher {
    text(value).unwrap_or_else(|| e::regex(".*"))
}

fn header(name: &str, value: &StringMatch) -> pb::HeaderMatcher {
    use pb::header_matcher::HeaderMatchSpecifier;
    let specifier = match text(value) {
        None => HeaderMatchSpecifier::PresentMatch(true),
        Some(matcher) => HeaderMatchSpecifier::StringMatch(matcher),
    };
    pb::HeaderMatcher { name: name.to_owned(), header_match_specifier: Some(specifier), ..Default::default() }
}

fn query_parameter(name: &str, value: &StringMatch) -> pb::QueryParameterMatcher {
    use pb::query_parameter_matcher::QueryParameterMatchSpecifier;
    let specifier = match text(value) {
        None => QueryParameterMatchSpecifier::PresentMatch(true),
        Some(matcher) => QueryParameterMatchSpecifier::StringMatch(matcher),
    };
    pb::QueryParameterMatcher { name: name.to_owned(), query_parameter_match_specifier: Some(specifier) }
}
