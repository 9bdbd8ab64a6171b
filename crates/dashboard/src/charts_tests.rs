use super::*;

/// Two scrapes of a service some seconds apart, told by one side.
fn scraped(store: &mut Store, pod: &str, reporter: &str, service: &str, requests: u64, failed: u64) {
    let labels = format!(
        "reporter=\"{reporter}\",destination_service_namespace=\"shop\",destination_service_name=\"{service}\""
    );
    for (time, share) in [(0, 0), (9_000, 1)] {
        let text = format!(
            "istio_requests_total{{{labels},response_code=\"200\"}} {}
istio_requests_total{{{labels},response_code=\"503\"}} {}
istio_request_duration_milliseconds_bucket{{{labels},le=\"5\"}} {}
istio_request_duration_milliseconds_bucket{{{labels},le=\"10\"}} {}
istio_request_duration_milliseconds_bucket{{{labels},le=\"+Inf\"}} {}
",
            (requests - failed) * share,
            failed * share,
            requests / 2 * share,
            requests * share,
            requests * share,
        );
        store.ingest(pod, "shop", &text, time);
    }
}

#[test]
fn a_service_is_drawn_once_from_what_its_receivers_say() {
    let mut store = Store::default();
    scraped(&mut store, "cart-1", "destination", "cart", 100, 20);
    scraped(&mut store, "cart-2", "destination", "cart", 100, 0);
    // The caller counts the same requests; they must not be counted twice.
    scraped(&mut store, "web-1", "source", "cart", 200, 20);
    scraped(&mut store, "web-1", "source", "outside", 10, 10);
    let charts = build(&store, 10_000, 10_000, 1);
    let names: Vec<&str> = charts.iter().map(|chart| chart.service.as_str()).collect();
    assert_eq!(names, ["cart", "outside"]);
    assert_eq!((charts[0].rate[0], charts[0].errors[0]), (20.0, 0.1));
    assert_eq!((charts[0].p50[0], charts[0].p95[0]), (Some(5.0), Some(9.5)));
    assert_eq!((charts[1].rate[0], charts[1].errors[0]), (1.0, 1.0));
}

#[test]
fn a_step_without_traffic_has_no_durations() {
    let mut store = Store::default();
    scraped(&mut store, "cart-1", "destination", "cart", 100, 0);
    let charts = build(&store, 30_000, 10_000, 3);
    assert_eq!(charts[0].rate, [10.0, 0.0, 0.0]);
    assert_eq!(charts[0].p50[1], None);
}
