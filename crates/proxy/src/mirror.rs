//! Requests that nobody waits for: copies of traffic, and calls of the proxy's own.

use crate::http::Flight;
use crate::http::body::RequestBody;
use crate::http::headers;
use crate::upstream::balance::PickContext;
use crate::upstream::breaker::{Permit, Resource};
use crate::upstream::{Ask, Cluster, Version};
use crate::worker::Worker;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::BodyExt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Longest time for a request of our own.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Starts the copies that a route asks for. What becomes of them is nobody's concern.
pub(crate) fn start(flight: &Flight<'_>) {
    for (salt, mirror) in (1u64..).zip(&flight.forward.mirrors) {
        if !mirror.fraction.happens(flight.random, salt) || flight.upgrade.is_some() {
            continue;
        }
        let worker = Rc::clone(&flight.connection.downstream.worker);
        let Some(cluster) = worker.generation().cluster(&mirror.cluster).cloned() else { continue };
        let body = flight.source.as_ref().map_or_else(RequestBody::empty, RequestBody::copy);
        let mut request = Request::new(body);
        *request.method_mut() = flight.method.clone();
        *request.headers_mut() = flight.headers.clone();
        let authority = match flight.authority.to_str() {
            Ok(host) if mirror.mark_host => shadow(host),
            Ok(host) => host.to_owned(),
            Err(_) => continue,
        };
        let path = flight.path.clone();
        let version = flight.client_version;
        tokio::task::spawn_local(async move {
            let exchange = async {
                let response = send(&worker, &cluster, version, &authority, Uri::from(path), request).await?;
                // The answer is read to its end, so that the connection can be used again.
                let mut body = response.into_body();
                while let Some(Ok(_)) = body.frame().await {}
                Ok::<_, String>(())
            };
            match tokio::time::timeout(TIMEOUT, exchange).await {
                Ok(Ok(())) => {}
                Ok(Err(reason)) => {
                    tracing::debug!(cluster = %cluster.name(), "copy of a request failed: {reason}")
                }
                Err(_) => tracing::debug!(cluster = %cluster.name(), "copy of a request took too long"),
            }
        });
    }
}

/// `host-shadow`, before the port.
fn shadow(host: &str) -> String {
    let bare = crate::http::normalize::without_port(host);
    format!("{bare}-shadow{}", host.get(bare.len()..).unwrap_or_default())
}

/// A unary gRPC call of the proxy's own to a cluster.
pub(crate) async fn grpc_call(
    worker: &Rc<Worker>,
    cluster: &str,
    authority: &str,
    path: &'static str,
    message: Bytes,
) -> Result<(), String> {
    let cluster = worker
        .generation()
        .cluster(cluster)
        .cloned()
        .ok_or_else(|| format!("cluster '{cluster}' does not exist"))?;
    let mut request = Request::new(RequestBody::whole(message));
    *request.method_mut() = http::Method::POST;
    request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    request.headers_mut().insert(header::TE, HeaderValue::from_static("trailers"));
    let exchange = async {
        let response =
            send(worker, &cluster, http::Version::HTTP_2, authority, Uri::from_static(path), request).await?;
        let (head, body) = response.into_parts();
        let collected = body.collect().await.map_err(|error| error.to_string())?;
        let trailers = collected.trailers().and_then(headers::grpc_status);
        match trailers.or_else(|| headers::grpc_status(&head.headers)) {
            Some(0) => Ok(()),
            Some(status) => Err(format!("grpc-status {status}")),
            None => Err(format!("HTTP status {} without grpc-status", head.status)),
        }
    };
    tokio::time::timeout(TIMEOUT, exchange).await.map_err(|_| format!("no answer within {TIMEOUT:?}"))?
}

/// Sends one request to any host of a cluster.
async fn send(
    worker: &Rc<Worker>,
    cluster: &Arc<Cluster>,
    client: http::Version,
    authority: &str,
    path: Uri,
    mut request: Request<RequestBody>,
) -> Result<Response<crate::upstream::ResponseBody>, String> {
    let host = cluster.pick(worker.index, PickContext::default()).ok_or("no healthy upstream")?;
    let _permit = Permit::take(cluster, Resource::Requests).ok_or("overflow")?;
    let version = Version::choose(cluster.settings().protocol, client);
    let ask = Ask { version, server_name: None, application_protocols: None };
    let lease = worker.pools.acquire(worker, cluster, &host, ask).await.map_err(|error| error.to_string())?;
    if lease.is_http2() {
        *request.version_mut() = http::Version::HTTP_2;
        let path = path.path_and_query().map_or("/", |path| path.as_str());
        *request.uri_mut() = Uri::builder()
            .scheme("http")
            .authority(authority)
            .path_and_query(path)
            .build()
            .map_err(|error| error.to_string())?;
    } else {
        *request.uri_mut() = path;
        let host = HeaderValue::from_str(authority).map_err(|error| error.to_string())?;
        request.headers_mut().insert(header::HOST, host);
        request.headers_mut().remove(header::TE);
    }
    lease.send(request).await.map_err(|error| error.to_string())
}
