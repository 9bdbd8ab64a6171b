//! Closed loop over HTTP/1.1: the next request starts when the answer to the one before is there.

use super::connect::{Connector, Stream};
use super::http1::{Connection, Request};
use super::{Order, Outcome, Tally};
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Keeps `count` connections busy with the same request.
pub async fn keep_alive(order: &Order, count: usize, request: Request) -> anyhow::Result<Outcome> {
    let connections = open(&Connector::new(order)?, count).await?;
    let request = Arc::new(request);
    let started = Instant::now();
    let end = started + Duration::from_secs_f64(order.seconds);
    let mut workers = JoinSet::new();
    for mut connection in connections {
        let request = Arc::clone(&request);
        workers.spawn(async move {
            let mut tally = Tally::default();
            while Instant::now() < end {
                let started = Instant::now();
                let bytes = connection.exchange(&request).await?;
                tally.add(started, bytes);
            }
            anyhow::Ok(tally)
        });
    }
    finish(workers, started).await
}

/// Opens a connection for each request; `count` at a time.
pub async fn new_connections(order: &Order, count: usize) -> anyhow::Result<Outcome> {
    let connector = Connector::new(order)?;
    let request = Arc::new(Request::get(&order.authority, "/"));
    let started = Instant::now();
    let end = started + Duration::from_secs_f64(order.seconds);
    let mut workers = JoinSet::new();
    for _ in 0..count {
        let (connector, request) = (connector.clone(), Arc::clone(&request));
        workers.spawn(async move {
            let mut tally = Tally::default();
            while Instant::now() < end {
                let started = Instant::now();
                let mut connection = Connection::new(connector.connect().await?);
                let bytes = connection.exchange(&request).await?;
                tally.add(started, bytes);
            }
            anyhow::Ok(tally)
        });
    }
    finish(workers, started).await
}

/// Opens connections, makes one request on each, says so, and keeps them until standard input ends.
pub async fn idle(order: &Order, count: usize) -> anyhow::Result<Outcome> {
    let started = Instant::now();
    let mut connections = open(&Connector::new(order)?, count).await?;
    let request = Request::get(&order.authority, "/");
    let mut tally = Tally::default();
    for connection in &mut connections {
        let started = Instant::now();
        let bytes = connection.exchange(&request).await?;
        tally.add(started, bytes);
    }
    println!("{IDLE}");
    std::io::stdout().flush()?;
    let seconds = started.elapsed().as_secs_f64();
    std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink())?;
    Ok(tally.outcome(seconds))
}

/// What [`idle`] says when all its connections are idle.
pub const IDLE: &str = "idle";

async fn open(connector: &Connector, count: usize) -> anyhow::Result<Vec<Connection<Stream>>> {
    let mut connections = Vec::with_capacity(count);
    for _ in 0..count {
        connections.push(Connection::new(connector.connect().await?));
    }
    Ok(connections)
}

/// Waits for all workers; the first error ends the run.
pub(super) async fn finish(
    mut workers: JoinSet<anyhow::Result<Tally>>,
    started: Instant,
) -> anyhow::Result<Outcome> {
    let mut all = Tally::default();
    while let Some(tally) = workers.join_next().await {
        all.merge(tally??);
    }
    Ok(all.outcome(started.elapsed().as_secs_f64()))
}
