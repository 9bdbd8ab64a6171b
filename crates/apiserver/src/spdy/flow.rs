//! How much may be sent: a window for each stream and one for the session, which the peer's updates open.
//!
//! The library behind kubectl neither announces nor opens windows, so windows are only kept from the time a peer has
//! spoken of them. A client that does not is held back by its connection alone.

use std::collections::HashMap;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// What a window holds before anything is said: 64 KiB, by the specification.
const INITIAL: i64 = 64 * 1024;
/// The largest window.
const LARGEST: i64 = (1 << 31) - 1;

/// Bytes granted and sent, since the beginning.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    granted: i64,
    sent: i64,
}

impl Window {
    fn left(self) -> i64 {
        self.granted - self.sent
    }
}

#[derive(Debug)]
struct Windows {
    spoken_of: bool,
    initial: i64,
    session: Window,
    streams: HashMap<u32, Window>,
}

/// The peer granted more than a window can hold.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a window was opened beyond {LARGEST} bytes")]
pub(crate) struct WindowOverflow;

/// The windows of one session.
#[derive(Debug)]
pub(super) struct Flow {
    windows: Mutex<Windows>,
    changed: Notify,
}

impl Flow {
    pub fn new() -> Self {
        let session = Window { granted: INITIAL, sent: 0 };
        let windows = Windows { spoken_of: false, initial: INITIAL, session, streams: HashMap::new() };
        Self { windows: Mutex::new(windows), changed: Notify::new() }
    }

    /// A stream begins.
    pub fn open(&self, stream: u32) {
        let mut windows = self.windows.lock();
        let window = Window { granted: windows.initial, sent: 0 };
        windows.streams.insert(stream, window);
    }

    /// A stream is over; who waits to send on it is told.
    pub fn close(&self, stream: u32) {
        self.windows.lock().streams.remove(&stream);
        self.changed.notify_waiters();
    }

    /// The peer grants more for a stream, or for the session (0).
    pub fn grant(&self, stream: u32, delta: u32) -> Result<(), WindowOverflow> {
        let mut windows = self.windows.lock();
        windows.spoken_of = true;
        let window = match stream {
            0 => Some(&mut windows.session),
            _ => windows.streams.get_mut(&stream),
        };
        // One for a stream that has just ended is late, not wrong.
        if let Some(window) = window {
            if window.left() + i64::from(delta) > LARGEST {
                return Err(WindowOverflow);
            }
            window.granted += i64::from(delta);
        }
        drop(windows);
        self.changed.notify_waiters();
        Ok(())
    }

    /// The peer sets what a stream's window holds at its begin, for open ones too.
    pub fn set_initial(&self, value: u32) {
        let mut windows = self.windows.lock();
        windows.spoken_of = true;
        let change = i64::from(value).min(LARGEST) - windows.initial;
        windows.initial += change;
        for window in windows.streams.values_mut() {
            window.granted += change;
        }
        drop(windows);
        self.changed.notify_waiters();
    }

    /// Waits until something may be sent on a stream, and takes up to `wanted` bytes for it; `None` once the stream is
    /// over.
    pub async fn take(&self, stream: u32, wanted: usize) -> Option<usize> {
        loop {
            // Made before looking, so that no change is missed.
            let changed = self.changed.notified();
            match self.try_take(stream, wanted) {
                Share::Bytes(taken) => return Some(taken),
                Share::NotYet => {}
                Share::Over => return None,
            }
            changed.await;
        }
    }

    fn try_take(&self, stream: u32, wanted: usize) -> Share {
        let mut windows = self.windows.lock();
        let (spoken_of, session_left) = (windows.spoken_of, windows.session.left());
        let Some(window) = windows.streams.get_mut(&stream) else { return Share::Over };
        let wanted = i64::try_from(wanted).unwrap_or(i64::MAX);
        let taken = if spoken_of { wanted.min(window.left()).min(session_left) } else { wanted };
        match usize::try_from(taken) {
            Ok(bytes @ 1..) => {
                window.sent += taken;
                windows.session.sent += taken;
                Share::Bytes(bytes)
            }
            _ => Share::NotYet,
        }
    }
}

/// What there is for who wants to send.
enum Share {
    Bytes(usize),
    NotYet,
    /// The stream is over.
    Over,
}

#[cfg(test)]
#[path = "flow_tests.rs"]
mod tests;
