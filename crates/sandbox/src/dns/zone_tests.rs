use super::*;
use serde_json::{Value, json};

fn zone() -> Zone {
    let zone =
        Zone::new(Cache::default(), Cache::default(), Cache::default(), "cluster.local").expect("a zone");
    zone.namespaces
        .wrote(serde_json::from_value(json!({"metadata": {"name": "default"}})).expect("a namespace"));
    service(&zone, "payments", json!({"clusterIP": "10.96.0.50", "ports": [{"name": "http", "port": 80}]}));
    service(&zone, "db", json!({"clusterIP": "None", "ports": [{"name": "sql", "port": 5432}]}));
    service(&zone, "outside", json!({"type": "ExternalName", "externalName": "www.example.com"}));
    service(&zone, "empty", json!({"clusterIP": "None"}));
    zone.slices.wrote(
        serde_json::from_value(json!({
            "metadata": {"name": "db-x", "namespace": "default", "labels": {"kubernetes.io/service-name": "db"}},
            "addressType": "IPv4",
            "ports": [{"name": "sql", "port": 15432, "protocol": "TCP"}],
            "endpoints": [
                {"addresses": ["10.244.0.5"], "hostname": "db-0"},
                {"addresses": ["10.244.0.6"], "conditions": {"ready": true}},
                {"addresses": ["10.244.0.7"], "conditions": {"ready": false}},
            ],
        }))
        .expect("a slice"),
    );
    zone
}

fn service(zone: &Zone, name: &str, spec: Value) {
    let service = json!({"metadata": {"name": name, "namespace": "default"}, "spec": spec});
    zone.services.wrote(serde_json::from_value(service).expect("a service"));
}

fn ask(name: &str, record_type: RecordType) -> Lookup {
    zone().lookup(&Name::from_str(name).expect("a name"), record_type)
}

/// The answers' data as text; `None` when the name does not exist.
fn answers(name: &str, record_type: RecordType) -> Option<Vec<String>> {
    match ask(name, record_type) {
        Lookup::Found { answers, .. } => Some(answers.iter().map(|record| record.data.to_string()).collect()),
        Lookup::Missing => None,
        other => panic!("{name}: {other:?}"),
    }
}

fn some(texts: &[&str]) -> Option<Vec<String>> {
    Some(texts.iter().map(|text| (*text).to_owned()).collect())
}

#[test]
fn a_service_is_its_cluster_address() {
    assert_eq!(answers("payments.default.svc.cluster.local.", RecordType::A), some(&["10.96.0.50"]));
    assert_eq!(answers("PAYMENTS.Default.SVC.cluster.local.", RecordType::A), some(&["10.96.0.50"]));
}

#[test]
fn no_record_of_a_type_is_not_no_such_name() {
    assert_eq!(answers("payments.default.svc.cluster.local.", RecordType::AAAA), some(&[]));
    assert_eq!(answers("default.svc.cluster.local.", RecordType::A), some(&[]));
    assert_eq!(answers("svc.cluster.local.", RecordType::A), some(&[]));
    assert_eq!(answers("cluster.local.", RecordType::A), some(&[]));
    assert_eq!(answers("missing.default.svc.cluster.local.", RecordType::A), None);
    assert_eq!(answers("missing.svc.cluster.local.", RecordType::A), None);
    assert_eq!(answers("a.b.c.d.e.f.cluster.local.", RecordType::A), None);
}

#[test]
fn search_domains_make_names_that_do_not_exist_and_say_so() {
    assert_eq!(answers("www.example.com.default.svc.cluster.local.", RecordType::A), None);
    assert_eq!(answers("example.com.cluster.local.", RecordType::A), None);
}

#[test]
fn a_headless_service_is_its_ready_pods() {
    assert_eq!(answers("db.default.svc.cluster.local.", RecordType::A), some(&["10.244.0.5", "10.244.0.6"]));
    assert_eq!(answers("db-0.db.default.svc.cluster.local.", RecordType::A), some(&["10.244.0.5"]));
    assert_eq!(answers("10-244-0-6.db.default.svc.cluster.local.", RecordType::A), some(&["10.244.0.6"]));
    assert_eq!(answers("db-1.db.default.svc.cluster.local.", RecordType::A), None);
    assert_eq!(answers("empty.default.svc.cluster.local.", RecordType::A), None);
}

#[test]
fn named_ports_have_srv_records() {
    assert_eq!(
        answers("_http._tcp.payments.default.svc.cluster.local.", RecordType::SRV),
        some(&["0 100 80 payments.default.svc.cluster.local."])
    );
    assert_eq!(
        answers("_sql._tcp.db.default.svc.cluster.local.", RecordType::SRV),
        some(&[
            "0 100 15432 db-0.db.default.svc.cluster.local.",
            "0 100 15432 10-244-0-6.db.default.svc.cluster.local.",
        ])
    );
    assert_eq!(answers("_http._udp.payments.default.svc.cluster.local.", RecordType::SRV), None);
    assert_eq!(answers("_tcp.payments.default.svc.cluster.local.", RecordType::SRV), some(&[]));
    let Lookup::Found { additionals, .. } = ask("_sql._tcp.db.default.svc.cluster.local.", RecordType::SRV)
    else {
        panic!("found");
    };
    assert_eq!(additionals.len(), 2);
}

#[test]
fn an_external_name_is_an_alias() {
    let Lookup::Alias { target, .. } = ask("outside.default.svc.cluster.local.", RecordType::A) else {
        panic!("an alias");
    };
    assert_eq!(target.to_ascii(), "www.example.com.");
}

#[test]
fn addresses_have_names() {
    assert_eq!(
        answers("50.0.96.10.in-addr.arpa.", RecordType::PTR),
        some(&["payments.default.svc.cluster.local."])
    );
    assert_eq!(
        answers("5.0.244.10.in-addr.arpa.", RecordType::PTR),
        some(&["db-0.db.default.svc.cluster.local."])
    );
    assert_eq!(ask("1.2.0.192.in-addr.arpa.", RecordType::PTR), Lookup::Outside);
}

#[test]
fn a_pod_name_is_the_address_it_spells() {
    assert_eq!(answers("10-244-0-9.default.pod.cluster.local.", RecordType::A), some(&["10.244.0.9"]));
    assert_eq!(answers("somebody.default.pod.cluster.local.", RecordType::A), None);
}

#[test]
fn other_names_are_not_the_clusters() {
    assert_eq!(ask("www.example.com.", RecordType::A), Lookup::Outside);
    assert_eq!(ask("notcluster.local.", RecordType::A), Lookup::Outside);
}
