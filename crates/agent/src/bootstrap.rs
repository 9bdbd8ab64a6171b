//! The proxy's bootstrap: its node, and the control plane as the one static cluster. What stock
//! Envoy would be given, except that certificates come from this process.

use crate::options::AgentOptions;
use anyhow::Context as _;
use envoy_types::pb::envoy::config::bootstrap::v3::{
    Admin, Bootstrap, bootstrap::DynamicResources, bootstrap::StaticResources,
};
use envoy_types::pb::envoy::config::cluster::v3::{Cluster, cluster};
use envoy_types::pb::envoy::config::core::v3::{
    Address, AggregatedConfigSource, ApiConfigSource, ApiVersion, ConfigSource, GrpcService, Node,
    SocketAddress, TransportSocket, address, api_config_source, config_source, grpc_service, socket_address,
    transport_socket,
};
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint,
};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, CommonTlsContext, SdsSecretConfig, SubjectAltNameMatcher,
    UpstreamTlsContext, common_tls_context, subject_alt_name_matcher,
};
use envoy_types::pb::envoy::r#type::matcher::v3::{StringMatcher, string_matcher};
use envoy_types::pb::google::protobuf::{Any, Duration as ProtoDuration, ListValue, Struct, Value, value};
use prost::Message as _;
use serde_json::json;
use std::collections::HashMap;

const XDS_CLUSTER: &str = "xds-grpc";
const ADMIN_PORT: u32 = 15000;

/// The bootstrap of `options`.
pub(crate) fn build(options: &AgentOptions) -> anyhow::Result<Bootstrap> {
    Ok(Bootstrap {
        node: Some(node(options)),
        admin: Some(Admin { address: Some(socket_address("127.0.0.1", ADMIN_PORT)), ..Admin::default() }),
        static_resources: Some(StaticResources {
            clusters: vec![control_plane(&options.discovery_address)?],
            ..StaticResources::default()
        }),
        dynamic_resources: Some(DynamicResources {
            lds_config: Some(over_ads()),
            cds_config: Some(over_ads()),
            ads_config: Some(ApiConfigSource {
                api_type: api_config_source::ApiType::DeltaGrpc.into(),
                transport_api_version: ApiVersion::V3.into(),
                set_node_on_first_message_only: true,
                grpc_services: vec![GrpcService {
                    target_specifier: Some(grpc_service::TargetSpecifier::EnvoyGrpc(
                        grpc_service::EnvoyGrpc {
                            cluster_name: XDS_CLUSTER.to_owned(),
                            ..grpc_service::EnvoyGrpc::default()
                        },
                    )),
                    ..GrpcService::default()
                }],
                ..ApiConfigSource::default()
            }),
            ..DynamicResources::default()
        }),
        ..Bootstrap::default()
    })
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
fn node(options: &AgentOptions) -> Node {
    let addresses: Vec<String> = options.addresses.iter().map(ToString::to_string).collect();
    let mut metadata = json!({
        "NAMESPACE": options.namespace,
        "SERVICE_ACCOUNT": options.service_account,
        "ISTIO_VERSION": mizzen_base::version::ISTIO,
        "ISTIO_PROXY_SHA": format!("mizzen-{}", mizzen_base::version::MIZZEN),
        "MIZZEN_FEATURES": "istio-filters,vhds",
        "INSTANCE_IPS": addresses.join(","),
        "NAME": options.pod,
        "LABELS": options.labels,
        "ANNOTATIONS": options.annotations,
        "PROXY_CONFIG": options.proxy_config,
        "PILOT_SAN": [host_of(&options.discovery_address)]
    });
    if let Some(fields) = metadata.as_object_mut() {
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
fn control_plane(authority: &str) -> anyhow::Result<Cluster> {
    let (host, port) = authority.rsplit_once(':').context("the discovery address has no port")?;
    let port: u16 = port.parse().with_context(|| format!("'{port}' is not a port (discovery address)"))?;
    let endpoint = LbEndpoint {
        host_identifier: Some(lb_endpoint::HostIdentifier::Endpoint(Endpoint {
            address: Some(socket_address(host, port.into())),
            ..Endpoint::default()
        })),
        ..LbEndpoint::default()
    };
    Ok(Cluster {
        name: XDS_CLUSTER.to_owned(),
        connect_timeout: Some(ProtoDuration { seconds: 1, nanos: 0 }),
        cluster_discovery_type: Some(cluster::ClusterDiscoveryType::Type(
            cluster::DiscoveryType::StrictDns.into(),
        )),
        load_assignment: Some(ClusterLoadAssignment {
            cluster_name: XDS_CLUSTER.to_owned(),
            endpoints: vec![LocalityLbEndpoints {
                lb_endpoints: vec![endpoint],
                ..LocalityLbEndpoints::default()
            }],
            ..ClusterLoadAssignment::default()
        }),
        transport_socket: Some(mutual_tls(host)),
        ..Cluster::default()
    })
}

fn mutual_tls(host: &str) -> TransportSocket {
    let secret = |name: &str| SdsSecretConfig { name: name.to_owned(), sds_config: Some(over_ads()) };
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
