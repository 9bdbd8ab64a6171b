use super::*;

#[test]
fn workers_are_summed_and_gauges_may_wrap_in_one_of_them() {
    let counts = Sharded::<ClusterCounts>::new(2);
    counts.of(0).upstream_rq_active.increment();
    counts.of(0).upstream_rq_active.increment();
    counts.of(1).upstream_rq_active.decrement();
    counts.of(1).response(503);
    let mut seen = Vec::new();
    counts.each(|name, kind, value| {
        if value != 0 {
            seen.push((name, kind, value));
        }
    });
    assert_eq!(
        seen,
        [
            ("upstream_rq_active", Kind::Gauge, 1),
            ("upstream_rq_completed", Kind::Counter, 1),
            ("upstream_rq_5xx", Kind::Counter, 1)
        ]
    );
}

#[test]
fn a_worker_unknown_at_the_start_still_counts() {
    let counts = Sharded::<ClusterCounts>::new(1);
    counts.of(7).upstream_rq_total.increment();
    assert_eq!(counts.of(0).upstream_rq_total.get(), 1);
}

#[test]
fn a_registered_name_is_one_statistic() {
    let registry = Registry::default();
    registry.counter("listener_manager.listener_added").add(2);
    registry.counter("listener_manager.listener_added").add(1);
    registry.gauge("server.live").set(1);
    let mut seen = Vec::new();
    registry.each(|name, _, value| seen.push((name.to_owned(), value)));
    assert_eq!(seen, [("listener_manager.listener_added".to_owned(), 3), ("server.live".to_owned(), 1)]);
    registry.remove("listener_manager.");
    let mut names = Vec::new();
    registry.each(|name, _, _| names.push(name.to_owned()));
    assert_eq!(names, ["server.live"]);
}
