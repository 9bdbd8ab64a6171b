use super::*;

#[test]
fn a_bar_stands_beside_its_measurement() {
    let met = Bar::new("p99", 149.96, 150.0, " ms");
    assert_eq!(met.to_string(), "p99: 150.0 ms, at most 150 ms: met");
    assert_eq!(
        Bar::new("memory", 401.0, 400.0, " MB").to_string(),
        "memory: 401.0 MB, at most 400 MB: missed"
    );
}

#[test]
fn an_outcome_says_what_was_sent_and_what_it_cost() {
    let outcome = Outcome {
        scenario: "endpoint".to_owned(),
        changes: 10,
        received: Received { responses: 20_000, resources: 20_000, bytes: 42_000_000 },
        cpu: 0.5,
        ..Outcome::default()
    };
    let text = outcome.to_string();
    assert!(text.contains("20000 resources in 20000 messages, 42.00 MB"), "{text}");
    assert!(text.contains("0.50 CPU-s (50.0 ms a change)"), "{text}");
}
