use super::*;

fn payments() -> PeerMetadata {
    PeerMetadata {
        instance: "payments-v1-0".into(),
        workload: "payments-v1".into(),
        namespace: "shop".into(),
        cluster: "Kubernetes".into(),
        canonical_service: "payments".into(),
        canonical_revision: "v1".into(),
        app: "payments".into(),
        version: "v1".into(),
        owner: "kubernetes://apis/apps/v1/namespaces/shop/deployments/payments-v1".into(),
        mesh: "cluster.local".into(),
    }
}

#[test]
fn the_header_goes_there_and_back() {
    let sent = payments();
    assert_eq!(PeerMetadata::of_header(sent.to_header().as_bytes()), Some(sent));
}

#[test]
fn garbage_is_not_a_peer() {
    assert_eq!(PeerMetadata::of_header(b"!!!"), None);
    assert_eq!(PeerMetadata::of_header(b""), None);
    assert_eq!(PeerMetadata::of_header(&vec![b'A'; HEADER_LIMIT + 4]), None);
}

#[test]
fn canonical_name_falls_back_to_the_workload() {
    let mut fields = HashMap::new();
    insert(&mut fields, "WORKLOAD_NAME", "worker");
    let peer = PeerMetadata::from_struct(&Struct { fields });
    assert_eq!((peer.canonical_service.as_str(), peer.canonical_revision.as_str()), ("worker", "latest"));
}

#[test]
fn endpoint_metadata_names_the_workload() {
    let peer = PeerMetadata::of_endpoint("payments-v1;shop;payments;v1;Kubernetes").unwrap();
    assert_eq!((peer.workload.as_str(), peer.namespace.as_str()), ("payments-v1", "shop"));
    assert_eq!(peer.cluster, "Kubernetes");
    assert_eq!(PeerMetadata::of_endpoint("alone"), None);
}
