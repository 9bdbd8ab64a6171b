//! Probes on behalf of the kubelet: `/app-health/CONTAINER/readyz` asks the application what its
//! own probe would have asked. What may be asked is fixed at injection; a caller chooses nothing.

use crate::metrics::get;
use crate::outbound;
use http::StatusCode;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// The probes of the pod by path.
#[derive(Debug, Default)]
pub(crate) struct Probers(BTreeMap<String, Prober>);

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Prober {
    http_get: Option<HttpGet>,
    tcp_socket: Option<TcpSocket>,
    grpc: Option<Grpc>,
    timeout_seconds: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct HttpGet {
    #[serde(default)]
    path: String,
    port: u16,
    #[serde(default)]
    scheme: String,
    #[serde(default)]
    http_headers: Vec<Header>,
}

#[derive(Debug, Deserialize)]
struct Header {
    name: String,
    value: String,
}

#[derive(Debug, Deserialize)]
struct TcpSocket {
    port: u16,
}

#[derive(Debug, Deserialize)]
struct Grpc {
    port: u16,
    #[serde(default)]
    service: String,
}

impl Probers {
    /// Reads `ISTIO_KUBE_APP_PROBERS`.
    pub(crate) fn parse(text: Option<&str>) -> Result<Self, serde_json::Error> {
        text.map(serde_json::from_str).transpose().map(|probers| Self(probers.unwrap_or_default()))
    }

    /// Runs the probe of `path` against `host`; the status is the application's, 404 for a path that
    /// has no probe, 500 for an application that does not answer.
    pub(crate) async fn run(&self, path: &str, host: IpAddr) -> (StatusCode, String) {
        let Some(prober) = self.0.get(path) else {
            return (StatusCode::NOT_FOUND, format!("no probe {path}\n"));
        };
        match prober.ask(host).await {
            Ok(status) => (status, String::new()),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}\n")),
        }
    }
}

impl Prober {
    async fn ask(&self, host: IpAddr) -> anyhow::Result<StatusCode> {
        let timeout = Duration::from_secs(self.timeout_seconds.unwrap_or(1));
        if let Some(probe) = &self.http_get {
            anyhow::ensure!(
                !probe.scheme.eq_ignore_ascii_case("https"),
                "HTTPS probes cannot go through the agent; annotate the pod with \
                 sidecar.istio.io/rewriteAppHTTPProbers=\"false\" or probe over HTTP"
            );
            let headers: Vec<(String, String)> =
                probe.http_headers.iter().map(|header| (header.name.clone(), header.value.clone())).collect();
            let path =
                if probe.path.starts_with('/') { probe.path.clone() } else { format!("/{}", probe.path) };
            return Ok(get(SocketAddr::new(host, probe.port), &path, &headers, timeout).await?.0);
        }
        if let Some(probe) = &self.tcp_socket {
            outbound::connect_to_application(SocketAddr::new(host, probe.port), timeout).await?;
            return Ok(StatusCode::OK);
        }
        if let Some(probe) = &self.grpc {
            return grpc(SocketAddr::new(host, probe.port), &probe.service, timeout).await;
        }
        anyhow::bail!("the probe asks nothing")
    }
}

/// `grpc.health.v1.Health/Check`, by hand: one message of one string out, one of one number back.
async fn grpc(address: SocketAddr, service: &str, timeout: Duration) -> anyhow::Result<StatusCode> {
    #[derive(Clone, PartialEq, prost::Message)]
    struct CheckRequest {
        #[prost(string, tag = "1")]
        service: String,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    struct CheckResponse {
        #[prost(int32, tag = "1")]
        status: i32,
    }
    const SERVING: i32 = 1;

    let connector = tower::service_fn(move |_: http::Uri| async move {
        outbound::connect_to_application(address, timeout).await.map(hyper_util::rt::TokioIo::new)
    });
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}"))?
        .timeout(timeout)
        .connect_with_connector(connector)
        .await?;
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await?;
    let codec = tonic_prost::ProstCodec::<CheckRequest, CheckResponse>::default();
    let path = http::uri::PathAndQuery::from_static("/grpc.health.v1.Health/Check");
    let request = tonic::Request::new(CheckRequest { service: service.to_owned() });
    let answer = client.unary(request, path, codec).await?;
    let healthy = answer.into_inner().status == SERVING;
    Ok(if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE })
}

#[cfg(test)]
#[path = "probes_tests.rs"]
mod tests;
