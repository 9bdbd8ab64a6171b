//! The delta variant: what to send, given what was received.

use super::conversation::{Handler, Names, Received, Rejection, Update, describe};
use crate::TypeUrl;
use crate::resource::collection_of;
use ahash::AHashMap;
use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use envoy_types::pb::google::rpc::Status;
use std::sync::Arc;

const INVALID_ARGUMENT: i32 = 3;

/// The state of one client over all its streams.
pub struct Conversation {
    node: Node,
    kinds: Vec<Kind>,
    /// The node goes with the first message of a stream only.
    introduced: bool,
}

struct Kind {
    url: TypeUrl,
    subscribed: Names,
    /// What is in use, by version, so that a new stream is not sent it again.
    known: AHashMap<Arc<str>, Arc<str>>,
}

impl Kind {
    /// Forgets what is not subscribed to any more.
    fn keep_subscribed(&mut self) {
        let Self { url, subscribed, known } = self;
        known.retain(|name, _| match url.is_by_collection() {
            true => subscribed.contains(collection_of(name)),
            false => subscribed.contains(name),
        });
    }
}

impl Conversation {
    /// A client that is `node` and asks for these types, in this order.
    pub fn new(node: Node, kinds: &[TypeUrl]) -> Self {
        let kind = |url: &TypeUrl| Kind { url: *url, subscribed: Names::default(), known: AHashMap::new() };
        Self { node, kinds: kinds.iter().map(kind).collect(), introduced: false }
    }

    /// The first messages of a new stream.
    pub fn open(&mut self, handler: &impl Handler) -> Vec<DeltaDiscoveryRequest> {
        self.introduced = false;
        let mut requests = Vec::new();
        for index in 0..self.kinds.len() {
            let Some(kind) = self.kinds.get_mut(index) else { break };
            if !kind.url.is_wildcard_by_default() {
                kind.subscribed = handler.wanted(kind.url);
                kind.keep_subscribed();
                if kind.subscribed.is_empty() {
                    continue;
                }
            }
            let request = DeltaDiscoveryRequest {
                type_url: kind.url.as_str().to_owned(),
                resource_names_subscribe: texts(&kind.subscribed),
                initial_resource_versions: kind
                    .known
                    .iter()
                    .map(|(name, version)| (name.to_string(), version.to_string()))
                    .collect(),
                ..DeltaDiscoveryRequest::default()
            };
            requests.push(self.introduce(request));
        }
        requests
    }

    /// Hands a response to the handler and answers it: ACK or NACK, then changed subscriptions.
    pub fn receive(
        &mut self,
        response: DeltaDiscoveryResponse,
        handler: &mut impl Handler,
    ) -> Vec<DeltaDiscoveryRequest> {
        let nonce = response.nonce.clone();
        let type_url = response.type_url.clone();
        let Some(kind) = self.kinds.iter_mut().find(|kind| kind.url.as_str() == type_url) else {
            let reason = format!("'{type_url}' was not asked for");
            return vec![answer(type_url, nonce, Some(reason))];
        };
        let (update, mut rejections) = read(kind.url, response);
        rejections.extend(handler.apply(&update));
        for name in &update.removed {
            kind.known.remove(name);
        }
        for resource in update.resources {
            // A rejected resource is not in use, so a new stream has to bring it again.
            if !rejections.iter().any(|rejection| rejection.name == resource.name) {
                kind.known.insert(resource.name, resource.version);
            }
        }
        let reason = (!rejections.is_empty()).then(|| describe(&rejections));
        let mut requests = vec![answer(type_url, nonce, reason)];
        requests.extend(self.follow(handler));
        requests
    }

    /// Subscribes to what is wanted now and was not before, and the other way round.
    pub fn follow(&mut self, handler: &impl Handler) -> Vec<DeltaDiscoveryRequest> {
        let mut requests = Vec::new();
        for index in 0..self.kinds.len() {
            let Some(kind) = self.kinds.get_mut(index) else { break };
            if kind.url.is_wildcard_by_default() {
                continue;
            }
            let wanted = handler.wanted(kind.url);
            if Arc::ptr_eq(&wanted, &kind.subscribed) {
                continue;
            }
            let subscribe: Vec<_> = wanted.difference(&kind.subscribed).map(ToString::to_string).collect();
            let unsubscribe: Vec<_> = kind.subscribed.difference(&wanted).cloned().collect();
            kind.subscribed = wanted;
            if !unsubscribe.is_empty() {
                kind.keep_subscribed();
            }
            if subscribe.is_empty() && unsubscribe.is_empty() {
                continue;
            }
            let request = DeltaDiscoveryRequest {
                type_url: kind.url.as_str().to_owned(),
                resource_names_subscribe: subscribe,
                resource_names_unsubscribe: unsubscribe.iter().map(ToString::to_string).collect(),
                ..DeltaDiscoveryRequest::default()
            };
            requests.push(self.introduce(request));
        }
        requests
    }

    fn introduce(&mut self, mut request: DeltaDiscoveryRequest) -> DeltaDiscoveryRequest {
        if !std::mem::replace(&mut self.introduced, true) {
            request.node = Some(self.node.clone());
        }
        request
    }
}

fn read(kind: TypeUrl, response: DeltaDiscoveryResponse) -> (Update, Vec<Rejection>) {
    let version: Arc<str> = response.system_version_info.into();
    let mut rejections = Vec::new();
    let mut resources = Vec::new();
    for resource in response.resources {
        let name: Arc<str> = resource.name.into();
        let mut reject = |reason: &str| {
            rejections.push(Rejection { name: Arc::clone(&name), reason: reason.to_owned() });
        };
        if resource.ttl.is_some() {
            reject("ttl: resources with a time to live are not supported by this client");
            continue;
        }
        match resource.resource {
            Some(any) if any.type_url == kind.as_str() => resources.push(Received {
                name,
                version: resource.version.into(),
                body: Bytes::from(any.value),
            }),
            Some(any) => reject(&format!("resource: has type '{}'", any.type_url)),
            None => reject("resource: is missing"),
        }
    }
    let removed = response.removed_resources.into_iter().map(Into::into).collect();
    (Update { kind, version, resources, removed }, rejections)
}

fn answer(type_url: String, response_nonce: String, rejected: Option<String>) -> DeltaDiscoveryRequest {
    let error_detail =
        rejected.map(|message| Status { code: INVALID_ARGUMENT, message, ..Status::default() });
    DeltaDiscoveryRequest { type_url, response_nonce, error_detail, ..DeltaDiscoveryRequest::default() }
}

fn texts(names: &Names) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
#[path = "delta_tests.rs"]
mod tests;
