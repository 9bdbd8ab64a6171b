//! What the API server asks of the node: logs, commands and connections.

use std::io;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use mizzen_apiserver::{
    AsyncReadWrite, AttachRequest, ByteStream, ExecRequest, ExecSession, LogRequest, NodeError, NodeRuntime,
    PodRef,
};
use mizzen_net::ConnectOptions;
use nix::sys::signal::Signal;
use tokio::process::Child;
use tokio_util::io::ReaderStream;

use super::Pods;
use super::attach::{Main, Terminal};
use super::context::PodContext;
use super::image::Program;
use super::process::{self, Group, Place, Streams};

/// Serves the pods of the node.
pub struct PodRuntime {
    pods: Pods,
}

impl PodRuntime {
    /// Serves these pods.
    pub fn new(pods: Pods) -> Self {
        Self { pods }
    }

    fn pod(&self, pod: &PodRef) -> Result<Arc<PodContext>, NodeError> {
        let found = self.pods.find(&pod.namespace, &pod.name).filter(|found| found.uid == pod.uid);
        found.ok_or_else(|| NodeError::Failed(format!("pod \"{}\" does not run on this node", pod.name)))
    }

    fn running(&self, pod: &PodRef, container: &str) -> Result<(Place, Main), NodeError> {
        let context = self.pod(pod)?;
        let running = context.running.lock().get(container).cloned();
        running.ok_or_else(|| NodeError::NotRunning {
            container: container.to_owned(),
            pod: pod.name.clone(),
            reason: "not running".to_owned(),
        })
    }

    fn log(&self, request: &LogRequest) -> Result<ByteStream, NodeError> {
        let logs = self.pod(&request.pod)?.logs.lock().get(&request.container).cloned().unwrap_or_default();
        let (container, pod) = (request.container.clone(), request.pod.name.clone());
        let log = if request.previous {
            logs.previous.ok_or(NodeError::NoPreviousContainer { container, pod })?
        } else {
            let reason = "waiting to start: ContainerCreating".to_owned();
            logs.current.ok_or(NodeError::NotRunning { container, pod, reason })?
        };
        log.read(request).map_err(|error| NodeError::Failed(format!("cannot read the log: {error}")))
    }

    async fn dial(&self, pod: &PodRef, port: u16) -> Result<Box<dyn AsyncReadWrite>, NodeError> {
        let context = self.pod(pod)?;
        let network = context.running.lock().values().find_map(|(place, _)| place.placement.network.clone());
        let network =
            network.ok_or_else(|| NodeError::Failed(format!("no container of pod \"{}\" runs", pod.name)))?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let connected = network.connect(address, &ConnectOptions::default()).await;
        let stream = connected.map_err(|error| NodeError::CannotConnect {
            pod: pod.name.clone(),
            port,
            reason: error.to_string(),
        })?;
        Ok(Box::new(stream))
    }
}

impl NodeRuntime for PodRuntime {
    fn logs(&self, request: LogRequest) -> BoxFuture<'_, Result<ByteStream, NodeError>> {
        Box::pin(async move { self.log(&request) })
    }

    fn exec(&self, request: ExecRequest) -> BoxFuture<'_, Result<ExecSession, NodeError>> {
        Box::pin(async move {
            let (place, _) = self.running(&request.pod, &request.container)?;
            let started =
                if request.tty { with_terminal(place, &request) } else { with_pipes(&place, &request) };
            started.map_err(|error| NodeError::CannotStart {
                command: request.command.first().cloned().unwrap_or_default(),
                reason: error.to_string(),
            })
        })
    }

    fn connect(&self, pod: PodRef, port: u16) -> BoxFuture<'_, Result<Box<dyn AsyncReadWrite>, NodeError>> {
        Box::pin(async move { self.dial(&pod, port).await })
    }

    fn attach(&self, request: AttachRequest) -> BoxFuture<'_, Result<ExecSession, NodeError>> {
        Box::pin(async move {
            let (_, main) = self.running(&request.pod, &request.container)?;
            main.attach(&request)
        })
    }
}

fn start(place: &Place, command: &[String], streams: Streams) -> io::Result<Child> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no command is given"));
    };
    // The program that an image of ours holds goes by this name inside it.
    let program = if program == "mizzen" { Program::Own } else { Program::Host(program.clone()) };
    process::start(place, &program, arguments, streams)
}

fn with_pipes(place: &Place, request: &ExecRequest) -> io::Result<ExecSession> {
    let pipe = |wanted: bool| if wanted { Stdio::piped() } else { Stdio::null() };
    let streams =
        Streams { stdin: pipe(request.stdin), stdout: pipe(request.stdout), stderr: pipe(request.stderr) };
    let mut child = start(place, &request.command, streams)?;
    let stdin = child.stdin.take().map(|stdin| Box::new(stdin) as Box<_>);
    let stdout = child.stdout.take().map(|stdout| ReaderStream::new(stdout).boxed());
    let stderr = child.stderr.take().map(|stderr| ReaderStream::new(stderr).boxed());
    Ok(ExecSession { stdin, stdout, stderr, resize: None, exit: wait(child) })
}

fn with_terminal(mut place: Place, request: &ExecRequest) -> io::Result<ExecSession> {
    let terminal = Terminal::open()?;
    place.placement.terminal = true;
    place.environment.entry("TERM".to_owned()).or_insert_with(|| "xterm".to_owned());
    let child = start(&place, &request.command, terminal.streams()?)?;
    let (reader, writer) = (terminal.side()?, terminal.side()?);
    // A terminal whose last program is gone gives an error instead of an end.
    let output = ReaderStream::new(reader).take_while(|part| std::future::ready(part.is_ok()));
    let stdin = request.stdin.then(|| Box::new(writer) as Box<_>);
    Ok(ExecSession {
        stdin,
        stdout: Some(output.boxed()),
        stderr: None,
        resize: Some(terminal.follow_size()),
        exit: wait(child),
    })
}

/// Waits for the command; dropped before its end, it ends the command.
fn wait(mut child: Child) -> BoxFuture<'static, Result<i32, NodeError>> {
    struct EndWithSession(Option<Group>);
    impl Drop for EndWithSession {
        fn drop(&mut self) {
            if let Some(group) = self.0 {
                group.signal(Signal::SIGKILL);
            }
        }
    }
    let end = EndWithSession(Group::of(&child));
    Box::pin(async move {
        let status = child.wait().await.map_err(|error| NodeError::Failed(error.to_string()))?;
        // Also what the command left in its group goes now.
        drop(end);
        Ok(process::exit_code(status).0)
    })
}
