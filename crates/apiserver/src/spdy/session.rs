//! One session: reads frames, hands out the streams that the peer opens, and writes what they answer.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_util::codec::{FramedRead, FramedWrite};

use super::flow::{Flow, WindowOverflow};
use super::frame::{Frame, FrameError, FrameReader, FrameWriter, reset};
use super::header_block::Headers;

/// Streams that may be open at once. A forwarded connection has two.
const MOST_STREAMS: usize = 512;
/// Frames that wait to be written.
const QUEUE: usize = 32;
/// Frames of a stream that wait to be taken. Then nothing more is read: the peer has to wait, as with any connection.
const WAITING: usize = 4;
/// Most bytes in a frame of data.
const CHUNK: usize = 16 * 1024;
/// The setting of a stream's initial window.
const INITIAL_WINDOW_SIZE: u32 = 7;
/// How long the last frame of a broken session may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// Why a session was ended from this side.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    /// Bytes that are no frames, or a connection that broke.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Windows.
    #[error(transparent)]
    Window(#[from] WindowOverflow),
    /// A client's streams have odd numbers that only grow.
    #[error("stream {0} was opened out of order")]
    Order(u32),
}

/// A stream that the peer has opened.
pub(crate) struct Stream {
    /// What it was opened with.
    pub headers: Headers,
    /// What the peer sends.
    pub input: Input,
    /// What the peer is sent.
    pub output: Output,
}

/// What comes in on a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Bytes.
    Data(Bytes),
    /// The peer has sent all it will, and still reads.
    End,
}

/// The peer's side of a stream.
pub(crate) struct Input {
    stream: u32,
    arrivals: mpsc::Receiver<Arrival>,
    frames: mpsc::Sender<Frame>,
}

impl Input {
    /// What comes next. `None` when the stream or the session was given up.
    pub async fn next(&mut self) -> Option<Arrival> {
        let arrival = self.arrivals.recv().await?;
        if let Arrival::Data(data) = &arrival {
            // What is taken makes room, in the stream's window and in the session's.
            let delta = u32::try_from(data.len()).unwrap_or(u32::MAX);
            for stream in [self.stream, 0] {
                self.frames.send(Frame::WindowUpdate { stream, delta }).await.ok()?;
            }
        }
        Some(arrival)
    }
}

/// Our side of a stream.
pub(crate) struct Output {
    stream: u32,
    frames: mpsc::Sender<Frame>,
    flow: Arc<Flow>,
    finished: Arc<AtomicBool>,
}

impl Output {
    /// Sends bytes, as the peer's windows allow. False when the stream or the session is over.
    pub async fn send(&self, mut data: Bytes) -> bool {
        while !data.is_empty() {
            let Some(taken) = self.flow.take(self.stream, data.len().min(CHUNK)).await else { return false };
            let data = data.split_to(taken);
            if self.frames.send(Frame::Data { stream: self.stream, finished: false, data }).await.is_err() {
                return false;
            }
        }
        true
    }

    /// Says that nothing more will be sent.
    pub async fn finish(self) {
        let last = Frame::Data { stream: self.stream, finished: true, data: Bytes::new() };
        // If the session is over nobody has to be told.
        let _ = self.frames.send(last).await;
        self.finished.store(true, Ordering::Relaxed);
    }
}

/// An open stream, as the session sees it.
struct Open {
    /// Until the peer has sent all it will.
    arrivals: Option<mpsc::Sender<Arrival>>,
    finished: Arc<AtomicBool>,
}

impl Open {
    fn is_over(&self) -> bool {
        let heard_out = self.arrivals.as_ref().is_none_or(mpsc::Sender::is_closed);
        heard_out && self.finished.load(Ordering::Relaxed)
    }
}

/// Serves a session until the peer leaves. `accept` gets every stream and must not block; a stream it returns an error
/// for is reset.
pub(crate) async fn serve(
    reader: impl AsyncRead + Unpin,
    writer: impl AsyncWrite + Unpin,
    accept: impl FnMut(Stream) -> Result<(), String>,
) -> Result<(), SessionError> {
    let (frames, queue) = mpsc::channel(QUEUE);
    let flow = Arc::new(Flow::new());
    let session = Session { accept, frames: frames.clone(), flow, streams: HashMap::new(), last: 0 };
    let reading = session.read(FramedRead::new(reader, FrameReader::new()));
    let writing = write(FramedWrite::new(writer, FrameWriter::new()?), queue);
    tokio::pin!(writing);
    let (last_stream, error) = tokio::select! {
        read = reading => match read {
            Ok(()) => return Ok(()),
            Err(failed) => failed,
        },
        written = &mut writing => return Ok(written?),
    };
    let farewell = async {
        // The queue may be full: it is emptied meanwhile.
        let goaway = Frame::GoAway { last_stream, status: reset::PROTOCOL_ERROR };
        let _ = tokio::join!(frames.send(goaway), writing);
    };
    let _ = tokio::time::timeout(FAREWELL, farewell).await;
    Err(error)
}

/// Writes what is queued, up to and with a farewell.
async fn write<W: AsyncWrite + Unpin>(
    mut sink: FramedWrite<W, FrameWriter>,
    mut queue: mpsc::Receiver<Frame>,
) -> Result<(), FrameError> {
    while let Some(frame) = queue.recv().await {
        let last = matches!(frame, Frame::GoAway { .. });
        sink.feed(frame).await?;
        if queue.is_empty() || last {
            sink.flush().await?;
        }
        if last {
            return Ok(());
        }
    }
    Ok(())
}

struct Session<A> {
    accept: A,
    frames: mpsc::Sender<Frame>,
    flow: Arc<Flow>,
    streams: HashMap<u32, Open>,
    /// The newest stream.
    last: u32,
}

impl<A: FnMut(Stream) -> Result<(), String>> Session<A> {
    /// Reads until the peer has left. An error comes with the number of the newest stream.
    async fn read<R: AsyncRead + Unpin>(
        mut self,
        mut frames: FramedRead<R, FrameReader>,
    ) -> Result<(), (u32, SessionError)> {
        while let Some(frame) = frames.next().await {
            let taken = match frame {
                Ok(frame) => self.take(frame).await,
                Err(error) => Err(error.into()),
            };
            taken.map_err(|error| (self.last, error))?;
        }
        Ok(())
    }

    async fn take(&mut self, frame: Frame) -> Result<(), SessionError> {
        match frame {
            Frame::SynStream { stream, finished, unidirectional: _, headers } => {
                self.open(stream, finished, headers).await?;
            }
            Frame::Data { stream, finished, data } => self.hand_on(stream, finished, data).await,
            Frame::RstStream { stream, .. } => self.forget(stream),
            Frame::Headers { stream, finished: true, .. } => {
                self.hand_on(stream, true, Bytes::new()).await;
            }
            // A ping of the peer's has an odd number; one of ours would come back with an even one.
            Frame::Ping { id } if id % 2 == 1 => self.send(Frame::Ping { id }).await,
            Frame::Settings { entries } => {
                for (_, value) in entries.into_iter().filter(|(id, _)| *id == INITIAL_WINDOW_SIZE) {
                    self.flow.set_initial(value);
                }
            }
            Frame::WindowUpdate { stream, delta } => self.flow.grant(stream, delta)?,
            // After a farewell the peer opens no more streams; those that are open go on. The rest only answers what
            // a server does not ask.
            Frame::GoAway { .. } | Frame::Headers { .. } | Frame::Ping { .. } | Frame::SynReply { .. } => {}
        }
        Ok(())
    }

    async fn send(&self, frame: Frame) {
        // Without a writer the session ends by that.
        let _ = self.frames.send(frame).await;
    }

    async fn open(&mut self, stream: u32, finished: bool, headers: Headers) -> Result<(), SessionError> {
        if stream.is_multiple_of(2) || stream <= self.last {
            return Err(SessionError::Order(stream));
        }
        self.last = stream;
        let over: Vec<u32> =
            self.streams.iter().filter(|(_, open)| open.is_over()).map(|(id, _)| *id).collect();
        for ended in over {
            self.forget(ended);
        }
        if self.streams.len() >= MOST_STREAMS {
            tracing::debug!(stream, "a stream is refused: {MOST_STREAMS} are open");
            self.send(Frame::RstStream { stream, status: reset::REFUSED_STREAM }).await;
            return Ok(());
        }
        self.flow.open(stream);
        let (arrivals, receiver) = mpsc::channel(WAITING);
        let done = Arc::new(AtomicBool::new(false));
        let opened = Open { arrivals: Some(arrivals), finished: done.clone() };
        self.streams.insert(stream, opened);
        // kubectl drops what comes before the reply.
        self.send(Frame::SynReply { stream, finished: false, headers: Headers::default() }).await;
        if finished {
            self.hand_on(stream, true, Bytes::new()).await;
        }
        let input = Input { stream, arrivals: receiver, frames: self.frames.clone() };
        let output = Output { stream, frames: self.frames.clone(), flow: self.flow.clone(), finished: done };
        if let Err(reason) = (self.accept)(Stream { headers, input, output }) {
            tracing::debug!(stream, reason, "a stream is refused");
            self.forget(stream);
            self.send(Frame::RstStream { stream, status: reset::PROTOCOL_ERROR }).await;
        }
        Ok(())
    }

    async fn hand_on(&mut self, stream: u32, finished: bool, data: Bytes) {
        let Some(arrivals) = self.streams.get(&stream).and_then(|open| open.arrivals.clone()) else {
            return self.send(Frame::RstStream { stream, status: reset::INVALID_STREAM }).await;
        };
        // Nobody may want it any more; the peer will learn that from our side's end.
        if !data.is_empty() {
            let _ = arrivals.send(Arrival::Data(data)).await;
        }
        if finished {
            let _ = arrivals.send(Arrival::End).await;
            if let Some(open) = self.streams.get_mut(&stream) {
                open.arrivals = None;
            }
        }
    }

    fn forget(&mut self, stream: u32) {
        self.streams.remove(&stream);
        self.flow.close(stream);
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
