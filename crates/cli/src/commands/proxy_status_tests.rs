use super::*;
use serde_json::json;

fn proxy(name: &str, types: Value) -> Proxy {
    Proxy {
        istiod: "istiod-1".to_owned(),
        fields: json!({"proxy": name, "cluster_id": "Kubernetes", "istio_version": "1.30.0", "types": types}),
    }
}

#[test]
fn the_summary_counts_types_in_istios_order() {
    let types = json!([{"type": "LDS"}, {"type": "CDS"}, {"type": "RDS"}, {"type": "EDS"}]);
    let text = summary(&[proxy("a.default", types), proxy("b.default", json!([]))]).render();
    assert_eq!(
        text,
        "NAME          CLUSTER        ISTIOD       VERSION     SUBSCRIBED TYPES\n\
         a.default     Kubernetes     istiod-1     1.30.0      4 (CDS,LDS,EDS,RDS)\n\
         b.default     Kubernetes     istiod-1     1.30.0      0\n"
    );
}

#[test]
fn states_carry_their_age_and_what_was_never_asked_for_is_ignored() {
    let types = json!([{"type": "CDS", "status": "SYNCED", "last_updated": "2026-01-01T00:00:00Z"},
                       {"type": "RDS", "status": "NOT_SENT"}]);
    let proxy = proxy("a.default", types);
    let now = "2026-01-01T00:03:12Z".parse().expect("a time");
    assert_eq!(proxy.state("CDS", Some(now)), "SYNCED (3m12s)");
    assert_eq!(proxy.state("RDS", Some(now)), "NOT SENT");
    assert_eq!(proxy.state("ECDS", Some(now)), "IGNORED");
}

#[test]
fn ages_read_as_kubernetes_writes_them() {
    for (seconds, text) in [
        (5, "5s"),
        (119, "119s"),
        (120, "2m"),
        (192, "3m12s"),
        (3600, "60m"),
        (10_860, "3h1m"),
        (90_000, "25h"),
        (200_000, "2d7h"),
        (1_000_000, "11d"),
    ] {
        assert_eq!(age(seconds), text, "{seconds}");
    }
}

#[test]
fn a_difference_names_the_resource() {
    let wanted = vec![json!({"name": "a", "x": 1}), json!({"name": "b"})];
    assert_eq!(difference("Clusters", wanted.clone(), wanted.clone()), "Clusters Match\n");
    let text = difference("Clusters", wanted, vec![json!({"name": "a", "x": 2}), json!({"name": "own"})]);
    assert!(text.starts_with("Clusters Don't Match\n"));
    assert!(text.contains("~ a:") && text.contains("- b:") && !text.contains("own"));
}
