use super::*;
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span as WireSpan};

fn wire(service: &str, id: u8, parent: u8, start: u64, end: u64) -> ResourceSpans {
    let name = KeyValue {
        key: "service.name".to_owned(),
        value: Some(AnyValue { value: Some(any_value::Value::StringValue(service.to_owned())) }),
        ..KeyValue::default()
    };
    ResourceSpans {
        resource: Some(Resource { attributes: vec![name], ..Resource::default() }),
        scope_spans: vec![ScopeSpans {
            spans: vec![WireSpan {
                trace_id: vec![7; 16],
                span_id: vec![id; 8],
                parent_span_id: if parent == 0 { Vec::new() } else { vec![parent; 8] },
                name: "GET /".to_owned(),
                start_time_unix_nano: start * 1000,
                end_time_unix_nano: end * 1000,
                ..WireSpan::default()
            }],
            ..ScopeSpans::default()
        }],
        ..ResourceSpans::default()
    }
}

#[tokio::test]
async fn spans_of_several_services_become_one_trace() {
    let traces = Traces::default();
    let request = ExportTraceServiceRequest {
        resource_spans: vec![wire("payments", 2, 1, 110, 150), wire("storefront", 1, 0, 100, 200)],
    };
    traces.export(tonic::Request::new(request)).await.expect("taken");
    let list = traces.list(Some("payments"), false, 10);
    assert_eq!(list.len(), 1);
    assert_eq!((list[0].root.as_str(), list[0].duration, list[0].spans), ("storefront: GET /", 100, 2));
    assert!(traces.list(None, true, 10).is_empty());
    let spans = traces.get(&list[0].id).expect("the trace");
    assert_eq!(
        spans.iter().map(|span| span.service.as_str()).collect::<Vec<_>>(),
        ["storefront", "payments"]
    );
}
