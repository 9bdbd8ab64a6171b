//! Open loop: requests start when they are due, whether or not earlier ones are answered.

use super::connect::Connector;
use super::http1::{Connection, Request};
use super::{Order, Outcome, Tally, closed};
use anyhow::Context as _;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use std::io::ErrorKind;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::unix::pipe;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

/// Poisson arrivals at `rate` a second, spread over `count` connections. Latency counts from the moment
/// a request is due, so a stall of the proxy is seen by all requests that were due meanwhile.
pub async fn poisson(order: &Order, count: usize, rate: f64) -> anyhow::Result<Outcome> {
    let connector = Connector::new(order)?;
    let request = Arc::new(Request::get(&order.authority, "/"));
    let (due, requests) = mpsc::unbounded_channel::<Instant>();
    let requests = Arc::new(Mutex::new(requests));
    let mut workers = JoinSet::new();
    for _ in 0..count {
        let mut connection = Connection::new(connector.connect().await?);
        let (requests, request) = (Arc::clone(&requests), Arc::clone(&request));
        workers.spawn(async move {
            let mut tally = Tally::default();
            // One worker waits at the queue, the others for their turn.
            while let Some(due) = { requests.lock().await.recv().await } {
                let bytes = connection.exchange(&request).await?;
                tally.add(due, bytes);
            }
            anyhow::Ok(tally)
        });
    }
    let started = Instant::now();
    let timer = Timer::new()?;
    let mut next = started;
    for gap in gaps(rate, order.seconds) {
        next += gap;
        timer.until(next).await?;
        due.send(next).context("all connections failed")?;
    }
    drop(due);
    closed::finish(workers, started).await
}

/// Times between arrivals, for as long as their sum is below `seconds`.
fn gaps(rate: f64, seconds: f64) -> impl Iterator<Item = Duration> {
    let mut sum = 0.0;
    std::iter::from_fn(move || {
        // Of the exponential distribution; 1 - x is never zero.
        let gap = -(1.0 - rand::random::<f64>()).ln() / rate;
        sum += gap;
        (sum < seconds).then(|| Duration::from_secs_f64(gap))
    })
}

/// The runtime's own timer counts milliseconds, which is longer than what is measured; the kernel's is a
/// descriptor to read from, which for the runtime is as good as a pipe.
struct Timer {
    timer: TimerFd,
    expirations: pipe::Receiver,
}

impl Timer {
    fn new() -> anyhow::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        let expirations = pipe::Receiver::from_owned_fd_unchecked(timer.as_fd().try_clone_to_owned()?)?;
        Ok(Self { timer, expirations })
    }

    async fn until(&self, moment: Instant) -> anyhow::Result<()> {
        let wait = moment.saturating_duration_since(Instant::now());
        if wait.is_zero() {
            // Workers get their turn between requests that are overdue.
            tokio::task::yield_now().await;
            return Ok(());
        }
        self.timer.set(Expiration::OneShot(TimeSpec::from_duration(wait)), TimerSetTimeFlags::empty())?;
        loop {
            self.expirations.readable().await?;
            match self.expirations.try_read(&mut [0; 8]) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => return read.map(drop).map_err(Into::into),
            }
        }
    }
}

#[cfg(test)]
#[path = "open_tests.rs"]
mod tests;
