//! The state folder of a mesh: who runs it, and what it says of itself.
//!
//! The lock on a file in it is held for as long as the mesh runs, and by nothing else: after a
//! `kill -9` the kernel has released it, so what else is in the folder is known to be stale.

use anyhow::{Context as _, bail};
use kube::config::{KubeConfigOptions, Kubeconfig};
use mizzen_sandbox::node::NodeSummary;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a mesh may take to end in order.
const PATIENCE: Duration = Duration::from_secs(20);

/// The flag that names a mesh.
#[derive(Clone, Debug, clap::Args)]
pub struct StateOption {
    /// Folder that keeps the mesh's state; each has a mesh of its own
    #[arg(long = "state", value_name = "DIR")]
    state: Option<PathBuf>,
}

impl StateOption {
    /// The folder asked for, or the default one.
    pub fn path(&self) -> PathBuf {
        let path = self.state.clone().unwrap_or_else(mizzen_base::state::default_folder);
        std::path::absolute(&path).unwrap_or(path)
    }
}

/// A state folder, which may not exist yet.
#[derive(Clone, Debug)]
pub struct StateFolder(PathBuf);

/// Held while a mesh runs.
#[derive(Debug)]
pub struct Running {
    _lock: Flock<File>,
    folder: StateFolder,
}

impl Drop for Running {
    fn drop(&mut self) {
        for name in ["process", "summary.json", "kubeconfig"] {
            // What is not there need not be removed.
            let _ = fs::remove_file(self.folder.0.join(name));
        }
    }
}

impl StateFolder {
    /// The folder at a path.
    pub fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where the mesh logs.
    pub fn log(&self) -> PathBuf {
        self.0.join("mizzen.log")
    }

    /// Takes the folder for a mesh run by this process.
    pub fn take(&self) -> anyhow::Result<Running> {
        let path = self.0.display();
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0)
            .with_context(|| format!("cannot make the state folder {path}; choose another with --state"))?;
        let Some(lock) = self.lock()? else {
            let process = self.process().map(|process| format!(" (process {process})")).unwrap_or_default();
            bail!(
                "a mesh{process} is already running with the state in {path}; stop it with `mizzen down`, or start \
                 another one with --state DIR"
            );
        };
        let _ = fs::remove_file(self.0.join("summary.json"));
        fs::write(self.0.join("process"), std::process::id().to_string())
            .with_context(|| format!("cannot write to the state folder {path}"))?;
        Ok(Running { _lock: lock, folder: self.clone() })
    }

    /// The lock, or nothing if a mesh holds it.
    fn lock(&self) -> anyhow::Result<Option<Flock<File>>> {
        let path = self.0.join("lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let file = file.with_context(|| format!("cannot open {}", path.display()))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Some(lock)),
            Err((_, Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
        }
    }

    fn process(&self) -> Option<i32> {
        fs::read_to_string(self.0.join("process")).ok()?.trim().parse().ok()
    }

    /// The process of the running mesh, if one runs.
    pub fn running(&self) -> Option<i32> {
        if !self.0.join("lock").exists() {
            return None;
        }
        // A lock that can be had means that nobody runs; one that cannot be tried says nothing.
        match self.lock() {
            Ok(None) => self.process(),
            _ => None,
        }
    }

    /// Asks the mesh to end and waits until it has; insists after a while.
    pub async fn stop(&self, process: i32) -> anyhow::Result<()> {
        let process = Pid::from_raw(process);
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            match kill(process, signal) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(error) => {
                    return Err(error)
                        .with_context(|| format!("cannot stop process {process}; is it another user's?"));
                }
            }
            if tokio::time::timeout(PATIENCE, self.released()).await.is_ok() {
                return Ok(());
            }
        }
        bail!("process {process} does not end")
    }

    async fn released(&self) {
        while self.running().is_some() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Keeps what the mesh says of itself.
    pub fn keep_summary(&self, summary: &NodeSummary) -> anyhow::Result<()> {
        let (path, next) = (self.0.join("summary.json"), self.0.join("summary.json.next"));
        fs::write(&next, serde_json::to_vec(summary)?)?;
        Ok(fs::rename(next, path)?)
    }

    /// What the mesh says of itself, once it is up.
    pub fn summary(&self) -> Option<NodeSummary> {
        serde_json::from_slice(&fs::read(self.0.join("summary.json")).ok()?).ok()
    }

    /// A client of the mesh's API.
    pub async fn client(&self) -> anyhow::Result<kube::Client> {
        let path = self.0.join("kubeconfig");
        let file = Kubeconfig::read_from(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
        Ok(kube::Client::try_from(config)?)
    }
}

#[cfg(test)]
#[path = "folder_tests.rs"]
mod tests;
