//! Cross-origin resource sharing: answers preflights and marks responses. Source: the Fetch standard,
//! §3.2; `envoy.extensions.filters.http.cors.v3`.

use super::super::matcher::{Fraction, StringMatcher};
use crate::compile::CompileError;
use envoy_types::pb::envoy::extensions::filters::http::cors::v3::CorsPolicy as Message;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

/// A compiled policy.
#[derive(Clone, Debug)]
pub struct CorsPolicy {
    origins: Vec<StringMatcher>,
    methods: Option<HeaderValue>,
    headers: Option<HeaderValue>,
    expose: Option<HeaderValue>,
    max_age: Option<HeaderValue>,
    credentials: bool,
    private_network: bool,
    enabled: Fraction,
    forward_not_matching: bool,
}

const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");
const REQUEST_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");

/// What to do with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing.
    Ignore,
    /// Answer the preflight with these headers.
    Preflight(HeaderMap),
    /// Mark the response with these headers.
    Mark(HeaderMap),
}

impl CorsPolicy {
    /// Compiles the message of the filter.
    pub fn compile(message: &Message) -> Result<Self, CompileError> {
        let origins = message
            .allow_origin_string_match
            .iter()
            .enumerate()
            .map(|(index, matcher)| {
                let at = |error: CompileError| error.at(format!("allow_origin_string_match[{index}]"));
                StringMatcher::compile(matcher).map_err(at)
            })
            .collect::<Result<_, _>>()?;
        let value = |text: &str, field: &str| {
            let value = HeaderValue::from_str(text);
            let value =
                value.map_err(|_| CompileError::invalid(field, "contains a byte headers must not have"))?;
            Ok(Some(value).filter(|value| !value.is_empty()))
        };
        let flag = |flag: &Option<envoy_types::pb::google::protobuf::BoolValue>, default| {
            flag.as_ref().map_or(default, |flag| flag.value)
        };
        Ok(Self {
            origins,
            methods: value(&message.allow_methods, "allow_methods")?,
            headers: value(&message.allow_headers, "allow_headers")?,
            expose: value(&message.expose_headers, "expose_headers")?,
            max_age: value(&message.max_age, "max_age")?,
            credentials: flag(&message.allow_credentials, false),
            private_network: flag(&message.allow_private_network_access, false),
            enabled: Fraction::of_runtime(message.filter_enabled.as_ref(), Fraction::ALWAYS),
            forward_not_matching: flag(&message.forward_not_matching_preflights, true),
        })
    }

    /// Decides about one request.
    pub fn decide(&self, method: &Method, headers: &HeaderMap, random: u64) -> Decision {
        let Some(origin) = headers.get(header::ORIGIN).filter(|origin| !origin.is_empty()) else {
            return Decision::Ignore;
        };
        if !self.enabled.happens(random, 0x636f_7273) {
            return Decision::Ignore;
        }
        let allowed = self.origins.iter().any(|matcher| matcher.matches(origin.as_bytes()));
        let preflight =
            method == Method::OPTIONS && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        match (preflight, allowed) {
            (true, true) => Decision::Preflight(self.preflight(origin, headers)),
            (true, false) if !self.forward_not_matching => Decision::Preflight(HeaderMap::new()),
            (false, true) => Decision::Mark(self.marks(origin)),
            _ => Decision::Ignore,
        }
    }

    fn marks(&self, origin: &HeaderValue) -> HeaderMap {
        let mut out = HeaderMap::new();
        out.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        if self.credentials {
            out.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        if let Some(expose) = &self.expose {
            out.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
        }
        out
    }

    fn preflight(&self, origin: &HeaderValue, request: &HeaderMap) -> HeaderMap {
        let mut out = HeaderMap::new();
        out.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        if self.credentials {
            out.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        for (name, value) in [
            (header::ACCESS_CONTROL_ALLOW_METHODS, &self.methods),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, &self.headers),
            (header::ACCESS_CONTROL_MAX_AGE, &self.max_age),
        ] {
            if let Some(value) = value {
                out.insert(name, value.clone());
            }
        }
        if self.private_network && request.get(REQUEST_PRIVATE_NETWORK).is_some_and(|value| value == "true") {
            out.insert(ALLOW_PRIVATE_NETWORK, HeaderValue::from_static("true"));
        }
        out
    }
}

#[cfg(test)]
#[path = "cors_tests.rs"]
mod tests;
