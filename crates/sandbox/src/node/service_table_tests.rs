use super::*;
use mizzen_net::link::Links;
use mizzen_net::{ConnectOptions, ListenOptions, NetworkNamespace};
use std::net::SocketAddr;

fn forward(frontend: &str, transport: Transport, backends: &[&str]) -> Forward {
    Forward {
        frontend: Frontend::Address(frontend.parse().expect("frontend")),
        transport,
        backends: backends.iter().map(|backend| backend.parse().expect("backend")).collect(),
        comment: "default/reviews:http".to_owned(),
    }
}

#[tokio::test]
async fn connections_reach_a_backend_or_are_refused() {
    let Ok(namespace) = NetworkNamespace::create() else {
        println!("skipped: no network namespaces here");
        return;
    };
    let links = Links::inside(&namespace).expect("links");
    links.up("lo").await.expect("lo");
    for address in [NODE_ADDRESS, Ipv4Addr::new(10, 244, 0, 2), Ipv4Addr::new(10, 244, 0, 3)] {
        links.add_address("lo", address, 32).await.expect("address");
    }
    links.add_route("lo", SERVICE_RANGE.addr(), 16, None).await.expect("route");
    let forwards = [
        forward("10.96.0.50:80", Transport::Tcp, &["10.244.0.2:8080", "10.244.0.3:8080"]),
        forward("10.96.0.51:80", Transport::Tcp, &[]),
        Forward {
            frontend: Frontend::NodePort(30080),
            ..forward("0.0.0.0:0", Transport::Tcp, &["10.244.0.2:8080"])
        },
    ];
    namespace.run(|| KernelServiceTable.replace(&forwards)).expect("inside").expect("rules");
    let any = SocketAddr::from(([0, 0, 0, 0], 8080));
    let listener = namespace.listen(any, &ListenOptions::default()).expect("listen");
    let mut reached = std::collections::BTreeSet::new();
    while reached.len() < 2 {
        let service = "10.96.0.50:80".parse().expect("address");
        let _client = namespace.connect(service, &ConnectOptions::default()).await.expect("connect");
        let (server, _) = listener.accept().await.expect("accept");
        reached.insert(server.local_addr().expect("local").to_string());
    }
    assert_eq!(reached.into_iter().collect::<Vec<_>>(), ["10.244.0.2:8080", "10.244.0.3:8080"]);
    let node_port = SocketAddr::from((NODE_ADDRESS, 30080));
    namespace.connect(node_port, &ConnectOptions::default()).await.expect("node port");
    let empty = "10.96.0.51:80".parse().expect("address");
    let error = namespace.connect(empty, &ConnectOptions::default()).await.expect_err("no backends");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    namespace.run(|| egress(15099).replace()).expect("inside").expect("egress rules");
}
