//! Waiting with limits. A limit costs one timer, set when the wait first has to pause and moved only
//! when it fires early, so that activity which postpones a limit costs nothing.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::time::Sleep;

/// Waits for `future` until the earliest limit that `next` gives; then gives that limit. `next` is
/// asked again whenever a limit seems to have passed, so it may move.
pub fn limited<F, L, N>(future: F, next: N) -> Limited<F, N>
where
    F: Future,
    N: FnMut(Instant) -> Option<(Instant, L)>,
{
    Limited { future, next, timer: None }
}

pin_project_lite::pin_project! {
    /// See [`limited`]. Not an `async fn`, which would hold the inner future twice: it is the largest
    /// part of what a request in flight takes.
    pub struct Limited<F, N> {
        #[pin]
        future: F,
        next: N,
        timer: Option<Pin<Box<Sleep>>>,
    }
}

impl<F, L, N> Future for Limited<F, N>
where
    F: Future,
    N: FnMut(Instant) -> Option<(Instant, L)>,
{
    type Output = Result<F::Output, L>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.future.poll(context) {
            return Poll::Ready(Ok(output));
        }
        loop {
            if let Some(timer) = &mut *this.timer
                && timer.as_mut().poll(context).is_pending()
            {
                return Poll::Pending;
            }
            let now = tokio::time::Instant::now().into_std();
            match (this.next)(now) {
                None => return Poll::Pending,
                Some((at, limit)) if at <= now => return Poll::Ready(Err(limit)),
                Some((at, _)) => match &mut *this.timer {
                    Some(timer) => timer.as_mut().reset(at.into()),
                    None => *this.timer = Some(Box::pin(tokio::time::sleep_until(at.into()))),
                },
            }
        }
    }
}

#[cfg(test)]
#[path = "timeout_tests.rs"]
mod tests;
