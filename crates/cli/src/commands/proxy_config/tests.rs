use super::*;
use serde_json::json;

fn dump() -> Value {
    let istio = |path: &str| json!({"filter_metadata": {"istio": {"config": path}}});
    json!({"configs": [
        {"@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump", "dynamic_active_clusters": [
            {"cluster": {"name": "outbound|80|v1|payments.default.svc.cluster.local", "type": "EDS",
                "metadata": istio("/apis/networking.istio.io/v1alpha3/namespaces/default/destination-rule/payments")}},
            {"cluster": {"name": "BlackHoleCluster"}}
        ]},
        {"@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump", "dynamic_listeners": [
            {"name": "virtualInbound", "active_state": {"listener": {
                "address": {"socket_address": {"address": "0.0.0.0", "port_value": 15006}},
                "filter_chains": [
                    {"filter_chain_match": {"transport_protocol": "tls", "destination_port": 8080,
                        "application_protocols": ["istio-peer-exchange", "istio"]},
                     "filters": [{"typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
                        "cluster": "inbound|8080||"}}]},
                    {"filters": [{"typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                        "rds": {"route_config_name": "80"}}}]}
                ]}}}
        ]},
        {"@type": "type.googleapis.com/envoy.admin.v3.RoutesConfigDump", "dynamic_route_configs": [
            {"route_config": {"name": "8080", "virtual_hosts": []}},
            {"route_config": {"name": "80", "virtual_hosts": [
                {"name": "payments.default.svc.cluster.local:80",
                 "domains": ["payments.default.svc.cluster.local", "payments", "payments.default.svc",
                             "payments.default", "10.96.0.7", "payments:80"],
                 "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "x"},
                    "metadata": istio("/apis/networking.istio.io/v1/namespaces/default/virtual-service/payments")}]},
                {"name": "allow_any", "domains": ["*"],
                 "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "PassthroughCluster"}}]}
            ]}}
        ]}
    ]})
}

#[test]
fn clusters_split_their_names_and_name_their_destination_rule() {
    let text = clusters::table(&clusters::select(&dump(), &clusters::Filter::default())).render();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0],
        "SERVICE FQDN                           PORT     SUBSET     DIRECTION     TYPE       DESTINATION RULE"
    );
    assert_eq!(
        lines[1],
        "BlackHoleCluster                       -        -          -             STATIC     "
    );
    assert!(
        lines[2].starts_with("payments.default.svc.cluster.local     80       v1         outbound      EDS ")
    );
    assert!(lines[2].ends_with("payments.default"));
}

#[test]
fn routes_leave_out_passthrough_and_shorten_domains() {
    let text = routes::table(&routes::select(&dump(), &routes::Filter::default()), true).render();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2);
    let cells: Vec<&str> = lines[1].split("     ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
    assert_eq!(
        cells,
        [
            "80",
            "payments.default.svc.cluster.local:80",
            "payments, payments.default + 1 more...",
            "/*",
            "payments.default"
        ]
    );
}

#[test]
fn listeners_describe_their_chains_by_destination_descending() {
    let text = listeners::table(&listeners::select(&dump(), &listeners::Filter::default()), true).render();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "ADDRESSES PORT  MATCH                                  DESTINATION");
    assert_eq!(lines[1], "0.0.0.0   15006 ALL                                    Route: 80");
    assert_eq!(lines[2], "0.0.0.0   15006 Trans: tls; App: TCP TLS; Addr: *:8080 Cluster: inbound|8080||");
}

#[test]
fn endpoints_show_health_and_ejection() {
    let clusters = json!({"cluster_statuses": [{"name": "outbound|80||payments.default.svc.cluster.local",
        "host_statuses": [{"address": {"socket_address": {"address": "10.244.0.9", "port_value": 8080}},
            "health_status": {"eds_health_status": "HEALTHY", "failed_outlier_check": true}}]}]});
    let text = endpoints::table(&endpoints::select(&clusters, &endpoints::Filter::default())).render();
    assert_eq!(
        text.lines().nth(1),
        Some(
            "10.244.0.9:8080     HEALTHY     FAILED            outbound|80||payments.default.svc.cluster.local"
        )
    );
}
