//! The node's process and the portal to it.

use super::folder::StateFolder;
use anyhow::{Context as _, bail};
use mizzen_sandbox::controllers::PublishedPort;
use mizzen_sandbox::node::NodeSummary;
use mizzen_sandbox::portal::{FromNode, PortalServer};
use std::fs::OpenOptions;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// How long the node may take to end in order.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running node.
pub struct Machine {
    child: Child,
    portal: Arc<PortalServer>,
    serving: JoinHandle<()>,
    told: mpsc::UnboundedReceiver<FromNode>,
    folder: StateFolder,
}

impl Machine {
    /// Starts the node. Must be called on the main thread: the node dies with the thread that
    /// started it.
    pub fn start(
        folder: &StateFolder,
        images: &[(String, String)],
        publish: &[PublishedPort],
    ) -> anyhow::Result<Self> {
        let (node_end, own_end) = mizzen_net::descriptors::pair()?;
        let log = OpenOptions::new().create(true).append(true).open(folder.log())?;
        let mut command = Command::new("/proc/self/exe");
        command.arg0("mizzen").arg("node").arg("--state").arg(folder.path());
        for (name, line) in images {
            command.args(["--image", &format!("{name}={line}")]);
        }
        for port in publish {
            command.args(["--publish", &format!("{}:{}", port.host_port, port.service_port)]);
        }
        command.stdin(Stdio::from(node_end)).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        let child = command.spawn().context("cannot start the sandbox")?;
        let portal = Arc::new(PortalServer::new(own_end)?);
        let (teller, told) = mpsc::unbounded_channel();
        let server = portal.clone();
        let serving = tokio::spawn(async move {
            if let Err(error) = server.serve(teller).await {
                tracing::warn!(%error, "the portal broke");
            }
        });
        Ok(Self { child, portal, serving, told, folder: folder.clone() })
    }

    /// Waits until the API answers; `progress` gets a line for each step.
    pub async fn ready(&mut self, progress: impl Fn(String)) -> anyhow::Result<NodeSummary> {
        while let Some(message) = self.told.recv().await {
            match message {
                FromNode::Progress(line) => progress(line),
                FromNode::Ready(summary) => return Ok(serde_json::from_value(summary)?),
                FromNode::Failed(reason) => bail!("{reason}"),
                FromNode::Request { .. } => {}
            }
        }
        bail!("the sandbox ended while it started; {} may tell why", self.folder.log().display())
    }

    /// Resolves when the node has ended without having been asked to.
    pub async fn broken(&mut self) -> anyhow::Error {
        loop {
            match self.told.recv().await {
                Some(FromNode::Failed(reason)) => return anyhow::anyhow!("{reason}"),
                Some(_) => {}
                None => {
                    let log = self.folder.log();
                    return anyhow::anyhow!("the sandbox ended; {} may tell why", log.display());
                }
            }
        }
    }

    /// Ends the node in order, and by force if that takes too long. Everything inside goes with it.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        // A node that is gone cannot be told, and need not be.
        let _ = self.portal.stop().await;
        if tokio::time::timeout(PATIENCE, self.child.wait()).await.is_err() {
            self.child.kill().await?;
        }
        self.serving.abort();
        Ok(())
    }
}
