use super::*;
use crate::server::testing::{World, named, names};

const TYPES: [TypeUrl; 4] = [TypeUrl::ROUTE, TypeUrl::CLUSTER, TypeUrl::LISTENER, TypeUrl::ENDPOINT];

struct Client {
    conversation: Conversation,
    world: World,
}

impl Client {
    fn new(world: &World) -> Self {
        Self {
            conversation: Conversation::new(7, &TYPES, 100, "test".into(), Arc::default()),
            world: world.clone(),
        }
    }

    fn now() -> (Instant, SystemTime) {
        (Instant::now(), SystemTime::UNIX_EPOCH)
    }

    fn subscribe(&mut self, type_url: TypeUrl, names: &[&str]) {
        let request = DeltaDiscoveryRequest {
            type_url: type_url.as_str().to_owned(),
            resource_names_subscribe: names.iter().map(|&name| name.to_owned()).collect(),
            ..Default::default()
        };
        self.receive(request);
    }

    fn receive(&mut self, request: DeltaDiscoveryRequest) -> Answer {
        self.conversation.receive(Request::Delta(request), Self::now()).expect("accepted")
    }

    fn answer(&mut self, response: &Response, error: Option<&str>) -> Answer {
        self.receive(DeltaDiscoveryRequest {
            type_url: response.type_url.as_str().to_owned(),
            response_nonce: response.nonce.clone(),
            error_detail: error.map(|message| envoy_types::pb::google::rpc::Status {
                message: message.to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        })
    }

    fn next(&mut self) -> Option<Response> {
        self.conversation.next(&self.world, ResponseKind::Delta, Self::now())
    }

    fn next_type(&mut self) -> Option<TypeUrl> {
        self.next().map(|response| response.type_url)
    }

    fn acknowledge_all(&mut self) {
        while let Some(response) = self.next() {
            self.answer(&response, None);
        }
    }

    fn mark(&mut self, type_url: TypeUrl, name: &str) {
        self.conversation.mark(type_url, Some(&Arc::from([named(name)])));
    }
}

#[test]
fn pushes_follow_the_order_of_references_and_not_of_requests() {
    let mut client = Client::new(&World::of(&[("a", "1")]));
    for type_url in [TypeUrl::ROUTE, TypeUrl::LISTENER, TypeUrl::ENDPOINT, TypeUrl::CLUSTER] {
        client.subscribe(type_url, &["a"]);
    }
    let order: Vec<_> = std::iter::from_fn(|| client.next_type()).collect();
    assert_eq!(order, [TypeUrl::CLUSTER, TypeUrl::ENDPOINT, TypeUrl::LISTENER, TypeUrl::ROUTE]);
}

#[test]
fn one_response_a_type_is_outstanding_and_the_newest_state_wins() {
    let world = World::of(&[("a", "1")]);
    let mut client = Client::new(&world);
    client.subscribe(TypeUrl::ENDPOINT, &["a"]);
    let first = client.next().expect("first");
    for body in ["2", "3", "4"] {
        world.set("a", Some(body));
        client.mark(TypeUrl::ENDPOINT, "a");
        assert!(client.next().is_none());
    }
    assert!(matches!(client.answer(&first, None), Answer::Acknowledged(TypeUrl::ENDPOINT, _)));
    let second = client.next().expect("second");
    assert_eq!(second.resources, [world.get("a")]);
    client.answer(&second, None);
    assert!(client.next().is_none());
    assert!(client.conversation.is_settled());
}

#[test]
fn a_type_that_is_not_answered_does_not_hold_up_endpoints() {
    let world = World::of(&[("a", "1")]);
    let mut client = Client::new(&world);
    client.subscribe(TypeUrl::CLUSTER, &[]);
    client.subscribe(TypeUrl::ENDPOINT, &["a"]);
    client.subscribe(TypeUrl::ROUTE, &["a"]);
    let clusters = client.next().expect("clusters");
    let endpoints = client.next().expect("endpoints");
    let routes = client.next().expect("routes");
    client.answer(&endpoints, None);
    client.answer(&routes, None);
    world.set("a", Some("2"));
    for type_url in [TypeUrl::CLUSTER, TypeUrl::ENDPOINT, TypeUrl::ROUTE] {
        client.mark(type_url, "a");
    }
    assert_eq!(client.next_type(), Some(TypeUrl::ENDPOINT));
    assert_eq!(client.next_type(), None, "routes wait for the clusters they may refer to");
    client.answer(&clusters, None);
    assert_eq!(client.next_type(), Some(TypeUrl::CLUSTER));
    assert_eq!(client.next_type(), Some(TypeUrl::ROUTE));
}

#[test]
fn a_cluster_goes_after_the_routes_that_leave_it() {
    let world = World::of(&[("old", "1"), ("route", "to old")]);
    let mut client = Client::new(&world);
    client.subscribe(TypeUrl::CLUSTER, &[]);
    client.subscribe(TypeUrl::ROUTE, &["route"]);
    client.acknowledge_all();

    world.set("old", None);
    world.set("new", Some("1"));
    world.set("route", Some("to new"));
    for name in ["old", "new"] {
        client.mark(TypeUrl::CLUSTER, name);
    }
    client.mark(TypeUrl::ROUTE, "route");
    let clusters = client.next().expect("the new cluster");
    assert_eq!((names(&clusters.resources), clusters.removed.len()), (vec!["new"], 0));
    let routes = client.next().expect("the route");
    client.answer(&clusters, None);
    assert_eq!(client.next_type(), None);
    client.answer(&routes, None);
    let removal = client.next().expect("the removal");
    assert_eq!((removal.type_url, removal.removed), (TypeUrl::CLUSTER, vec![named("old")]));
}

#[test]
fn a_refusal_is_remembered_and_not_repeated() {
    let world = World::of(&[("a", "1")]);
    let mut client = Client::new(&world);
    client.subscribe(TypeUrl::CLUSTER, &[]);
    let response = client.next().expect("first");
    let refusal = Answer::Refused(TypeUrl::CLUSTER, "no such thing".to_owned());
    assert_eq!(client.answer(&response, Some("no such thing")), refusal);
    assert_eq!(client.answer(&response, None), Answer::None, "one answer a response");
    assert!(client.next().is_none());
    assert!(client.conversation.has_refusal());
    world.set("a", Some("2"));
    client.mark(TypeUrl::CLUSTER, "a");
    let response = client.next().expect("the correction");
    client.answer(&response, None);
    assert!(!client.conversation.has_refusal());
}

#[test]
fn unknown_types_are_ignored_and_names_are_bounded() {
    let mut client = Client::new(&World::of(&[]));
    let request = DeltaDiscoveryRequest { type_url: "type.googleapis.com/x".into(), ..Default::default() };
    assert_eq!(client.receive(request), Answer::None);
    let request = DeltaDiscoveryRequest {
        type_url: TypeUrl::ENDPOINT.as_str().to_owned(),
        resource_names_subscribe: (0..101).map(|index| index.to_string()).collect(),
        ..Default::default()
    };
    let status = client.conversation.receive(Request::Delta(request), Client::now()).expect_err("too many");
    assert_eq!(status.code(), tonic::Code::ResourceExhausted);
}

#[test]
fn a_stale_state_of_the_world_request_changes_nothing() {
    let world = World::of(&[("a", "1"), ("b", "1")]);
    let mut client = Client::new(&world);
    let mut request = |names: &[&str], nonce: &str| {
        let request = DiscoveryRequest {
            type_url: TypeUrl::ENDPOINT.as_str().to_owned(),
            resource_names: names.iter().map(|&name| name.to_owned()).collect(),
            response_nonce: nonce.to_owned(),
            ..Default::default()
        };
        client.conversation.receive(Request::World(request), Client::now()).expect("accepted");
        client.conversation.next(&world, ResponseKind::World, Client::now())
    };
    let first = request(&["a"], "").expect("a");
    assert!(request(&["a", "b"], "7-99").is_none());
    let second = request(&["a", "b"], &first.nonce).expect("b");
    assert_eq!(names(&second.resources), ["b"]);
    assert_ne!(first.version, second.version);
    assert!(request(&["a", "b"], &second.nonce).is_none());
}

#[test]
fn a_client_that_warms_clusters_again_is_sent_their_endpoints_again() {
    for again in [false, true] {
        let mut world = World::of(&[("a", "1"), ("b", "1")]);
        world.warms_clusters_again = again;
        let mut client = Client::new(&world);
        client.subscribe(TypeUrl::CLUSTER, &["a", "b"]);
        client.subscribe(TypeUrl::ENDPOINT, &["a"]);
        client.acknowledge_all();
        // Endpoints that nobody asked for stay unsent.
        world.set("b", Some("2"));
        client.conversation.mark(TypeUrl::CLUSTER, Some(&[named("b")].into()));
        let clusters = client.next().expect("clusters");
        assert_eq!(names(&clusters.resources), ["b"]);
        assert!(client.next().is_none());
        client.answer(&clusters, None);
        // The client has not answered for its clusters yet: it waits for the endpoints first.
        client.subscribe(TypeUrl::CLUSTER, &["a"]);
        let clusters = client.next().expect("clusters");
        assert_eq!((clusters.type_url, names(&clusters.resources)), (TypeUrl::CLUSTER, vec!["a"]));
        assert_eq!(client.next_type(), again.then_some(TypeUrl::ENDPOINT));
    }
}
