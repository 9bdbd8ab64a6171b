//! Closed loop over HTTP/2.

use super::connect::Connector;
use super::{Order, Outcome, Tally, closed};
use anyhow::{Context as _, ensure};
use bytes::Bytes;
use h2::client::{self, SendRequest};
use http::{Request, StatusCode};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Large enough that flow control is never what is measured.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 1 << 30;

/// Keeps `streams` streams of each of `count` connections busy.
pub async fn closed(order: &Order, count: usize, streams: usize) -> anyhow::Result<Outcome> {
    let connector = Connector::new(order)?;
    let mut builder = client::Builder::new();
    builder.initial_window_size(STREAM_WINDOW).initial_connection_window_size(CONNECTION_WINDOW);
    let request = Request::get(format!("http://{}/", order.authority)).body(())?;
    let mut senders = Vec::with_capacity(count);
    for _ in 0..count {
        let (sender, connection) = builder.handshake::<_, Bytes>(connector.connect().await?).await?;
        // What ends a connection early is seen by its streams.
        tokio::spawn(connection);
        senders.push(sender);
    }
    let started = Instant::now();
    let end = started + Duration::from_secs_f64(order.seconds);
    let mut workers = JoinSet::new();
    for sender in senders {
        for _ in 0..streams {
            let (mut sender, request) = (sender.clone(), request.clone());
            workers.spawn(async move {
                let mut tally = Tally::default();
                while Instant::now() < end {
                    let started = Instant::now();
                    sender = sender.ready().await.context("the connection was closed")?;
                    let bytes = exchange(&mut sender, request.clone()).await?;
                    tally.add(started, bytes);
                }
                anyhow::Ok(tally)
            });
        }
    }
    closed::finish(workers, started).await
}

async fn exchange(sender: &mut SendRequest<Bytes>, request: Request<()>) -> anyhow::Result<u64> {
    let (answer, _) = sender.send_request(request, true)?;
    let answer = answer.await?;
    ensure!(answer.status() == StatusCode::OK, "the answer is '{}'", answer.status());
    let mut body = answer.into_body();
    let mut bytes = 0;
    while let Some(part) = body.data().await {
        let part = part?;
        body.flow_control().release_capacity(part.len())?;
        bytes += part.len() as u64;
    }
    Ok(bytes)
}
