//! Waiting with limits. A limit costs one timer, set when the wait first has to pause and moved only
//! when it fires early, so that activity which postpones a limit costs nothing.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Instant;
use tokio::time::Sleep;

/// Waits for `future` until the earliest limit that `next` gives; then gives that limit. `next` is
/// asked again whenever a limit seems to have passed, so it may move.
pub async fn limited<F, L>(
    future: F,
    mut next: impl FnMut(Instant) -> Option<(Instant, L)>,
) -> Result<F::Output, L>
where
    F: Future,
{
    let mut future = pin!(future);
    let mut timer: Option<Pin<Box<Sleep>>> = None;
    std::future::poll_fn(move |context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Ok(output));
        }
        loop {
            if let Some(timer) = &mut timer
                && timer.as_mut().poll(context).is_pending()
            {
                return Poll::Pending;
            }
            let now = tokio::time::Instant::now().into_std();
            match next(now) {
                None => return Poll::Pending,
                Some((at, limit)) if at <= now => return Poll::Ready(Err(limit)),
                Some((at, _)) => match &mut timer {
                    Some(timer) => timer.as_mut().reset(at.into()),
                    None => timer = Some(Box::pin(tokio::time::sleep_until(at.into()))),
                },
            }
        }
    })
    .await
}

#[cfg(test)]
#[path = "timeout_tests.rs"]
mod tests;
