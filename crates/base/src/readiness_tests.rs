use super::*;

#[test]
fn ready_once_every_task_is_dropped() {
    let readiness = Readiness::default();
    let clusters = readiness.register("clusters");
    let listeners = readiness.register("listeners");
    assert_eq!(readiness.pending(), ["clusters", "listeners"]);
    drop(clusters);
    assert!(!readiness.is_ready());
    drop(listeners);
    assert!(readiness.is_ready());
}
