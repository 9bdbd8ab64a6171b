//! A server on loopback with a fake node, and kubectl to drive it.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use mizzen_apiserver::{
    ApiServer, AsyncReadWrite, AttachRequest, ByteStream, ExecRequest, ExecSession, LogRequest, NodeError,
    NodeRuntime, PodRef, RunningApiServer, ServerConfig,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[path = "../../../../tests/support/kubectl.rs"]
pub mod kubectl;

/// Where nothing listens in the pods of the fake node.
pub const REFUSED_PORT: u16 = 81;

/// A node whose containers log two lines, whose commands echo, and whose ports answer with what they are sent.
pub struct FakeNode;

fn once(text: String) -> ByteStream {
    futures::stream::iter([Ok(Bytes::from(text))]).boxed()
}

impl NodeRuntime for FakeNode {
    fn logs(&self, request: LogRequest) -> BoxFuture<'_, Result<ByteStream, NodeError>> {
        Box::pin(async move {
            if request.previous {
                return Err(NodeError::NoPreviousContainer {
                    container: request.container,
                    pod: request.pod.name,
                });
            }
            let lines = ["first line\n", "second line\n"];
            let skip = request.tail_lines.map_or(0, |lines| 2_usize.saturating_sub(lines as usize));
            Ok(once(lines[skip..].concat()))
        })
    }

    fn exec(&self, request: ExecRequest) -> BoxFuture<'_, Result<ExecSession, NodeError>> {
        Box::pin(async move {
            let code = i32::from(request.command.first().is_some_and(|program| program == "false")) * 3;
            let (stdin, mut input) = tokio::io::duplex(1024);
            let wants_input = request.stdin;
            let words = request.command.join(" ");
            let stdout = futures::stream::once(async move {
                let mut text = format!("{words}\n");
                if wants_input {
                    let mut read = String::new();
                    input.read_to_string(&mut read).await?;
                    text.push_str(&read);
                }
                Ok(Bytes::from(text))
            });
            Ok(ExecSession {
                stdin: wants_input.then(|| Box::new(stdin) as Box<dyn tokio::io::AsyncWrite + Send + Unpin>),
                stdout: Some(stdout.boxed()),
                stderr: None,
                resize: None,
                exit: Box::pin(async move { Ok(code) }),
            })
        })
    }

    fn attach(&self, request: AttachRequest) -> BoxFuture<'_, Result<ExecSession, NodeError>> {
        Box::pin(async move {
            Ok(ExecSession {
                stdin: None,
                stdout: Some(once(format!("attached to {}\n", request.container))),
                stderr: None,
                resize: None,
                exit: Box::pin(async { Ok(0) }),
            })
        })
    }

    fn connect(&self, pod: PodRef, port: u16) -> BoxFuture<'_, Result<Box<dyn AsyncReadWrite>, NodeError>> {
        Box::pin(async move {
            if port == REFUSED_PORT {
                let reason = "Connection refused".to_owned();
                return Err(NodeError::CannotConnect { pod: pod.name, port, reason });
            }
            let (near, mut far) = tokio::io::duplex(1024);
            tokio::spawn(async move {
                let mut buffer = [0; 256];
                while let Ok(count @ 1..) = far.read(&mut buffer).await {
                    let mut answer = format!("{port}:").into_bytes();
                    answer.extend_from_slice(&buffer[..count]);
                    if far.write_all(&answer).await.is_err() {
                        return;
                    }
                }
            });
            Ok(Box::new(near) as Box<dyn AsyncReadWrite>)
        })
    }
}

/// A running server and where its files are.
pub struct Cluster {
    pub server: RunningApiServer,
    pub url: String,
    pub folder: tempfile::TempDir,
    pub kubeconfig: PathBuf,
    /// What `kubectl` runs.
    pub program: PathBuf,
}

pub async fn start() -> Cluster {
    start_in(tempfile::tempdir().unwrap()).await
}

pub async fn start_in(folder: tempfile::TempDir) -> Cluster {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let config = ServerConfig::new(folder.path().join("state"), vec![listener], Arc::new(FakeNode));
    let server = ApiServer::start(config).await.unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, server.kubeconfig(&url)).unwrap();
    Cluster { server, url, folder, kubeconfig, program: "kubectl".into() }
}

impl Cluster {
    pub async fn client(&self) -> kube::Client {
        // Another process-wide provider is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let config = kube::config::Kubeconfig::from_yaml(&self.server.kubeconfig(&self.url)).unwrap();
        let config = kube::Config::from_custom_kubeconfig(config, &Default::default()).await.unwrap();
        kube::Client::try_from(config).unwrap()
    }

    /// kubectl with what it needs to find the server.
    pub fn kubectl_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .arg("--cache-dir")
            .arg(self.folder.path().join("cache"))
            .args(arguments);
        command
    }

    pub async fn kubectl(&self, arguments: &[&str]) -> Run {
        self.kubectl_with_input(arguments, "").await
    }

    /// Runs kubectl with its standard input.
    pub async fn kubectl_with_input(&self, arguments: &[&str], input: &str) -> Run {
        let file = self.folder.path().join("input");
        std::fs::write(&file, input).unwrap();
        let mut command = self.kubectl_command(arguments);
        command.stdin(std::fs::File::open(&file).unwrap());
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        Run::new(arguments, output)
    }
}

/// What a kubectl command said.
#[derive(Debug)]
pub struct Run {
    pub command: String,
    pub ok: bool,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    fn new(arguments: &[&str], output: Output) -> Run {
        Run {
            command: arguments.join(" "),
            ok: output.status.success(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    #[track_caller]
    pub fn says(self, expected: &str) -> Run {
        assert!(
            self.ok && self.stdout.contains(expected),
            "kubectl {}\n{expected:?} is not in\n{self:#?}",
            self.command
        );
        self
    }

    #[track_caller]
    pub fn fails_with(self, expected: &str) -> Run {
        assert!(
            !self.ok && self.stderr.contains(expected),
            "kubectl {}\n{expected:?} is not in\n{self:#?}",
            self.command
        );
        self
    }
}

/// Whether kubectl is there; says so if not, because a test that is skipped must not look like one that passed.
pub fn has_kubectl() -> bool {
    let found = kubectl::on_path().is_some();
    if !found {
        println!("SKIPPED: kubectl is not on PATH (1 test counted as skipped)");
    }
    found
}
