//! Listening: TLS and plain text, gRPC and HTTP, each bounded in connections, handshakes and time.

mod accept;
mod grpc;
mod http;

pub(crate) use accept::{bind, plain, tls};
pub(crate) use grpc::GrpcServices;
pub(crate) use http::{Peer, serve};
