//! The body of an upstream's response. Its end gives the connection back.

use super::http1::{Http1Lease, chain};
use super::http2::Http2Lease;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// The body of an upstream's response.
pub struct ResponseBody(Inner);

enum Inner {
    Http1 {
        body: Incoming,
        /// The connection, until the body has ended.
        lease: Option<Http1Lease>,
        /// Whether the request's body was sent whole; only then may the connection be used again.
        sent: Option<Rc<Cell<bool>>>,
    },
    Http2 {
        body: h2::RecvStream,
        /// The stream's place on its connection, until the body has ended.
        lease: Option<Http2Lease>,
        data_ended: bool,
    },
}

/// Why a body did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The upstream closed the connection.
    #[error("{0}")]
    Closed(String),
    /// The upstream reset the stream.
    #[error("{0}")]
    Reset(String),
}

impl ResponseBody {
    pub(super) fn http1(body: Incoming, lease: Option<Http1Lease>, sent: Option<Rc<Cell<bool>>>) -> Self {
        let mut this = Self(Inner::Http1 { body, lease, sent });
        if this.is_end_stream() {
            this.release();
        }
        this
    }

    pub(super) fn http2(body: h2::RecvStream, lease: Http2Lease) -> Self {
        let mut this = Self(Inner::Http2 { body, lease: Some(lease), data_ended: false });
        if this.is_end_stream() {
            this.release();
        }
        this
    }

    /// Gives the connection back.
    fn release(&mut self) {
        match &mut self.0 {
            Inner::Http1 { lease, sent, .. } => {
                let whole = sent.as_ref().is_none_or(|sent| sent.get());
                if let Some(lease) = lease.take().filter(|_| whole) {
                    lease.release();
                }
            }
            Inner::Http2 { lease, .. } => drop(lease.take()),
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.0 {
            Inner::Http1 { body, .. } => {
                let frame = ready!(Pin::new(body).poll_frame(context));
                Poll::Ready(frame.map(|frame| frame.map_err(|error| BodyError::Closed(chain(&error)))))
            }
            Inner::Http2 { body, data_ended, .. } => {
                if !*data_ended {
                    match ready!(body.poll_data(context)) {
                        Some(Ok(data)) => {
                            // What we hold is bounded by our own downstream's flow control.
                            let _ = body.flow_control().release_capacity(data.len());
                            return Poll::Ready(Some(Ok(Frame::data(data))));
                        }
                        Some(Err(error)) => return Poll::Ready(Some(Err(failed(&error)))),
                        None => *data_ended = true,
                    }
                }
                match ready!(body.poll_trailers(context)) {
                    Ok(Some(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                    Ok(None) => Poll::Ready(None),
                    Err(error) => Poll::Ready(Some(Err(failed(&error)))),
                }
            }
        }
    }
}

fn failed(error: &h2::Error) -> BodyError {
    if error.is_reset() { BodyError::Reset(error.to_string()) } else { BodyError::Closed(error.to_string()) }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(self.poll(context));
        let ended = match &frame {
            None => true,
            Some(Ok(frame)) => frame.is_trailers() || self.is_end_stream(),
            Some(Err(_)) => false,
        };
        if ended {
            self.release();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Http1 { body, .. } => body.is_end_stream(),
            Inner::Http2 { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Http1 { body, .. } => body.size_hint(),
            Inner::Http2 { .. } => SizeHint::default(),
        }
    }
}
