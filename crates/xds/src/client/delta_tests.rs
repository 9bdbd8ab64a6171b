use super::*;
use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::service::discovery::v3::Resource;
use envoy_types::pb::google::protobuf::Any;
use prost::Message;
use std::collections::BTreeSet;

/// Wants the endpoints of every cluster it has; rejects clusters named "bad".
#[derive(Default)]
pub(super) struct Clusters(BTreeSet<Arc<str>>);

impl Handler for Clusters {
    fn apply(&mut self, update: &Update) -> Vec<Rejection> {
        if update.kind != TypeUrl::CLUSTER {
            return Vec::new();
        }
        for name in &update.removed {
            self.0.remove(name);
        }
        let mut rejections = Vec::new();
        for resource in &update.resources {
            if &*resource.name == "bad" {
                let reason = "connect_timeout: is negative".to_owned();
                rejections.push(Rejection { name: Arc::clone(&resource.name), reason });
            } else {
                self.0.insert(Arc::clone(&resource.name));
            }
        }
        rejections
    }

    fn wanted(&self, kind: TypeUrl) -> Names {
        if kind == TypeUrl::ENDPOINT { Arc::new(self.0.clone()) } else { Names::default() }
    }

    fn connected(&mut self, _connected: bool) {}
}

fn conversation() -> Conversation {
    let node = Node { id: "node".to_owned(), ..Node::default() };
    Conversation::new(node, &[TypeUrl::CLUSTER, TypeUrl::ENDPOINT])
}

fn clusters(names: &[&str], removed: &[&str]) -> DeltaDiscoveryResponse {
    let resource = |name: &&str| Resource {
        name: (*name).to_owned(),
        version: format!("version of {name}"),
        resource: Some(Any {
            type_url: TypeUrl::CLUSTER.as_str().to_owned(),
            value: Cluster { name: (*name).to_owned(), ..Cluster::default() }.encode_to_vec(),
        }),
        ..Resource::default()
    };
    DeltaDiscoveryResponse {
        type_url: TypeUrl::CLUSTER.as_str().to_owned(),
        nonce: "n1".to_owned(),
        resources: names.iter().map(resource).collect(),
        removed_resources: removed.iter().map(|name| (*name).to_owned()).collect(),
        ..DeltaDiscoveryResponse::default()
    }
}

#[test]
fn the_first_message_introduces_the_node_and_asks_for_everything() {
    let requests = conversation().open(&Clusters::default());
    let [request] = requests.as_slice() else { panic!("{requests:?}") };
    assert_eq!(request.type_url, TypeUrl::CLUSTER.as_str());
    assert_eq!(request.node.as_ref().expect("node").id, "node");
    assert!(request.resource_names_subscribe.is_empty());
}

#[test]
fn clusters_bring_subscriptions_to_their_endpoints() {
    let (mut conversation, mut handler) = (conversation(), Clusters::default());
    conversation.open(&handler);
    let requests = conversation.receive(clusters(&["a", "b"], &[]), &mut handler);
    let [ack, subscribe] = requests.as_slice() else { panic!("{requests:?}") };
    assert_eq!((ack.response_nonce.as_str(), ack.error_detail.is_none()), ("n1", true));
    assert_eq!(subscribe.resource_names_subscribe, ["a", "b"]);
    let requests = conversation.receive(clusters(&["c"], &["a"]), &mut handler);
    assert_eq!(requests[1].resource_names_subscribe, ["c"]);
    assert_eq!(requests[1].resource_names_unsubscribe, ["a"]);
    assert!(requests.iter().all(|request| request.node.is_none()));
}

#[test]
fn a_rejected_resource_is_named_and_asked_for_again_by_a_new_stream() {
    let (mut conversation, mut handler) = (conversation(), Clusters::default());
    conversation.open(&handler);
    let requests = conversation.receive(clusters(&["a", "bad"], &[]), &mut handler);
    let message = &requests[0].error_detail.as_ref().expect("NACK").message;
    assert_eq!(message, "bad: connect_timeout: is negative");
    let requests = conversation.open(&handler);
    let versions = &requests[0].initial_resource_versions;
    assert_eq!(versions.len(), 1);
    assert_eq!(versions["a"], "version of a");
    assert!(requests[0].node.is_some());
}

#[test]
fn types_that_were_not_asked_for_are_refused() {
    let mut handler = Clusters::default();
    let response = DeltaDiscoveryResponse { type_url: "x".to_owned(), ..clusters(&[], &[]) };
    let requests = conversation().receive(response, &mut handler);
    assert!(requests[0].error_detail.is_some());
}
