//! `Address` and `CidrRange`.

use super::CompileError;
use envoy_types::pb::envoy::config::core::v3::{
    Address, CidrRange, SocketAddress, address, socket_address::PortSpecifier,
};
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};

/// A TCP socket address in numbers.
pub fn socket(address: Option<&Address>) -> Result<(SocketAddr, &SocketAddress), CompileError> {
    let socket = match address.and_then(|address| address.address.as_ref()) {
        Some(address::Address::SocketAddress(socket)) => socket,
        Some(address::Address::Pipe(_)) => return Err(CompileError::unsupported("pipe", "a Unix socket")),
        Some(address::Address::EnvoyInternalAddress(_)) => {
            return Err(CompileError::unsupported("envoy_internal_address", "an internal listener"));
        }
        None => return Err(CompileError::missing("")),
    };
    if socket.protocol != 0 {
        return Err(CompileError::unsupported("socket_address.protocol", "UDP"));
    }
    if !socket.network_namespace_filepath.is_empty() {
        return Err(CompileError::unsupported(
            "socket_address.network_namespace_filepath",
            "another namespace",
        ));
    }
    let ip: IpAddr = socket.address.parse().map_err(|_| {
        CompileError::invalid("socket_address.address", format!("'{}' is not an IP address", socket.address))
    })?;
    let port = match &socket.port_specifier {
        Some(PortSpecifier::PortValue(port)) => u16::try_from(*port).map_err(|_| {
            CompileError::invalid("socket_address.port_value", format!("{port} is not a port"))
        })?,
        Some(PortSpecifier::NamedPort(_)) => {
            return Err(CompileError::unsupported("socket_address.named_port", "a named port"));
        }
        None => return Err(CompileError::missing("socket_address.port_value")),
    };
    Ok((SocketAddr::new(ip, port), socket))
}

/// A network; Envoy's missing prefix length is 0.
pub fn network(range: &CidrRange) -> Result<IpNet, CompileError> {
    let ip: IpAddr = range.address_prefix.parse().map_err(|_| {
        CompileError::invalid("address_prefix", format!("'{}' is not an IP address", range.address_prefix))
    })?;
    let length = range.prefix_len.as_ref().map_or(0, |length| length.value);
    u8::try_from(length)
        .ok()
        .and_then(|length| IpNet::new(ip, length).ok())
        .map(|network| network.trunc())
        .ok_or_else(|| CompileError::invalid("prefix_len", format!("{length} is too long for {ip}")))
}

/// Networks of a list, with the field's name in errors.
pub fn networks(ranges: &[CidrRange], field: &str) -> Result<Vec<IpNet>, CompileError> {
    ranges
        .iter()
        .enumerate()
        .map(|(index, range)| network(range).map_err(|error| error.at(format!("{field}[{index}]"))))
        .collect()
}
