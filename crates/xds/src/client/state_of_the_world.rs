//! The state-of-the-world variant: what to send, given what was received.

use super::conversation::{Handler, Names, Received, Rejection, Update, describe, name_of};
use crate::TypeUrl;
use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse, Resource};
use envoy_types::pb::google::protobuf::Any;
use envoy_types::pb::google::rpc::Status;
use prost::{Message, Name};
use std::collections::BTreeSet;
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
    /// What is in use; of a type that is sent whole, what is missing from a response is gone.
    known: BTreeSet<Arc<str>>,
    /// The last version that was accepted.
    version: String,
    /// Of the last response on this stream.
    nonce: String,
}

impl Conversation {
    /// A client that is `node` and asks for these types, in this order.
    pub fn new(node: Node, kinds: &[TypeUrl]) -> Self {
        let kind = |url: &TypeUrl| Kind {
            url: *url,
            subscribed: Names::default(),
            known: BTreeSet::new(),
            version: String::new(),
            nonce: String::new(),
        };
        Self { node, kinds: kinds.iter().map(kind).collect(), introduced: false }
    }

    /// The first messages of a new stream.
    pub fn open(&mut self, handler: &impl Handler) -> Vec<DiscoveryRequest> {
        self.introduced = false;
        let mut requests = Vec::new();
        for kind in &mut self.kinds {
            kind.nonce.clear();
            if !kind.url.is_wildcard_by_default() {
                kind.subscribed = handler.wanted(kind.url);
                if kind.subscribed.is_empty() {
                    continue;
                }
            }
            requests.push(kind.request(None));
        }
        self.introduce(requests)
    }

    /// Hands a response to the handler and answers it: ACK or NACK, then changed subscriptions.
    pub fn receive(
        &mut self,
        response: DiscoveryResponse,
        handler: &mut impl Handler,
    ) -> Vec<DiscoveryRequest> {
        let Some(kind) = self.kinds.iter_mut().find(|kind| kind.url.as_str() == response.type_url) else {
            return vec![DiscoveryRequest {
                error_detail: Some(refusal(format!("'{}' was not asked for", response.type_url))),
                type_url: response.type_url,
                response_nonce: response.nonce,
                ..DiscoveryRequest::default()
            }];
        };
        kind.nonce.clone_from(&response.nonce);
        let version = response.version_info.clone();
        let (mut update, mut rejections) = read(kind.url, response);
        if kind.url.is_wildcard_by_default() {
            let named: BTreeSet<_> =
                update.resources.iter().map(|resource| Arc::clone(&resource.name)).collect();
            // What is there but unreadable is not gone.
            let unreadable = rejections.iter().map(|rejection| Arc::clone(&rejection.name));
            let there: BTreeSet<_> = named.iter().cloned().chain(unreadable).collect();
            update.removed = kind.known.difference(&there).cloned().collect();
            kind.known.retain(|name| there.contains(name));
            kind.known.extend(named);
        }
        rejections.extend(handler.apply(&update));
        let answer = if rejections.is_empty() {
            kind.version = version;
            kind.request(None)
        } else {
            kind.request(Some(describe(&rejections)))
        };
        let mut requests = vec![answer];
        requests.extend(self.follow(handler));
        requests
    }

    /// Asks for what is wanted now, where that is not what was asked for before.
    pub fn follow(&mut self, handler: &impl Handler) -> Vec<DiscoveryRequest> {
        let mut requests = Vec::new();
        for kind in self.kinds.iter_mut().filter(|kind| !kind.url.is_wildcard_by_default()) {
            let wanted = handler.wanted(kind.url);
            if wanted != kind.subscribed {
                kind.subscribed = wanted;
                requests.push(kind.request(None));
            }
        }
        self.introduce(requests)
    }

    fn introduce(&mut self, mut requests: Vec<DiscoveryRequest>) -> Vec<DiscoveryRequest> {
        if let Some(first) = requests.first_mut()
            && !std::mem::replace(&mut self.introduced, true)
        {
            first.node = Some(self.node.clone());
        }
        requests
    }
}

impl Kind {
    fn request(&self, rejected: Option<String>) -> DiscoveryRequest {
        DiscoveryRequest {
            version_info: self.version.clone(),
            resource_names: self.subscribed.iter().map(ToString::to_string).collect(),
            type_url: self.url.as_str().to_owned(),
            response_nonce: self.nonce.clone(),
            error_detail: rejected.map(refusal),
            ..DiscoveryRequest::default()
        }
    }
}

fn refusal(message: String) -> Status {
    Status { code: INVALID_ARGUMENT, message, ..Status::default() }
}

fn read(kind: TypeUrl, response: DiscoveryResponse) -> (Update, Vec<Rejection>) {
    let version: Arc<str> = response.version_info.into();
    let mut rejections = Vec::new();
    let mut resources = Vec::new();
    for any in response.resources {
        match unwrap(kind, any) {
            Ok(body) => match name_of(&body) {
                Some(name) => resources.push(Received { name, version: Arc::clone(&version), body }),
                None => rejections.push(Rejection { name: "".into(), reason: "does not decode".to_owned() }),
            },
            Err(rejection) => rejections.push(rejection),
        }
    }
    (Update { kind, version, resources, removed: Vec::new() }, rejections)
}

/// The body of a resource, which may come inside a `Resource`.
fn unwrap(kind: TypeUrl, any: Any) -> Result<Bytes, Rejection> {
    if any.type_url == kind.as_str() {
        return Ok(Bytes::from(any.value));
    }
    let reject = |name: String, reason: String| Rejection { name: name.into(), reason };
    if any.type_url != Resource::type_url() {
        return Err(reject(String::new(), format!("resource: has type '{}'", any.type_url)));
    }
    let resource = Resource::decode(any.value.as_slice())
        .map_err(|error| reject(String::new(), format!("resource: does not decode: {error}")))?;
    match resource.resource {
        Some(inner) if inner.type_url == kind.as_str() => Ok(Bytes::from(inner.value)),
        _ => Err(reject(resource.name, "resource: is missing or of another type".to_owned())),
    }
}

#[cfg(test)]
#[path = "state_of_the_world_tests.rs"]
mod tests;
