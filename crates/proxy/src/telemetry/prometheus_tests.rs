use super::super::ResponseFlags;
use super::super::intern::Id;
use super::super::series::{Measured, Service};
use super::*;
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::google::protobuf::{Struct, Value, value::Kind};

fn telemetry() -> Arc<Telemetry> {
    let field = |text: &str| Value { kind: Some(Kind::StringValue(text.into())) };
    let labels =
        Struct { fields: [("app".to_owned(), field("client")), ("version".to_owned(), field("v1"))].into() };
    let metadata = Struct {
        fields: [
            ("WORKLOAD_NAME".to_owned(), field("client-v1")),
            ("NAMESPACE".to_owned(), field("default")),
            ("CLUSTER_ID".to_owned(), field("Kubernetes")),
            ("LABELS".to_owned(), Value { kind: Some(Kind::StructValue(labels)) }),
        ]
        .into(),
    };
    Telemetry::new(&Node { id: "sidecar~1".into(), metadata: Some(metadata), ..Node::default() }, 1)
}

fn key(telemetry: &Telemetry, reporter: Reporter) -> SeriesKey {
    let names = telemetry.names();
    SeriesKey {
        reporter,
        protocol: Protocol::Http,
        security: if reporter == Reporter::Source { Security::Unknown } else { Security::MutualTls },
        grpc_status: None,
        response_code: 200,
        flags: ResponseFlags::NONE,
        peer: names.peers.id(&PeerMetadata::of_endpoint("shop-v2;mall;shop;v2;Kubernetes").unwrap()),
        peer_principal: names.principals.id(&"spiffe://cluster.local/ns/mall/sa/shop".to_owned()),
        local_principal: names.principals.id(&"spiffe://cluster.local/ns/default/sa/client".to_owned()),
        service: names.services.id(&Service {
            host: "shop.mall.svc.cluster.local".into(),
            name: "shop".into(),
            namespace: "mall".into(),
        }),
        shape: Id::UNKNOWN,
    }
}

#[test]
fn a_request_has_all_labels_in_order() {
    let telemetry = telemetry();
    let recorder = telemetry.recorder(0);
    let measured =
        Measured { duration_micros: 1_500, request_bytes: 100, response_bytes: 200, ..Measured::default() };
    recorder.series.record(key(&telemetry, Reporter::Source), &measured);
    let text = istio_metrics(&telemetry);
    let labels = "reporter=\"source\",source_workload=\"client-v1\",source_canonical_service=\"client\",\
source_canonical_revision=\"v1\",source_workload_namespace=\"default\",\
source_principal=\"spiffe://cluster.local/ns/default/sa/client\",source_app=\"client\",source_version=\"v1\",\
source_cluster=\"Kubernetes\",destination_workload=\"shop-v2\",destination_workload_namespace=\"mall\",\
destination_principal=\"spiffe://cluster.local/ns/mall/sa/shop\",destination_app=\"unknown\",\
destination_version=\"unknown\",destination_service=\"shop.mall.svc.cluster.local\",\
destination_canonical_service=\"shop\",destination_canonical_revision=\"v2\",destination_service_name=\"shop\",\
destination_service_namespace=\"mall\",destination_cluster=\"Kubernetes\",request_protocol=\"http\",\
response_code=\"200\",grpc_response_status=\"\",response_flags=\"-\",connection_security_policy=\"unknown\"";
    assert!(text.contains(&format!("istio_requests_total{{{labels}}} 1\n")), "{text}");
    assert!(text.contains(&format!("istio_request_duration_milliseconds_bucket{{{labels},le=\"1\"}} 0\n")));
    assert!(text.contains(&format!("istio_request_duration_milliseconds_bucket{{{labels},le=\"5\"}} 1\n")));
    assert!(text.contains(&format!("istio_request_duration_milliseconds_sum{{{labels}}} 1.500\n")));
    assert!(text.contains(&format!("istio_response_bytes_count{{{labels}}} 1\n")));
    assert!(!text.contains("istio_request_messages_total"), "only gRPC has messages");
}

#[test]
fn the_servers_side_sees_it_the_other_way_round() {
    let telemetry = telemetry();
    telemetry.recorder(0).series.record(key(&telemetry, Reporter::Destination), &Measured::default());
    let text = istio_metrics(&telemetry);
    for part in [
        "reporter=\"destination\",source_workload=\"shop-v2\"",
        "source_workload_namespace=\"mall\"",
        "source_principal=\"spiffe://cluster.local/ns/mall/sa/shop\"",
        "destination_workload=\"client-v1\"",
        "connection_security_policy=\"mutual_tls\"",
    ] {
        assert!(text.contains(part), "{part}");
    }
}

#[test]
fn connections_have_no_response_labels() {
    let telemetry = telemetry();
    let recorder = telemetry.recorder(0);
    let series =
        recorder.series.tcp(SeriesKey { protocol: Protocol::Tcp, ..key(&telemetry, Reporter::Source) });
    series.opened();
    series.bytes(7, 9);
    let text = istio_metrics(&telemetry);
    let line = text.lines().find(|line| line.starts_with("istio_tcp_sent_bytes_total{")).unwrap();
    assert!(
        line.ends_with(" 7") && !line.contains("response_code") && line.contains("request_protocol=\"tcp\"")
    );
}

#[test]
fn shapes_drop_metrics_and_labels() {
    let telemetry = telemetry();
    let shape = telemetry.names().shapes.id(&Shape {
        dropped: vec!["request_bytes".into()],
        removed_labels: vec![
            (String::new(), "source_cluster".into()),
            ("requests_total".into(), "response_flags".into()),
        ],
    });
    let key = SeriesKey { shape, ..key(&telemetry, Reporter::Source) };
    telemetry.recorder(0).series.record(key, &Measured::default());
    let text = istio_metrics(&telemetry);
    assert!(!text.contains("istio_request_bytes") && !text.contains("source_cluster"));
    let requests = text.lines().find(|line| line.starts_with("istio_requests_total{")).unwrap();
    assert!(!requests.contains("response_flags"));
    assert!(
        text.lines()
            .any(|line| line.starts_with("istio_response_bytes_count") && line.contains("response_flags"))
    );
}

#[test]
fn values_are_escaped() {
    let mut out = String::new();
    escape(&mut out, "a\"b\\c\nd");
    assert_eq!(out, "a\\\"b\\\\c\\nd");
}
