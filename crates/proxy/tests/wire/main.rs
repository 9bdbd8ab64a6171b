//! The proxy on the wire, with real sockets: one program, so that what the tests share is built and used once.

mod ads;
mod common;
mod http;
mod http_features;
mod http_resilience;
mod slow;
mod tcp;
