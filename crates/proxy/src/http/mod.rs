//! The HTTP data path: one connection, its requests, and the filters over them.
//!
//! A request is admitted and normalised ([`normalize`]), planned by a pure function ([`plan`]),
//! executed ([`forward`]), and recorded once when its response has ended ([`body::Exchange`]).

mod admit;
pub mod body;
mod connection_manager;
pub mod domains;
mod error_response;
pub mod filter;
mod finish;
mod forward;
pub mod headers;
mod life;
mod limits;
pub mod matcher;
pub mod mutation;
pub mod normalize;
mod observed;
pub mod plan;
mod prepare;
mod request;
mod request_body;
pub mod routes;
mod server;
mod upgrade;

pub use connection_manager::{
    Captured, ClientCertDetails, Codec, Connection, ForwardClientCert, Http1Options, Http2Options,
    HttpConnectionManager, RouteSource, ServerHeader, StripPort, Timeouts,
};
pub use error_response::Failure;
pub(crate) use forward::Flight;
pub use server::serve;

#[cfg(test)]
#[path = "sizes_tests.rs"]
mod sizes;
