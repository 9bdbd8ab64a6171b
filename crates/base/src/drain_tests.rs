use super::*;

#[tokio::test(start_paused = true)]
async fn drain_ends_when_the_last_watcher_is_dropped() {
    let (trigger, mut watcher) = channel();
    let second = watcher.clone();
    let task = tokio::spawn(async move {
        watcher.started().await;
        drop(watcher);
    });
    drop(second);
    assert!(trigger.drain(Duration::from_secs(1)).await);
    task.await.expect("watcher task");
}

#[tokio::test(start_paused = true)]
async fn drain_gives_up_at_the_deadline() {
    let (trigger, watcher) = channel();
    assert!(!trigger.drain(Duration::from_secs(5)).await);
    assert!(watcher.is_started());
}
