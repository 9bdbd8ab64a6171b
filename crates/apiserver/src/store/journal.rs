//! The store on disk: a snapshot and a journal of the writes after it, one JSON text a line.
//!
//! Writing happens behind the store on a thread of its own; a crash loses at most the writes of the last moments and never
//! the file: a torn last line is recognised and dropped. When the journal has grown, the snapshot is written anew beside
//! the old one and renamed over it, then the journal is cut. A record whose revision the snapshot already covers is skipped
//! on load, so a crash between the two steps does no harm.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::{Location, Stored};
use crate::object;

/// Records after which the snapshot is written anew.
const COMPACT_AFTER: usize = 20_000;

/// Added to the revision at every start. The last writes before a crash may not have reached the disk; their revisions must
/// not be handed out again, because clients may hold them.
const RESTART_GAP: u64 = 10_000;

/// The state folder does not give or take what it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path}: {reason}")]
    Damaged { path: PathBuf, reason: String },
}

/// One line of the journal.
pub(super) enum Record {
    Put {
        location: Location,
        stored: Arc<Stored>,
    },
    Remove {
        revision: u64,
        location: Location,
    },
    /// Something that is not kept took a revision.
    Revision(u64),
}

/// What was on disk.
pub(super) struct Loaded {
    pub revision: u64,
    pub objects: BTreeMap<Location, Arc<Stored>>,
}

enum Message {
    Record(Record),
    Compact { revision: u64, objects: Vec<(Location, Arc<Stored>)> },
    Flush(oneshot::Sender<()>),
}

/// The writing end. Dropping it writes everything out.
pub(super) struct Journal {
    sender: Option<Mutex<mpsc::Sender<Message>>>,
    since_snapshot: AtomicUsize,
    thread: Option<JoinHandle<()>>,
}

fn snapshot_path(folder: &Path) -> PathBuf {
    folder.join("objects.snapshot")
}

fn journal_path(folder: &Path) -> PathBuf {
    folder.join("objects.journal")
}

/// Reads the snapshot and then the journal.
pub(super) fn load(folder: &Path) -> Result<Loaded, JournalError> {
    let mut loaded = Loaded { revision: 0, objects: BTreeMap::new() };
    read_lines(&snapshot_path(folder), &mut loaded, false)?;
    read_lines(&journal_path(folder), &mut loaded, true)?;
    loaded.revision += RESTART_GAP;
    Ok(loaded)
}

fn read_lines(path: &Path, loaded: &mut Loaded, may_be_torn: bool) -> Result<(), JournalError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(JournalError::Io { path: path.to_owned(), source }),
    };
    let covered = loaded.revision;
    let mut lines = BufReader::new(file).split(b'\n').peekable();
    while let Some(line) = lines.next() {
        let line = line.map_err(|source| JournalError::Io { path: path.to_owned(), source })?;
        if line.is_empty() {
            continue;
        }
        match serde_json::from_slice::<Value>(&line) {
            Ok(record) => apply(record, covered, loaded),
            Err(_) if may_be_torn && lines.peek().is_none() => {
                tracing::warn!(path = %path.display(), "the last record was cut off by a crash and is dropped");
            }
            Err(error) => {
                return Err(JournalError::Damaged { path: path.to_owned(), reason: error.to_string() });
            }
        }
    }
    Ok(())
}

fn apply(record: Value, covered: u64, loaded: &mut Loaded) {
    let revision = record.get("revision").and_then(Value::as_u64).unwrap_or_default();
    if revision <= covered && covered > 0 {
        return;
    }
    // Snapshot lines come in the order of names; the snapshot's own revision is its first line's.
    loaded.revision = loaded.revision.max(revision);
    let Some(collection) = object::text(&record, &["collection"]) else { return };
    let location = Location {
        collection: Arc::from(collection),
        namespace: object::text_or_empty(&record, &["namespace"]).to_owned(),
        name: object::text_or_empty(&record, &["name"]).to_owned(),
    };
    match record.get("object") {
        Some(object) => {
            let revision = object::resource_version(object).parse().unwrap_or(revision);
            loaded.objects.insert(location, Arc::new(Stored { revision, object: object.clone() }));
        }
        None => {
            loaded.objects.remove(&location);
        }
    }
}

impl Record {
    fn line(&self) -> Value {
        match self {
            Record::Put { location, stored } => put_line(stored.revision, location, stored),
            Record::Remove { revision, location } => json!({
                "revision": revision,
                "collection": &*location.collection,
                "namespace": location.namespace,
                "name": location.name,
            }),
            Record::Revision(revision) => json!({"revision": revision}),
        }
    }
}

fn put_line(revision: u64, location: &Location, stored: &Stored) -> Value {
    json!({
        "revision": revision,
        "collection": &*location.collection,
        "namespace": location.namespace,
        "name": location.name,
        "object": stored.object,
    })
}

impl Journal {
    /// Writes a fresh snapshot of what was loaded, cuts the journal, and starts the writing thread.
    pub fn open(
        folder: &Path,
        revision: u64,
        objects: Vec<(Location, Arc<Stored>)>,
    ) -> Result<Journal, JournalError> {
        let failed = |source| JournalError::Io { path: folder.to_owned(), source };
        let file = write_snapshot(folder, revision, &objects).map_err(failed)?;
        let (sender, receiver) = mpsc::channel();
        let folder = folder.to_owned();
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || write_all(&folder, file, &receiver))
            .map_err(|source| JournalError::Io { path: PathBuf::from("journal thread"), source })?;
        Ok(Journal {
            sender: Some(Mutex::new(sender)),
            since_snapshot: AtomicUsize::new(0),
            thread: Some(thread),
        })
    }

    /// Queues a record. True when it is time to [`compact`](Self::compact).
    pub fn append(&self, record: Record) -> bool {
        self.send(Message::Record(record));
        self.since_snapshot.fetch_add(1, Ordering::Relaxed) + 1 >= COMPACT_AFTER
    }

    /// Queues a new snapshot.
    pub fn compact(&self, revision: u64, objects: Vec<(Location, Arc<Stored>)>) {
        self.since_snapshot.store(0, Ordering::Relaxed);
        self.send(Message::Compact { revision, objects });
    }

    /// Waits until everything queued so far is on disk.
    pub async fn flush(&self) {
        let (done, written) = oneshot::channel();
        self.send(Message::Flush(done));
        let _ = written.await;
    }

    fn send(&self, message: Message) {
        if let Some(sender) = &self.sender {
            // The receiver only goes with this journal; a thread that failed has said so in the log.
            let _ = sender.lock().send(message);
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The writing thread: takes what has piled up, writes it, brings it to disk once, and goes on.
fn write_all(folder: &Path, mut file: BufWriter<File>, receiver: &mpsc::Receiver<Message>) {
    while let Ok(first) = receiver.recv() {
        let mut flushed = Vec::new();
        let mut message = Some(first);
        let mut outcome = Ok(());
        while let Some(current) = message {
            outcome = outcome.and_then(|()| match current {
                Message::Record(record) => write_line(&mut file, &record.line()),
                Message::Compact { revision, objects } => {
                    write_snapshot(folder, revision, &objects).map(|fresh| file = fresh)
                }
                Message::Flush(done) => {
                    flushed.push(done);
                    Ok(())
                }
            });
            message = receiver.try_recv().ok();
        }
        let outcome = outcome.and_then(|()| file.flush()).and_then(|()| file.get_ref().sync_data());
        if let Err(error) = outcome {
            tracing::error!(
                folder = %folder.display(), %error,
                "cannot write the journal; changes since now are lost at a restart: free space or repair the disk"
            );
        }
        for done in flushed {
            let _ = done.send(());
        }
    }
}

fn write_line(file: &mut impl Write, line: &Value) -> io::Result<()> {
    serde_json::to_writer(&mut *file, line)?;
    file.write_all(b"\n")
}

/// Writes the snapshot beside the old one, renames it over, and starts an empty journal.
fn write_snapshot(
    folder: &Path,
    revision: u64,
    objects: &[(Location, Arc<Stored>)],
) -> io::Result<BufWriter<File>> {
    let fresh = folder.join("objects.snapshot.new");
    let mut file = BufWriter::new(File::create(&fresh)?);
    for (location, stored) in objects {
        write_line(&mut file, &put_line(revision, location, stored))?;
    }
    write_line(&mut file, &json!({"revision": revision}))?;
    file.flush()?;
    file.get_ref().sync_all()?;
    fs::rename(&fresh, snapshot_path(folder))?;
    let journal = OpenOptions::new().create(true).write(true).truncate(true).open(journal_path(folder))?;
    Ok(BufWriter::new(journal))
}
