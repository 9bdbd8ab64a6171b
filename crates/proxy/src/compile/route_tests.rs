use super::*;
use crate::telemetry::Telemetry;
use envoy_types::pb::envoy::config::core::v3::Node;
use prost::Message;

fn host(name: &str, cluster: &str) -> pb::VirtualHost {
    let action = pb::RouteAction {
        cluster_specifier: Some(pb::route_action::ClusterSpecifier::Cluster(cluster.to_owned())),
        ..pb::RouteAction::default()
    };
    let matcher = pb::RouteMatch {
        path_specifier: Some(route_match::PathSpecifier::Prefix("/".to_owned())),
        ..pb::RouteMatch::default()
    };
    pb::VirtualHost {
        name: name.to_owned(),
        domains: vec![format!("{name}.EXAMPLE")],
        routes: vec![pb::Route {
            r#match: Some(matcher),
            action: Some(pb::route::Action::Route(action)),
            ..pb::Route::default()
        }],
        ..pb::VirtualHost::default()
    }
}

fn encoded(virtual_hosts: Vec<pb::VirtualHost>) -> Vec<u8> {
    pb::RouteConfiguration { virtual_hosts, ..pb::RouteConfiguration::default() }.encode_to_vec()
}

#[test]
fn a_change_compiles_what_changed_only() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let context = Context {
        node: Node::default().into(),
        secrets: Default::default(),
        telemetry: Telemetry::new(&Node::default(), 1),
        control: runtime.handle().clone(),
    };
    let before = encoded(vec![host("a", "one"), host("b", "one"), host("c", "one")]);
    let old = compile(&before, None, &[], &context).unwrap();
    let after = encoded(vec![host("c", "one"), host("b", "two"), host("d", "one"), host("a", "one")]);
    let new = compile(&after, Some((&before, &old)), &[], &context).unwrap();
    let same = |host: &str| {
        let [old, new] = [&old, &new].map(|table| table.virtual_host(host).unwrap());
        Arc::ptr_eq(old, new)
    };
    assert!(same("a.example") && same("c.example") && !same("b.example"));
    assert_eq!(&*new.virtual_host("d.example").unwrap().name, "d");
    let twice = encoded(vec![host("a", "one"), host("b", "one"), host("a", "one")]);
    let error = compile(&twice, Some((&before, &old)), &[], &context).unwrap_err();
    assert_eq!(error.field, "virtual_hosts[2].domains[0]");
}
