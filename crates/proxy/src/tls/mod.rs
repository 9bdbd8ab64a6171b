//! TLS of the data path: accepting and connecting with configurations that were built when the
//! listener or cluster arrived, never while a connection waits.

mod accept;
mod connect;
mod secrets;

pub use accept::{AcceptError, Acceptor};
pub use connect::{ConnectError, ConnectRequest, Connector, DEFAULT_HANDSHAKE_TIMEOUT, NewError};
pub use secrets::{SecretSource, Secrets, WORKLOAD_CERTIFICATE, WORKLOAD_TRUST, WorkloadSecrets};

use crate::connection::TlsInfo;
use mizzen_identity::PeerCertificate;
use rustls::{CommonState, ProtocolVersion};
use std::sync::Arc;

/// What a finished handshake agreed on.
fn session(state: &CommonState) -> TlsInfo {
    // The verifier has read the certificate already, so it parses; if it did not, the peer would
    // count as unauthenticated, which is the safe side.
    let peer = state
        .peer_certificates()
        .and_then(|chain| chain.first())
        .and_then(|leaf| PeerCertificate::parse(leaf.clone()).ok());
    TlsInfo {
        application_protocol: state.alpn_protocol().map(Into::into),
        version: match state.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "",
        },
        cipher: state.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or_default(),
        peer: peer.map(Arc::new),
        local: None,
    }
}
