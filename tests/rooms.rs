//! The house's arrows: which room may know which. Read from the workspace's own manifests.

use cargo_metadata::{DependencyKind, MetadataCommand};
use std::collections::{BTreeMap, BTreeSet};

fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml");
    let metadata = MetadataCommand::new().manifest_path(manifest).no_deps().exec().expect("cargo metadata");
    let room = |name: &str| name.strip_prefix("mizzen-").map(str::to_owned);
    metadata
        .packages
        .iter()
        .filter_map(|package| {
            let normal =
                package.dependencies.iter().filter(|dependency| dependency.kind == DependencyKind::Normal);
            let rooms = normal.filter_map(|dependency| room(&dependency.name)).collect();
            Some((room(&package.name)?, rooms))
        })
        .collect()
}

#[test]
fn rooms_only_know_the_rooms_below_them() {
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("base", &[][..]),
        ("proto", &[]),
        ("identity", &["base"]),
        ("net", &["base"]),
        ("xds", &["base", "proto"]),
        ("api", &["base"]),
        ("model", &["base", "api"]),
        ("registry", &["base", "api", "model"]),
        ("translate", &["base", "proto", "xds", "api", "model"]),
        ("analysis", &["base", "api", "model"]),
        ("inject", &["base", "api", "model"]),
        ("install", &["base", "api"]),
        (
            "control",
            &[
                "base",
                "proto",
                "identity",
                "xds",
                "api",
                "model",
                "registry",
                "translate",
                "analysis",
                "inject",
            ],
        ),
        ("proxy", &["base", "proto", "identity", "net", "xds"]),
        ("agent", &["base", "proto", "identity", "net", "xds", "proxy"]),
        ("apiserver", &["base"]),
        ("sandbox", &["base", "net", "apiserver", "identity"]),
        ("workloads", &["base", "identity"]),
        ("dashboard", &["base", "api", "model", "analysis"]),
        ("bench", &["base", "proto", "identity", "net", "xds", "api", "apiserver"]),
    ]);
    let mut strangers = Vec::new();
    for (room, known) in dependencies() {
        if room == "cli" {
            continue;
        }
        match allowed.get(room.as_str()) {
            None => strangers.push(format!("{room} has no place in the house; give it one here")),
            Some(allowed) => {
                let extra = known.iter().filter(|other| !allowed.contains(&other.as_str()));
                strangers.extend(extra.map(|other| format!("{room} must not know {other}")));
            }
        }
    }
    assert!(strangers.is_empty(), "{strangers:#?}");
}

#[test]
fn pure_rooms_have_no_runtime_and_no_client() {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml");
    let metadata = MetadataCommand::new().manifest_path(manifest).no_deps().exec().expect("cargo metadata");
    for room in ["api", "model", "translate", "analysis", "inject", "install"] {
        let name = format!("mizzen-{room}");
        let package = metadata.packages.iter().find(|package| *package.name == name).expect("the room");
        for dependency in package.dependencies.iter().filter(|found| found.kind == DependencyKind::Normal) {
            assert!(
                !["tokio", "hyper", "kube", "axum"].contains(&dependency.name.as_str()),
                "{room} is pure and must not use {}",
                dependency.name
            );
        }
    }
}
