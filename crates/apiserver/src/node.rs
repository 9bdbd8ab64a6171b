//! What the API server asks of the machine that runs the pods: logs, commands and connections.
//!
//! Everything else between the API server and a kubelet goes through the Kubernetes API itself. These three are streams
//! that a cluster's API server proxies to the kubelet's own port; here the kubelet lives in the same process.

use std::io;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

/// A stream of raw bytes, ended by the end of the stream or by an error.
pub type ByteStream = BoxStream<'static, io::Result<Bytes>>;

/// A two-way byte connection, as `port-forward` relays it.
pub trait AsyncReadWrite: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> AsyncReadWrite for T {}

/// Which pod a request is about. The pod existed in the store when the request was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodRef {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub name: String,
    /// `metadata.uid`, which tells a pod from an earlier one of the same name.
    pub uid: String,
}

/// `GET …/pods/NAME/log` (PodLogOptions).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRequest {
    /// Whose log.
    pub pod: PodRef,
    /// Container (or init container), already resolved: a name that is in the pod's spec.
    pub container: String,
    /// Keep the stream open and send what is written later.
    pub follow: bool,
    /// The log of the container's previous run.
    pub previous: bool,
    /// Only this many lines from the end; all lines if absent.
    pub tail_lines: Option<u64>,
    /// Only lines written at or after this time.
    pub since: Option<jiff::Timestamp>,
    /// Put an RFC 3339 timestamp with nanoseconds and a space before each line.
    pub timestamps: bool,
    /// Send no more than this many bytes. The server cuts too, so ignoring it only wastes work.
    pub limit_bytes: Option<u64>,
}

/// `exec` of a command in a running container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecRequest {
    /// In which pod.
    pub pod: PodRef,
    /// In which container, already resolved.
    pub container: String,
    /// The program and its arguments; never empty.
    pub command: Vec<String>,
    /// The client will send standard input.
    pub stdin: bool,
    /// The client wants standard output.
    pub stdout: bool,
    /// The client wants standard error; never with `tty`, whose output is all in `stdout`.
    pub stderr: bool,
    /// Give the command a terminal.
    pub tty: bool,
}

/// `attach` to a container's main process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachRequest {
    /// To which pod.
    pub pod: PodRef,
    /// To which container, already resolved.
    pub container: String,
    /// The client will send standard input.
    pub stdin: bool,
    /// The client wants standard output.
    pub stdout: bool,
    /// The client wants standard error.
    pub stderr: bool,
    /// The container has a terminal and the client knows.
    pub tty: bool,
}

/// Size of a client's terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalSize {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// A running command: its streams and how it ends. Dropping it must end the command.
pub struct ExecSession {
    /// Where the client's input goes; dropped when the client closes its input. `None` if none was asked for.
    pub stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// What the command writes to standard output.
    pub stdout: Option<ByteStream>,
    /// What the command writes to standard error.
    pub stderr: Option<ByteStream>,
    /// Where the client's terminal sizes go; `None` without a terminal.
    pub resize: Option<mpsc::Sender<TerminalSize>>,
    /// The exit code (128 + signal for a killed command), once the command has ended.
    pub exit: BoxFuture<'static, Result<i32, NodeError>>,
}

/// Why a node could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The container is known but there is nothing to act on yet or any more; answered with 400 as a kubelet does.
    #[error("container {container:?} in pod {pod:?} is {reason}")]
    NotRunning {
        /// Container asked for.
        container: String,
        /// Pod asked for.
        pod: String,
        /// For example `waiting to start: ContainerCreating` or `not running`.
        reason: String,
    },
    /// There is no earlier run of the container.
    #[error("previous terminated container {container:?} in pod {pod:?} not found")]
    NoPreviousContainer {
        /// Container asked for.
        container: String,
        /// Pod asked for.
        pod: String,
    },
    /// The command could not be started.
    #[error("cannot start {command:?}: {reason}")]
    CannotStart {
        /// The program asked for.
        command: String,
        /// Why, in the operating system's words.
        reason: String,
    },
    /// The port could not be connected to.
    #[error("cannot connect to port {port} of pod {pod:?}: {reason}")]
    CannotConnect {
        /// Pod asked for.
        pod: String,
        /// Port inside the pod.
        port: u16,
        /// Why, in the operating system's words.
        reason: String,
    },
    /// This node does not do that.
    #[error("{0} is not supported on this node")]
    Unsupported(&'static str),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

/// The part of a kubelet that the API server calls. Implemented by the sandbox; by fakes in tests.
pub trait NodeRuntime: Send + Sync + 'static {
    /// The log of a container.
    fn logs(&self, request: LogRequest) -> BoxFuture<'_, Result<ByteStream, NodeError>>;

    /// Starts a command in a container.
    fn exec(&self, request: ExecRequest) -> BoxFuture<'_, Result<ExecSession, NodeError>>;

    /// Connects to a TCP port on the pod's loopback address, as `port-forward` does.
    fn connect(&self, pod: PodRef, port: u16) -> BoxFuture<'_, Result<Box<dyn AsyncReadWrite>, NodeError>>;

    /// Joins the streams of a container's main process. Refused unless a node supports it.
    fn attach(&self, request: AttachRequest) -> BoxFuture<'_, Result<ExecSession, NodeError>> {
        let _ = request;
        Box::pin(async { Err(NodeError::Unsupported("attach")) })
    }
}

/// A node that runs no pods, for an API that only keeps objects: each request is refused.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoNode;

impl NodeRuntime for NoNode {
    fn logs(&self, _: LogRequest) -> BoxFuture<'_, Result<ByteStream, NodeError>> {
        Box::pin(async { Err(NodeError::Unsupported("logs")) })
    }

    fn exec(&self, _: ExecRequest) -> BoxFuture<'_, Result<ExecSession, NodeError>> {
        Box::pin(async { Err(NodeError::Unsupported("exec")) })
    }

    fn connect(&self, _: PodRef, _: u16) -> BoxFuture<'_, Result<Box<dyn AsyncReadWrite>, NodeError>> {
        Box::pin(async { Err(NodeError::Unsupported("connect")) })
    }
}
