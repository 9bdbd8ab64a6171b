//! Listening: TLS and plain text, gRPC and HTTP, each bounded in connections, handshakes and time.

mod accept;
mod grpc;

pub(crate) use accept::{bind, tls};
pub(crate) use grpc::GrpcServices;
pub(crate) use mizzen_base::http::{Peer, plain, serve};
