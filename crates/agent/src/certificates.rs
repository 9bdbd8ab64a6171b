//! Keeping the workload's certificate current: a new one at half its life, give or take one
//! percent so that a thousand proxies started together do not renew together. A failure is retried
//! with growing pauses and the last good certificate stays in use.

use crate::ca_client;
use crate::metrics::AgentMetrics;
use crate::options::AgentOptions;
use jiff::Timestamp;
use mizzen_proxy::WorkloadSecrets;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The first and the longest pause between attempts.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A chain whose end cannot be read is renewed after this long.
const UNKNOWN_LIFETIME: Duration = Duration::from_secs(60 * 60);

/// Obtains certificates for as long as anybody listens.
pub(crate) async fn keep_current(
    options: Arc<AgentOptions>,
    publisher: watch::Sender<Option<Arc<WorkloadSecrets>>>,
    metrics: Arc<AgentMetrics>,
) {
    let mut pause = FIRST_PAUSE;
    while !publisher.is_closed() {
        let wait = match ca_client::request(&options).await {
            Ok(secrets) => {
                pause = FIRST_PAUSE;
                let expiry = expiry(&secrets.certificate_chain);
                if let Some(not_after) = expiry {
                    metrics.certificate_expires(not_after);
                    tracing::info!(expires = %not_after, "certificate issued");
                }
                publisher.send_replace(Some(Arc::new(secrets)));
                expiry.map_or(UNKNOWN_LIFETIME, |not_after| {
                    renew_after(not_after, Timestamp::now(), rand::random::<f64>())
                })
            }
            Err(error) => {
                metrics.ca_failure();
                let held = publisher.borrow().is_some();
                if held || pause > Duration::from_secs(1) {
                    tracing::warn!(held, retry_in = ?pause, "no certificate: {error}");
                } else {
                    // Ordinary while a mesh starts: the control plane or a mounted file is not there yet.
                    tracing::debug!(retry_in = ?pause, "no certificate yet: {error}");
                }
                let wait = pause;
                pause = (pause * 2).min(LONGEST_PAUSE);
                wait
            }
        };
        tokio::time::sleep(wait).await;
    }
}

/// How long to wait before renewing: half of what is left of its life at `now`, when it was issued, ±1 %
/// by `chance` (0 to 1). Its start says nothing: authorities set it back for clocks that run late. Never
/// less than a second.
fn renew_after(not_after: Timestamp, now: Timestamp, chance: f64) -> Duration {
    let left = not_after.duration_since(now).as_secs_f64();
    let share = 0.5 + (chance - 0.5) * 0.02;
    Duration::try_from_secs_f64((left * share).max(1.0)).unwrap_or(UNKNOWN_LIFETIME)
}

/// When the first certificate of a PEM chain ends.
fn expiry(chain: &str) -> Option<Timestamp> {
    let pem = x509_parser::pem::Pem::iter_from_buffer(chain.as_bytes()).next()?.ok()?;
    let certificate = pem.parse_x509().ok()?;
    Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
}

#[cfg(test)]
#[path = "certificates_tests.rs"]
mod tests;
