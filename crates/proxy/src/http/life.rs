//! When an HTTP connection ends for a reason that is not in its bytes.

use super::connection_manager::Connection;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long a connection is quiet before it rests. To begin again costs a few allocations, and to look whether it could
/// rest a timer; both are nothing a few times a minute.
const REST: Duration = Duration::from_secs(3);

/// How a connection is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// What runs may finish; nothing new is taken.
    Gracefully,
    /// Now.
    AtOnce,
    /// Not at all: it has been quiet for a while, and whoever serves it may give its memory back meanwhile.
    Rest,
    /// Now, because the head of a request did not come to its end.
    HeadLate,
    /// Now, because the client does not take what it asked for.
    Untaken,
}

/// Watches for the reasons a connection ends that are not in its bytes: drain, idleness, age, a
/// request's head that does not come to its end, a response that the client does not take.
pub(super) struct Life<'a> {
    connection: &'a Connection,
    /// Whether to say when the connection could rest.
    pub(super) rests: bool,
    drain: mizzen_base::drain::DrainWatcher,
    told: bool,
    opened: Instant,
}

impl<'a> Life<'a> {
    pub(super) fn new(connection: &'a Connection) -> Self {
        let drain = connection.downstream.drain.clone();
        Self { connection, rests: false, drain, told: false, opened: Instant::now() }
    }

    pub(super) async fn over(&mut self) -> End {
        loop {
            let (at, end) = self.next_limit();
            let now = Instant::now();
            if at <= now {
                if matches!(end, End::Gracefully) {
                    self.told = true;
                    self.count_idle();
                }
                return end;
            }
            let told = self.told;
            tokio::select! {
                () = self.drain.started(), if !told => {
                    self.told = true;
                    let manager = &self.connection.manager;
                    manager.counts.of(self.connection.downstream.worker.index).downstream_cx_drain_close.increment();
                    return End::Gracefully;
                }
                () = self.connection.close_asked(), if !told => {
                    self.told = true;
                    return End::Gracefully;
                }
                () = tokio::time::sleep_until(at.into()) => {}
            }
        }
    }

    fn count_idle(&self) {
        if self.connection.active.get() == 0 {
            let counts = self.connection.manager.counts.of(self.connection.downstream.worker.index);
            counts.downstream_cx_idle_timeout.increment();
        }
    }

    /// When to look again, and what it means when nothing has changed until then.
    fn next_limit(&self) -> (Instant, End) {
        let timeouts = &self.connection.manager.timeouts;
        let far = Instant::now() + Duration::from_secs(3600);
        let busy = self.connection.active.get() > 0;
        let mut next = (far, End::Gracefully);
        let mut consider = |at: Instant, end: End| {
            if at < next.0 {
                next = (at, end);
            }
        };
        if let Some(limit) = timeouts.max_connection.filter(|_| !self.told) {
            consider(self.opened + limit, End::Gracefully);
        }
        if let Some(limit) = timeouts.idle {
            let idle_since = if busy { Instant::now() } else { self.connection.idle_since.get() };
            let end = if self.told { End::AtOnce } else { End::Gracefully };
            consider(idle_since + limit, end);
        }
        let began = self.connection.seen.head.load(Ordering::Relaxed);
        let limit = timeouts.head();
        if busy || began == 0 {
            // A head could begin to arrive just now, so this is when to look again.
            consider(Instant::now() + limit, End::Gracefully);
        } else {
            consider(self.opened + Duration::from_millis(began) + limit, End::HeadLate);
        }
        if self.rests && !self.told {
            match self.connection.quiet_since() {
                Some(since) => consider(since + REST, End::Rest),
                None => consider(Instant::now() + REST, End::Gracefully),
            }
        }
        if let Some(limit) = timeouts.untaken() {
            match self.connection.untaken_since() {
                Some(since) => consider(since + limit, End::Untaken),
                None if busy => consider(Instant::now() + limit, End::Gracefully),
                None => {}
            }
        }
        next
    }
}
