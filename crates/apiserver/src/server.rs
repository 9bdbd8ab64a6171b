//! Starting and stopping the embedded API server.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use mizzen_base::http::is_head_late;
use mizzen_base::prompt::{Ends, Patience, Prompt};

use crate::admission::WebhookClient;
use crate::api::Api;
use crate::auth::{Tokens, authority};
use crate::config::ServerConfig;
use crate::http::service;
use crate::lifecycle::{furnish, garbage};
use crate::resources::Catalogue;
use crate::state;
use crate::store::{JournalError, Store};

/// How long a client may take for its TLS handshake and for each request's headers.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// A client that reads a log or a watch may leave it for a while, as `kubectl logs` in a pager does.
const PATIENCE: Patience = Patience { beginning: HANDSHAKE_TIMEOUT, untaken: Duration::from_secs(3600) };

/// Most connections at a time on one listener; further ones wait to be accepted.
const MOST_CONNECTIONS: usize = 4096;

/// How long open requests may take to finish at shutdown.
const DRAIN: Duration = Duration::from_secs(5);

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The state folder cannot be read or written.
    #[error(
        "cannot use the state folder {path}: {source}; check that it is writable and that the disk is not full"
    )]
    State {
        /// The file or folder.
        path: String,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// A file in the state folder does not hold what it should.
    #[error("{path} is damaged: {reason}; restore it or move it away to start with a new one")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Certificates could not be made.
    #[error("cannot make the serving certificate: {0}")]
    Certificate(String),
    /// No listener was given, or one could not be used.
    #[error("cannot serve: {0}")]
    Listener(String),
}

impl From<JournalError> for StartError {
    fn from(error: JournalError) -> StartError {
        match error {
            JournalError::Io { path, source } => {
                StartError::State { path: path.display().to_string(), source }
            }
            JournalError::Damaged { path, reason } => {
                StartError::Damaged { path: path.display().to_string(), reason }
            }
        }
    }
}

/// The embedded Kubernetes API server.
pub struct ApiServer;

impl ApiServer {
    /// Loads the state, makes what is missing (authority, keys, token, default namespaces) and serves on every listener.
    /// Must be called within a tokio runtime, on which the server then runs.
    pub async fn start(config: ServerConfig) -> Result<RunningApiServer, StartError> {
        if config.listeners.is_empty() {
            return Err(StartError::Listener("no listener was given".to_owned()));
        }
        state::make_folder(&config.state)?;
        let admin_token = match &config.admin_token {
            Some(token) => token.clone(),
            None => stored_admin_token(&config)?,
        };
        let serving = authority::serving(&config.state, &subject_names(&config))?;
        let tokens = Tokens::load(&config.state, &admin_token)?;
        let (store, trail) = Store::open(&config.state, config.volatile_resources.iter().cloned())?;
        let api = Arc::new(Api {
            store,
            catalogue: ArcSwap::from_pointee(Catalogue::new(&[], None)),
            tokens,
            node: config.node_runtime.clone(),
            service_range: config.service_range,
            authority_pem: serving.authority_pem.clone(),
            service_addresses: Mutex::new(()),
            webhooks: WebhookClient::default(),
            stopping: CancellationToken::new(),
        });
        api.refresh_catalogue();
        furnish::cluster(&api, config.advertised_address);

        let connections = TaskTracker::new();
        let mut background = vec![tokio::spawn(garbage::run(api.clone(), trail))];
        for listener in config.listeners {
            let unusable =
                |error: std::io::Error| StartError::Listener(format!("a listener cannot be used: {error}"));
            listener.set_nonblocking(true).map_err(unusable)?;
            let listener = TcpListener::from_std(listener).map_err(unusable)?;
            let acceptor = TlsAcceptor::from(serving.tls.clone());
            background.push(tokio::spawn(accept(api.clone(), listener, acceptor, connections.clone())));
        }
        Ok(RunningApiServer { api, admin_token, background, connections })
    }
}

fn stored_admin_token(config: &ServerConfig) -> Result<String, StartError> {
    let path = config.state.join("admin.token");
    let fresh =
        || Ok(format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple()).into_bytes());
    let bytes = state::load_or_create(&path, fresh)?;
    let token = String::from_utf8_lossy(&bytes).trim().to_owned();
    if token.is_empty() || token.chars().any(|c| !c.is_ascii_graphic()) {
        let reason = "it must hold one line of printable characters".to_owned();
        return Err(StartError::Damaged { path: path.display().to_string(), reason });
    }
    Ok(token)
}

/// What the certificate is for: what was asked for, what is listened on, and the Service `kubernetes`.
fn subject_names(config: &ServerConfig) -> Vec<String> {
    let service = Ipv4Addr::from(u32::from(config.service_range.network()).saturating_add(1));
    let listening = config.listeners.iter().filter_map(|listener| listener.local_addr().ok());
    let addresses = listening
        .map(|address| address.ip())
        .chain(config.advertised_address.map(|address| address.ip()))
        .chain([IpAddr::V4(service)])
        .filter(|address| !address.is_unspecified());
    let mut names = authority::address_names(addresses);
    names.extend(config.subject_names.iter().cloned());
    names
}

/// A server that is serving. Dropping it stops it without waiting; [`shutdown`](Self::shutdown) is the graceful way.
pub struct RunningApiServer {
    api: Arc<Api>,
    admin_token: String,
    background: Vec<JoinHandle<()>>,
    connections: TaskTracker,
}

impl RunningApiServer {
    /// Bearer token of the administrator.
    pub fn admin_token(&self) -> &str {
        &self.admin_token
    }

    /// Certificate of the authority that issued the serving certificate, PEM.
    pub fn ca_pem(&self) -> &str {
        &self.api.authority_pem
    }

    /// A kubeconfig (YAML) for the administrator, with one cluster, user and context, all called `mizzen`.
    /// `server_url` as the client will reach it, for example `https://127.0.0.1:16443`.
    pub fn kubeconfig(&self, server_url: &str) -> String {
        crate::auth::kubeconfig::render(server_url, &self.api.authority_pem, &self.admin_token)
    }

    /// Stops accepting, ends watches, lets requests finish (at most five seconds) and writes everything to disk.
    pub async fn shutdown(self) {
        self.api.stopping.cancel();
        self.connections.close();
        if tokio::time::timeout(DRAIN, self.connections.wait()).await.is_err() {
            tracing::warn!(
                left = self.connections.len(),
                "connections are still open after the drain and are cut"
            );
        }
        self.api.store.flush().await;
    }
}

impl Drop for RunningApiServer {
    fn drop(&mut self) {
        self.api.stopping.cancel();
        for task in &self.background {
            task.abort();
        }
    }
}

async fn accept(api: Arc<Api>, listener: TcpListener, acceptor: TlsAcceptor, connections: TaskTracker) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            () = api.stopping.cancelled() => return,
            accepted = async {
                let place = places.clone().acquire_owned().await.ok();
                (place, listener.accept().await)
            } => accepted,
        };
        match accepted {
            (place, Ok((stream, _))) => {
                let (api, acceptor) = (api.clone(), acceptor.clone());
                connections.spawn(async move {
                    serve(api, stream, acceptor).await;
                    drop(place);
                });
            }
            (_, Err(error)) => {
                // Out of descriptors, most likely: let others finish instead of spinning.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// One connection: TLS, then HTTP/2 or HTTP/1.1 as agreed.
async fn serve(api: Arc<Api>, stream: TcpStream, acceptor: TlsAcceptor) {
    // Watches send small frames that should not wait for each other.
    let _ = stream.set_nodelay(true);
    let ends = Ends::of(&stream);
    let Ends { peer, local } = ends;
    let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        // A client that just goes away says nothing: that is how life is probed.
        Ok(Err(error)) if error.kind() != std::io::ErrorKind::InvalidData => {
            tracing::debug!(?peer, %error, "TLS handshake failed");
            return;
        }
        Ok(Err(error)) => {
            tracing::warn!(?peer, ?local, %error, "TLS handshake failed");
            return;
        }
        Err(_) => {
            tracing::warn!(?peer, ?local, "TLS handshake took longer than {HANDSHAKE_TIMEOUT:?}");
            return;
        }
    };
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let stopping = api.stopping.clone();
    let handler = service_fn(move |request| {
        let api = api.clone();
        async move { Ok::<_, Infallible>(service::handle(api, request).await) }
    });
    let stream = Prompt::new(stream, ends, PATIENCE);
    let unanswered = stream.unanswered();
    let io = TokioIo::new(stream);
    let outcome = if is_http2 {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(Duration::from_secs(30))
            .max_concurrent_streams(1000);
        let connection = builder.serve_connection(io, handler);
        tokio::pin!(connection);
        tokio::select! {
            outcome = connection.as_mut() => outcome,
            () = stopping.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    } else {
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HANDSHAKE_TIMEOUT);
        let connection = builder.serve_connection(io, handler).with_upgrades();
        tokio::pin!(connection);
        tokio::select! {
            outcome = connection.as_mut() => outcome,
            () = stopping.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    match outcome {
        Err(error) if is_head_late(&error) && unanswered.get() => tracing::warn!(
            ?peer,
            ?local,
            "a connection was closed: no whole head of a request within {HANDSHAKE_TIMEOUT:?}"
        ),
        Err(error) => tracing::debug!(?peer, %error, "connection ended"),
        Ok(()) => {}
    }
}
