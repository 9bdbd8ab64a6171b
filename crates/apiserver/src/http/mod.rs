//! The wire: paths, media types, bodies, discovery and dispatch.

pub(crate) mod body;
pub(crate) mod discovery;
pub(crate) mod negotiate;
pub(crate) mod openapi;
pub(crate) mod query;
pub(crate) mod response;
pub(crate) mod route;
pub(crate) mod service;
