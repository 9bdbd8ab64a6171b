//! The load generator: a process of its own with one thread, told what to do by an [`Order`] and
//! answering with an [`Outcome`] on standard output.

pub mod closed;
mod connect;
mod http1;
mod http2;
mod open;

use crate::statistics::percentile;
use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long a run may take beyond its time before it is given up: something hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// What to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    /// Whom to call.
    pub target: SocketAddr,
    /// What to call it in `Host` or `:authority`.
    pub authority: String,
    /// With TLS, and whom to trust.
    pub tls: Option<Trust>,
    /// The kind of load.
    pub shape: Shape,
    /// For how long, in seconds.
    pub seconds: f64,
}

/// Whom a TLS client trusts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Trust {
    /// The root, in a PEM file.
    pub root: PathBuf,
    /// The server's name.
    pub name: String,
}

/// The kind of load. Closed loop: the next request starts when the answer to the one before is there.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Shape {
    /// Closed loop over HTTP/1.1 connections that are kept.
    Http1 {
        /// How many.
        connections: usize,
    },
    /// Open loop over HTTP/1.1 connections that are kept: Poisson arrivals, each measured from the moment
    /// it should have started.
    Poisson {
        /// Connections that requests are spread over.
        connections: usize,
        /// Requests a second.
        rate: f64,
    },
    /// Closed loop over streams of HTTP/2 connections with prior knowledge.
    Http2 {
        /// How many connections.
        connections: usize,
        /// Streams open on each at a time.
        streams: usize,
    },
    /// Closed loop with a connection for each request.
    NewConnections {
        /// How many at a time.
        connections: usize,
    },
    /// Closed loop of large answers.
    Download {
        /// How many at a time.
        connections: usize,
        /// Size of one.
        bytes: u64,
    },
    /// Closed loop of large requests.
    Upload {
        /// How many at a time.
        connections: usize,
        /// Size of one.
        bytes: u64,
    },
    /// One request a connection, which then stays open until standard input ends.
    Idle {
        /// How many.
        connections: usize,
    },
}

/// What was done. Anything but an answer with status 200 ends a run with an error.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// Completed requests.
    pub requests: u64,
    /// Bytes of all bodies, of requests or answers.
    pub bytes: u64,
    /// From the first request to the last answer.
    pub seconds: f64,
    /// Latency in milliseconds.
    pub p50: f64,
    /// The same.
    pub p90: f64,
    /// The same.
    pub p99: f64,
    /// The same.
    pub p999: f64,
}

/// What one worker of the generator has seen.
#[derive(Debug, Default)]
struct Tally {
    /// Of each request, in nanoseconds.
    latencies: Vec<u64>,
    bytes: u64,
}

impl Tally {
    fn add(&mut self, started: Instant, bytes: u64) {
        self.latencies.push(started.elapsed().as_nanos().try_into().unwrap_or(u64::MAX));
        self.bytes += bytes;
    }

    fn merge(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.bytes += other.bytes;
    }

    fn outcome(mut self, seconds: f64) -> Outcome {
        self.latencies.sort_unstable();
        let milliseconds = |share| percentile(&self.latencies, share) as f64 / 1e6;
        Outcome {
            requests: self.latencies.len() as u64,
            bytes: self.bytes,
            seconds,
            p50: milliseconds(0.5),
            p90: milliseconds(0.9),
            p99: milliseconds(0.99),
            p999: milliseconds(0.999),
        }
    }
}

/// Carries out an order given as JSON and prints the outcome as JSON.
pub fn run(order: &str) -> anyhow::Result<()> {
    let order: Order = serde_json::from_str(order).context("the order is not one")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let limit = Duration::from_secs_f64(order.seconds) + PATIENCE;
    let outcome = runtime.block_on(async {
        if let Shape::Idle { connections } = order.shape {
            return closed::idle(&order, connections).await;
        }
        match tokio::time::timeout(limit, carry_out(&order)).await {
            Ok(outcome) => outcome,
            Err(_) => bail!("no end after {} s: a request hangs", limit.as_secs()),
        }
    })?;
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}

async fn carry_out(order: &Order) -> anyhow::Result<Outcome> {
    let authority = order.authority.as_str();
    match order.shape {
        Shape::Http1 { connections } => {
            closed::keep_alive(order, connections, http1::Request::get(authority, "/")).await
        }
        Shape::Poisson { connections, rate } => open::poisson(order, connections, rate).await,
        Shape::Http2 { connections, streams } => http2::closed(order, connections, streams).await,
        Shape::NewConnections { connections } => closed::new_connections(order, connections).await,
        Shape::Download { connections, bytes } => {
            let path = format!("/bytes/{bytes}");
            closed::keep_alive(order, connections, http1::Request::get(authority, &path)).await
        }
        Shape::Upload { connections, bytes } => {
            closed::keep_alive(order, connections, http1::Request::post(authority, "/", bytes)).await
        }
        Shape::Idle { connections } => closed::idle(order, connections).await,
    }
}
