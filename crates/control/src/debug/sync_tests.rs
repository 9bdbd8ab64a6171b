use super::*;

fn status(type_url: TypeUrl, sent: &str, acknowledged: &str, error: Option<&str>) -> TypeStatus {
    TypeStatus {
        type_url,
        wildcard: false,
        resources: 1,
        nonce_sent: sent.to_owned(),
        nonce_acknowledged: acknowledged.to_owned(),
        last_sent: None,
        last_acknowledged: None,
        error: error.map(str::to_owned),
    }
}

#[test]
fn routes_are_in_step_when_their_virtual_hosts_are() {
    let routes = || status(TypeUrl::ROUTE, "1", "1", None);
    let state = |hosts: Option<TypeStatus>| {
        let types: Vec<_> = std::iter::once(routes()).chain(hosts).collect();
        state_of(decisive(&types, TypeUrl::ROUTE).expect("routes"))
    };
    let hosts = |sent, acknowledged, error| Some(status(TypeUrl::VIRTUAL_HOST, sent, acknowledged, error));
    assert_eq!(state(None), "SYNCED");
    assert_eq!(state(hosts("2", "2", None)), "SYNCED");
    assert_eq!(state(hosts("3", "2", None)), "STALE");
    assert_eq!(state(hosts("3", "2", Some("80/a: routes[0]"))), "ERROR");
    assert_eq!(state(hosts("", "", None)), "SYNCED", "held from an earlier stream");
}
