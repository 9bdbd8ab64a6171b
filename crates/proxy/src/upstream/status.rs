//! A cluster in the words of Envoy's admin port.

use super::cluster::Cluster;
use super::host::{Health, Host};
use super::settings::Discovery;
use envoy_types::pb::envoy::admin::v3::{ClusterStatus, HostHealthStatus, HostStatus, SimpleMetric};
use envoy_types::pb::envoy::config::core::v3::{Address, SocketAddress, address, socket_address};
use std::sync::atomic::Ordering;

/// `SimpleMetric.Type`
const COUNTER: i32 = 0;
const GAUGE: i32 = 1;

impl Cluster {
    /// This cluster's part of `/clusters?format=json`.
    pub fn status(&self) -> ClusterStatus {
        ClusterStatus {
            name: self.name().to_string(),
            added_via_api: matches!(self.settings().discovery, Discovery::Eds(_)),
            host_statuses: self.hosts().iter().map(|host| host_status(host)).collect(),
            observability_name: self.name().to_string(),
            eds_service_name: self.eds_name().map(ToString::to_string).unwrap_or_default(),
            ..ClusterStatus::default()
        }
    }
}

fn host_status(host: &Host) -> HostStatus {
    let state = &host.state;
    let metric = |name: &str, kind, value| SimpleMetric { r#type: kind, value, name: name.to_owned() };
    let requests = state.requests.load(Ordering::Relaxed);
    let failures = state.failures.load(Ordering::Relaxed);
    HostStatus {
        address: Some(socket_address_of(host)),
        stats: vec![
            metric("cx_connect_fail", COUNTER, state.connect_failures.load(Ordering::Relaxed)),
            metric("cx_total", COUNTER, state.connected.load(Ordering::Relaxed)),
            metric("rq_error", COUNTER, failures),
            metric("rq_success", COUNTER, requests.saturating_sub(failures)),
            metric("rq_total", COUNTER, requests),
            metric("cx_active", GAUGE, u64::from(state.connections.load(Ordering::Relaxed))),
            metric("rq_active", GAUGE, u64::from(state.active())),
        ],
        health_status: Some(HostHealthStatus {
            failed_outlier_check: state.outlier.is_ejected(),
            eds_health_status: match host.health {
                Health::Healthy => 1,
                Health::Unhealthy => 2,
                Health::Draining => 3,
                Health::Degraded => 5,
            },
            ..HostHealthStatus::default()
        }),
        weight: host.weight,
        hostname: host.hostname.as_deref().unwrap_or_default().to_owned(),
        priority: host.priority,
        locality: Some((*host.locality).clone()),
        ..HostStatus::default()
    }
}

fn socket_address_of(host: &Host) -> Address {
    let socket = SocketAddress {
        address: host.address.ip().to_string(),
        port_specifier: Some(socket_address::PortSpecifier::PortValue(host.address.port().into())),
        ..SocketAddress::default()
    };
    Address { address: Some(address::Address::SocketAddress(socket)) }
}
