use super::*;
use std::sync::atomic::{AtomicU32, Ordering};

#[tokio::test(start_paused = true)]
async fn a_failing_key_is_tried_again_with_a_growing_pause_until_it_succeeds() {
    let queue = WorkQueue::default();
    queue.add(ObjectKey::new("default", "a"));
    let started = tokio::time::Instant::now();
    let (done, mut finished) = tokio::sync::mpsc::channel(1);
    let looks = AtomicU32::new(0);
    let work = queue.work("test", |_| {
        let look = looks.fetch_add(1, Ordering::Relaxed);
        let done = done.clone();
        async move {
            if look < 3 {
                return Err(ControllerError::Invalid("not yet".into()));
            }
            let _ = done.send(()).await;
            Ok(Next::OnChange)
        }
    });
    tokio::select! { () = work => {}, _ = finished.recv() => {} }
    assert_eq!(looks.load(Ordering::Relaxed), 4);
    assert!(started.elapsed() >= Duration::from_millis(20 + 40 + 80));
}

#[tokio::test(start_paused = true)]
async fn a_key_added_while_it_is_looked_at_gets_another_look_afterwards() {
    let queue = WorkQueue::default();
    let key = ObjectKey::new("default", "a");
    queue.add(key.clone());
    let running = AtomicU32::new(0);
    let looks = AtomicU32::new(0);
    let (done, mut finished) = tokio::sync::mpsc::channel(1);
    let work = queue.work("test", |key| {
        let (queue, running, looks, done) = (&queue, &running, &looks, done.clone());
        async move {
            assert_eq!(running.fetch_add(1, Ordering::Relaxed), 0, "never two looks at one key");
            if looks.fetch_add(1, Ordering::Relaxed) == 0 {
                queue.add(key);
                tokio::task::yield_now().await;
            } else {
                let _ = done.send(()).await;
            }
            running.fetch_sub(1, Ordering::Relaxed);
            Ok(Next::OnChange)
        }
    });
    tokio::select! { () = work => {}, _ = finished.recv() => {} }
    assert_eq!(looks.load(Ordering::Relaxed), 2);
}

#[test]
fn pauses_double_up_to_two_seconds() {
    assert_eq!(retry_pause(0), Duration::from_millis(20));
    assert_eq!(retry_pause(2), Duration::from_millis(80));
    assert_eq!(retry_pause(u32::MAX), LAST_RETRY);
}

#[test]
fn the_sooner_of_two_wishes_wins() {
    let soon = Next::After(Duration::from_secs(1));
    assert_eq!(Next::OnChange.sooner(soon), soon);
    assert_eq!(soon.sooner(Next::After(Duration::from_secs(2))), soon);
}
