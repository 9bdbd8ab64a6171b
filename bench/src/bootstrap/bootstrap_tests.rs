use super::*;
use crate::certificates::Certificates;
use mizzen_proxy::{Proxy, ProxyConfig};
use std::net::Ipv4Addr;

/// Any free port, so that tests do not get in each other's way.
const ANYWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// Nothing is sent there.
const APPLICATION: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9);

fn run(bootstrap: &Value) {
    let bootstrap = mizzen_proxy::read_bootstrap(&bootstrap.to_string()).expect("a bootstrap");
    let config = ProxyConfig { bootstrap, concurrency: 1, ..ProxyConfig::default() };
    Proxy::start(config).expect("a proxy").shutdown();
}

#[tokio::test]
async fn our_proxy_takes_every_bootstrap() {
    let folder = tempfile::tempdir().unwrap();
    let certificates = Certificates::issue(folder.path()).unwrap();
    for (http2_out, tls) in [(false, None), (true, None), (false, Some(&certificates))] {
        run(&hop(ANYWHERE, ANYWHERE, APPLICATION, http2_out, tls));
    }
    run(&tcp(ANYWHERE, ANYWHERE, APPLICATION));
    run(&large(ANYWHERE, ANYWHERE, APPLICATION, 10));
    run(&routed(ANYWHERE, ANYWHERE, APPLICATION, APPLICATION, 10));
    let at = Sidecars {
        client: ANYWHERE,
        client_admin: ANYWHERE,
        server: ANYWHERE,
        server_admin: ANYWHERE,
        application: APPLICATION,
    };
    // Upstream addresses must have a port.
    let mut bootstraps: Vec<Value> = Vec::new();
    bootstraps.extend(mesh(Peer::Mizzen, &at, &certificates, folder.path()));
    bootstraps.extend(mesh(Peer::Envoy, &at, &certificates, folder.path()));
    bootstraps.extend(mesh_tcp(&at, &certificates));
    for bootstrap in &bootstraps {
        run(bootstrap);
    }
}

#[test]
fn on_the_mesh_path_ours_differs_by_the_standard_metrics_only() {
    let folder = tempfile::tempdir().unwrap();
    let certificates = Certificates::issue(folder.path()).unwrap();
    let at = Sidecars {
        client: ANYWHERE,
        client_admin: ANYWHERE,
        server: ANYWHERE,
        server_admin: ANYWHERE,
        application: APPLICATION,
    };
    let [ours, theirs] =
        [Peer::Mizzen, Peer::Envoy].map(|peer| mesh(peer, &at, &certificates, folder.path()));
    for (mut ours, theirs) in ours.into_iter().zip(theirs) {
        let manager = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
        let filters = ours.pointer_mut(&format!("{manager}/http_filters")).unwrap().as_array_mut().unwrap();
        let before = filters.len();
        filters.retain(|filter| filter["name"] != "istio.stats");
        assert_eq!(filters.len(), before - 1);
        let log = |bootstrap: &Value| {
            let path = format!("{manager}/access_log/0/typed_config/path");
            bootstrap.pointer(&path).unwrap().as_str().unwrap().to_owned()
        };
        let text = ours.to_string().replace(&log(&ours), &log(&theirs));
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), theirs);
    }
}
