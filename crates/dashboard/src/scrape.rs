//! Scraping: which pods say that they have metrics, and reading them every few seconds.

use crate::store::Store;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::{WatchStreamExt as _, reflector, watcher};
use parking_lot::RwLock;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::net::TcpStream;

/// How often each pod is read.
pub const INTERVAL: Duration = Duration::from_secs(2);
/// How long a pod may take to answer.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How many pods are read at a time.
const AT_ONCE: usize = 32;
/// The most that is read of one pod.
const LARGEST_ANSWER: usize = 32 << 20;

/// The pods of the cluster, kept current.
pub type Pods = reflector::Store<Pod>;

/// Starts to watch pods; the returned store fills as they come in.
pub fn watch_pods(client: &kube::Client) -> Pods {
    let (reader, writer) = reflector::store();
    let pods: kube::Api<Pod> = kube::Api::all(client.clone());
    let stream =
        watcher(pods, watcher::Config::default()).default_backoff().reflect(writer).touched_objects();
    tokio::spawn(async move {
        let mut stream = std::pin::pin!(stream);
        loop {
            match stream.try_next().await {
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(error) => tracing::warn!("cannot watch pods, trying again: {error}"),
            }
        }
    });
    reader
}

/// Where a pod's metrics are.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    pod: String,
    namespace: String,
    address: String,
    path: String,
}

/// The target of a running pod that is annotated for scraping.
fn target(pod: &Pod) -> Option<Target> {
    let status = pod.status.as_ref()?;
    if status.phase.as_deref() != Some("Running") || pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let annotations = pod.metadata.annotations.as_ref()?;
    if annotations.get("prometheus.io/scrape").map(String::as_str) != Some("true") {
        return None;
    }
    let port = annotations.get("prometheus.io/port")?;
    Some(Target {
        pod: pod.metadata.name.clone()?,
        namespace: pod.metadata.namespace.clone()?,
        address: format!("{}:{port}", status.pod_ip.as_ref()?),
        path: annotations.get("prometheus.io/path").cloned().unwrap_or_else(|| "/metrics".to_owned()),
    })
}

/// Reads all pods for ever.
pub async fn run(pods: Pods, store: Arc<RwLock<Store>>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let targets: Vec<Target> = pods.state().iter().filter_map(|pod| target(pod)).collect();
        let answers = futures::stream::iter(targets).map(|target| async move {
            let answer = tokio::time::timeout(TIMEOUT, get(&target.address, &target.path)).await;
            (target, answer)
        });
        let mut answers = answers.buffer_unordered(AT_ONCE);
        while let Some((target, answer)) = answers.next().await {
            match answer {
                Ok(Ok(text)) => store.write().ingest(&target.pod, &target.namespace, &text, now()),
                Ok(Err(error)) => tracing::debug!(pod = target.pod, "cannot read metrics: {error:#}"),
                Err(_) => tracing::debug!(pod = target.pod, "reading metrics took too long"),
            }
        }
        store.write().expire(now());
    }
}

/// Milliseconds since 1970.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The body of a plain GET.
async fn get(address: &str, path: &str) -> anyhow::Result<String> {
    request(address, path, None).await
}

/// The body of a GET, with a bearer token where one is given.
pub async fn request(address: &str, path: &str, token: Option<&str>) -> anyhow::Result<String> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let mut request = http::Request::get(path).header(http::header::HOST, address);
    if let Some(token) = token {
        request = request.header(http::header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let response = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), LARGEST_ANSWER).collect().await;
    driver.abort();
    let body = body.map_err(|error| anyhow::anyhow!("the answer broke off: {error}"))?.to_bytes();
    anyhow::ensure!(status.is_success(), "{address} answered {status} to {path}");
    Ok(String::from_utf8_lossy(&body).into_owned())
}

#[cfg(test)]
#[path = "scrape_tests.rs"]
mod tests;
