//! The indices of a snapshot. Each is updated by the objects that concern it and tells which keys changed.

pub(crate) mod attached;
pub(crate) mod routes;
pub(crate) mod rules;
pub(crate) mod services;
