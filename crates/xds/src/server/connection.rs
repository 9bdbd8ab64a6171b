//! Open streams: telling them of changes, and what is known of each.

use super::codec::ResponseKind;
use super::conversation::{Answer, Conversation, Request};
use super::source::Session;
use crate::TypeUrl;
use crate::server::codec::Response;
use envoy_types::pb::envoy::config::core::v3::Node;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::SystemTime;
use tokio::sync::Notify;
use tokio::time::Instant;
use tonic::Status;

/// A connection that is told of more changes than this before it gets to run takes everything as
/// changed instead.
const PENDING_LIMIT: usize = 1024;

/// Which resources of a type have changed.
#[derive(Clone, Debug)]
pub enum Touched {
    /// Possibly all.
    Everything,
    /// These came, went or changed.
    Names(Arc<[Arc<str>]>),
}

/// A change, as told to connections. Shared by all that it concerns.
#[derive(Clone, Debug)]
pub struct Changes {
    /// Grows with every change of the source.
    pub generation: u64,
    /// What is touched, by type.
    pub types: Vec<(TypeUrl, Touched)>,
}

/// One open stream.
pub struct Connection<S> {
    id: u64,
    node: Arc<Node>,
    kind: ResponseKind,
    connected: SystemTime,
    session: S,
    conversation: Mutex<Conversation>,
    pending: Mutex<Pending>,
    wake: Notify,
    notified: AtomicU64,
    live: AtomicU64,
    /// Whether the client has ever had everything it asked for.
    settled_once: AtomicBool,
}

#[derive(Default)]
struct Pending {
    changes: Vec<Arc<Changes>>,
    overflowed: bool,
    /// When the oldest change that the client has not taken over was told.
    unconverged_since: Option<Instant>,
}

/// A snapshot for operators.
#[derive(Clone, Debug)]
pub struct ConnectionStatus {
    /// Unique in this process.
    pub id: u64,
    /// As the client introduced itself.
    pub node: Arc<Node>,
    /// When the stream was opened.
    pub connected: SystemTime,
    /// Delta, or else state of the world.
    pub delta: bool,
    /// The newest generation that the client has taken over.
    pub live_generation: u64,
    /// Types asked for, in push order.
    pub types: Vec<TypeStatus>,
}

/// One type on one stream.
#[derive(Clone, Debug)]
pub struct TypeStatus {
    /// Which type.
    pub type_url: TypeUrl,
    /// Whether everything is asked for.
    pub wildcard: bool,
    /// How many resources the client was sent and not told to drop.
    pub resources: usize,
    /// Of the last response; empty if there was none.
    pub nonce_sent: String,
    /// Of the last response that was taken over.
    pub nonce_acknowledged: String,
    /// When the last response was sent.
    pub last_sent: Option<SystemTime>,
    /// When a response was last taken over.
    pub last_acknowledged: Option<SystemTime>,
    /// Why the last response was refused, if it was.
    pub error: Option<String>,
}

impl<S: Session> Connection<S> {
    pub(super) fn new(
        id: u64,
        node: Node,
        kind: ResponseKind,
        session: S,
        conversation: Conversation,
    ) -> Self {
        Self {
            id,
            node: Arc::new(node),
            kind,
            connected: SystemTime::now(),
            session,
            conversation: Mutex::new(conversation),
            pending: Mutex::default(),
            wake: Notify::new(),
            notified: AtomicU64::new(0),
            live: AtomicU64::new(0),
            settled_once: AtomicBool::new(false),
        }
    }

    /// Unique in this process.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// As the client introduced itself.
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// What the source keeps for this client.
    pub fn session(&self) -> &S {
        &self.session
    }

    /// Tells the connection what has changed. Returns at once; what is sent, and when, is the
    /// connection's business.
    pub fn notify(&self, changes: &Arc<Changes>) {
        self.notified.fetch_max(changes.generation, Ordering::AcqRel);
        let mut pending = self.pending.lock();
        pending.unconverged_since.get_or_insert_with(Instant::now);
        if pending.changes.len() >= PENDING_LIMIT {
            pending.changes.clear();
            pending.overflowed = true;
        }
        pending.changes.push(changes.clone());
        drop(pending);
        self.wake.notify_one();
    }

    /// Whether the client has taken over what it asked for, and all that it was told of up to
    /// `generation`.
    pub fn is_current(&self, generation: u64) -> bool {
        if !self.settled_once.load(Ordering::Acquire) {
            return false;
        }
        let notified = self.notified.load(Ordering::Acquire);
        self.live.load(Ordering::Acquire) >= notified.min(generation)
    }

    /// What is known of the stream now.
    pub fn status(&self) -> ConnectionStatus {
        let conversation = self.conversation.lock();
        let types = conversation
            .subscriptions()
            .iter()
            .map(|subscription| TypeStatus {
                type_url: subscription.type_url,
                wildcard: subscription.is_wildcard(),
                resources: subscription.existing(),
                nonce_sent: subscription.record.nonce_sent.clone(),
                nonce_acknowledged: subscription.record.nonce_acknowledged.clone(),
                last_sent: subscription.record.last_sent,
                last_acknowledged: subscription.record.last_acknowledged,
                error: subscription.record.error.clone(),
            })
            .collect();
        ConnectionStatus {
            id: self.id,
            node: self.node.clone(),
            connected: self.connected,
            delta: self.kind == ResponseKind::Delta,
            live_generation: self.live.load(Ordering::Acquire),
            types,
        }
    }

    /// The names of a type that the client has asked for or was sent.
    pub fn names(&self, type_url: TypeUrl) -> Vec<Arc<str>> {
        let conversation = self.conversation.lock();
        let subscription =
            conversation.subscriptions().iter().find(|subscription| subscription.type_url == type_url);
        subscription.map(|subscription| subscription.names().cloned().collect()).unwrap_or_default()
    }

    /// Waits until [`Connection::notify`] was called.
    pub(super) async fn notified(&self) {
        self.wake.notified().await;
    }

    /// Takes a request in.
    pub(super) fn receive(&self, request: Request) -> Result<(), Status> {
        let answer =
            self.conversation.lock().receive(request, (Instant::now().into_std(), SystemTime::now()))?;
        match answer {
            Answer::Acknowledged(type_url, elapsed) => self.session.acknowledged(type_url, elapsed),
            Answer::Refused(type_url, detail) => {
                tracing::warn!(node = %self.node.id, %type_url, "the proxy refused an update and keeps what it had: {detail}");
                self.session.refused(type_url, &detail);
            }
            Answer::None => {}
        }
        self.update_liveness();
        Ok(())
    }

    /// Takes the changes in that were told so far.
    pub(super) fn absorb(&self) {
        let (changes, overflowed) = {
            let mut pending = self.pending.lock();
            (std::mem::take(&mut pending.changes), std::mem::take(&mut pending.overflowed))
        };
        let mut conversation = self.conversation.lock();
        if overflowed {
            conversation.mark_all();
        }
        for (type_url, touched) in changes.iter().flat_map(|changes| &changes.types) {
            match touched {
                Touched::Everything => conversation.mark(*type_url, None),
                Touched::Names(names) => conversation.mark(*type_url, Some(names)),
            }
        }
        drop(conversation);
        self.update_liveness();
    }

    /// Whether there may be something to send.
    pub(super) fn wants_to_send(&self) -> bool {
        self.conversation.lock().wants_to_send()
    }

    /// The next response, if there is one after all.
    pub(super) fn next(&self) -> Option<Response> {
        let now = (Instant::now().into_std(), SystemTime::now());
        let response = self.conversation.lock().next(&self.session, self.kind, now);
        match &response {
            Some(response) => {
                self.session.sent(response.type_url, response.resources.len(), response.body_bytes());
            }
            None => self.update_liveness(),
        }
        response
    }

    /// Notices when the client has caught up.
    fn update_liveness(&self) {
        let notified = self.notified.load(Ordering::Acquire);
        {
            let conversation = self.conversation.lock();
            if !conversation.is_settled() || conversation.has_refusal() {
                return;
            }
        }
        let mut pending = self.pending.lock();
        if !pending.changes.is_empty() || pending.overflowed {
            return;
        }
        self.live.fetch_max(notified, Ordering::AcqRel);
        self.settled_once.store(true, Ordering::Release);
        let since = pending.unconverged_since.take();
        drop(pending);
        if let Some(since) = since {
            self.session.converged(since.elapsed());
        }
    }
}

/// All open streams.
pub struct Hub<S> {
    connections: Mutex<BTreeMap<u64, Arc<Connection<S>>>>,
    next_id: AtomicU64,
}

impl<S> Default for Hub<S> {
    fn default() -> Self {
        Self { connections: Mutex::default(), next_id: AtomicU64::new(1) }
    }
}

impl<S> Hub<S> {
    /// The open streams, oldest first.
    pub fn connections(&self) -> Vec<Arc<Connection<S>>> {
        self.connections.lock().values().cloned().collect()
    }

    /// How many streams are open.
    pub fn len(&self) -> usize {
        self.connections.lock().len()
    }

    /// Whether no stream is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }
}

/// Keeps a connection listed until dropped.
pub(super) struct Listed<S> {
    hub: Arc<Hub<S>>,
    pub(super) connection: Arc<Connection<S>>,
}

impl<S> Listed<S> {
    pub(super) fn new(hub: Arc<Hub<S>>, connection: Connection<S>) -> Self {
        let connection = Arc::new(connection);
        hub.connections.lock().insert(connection.id, connection.clone());
        Self { hub, connection }
    }
}

impl<S> Drop for Listed<S> {
    fn drop(&mut self) {
        self.hub.connections.lock().remove(&self.connection.id);
    }
}
