use super::*;
use serde_json::json;

fn pod(spec: serde_json::Value) -> Pod {
    serde_json::from_value(json!({"metadata": {"name": "web-0", "namespace": "shop"}, "spec": spec}))
        .expect("pod")
}

fn dns() -> ClusterDns {
    ClusterDns {
        address: Ipv4Addr::new(10, 96, 0, 10),
        domain: "cluster.local".to_owned(),
        host_settings: "nameserver 192.0.2.1\n".to_owned(),
    }
}

#[test]
fn names_of_the_pods_namespace_come_first() {
    let settings = resolver_settings(&pod(json!({"containers": []})), &dns());
    let expected = "search shop.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n";
    assert_eq!(settings, expected);
}

#[test]
fn a_pod_may_choose_its_resolver() {
    let own = json!({"containers": [], "dnsPolicy": "None",
        "dnsConfig": {"nameservers": ["192.0.2.53"], "searches": ["example.com"], "options": [{"name": "edns0"}]}});
    let expected = "search example.com\nnameserver 192.0.2.53\noptions edns0\n";
    assert_eq!(resolver_settings(&pod(own), &dns()), expected);
    let more = json!({"containers": [], "dnsConfig": {"options": [{"name": "ndots", "value": "2"}]}});
    assert!(resolver_settings(&pod(more), &dns()).ends_with("options ndots:2\n"));
    let machine = json!({"containers": [], "dnsPolicy": "Default"});
    assert_eq!(resolver_settings(&pod(machine), &dns()), "nameserver 192.0.2.1\n");
}

#[test]
fn hosts_know_the_pod_and_its_aliases() {
    let spec = json!({"containers": [], "subdomain": "nginx",
        "hostAliases": [{"ip": "192.0.2.9", "hostnames": ["db", "db.example"]}]});
    let text = hosts(&pod(spec), Ipv4Addr::new(10, 244, 0, 9), "cluster.local");
    assert!(text.contains("\n10.244.0.9\tweb-0.nginx.shop.svc.cluster.local\tweb-0\n"), "{text}");
    assert!(text.ends_with("192.0.2.9\tdb\tdb.example\n"), "{text}");
}
