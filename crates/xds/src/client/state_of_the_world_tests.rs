use super::*;
use envoy_types::pb::envoy::config::cluster::v3::Cluster;

#[derive(Default)]
struct Clusters {
    names: BTreeSet<Arc<str>>,
    reject: bool,
}

impl Handler for Clusters {
    fn apply(&mut self, update: &Update) -> Vec<Rejection> {
        if self.reject {
            return vec![Rejection { name: "a".into(), reason: "no".to_owned() }];
        }
        self.names.extend(update.resources.iter().map(|resource| Arc::clone(&resource.name)));
        self.names.retain(|name| !update.removed.contains(name));
        Vec::new()
    }

    fn wanted(&self, kind: TypeUrl) -> Names {
        if kind == TypeUrl::ENDPOINT { Arc::new(self.names.clone()) } else { Names::default() }
    }

    fn connected(&mut self, _connected: bool) {}
}

fn clusters(version: &str, names: &[&str]) -> DiscoveryResponse {
    let any = |name: &&str| Any {
        type_url: TypeUrl::CLUSTER.as_str().to_owned(),
        value: Cluster { name: (*name).to_owned(), ..Cluster::default() }.encode_to_vec(),
    };
    DiscoveryResponse {
        version_info: version.to_owned(),
        type_url: TypeUrl::CLUSTER.as_str().to_owned(),
        nonce: format!("nonce {version}"),
        resources: names.iter().map(any).collect(),
        ..DiscoveryResponse::default()
    }
}

fn opened() -> (Conversation, Clusters) {
    let mut conversation = Conversation::new(Node::default(), &[TypeUrl::CLUSTER, TypeUrl::ENDPOINT]);
    let handler = Clusters::default();
    assert_eq!(conversation.open(&handler).len(), 1);
    (conversation, handler)
}

#[test]
fn what_is_missing_from_a_whole_is_removed() {
    let (mut conversation, mut handler) = opened();
    conversation.receive(clusters("1", &["a", "b"]), &mut handler);
    let requests = conversation.receive(clusters("2", &["b"]), &mut handler);
    assert_eq!(handler.names, BTreeSet::from([Arc::from("b")]));
    assert_eq!((requests[0].version_info.as_str(), requests[0].response_nonce.as_str()), ("2", "nonce 2"));
    assert_eq!(requests[1].resource_names, ["b"]);
}

#[test]
fn a_rejected_version_keeps_the_last_accepted_one() {
    let (mut conversation, mut handler) = opened();
    conversation.receive(clusters("1", &["a"]), &mut handler);
    handler.reject = true;
    let requests = conversation.receive(clusters("2", &["a"]), &mut handler);
    assert_eq!(requests[0].version_info, "1");
    assert_eq!(requests[0].response_nonce, "nonce 2");
    assert_eq!(requests[0].error_detail.as_ref().expect("NACK").message, "a: no");
}
