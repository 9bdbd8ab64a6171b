use super::*;

fn request(reporter: &str, destination: &str, code: &str, value: u32) -> String {
    let policy = if reporter == "destination" { "mutual_tls" } else { "unknown" };
    format!(
        "istio_requests_total{{reporter=\"{reporter}\",source_workload=\"web\",source_workload_namespace=\"shop\",\
         destination_workload=\"{destination}\",destination_workload_namespace=\"shop\",\
         destination_service_name=\"payments\",destination_service_namespace=\"shop\",request_protocol=\"http\",\
         response_code=\"{code}\",response_flags=\"-\",connection_security_policy=\"{policy}\"}} {value}\n"
    )
}

#[test]
fn the_receivers_word_counts_once_and_unserved_calls_are_kept() {
    let mut store = Store::default();
    for (time, factor) in [(0, 0), (10_000, 1)] {
        store.ingest(
            "web-1",
            "shop",
            &(request("source", "payments-v1", "200", 100 * factor)
                + &request("source", "unknown", "503", 10 * factor)),
            time,
        );
        store.ingest(
            "pay-1",
            "shop",
            &(request("destination", "payments-v1", "200", 90 * factor)
                + &request("destination", "payments-v1", "500", 10 * factor)),
            time,
        );
    }
    let graph = build(&store, 0, 10_000);
    assert_eq!(graph.edges.len(), 2);
    let served =
        graph.edges.iter().find(|edge| graph.nodes[edge.target].kind == "workload").expect("an edge");
    assert_eq!((served.rate, served.errors, served.mutual_tls), (10.0, 0.1, Some(1.0)));
    let unserved =
        graph.edges.iter().find(|edge| graph.nodes[edge.target].kind == "service").expect("an edge");
    assert_eq!((unserved.rate, unserved.errors, unserved.mutual_tls), (1.0, 1.0, None));
}
