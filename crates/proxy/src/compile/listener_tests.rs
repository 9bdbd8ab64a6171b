use super::*;
use crate::telemetry::Telemetry;
use crate::tls::Secrets;
use envoy_types::pb::envoy::config::core::v3::Node;
use serde_json::{Value, json};

fn context() -> (tokio::runtime::Runtime, Context) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
    let node = Node::default();
    let context = Context {
        telemetry: Telemetry::new(&node, 1),
        node: Arc::new(node),
        secrets: Arc::new(Secrets::new(false)),
        control: runtime.handle().clone(),
    };
    (runtime, context)
}

fn message(value: &Value) -> pb::Listener {
    mizzen_xds::json::read(value).expect("listener")
}

fn chain(port: u16, cluster: &str) -> Value {
    json!({
        "name": format!("chain-{port}"),
        "filter_chain_match": { "destination_port": port },
        "filters": [{
            "name": "envoy.filters.network.tcp_proxy",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
                "stat_prefix": "a", "cluster": cluster
            }
        }]
    })
}

fn inbound(chains: Vec<Value>) -> Value {
    json!({
        "name": "virtualInbound",
        "address": { "socket_address": { "address": "0.0.0.0", "port_value": 15006 } },
        "traffic_direction": "INBOUND",
        "continue_on_listener_filters_timeout": true,
        "listener_filters_timeout": "0s",
        "listener_filters": [
            { "name": "envoy.filters.listener.original_dst", "typed_config":
                { "@type": "type.googleapis.com/envoy.extensions.filters.listener.original_dst.v3.OriginalDst" } },
            { "name": "envoy.filters.listener.http_inspector", "typed_config":
                { "@type": "type.googleapis.com/envoy.extensions.filters.listener.http_inspector.v3.HttpInspector" },
              "filter_disabled": { "not_match": { "or_match": { "rules": [
                { "destination_port_range": { "start": 80, "end": 81 } },
                { "destination_port_range": { "start": 8080, "end": 8081 } } ] } } } }
        ],
        "filter_chains": chains
    })
}

#[test]
fn an_inbound_listener_is_read_as_istio_writes_it() {
    let (_runtime, context) = context();
    let listener = compile(&message(&inbound(vec![chain(80, "a")])), None, &context).expect("listener");
    assert_eq!(&*listener.stat_prefix, "0.0.0.0_15006");
    assert_eq!(listener.direction, Direction::Inbound);
    assert!(listener.inspection.original_destination && listener.inspection.continue_on_timeout);
    assert_eq!(listener.inspection.timeout, None);
    let Some(Enabled::Unless(disabled)) = &listener.inspection.http else { panic!("no predicate") };
    assert!(!disabled.holds(80) && !disabled.holds(8080) && disabled.holds(3306));
}

#[test]
fn chains_that_did_not_change_are_taken_over() {
    let (_runtime, context) = context();
    let before = message(&inbound(vec![chain(80, "a"), chain(81, "a")]));
    let first = compile(&before, None, &context).expect("listener");
    let after = message(&inbound(vec![chain(81, "a"), chain(80, "b")]));
    let second = compile(&after, Some((&before, &first)), &context).expect("listener");
    assert!(Arc::ptr_eq(&first.chains[1], &second.chains[0]), "an unchanged chain was compiled again");
    assert!(!Arc::ptr_eq(&first.chains[0], &second.chains[1]));
    assert!(Arc::ptr_eq(&first.statistics, &second.statistics));
}

#[test]
fn mistakes_are_named_by_their_field() {
    let (_runtime, context) = context();
    let refused =
        |value: &Value| compile(&message(value), None, &context).map(drop).expect_err("refused").to_string();
    let mut filter = inbound(vec![chain(80, "a")]);
    filter["filter_chains"][0]["filters"][0]["typed_config"] =
        json!({ "@type": "type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo" });
    assert!(refused(&filter).starts_with("filter_chains[0] (chain-80).filters[0]"), "{}", refused(&filter));
    assert!(refused(&inbound(vec![chain(80, "a"), chain(80, "b")])).contains("filter_chains[1]"));
    let mut names = inbound(vec![chain(80, "a")]);
    names["filter_chains"][0]["filter_chain_match"]["server_names"] = json!(["a.*.com"]);
    assert!(refused(&names).contains("filter_chain_match.server_names"));
    assert!(refused(&inbound(Vec::new())).starts_with("filter_chains"));
}
