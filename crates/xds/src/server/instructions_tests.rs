//! What is done for every push to every proxy.

use super::codec::{Response, ResponseKind};
use crate::{Resource, TypeUrl};
use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use std::hint::black_box;

#[path = "../../../../bench/instructions/harness.rs"]
mod harness;

#[test]
fn instructions_of_a_push_do_not_grow() {
    let cluster = |index: usize| {
        let name = format!("outbound|80||service-{index}.shop.svc.cluster.local");
        Resource::encode(name.as_str(), &Cluster { name: name.clone(), ..Cluster::default() })
    };
    let response = Response {
        kind: ResponseKind::Delta,
        type_url: TypeUrl::CLUSTER,
        version: "2026-11-30T19:00:00Z/1".to_owned(),
        nonce: "1-2".to_owned(),
        resources: (0..50).map(cluster).collect(),
        removed: vec!["outbound|80||gone.shop.svc.cluster.local".into()],
        control_plane: "istiod".into(),
    };
    let mut buffer = Vec::with_capacity(response.encoded_len());
    let encode = || {
        buffer.clear();
        black_box(&response).encode(&mut buffer);
    };
    let functions: Vec<harness::Function<'_>> = vec![("encode", Box::new(encode))];
    harness::check("xds", "server::instructions::instructions_of_a_push_do_not_grow", functions);
}
