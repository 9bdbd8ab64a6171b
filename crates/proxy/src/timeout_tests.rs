use super::*;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn the_earliest_limit_ends_the_wait() {
    let start = tokio::time::Instant::now();
    let limit = start.into_std() + Duration::from_secs(3);
    let ended = limited(std::future::pending::<()>(), |_| Some((limit, "late"))).await;
    assert_eq!((ended, start.elapsed()), (Err("late"), Duration::from_secs(3)));
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_moves_is_waited_for() {
    let start = tokio::time::Instant::now();
    let mut asked = 0;
    let ended = limited(std::future::pending::<()>(), |now| {
        asked += 1;
        // Something happened before each of the first two limits.
        Some((if asked < 6 { now + Duration::from_secs(1) } else { now }, ()))
    })
    .await;
    assert_eq!(ended, Err(()));
    assert!(start.elapsed() >= Duration::from_secs(5));
}

#[tokio::test]
async fn what_is_ready_needs_no_limit() {
    let ended = limited(async { 7 }, |now| Some((now, ()))).await;
    assert_eq!(ended, Ok(7));
}
