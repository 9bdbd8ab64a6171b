//! Faults on purpose: delays and aborts for a share of requests.
//! Source: `envoy.extensions.filters.http.fault.v3`.

use super::super::matcher::{Fraction, HeaderMatcher, HeaderView, Reading};
use crate::compile::CompileError;
use crate::upstream::duration;
use envoy_types::pb::envoy::extensions::filters::common::fault::v3::fault_delay::FaultDelaySecifier;
use envoy_types::pb::envoy::extensions::filters::http::fault::v3::{HttpFault, fault_abort::ErrorType};
use http::StatusCode;
use std::time::Duration;

/// A compiled configuration.
#[derive(Clone, Debug, Default)]
pub struct Fault {
    delay: Option<(Duration, Fraction)>,
    abort: Option<(Abort, Fraction)>,
    headers: Vec<HeaderMatcher>,
    cluster: Option<String>,
}

/// The answer of an aborted request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abort {
    /// With this status.
    Http(StatusCode),
    /// With this `grpc-status`.
    Grpc(u32),
}

/// What befalls one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// It waits this long.
    pub delay: Option<Duration>,
    /// It is answered so.
    pub abort: Option<Abort>,
}

impl Fault {
    /// Compiles the message.
    pub fn compile(message: &HttpFault) -> Result<Self, CompileError> {
        for (set, field) in [
            (message.response_rate_limit.is_some(), "response_rate_limit"),
            (!message.downstream_nodes.is_empty(), "downstream_nodes"),
            (message.max_active_faults.is_some(), "max_active_faults"),
        ] {
            if set {
                return Err(CompileError::unsupported(field, "this part of fault injection"));
            }
        }
        let fraction = |message: &Option<envoy_types::pb::envoy::r#type::v3::FractionalPercent>| {
            message.as_ref().map_or(Fraction::NEVER, Fraction::compile)
        };
        let delay = match &message.delay {
            None => None,
            Some(delay) => match &delay.fault_delay_secifier {
                Some(FaultDelaySecifier::FixedDelay(time)) => {
                    let time = duration(Some(time))
                        .ok_or_else(|| CompileError::invalid("delay.fixed_delay", "is negative"))?;
                    Some((time, fraction(&delay.percentage)))
                }
                Some(FaultDelaySecifier::HeaderDelay(_)) => {
                    return Err(CompileError::unsupported(
                        "delay.header_delay",
                        "a delay chosen by the client",
                    ));
                }
                None => return Err(CompileError::missing("delay.fixed_delay")),
            },
        };
        let abort = match &message.abort {
            None => None,
            Some(abort) => {
                let kind = match &abort.error_type {
                    Some(ErrorType::HttpStatus(status)) => Abort::Http(
                        u16::try_from(*status)
                            .ok()
                            .and_then(|status| StatusCode::from_u16(status).ok())
                            .ok_or_else(|| {
                                CompileError::invalid(
                                    "abort.http_status",
                                    format!("{status} is not a status"),
                                )
                            })?,
                    ),
                    Some(ErrorType::GrpcStatus(status)) => Abort::Grpc(*status),
                    Some(ErrorType::HeaderAbort(_)) => {
                        return Err(CompileError::unsupported(
                            "abort.header_abort",
                            "an abort chosen by the client",
                        ));
                    }
                    None => return Err(CompileError::missing("abort.error_type")),
                };
                Some((kind, fraction(&abort.percentage)))
            }
        };
        let headers = message.headers.iter().map(HeaderMatcher::compile).collect::<Result<_, _>>()?;
        let cluster = (!message.upstream_cluster.is_empty()).then(|| message.upstream_cluster.clone());
        Ok(Self { delay, abort, headers, cluster })
    }

    /// What befalls a request to `cluster` whose random number this is.
    pub fn decide(&self, view: &HeaderView<'_>, cluster: &str, random: u64) -> Faults {
        if self.cluster.as_deref().is_some_and(|wanted| wanted != cluster) {
            return Faults::default();
        }
        if !self.headers.iter().all(|matcher| matcher.matches(view, Reading::Each)) {
            return Faults::default();
        }
        let delay =
            self.delay.filter(|(_, chance)| chance.happens(random, 0x0064_656c_6179)).map(|(time, _)| time);
        let abort =
            self.abort.filter(|(_, chance)| chance.happens(random, 0x0061_626f_7274)).map(|(kind, _)| kind);
        Faults { delay, abort }
    }
}
