//! A light load on the demo shop, so that there is something to see.

use crate::client::{Caller, at, base_url};
use crate::{WorkloadError, log};
use http::{HeaderMap, HeaderValue, Method, Uri, header};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::time::{MissedTickBehavior, interval};

/// Requests under way at a time; when the shop is slow, the rest is left out.
const MOST_UNDER_WAY: usize = 64;
/// How often the log says how it goes.
const REPORT: Duration = Duration::from_secs(10);

/// How to run.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The shop's address
    #[arg(long, env = "TARGET_URL", default_value = "http://storefront")]
    pub target: String,
    /// Host header, when the address is that of a gateway
    #[arg(long, env = "TARGET_HOST")]
    pub host: Option<String>,
    /// Requests a second, from 0.1 to 1000
    #[arg(long, env = "RATE", default_value_t = 5.0)]
    pub rate: f64,
}

/// Outcomes since the last report: a status or "failed", and how often.
type Outcomes = Arc<Mutex<BTreeMap<String, u64>>>;

/// Calls until told to end.
pub async fn run(options: Options) -> Result<(), WorkloadError> {
    let target = base_url(&options.target)?;
    let mut headers = HeaderMap::new();
    if let Some(host) = &options.host {
        let host = HeaderValue::from_str(host).map_err(|_| WorkloadError::Url { url: host.clone() })?;
        headers.insert(header::HOST, host);
    }
    let mut terminate = signal(SignalKind::terminate()).map_err(WorkloadError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(WorkloadError::Signals)?;
    log::line(&format!("load: {} requests a second to {target}", options.rate));
    let outcomes = Outcomes::default();
    tokio::select! {
        outcome = call_for_ever(&target, &headers, options.rate, &outcomes) => outcome,
        () = report_for_ever(&outcomes) => Ok(()),
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}

/// What the shopper does, over and over: mostly looks, sometimes buys.
fn visit(number: u64) -> (Method, &'static str) {
    match number % 10 {
        3 => (Method::POST, "/buy/rope"),
        6 => (Method::POST, "/buy/compass"),
        4 | 7 | 9 => (Method::POST, "/checkout"),
        _ => (Method::GET, "/"),
    }
}

async fn call_for_ever(
    target: &Uri,
    headers: &HeaderMap,
    rate: f64,
    outcomes: &Outcomes,
) -> Result<(), WorkloadError> {
    let caller = Caller::default();
    let places = Arc::new(Semaphore::new(MOST_UNDER_WAY));
    let mut ticks = interval(Duration::from_secs_f64(1.0 / rate.clamp(0.1, 1000.0)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut number = 0_u64;
    loop {
        ticks.tick().await;
        let Ok(place) = places.clone().try_acquire_owned() else { continue };
        let (method, path) = visit(number);
        number = number.wrapping_add(1);
        let url = at(target, path)?;
        let (caller, headers, outcomes) = (caller.clone(), headers.clone(), outcomes.clone());
        tokio::spawn(async move {
            let outcome = match caller.call(method, &url, headers).await {
                Ok(answer) => answer.status.as_u16().to_string(),
                Err(error) => {
                    tracing::debug!(%error, "a request failed");
                    "failed".to_owned()
                }
            };
            *outcomes.lock().unwrap_or_else(PoisonError::into_inner).entry(outcome).or_default() += 1;
            drop(place);
        });
    }
}

async fn report_for_ever(outcomes: &Outcomes) {
    let mut ticks = interval(REPORT);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let counted = std::mem::take(&mut *outcomes.lock().unwrap_or_else(PoisonError::into_inner));
        let parts: Vec<String> =
            counted.iter().map(|(outcome, count)| format!("{outcome}: {count}")).collect();
        log::line(&format!("load in the last {REPORT:?}: {}", parts.join(", ")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shopper_looks_buys_and_pays() {
        let visits: Vec<_> = (0..10).map(visit).collect();
        assert_eq!(visits.iter().filter(|(_, path)| *path == "/").count(), 5);
        assert_eq!(visits.iter().filter(|(_, path)| *path == "/checkout").count(), 3);
    }
}
