//! Probes: one attempt of each kind, made from inside the pod's network, and the counting that turns
//! attempts into a verdict.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::api::core::v1::{Container, GRPCAction, HTTPGetAction, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use mizzen_net::{ConnectOptions, NetworkNamespace};

/// How much of an answer goes into an Event.
const LONGEST_ANSWER: usize = 10 * 1024;

/// Numbers of a probe with Kubernetes' defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Before the first attempt.
    pub initial_delay: Duration,
    /// Between attempts.
    pub period: Duration,
    /// For an attempt.
    pub timeout: Duration,
    /// Failures in a row that count.
    pub failure_threshold: u32,
    /// Successes in a row that count.
    pub success_threshold: u32,
}

impl Timing {
    /// Reads a probe's numbers.
    pub fn of(probe: &Probe) -> Self {
        let seconds = |value: Option<i32>, default: u64, least: u64| {
            Duration::from_secs(
                value.and_then(|value| u64::try_from(value).ok()).unwrap_or(default).max(least),
            )
        };
        let count = |value: Option<i32>, default: u32| {
            value.and_then(|value| u32::try_from(value).ok()).unwrap_or(default).max(1)
        };
        Self {
            initial_delay: seconds(probe.initial_delay_seconds, 0, 0),
            period: seconds(probe.period_seconds, 10, 1),
            timeout: seconds(probe.timeout_seconds, 1, 1),
            failure_threshold: count(probe.failure_threshold, 3),
            success_threshold: count(probe.success_threshold, 1),
        }
    }
}

/// Counts attempts.
#[derive(Debug)]
pub struct Counter {
    timing: Timing,
    passed: bool,
    successes: u32,
    failures: u32,
    eager: u32,
}

/// What follows from an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing new.
    Same,
    /// The probe passes now.
    Passes,
    /// The probe fails now, or has failed so often again.
    Fails,
}

impl Counter {
    /// Nothing has been tried.
    pub fn new(timing: Timing) -> Self {
        Self { timing, passed: false, successes: 0, failures: 0, eager: 0 }
    }

    /// Counts an attempt.
    pub fn count(&mut self, success: bool) -> Turn {
        if success {
            self.failures = 0;
            self.successes += 1;
            let turned = !self.passed && self.successes >= self.timing.success_threshold;
            self.passed |= turned;
            return if turned { Turn::Passes } else { Turn::Same };
        }
        self.successes = 0;
        // A quick attempt that comes too early is no failure: only those at the probe's own pace count.
        if self.is_early() {
            return Turn::Same;
        }
        self.failures += 1;
        if self.failures < self.timing.failure_threshold {
            return Turn::Same;
        }
        self.failures = 0;
        self.passed = false;
        Turn::Fails
    }

    /// Until the first success attempts come quickly at first, 50 ms apart and doubling, so that a
    /// pod is ready when it is ready and not at its probe's next period.
    pub fn is_early(&self) -> bool {
        !self.passed && self.eager_pause() < self.timing.period
    }

    fn eager_pause(&self) -> Duration {
        Duration::from_millis(50 << self.eager.min(20))
    }

    /// The time until the next attempt.
    pub fn pause(&mut self) -> Duration {
        if self.is_early() {
            let pause = self.eager_pause();
            self.eager += 1;
            return pause;
        }
        self.timing.period
    }
}

/// Where a container is probed.
#[derive(Clone, Debug)]
pub struct Target {
    /// The pod's network.
    pub network: NetworkNamespace,
    /// The pod's address.
    pub address: Ipv4Addr,
    /// The container, for its named ports.
    pub container: Container,
}

impl Target {
    fn port(&self, port: &IntOrString) -> Result<u16, String> {
        let (number, text) = match port {
            IntOrString::Int(number) => (Some(*number), number.to_string()),
            IntOrString::String(name) => {
                let ports = self.container.ports.iter().flatten();
                let mut named = ports.filter(|port| port.name.as_deref() == Some(name));
                let number = named.next().map(|port| port.container_port).or_else(|| name.parse().ok());
                (number, name.clone())
            }
        };
        let port = number.and_then(|number| u16::try_from(number).ok()).filter(|number| *number > 0);
        port.ok_or_else(|| format!("the container has no port {text}"))
    }

    fn host(&self, host: Option<&str>) -> Result<IpAddr, String> {
        match host.filter(|host| !host.is_empty()) {
            None => Ok(self.address.into()),
            Some("localhost") => Ok(Ipv4Addr::LOCALHOST.into()),
            Some(host) => {
                host.parse().map_err(|_| format!("the host {host:?} of a probe must be an IP address here"))
            }
        }
    }
}

/// One TCP attempt.
pub async fn tcp(target: &Target, host: Option<&str>, port: &IntOrString) -> Result<(), String> {
    let address = SocketAddr::new(target.host(host)?, target.port(port)?);
    connect(target, address).await.map(|_| ())
}

async fn connect(target: &Target, address: SocketAddr) -> Result<tokio::net::TcpStream, String> {
    let connected = target.network.connect(address, &ConnectOptions::default()).await;
    connected.map_err(|error| format!("dial tcp {address}: {error}"))
}

/// One HTTP attempt: any status from 200 to 399 is a success.
pub async fn http(target: &Target, action: &HTTPGetAction) -> Result<(), String> {
    if action.scheme.as_deref() == Some("HTTPS") {
        // Kubelets do not verify the certificate either, so that something answers is what counts.
        return tcp(target, action.host.as_deref(), &action.port).await;
    }
    let address = SocketAddr::new(target.host(action.host.as_deref())?, target.port(&action.port)?);
    let stream = connect(target, address).await?;
    let path = action.path.as_deref().filter(|path| !path.is_empty()).unwrap_or("/");
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let mut request =
        http::Request::get(path).header("user-agent", "kube-probe/1.33").header("accept", "*/*");
    let headers = action.http_headers.iter().flatten();
    let mut host = address.to_string();
    for header in headers {
        if header.name.eq_ignore_ascii_case("host") {
            host.clone_from(&header.value);
        } else {
            request = request.header(&header.name, &header.value);
        }
    }
    let request = request.header("host", host).header("connection", "close");
    let request =
        request.body(Full::<Bytes>::default()).map_err(|error| format!("the probe's request: {error}"))?;
    let broken = |error: hyper::Error| format!("Get \"http://{address}\": {error}");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let driver = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(broken)?;
    let status = response.status();
    let body = Limited::new(response.into_body(), LONGEST_ANSWER).collect().await;
    driver.abort();
    if status.is_success() || status.is_redirection() {
        return Ok(());
    }
    let text = body.map(|body| body.to_bytes()).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    Err(format!("HTTP probe failed with statuscode: {} {}", status.as_u16(), text.trim()).trim().to_owned())
}

/// One attempt of `grpc.health.v1.Health/Check`.
pub async fn grpc(target: &Target, action: &GRPCAction) -> Result<(), String> {
    let address = SocketAddr::new(target.address.into(), target.port(&IntOrString::Int(action.port))?);
    let stream = connect(target, address).await?;
    let broken = |error: hyper::Error| format!("grpc health check of {address}: {error}");
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(broken)?;
    let driver = tokio::spawn(connection);
    let request = http::Request::post(format!("http://{address}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::<Bytes>::from(health_request(action.service.as_deref().unwrap_or_default())))
        .map_err(|error| format!("the probe's request: {error}"))?;
    let response = sender.send_request(request).await.map_err(broken)?;
    let early = response.headers().get("grpc-status").cloned();
    let body = Limited::new(response.into_body(), LONGEST_ANSWER).collect().await;
    driver.abort();
    let body = body.map_err(|error| format!("grpc health check of {address}: {error}"))?;
    let status = early.or_else(|| body.trailers().and_then(|trailers| trailers.get("grpc-status").cloned()));
    if let Some(status) = status.filter(|status| status != "0") {
        return Err(format!(
            "grpc health check of {address}: status {}",
            status.to_str().unwrap_or("unreadable")
        ));
    }
    match health_status(&body.to_bytes()) {
        Some(SERVING) => Ok(()),
        other => Err(format!("service unhealthy (responded with {})", health_name(other))),
    }
}

const SERVING: u8 = 1;

fn health_name(status: Option<u8>) -> &'static str {
    match status {
        Some(0) => "UNKNOWN",
        Some(2) => "NOT_SERVING",
        Some(3) => "SERVICE_UNKNOWN",
        _ => "no status",
    }
}

/// `HealthCheckRequest{service}` with gRPC's frame.
fn health_request(service: &str) -> Bytes {
    let mut message = Vec::new();
    // A service's name is far below the 127 bytes of a one-byte length; a longer one is cut.
    let service: Vec<u8> = service.bytes().take(127).collect();
    if !service.is_empty() {
        message.extend([0x0a, service.len() as u8]);
        message.extend(service);
    }
    let mut frame = vec![0];
    frame.extend((message.len() as u32).to_be_bytes());
    frame.extend(message);
    frame.into()
}

/// The status of a `HealthCheckResponse` with gRPC's frame; a message without one means 0.
fn health_status(frame: &[u8]) -> Option<u8> {
    let message = frame.get(5..)?;
    match message {
        [] => Some(0),
        [0x08, status, ..] => Some(*status),
        _ => None,
    }
}

#[cfg(test)]
#[path = "probes_tests.rs"]
mod tests;
