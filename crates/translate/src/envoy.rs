//! Short ways to say what Envoy's messages say at length.

use std::{net::IpAddr, time::Duration};

pub(crate) use envoy_types::pb::{
    envoy::{
        config::{
            accesslog::v3 as accesslog, cluster::v3 as cluster, core::v3 as core, endpoint::v3 as endpoint,
            listener::v3 as listener, rbac::v3 as rbac, route::v3 as route,
        },
        extensions::{
            filters::network::http_connection_manager::v3 as hcm, transport_sockets::tls::v3 as tls,
        },
        r#type::{matcher::v3 as matcher, v3 as types},
    },
    google::protobuf::{self as wkt, Any},
};
use prost::{Message, Name};

use crate::wire::{self, Shape};

/// A message packed with its type.
pub(crate) fn any<M: Message + Name>(message: &M) -> Any {
    any_of(message, &wire::PLAIN)
}

/// A message that has maps, packed with its type.
pub(crate) fn any_of<M: Message + Name>(message: &M, shape: &Shape) -> Any {
    Any { type_url: M::type_url(), value: wire::encode(message, shape) }
}

/// A message packed under a type URL that is not its Rust type's own.
pub(crate) fn any_named(type_url: &str, message: &impl Message) -> Any {
    Any { type_url: type_url.to_owned(), value: message.encode_to_vec() }
}

pub(crate) fn duration(length: Duration) -> wkt::Duration {
    wkt::Duration {
        seconds: i64::try_from(length.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(length.subsec_nanos()).unwrap_or_default(),
    }
}

pub(crate) fn uint32(value: u32) -> wkt::UInt32Value {
    wkt::UInt32Value { value }
}

pub(crate) fn boolean(value: bool) -> wkt::BoolValue {
    wkt::BoolValue { value }
}

/// An address with a port.
pub(crate) fn socket_address(address: impl ToString, port: u16) -> core::Address {
    core::Address { address: Some(core::address::Address::SocketAddress(bare_socket_address(address, port))) }
}

pub(crate) fn bare_socket_address(address: impl ToString, port: u16) -> core::SocketAddress {
    core::SocketAddress {
        address: address.to_string(),
        port_specifier: Some(core::socket_address::PortSpecifier::PortValue(u32::from(port))),
        ..Default::default()
    }
}

/// The path of a Unix socket.
pub(crate) fn pipe(path: &str) -> core::Address {
    core::Address {
        address: Some(core::address::Address::Pipe(core::Pipe {
            path: path.to_owned(),
            ..Default::default()
        })),
    }
}

/// A range of addresses.
pub(crate) fn cidr(net: ipnet::IpNet) -> core::CidrRange {
    core::CidrRange {
        address_prefix: net.addr().to_string(),
        prefix_len: Some(uint32(u32::from(net.prefix_len()))),
    }
}

/// A range or single address as a policy writes it.
pub(crate) fn parse_cidr(text: &str) -> Option<core::CidrRange> {
    let net = text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(ipnet::IpNet::from));
    net.map(cidr)
}

/// "Ask the stream this came by", in version 3 of the protocol.
pub(crate) fn ads() -> core::ConfigSource {
    core::ConfigSource {
        resource_api_version: core::ApiVersion::V3 as i32,
        initial_fetch_timeout: Some(wkt::Duration::default()),
        config_source_specifier: Some(core::config_source::ConfigSourceSpecifier::Ads(
            core::AggregatedConfigSource {},
        )),
        ..Default::default()
    }
}

/// Where stock Envoy finds its agent: Istio's cluster of the bootstrap, over a Unix socket.
pub(crate) fn agent() -> core::ConfigSource {
    let service = core::GrpcService {
        target_specifier: Some(core::grpc_service::TargetSpecifier::EnvoyGrpc(
            core::grpc_service::EnvoyGrpc { cluster_name: "sds-grpc".to_owned(), ..Default::default() },
        )),
        ..Default::default()
    };
    core::ConfigSource {
        config_source_specifier: Some(core::config_source::ConfigSourceSpecifier::ApiConfigSource(
            core::ApiConfigSource {
                api_type: core::api_config_source::ApiType::Grpc as i32,
                transport_api_version: core::ApiVersion::V3 as i32,
                set_node_on_first_message_only: true,
                grpc_services: vec![service],
                ..Default::default()
            },
        )),
        ..ads()
    }
}

pub(crate) fn string_value(text: impl Into<String>) -> wkt::Value {
    wkt::Value { kind: Some(wkt::value::Kind::StringValue(text.into())) }
}

pub(crate) fn structure<K: Into<String>>(fields: impl IntoIterator<Item = (K, wkt::Value)>) -> wkt::Struct {
    wkt::Struct { fields: fields.into_iter().map(|(key, value)| (key.into(), value)).collect() }
}

pub(crate) fn struct_value(fields: wkt::Struct) -> wkt::Value {
    wkt::Value { kind: Some(wkt::value::Kind::StructValue(fields)) }
}

pub(crate) fn list_value(values: Vec<wkt::Value>) -> wkt::Value {
    wkt::Value { kind: Some(wkt::value::Kind::ListValue(wkt::ListValue { values })) }
}

/// Metadata of one filter.
pub(crate) fn metadata(filter: &str, fields: wkt::Struct) -> core::Metadata {
    core::Metadata { filter_metadata: [(filter.to_owned(), fields)].into(), ..Default::default() }
}

/// Exactly this text.
pub(crate) fn exact(text: &str) -> matcher::StringMatcher {
    string_matcher(matcher::string_matcher::MatchPattern::Exact(text.to_owned()))
}

/// A text that starts so.
pub(crate) fn prefix(text: &str) -> matcher::StringMatcher {
    string_matcher(matcher::string_matcher::MatchPattern::Prefix(text.to_owned()))
}

/// A text that ends so.
pub(crate) fn suffix(text: &str) -> matcher::StringMatcher {
    string_matcher(matcher::string_matcher::MatchPattern::Suffix(text.to_owned()))
}

/// A text that the whole expression matches.
pub(crate) fn regex(expression: &str) -> matcher::StringMatcher {
    string_matcher(matcher::string_matcher::MatchPattern::SafeRegex(regex_matcher(expression)))
}

pub(crate) fn regex_matcher(expression: &str) -> matcher::RegexMatcher {
    matcher::RegexMatcher { regex: expression.to_owned(), ..Default::default() }
}

fn string_matcher(pattern: matcher::string_matcher::MatchPattern) -> matcher::StringMatcher {
    matcher::StringMatcher { match_pattern: Some(pattern), ..Default::default() }
}

/// Makes `text` mean itself within an expression.
pub(crate) fn escape_regex(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if !character.is_ascii_alphanumeric()
            && character.is_ascii()
            && !matches!(character, '_' | '-' | '/' | ' ')
        {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

/// A share in percent, exact to a ten-thousandth of a percent, as Envoy can express it.
pub(crate) fn fractional_percent(percent: f64) -> types::FractionalPercent {
    types::FractionalPercent {
        numerator: (percent.clamp(0.0, 100.0) * 10_000.0).round() as u32,
        denominator: types::fractional_percent::DenominatorType::Million as i32,
    }
}

/// A transport socket of this kind.
pub(crate) fn transport_socket<M: Message + Name>(name: &str, config: &M) -> core::TransportSocket {
    core::TransportSocket {
        name: name.to_owned(),
        config_type: Some(core::transport_socket::ConfigType::TypedConfig(any(config))),
    }
}

/// An HTTP filter with its configuration.
pub(crate) fn http_filter(name: &str, config: Any) -> hcm::HttpFilter {
    hcm::HttpFilter {
        name: name.to_owned(),
        config_type: Some(hcm::http_filter::ConfigType::TypedConfig(config)),
        ..Default::default()
    }
}

/// A network filter with its configuration.
pub(crate) fn network_filter(name: &str, config: Any) -> listener::Filter {
    listener::Filter {
        name: name.to_owned(),
        config_type: Some(listener::filter::ConfigType::TypedConfig(config)),
    }
}

/// A listener filter with its configuration.
pub(crate) fn listener_filter<M: Message + Name>(name: &str, config: &M) -> listener::ListenerFilter {
    listener::ListenerFilter {
        name: name.to_owned(),
        config_type: Some(listener::listener_filter::ConfigType::TypedConfig(any(config))),
        ..Default::default()
    }
}
