//! Copying between two streams in both directions, with half-close: when one side ends, the other
//! is told so and may go on sending.
//!
//! Two plain TCP sockets are copied inside the kernel by `splice(2)`. A direction starts with a
//! small buffer and gets its pipe only when it has moved enough to pay for one, so short
//! exchanges cost no extra descriptors. Streams that are not sockets (TLS) go through a buffer that
//! grows with the traffic.

use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::fcntl::{OFlag, SpliceFFlags, splice};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Bytes a direction copies through a buffer before it switches to `splice`.
const SPLICE_AFTER: u64 = 64 * 1024;
/// What one `splice` call may move; also the size asked for the pipe.
const SPLICE_CHUNK: usize = 256 * 1024;
const SMALLEST_BUFFER: usize = 8 * 1024;
const LARGEST_BUFFER: usize = 128 * 1024;

/// How to copy. The default has no idle timeout.
#[derive(Clone, Debug, Default)]
pub struct CopyOptions {
    /// Ends the copy with an error of kind `TimedOut` when no byte moved in either direction for
    /// this long.
    pub idle_timeout: Option<Duration>,
}

/// Bytes moved so far. Shared with whoever reports them while the copy runs, and right at its end
/// whatever that end is.
#[derive(Debug, Default)]
pub struct CopyCounters {
    /// From the first stream to the second.
    pub forward: AtomicU64,
    /// From the second stream to the first.
    pub backward: AtomicU64,
}

impl CopyCounters {
    /// Both counts, forward first.
    pub fn totals(&self) -> (u64, u64) {
        (self.forward.load(Ordering::Relaxed), self.backward.load(Ordering::Relaxed))
    }
}

/// When a byte last moved, in milliseconds since the copy began.
struct Activity {
    began: Instant,
    last: AtomicU64,
}

impl Activity {
    fn new() -> Self {
        Self { began: Instant::now(), last: AtomicU64::new(0) }
    }

    fn moved(&self, bytes: usize, counter: &AtomicU64) {
        counter.fetch_add(bytes as u64, Ordering::Relaxed);
        self.last.store(self.began.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// Resolves once nothing moved for `timeout`.
    async fn idle(&self, timeout: Option<Duration>) {
        let Some(timeout) = timeout else { return std::future::pending().await };
        loop {
            let last = self.began + Duration::from_millis(self.last.load(Ordering::Relaxed));
            let deadline = last + timeout;
            if deadline <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(deadline).await;
        }
    }
}

/// Copies between two TCP sockets until both have ended, and returns the bytes moved (forward,
/// backward). On an error the counters still hold what was moved.
pub async fn copy_bidirectional(
    first: &TcpStream,
    second: &TcpStream,
    options: &CopyOptions,
    counters: &CopyCounters,
) -> io::Result<(u64, u64)> {
    let activity = Activity::new();
    let both = async {
        tokio::try_join!(
            copy_socket(first, second, &counters.forward, &activity),
            copy_socket(second, first, &counters.backward, &activity),
        )
    };
    until_idle(both, &activity, options).await?;
    Ok(counters.totals())
}

/// As [`copy_bidirectional`] for any streams, through buffers.
pub async fn copy_bidirectional_buffered<A, B>(
    first: &mut A,
    second: &mut B,
    options: &CopyOptions,
    counters: &CopyCounters,
) -> io::Result<(u64, u64)>
where
    A: AsyncRead + AsyncWrite + Unpin + ?Sized,
    B: AsyncRead + AsyncWrite + Unpin + ?Sized,
{
    let activity = Activity::new();
    let (first_read, first_write) = tokio::io::split(first);
    let (second_read, second_write) = tokio::io::split(second);
    let both = async {
        tokio::try_join!(
            copy_buffered(first_read, second_write, &counters.forward, &activity),
            copy_buffered(second_read, first_write, &counters.backward, &activity),
        )
    };
    until_idle(both, &activity, options).await?;
    Ok(counters.totals())
}

async fn until_idle(
    both: impl Future<Output = io::Result<((), ())>>,
    activity: &Activity,
    options: &CopyOptions,
) -> io::Result<()> {
    tokio::select! {
        biased;
        result = both => result.map(|_| ()),
        () = activity.idle(options.idle_timeout) => {
            Err(io::Error::new(io::ErrorKind::TimedOut, "idle timeout: no byte moved in either direction"))
        }
    }
}

/// One direction between sockets.
async fn copy_socket(
    from: &TcpStream,
    to: &TcpStream,
    counter: &AtomicU64,
    activity: &Activity,
) -> io::Result<()> {
    if !copy_socket_start(from, to, counter, activity).await? {
        match Pipe::new() {
            Ok(pipe) => copy_socket_spliced(from, to, &pipe, counter, activity).await?,
            // Out of descriptors or of pipe quota: slower, but the connection lives.
            Err(error) => {
                tracing::debug!(%error, "no pipe for splice, copying through a buffer");
                copy_socket_large(from, to, counter, activity).await?;
            }
        }
    }
    shutdown_write(to)
}

/// Copies through a small buffer until the end (true) or until it is worth a pipe (false).
async fn copy_socket_start(
    from: &TcpStream,
    to: &TcpStream,
    counter: &AtomicU64,
    activity: &Activity,
) -> io::Result<bool> {
    let mut buffer = vec![0; SMALLEST_BUFFER];
    let mut total = 0;
    while total < SPLICE_AFTER {
        let read = read_some(from, &mut buffer).await?;
        if read == 0 {
            return Ok(true);
        }
        write_all(to, buffer.get(..read).unwrap_or_default()).await?;
        activity.moved(read, counter);
        total += read as u64;
    }
    Ok(false)
}

async fn copy_socket_large(
    from: &TcpStream,
    to: &TcpStream,
    counter: &AtomicU64,
    activity: &Activity,
) -> io::Result<()> {
    let mut buffer = vec![0; LARGEST_BUFFER];
    loop {
        let read = read_some(from, &mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        write_all(to, buffer.get(..read).unwrap_or_default()).await?;
        activity.moved(read, counter);
    }
}

async fn read_some(from: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match from.try_read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => from.readable().await?,
            result => return result,
        }
    }
}

async fn write_all(to: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.try_write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => to.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

impl Pipe {
    fn new() -> io::Result<Self> {
        let (read, write) = nix::unistd::pipe2(OFlag::O_NONBLOCK | OFlag::O_CLOEXEC)?;
        // Over the user's quota the pipe keeps its default size, which works as well.
        let _ = nix::fcntl::fcntl(&write, nix::fcntl::FcntlArg::F_SETPIPE_SZ(SPLICE_CHUNK as i32));
        Ok(Self { read, write })
    }
}

async fn copy_socket_spliced(
    from: &TcpStream,
    to: &TcpStream,
    pipe: &Pipe,
    counter: &AtomicU64,
    activity: &Activity,
) -> io::Result<()> {
    let flags = SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK;
    loop {
        // The pipe is empty here, so "would block" can only mean that the socket has nothing.
        let mut held = from
            .async_io(Interest::READABLE, || Ok(splice(from, None, &pipe.write, None, SPLICE_CHUNK, flags)?))
            .await?;
        if held == 0 {
            return Ok(());
        }
        while held > 0 {
            // The pipe is not empty here, so "would block" can only mean a full send buffer.
            let sent = to
                .async_io(Interest::WRITABLE, || Ok(splice(&pipe.read, None, to, None, held, flags)?))
                .await?;
            if sent == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            held -= sent;
            activity.moved(sent, counter);
        }
    }
}

fn shutdown_write(to: &TcpStream) -> io::Result<()> {
    match SockRef::from(to).shutdown(Shutdown::Write) {
        // The peer reset meanwhile; the other direction reports it if it matters.
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        result => result,
    }
}

/// One direction between any streams: the buffer doubles while reads fill it.
async fn copy_buffered(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    counter: &AtomicU64,
    activity: &Activity,
) -> io::Result<()> {
    let mut buffer = vec![0; SMALLEST_BUFFER];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            break;
        }
        to.write_all(buffer.get(..read).unwrap_or_default()).await?;
        to.flush().await?;
        activity.moved(read, counter);
        if read == buffer.len() && buffer.len() < LARGEST_BUFFER {
            buffer.resize(buffer.len() * 2, 0);
        }
    }
    match to.shutdown().await {
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        result => result,
    }
}

#[cfg(test)]
#[path = "copy_tests.rs"]
mod tests;
