use super::*;

#[test]
fn the_certificates_remaining_life_is_shown_once_there_is_one() {
    let metrics = AgentMetrics::default();
    let now = Timestamp::from_second(1_000).expect("a time");
    assert!(!metrics.render(now).contains("cert_expiry_seconds"));
    metrics.certificate_expires(Timestamp::from_second(1_600).expect("a time"));
    assert!(metrics.render(now).contains("cert_expiry_seconds{resource_name=\"default\"} 600\n"));
}
