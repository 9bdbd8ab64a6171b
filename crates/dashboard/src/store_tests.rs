use super::*;

fn total(store: &Store, from: u64, to: u64) -> f64 {
    store.series("istio_requests_total").map(|series| series.increase(from, to)).sum()
}

#[test]
fn a_counters_growth_survives_a_restart_of_its_pod() {
    let mut store = Store::default();
    for (time, value) in [(0, 100), (1000, 110), (2000, 5), (3000, 8)] {
        store.ingest(
            "pod",
            "default",
            &format!("istio_requests_total{{reporter=\"source\"}} {value}\n"),
            time,
        );
    }
    assert_eq!(total(&store, 0, 3000), 10.0 + 5.0 + 3.0);
    assert_eq!(total(&store, 2500, 3000), 3.0);
}

#[test]
fn old_samples_and_unknown_metrics_are_not_kept() {
    let mut store = Store::default();
    store.ingest("pod", "default", "go_goroutines 7\nistio_requests_total 1\n", 0);
    assert_eq!(store.series("go_goroutines").count(), 0);
    assert_eq!(store.series("istio_requests_total").count(), 1);
    store.expire(u64::try_from(RETENTION.as_millis()).expect("fits") + 1);
    assert_eq!(store.series("istio_requests_total").count(), 0);
}

#[test]
fn quantiles_are_linear_within_a_bucket() {
    let mut buckets = [(10.0, 90.0), (5.0, 50.0), (f64::INFINITY, 100.0)];
    assert_eq!(quantile(0.5, &mut buckets), Some(5.0));
    assert_eq!(quantile(0.7, &mut buckets), Some(7.5));
    assert_eq!(quantile(0.99, &mut buckets), Some(10.0));
    assert_eq!(quantile(0.5, &mut [(1.0, 0.0)]), None);
}

#[test]
fn series_are_told_apart_by_pod_and_every_label() {
    let mut store = Store::default();
    let text = "istio_requests_total{a=\"1|b=2\"} 1\nistio_requests_total{a=\"1\",b=\"2\"} 1\n";
    for time in [0, 1000] {
        store.ingest("one", "default", text, time);
        store.ingest("two", "default", text, time);
    }
    assert_eq!(store.series("istio_requests_total").count(), 4);
    let of_one = store.series("istio_requests_total").filter(|series| series.label("scraped_pod") == "one");
    assert_eq!(of_one.count(), 2);
}
