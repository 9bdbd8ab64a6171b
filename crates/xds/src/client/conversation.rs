//! What both variants of the protocol have in common: who takes resources, and what is said of them.

use crate::TypeUrl;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Takes resources and says which ones it needs. Called on one task, so it can keep plain state.
pub trait Handler {
    /// Takes an update. Resources that cannot be used are rejected with a reason, the others of the
    /// same update are used; what served under a rejected name goes on.
    fn apply(&mut self, update: &Update) -> Vec<Rejection>;

    /// The names to subscribe to, for types that are asked for by name. Asked again after each
    /// update, as resources refer to others; the same value again is recognised without a look inside.
    fn wanted(&self, kind: TypeUrl) -> Names;

    /// The stream opened (`true`) or broke.
    fn connected(&mut self, connected: bool);
}

/// Names of resources, shared.
pub type Names = Arc<BTreeSet<Arc<str>>>;

/// Changes of one type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// The type.
    pub kind: TypeUrl,
    /// The version of the whole, as the server names it (`system_version_info`, `version_info`).
    pub version: Arc<str>,
    /// New or changed resources.
    pub resources: Vec<Received>,
    /// Names of resources that are gone.
    pub removed: Vec<Arc<str>>,
}

/// One received resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Its name.
    pub name: Arc<str>,
    /// Its own version, or the update's.
    pub version: Arc<str>,
    /// The encoded message, without its type URL.
    pub body: Bytes,
}

/// A resource that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Its name.
    pub name: Arc<str>,
    /// Which field and why.
    pub reason: String,
}

/// The message of a NACK: every rejected resource with its reason.
pub(super) fn describe(rejections: &[Rejection]) -> String {
    let lines: Vec<_> =
        rejections.iter().map(|rejection| format!("{}: {}", rejection.name, rejection.reason)).collect();
    lines.join("\n")
}

/// Every discovery resource has its name in field 1.
#[derive(Clone, PartialEq, prost::Message)]
struct Named {
    #[prost(string, tag = "1")]
    name: String,
}

/// The name inside an encoded resource.
pub(super) fn name_of(body: &[u8]) -> Option<Arc<str>> {
    prost::Message::decode(body).ok().map(|named: Named| named.name.into())
}
