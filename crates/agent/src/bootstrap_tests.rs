use super::*;
use crate::options::Role;
use std::collections::BTreeMap;

fn built(certificates: Certificates) -> Bootstrap {
    let variables =
        [("POD_NAME", "payments-v1-x"), ("POD_NAMESPACE", "default"), ("INSTANCE_IP", "10.244.0.9")];
    let variables: BTreeMap<String, String> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let options = AgentOptions::read(Role::Sidecar, None, &variables, |_| None).expect("options");
    build(&options, certificates).expect("a bootstrap")
}

fn cluster_names(bootstrap: &Bootstrap) -> Vec<&str> {
    let clusters = bootstrap.static_resources.iter().flat_map(|resources| &resources.clusters);
    clusters.map(|cluster| cluster.name.as_str()).collect()
}

fn features(bootstrap: &Bootstrap) -> Option<&Value> {
    bootstrap.node.as_ref()?.metadata.as_ref()?.fields.get("MIZZEN_FEATURES")
}

#[test]
fn the_built_in_proxy_has_istios_filters_and_no_cluster_for_its_agent() {
    let bootstrap = built(Certificates::InProcess);
    assert_eq!(cluster_names(&bootstrap), ["xds-grpc"]);
    assert!(features(&bootstrap).is_some());
    assert!(bootstrap.cluster_manager.is_none());
}

#[test]
fn stock_envoy_asks_its_agent_for_certificates_and_has_no_filters_of_istios() {
    let bootstrap = built(Certificates::OverSocket);
    assert_eq!(cluster_names(&bootstrap), ["xds-grpc", "sds-grpc"]);
    assert_eq!(features(&bootstrap), None);
    // What a process may do differs between machines; where it may mark, Envoy does.
    assert_eq!(bootstrap.cluster_manager.is_some(), mizzen_net::socket::may_mark());
}
