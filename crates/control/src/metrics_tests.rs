use super::*;

#[test]
fn names_are_istios_with_nothing_appended() {
    let metrics = Metrics::new();
    metrics.pushes.add(&["cds"], 2);
    metrics.pushes.add(&["cds"], 1);
    metrics.convergence.observe(&[], 0.2);
    metrics.cluster_rejects.set(&["a\"b", "line\nbreak"], 1.0);
    let text = metrics.text();
    for line in [
        "# TYPE pilot_xds_pushes counter",
        "pilot_xds_pushes{type=\"cds\"} 3",
        "pilot_proxy_convergence_time_bucket{le=\"0.1\"} 0",
        "pilot_proxy_convergence_time_bucket{le=\"0.5\"} 1",
        "pilot_proxy_convergence_time_bucket{le=\"+Inf\"} 1",
        "pilot_proxy_convergence_time_count 1",
        "pilot_xds_cds_reject{node=\"a\\\"b\",err=\"line\\nbreak\"} 1",
        "istio_build{component=\"pilot\",tag=\"1.30.0\"} 1",
    ] {
        assert!(text.lines().any(|written| written == line), "{line} is missing in\n{text}");
    }
    assert!(!text.contains("pilot_xds_pushes_total"));
    assert!(!text.contains("citadel_server_csr_count"), "what never happened is not shown");
}
