use super::*;
use envoy_types::pb::google::protobuf::{Struct, Value};

fn node(id: &str, metadata: &[(&str, &str)]) -> Node {
    let fields = metadata
        .iter()
        .map(|(key, text)| ((*key).to_owned(), Value { kind: Some(Kind::StringValue((*text).to_owned())) }))
        .collect();
    Node { id: id.to_owned(), metadata: Some(Struct { fields }), ..Node::default() }
}

fn payments() -> Caller {
    Caller::Workload { namespace: "default".to_owned(), service_account: "payments".to_owned() }
}

const ID: &str = "sidecar~10.244.0.7~payments-v1-abc.x.default~default.svc.cluster.local";

#[test]
fn a_node_is_read() {
    let client = Client::verify(&node(ID, &[]), &Caller::Anonymous).expect("a client");
    assert_eq!((client.kind.as_str(), client.pod.as_str()), ("sidecar", "payments-v1-abc.x"));
    assert_eq!((client.namespace.as_str(), client.address), ("default", "10.244.0.7".parse().ok()));
}

#[test]
fn ids_of_another_form_are_refused() {
    for id in ["", "sidecar~1.2.3.4~a", "sidecar~1.2.3.4~a~b", "sidecar~~.default~c", "a~b~c.d~e~f"] {
        let refused = Client::verify(&node(id, &[]), &Caller::Anonymous);
        assert!(matches!(refused, Err(ClientError::Form(_))), "{id}: {refused:?}");
    }
    let ztunnel = Client::verify(&node("ztunnel~~a.b~c", &[]), &Caller::Anonymous);
    assert_eq!(ztunnel, Err(ClientError::Kind("ztunnel".to_owned())));
}

#[test]
fn nobody_can_be_somebody_else() {
    let honest = node(ID, &[("NAMESPACE", "default"), ("SERVICE_ACCOUNT", "payments")]);
    assert!(Client::verify(&honest, &payments()).is_ok());
    let elsewhere = "sidecar~10.244.0.7~vault.bank~bank.svc.cluster.local";
    for lie in
        [node(elsewhere, &[]), node(ID, &[("NAMESPACE", "bank")]), node(ID, &[("SERVICE_ACCOUNT", "vault")])]
    {
        let refused = Client::verify(&lie, &payments());
        assert!(matches!(refused, Err(ClientError::Claim { .. })), "{refused:?}");
    }
}
