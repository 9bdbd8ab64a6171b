//! The processes around the simulated proxies: the API and the control plane.

use crate::measure::{Cpu, Memory};
use anyhow::Context as _;
use mizzen_apiserver::{ApiServer, NoNode, ServerConfig};
use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

const POLL: Duration = Duration::from_millis(10);
const KUBECONFIG: &str = "kubeconfig";

/// An embedded API in a process of its own; ends with this.
pub struct ApiProcess {
    /// How to reach it.
    pub kubeconfig: PathBuf,
    _process: Child,
    _folder: tempfile::TempDir,
}

impl ApiProcess {
    /// Starts one with nothing in it.
    pub async fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut process = Command::new(std::env::current_exe()?)
            .arg("api")
            .arg(folder.path())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start the API")?;
        let kubeconfig = folder.path().join(KUBECONFIG);
        while !kubeconfig.exists() {
            if let Some(status) = process.try_wait()? {
                anyhow::bail!("the API has ended with {status}");
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(Self { kubeconfig, _process: process, _folder: folder })
    }
}

/// Serves an API until the process is ended, and writes its kubeconfig into `folder`.
pub fn serve_api(folder: &Path) -> anyhow::Result<()> {
    mizzen_identity::install_crypto_provider();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("https://{}", listener.local_addr()?);
        let config = ServerConfig::new(folder.join("state"), vec![listener], Arc::new(NoNode));
        let server = ApiServer::start(config).await?;
        // Under its name it is there as a whole.
        let unfinished = folder.join("kubeconfig.unfinished");
        std::fs::write(&unfinished, server.kubeconfig(&url))?;
        std::fs::rename(unfinished, folder.join(KUBECONFIG))?;
        std::future::pending::<()>().await;
        Ok(())
    })
}

/// `mizzen control` in a process of its own; ends with this.
pub struct ControlPlane {
    program: PathBuf,
    kubeconfig: PathBuf,
    log: PathBuf,
    ports: Ports,
    process: Child,
}

/// Where it listens.
#[derive(Clone, Copy)]
struct Ports {
    discovery: SocketAddr,
    webhooks: SocketAddr,
    monitoring: SocketAddr,
    readiness: SocketAddr,
}

/// What the control plane has used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Processor time since its start.
    pub cpu: Cpu,
    /// Memory now.
    pub memory: Memory,
}

impl ControlPlane {
    /// Starts `program` and waits until it serves discovery. Its output goes to the file `log`.
    pub async fn start(program: &Path, kubeconfig: &Path, log: &Path) -> anyhow::Result<Self> {
        File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let ports = Ports {
            discovery: free_address()?,
            webhooks: free_address()?,
            monitoring: free_address()?,
            readiness: free_address()?,
        };
        let process = spawn(program, kubeconfig, log, ports)?;
        let (program, kubeconfig, log) = (program.to_owned(), kubeconfig.to_owned(), log.to_owned());
        let mut this = Self { program, kubeconfig, log, ports, process };
        this.ready().await?;
        Ok(this)
    }

    /// Where it serves discovery over TLS.
    pub fn discovery(&self) -> SocketAddr {
        self.ports.discovery
    }

    /// Ends it without a word and starts it again, without waiting until it serves.
    pub async fn replace(&mut self) -> anyhow::Result<()> {
        self.process.kill().await?;
        self.process = spawn(&self.program, &self.kubeconfig, &self.log, self.ports)?;
        Ok(())
    }

    /// What it uses.
    pub fn usage(&self) -> anyhow::Result<Usage> {
        let process = self.process.id().context("the control plane has ended; see its log")?;
        Ok(Usage { cpu: Cpu::of(process)?, memory: Memory::of(process)? })
    }

    /// Waits until it serves discovery.
    pub async fn ready(&mut self) -> anyhow::Result<()> {
        while TcpStream::connect(self.ports.discovery).await.is_err() {
            if let Some(status) = self.process.try_wait()? {
                anyhow::bail!("the control plane has ended with {status}; see {}", self.log.display());
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }
}

fn spawn(program: &Path, kubeconfig: &Path, log: &Path, ports: Ports) -> anyhow::Result<Child> {
    let log = File::options().append(true).open(log)?;
    Command::new(program)
        .arg("control")
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(["--grpc-addr", "", "--log-level", "warn"])
        .args(["--secure-grpc-addr", &ports.discovery.to_string()])
        .args(["--https-addr", &ports.webhooks.to_string()])
        .args(["--monitoring-addr", &ports.monitoring.to_string()])
        .args(["--http-addr", &ports.readiness.to_string()])
        .stdin(std::process::Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| {
            format!("cannot start {}; build mizzen-cli or name it with --mizzen", program.display())
        })
}

fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
