use super::*;
use futures::FutureExt as _;

/// What may be taken at once.
fn now(flow: &Flow, stream: u32, wanted: usize) -> Option<Option<usize>> {
    flow.take(stream, wanted).now_or_never()
}

#[test]
fn a_peer_that_knows_no_windows_is_not_held_back() {
    let flow = Flow::new();
    flow.open(1);
    assert_eq!(now(&flow, 1, 1 << 20), Some(Some(1 << 20)));
    assert_eq!(now(&flow, 1, 1 << 20), Some(Some(1 << 20)));
}

#[test]
fn windows_are_kept_from_when_they_are_spoken_of() {
    let flow = Flow::new();
    flow.open(1);
    flow.open(3);
    assert_eq!(now(&flow, 1, 60_000), Some(Some(60_000)));
    flow.grant(1, 10_000).unwrap();
    // The stream has 15,536 left, the session 5,536.
    assert_eq!(now(&flow, 1, 60_000), Some(Some(5_536)));
    assert_eq!(now(&flow, 3, 1), None);
    flow.grant(0, 100_000).unwrap();
    assert_eq!(now(&flow, 1, 60_000), Some(Some(10_000)));
    assert_eq!(now(&flow, 1, 1), None);
    assert_eq!(now(&flow, 3, 60_000), Some(Some(60_000)));
}

#[test]
fn a_smaller_setting_may_leave_less_than_nothing() {
    let flow = Flow::new();
    flow.open(1);
    assert_eq!(now(&flow, 1, 1000), Some(Some(1000)));
    flow.set_initial(100);
    assert_eq!(now(&flow, 1, 1), None);
    flow.grant(1, 900).unwrap();
    assert_eq!(now(&flow, 1, 1), None);
    flow.grant(1, 1).unwrap();
    assert_eq!(now(&flow, 1, 5), Some(Some(1)));
}

#[tokio::test]
async fn waiting_ends_with_a_grant_or_with_the_stream() {
    let flow = Flow::new();
    flow.open(1);
    flow.set_initial(0);
    let (taken, ()) = tokio::join!(flow.take(1, 10), async { flow.grant(1, 4).unwrap() });
    assert_eq!(taken, Some(4));
    let (taken, ()) = tokio::join!(flow.take(1, 10), async { flow.close(1) });
    assert_eq!(taken, None);
    assert_eq!(flow.grant(1, 4), Ok(()));
    assert_eq!(flow.grant(0, u32::MAX), Err(WindowOverflow));
}
