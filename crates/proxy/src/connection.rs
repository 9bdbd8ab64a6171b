//! What is known of one accepted connection. Everything downstream of the listener (routing,
//! policy, access log, metrics) reads it from here and nowhere else.

use crate::listener::{FilterChain, Listener};
use crate::telemetry::PeerMetadata;
use crate::worker::Worker;
use mizzen_base::drain::DrainWatcher;
use mizzen_identity::PeerCertificate;
use std::cell::OnceCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// One accepted connection.
pub struct Downstream {
    /// Unique in this process.
    pub id: u64,
    /// The other end of the socket (Envoy's direct remote address).
    pub direct_peer: SocketAddr,
    /// The client: the address PROXY protocol told us, otherwise [`Downstream::direct_peer`].
    pub peer: SocketAddr,
    /// The address the client connected to: the original destination where it was restored,
    /// otherwise the socket's own local address.
    pub local: SocketAddr,
    /// The destination before interception redirected the connection to us.
    pub original_destination: Option<SocketAddr>,
    /// The server name of the ClientHello, whether TLS was terminated here or only looked at.
    pub server_name: Option<Arc<str>>,
    /// Set when TLS was terminated here.
    pub tls: Option<TlsInfo>,
    /// The listener that serves the connection (after a hand-over by original destination).
    pub listener: Arc<Listener>,
    /// The filter chain that matched.
    pub chain: Arc<FilterChain>,
    /// What the other proxy said of its workload, once it has (TCP metadata exchange).
    pub peer_metadata: OnceCell<Arc<PeerMetadata>>,
    /// The worker that accepted the connection and runs all of it.
    pub worker: Rc<Worker>,
    /// Fires when the connection should finish gracefully: the proxy drains, or the filter chain
    /// was changed or removed.
    pub drain: DrainWatcher,
    /// When the connection was accepted.
    pub started: Instant,
    /// The same moment on the wall clock, for the access log.
    pub started_at: SystemTime,
}

/// A TLS session terminated by this proxy.
#[derive(Clone, Debug)]
pub struct TlsInfo {
    /// The negotiated application protocol.
    pub application_protocol: Option<Arc<[u8]>>,
    /// `TLSv1.3` or `TLSv1.2`.
    pub version: &'static str,
    /// The cipher suite in IANA's name, for example `TLS13_AES_256_GCM_SHA384`.
    pub cipher: &'static str,
    /// The verified certificate of the client, when one was given.
    pub peer: Option<Arc<PeerCertificate>>,
    /// Our own certificate.
    pub local: Option<Arc<PeerCertificate>>,
}

impl Downstream {
    /// The client's first URI SAN, which is its SPIFFE identity in the mesh.
    pub fn principal(&self) -> Option<&str> {
        let peer = self.tls.as_ref()?.peer.as_ref()?;
        peer.uri_sans.first().map(AsRef::as_ref)
    }

    /// Whether the client proved who it is by a certificate.
    pub fn is_mutual_tls(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.peer.is_some())
    }
}
