//! One stream as a state machine: requests and changes in, responses out, in push order, at most
//! one unanswered response a type. No I/O and no clock.

use super::codec::{Response, ResponseKind};
use super::held::{Lists, Version};
use super::source::Session;
use super::subscription::{Outstanding, Subscription};
use crate::{Resource, TypeUrl};
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tonic::Status;

/// A request of either protocol.
#[derive(Debug)]
pub(super) enum Request {
    Delta(DeltaDiscoveryRequest),
    World(DiscoveryRequest),
}

/// What an acknowledgement or refusal meant.
#[derive(Debug, PartialEq)]
pub(super) enum Answer {
    Acknowledged(TypeUrl, Duration),
    Refused(TypeUrl, String),
    /// Not an answer, or one to a response that is no longer the last.
    None,
}

#[derive(Debug)]
pub(super) struct Conversation {
    /// Served types in push order; a type is in `subscriptions` once it was asked for.
    types: Vec<TypeUrl>,
    subscriptions: Vec<Subscription>,
    /// Versions that state-of-the-world clients brought along, until first used.
    brought: Vec<(TypeUrl, Version)>,
    stream_id: u64,
    responses: u64,
    names_limit: usize,
    identifier: Arc<str>,
    lists: Arc<Lists>,
}

impl Conversation {
    pub(super) fn new(
        stream_id: u64,
        types: &[TypeUrl],
        names_limit: usize,
        identifier: Arc<str>,
        lists: Arc<Lists>,
    ) -> Self {
        let mut types = types.to_vec();
        types.sort_by_key(|type_url| (type_url.push_rank(), type_url.as_str()));
        Self {
            types,
            subscriptions: Vec::new(),
            brought: Vec::new(),
            stream_id,
            responses: 0,
            names_limit,
            identifier,
            lists,
        }
    }

    /// Takes a request in. An error ends the stream.
    pub(super) fn receive(&mut self, request: Request, now: (Instant, SystemTime)) -> Result<Answer, Status> {
        let url = match &request {
            Request::Delta(request) => request.type_url.as_str(),
            Request::World(request) => request.type_url.as_str(),
        };
        let Some(type_url) = self.types.iter().copied().find(|served| served.as_str() == url) else {
            tracing::debug!(type_url = url, "a client asks for a type that is not served; it gets no answer");
            return Ok(Answer::None);
        };
        let (index, first) = self.subscription(type_url);
        let Some(subscription) = self.subscriptions.get_mut(index) else { return Ok(Answer::None) };
        let answer = match request {
            Request::Delta(request) => {
                let answer = settle(
                    subscription,
                    &request.response_nonce,
                    request.error_detail.map(|status| status.message),
                    now,
                );
                if first {
                    subscription
                        .start_delta(request.resource_names_subscribe, request.initial_resource_versions);
                } else {
                    subscription
                        .change_delta(request.resource_names_subscribe, request.resource_names_unsubscribe);
                }
                answer
            }
            Request::World(request) => {
                // A nonce on a first request is from an earlier stream and says nothing here.
                if first {
                    self.brought.push((type_url, Version::from_wire(&request.version_info)));
                }
                let stale = !first
                    && !request.response_nonce.is_empty()
                    && request.response_nonce != subscription.record.nonce_sent;
                if stale {
                    return Ok(Answer::None);
                }
                let answer = settle(
                    subscription,
                    &request.response_nonce,
                    request.error_detail.map(|status| status.message),
                    now,
                );
                subscription.set_names(request.resource_names, first);
                answer
            }
        };
        if subscription.names_len() > self.names_limit {
            return Err(Status::resource_exhausted(format!(
                "more than {} names of {type_url} on one stream",
                self.names_limit
            )));
        }
        Ok(answer)
    }

    /// Marks names of a type as changed; `None` for all.
    pub(super) fn mark(&mut self, type_url: TypeUrl, names: Option<&Arc<[Arc<str>]>>) {
        let Some(subscription) =
            self.subscriptions.iter_mut().find(|subscription| subscription.type_url == type_url)
        else {
            return;
        };
        match names {
            Some(names) => subscription.dirt.add(names.iter().cloned()),
            None => subscription.dirt.add_everything(),
        }
    }

    /// Marks everything as changed.
    pub(super) fn mark_all(&mut self) {
        self.subscriptions.iter_mut().for_each(|subscription| subscription.dirt.add_everything());
    }

    /// Whether [`Conversation::next`] may have something.
    pub(super) fn wants_to_send(&self) -> bool {
        self.sendable().is_some() || self.removals_are_free()
    }

    /// Nothing due and nothing unanswered.
    pub(super) fn is_settled(&self) -> bool {
        self.subscriptions.iter().all(Subscription::is_settled)
    }

    /// Whether the client refused the last response of some type.
    pub(super) fn has_refusal(&self) -> bool {
        self.subscriptions.iter().any(|subscription| subscription.record.error.is_some())
    }

    pub(super) fn subscriptions(&self) -> &[Subscription] {
        &self.subscriptions
    }

    /// The next response to send, if any.
    pub(super) fn next(
        &mut self,
        session: &impl Session,
        kind: ResponseKind,
        now: (Instant, SystemTime),
    ) -> Option<Response> {
        loop {
            if self.removals_are_free() {
                self.subscriptions.iter_mut().for_each(Subscription::release_removals);
            }
            let index = self.sendable()?;
            let withhold = self.refers_to_clusters_pending();
            let nonce = format!("{:x}-{:x}", self.stream_id, self.responses + 1);
            let subscription = self.subscriptions.get_mut(index)?;
            let type_url = subscription.type_url;
            let (resources, removed, version) = match kind {
                ResponseKind::Delta => {
                    let withhold = withhold && type_url == TypeUrl::CLUSTER;
                    let Some(batch) = subscription.take_delta(session, withhold) else { continue };
                    (batch.resources, batch.removed, String::new())
                }
                ResponseKind::World => {
                    let known = self
                        .brought
                        .iter()
                        .position(|(brought, _)| *brought == type_url)
                        .map(|index| self.brought.swap_remove(index).1);
                    let Some((resources, version)) = subscription.take_world(session, known) else {
                        continue;
                    };
                    (resources, Vec::new(), version.to_wire())
                }
            };
            self.responses += 1;
            let warming = type_url == TypeUrl::CLUSTER && session.warms_clusters_again();
            subscription.outstanding = Some(Outstanding { nonce: nonce.clone(), sent: now.0 });
            subscription.record.nonce_sent.clone_from(&nonce);
            subscription.record.last_sent = Some(now.1);
            if warming {
                self.repeat_endpoints(&resources);
            }
            let control_plane = self.identifier.clone();
            return Some(Response { kind, type_url, version, nonce, resources, removed, control_plane });
        }
    }

    /// Makes the endpoints of clusters that were just sent due. Both have the same name.
    fn repeat_endpoints(&mut self, clusters: &[Resource]) {
        let endpoints =
            self.subscriptions.iter_mut().find(|subscription| subscription.type_url == TypeUrl::ENDPOINT);
        if let Some(endpoints) = endpoints {
            endpoints.repeat(clusters.iter().map(|cluster| cluster.name.clone()).collect());
        }
    }

    /// The first type, in push order, that is due and may be sent. While clusters are due but the
    /// client still owes an answer for the last ones, what refers to clusters waits behind them.
    fn sendable(&self) -> Option<usize> {
        let mut clusters_wait = false;
        for (index, subscription) in self.subscriptions.iter().enumerate() {
            if !subscription.is_due() {
                continue;
            }
            if subscription.outstanding.is_some() {
                clusters_wait |= subscription.type_url == TypeUrl::CLUSTER;
                continue;
            }
            if clusters_wait && refers_to_clusters(subscription.type_url) {
                continue;
            }
            return Some(index);
        }
        None
    }

    /// Whether listeners or routes are still to be sent or answered: until then the client may
    /// send traffic to a cluster that has ceased to exist.
    fn refers_to_clusters_pending(&self) -> bool {
        self.subscriptions.iter().any(|subscription| {
            refers_to_clusters(subscription.type_url)
                && (subscription.is_due() || subscription.outstanding.is_some())
        })
    }

    fn removals_are_free(&self) -> bool {
        !self.refers_to_clusters_pending() && self.subscriptions.iter().any(Subscription::withholds_removals)
    }

    /// The subscription of a type, and whether it is new.
    fn subscription(&mut self, type_url: TypeUrl) -> (usize, bool) {
        let rank = |type_url: TypeUrl| (type_url.push_rank(), type_url.as_str());
        match self
            .subscriptions
            .binary_search_by_key(&rank(type_url), |subscription| rank(subscription.type_url))
        {
            Ok(index) => (index, false),
            Err(index) => {
                self.subscriptions.insert(index, Subscription::new(type_url, &self.lists));
                (index, true)
            }
        }
    }
}

fn refers_to_clusters(type_url: TypeUrl) -> bool {
    matches!(type_url, TypeUrl::LISTENER | TypeUrl::ROUTE | TypeUrl::VIRTUAL_HOST)
}

/// Applies an acknowledgement or refusal of the outstanding response.
fn settle(
    subscription: &mut Subscription,
    nonce: &str,
    error: Option<String>,
    now: (Instant, SystemTime),
) -> Answer {
    let Some(outstanding) = subscription.outstanding.take_if(|outstanding| outstanding.nonce == nonce) else {
        return Answer::None;
    };
    match error {
        Some(detail) => {
            subscription.record.error = Some(detail.clone());
            Answer::Refused(subscription.type_url, detail)
        }
        None => {
            subscription.record.nonce_acknowledged = outstanding.nonce;
            subscription.record.last_acknowledged = Some(now.1);
            subscription.record.error = None;
            Answer::Acknowledged(subscription.type_url, now.0.saturating_duration_since(outstanding.sent))
        }
    }
}

#[cfg(test)]
#[path = "conversation_tests.rs"]
mod tests;
