//! Calling a webhook: find where it is, connect, check who it is, ask.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::api::Api;
use crate::http::body::MAX_BODY;
use crate::object::{at, integer, items, label, text, text_or_empty};

/// Spreads calls over a webhook's endpoints.
#[derive(Default)]
pub(crate) struct WebhookClient {
    turn: AtomicUsize,
}

/// Where to call and who should answer.
#[derive(Debug, PartialEq)]
struct Destination {
    /// Host and port to connect to.
    address: String,
    /// Name the certificate has to be for.
    server_name: String,
    /// What error messages call it.
    url: String,
    path: String,
}

/// Sends the question and gives the `response` of the answer.
pub(super) async fn call(api: &Api, webhook: &Value, question: &Value) -> Result<Value, String> {
    let seconds = integer(webhook, &["timeoutSeconds"]).unwrap_or(10).clamp(1, 30);
    let destination = destination(api, webhook, seconds)?;
    let tls = client_config(webhook)?;
    let url = destination.url.clone();
    let timeout = Duration::from_secs(u64::try_from(seconds).unwrap_or(10));
    let answer = tokio::time::timeout(timeout, exchange(&destination, tls, question))
        .await
        .map_err(|_| format!("Post {url:?}: context deadline exceeded"))?
        .map_err(|reason| format!("Post {url:?}: {reason}"))?;
    match text(&answer, &["kind"]) {
        Some("AdmissionReview") => {}
        _ => return Err(format!("{url:?} did not answer with an AdmissionReview")),
    }
    answer
        .get("response")
        .filter(|response| response.is_object())
        .cloned()
        .ok_or_else(|| format!("{url:?} answered without a response"))
}

fn destination(api: &Api, webhook: &Value, seconds: i64) -> Result<Destination, String> {
    if let Some(url) = text(webhook, &["clientConfig", "url"]) {
        return from_url(url, seconds);
    }
    let service =
        at(webhook, &["clientConfig", "service"]).ok_or("the webhook has neither url nor service")?;
    let (namespace, name) = (text_or_empty(service, &["namespace"]), text_or_empty(service, &["name"]));
    let port = integer(service, &["port"]).unwrap_or(443);
    let path = match text_or_empty(service, &["path"]) {
        "" => "/",
        path => path,
    };
    let server_name = format!("{name}.{namespace}.svc");
    let path = format!("{path}?timeout={seconds}s");
    let url = format!("https://{server_name}:{port}{path}");
    let addresses =
        endpoints(api, namespace, name, port).map_err(|reason| format!("Post {url:?}: {reason}"))?;
    let turn = api.webhooks.turn.fetch_add(1, Ordering::Relaxed);
    let address = addresses
        .get(turn % addresses.len().max(1))
        .ok_or_else(|| format!("Post {url:?}: no endpoints available for service {name:?}"))?;
    Ok(Destination { address: address.to_string(), server_name, url, path })
}

fn from_url(url: &str, seconds: i64) -> Result<Destination, String> {
    let parsed: http::Uri =
        url.parse().map_err(|error| format!("the webhook's url {url:?} is not valid: {error}"))?;
    if parsed.scheme_str() != Some("https") {
        return Err(format!("the webhook's url {url:?} must begin with https://"));
    }
    let host = parsed.host().ok_or_else(|| format!("the webhook's url {url:?} has no host"))?;
    let port = parsed.port_u16().unwrap_or(443);
    let path = format!("{}?timeout={seconds}s", parsed.path());
    Ok(Destination {
        address: format!("{host}:{port}"),
        server_name: host.trim_matches(['[', ']']).to_owned(),
        url: format!("{url}?timeout={seconds}s"),
        path,
    })
}

/// The ready endpoints of a Service's port, found in the server's own store.
fn endpoints(api: &Api, namespace: &str, name: &str, port: i64) -> Result<Vec<SocketAddr>, String> {
    let service =
        api.store.get("/services", namespace, name).ok_or_else(|| format!("service {name:?} not found"))?;
    let service_port = items(&service.object, &["spec", "ports"])
        .iter()
        .find(|found| integer(found, &["port"]) == Some(port))
        .ok_or_else(|| format!("no service port {port} found for service {name:?}"))?;
    let port_name = text_or_empty(service_port, &["name"]);
    let (slices, _) = api.store.list("discovery.k8s.io/endpointslices", Some(namespace));
    let mut found = Vec::new();
    for slice in
        slices.iter().filter(|slice| label(&slice.object, "kubernetes.io/service-name") == Some(name))
    {
        let number = items(&slice.object, &["ports"])
            .iter()
            .find(|port| text_or_empty(port, &["name"]) == port_name)
            .and_then(|port| integer(port, &["port"]))
            .and_then(|port| u16::try_from(port).ok());
        let Some(number) = number else { continue };
        let ready = items(&slice.object, &["endpoints"])
            .iter()
            .filter(|endpoint| at(endpoint, &["conditions", "ready"]) != Some(&Value::Bool(false)));
        let addresses = ready.flat_map(|endpoint| items(endpoint, &["addresses"])).filter_map(Value::as_str);
        found.extend(addresses.filter_map(|address| Some(SocketAddr::new(address.parse().ok()?, number))));
    }
    Ok(found)
}

fn client_config(webhook: &Value) -> Result<Arc<ClientConfig>, String> {
    let bundle = text_or_empty(webhook, &["clientConfig", "caBundle"]);
    if bundle.is_empty() {
        return Err("the webhook has no caBundle to check its certificate by".to_owned());
    }
    let pem = base64::engine::general_purpose::STANDARD
        .decode(bundle)
        .map_err(|error| format!("the webhook's caBundle is not base64: {error}"))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate =
            certificate.map_err(|error| format!("the webhook's caBundle is not PEM: {error}"))?;
        roots
            .add(certificate)
            .map_err(|error| format!("the webhook's caBundle holds a broken certificate: {error}"))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

async fn exchange(
    destination: &Destination,
    tls: Arc<ClientConfig>,
    question: &Value,
) -> Result<Value, String> {
    let name = ServerName::try_from(destination.server_name.clone()).map_err(|error| error.to_string())?;
    let stream = TcpStream::connect(&destination.address).await.map_err(|error| error.to_string())?;
    let stream = TlsConnector::from(tls).connect(name, stream).await.map_err(|error| error.to_string())?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    let request = http::Request::post(&destination.path)
        .header(HOST, &destination.server_name)
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(question.to_string())))
        .map_err(|error| error.to_string())?;
    // Ends by itself when the sender is dropped.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection to a webhook ended");
        }
    });
    let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let status = response.status();
    let body =
        Limited::new(response.into_body(), MAX_BODY).collect().await.map_err(|error| error.to_string())?;
    if !status.is_success() {
        return Err(format!(
            "the server answered {status}: {}",
            String::from_utf8_lossy(&body.to_bytes()).trim()
        ));
    }
    serde_json::from_slice(&body.to_bytes()).map_err(|error| format!("the answer is not JSON: {error}"))
}
