//! What the server does on its own: garbage collection, namespaces coming and going, and what a fresh cluster holds.

pub(crate) mod furnish;
pub(crate) mod garbage;
