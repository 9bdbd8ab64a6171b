//! A request made ready for its cluster: which cluster, and what path, host and headers it sees.

use super::error_response::Failure;
use super::forward::Flight;
use super::headers;
use super::limits::Times;
use super::mutation::rendered;
use super::routes::{ClusterChoice, Forward, HashSource, HostRewrite, WeightedCluster, rewritten};
use crate::retry::RetryPolicy;
use crate::telemetry::RequestRecord;
use crate::upstream::balance::{source_hash, stable_hash};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Uri, header};
use smallvec::SmallVec;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

impl<'a> Flight<'a> {
    /// The cluster, and which of several weighted ones it is.
    pub(super) fn choose(&self) -> Result<(Arc<str>, Option<usize>), Failure> {
        match &self.forward.cluster {
            ClusterChoice::Named(name) => Ok((Arc::clone(name), None)),
            ClusterChoice::Header(name) => {
                let named = self.headers.get(name).and_then(|value| value.to_str().ok());
                named.map(|name| (name.into(), None)).ok_or(Failure::NoCluster(self.forward.not_found))
            }
            ClusterChoice::Weighted(weighted) => {
                let given =
                    weighted.header.as_ref().and_then(|name| headers::number::<u64>(&self.headers, name));
                let point = given.map_or_else(
                    || weighted.sequence.next(weighted.total),
                    |number| number % weighted.total.max(1),
                );
                let index = weighted.clusters.partition_point(|cluster| cluster.up_to <= point);
                let cluster =
                    weighted.clusters.get(index).ok_or(Failure::NoCluster(self.forward.not_found))?;
                Ok((Arc::clone(&cluster.name), Some(index)))
            }
        }
    }

    fn weighted(&self, chosen: Option<usize>) -> Option<&WeightedCluster> {
        weighted(self.forward, chosen)
    }

    /// Changes headers, path and host as the route says.
    pub(super) fn prepare(
        &mut self,
        record: &mut RequestRecord,
        chosen: Option<usize>,
        timeouts: &Times,
        policy: Option<&RetryPolicy>,
    ) {
        let router = self.connection.manager.filters.router;
        self.rewrite_path(router.suppress_envoy_headers);
        self.rewrite_host(chosen);
        let changed = self.change_headers(record, chosen);
        if self.steered || changed {
            for name in [
                headers::TIMEOUT,
                headers::PER_TRY_TIMEOUT,
                headers::RETRY_ON,
                headers::RETRY_GRPC_ON,
                headers::MAX_RETRIES,
            ] {
                self.headers.remove(name);
            }
        }
        if !router.suppress_envoy_headers {
            let per_try = policy.and_then(|policy| policy.per_try_timeout);
            let expected = match (timeouts.route, per_try) {
                (Some(route), Some(per_try)) => Some(route.min(per_try)),
                (one, other) => one.or(other),
            };
            if let Some(expected) = expected {
                let milliseconds = u64::try_from(expected.as_millis()).unwrap_or(u64::MAX);
                self.headers.insert(headers::EXPECTED_TIMEOUT, HeaderValue::from(milliseconds));
            }
        }
        if let Some(via) = &self.connection.manager.via {
            self.headers.append(header::VIA, via.clone());
        }
        self.exchange_metadata(record);
        record.method = self.method.clone();
        record.target = Uri::from(self.path.clone());
        record.authority = Some(self.authority.clone());
        record.request_headers = self.captured_request_headers();
    }

    pub(super) fn captured_request_headers(&self) -> crate::telemetry::CapturedValues {
        crate::telemetry::capture(&self.connection.manager.captured.request, &self.headers)
    }

    fn rewrite_path(&mut self, suppress_envoy_headers: bool) {
        let matcher = &self.route.matcher.path;
        let Some(path) = rewritten(&self.forward.path, matcher, self.path.path()) else { return };
        let text = match self.path.query() {
            Some(query) => format!("{path}?{query}"),
            None => path,
        };
        let Ok(rewritten) = PathAndQuery::try_from(text) else { return };
        if !suppress_envoy_headers && let Ok(original) = HeaderValue::from_str(self.path.as_str()) {
            self.headers.insert(headers::ORIGINAL_PATH, original);
        }
        self.path = rewritten;
    }

    fn rewrite_host(&mut self, chosen: Option<usize>) {
        let own = self.weighted(chosen).and_then(|cluster| cluster.host.clone());
        let new = own.or_else(|| match &self.forward.host {
            HostRewrite::Keep | HostRewrite::Auto => None,
            HostRewrite::Literal(host) => Some(host.clone()),
            HostRewrite::Header(name) => self.headers.get(name).cloned(),
            HostRewrite::Path(substitution) => {
                HeaderValue::from_str(&substitution.apply(self.path.path())).ok()
            }
        });
        if let Some(new) = new {
            self.set_authority(new);
        }
    }

    fn set_authority(&mut self, new: HeaderValue) {
        let old = std::mem::replace(&mut self.authority, new);
        if self.forward.append_forwarded_host {
            self.headers.append(headers::FORWARDED_HOST, old);
        }
    }

    /// Changes headers as configured; says whether anything is.
    fn change_headers(&mut self, record: &RequestRecord, chosen: Option<usize>) -> bool {
        let own = weighted(self.forward, chosen).map(|cluster| &cluster.request_headers);
        let mut order: SmallVec<[_; 4]> = SmallVec::new();
        order.extend(own);
        order.extend([
            &self.route.request_headers,
            &self.virtual_host.request_headers,
            &self.table.request_headers,
        ]);
        if self.table.most_specific_wins {
            order.reverse();
        }
        order.retain(|mutations| !mutations.is_empty());
        let changed = !order.is_empty();
        let mut authority = None;
        for mutations in order {
            let host = mutations
                .apply(&mut self.headers, |headers, format| rendered(&record.entry_with(headers), format));
            authority = host.or(authority);
        }
        if let Some(new) = authority {
            self.set_authority(new);
        }
        changed
    }

    /// `istio.metadata_exchange` towards the upstream.
    fn exchange_metadata(&mut self, record: &RequestRecord) {
        let Some(exchange) = self.connection.manager.filters.metadata_exchange else { return };
        if exchange.discover_downstream || exchange.tell_upstream {
            self.headers.remove(headers::PEER_METADATA);
            self.headers.remove(headers::PEER_METADATA_ID);
        }
        let external = record.cluster.as_ref().is_some_and(|cluster| cluster.is_external());
        if exchange.tell_upstream && !(exchange.skip_external && external) {
            headers::add_peer_metadata(self.connection, &mut self.headers);
        }
    }

    /// The hash for consistent load balancing, and a cookie where one has to be made for it.
    pub(super) fn hash(&self) -> (Option<u64>, Option<HeaderValue>) {
        let mut hash: Option<u64> = None;
        let mut cookie = None;
        for policy in &self.forward.hash {
            let part = match &policy.source {
                HashSource::Header(name, substitution) => {
                    self.headers.get(name).map(|value| match substitution {
                        Some(substitution) => stable_hash(
                            substitution.apply(&String::from_utf8_lossy(value.as_bytes())).as_bytes(),
                        ),
                        None => stable_hash(&super::matcher::joined(&self.headers, name)),
                    })
                }
                HashSource::SourceIp => Some(source_hash(self.remote.ip())),
                HashSource::QueryParameter(name) => {
                    super::matcher::parameter(self.path.query().unwrap_or_default(), name)
                        .map(|value| stable_hash(value.as_bytes()))
                }
                HashSource::Cookie { name, ttl, path } => {
                    let found = cookie_value(&self.headers, name).map(|value| stable_hash(value.as_bytes()));
                    found.or_else(|| {
                        let made = format!("{:016x}", self.random);
                        cookie = ttl.and_then(|ttl| set_cookie(name, &made, ttl, path));
                        cookie.as_ref().map(|_| stable_hash(made.as_bytes()))
                    })
                }
            };
            if let Some(part) = part {
                hash = Some(hash.map_or(part, |hash| hash.rotate_left(1) ^ part));
                if policy.terminal {
                    break;
                }
            }
        }
        (hash, cookie)
    }

    /// The route's retry policy as the request's own headers change it.
    pub(super) fn retry_policy(&self) -> Option<Cow<'a, RetryPolicy>> {
        let forward: &'a Forward = self.forward;
        let configured = forward.retry.as_deref();
        let mut policy = configured.map(Cow::Borrowed);
        if self.steered {
            self.steer(&mut policy);
        }
        let view = super::matcher::HeaderView {
            method: self.method.as_str(),
            path: self.path.as_str(),
            authority: self.authority.to_str().unwrap_or_default(),
            scheme: "",
            headers: &self.headers,
        };
        policy.filter(|policy| policy.attempts > 0 && policy.applies_to(&view))
    }

    /// Changes a retry policy as the request's own headers say.
    fn steer(&self, policy: &mut Option<Cow<'a, RetryPolicy>>) {
        let own_words = [headers::RETRY_ON, headers::RETRY_GRPC_ON];
        if own_words.iter().any(|name| self.headers.contains_key(name)) {
            let changed = policy
                .get_or_insert_with(|| Cow::Owned(RetryPolicy { attempts: 1, ..RetryPolicy::default() }))
                .to_mut();
            for words in own_words.iter().filter_map(|name| self.headers.get(name)?.to_str().ok()) {
                // Words nobody knows are ignored here, as in Envoy: they come from a client.
                if let Ok((on, codes)) = crate::retry::RetryOn::parse(words) {
                    changed.on.insert(on);
                    changed.status_codes.extend(codes);
                }
            }
        }
        if let Some(policy) = policy {
            if let Some(attempts) = headers::number(&self.headers, &headers::MAX_RETRIES) {
                policy.to_mut().attempts = attempts;
            }
            if let Some(milliseconds) = headers::number(&self.headers, &headers::PER_TRY_TIMEOUT) {
                policy.to_mut().per_try_timeout = Some(Duration::from_millis(milliseconds));
            }
        }
    }
}

pub(super) fn weighted(forward: &Forward, chosen: Option<usize>) -> Option<&WeightedCluster> {
    match &forward.cluster {
        ClusterChoice::Weighted(weighted) => weighted.clusters.get(chosen?),
        _ => None,
    }
}

fn cookie_value<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(';'))
        .find_map(|pair| {
            let (key, value) = pair.trim().split_once('=')?;
            (key == name).then(|| value.trim_matches('"'))
        })
}

fn set_cookie(name: &str, value: &str, ttl: Duration, path: &str) -> Option<HeaderValue> {
    let mut text = format!("{name}=\"{value}\"");
    if !ttl.is_zero() {
        text.push_str(&format!("; Max-Age={}", ttl.as_secs()));
    }
    if !path.is_empty() {
        text.push_str(&format!("; Path={path}"));
    }
    text.push_str("; HttpOnly");
    HeaderValue::from_str(&text).ok()
}
