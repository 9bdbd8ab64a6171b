//! Starting and stopping the embedded API server.

use crate::config::ServerConfig;

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The state folder cannot be read or written.
    #[error("cannot use the state folder {path}: {source}; check that it is writable and that the disk is not full")]
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

/// The embedded Kubernetes API server.
pub struct ApiServer;

impl ApiServer {
    /// Loads the state, makes what is missing (authority, keys, token, default namespaces) and serves on every listener.
    /// Must be called within a tokio runtime, on which the server then runs.
    pub async fn start(config: ServerConfig) -> Result<RunningApiServer, StartError> {
        let _ = config;
        Err(StartError::Listener("not built yet".to_owned()))
    }
}

/// A server that is serving. Dropping it stops it without waiting; [`shutdown`](Self::shutdown) is the graceful way.
pub struct RunningApiServer {
    admin_token: String,
    authority_pem: String,
}

impl RunningApiServer {
    /// Bearer token of the administrator.
    pub fn admin_token(&self) -> &str {
        &self.admin_token
    }

    /// Certificate of the authority that issued the serving certificate, PEM.
    pub fn ca_pem(&self) -> &str {
        &self.authority_pem
    }

    /// A kubeconfig (YAML) for the administrator, with one cluster, user and context, all called `mizzen`.
    /// `server_url` as the client will reach it, for example `https://127.0.0.1:16443`.
    pub fn kubeconfig(&self, server_url: &str) -> String {
        crate::auth::kubeconfig::render(server_url, &self.authority_pem, &self.admin_token)
    }

    /// Stops accepting, ends watches, lets requests finish (at most five seconds) and writes everything to disk.
    pub async fn shutdown(self) {}
}
