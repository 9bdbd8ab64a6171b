//! What comes from outside: under which licences, from where, and what must not come at all.

use cargo_metadata::{Metadata, MetadataCommand, Package};

/// The licences that anything Mizzen is built from may have. All of them are permissive.
const LICENCES: [&str; 13] = [
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "LLVM-exception",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// The one place that packages come from.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// What must not come in, and what is there in its stead.
const BANNED: [(&str, &str); 3] = [
    ("openssl", "TLS is rustls with aws-lc-rs"),
    ("openssl-sys", "TLS is rustls with aws-lc-rs"),
    ("native-tls", "TLS is rustls with aws-lc-rs"),
];

/// The packages of this platform; a machine without a network has no others.
fn metadata() -> Metadata {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml");
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    MetadataCommand::new()
        .manifest_path(manifest)
        .other_options(["--locked", "--filter-platform", platform.as_str()].map(str::to_owned))
        .exec()
        .expect("cargo metadata")
}

/// Packages that are not ours.
fn strangers(metadata: &Metadata) -> impl Iterator<Item = &Package> {
    metadata.packages.iter().filter(|package| !metadata.workspace_members.contains(&package.id))
}

/// The names of an SPDX expression. All must be allowed, those of alternatives too: a choice between
/// licences is made by a person, here.
fn licences(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression.split(|letter: char| letter.is_whitespace() || "()/".contains(letter));
    words.filter(|word| !["", "AND", "OR", "WITH"].contains(word))
}

#[test]
fn every_licence_is_one_of_the_table() {
    let metadata = metadata();
    let mut unknown = Vec::new();
    for package in strangers(&metadata) {
        let expression = package.license.as_deref().unwrap_or_default();
        let names: Vec<&str> = licences(expression).collect();
        if names.is_empty() || !names.iter().all(|name| LICENCES.contains(name)) {
            unknown.push(format!("{} {}: {expression:?}", package.name, package.version));
        }
    }
    assert!(unknown.is_empty(), "{unknown:#?}");
}

#[test]
fn everything_comes_from_the_registry() {
    let lock = include_str!("../Cargo.lock");
    let sources = lock.lines().filter_map(|line| line.strip_prefix("source = "));
    let others: Vec<&str> = sources.filter(|source| source.trim_matches('"') != REGISTRY).collect();
    assert!(others.is_empty(), "{others:#?}");
}

#[test]
fn nothing_that_is_banned_comes_in() {
    let metadata = metadata();
    let found: Vec<String> = strangers(&metadata)
        .filter_map(|package| {
            let (name, instead) = BANNED.iter().find(|(name, _)| *name == package.name.as_str())?;
            Some(format!("{name}: {instead}; `cargo tree -i {name}` says who wants it"))
        })
        .collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn an_expression_is_read_to_its_names() {
    let read = |expression| licences(expression).collect::<Vec<_>>();
    assert_eq!(read("MIT/Apache-2.0"), ["MIT", "Apache-2.0"]);
    assert_eq!(
        read("(MIT OR Apache-2.0) AND ISC WITH LLVM-exception"),
        ["MIT", "Apache-2.0", "ISC", "LLVM-exception"]
    );
}
