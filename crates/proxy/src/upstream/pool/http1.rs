//! HTTP/1.1 connections of a pool.

use super::response::ResponseBody;
use super::{HostPool, Kind, Lease, OpenInPool, SendError, SendFailure};
use crate::http::body::RequestBody;
use crate::stream::Stream;
use crate::upstream::connect::ConnectionInfo;
use crate::upstream::settings::HeaderCase;
use http::{Request, Response};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

/// Headers that hyper takes unless told otherwise; also Envoy's default.
const HYPER_HEADERS: usize = 100;

/// What reads and writes a connection. It is a task of its own, and it is run at once when a request has
/// been handed to it: the request is on its way before anything is done that can wait.
struct Driver {
    connection: RefCell<Option<Running>>,
    /// The task's.
    waker: RefCell<Option<Waker>>,
}

type Running = Pin<Box<dyn Future<Output = hyper::Result<()>>>>;

impl Driver {
    /// The task.
    async fn run(&self) {
        poll_fn(|context| {
            let mut waker = self.waker.borrow_mut();
            match &mut *waker {
                Some(waker) => waker.clone_from(context.waker()),
                none => *none = Some(context.waker().clone()),
            }
            drop(waker);
            self.poll(context)
        })
        .await;
    }

    fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        // It is not run from within itself: a request's body does not reach its own connection.
        let Ok(mut slot) = self.connection.try_borrow_mut() else { return Poll::Pending };
        let Some(connection) = &mut *slot else { return Poll::Ready(()) };
        // How the connection ended is told to the request that used it; an idle one just ends.
        let _ = ready!(connection.as_mut().poll(context));
        *slot = None;
        Poll::Ready(())
    }

    /// Does now what the task would do next. It is still the task that is woken for what comes later.
    fn hurry(&self) {
        let waker = self.waker.borrow().clone();
        if let Some(waker) = waker
            && self.poll(&mut Context::from_waker(&waker)).is_ready()
        {
            waker.wake();
        }
    }
}

/// An idle connection.
pub(super) struct Idle {
    sender: SendRequest<RequestBody>,
    driver: Rc<Driver>,
    info: Rc<ConnectionInfo>,
    served: u32,
    pub(super) since: Instant,
}

impl Idle {
    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

/// A connection in use by one request.
pub(in crate::upstream) struct Http1Lease {
    sender: SendRequest<RequestBody>,
    driver: Rc<Driver>,
    info: Rc<ConnectionInfo>,
    served: u32,
    pool: Weak<HostPool>,
}

/// Makes an HTTP/1.1 connection of a stream.
pub(super) async fn start(
    pool: &Rc<HostPool>,
    stream: Stream,
    info: ConnectionInfo,
) -> Result<Lease, String> {
    let settings = pool.cluster.settings();
    let mut builder = Builder::new();
    if settings.max_response_headers != HYPER_HEADERS {
        // Costs an allocation for each response, so only where it says something new.
        builder.max_headers(settings.max_response_headers);
    }
    match settings.header_case {
        HeaderCase::Lower => {}
        HeaderCase::Proper => {
            builder.title_case_headers(true);
        }
        HeaderCase::Preserved => {
            builder.preserve_header_case(true);
        }
    }
    let (sender, connection) =
        builder.handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let info = Rc::new(info);
    let (held, open, weak) = (Rc::clone(&info), OpenInPool::begin(pool), Rc::downgrade(pool));
    let running: Running = Box::pin(connection.with_upgrades());
    let driver = Rc::new(Driver { connection: RefCell::new(Some(running)), waker: RefCell::default() });
    let task = Rc::clone(&driver);
    tokio::task::spawn_local(async move {
        task.run().await;
        drop((held, open));
        if let Some(pool) = weak.upgrade() {
            pool.idle.borrow_mut().retain(|idle| !idle.is_closed());
            pool.changed.notify_waiters();
        }
    });
    let lease = Http1Lease { sender, driver, info: Rc::clone(&info), served: 0, pool: Rc::downgrade(pool) };
    Ok(Lease { info, reused: false, kind: Kind::Http1(lease) })
}

/// The connection used last, if it still stands.
pub(super) async fn reuse(pool: &Rc<HostPool>) -> Option<Lease> {
    loop {
        let mut idle = pool.idle.borrow_mut().pop()?;
        // A connection that has just finished a response is ready once its driver has run; one
        // that the upstream closed never is.
        if idle.sender.is_ready() || idle.sender.ready().await.is_ok() {
            let Idle { sender, driver, info, served, .. } = idle;
            let pool = Rc::downgrade(pool);
            let lease = Http1Lease { sender, driver, info: Rc::clone(&info), served, pool };
            return Some(Lease { info, reused: true, kind: Kind::Http1(lease) });
        }
    }
}

/// Sends a request and waits for the head of its response.
pub(super) async fn send(
    mut lease: Http1Lease,
    request: Request<RequestBody>,
) -> Result<Response<ResponseBody>, SendError> {
    let finished = request.body().finished();
    let sending = lease.sender.try_send_request(request);
    lease.driver.hurry();
    match sending.await {
        Ok(response) => {
            lease.served += 1;
            // A connection that changes its protocol is never an HTTP connection again.
            let lease = (response.status() != http::StatusCode::SWITCHING_PROTOCOLS).then_some(lease);
            Ok(response.map(|body| ResponseBody::http1(body, lease, finished)))
        }
        Err(mut error) => {
            let request = error.take_message().map(Box::new);
            let error = error.into_error();
            let cause = if error.is_parse() || error.is_parse_too_large() {
                SendFailure::Protocol
            } else if error.is_user() {
                SendFailure::RequestBody
            } else {
                SendFailure::ConnectionTermination
            };
            // Given back means that no byte of it was written.
            Err(SendError { cause, unsent: request.is_some(), request, reason: chain(&error) })
        }
    }
}

/// An error with its causes.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

impl Http1Lease {
    /// Gives the connection back to its pool after a response has ended.
    pub(super) fn release(self) {
        let Some(pool) = self.pool.upgrade() else { return };
        let limit = pool.cluster.settings().max_requests_per_connection;
        if self.sender.is_closed() {
            return;
        }
        if limit.is_some_and(|limit| self.served >= limit) {
            pool.cluster.counts(0).upstream_cx_max_requests.increment();
            return;
        }
        let Self { sender, driver, info, served, .. } = self;
        pool.idle.borrow_mut().push(Idle { sender, driver, info, served, since: Instant::now() });
        pool.changed.notify_one();
    }
}
