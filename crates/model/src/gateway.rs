//! The servers of all Gateways that select one proxy, with the ports it really listens on.

use std::sync::Arc;

use mizzen_api::networking::{Gateway, Server};

use crate::{
    host::Host,
    index::attached::Declared,
    map::Name,
    protocol::Protocol,
    service::TargetPort,
    snapshot::Snapshot,
    touched::ObjectName,
    virtual_service::VirtualService,
    workload::{Labels, selects},
};

/// A server of a Gateway, on one port of a proxy.
#[derive(Clone, Debug, PartialEq)]
pub struct GatewayServer {
    /// The Gateway that declares it.
    pub gateway: ObjectName,
    /// What it declares.
    pub server: Server,
    /// The port clients use, as declared.
    pub port: u16,
    /// The port the proxy listens on: the target of the Service that leads to it.
    pub listen_port: u16,
    /// What it speaks.
    pub protocol: Protocol,
    /// The hosts it is for, with the namespaces whose rules may use them.
    pub hosts: Vec<ServerHost>,
}

/// A host of a server.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerHost {
    /// The namespace whose rules may use it; any where it says none.
    pub namespace: Option<Name>,
    /// The host or wildcard.
    pub host: Host,
}

impl ServerHost {
    fn parse(text: &str, own_namespace: &str) -> Self {
        match text.split_once('/') {
            None => Self { namespace: None, host: Host::new(text) },
            Some(("*", host)) => Self { namespace: None, host: Host::new(host) },
            Some((".", host)) => Self { namespace: Some(own_namespace.into()), host: Host::new(host) },
            Some((namespace, host)) => Self { namespace: Some(namespace.into()), host: Host::new(host) },
        }
    }
}

impl GatewayServer {
    /// The hosts of a rule that this server serves: the narrower of each pair that overlaps, once.
    pub fn hosts_of(&self, rule: &VirtualService) -> Vec<Host> {
        let mut hosts = Vec::new();
        for own in &self.hosts {
            if own.namespace.as_ref().is_some_and(|namespace| *namespace != rule.namespace) {
                continue;
            }
            for host in rule.hosts.iter().filter_map(|host| own.host.intersection(host)) {
                if !hosts.contains(host) {
                    hosts.push(host.clone());
                }
            }
        }
        hosts
    }

    /// Whether the proxy ends TLS here.
    pub fn terminates_tls(&self) -> bool {
        use mizzen_api::networking::ServerTlsMode as Mode;
        let mode = self.server.tls.as_ref().filter(|tls| !tls.https_redirect || tls.mode.is_some());
        mode.is_some_and(|tls| {
            !matches!(tls.mode.unwrap_or_default(), Mode::Passthrough | Mode::AutoPassthrough)
        })
    }

    /// Whether the proxy reads HTTP here.
    pub fn is_http(&self) -> bool {
        self.protocol.is_http() || (self.protocol == Protocol::Https && self.terminates_tls())
    }

    /// The name of the routes of its HTTP: shared by all plain servers of a port, its own with TLS.
    pub fn route_name(&self) -> String {
        if self.protocol.is_http() && !self.terminates_tls() {
            format!("http.{}", self.listen_port)
        } else {
            format!(
                "https.{}.{}.{}.{}",
                self.port, self.server.port.name, self.gateway.name, self.gateway.namespace
            )
        }
    }
}

impl Snapshot {
    /// The Gateways that select a proxy, the oldest first.
    pub fn gateways_of(&self, labels: &Labels) -> Vec<Arc<Declared<Gateway>>> {
        let mut found: Vec<_> =
            self.gateways().filter(|gateway| selects(&gateway.spec.selector, labels)).cloned().collect();
        found.sort_by(|a, b| a.precedence(b));
        found
    }

    /// The servers a proxy has, the oldest Gateway's first.
    pub fn gateway_servers(&self, namespace: &str, pod: &str, labels: &Labels) -> Vec<GatewayServer> {
        let mut servers = Vec::new();
        for gateway in self.gateways_of(labels) {
            for server in &gateway.spec.servers {
                let Ok(port) = u16::try_from(server.port.number) else { continue };
                for listen_port in self.listen_ports(namespace, pod, labels, port) {
                    servers.push(GatewayServer {
                        gateway: gateway.object_name(),
                        server: server.clone(),
                        port,
                        listen_port,
                        protocol: Protocol::parse(&server.port.protocol),
                        hosts: server
                            .hosts
                            .iter()
                            .map(|host| ServerHost::parse(host, &gateway.meta.namespace))
                            .collect(),
                    });
                }
            }
        }
        servers
    }

    /// Where a port of a gateway's Services leads on the proxy itself: the same number where none has it.
    fn listen_ports(&self, namespace: &str, pod: &str, labels: &Labels, port: u16) -> Vec<u16> {
        let named = self.pod(namespace, pod);
        let mut targets: Vec<u16> = self
            .services_of_workload(namespace, labels)
            .iter()
            .filter_map(|service| service.port(port))
            .filter_map(|port| match &port.target {
                TargetPort::Number(number) => Some(*number),
                TargetPort::Named(name) => named.and_then(|pod| pod.ports.get(name).copied()),
            })
            .collect();
        targets.sort_unstable();
        targets.dedup();
        if targets.is_empty() { vec![port] } else { targets }
    }
}
