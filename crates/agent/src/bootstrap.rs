//! The proxy's bootstrap: its node, and the control plane as a static cluster. Stock Envoy is told besides where
//! its agent answers for certificates, and to mark its connections; the built-in proxy does both by itself.

use crate::envoy::SECRETS_SOCKET;
use crate::options::AgentOptions;
use anyhow::Context as _;
use envoy_types::pb::envoy::config::bootstrap::v3::{
    Admin, Bootstrap, ClusterManager, bootstrap::DynamicResources, bootstrap::StaticResources,
};
use envoy_types::pb::envoy::config::cluster::v3::{Cluster, cluster};
use envoy_types::pb::envoy::config::core::v3::{
    Address, AggregatedConfigSource, ApiConfigSource, ApiVersion, BindConfig, ConfigSource, GrpcService,
    Http2ProtocolOptions, Node, Pipe, SocketAddress, SocketOption, TransportSocket, address,
    api_config_source, config_source, grpc_service, socket_address, socket_option, transport_socket,
};
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint,
};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, CommonTlsContext, SdsSecretConfig, SubjectAltNameMatcher,
    UpstreamTlsContext, common_tls_context, subject_alt_name_matcher,
};
use envoy_types::pb::envoy::extensions::upstreams::http::v3::{
    HttpProtocolOptions,
    http_protocol_options::{
        ExplicitHttpConfig, UpstreamProtocolOptions, explicit_http_config::ProtocolConfig,
    },
};
use envoy_types::pb::envoy::r#type::matcher::v3::{StringMatcher, string_matcher};
use envoy_types::pb::google::protobuf::{Any, Duration as ProtoDuration, ListValue, Struct, Value, value};
use prost::Message as _;
use serde_json::json;
use std::collections::HashMap;

const XDS_CLUSTER: &str = "xds-grpc";
/// Istio's name for the agent as an authority for secrets.
const AGENT_CLUSTER: &str = "sds-grpc";
pub(crate) const ADMIN_PORT: u16 = 15000;
const HTTP_PROTOCOL_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// How the data plane gets certificates from its agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Certificates {
    /// The built-in proxy: in memory, under whatever source it was told.
    InProcess,
    /// Stock Envoy: from the cluster [`AGENT_CLUSTER`].
    OverSocket,
}

/// The bootstrap of `options`.
pub(crate) fn build(options: &AgentOptions, certificates: Certificates) -> anyhow::Result<Bootstrap> {
    let stock = certificates == Certificates::OverSocket;
    let mut clusters = vec![control_plane(&options.discovery_address, certificates)?];
    clusters.extend(stock.then(agent));
    Ok(Bootstrap {
        node: Some(node(options, certificates)),
        admin: Some(Admin {
            address: Some(socket_address("127.0.0.1", ADMIN_PORT.into())),
            ..Admin::default()
        }),
        cluster_manager: (stock && mizzen_net::socket::may_mark()).then(marked_connections),
        static_resources: Some(StaticResources { clusters, ..StaticResources::default() }),
        dynamic_resources: Some(DynamicResources {
            lds_config: Some(over_ads()),
            cds_config: Some(over_ads()),
            ads_config: Some(ApiConfigSource {
                api_type: api_config_source::ApiType::DeltaGrpc.into(),
                transport_api_version: ApiVersion::V3.into(),
                set_node_on_first_message_only: true,
                grpc_services: vec![grpc_of(XDS_CLUSTER)],
                ..ApiConfigSource::default()
            }),
            ..DynamicResources::default()
        }),
        ..Bootstrap::default()
    })
}

fn grpc_of(cluster: &str) -> GrpcService {
    GrpcService {
        target_specifier: Some(grpc_service::TargetSpecifier::EnvoyGrpc(grpc_service::EnvoyGrpc {
            cluster_name: cluster.to_owned(),
            ..grpc_service::EnvoyGrpc::default()
        })),
        ..GrpcService::default()
    }
}

fn over_socket() -> ConfigSource {
    ConfigSource {
        resource_api_version: ApiVersion::V3.into(),
        initial_fetch_timeout: Some(ProtoDuration::default()),
        config_source_specifier: Some(config_source::ConfigSourceSpecifier::ApiConfigSource(
            ApiConfigSource {
                api_type: api_config_source::ApiType::Grpc.into(),
                transport_api_version: ApiVersion::V3.into(),
                set_node_on_first_message_only: true,
                grpc_services: vec![grpc_of(AGENT_CLUSTER)],
                ..ApiConfigSource::default()
            },
        )),
        ..ConfigSource::default()
    }
}

/// Where sockets may be marked, interception tells the proxy's connections by their mark; elsewhere it has to tell
/// them by Envoy's user id. Envoy would fail every connection whose mark it may not set.
fn marked_connections() -> ClusterManager {
    let mark = SocketOption {
        description: "the mesh's own".to_owned(),
        level: mizzen_net::socket::MARK_OPTION.0,
        name: mizzen_net::socket::MARK_OPTION.1,
        value: Some(socket_option::Value::IntValue(mizzen_net::PROXY_MARK.into())),
        state: socket_option::SocketState::StatePrebind.into(),
        ..SocketOption::default()
    };
    ClusterManager {
        upstream_bind_config: Some(BindConfig { socket_options: vec![mark], ..BindConfig::default() }),
        ..ClusterManager::default()
    }
}

fn over_ads() -> ConfigSource {
    ConfigSource {
        resource_api_version: ApiVersion::V3.into(),
        config_source_specifier: Some(config_source::ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
        ..ConfigSource::default()
    }
}

/// Istio's node metadata; `MIZZEN_FEATURES` tells the control plane that Istio's own filters may
/// be sent, which stock Envoy does not have, and virtual hosts one by one.
fn node(options: &AgentOptions, certificates: Certificates) -> Node {
    let addresses: Vec<String> = options.addresses.iter().map(ToString::to_string).collect();
    let mut metadata = json!({
        "NAMESPACE": options.namespace,
        "SERVICE_ACCOUNT": options.service_account,
        "ISTIO_VERSION": mizzen_base::version::ISTIO,
        "ISTIO_PROXY_SHA": format!("mizzen-{}", mizzen_base::version::MIZZEN),
        "INSTANCE_IPS": addresses.join(","),
        "NAME": options.pod,
        "LABELS": options.labels,
        "ANNOTATIONS": options.annotations,
        "PROXY_CONFIG": options.proxy_config,
        "PILOT_SAN": [host_of(&options.discovery_address)]
    });
    if let Some(fields) = metadata.as_object_mut() {
        if certificates == Certificates::InProcess {
            fields.insert("MIZZEN_FEATURES".to_owned(), json!("istio-filters,vhds"));
        }
        for (name, value) in &options.metadata {
            fields.entry(name.clone()).or_insert_with(|| json!(value));
        }
    }
    Node {
        id: options.node_id(),
        cluster: format!(
            "{}.{}",
            options.labels.get("app").map_or(options.pod.as_str(), String::as_str),
            options.namespace
        ),
        metadata: match to_value(&metadata).kind {
            Some(value::Kind::StructValue(fields)) => Some(fields),
            _ => None,
        },
        user_agent_name: "mizzen".to_owned(),
        ..Node::default()
    }
}

fn to_value(json: &serde_json::Value) -> Value {
    let kind = match json {
        serde_json::Value::Null => value::Kind::NullValue(0),
        serde_json::Value::Bool(truth) => value::Kind::BoolValue(*truth),
        serde_json::Value::Number(number) => value::Kind::NumberValue(number.as_f64().unwrap_or_default()),
        serde_json::Value::String(text) => value::Kind::StringValue(text.clone()),
        serde_json::Value::Array(items) => {
            value::Kind::ListValue(ListValue { values: items.iter().map(to_value).collect() })
        }
        serde_json::Value::Object(fields) => {
            let fields: HashMap<_, _> =
                fields.iter().map(|(name, field)| (name.clone(), to_value(field))).collect();
            value::Kind::StructValue(Struct { fields })
        }
    };
    Value { kind: Some(kind) }
}

fn socket_address(host: &str, port: u32) -> Address {
    Address {
        address: Some(address::Address::SocketAddress(SocketAddress {
            address: host.to_owned(),
            port_specifier: Some(socket_address::PortSpecifier::PortValue(port)),
            ..SocketAddress::default()
        })),
    }
}

fn host_of(authority: &str) -> &str {
    authority.rsplit_once(':').map_or(authority, |(host, _)| host)
}

/// The control plane: found by name, spoken to over mTLS with this workload's own certificate,
/// so that no token has to be kept in the configuration.
fn control_plane(authority: &str, certificates: Certificates) -> anyhow::Result<Cluster> {
    let (host, port) = authority.rsplit_once(':').context("the discovery address has no port")?;
    let port: u16 = port.parse().with_context(|| format!("'{port}' is not a port (discovery address)"))?;
    Ok(Cluster {
        transport_socket: Some(mutual_tls(host, certificates)),
        ..grpc_cluster(XDS_CLUSTER, cluster::DiscoveryType::StrictDns, socket_address(host, port.into()))
    })
}

/// The agent itself.
fn agent() -> Cluster {
    let address = address::Address::Pipe(Pipe { path: SECRETS_SOCKET.to_owned(), ..Pipe::default() });
    grpc_cluster(AGENT_CLUSTER, cluster::DiscoveryType::Static, Address { address: Some(address) })
}

fn grpc_cluster(name: &str, discovery: cluster::DiscoveryType, address: Address) -> Cluster {
    let endpoint = LbEndpoint {
        host_identifier: Some(lb_endpoint::HostIdentifier::Endpoint(Endpoint {
            address: Some(address),
            ..Endpoint::default()
        })),
        ..LbEndpoint::default()
    };
    let http2 = HttpProtocolOptions {
        upstream_protocol_options: Some(UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
            protocol_config: Some(ProtocolConfig::Http2ProtocolOptions(Http2ProtocolOptions::default())),
        })),
        ..HttpProtocolOptions::default()
    };
    let http2 = Any {
        type_url: format!("type.googleapis.com/{HTTP_PROTOCOL_OPTIONS}"),
        value: http2.encode_to_vec(),
    };
    Cluster {
        name: name.to_owned(),
        connect_timeout: Some(ProtoDuration { seconds: 1, nanos: 0 }),
        cluster_discovery_type: Some(cluster::ClusterDiscoveryType::Type(discovery.into())),
        load_assignment: Some(ClusterLoadAssignment {
            cluster_name: name.to_owned(),
            endpoints: vec![LocalityLbEndpoints {
                lb_endpoints: vec![endpoint],
                ..LocalityLbEndpoints::default()
            }],
            ..ClusterLoadAssignment::default()
        }),
        typed_extension_protocol_options: HashMap::from([(HTTP_PROTOCOL_OPTIONS.to_owned(), http2)]),
        ..Cluster::default()
    }
}

fn mutual_tls(host: &str, certificates: Certificates) -> TransportSocket {
    let source = match certificates {
        Certificates::InProcess => over_ads(),
        Certificates::OverSocket => over_socket(),
    };
    let secret = |name: &str| SdsSecretConfig { name: name.to_owned(), sds_config: Some(source.clone()) };
    let name = SubjectAltNameMatcher {
        san_type: subject_alt_name_matcher::SanType::Dns.into(),
        matcher: Some(StringMatcher {
            match_pattern: Some(string_matcher::MatchPattern::Exact(host.to_owned())),
            ..StringMatcher::default()
        }),
        ..SubjectAltNameMatcher::default()
    };
    let validation = common_tls_context::CombinedCertificateValidationContext {
        default_validation_context: Some(CertificateValidationContext {
            match_typed_subject_alt_names: vec![name],
            ..CertificateValidationContext::default()
        }),
        validation_context_sds_secret_config: Some(secret("ROOTCA")),
        ..common_tls_context::CombinedCertificateValidationContext::default()
    };
    let context = UpstreamTlsContext {
        sni: host.to_owned(),
        common_tls_context: Some(CommonTlsContext {
            alpn_protocols: vec!["h2".to_owned()],
            tls_certificate_sds_secret_configs: vec![secret("default")],
            validation_context_type: Some(
                common_tls_context::ValidationContextType::CombinedValidationContext(validation),
            ),
            ..CommonTlsContext::default()
        }),
        ..UpstreamTlsContext::default()
    };
    TransportSocket {
        name: "envoy.transport_sockets.tls".to_owned(),
        config_type: Some(transport_socket::ConfigType::TypedConfig(Any {
            type_url: "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
                .to_owned(),
            value: context.encode_to_vec(),
        })),
    }
}

#[cfg(test)]
#[path = "bootstrap_tests.rs"]
mod tests;
