//! What a simulated proxy says, given what it is told. It keeps names and versions, as a real one does to
//! be sent nothing twice, and drops the bodies.

use super::facts::FactBook;
use super::latency::Changes;
use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use mizzen_xds::TypeUrl;
use mizzen_xds::resource::collection_of;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Instant;

/// A `DeltaDiscoveryResponse`, as far as it is read. Bodies are not copied.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Response {
    #[prost(message, repeated, tag = "2")]
    pub resources: Vec<Resource>,
    #[prost(string, tag = "4")]
    pub type_url: String,
    #[prost(string, tag = "5")]
    pub nonce: String,
    #[prost(string, repeated, tag = "6")]
    pub removed: Vec<String>,
}

/// An `envoy.service.discovery.v3.Resource`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Resource {
    #[prost(string, tag = "1")]
    pub version: String,
    #[prost(message, optional, tag = "2")]
    pub body: Option<Body>,
    #[prost(string, tag = "3")]
    pub name: String,
}

/// A `google.protobuf.Any` whose type is that of the response.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Body {
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
}

/// What all proxies share.
#[derive(Default)]
pub struct Shared {
    /// What is known of resources.
    pub facts: FactBook,
    /// Changes on their way.
    pub changes: Changes,
}

/// Why a response cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// It is for a type that was not asked for.
    #[error("'{0}' was not asked for")]
    Type(String),
    /// A version is not sixteen hexadecimal digits.
    #[error("the version '{0}' is not one of ours")]
    Version(String),
    /// A resource cannot be read.
    #[error("{0}: {1}")]
    Body(String, prost::DecodeError),
}

/// One proxy, over all its streams.
pub struct Conversation {
    node: Node,
    kinds: [Kind; 5],
}

/// A type of resources.
struct Kind {
    url: TypeUrl,
    answered: bool,
    known: HashMap<Arc<str>, Known>,
    /// Names that were asked for and not answered yet.
    unanswered: usize,
}

#[derive(Clone, Copy, Default)]
struct Known {
    /// 0 until there is an answer.
    version: u64,
    mark: u32,
}

/// The version of what does not exist.
const ABSENT: u64 = u64::MAX;

impl Conversation {
    /// A proxy that introduces itself as `node`.
    pub fn new(node: Node) -> Self {
        let kinds =
            [TypeUrl::CLUSTER, TypeUrl::ENDPOINT, TypeUrl::LISTENER, TypeUrl::ROUTE, TypeUrl::VIRTUAL_HOST]
                .map(|url| Kind { url, answered: false, known: HashMap::new(), unanswered: 0 });
        Self { node, kinds }
    }

    /// Whether it has got everything that it has asked for.
    pub fn is_complete(&self) -> bool {
        self.kinds.iter().all(|kind| kind.answered && kind.unanswered == 0)
    }

    /// The first messages of a stream: everything that is kept, by version.
    pub fn open(&self) -> Vec<DeltaDiscoveryRequest> {
        let asked =
            self.kinds.iter().filter(|kind| kind.url.is_wildcard_by_default() || !kind.known.is_empty());
        let request = |kind: &Kind| DeltaDiscoveryRequest {
            type_url: kind.url.as_str().to_owned(),
            resource_names_subscribe: match kind.url.is_wildcard_by_default() {
                true => Vec::new(),
                false => kind.subscribed().map(ToString::to_string).collect(),
            },
            initial_resource_versions: kind
                .known
                .iter()
                .filter(|(_, known)| known.version != 0 && known.version != ABSENT)
                .map(|(name, known)| (name.to_string(), format!("{:016x}", known.version)))
                .collect(),
            ..DeltaDiscoveryRequest::default()
        };
        let mut requests: Vec<_> = asked.map(request).collect();
        if let Some(first) = requests.first_mut() {
            first.node = Some(self.node.clone());
        }
        requests
    }

    /// Takes a response over; gives the acknowledgement, and what else is to be asked for.
    ///
    /// # Errors
    /// A response that no proxy could use.
    pub fn receive(
        &mut self,
        response: Response,
        shared: &Shared,
        at: Instant,
    ) -> Result<Vec<DeltaDiscoveryRequest>, Unusable> {
        let position = self.kinds.iter().position(|kind| kind.url.as_str() == response.type_url);
        let Some(kind) = position.and_then(|position| self.kinds.get_mut(position)) else {
            return Err(Unusable::Type(response.type_url));
        };
        kind.answered = true;
        let mut wanted = Vec::new();
        for resource in response.resources {
            let version = u64::from_str_radix(&resource.version, 16)
                .map_err(|_| Unusable::Version(resource.version.clone()))?;
            let body = resource.body.unwrap_or_default().value;
            let facts = shared
                .facts
                .look_up(kind.url, &resource.name, version, &body)
                .map_err(|error| Unusable::Body(resource.name, error))?;
            let old = kind.set(&facts.name, Known { version, mark: facts.mark });
            if facts.mark > old.mark {
                shared.changes.arrive(&facts.name, old.mark, facts.mark, at);
            }
            wanted.extend(facts.refers_to.iter().cloned());
        }
        for name in response.removed {
            kind.remove(&name);
        }
        let acknowledgement = DeltaDiscoveryRequest {
            type_url: response.type_url,
            response_nonce: response.nonce,
            ..DeltaDiscoveryRequest::default()
        };
        let mut requests = vec![acknowledgement];
        // Clusters want endpoints, listeners routes, and those virtual hosts: the type that follows.
        if let Some(next) = position.and_then(|position| self.kinds.get_mut(position + 1)) {
            requests.extend(next.subscribe(wanted));
        }
        Ok(requests)
    }
}

impl Kind {
    /// Takes a version over; gives the one before.
    fn set(&mut self, name: &Arc<str>, new: Known) -> Known {
        if self.url.is_by_collection() {
            self.answer(collection_of(name));
        }
        let old = self.known.insert(name.clone(), new);
        if old.is_some_and(|old| old.version == 0) {
            self.unanswered -= 1;
        }
        old.unwrap_or_default()
    }

    fn remove(&mut self, name: &str) {
        if self.url.is_wildcard_by_default() || collection_of(name) != name {
            self.known.remove(name);
        } else {
            self.answer(name);
        }
    }

    /// What was asked for by this name does not exist, or has no version itself.
    fn answer(&mut self, name: &str) {
        if let Some(known) = self.known.get_mut(name) {
            if known.version == 0 {
                self.unanswered -= 1;
            }
            known.version = ABSENT;
        }
    }

    /// The names that were asked for.
    fn subscribed(&self) -> impl Iterator<Item = &Arc<str>> {
        let by_collection = self.url.is_by_collection();
        self.known.keys().filter(move |name| !by_collection || collection_of(name) == &***name)
    }

    fn subscribe(&mut self, wanted: Vec<Arc<str>>) -> Option<DeltaDiscoveryRequest> {
        let mut names = Vec::new();
        for name in wanted {
            if let Entry::Vacant(vacant) = self.known.entry(name) {
                names.push(vacant.key().to_string());
                vacant.insert(Known::default());
            }
        }
        self.unanswered += names.len();
        (!names.is_empty()).then(|| DeltaDiscoveryRequest {
            type_url: self.url.as_str().to_owned(),
            resource_names_subscribe: names,
            ..DeltaDiscoveryRequest::default()
        })
    }
}

#[cfg(test)]
#[path = "conversation_tests.rs"]
mod tests;
