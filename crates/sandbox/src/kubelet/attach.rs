//! The streams of a container's main process: into its log, and to the clients that attach.

use std::io;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::Arc;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Container;
use mizzen_apiserver::{AttachRequest, ByteStream, ExecSession, NodeError, TerminalSize};
use mizzen_net::process::resize_terminal;
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio::process::Child;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

use super::image::Launch;
use super::logs::Log;
use super::process::{self, Place, Streams};

/// Bytes of input that may wait for the process, for each client.
const PENDING_INPUT: usize = 16 * 1024;

type Input = Box<dyn AsyncWrite + Send + Unpin>;

/// A main process as clients join it.
#[derive(Clone)]
pub struct Main {
    log: Arc<Log>,
    /// Until somebody has closed it for good; `None` outside for a container without `stdin`.
    input: Option<Arc<Mutex<Option<Input>>>>,
    /// `stdinOnce`: the first client to leave closes the input.
    input_once: bool,
    /// Where sizes of the terminal go, for a container with `tty`.
    resize: Option<mpsc::Sender<TerminalSize>>,
}

/// A main process that has been started.
pub struct Started {
    /// The process.
    pub child: Child,
    /// What copies its streams into its log.
    pub copies: Vec<JoinHandle<()>>,
    /// How clients join it.
    pub main: Main,
}

/// Starts a container's main process.
pub fn start(
    mut place: Place,
    launch: &Launch,
    container: &Container,
    log: &Arc<Log>,
) -> io::Result<Started> {
    let wants_input = container.stdin == Some(true);
    let run = |place: &Place, streams| process::start(place, &launch.program, &launch.arguments, streams);
    let mut copies = Vec::new();
    let (child, input, resize) = if container.tty == Some(true) {
        let terminal = Terminal::open()?;
        place.placement.terminal = true;
        place.environment.entry("TERM".to_owned()).or_insert_with(|| "xterm".to_owned());
        let child = run(&place, terminal.streams()?)?;
        copies.push(tokio::spawn(log.clone().copy("stdout", terminal.side()?)));
        let input = if wants_input { Some(Box::new(terminal.side()?) as Input) } else { None };
        (child, input, Some(terminal.follow_size()))
    } else {
        let stdin = if wants_input { Stdio::piped() } else { Stdio::null() };
        let streams = Streams { stdin, stdout: Stdio::piped(), stderr: Stdio::piped() };
        let mut child = run(&place, streams)?;
        copies.extend(child.stdout.take().map(|stdout| tokio::spawn(log.clone().copy("stdout", stdout))));
        copies.extend(child.stderr.take().map(|stderr| tokio::spawn(log.clone().copy("stderr", stderr))));
        let input = child.stdin.take().map(|stdin| Box::new(stdin) as Input);
        (child, input, None)
    };
    let main = Main {
        log: log.clone(),
        input: input.map(|input| Arc::new(Mutex::new(Some(input)))),
        input_once: container.stdin_once == Some(true),
        resize,
    };
    Ok(Started { child, copies, main })
}

impl Main {
    /// Joins a client to the process: what it writes from now on, and its input.
    pub fn attach(&self, request: &AttachRequest) -> Result<ExecSession, NodeError> {
        let refused = |reason: &str| NodeError::NotRunning {
            container: request.container.clone(),
            pod: request.pod.name.clone(),
            reason: reason.to_owned(),
        };
        if request.tty && self.resize.is_none() {
            return Err(refused("without a terminal: it was not started with tty: true"));
        }
        let stdin = match (&self.input, request.stdin) {
            (_, false) => None,
            (Some(input), true) => Some(self.hand_over(input)),
            (None, true) => return Err(refused("without input: it was not started with stdin: true")),
        };
        let stream = |wanted: bool, name| -> Result<Option<ByteStream>, NodeError> {
            let ended = || refused("not running");
            Ok(if wanted { Some(self.log.listen(name).ok_or_else(ended)?) } else { None })
        };
        let log = self.log.clone();
        Ok(ExecSession {
            stdin,
            stdout: stream(request.stdout, "stdout")?,
            stderr: stream(request.stderr, "stderr")?,
            resize: self.resize.clone().filter(|_| request.tty),
            // How the process ended is in the pod's status; the client only learns that it did.
            exit: Box::pin(async move {
                log.closed().await;
                Ok(0)
            }),
        })
    }

    /// Where a client's input goes. Several clients take turns, piece by piece.
    fn hand_over(&self, input: &Arc<Mutex<Option<Input>>>) -> Input {
        let (near, far) = tokio::io::duplex(PENDING_INPUT);
        let (input, once) = (input.clone(), self.input_once);
        tokio::spawn(async move {
            copy_input(far, &input).await;
            if once {
                // Dropped, which closes it.
                input.lock().await.take();
            }
        });
        Box::new(near)
    }
}

async fn copy_input(mut from: DuplexStream, input: &Mutex<Option<Input>>) {
    let mut buffer = vec![0; PENDING_INPUT];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let mut input = input.lock().await;
        let (Some(open), Some(data)) = (input.as_mut(), buffer.get(..count)) else { return };
        if open.write_all(data).await.is_err() || open.flush().await.is_err() {
            // The process reads no more.
            return;
        }
    }
}

/// A terminal for a process.
pub struct Terminal {
    master: OwnedFd,
    slave: OwnedFd,
}

impl Terminal {
    /// A new one.
    pub fn open() -> io::Result<Self> {
        let pair = nix::pty::openpty(None, None)?;
        Ok(Self { master: pair.master, slave: pair.slave })
    }

    /// The process's side.
    pub fn streams(&self) -> io::Result<Streams> {
        let slave = || self.slave.try_clone().map(Stdio::from);
        Ok(Streams { stdin: slave()?, stdout: slave()?, stderr: slave()? })
    }

    /// Our side, to read from or to write to. Once the last process is gone, reading gives an error instead of an end.
    pub fn side(&self) -> io::Result<tokio::fs::File> {
        Ok(tokio::fs::File::from_std(self.master.try_clone()?.into()))
    }

    /// Tells the terminal the sizes that arrive. The process's side is closed here: it has its own.
    pub fn follow_size(self) -> mpsc::Sender<TerminalSize> {
        let (sender, mut sizes) = mpsc::channel::<TerminalSize>(4);
        let master = self.master;
        tokio::spawn(async move {
            while let Some(size) = sizes.recv().await {
                if let Err(error) = resize_terminal(&master, size.height, size.width) {
                    tracing::debug!(%error, "a terminal keeps its size");
                }
            }
        });
        sender
    }
}

/// What a client hears of a stream: all that is written from now on.
pub fn output(pieces: impl futures::Stream<Item = Result<bytes::Bytes, u64>> + Send + 'static) -> ByteStream {
    let told = pieces.map(|piece| {
        Ok(piece.unwrap_or_else(|missed| {
            format!("\r\n[{missed} pieces of output are missing: this client reads too slowly]\r\n").into()
        }))
    });
    told.boxed()
}

#[cfg(test)]
#[path = "attach_tests.rs"]
mod tests;
