//! Writing access logs: workers append lines to buffers in memory, one thread a file writes them
//! out in batches. A worker never waits for the disk; when a buffer is full, lines are dropped and
//! counted.

use super::counters::Shared;
use parking_lot::Mutex;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

/// How long lines are gathered before they are written.
const GATHER: Duration = Duration::from_millis(20);
/// Bytes of unwritten lines one worker may hold.
const BUFFER_LIMIT: usize = 8 * 1024 * 1024;

/// One log file with its writer thread.
#[derive(Debug)]
pub struct LogSink {
    inner: Arc<Inner>,
    writer: Thread,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Inner {
    path: String,
    shards: Box<[Mutex<String>]>,
    pending: AtomicBool,
    reopen: AtomicBool,
    stop: AtomicBool,
    dropped: Shared,
}

/// Where lines go.
enum Output {
    Stdout,
    Stderr,
    File(File),
}

impl LogSink {
    /// Opens `path` for appending; `/dev/stdout` and `/dev/stderr` are this process's own. `dropped`
    /// counts lines that did not fit.
    pub fn open(path: &str, workers: usize, dropped: Shared) -> io::Result<Arc<Self>> {
        let output = Output::open(path)?;
        let inner = Arc::new(Inner {
            path: path.to_owned(),
            shards: (0..workers.max(1)).map(|_| Mutex::default()).collect(),
            pending: AtomicBool::new(false),
            reopen: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            dropped,
        });
        let shared = Arc::clone(&inner);
        let thread =
            std::thread::Builder::new().name("access-log".to_owned()).spawn(move || shared.run(output))?;
        let writer = thread.thread().clone();
        Ok(Arc::new(Self { inner, writer, thread: Mutex::new(Some(thread)) }))
    }

    /// Appends what `render` writes, as worker `worker`.
    pub fn write(&self, worker: usize, render: impl FnOnce(&mut String)) {
        let last = self.inner.shards.len() - 1;
        {
            let mut buffer = self.inner.shards[worker.min(last)].lock();
            if buffer.len() >= BUFFER_LIMIT {
                self.inner.dropped.add(1);
                return;
            }
            render(&mut buffer);
        }
        if !self.inner.pending.swap(true, Ordering::AcqRel) {
            self.writer.unpark();
        }
    }

    /// Opens the file again before the next line, as after a rotation.
    pub fn reopen(&self) {
        self.inner.reopen.store(true, Ordering::Release);
        self.inner.pending.store(true, Ordering::Release);
        self.writer.unpark();
    }
}

impl Drop for LogSink {
    /// Writes out what is left.
    fn drop(&mut self) {
        self.inner.stop.store(true, Ordering::Release);
        self.writer.unpark();
        if let Some(thread) = self.thread.lock().take() {
            // The writer thread does not panic; if it did, there is nothing left to write.
            let _ = thread.join();
        }
    }
}

impl Inner {
    fn run(&self, mut output: Output) {
        let mut batch = String::new();
        loop {
            let stopping = self.stop.load(Ordering::Acquire);
            if !stopping && !self.pending.load(Ordering::Acquire) {
                std::thread::park();
                continue;
            }
            if !stopping {
                std::thread::park_timeout(GATHER);
            }
            self.pending.store(false, Ordering::Release);
            if self.reopen.swap(false, Ordering::AcqRel) {
                output = self.opened_again(output);
            }
            for shard in &self.shards {
                std::mem::swap(&mut *shard.lock(), &mut batch);
                if let Err(error) = output.write(batch.as_bytes()) {
                    ::tracing::warn!("cannot write access log {}: {error}", self.path);
                }
                batch.clear();
                // A burst's buffer is not kept for ever.
                batch.shrink_to(64 * 1024);
            }
            if stopping {
                return;
            }
        }
    }

    fn opened_again(&self, old: Output) -> Output {
        Output::open(&self.path).unwrap_or_else(|error| {
            ::tracing::warn!(
                "cannot open access log {} again, going on with the old file: {error}",
                self.path
            );
            old
        })
    }
}

impl Output {
    fn open(path: &str) -> io::Result<Self> {
        match path {
            "/dev/stdout" => Ok(Self::Stdout),
            "/dev/stderr" => Ok(Self::Stderr),
            path => Ok(Self::File(OpenOptions::new().create(true).append(true).open(path)?)),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        match self {
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(bytes)?;
                stdout.flush()
            }
            Self::Stderr => io::stderr().lock().write_all(bytes),
            Self::File(file) => file.write_all(bytes),
        }
    }
}

#[cfg(test)]
#[path = "sink_tests.rs"]
mod tests;
