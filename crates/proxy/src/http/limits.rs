//! The limits of one request: how long its parts may take, and when the next one is due.

use super::body::{Deadline, RequestSource};
use super::forward::Flight;
use super::headers;
use super::routes::GrpcTimeout;
use http::{HeaderName, header};
use std::time::{Duration, Instant};

/// Longest silence of a client that has announced the length of its body and not sent all of it, also where
/// streams may be quiet for as long as they like: this is no stream. Envoy's default for streams.
const ANNOUNCED: Duration = Duration::from_secs(300);

/// Which limit a wait ran into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    /// The route's timeout.
    Route,
    /// The timeout of one attempt.
    PerTry,
    /// The longest life of a stream.
    Stream,
    /// The longest silence.
    Idle,
    /// The time until a request is received whole.
    Request,
}

/// The limits of one request; `None` is no limit.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Times {
    pub(super) route: Option<Duration>,
    pub(super) stream: Option<Duration>,
    pub(super) idle: Option<Duration>,
    /// Until the request is received whole.
    pub(super) request: Option<Duration>,
    /// The longest silence before the request is received whole.
    pub(super) body: Option<Duration>,
}

impl Times {
    /// The route's timeout runs from when the request was received whole.
    pub(super) fn route_limit(
        &self,
        started: Instant,
        source: Option<&RequestSource>,
        now: Instant,
    ) -> Option<(Instant, Limit)> {
        let from = match source {
            Some(source) => source.ended.get().unwrap_or(now),
            None => started,
        };
        self.route.map(|limit| (from + limit, Limit::Route))
    }

    pub(super) fn next(
        &self,
        started: Instant,
        source: Option<&RequestSource>,
        now: Instant,
    ) -> Option<(Instant, Limit)> {
        let moved = source.map_or(started, |source| source.moved.get());
        let unfinished = source.is_some_and(|source| source.ended.get().is_none());
        let silence = if unfinished { self.body.or(self.idle) } else { self.idle };
        let idle = silence.map(|limit| (moved.max(started) + limit, Limit::Idle));
        let stream = self.stream.map(|limit| (started + limit, Limit::Stream));
        let request = self.request.filter(|_| unfinished).map(|limit| (started + limit, Limit::Request));
        [self.route_limit(started, source, now), idle, stream, request]
            .into_iter()
            .flatten()
            .min_by_key(|(at, _)| *at)
    }

    /// When the response must have ended.
    pub(super) fn deadline(
        &self,
        started: Instant,
        source: Option<&RequestSource>,
    ) -> Option<(Instant, Deadline)> {
        // Without an end of the request there is no moment for the route's timeout to run from.
        let ended = source.is_none_or(|source| source.ended.get().is_some());
        let route =
            self.route_limit(started, source, started).filter(|_| ended).map(|(at, _)| (at, Deadline::Route));
        let stream = self.stream.map(|limit| (started + limit, Deadline::Stream));
        [route, stream].into_iter().flatten().min_by_key(|(at, _)| *at)
    }
}

impl Flight<'_> {
    /// The route's limits as the request's own headers change them.
    pub(super) fn timeouts(&self) -> Times {
        let manager = &self.connection.manager;
        let mut route = self.forward.timeout;
        let stream =
            self.forward.max_stream_duration.or(manager.timeouts.max_stream).filter(|limit| !limit.is_zero());
        let request = manager.timeouts.request;
        let mut times = Times { route: None, stream, idle: None, request, body: None };
        if self.grpc {
            match self.forward.grpc_timeout {
                GrpcTimeout::Ignored => {}
                GrpcTimeout::Timeout(longest, offset) => {
                    route = bounded(headers::grpc_timeout(&self.headers), longest, offset)
                }
                GrpcTimeout::StreamDuration(longest, offset) => {
                    times.stream =
                        bounded(headers::grpc_timeout(&self.headers), longest, offset).or(times.stream);
                }
            }
        }
        if self.steered {
            let told = |name: HeaderName| headers::number(&self.headers, &name).map(Duration::from_millis);
            let expected = manager.filters.router.respect_expected_timeout;
            route = expected.then(|| told(headers::EXPECTED_TIMEOUT)).flatten().or(route);
            route = told(headers::TIMEOUT).or(route);
        }
        // An upgraded stream has no end to wait for.
        times.route = route.filter(|limit| !limit.is_zero() && self.upgrade.is_none());
        times.idle =
            self.forward.idle_timeout.or(manager.timeouts.stream_idle).filter(|limit| !limit.is_zero());
        let announced = times.idle.is_none() && self.headers.contains_key(header::CONTENT_LENGTH);
        times.body = announced.then_some(ANNOUNCED);
        times
    }
}

fn bounded(told: Option<Duration>, longest: Option<Duration>, offset: Duration) -> Option<Duration> {
    // A longest of zero is no bound.
    let longest = longest.filter(|longest| !longest.is_zero());
    let told = match (told, longest) {
        (Some(told), Some(longest)) => Some(told.min(longest)),
        (told, longest) => told.or(longest),
    };
    told.map(|told| if told > offset { told - offset } else { told })
}
