use super::*;
use crate::link::Links;
use crate::netns::{NetworkNamespace, for_tests};
use crate::{ConnectOptions, ListenOptions, original_destination};
use std::net::{Ipv4Addr, SocketAddr};
use tokio::net::TcpListener;

const POD: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 9);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 8);

/// A pod beside another one, and the sidecar's two listeners in it.
struct Pod {
    pod: NetworkNamespace,
    peer: NetworkNamespace,
    outbound: TcpListener,
    inbound: TcpListener,
    _links: [Links; 2],
}

impl Pod {
    async fn start(rules: &InterceptionRules) -> Option<Self> {
        let (pod, peer) = (for_tests()?, for_tests()?);
        let links = [Links::inside(&pod).expect("links"), Links::inside(&peer).expect("links")];
        links[1].add_veth("eth0", "eth0", &pod).await.expect("veth");
        for (links, own, other) in [(&links[0], POD, PEER), (&links[1], PEER, POD)] {
            links.up("lo").await.expect("lo");
            links.up("eth0").await.expect("eth0");
            links.add_address("eth0", own, 32).await.expect("address");
            links.add_route("eth0", other, 32, None).await.expect("route");
            links.add_route("eth0", Ipv4Addr::UNSPECIFIED, 0, Some(other)).await.expect("default");
        }
        pod.run(|| install(rules)).expect("inside").expect("rules");
        let listen = |port: u16| {
            let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
            pod.listen(any, &ListenOptions::default()).expect("listen")
        };
        let (outbound, inbound) = (listen(15001), listen(15006));
        Some(Self { pod, peer, outbound, inbound, _links: links })
    }
}

/// The mark on this socket tells the rules that the proxy speaks.
fn as_proxy() -> ConnectOptions {
    ConnectOptions { mark: Some(crate::PROXY_MARK), ..ConnectOptions::default() }
}

fn at(address: impl Into<IpAddr>, port: u16) -> SocketAddr {
    SocketAddr::new(address.into(), port)
}

/// Dials and says which address the listener saw the connection was for.
async fn seen(
    from: &NetworkNamespace,
    to: SocketAddr,
    options: &ConnectOptions,
    listener: &TcpListener,
) -> SocketAddr {
    let _client = from.connect(to, options).await.expect("connect");
    let (server, _) = listener.accept().await.expect("accept");
    original_destination(&server).expect("destination")
}

#[tokio::test]
async fn what_the_application_sends_goes_to_the_outbound_listener() {
    let Some(pod) = Pod::start(&InterceptionRules::default()).await else { return };
    for target in [at(PEER, 80), at([10, 96, 0, 10], 443), at([198, 51, 100, 7], 25)] {
        assert_eq!(seen(&pod.pod, target, &ConnectOptions::default(), &pod.outbound).await, target);
    }
}

#[tokio::test]
async fn what_the_pod_is_sent_goes_to_the_inbound_listener() {
    let Some(pod) = Pod::start(&InterceptionRules::default()).await else { return };
    assert_eq!(seen(&pod.peer, at(POD, 8080), &ConnectOptions::default(), &pod.inbound).await, at(POD, 8080));
}

#[tokio::test]
async fn health_and_metrics_ports_are_reached_directly() {
    let Some(pod) = Pod::start(&InterceptionRules::default()).await else { return };
    for port in [15008, 15020, 15021, 15090] {
        let direct = pod.pod.listen(at(POD, port), &ListenOptions::default()).expect("listen");
        assert_eq!(seen(&pod.peer, at(POD, port), &ConnectOptions::default(), &direct).await, at(POD, port));
    }
}

#[tokio::test]
async fn the_proxys_own_connections_go_straight() {
    let Some(pod) = Pod::start(&InterceptionRules::default()).await else { return };
    let server = pod.peer.listen(at(PEER, 80), &ListenOptions::default()).expect("listen");
    assert_eq!(seen(&pod.pod, at(PEER, 80), &as_proxy(), &server).await, at(PEER, 80));
}

#[tokio::test]
async fn the_application_reaches_itself_directly() {
    let Some(pod) = Pod::start(&InterceptionRules::default()).await else { return };
    let application = pod.pod.listen(at([0, 0, 0, 0], 8080), &ListenOptions::default()).expect("listen");
    for own in [at([127, 0, 0, 1], 8080), at(POD, 8080)] {
        assert_eq!(seen(&pod.pod, own, &ConnectOptions::default(), &application).await, own);
    }
}

#[tokio::test]
async fn the_proxy_choosing_its_own_pod_enters_through_the_inbound_listener() {
    let Some(pod) = Pod::start(&InterceptionRules::default()).await else { return };
    assert_eq!(seen(&pod.pod, at(POD, 8080), &as_proxy(), &pod.inbound).await, at(POD, 8080));
    // The inbound side's own dial has the source that ends the loop.
    let application = pod.pod.listen(at(POD, 8080), &ListenOptions::default()).expect("listen");
    let onward = ConnectOptions { source: Some([127, 0, 0, 6].into()), ..as_proxy() };
    assert_eq!(seen(&pod.pod, at(POD, 8080), &onward, &application).await, at(POD, 8080));
}

#[tokio::test]
async fn annotations_narrow_what_is_captured() {
    let rules = InterceptionRules {
        include_inbound_ports: Ports::Only(vec![8080]),
        exclude_outbound_ports: vec![3306],
        exclude_outbound_networks: vec!["10.96.0.0/16".parse().expect("network")],
        include_outbound_networks: Networks::Only(vec!["10.0.0.0/8".parse().expect("network")]),
        include_outbound_ports: vec![9999],
        ..InterceptionRules::default()
    };
    let Some(pod) = Pod::start(&rules).await else { return };
    let plain = ConnectOptions::default();
    assert_eq!(seen(&pod.peer, at(POD, 8080), &plain, &pod.inbound).await, at(POD, 8080));
    let direct = pod.pod.listen(at(POD, 8081), &ListenOptions::default()).expect("listen");
    assert_eq!(seen(&pod.peer, at(POD, 8081), &plain, &direct).await, at(POD, 8081));
    let database = pod.peer.listen(at(PEER, 3306), &ListenOptions::default()).expect("listen");
    assert_eq!(seen(&pod.pod, at(PEER, 3306), &plain, &database).await, at(PEER, 3306));
    for captured in [at([10, 1, 2, 3], 80), at([198, 51, 100, 7], 9999)] {
        assert_eq!(seen(&pod.pod, captured, &plain, &pod.outbound).await, captured);
    }
}

#[tokio::test]
async fn dns_is_captured_but_for_the_proxys_own() {
    let rules = InterceptionRules { dns_port: Some(15053), ..InterceptionRules::default() };
    let Some(pod) = Pod::start(&rules).await else { return };
    let resolver = at([10, 96, 0, 10], 53);
    let udp = |address: SocketAddr| {
        let bound = pod.pod.run(|| std::net::UdpSocket::bind(address)).expect("inside").expect("bind");
        bound.set_nonblocking(true).expect("nonblocking");
        tokio::net::UdpSocket::from_std(bound).expect("socket")
    };
    let server = udp(at([127, 0, 0, 1], 15053));
    let client = udp(at([0, 0, 0, 0], 0));
    client.send_to(b"query", resolver).await.expect("send");
    let mut buffer = [0; 16];
    let (length, from) = server.recv_from(&mut buffer).await.expect("receive");
    assert_eq!(&buffer[..length], b"query");
    server.send_to(b"answer", from).await.expect("answer");
    let (length, answered) = client.recv_from(&mut buffer).await.expect("receive");
    assert_eq!((&buffer[..length], answered), (b"answer".as_slice(), resolver));

    let over_tcp = pod.pod.listen(at([127, 0, 0, 1], 15053), &ListenOptions::default()).expect("listen");
    assert_eq!(seen(&pod.pod, resolver, &ConnectOptions::default(), &over_tcp).await, resolver);
    let upstream = pod.peer.listen(at(PEER, 53), &ListenOptions::default()).expect("listen");
    assert_eq!(seen(&pod.pod, at(PEER, 53), &as_proxy(), &upstream).await, at(PEER, 53));
}

#[tokio::test]
async fn removed_rules_capture_nothing() {
    let Some(pod) = Pod::start(&InterceptionRules::default()).await else { return };
    pod.pod.run(remove).expect("inside").expect("remove");
    let server = pod.peer.listen(at(PEER, 80), &ListenOptions::default()).expect("listen");
    assert_eq!(seen(&pod.pod, at(PEER, 80), &ConnectOptions::default(), &server).await, at(PEER, 80));
}

#[test]
fn user_ids_are_matched_where_they_are_given() {
    let rules =
        InterceptionRules { proxy_users: vec![0], proxy_groups: vec![0], ..InterceptionRules::default() };
    let Some(namespace) = for_tests() else { return };
    namespace.run(|| install(&rules)).expect("inside").expect("rules");
    assert!(outbound(&rules).len() > outbound(&InterceptionRules::default()).len());
}
