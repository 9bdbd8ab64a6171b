//! Compiles descriptors of the Envoy messages we read and write as JSON, from the .proto files inside
//! the `envoy-types` package, with protox: no protoc binary and no download.

use prost::Message as _;
use std::path::{Path, PathBuf};

/// What is compiled; imports come along.
const ROOTS: &[&str] = &[
    "envoy/admin/v3/certs.proto",
    "envoy/admin/v3/clusters.proto",
    "envoy/admin/v3/config_dump.proto",
    "envoy/admin/v3/listeners.proto",
    "envoy/admin/v3/memory.proto",
    "envoy/admin/v3/server_info.proto",
    "envoy/config/bootstrap/v3/bootstrap.proto",
    "envoy/config/cluster/v3/cluster.proto",
    "envoy/config/core/v3/extension.proto",
    "envoy/config/endpoint/v3/endpoint.proto",
    "envoy/config/listener/v3/listener.proto",
    "envoy/config/metrics/v3/stats.proto",
    "envoy/config/rbac/v3/rbac.proto",
    "envoy/config/route/v3/route.proto",
    "envoy/config/trace/v3/http_tracer.proto",
    "envoy/config/trace/v3/opentelemetry.proto",
    "envoy/config/trace/v3/zipkin.proto",
    "envoy/extensions/access_loggers/file/v3/file.proto",
    "envoy/extensions/access_loggers/grpc/v3/als.proto",
    "envoy/extensions/access_loggers/open_telemetry/v3/logs_service.proto",
    "envoy/extensions/access_loggers/stream/v3/stream.proto",
    "envoy/extensions/clusters/aggregate/v3/cluster.proto",
    "envoy/extensions/filters/http/buffer/v3/buffer.proto",
    "envoy/extensions/filters/http/compressor/v3/compressor.proto",
    "envoy/extensions/filters/http/cors/v3/cors.proto",
    "envoy/extensions/filters/http/ext_authz/v3/ext_authz.proto",
    "envoy/extensions/filters/http/ext_proc/v3/ext_proc.proto",
    "envoy/extensions/filters/http/fault/v3/fault.proto",
    "envoy/extensions/filters/http/grpc_stats/v3/config.proto",
    "envoy/extensions/filters/http/grpc_web/v3/grpc_web.proto",
    "envoy/extensions/filters/http/health_check/v3/health_check.proto",
    "envoy/extensions/filters/http/jwt_authn/v3/config.proto",
    "envoy/extensions/filters/http/lua/v3/lua.proto",
    "envoy/extensions/filters/http/rbac/v3/rbac.proto",
    "envoy/extensions/filters/http/router/v3/router.proto",
    "envoy/extensions/filters/http/wasm/v3/wasm.proto",
    "envoy/extensions/filters/listener/http_inspector/v3/http_inspector.proto",
    "envoy/extensions/filters/listener/original_dst/v3/original_dst.proto",
    "envoy/extensions/filters/listener/proxy_protocol/v3/proxy_protocol.proto",
    "envoy/extensions/filters/listener/tls_inspector/v3/tls_inspector.proto",
    "envoy/extensions/filters/network/echo/v3/echo.proto",
    "envoy/extensions/filters/network/ext_authz/v3/ext_authz.proto",
    "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.proto",
    "envoy/extensions/filters/network/rbac/v3/rbac.proto",
    "envoy/extensions/filters/network/sni_cluster/v3/sni_cluster.proto",
    "envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy.proto",
    "envoy/extensions/load_balancing_policies/least_request/v3/least_request.proto",
    "envoy/extensions/load_balancing_policies/maglev/v3/maglev.proto",
    "envoy/extensions/load_balancing_policies/random/v3/random.proto",
    "envoy/extensions/load_balancing_policies/ring_hash/v3/ring_hash.proto",
    "envoy/extensions/load_balancing_policies/round_robin/v3/round_robin.proto",
    "envoy/extensions/network/dns_resolver/cares/v3/cares_dns_resolver.proto",
    "envoy/extensions/network/dns_resolver/getaddrinfo/v3/getaddrinfo_dns_resolver.proto",
    "envoy/extensions/retry/host/omit_host_metadata/v3/omit_host_metadata_config.proto",
    "envoy/extensions/retry/host/previous_hosts/v3/previous_hosts.proto",
    "envoy/extensions/retry/priority/previous_priorities/v3/previous_priorities_config.proto",
    "envoy/extensions/transport_sockets/internal_upstream/v3/internal_upstream.proto",
    "envoy/extensions/transport_sockets/proxy_protocol/v3/upstream_proxy_protocol.proto",
    "envoy/extensions/transport_sockets/raw_buffer/v3/raw_buffer.proto",
    "envoy/extensions/transport_sockets/tls/v3/tls.proto",
    "envoy/extensions/upstreams/http/v3/http_protocol_options.proto",
    "envoy/extensions/upstreams/tcp/v3/tcp_protocol_options.proto",
    "envoy/service/discovery/v3/discovery.proto",
];

/// Where imports are found, below the package's `proto` folder.
const INCLUDES: &[&str] = &[
    "data-plane-api",
    "xds",
    "googleapis",
    "protoc-gen-validate",
    "cel-spec/proto",
    "client_model",
    "opentelemetry-proto",
];

/// The package that asks where `envoy-types` is.
const ASKING: &str = r#"
[package]
name = "envoy-types-folder"
version = "0.0.0"
edition = "2024"

[dependencies]
envoy-types = "*"

[workspace]
"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    let protos = envoy_types_folder()?.join("proto");
    let includes: Vec<_> = INCLUDES.iter().map(|folder| protos.join(folder)).collect();
    let mut compiler = protox::Compiler::new(includes)?;
    compiler.include_imports(true).include_source_info(false).open_files(ROOTS)?;
    let output = Path::new(&std::env::var("OUT_DIR")?).join("envoy.bin");
    // Decoded and encoded again, which leaves out the options that are extensions: rules of validation
    // and annotations, a third of what loading the descriptors would take.
    std::fs::write(output, compiler.file_descriptor_set().encode_to_vec())?;
    Ok(())
}

/// The source folder of the very `envoy-types` this crate is built with. The question is asked of a
/// package that depends on nothing else, with the workspace's lock file: the workspace as a whole has
/// dependencies of other platforms and of tests, which this machine need not have downloaded.
fn envoy_types_folder() -> Result<PathBuf, Box<dyn std::error::Error>> {
    let workspace = Path::new(&std::env::var("CARGO_MANIFEST_DIR")?).join("../..");
    let asking = Path::new(&std::env::var("OUT_DIR")?).join("envoy-types-folder");
    std::fs::create_dir_all(asking.join("src"))?;
    std::fs::write(asking.join("Cargo.toml"), ASKING)?;
    std::fs::write(asking.join("src/lib.rs"), "")?;
    std::fs::copy(workspace.join("Cargo.lock"), asking.join("Cargo.lock"))?;
    println!("cargo:rerun-if-changed=../../Cargo.lock");
    let metadata = cargo_metadata::MetadataCommand::new()
        .manifest_path(asking.join("Cargo.toml"))
        // Where Cargo's settings are looked for, so that vendored sources are found.
        .current_dir(workspace)
        .other_options(["--offline".to_owned(), "--filter-platform".to_owned(), std::env::var("TARGET")?])
        .exec()?;
    let package = metadata.packages.iter().find(|package| package.name.as_str() == "envoy-types");
    let package = package.ok_or("the package envoy-types is not among the dependencies")?;
    Ok(package.manifest_path.parent().ok_or("envoy-types has no folder")?.into())
}
