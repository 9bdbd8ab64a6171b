//! What containers write, kept in files as container runtimes do: `TIMESTAMP STREAM F TEXT`, one
//! line a line, with `P` for the parts of a very long one. A file is rotated once.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, future};
use jiff::Timestamp;
use mizzen_apiserver::{ByteStream, LogRequest};
use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::sync::{broadcast, watch};
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;

use super::attach;

/// A file is set aside when it is this long; the one set aside before is then gone.
const LONGEST_FILE: u64 = 10 << 20;
/// A longer line is kept in parts, as kubelets do.
const LONGEST_LINE: usize = 16 * 1024;
/// Pieces of output that a client may be behind before it misses some.
const LISTENED: usize = 1024;

/// The log of one run of a container.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: Mutex<(File, u64)>,
    progress: watch::Sender<Progress>,
    /// What is read, as it is read, for clients that attach; gone once the run has ended.
    listeners: Mutex<Option<broadcast::Sender<Piece>>>,
}

/// A piece of a container's output.
type Piece = (&'static str, Bytes);

#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    lines: u64,
    rotations: u64,
    closed: bool,
}

impl Log {
    /// Starts the log of a run; an older file of the same run is replaced.
    pub fn create(folder: &Path, run: u32) -> io::Result<Arc<Self>> {
        fs::create_dir_all(folder)?;
        let path = folder.join(format!("{run}.log"));
        let file = File::create(&path)?;
        let progress = watch::Sender::new(Progress::default());
        let listeners = Mutex::new(Some(broadcast::Sender::new(LISTENED)));
        Ok(Arc::new(Self { path, file: Mutex::new((file, 0)), progress, listeners }))
    }

    /// Copies a container's stream until its end.
    pub async fn copy(self: Arc<Self>, stream: &'static str, from: impl AsyncRead + Unpin) {
        let mut reader = BufReader::with_capacity(LONGEST_LINE, from);
        let mut line = Vec::new();
        loop {
            let (used, whole) = match reader.fill_buf().await {
                Ok([]) | Err(_) => break,
                Ok(chunk) => match chunk.iter().position(|byte| *byte == b'\n') {
                    Some(end) => {
                        line.extend(chunk.get(..end).unwrap_or_default());
                        self.tell(stream, chunk.get(..=end).unwrap_or_default());
                        (end + 1, true)
                    }
                    None => {
                        line.extend(chunk);
                        self.tell(stream, chunk);
                        (chunk.len(), false)
                    }
                },
            };
            reader.consume(used);
            if whole || line.len() >= LONGEST_LINE {
                self.write(stream, whole, &line);
                line.clear();
            }
        }
        if !line.is_empty() {
            self.write(stream, true, &line);
        }
    }

    fn tell(&self, stream: &'static str, piece: &[u8]) {
        if let Some(listeners) = self.listeners.lock().as_ref()
            && listeners.receiver_count() > 0
        {
            // Fails when the last listener has just left.
            let _ = listeners.send((stream, Bytes::copy_from_slice(piece)));
        }
    }

    /// What a stream brings from now on, until the end of the run; `None` after that.
    pub fn listen(&self, stream: &'static str) -> Option<ByteStream> {
        let pieces = BroadcastStream::new(self.listeners.lock().as_ref()?.subscribe());
        let wanted = pieces.filter_map(move |piece| {
            future::ready(match piece {
                Ok((from, data)) => (from == stream).then_some(Ok(data)),
                Err(BroadcastStreamRecvError::Lagged(missed)) => Some(Err(missed)),
            })
        });
        Some(attach::output(wanted))
    }

    /// Resolves once the run has ended.
    pub async fn closed(&self) {
        // An error would mean that the log is gone, and with it the run.
        let _ = self.progress.subscribe().wait_for(|progress| progress.closed).await;
    }

    fn write(&self, stream: &str, whole: bool, text: &[u8]) {
        let mut entry =
            format!("{} {stream} {} ", nanoseconds(Timestamp::now()), if whole { "F" } else { "P" })
                .into_bytes();
        entry.extend(text);
        entry.push(b'\n');
        let mut file = self.file.lock();
        let mut rotated = false;
        if file.1 + entry.len() as u64 > LONGEST_FILE && file.1 > 0 {
            match self.rotate() {
                Ok(fresh) => {
                    *file = (fresh, 0);
                    rotated = true;
                }
                Err(error) => {
                    tracing::warn!(path = %self.path.display(), %error, "cannot rotate a container's log")
                }
            }
        }
        if let Err(error) = file.0.write_all(&entry) {
            tracing::warn!(path = %self.path.display(), %error, "cannot write a container's log");
        }
        file.1 += entry.len() as u64;
        self.progress.send_modify(|progress| {
            progress.lines += 1;
            progress.rotations += u64::from(rotated);
        });
    }

    fn rotate(&self) -> io::Result<File> {
        fs::rename(&self.path, self.set_aside())?;
        OpenOptions::new().create(true).append(true).open(&self.path)
    }

    fn set_aside(&self) -> PathBuf {
        self.path.with_extension("log.1")
    }

    /// Nothing more will be written: those who follow come to the end.
    pub fn close(&self) {
        self.listeners.lock().take();
        self.progress.send_modify(|progress| progress.closed = true);
    }

    /// The log as the API serves it.
    pub fn read(self: &Arc<Self>, request: &LogRequest) -> io::Result<ByteStream> {
        let mut reader = LogReader {
            log: self.clone(),
            progress: self.progress.subscribe(),
            file: None,
            pending: Vec::new(),
            shape: Shape::new(request),
        };
        let rotations = reader.progress.borrow_and_update().rotations;
        let mut text = fs::read(self.set_aside()).unwrap_or_default();
        let mut file = File::open(&self.path)?;
        file.read_to_end(&mut text)?;
        let complete = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        reader.pending = text.split_off(complete);
        let history = reader.shape.history(&text, request.tail_lines);
        reader.file = Some((file, rotations));
        let first = futures::stream::once(async move { Ok(history) });
        if !request.follow {
            return Ok(Box::pin(first));
        }
        let rest = futures::stream::unfold(reader, |mut reader| async move {
            let next = reader.next().await?;
            Some((next, reader))
        });
        Ok(Box::pin(first.chain(rest)))
    }
}

/// How lines are shown.
#[derive(Clone, Debug)]
struct Shape {
    timestamps: bool,
    since: Option<Timestamp>,
}

impl Shape {
    fn new(request: &LogRequest) -> Self {
        Self { timestamps: request.timestamps, since: request.since }
    }

    /// The lines of a file so far, the last `tail` of them.
    fn history(&self, text: &[u8], tail: Option<u64>) -> Bytes {
        let lines: Vec<Vec<u8>> =
            text.split_inclusive(|byte| *byte == b'\n').filter_map(|line| self.show(line)).collect();
        let wanted = tail.map_or(lines.len(), |tail| usize::try_from(tail).unwrap_or(usize::MAX));
        lines.into_iter().rev().take(wanted).collect::<Vec<_>>().into_iter().rev().flatten().collect()
    }

    /// One entry as it is shown, or nothing if it is too old or damaged.
    fn show(&self, entry: &[u8]) -> Option<Vec<u8>> {
        let mut parts = entry.splitn(4, |byte| *byte == b' ');
        let time = std::str::from_utf8(parts.next()?).ok()?;
        let (_stream, whole) = (parts.next()?, parts.next()? == b"F");
        let text = parts.next()?;
        if let Some(since) = self.since
            && time.parse::<Timestamp>().ok()? < since
        {
            return None;
        }
        let text = if whole { text } else { text.strip_suffix(b"\n").unwrap_or(text) };
        let mut shown = if self.timestamps { format!("{time} ").into_bytes() } else { Vec::new() };
        shown.extend(text);
        Some(shown)
    }
}

struct LogReader {
    log: Arc<Log>,
    progress: watch::Receiver<Progress>,
    /// The file being read and how often the log had been rotated when it was opened.
    file: Option<(File, u64)>,
    /// The begin of an entry whose end is not written yet.
    pending: Vec<u8>,
    shape: Shape,
}

impl LogReader {
    /// The next new lines; `None` at the end of the run.
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        loop {
            let progress = *self.progress.borrow_and_update();
            match self.read_new(progress.rotations) {
                Ok(lines) if !lines.is_empty() => return Some(Ok(lines)),
                Ok(_) if progress.closed => return None,
                Ok(_) => self.progress.changed().await.ok()?,
                Err(error) => return Some(Err(error)),
            }
        }
    }

    fn read_new(&mut self, rotations: u64) -> io::Result<Bytes> {
        let mut text = std::mem::take(&mut self.pending);
        if let Some((file, opened)) = &mut self.file {
            file.read_to_end(&mut text)?;
            if *opened != rotations {
                let mut fresh = File::open(&self.log.path)?;
                fresh.seek(SeekFrom::Start(0))?;
                fresh.read_to_end(&mut text)?;
                self.file = Some((fresh, rotations));
            }
        }
        let complete = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.pending = text.split_off(complete);
        Ok(self.shape.history(&text, None))
    }
}

/// A time with nine digits after the point, always, so that lines align and sort.
fn nanoseconds(at: Timestamp) -> String {
    format!("{at:.9}")
}

#[cfg(test)]
#[path = "logs_tests.rs"]
mod tests;
