//! Discovery and certificates over gRPC, for callers that are known by the time a service sees
//! them.

use crate::caller::{Authenticator, Caller, Credentials};
use crate::issue::CertificateService;
use crate::push::Proxies;
use futures::{Stream, TryStreamExt as _};
use mizzen_base::drain::DrainWatcher;
use mizzen_base::prompt::Prompt;
use mizzen_proto::ca::istio_certificate_service_server::IstioCertificateServiceServer;
use mizzen_xds::server::AdsService;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::Status;
use tonic::codegen::{BoxFuture, Service};
use tonic::transport::server::Connected;

/// A dead client is noticed this soon. Source: Istio, `keepaliveInterval` and `keepaliveTimeout`.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Open gRPC streams on one connection.
const STREAMS_PER_CONNECTION: u32 = 128;
/// Largest certificate request.
const REQUEST_BYTES: usize = 64 << 10;

/// What is served on every gRPC port.
#[derive(Clone)]
pub(crate) struct GrpcServices {
    pub(crate) discovery: AdsService<Proxies>,
    pub(crate) certificates: Arc<CertificateService>,
    pub(crate) authenticator: Arc<Authenticator>,
}

impl GrpcServices {
    /// Serves `incoming` until the drain starts and open calls have ended. Callers that have proved
    /// nothing get in only with `anonymous`.
    pub(crate) async fn serve<I>(
        self,
        incoming: impl Stream<Item = io::Result<Prompt<I>>>,
        anonymous: bool,
        mut drain: DrainWatcher,
    ) where
        I: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    {
        let certificates = IstioCertificateServiceServer::from_arc(self.certificates)
            .max_decoding_message_size(REQUEST_BYTES);
        let authenticator = self.authenticator;
        let served = tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .max_concurrent_streams(STREAMS_PER_CONNECTION)
            .layer(AuthenticateLayer { authenticator, anonymous })
            .add_service(self.discovery)
            .add_service(certificates)
            .serve_with_incoming_shutdown(incoming.map_ok(Known), async move { drain.started().await })
            .await;
        if let Err(error) = served {
            tracing::error!("serving gRPC ended: {error}");
        }
    }
}

/// A connection whose other end calls can ask for.
struct Known<S>(Prompt<S>);

impl<S: Connected> Connected for Known<S> {
    type ConnectInfo = S::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.0.get_ref().connect_info()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Known<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Known<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[derive(Clone)]
struct AuthenticateLayer {
    authenticator: Arc<Authenticator>,
    anonymous: bool,
}

impl<S> tower::Layer<S> for AuthenticateLayer {
    type Service = Authenticated<S>;

    fn layer(&self, inner: S) -> Authenticated<S> {
        Authenticated { inner, authenticator: self.authenticator.clone(), anonymous: self.anonymous }
    }
}

/// A service whose requests carry their [`Caller`].
#[derive(Clone)]
struct Authenticated<S> {
    inner: S,
    authenticator: Arc<Authenticator>,
    anonymous: bool,
}

impl<S, B> Service<http::Request<B>> for Authenticated<S>
where
    S: Service<http::Request<B>, Response = http::Response<tonic::body::Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
    B: Send + 'static,
{
    type Response = S::Response;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<B>) -> Self::Future {
        // The service that is ready is the one that was polled, not its clone.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let (authenticator, anonymous) = (self.authenticator.clone(), self.anonymous);
        let credentials = Credentials::of(&request);
        Box::pin(async move {
            let caller = match authenticator.caller(&credentials).await {
                Ok(Caller::Anonymous) if !anonymous => Err(Status::unauthenticated(
                    "present a service account token for audience istio-ca, or a certificate of the mesh",
                )),
                verdict => verdict,
            };
            match caller {
                Ok(caller) => {
                    request.extensions_mut().insert(caller);
                    inner.call(request).await
                }
                Err(status) => Ok(status.into_http()),
            }
        })
    }
}
