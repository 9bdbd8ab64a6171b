//! Stock Envoy as the data plane: a bootstrap in a file, certificates over a Unix socket, and a process that is
//! watched until it or the agent ends.
//!
//! Envoy's working folder is the pod's writable volume, so that Istio's relative path of the socket holds whatever
//! the rest of the file system is.

mod admin;
mod secrets;

use crate::bootstrap::{self, Certificates};
use crate::options::AgentOptions;
use admin::Admin;
use mizzen_proxy::WorkloadSecrets;
use prost::Message as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

/// The pod's writable volume.
const FOLDER: &str = "/var/lib/istio/data";
/// Where the agent answers for secrets, below the folder. Source: Istio, `pkg/security`.
pub(crate) const SECRETS_SOCKET: &str = "var/run/secrets/workload-spiffe-uds/socket";
const BOOTSTRAP: &str = "envoy-rev.pb";
/// Between looks at a process that starts or drains.
const PAUSE: Duration = Duration::from_millis(100);
/// How long Envoy may take to end once it is told to.
const END: Duration = Duration::from_secs(5);

/// Why Envoy does not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnvoyError {
    /// The bootstrap cannot be made from the options.
    #[error("cannot make Envoy's bootstrap: {0:#}")]
    Bootstrap(anyhow::Error),
    /// A file or the socket cannot be written.
    #[error("cannot write {path}: {source}; Envoy needs a writable volume at {FOLDER}")]
    Write { path: PathBuf, source: std::io::Error },
    /// The program cannot be run.
    #[error(
        "cannot run {path} (binaryPath of the proxy configuration): {source}; without binaryPath the \
             built-in proxy is used"
    )]
    Start { path: PathBuf, source: std::io::Error },
    /// It ended by itself.
    #[error("Envoy ended with {0}; its last lines above say why")]
    Ended(ExitStatus),
    /// What became of it cannot be known.
    #[error("cannot wait for Envoy: {0}")]
    Wait(std::io::Error),
}

/// Envoy as it runs. Dropped, it is killed.
pub(crate) struct Envoy {
    admin: Admin,
    ready: watch::Receiver<bool>,
    ended: watch::Receiver<Option<Arc<Result<ExitStatus, std::io::Error>>>>,
    kill: Arc<Notify>,
    tasks: Vec<JoinHandle<()>>,
}

impl Envoy {
    /// Starts `program` and what it asks its agent for.
    pub(crate) async fn start(
        program: &Path,
        options: &AgentOptions,
        certificates: watch::Receiver<Option<Arc<WorkloadSecrets>>>,
    ) -> Result<Self, EnvoyError> {
        let folder = Path::new(FOLDER);
        let written = |path: PathBuf| move |source| EnvoyError::Write { path, source };
        let socket = folder.join(SECRETS_SOCKET);
        let secrets = secrets::serve(&socket, certificates).await.map_err(written(socket.clone()))?;
        let bootstrap = bootstrap::build(options, Certificates::OverSocket).map_err(EnvoyError::Bootstrap)?;
        let file = folder.join(BOOTSTRAP);
        tokio::fs::write(&file, bootstrap.encode_to_vec()).await.map_err(written(file.clone()))?;

        let child = command(program, folder, options)
            .spawn()
            .map_err(|source| EnvoyError::Start { path: program.to_owned(), source })?;
        tracing::info!(program = %program.display(), process = child.id(), "Envoy is started");
        let admin = Admin::new();
        let kill = Arc::new(Notify::new());
        let (tell_end, ended) = watch::channel(None);
        let (tell_ready, ready) = watch::channel(false);
        let tasks = vec![
            secrets,
            tokio::spawn(watch_process(child, Arc::clone(&kill), tell_end)),
            tokio::spawn(watch_readiness(admin, tell_ready)),
        ];
        Ok(Self { admin, ready, ended, kill, tasks })
    }

    pub(crate) async fn ready(&self) {
        if self.ready.clone().wait_for(|ready| *ready).await.is_err() {
            // The task that looks was ended with everything else.
            std::future::pending::<()>().await;
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        *self.ready.borrow() && self.ended.borrow().is_none()
    }

    pub(crate) async fn prometheus(&self) -> String {
        match self.admin.prometheus().await {
            Ok(text) => text,
            Err(error) => {
                tracing::warn!("cannot read Envoy's metrics: {error:#}");
                String::new()
            }
        }
    }

    /// Waits for the end of the process.
    pub(crate) async fn ended(&self) -> EnvoyError {
        let mut ended = self.ended.clone();
        let Ok(end) = ended.wait_for(Option::is_some).await else { return std::future::pending().await };
        match end.as_deref() {
            Some(Ok(status)) => EnvoyError::Ended(*status),
            Some(Err(error)) => EnvoyError::Wait(std::io::Error::new(error.kind(), error.to_string())),
            None => EnvoyError::Wait(std::io::ErrorKind::Other.into()),
        }
    }

    /// Closes the listeners, waits for connections to finish until `deadline`, then ends the process.
    pub(crate) async fn drain(&self, deadline: Duration) {
        tracing::info!(?deadline, "draining");
        if let Err(error) = self.admin.drain().await {
            tracing::warn!("Envoy does not drain: {error:#}");
        } else if tokio::time::timeout(deadline, self.idle()).await.is_err() {
            tracing::warn!("connections were still open at the end of the drain and are closed now");
        }
        if let Err(error) = self.admin.quit().await {
            tracing::warn!("Envoy does not quit and is killed: {error:#}");
        } else if tokio::time::timeout(END, self.ended()).await.is_ok() {
            return;
        }
        self.kill.notify_one();
        self.ended().await;
    }

    async fn idle(&self) {
        while self.admin.connections().await.is_ok_and(|open| open > 0) {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Envoy writes to the agent's own output. It is told to end by the agent alone, once connections have finished.
fn command(program: &Path, folder: &Path, options: &AgentOptions) -> Command {
    let mut command = std::process::Command::new(program);
    command.current_dir(folder).stdin(Stdio::null());
    command.args(["-c", BOOTSTRAP, "--disable-hot-restart", "--log-level", &options.log_level]);
    // Older proxies read fields that Envoy has put aside; a line for each of them hides everything else.
    command.arg("--skip-deprecated-logs");
    command.args(["--drain-strategy", "immediate", "--drain-time-s"]);
    command.arg(options.drain_deadline.as_secs().max(1).to_string());
    // Envoy's own ten seconds are long for somebody who waits for a line of the access log.
    command.args(["--file-flush-interval-msec", "1000"]);
    if options.concurrency > 0 {
        command.args(["--concurrency", &options.concurrency.to_string()]);
    }
    mizzen_net::process::tie_to_this_thread(&mut command);
    let mut command = Command::from(command);
    command.kill_on_drop(true);
    command
}

async fn watch_process(
    mut child: Child,
    kill: Arc<Notify>,
    ended: watch::Sender<Option<Arc<Result<ExitStatus, std::io::Error>>>>,
) {
    let end = tokio::select! {
        end = child.wait() => end,
        () = kill.notified() => {
            // One that has just ended cannot be killed, which is as good.
            let _ = child.start_kill();
            child.wait().await
        }
    };
    ended.send_replace(Some(Arc::new(end)));
}

async fn watch_readiness(admin: Admin, ready: watch::Sender<bool>) {
    while !admin.is_ready().await.unwrap_or_default() {
        tokio::time::sleep(PAUSE).await;
    }
    ready.send_replace(true);
}
