use super::*;

#[test]
fn a_later_change_brings_the_earlier_ones_of_its_resource() {
    let changes = Changes::default();
    let (first, other, second) = (changes.begin("a"), changes.begin("b"), changes.begin("a"));
    let now = Instant::now();
    changes.arrive("a", 0, second, now);
    assert_eq!(changes.arrived(), 2);
    changes.arrive("a", first, second, now);
    changes.arrive("b", 0, other, now);
    changes.arrive("unknown", 0, second, now);
    assert_eq!(changes.arrived(), 4);
}

#[test]
fn percentiles_are_of_all_arrivals_and_taking_them_starts_over() {
    let changes = Changes::default();
    let written = Instant::now();
    let mark = changes.begin("a");
    for milliseconds in 1..=100 {
        changes.arrive("a", 0, mark, written + Duration::from_millis(milliseconds) + STEP);
    }
    let latency = changes.take();
    let near = |measured: f64, expected: f64| (measured - expected).abs() <= 0.3;
    assert_eq!(latency.count, 100);
    assert!(near(latency.p50, 50.0) && near(latency.p99, 99.0) && near(latency.max, 100.0), "{latency:?}");
    assert_eq!(changes.take(), Latency::default());
}
