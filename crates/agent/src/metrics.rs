//! The agent's own metrics, and the merging of all metrics of a pod.

use crate::options::{AgentOptions, ApplicationMetrics};
use crate::outbound;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// How long an application may take to give its metrics.
const APPLICATION_TIMEOUT: Duration = Duration::from_secs(5);
/// The most an application's metrics may be.
const LARGEST_ANSWER: usize = 64 << 20;

/// Counters of the agent.
#[derive(Debug, Default)]
pub(crate) struct AgentMetrics {
    start_microseconds: AtomicU64,
    certificate_expiry: AtomicI64,
    ca_failures: AtomicU64,
    scrapes: AtomicU64,
    application_scrape_failures: AtomicU64,
}

impl AgentMetrics {
    /// The proxy became ready after `elapsed`.
    pub(crate) fn started(&self, elapsed: Duration) {
        self.start_microseconds
            .store(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The certificate in use ends at `time`.
    pub(crate) fn certificate_expires(&self, time: Timestamp) {
        self.certificate_expiry.store(time.as_second(), Ordering::Relaxed);
    }

    /// A request for a certificate failed.
    pub(crate) fn ca_failure(&self) {
        self.ca_failures.fetch_add(1, Ordering::Relaxed);
    }

    fn render(&self, now: Timestamp) -> String {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut text = String::new();
        let mut metric = |name: &str, kind: &str, help: &str, labels: &str, value: &dyn std::fmt::Display| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name}{labels} {value}");
        };
        metric(
            "istio_build",
            "gauge",
            "Istio component build info",
            &format!("{{component=\"agent\",tag=\"{}\"}}", mizzen_base::version::ISTIO),
            &1,
        );
        let seconds = Duration::from_micros(count(&self.start_microseconds)).as_secs_f64();
        metric("startup_duration_seconds", "gauge", "Time from process start to readiness.", "", &seconds);
        let expiry = self.certificate_expiry.load(Ordering::Relaxed);
        if expiry != 0 {
            let left = expiry - now.as_second();
            metric(
                "cert_expiry_seconds",
                "gauge",
                "Time until the certificate expires.",
                "{resource_name=\"default\"}",
                &left,
            );
        }
        metric(
            "num_failed_outgoing_requests",
            "counter",
            "Failed requests of the agent.",
            "{request_type=\"csr\"}",
            &count(&self.ca_failures),
        );
        metric("scrapes_total", "counter", "Scrapes of the merged metrics.", "", &count(&self.scrapes));
        metric(
            "scrape_failures_total",
            "counter",
            "Scrapes that lacked a part.",
            "{type=\"application\"}",
            &count(&self.application_scrape_failures),
        );
        text
    }

    /// Metrics of the agent, the proxy (`proxy`) and the application; the application's last, since
    /// it may end with `# EOF`.
    pub(crate) async fn merged(&self, options: &AgentOptions, proxy: String) -> String {
        self.scrapes.fetch_add(1, Ordering::Relaxed);
        let mut text = self.render(Timestamp::now());
        text.push_str(&proxy);
        if let Some(target) = &options.application_metrics {
            match application(options, target).await {
                Ok(metrics) => {
                    text.push_str(&metrics);
                    if !metrics.ends_with('\n') {
                        text.push('\n');
                    }
                }
                Err(error) => {
                    self.application_scrape_failures.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!("cannot read the application's metrics: {error:#}");
                }
            }
        }
        text
    }
}

async fn application(options: &AgentOptions, target: &ApplicationMetrics) -> anyhow::Result<String> {
    let port = if target.port.is_empty() { "80" } else { &target.port };
    let path = if target.path.is_empty() { "/metrics" } else { &target.path };
    let host = options.addresses.first().ok_or_else(|| anyhow::anyhow!("the pod has no address"))?;
    let answer = get(SocketAddr::new(*host, port.parse()?), path, &[], APPLICATION_TIMEOUT).await?;
    anyhow::ensure!(answer.0.is_success(), "the application answered {} to {path}", answer.0);
    Ok(String::from_utf8_lossy(&answer.1).into_owned())
}

/// One HTTP request for what is there, with the proxy's mark, bounded in time and size.
pub(crate) async fn get(
    address: SocketAddr,
    path: &str,
    headers: &[(String, String)],
    timeout: Duration,
) -> anyhow::Result<(http::StatusCode, Bytes)> {
    ask(http::Method::GET, address, path, headers, timeout).await
}

/// The same with any method.
pub(crate) async fn ask(
    method: http::Method,
    address: SocketAddr,
    path: &str,
    headers: &[(String, String)],
    timeout: Duration,
) -> anyhow::Result<(http::StatusCode, Bytes)> {
    let exchange = async {
        let stream = outbound::connect_to_application(address, timeout).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(connection);
        let mut request = http::Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            request = request.header(http::header::HOST, address.to_string());
        }
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let response = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LARGEST_ANSWER).collect().await;
        driver.abort();
        let body = body.map_err(|error| anyhow::anyhow!("the answer broke off: {error}"))?;
        anyhow::Ok((status, body.to_bytes()))
    };
    tokio::time::timeout(timeout, exchange)
        .await
        .map_err(|_| anyhow::anyhow!("no answer within {timeout:?}"))?
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
