//! The objects of a simulated mesh: services with their endpoints and rules, spread over namespaces.

use serde_json::{Value, json};
use std::net::Ipv4Addr;

/// The port of every service, as most have it.
const PORT: u16 = 80;
const TARGET_PORT: u16 = 8080;
/// The service account of every workload in its namespace.
pub const SERVICE_ACCOUNT: &str = "workload";
/// Where endpoints are that were added to be recognised: `100.64.0.0/10`, which no pod has.
const MARKED: u32 = 0x6440_0000;
const MARKED_MASK: u32 = 0xffc0_0000;
/// The header by which a route is recognised.
pub const MARK_HEADER: &str = "x-mark";
/// What precedes the mark in its value.
pub const MARK_PREFIX: &str = "mark-";

/// How large a mesh is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Size {
    /// Services, each with a VirtualService and a DestinationRule.
    pub services: usize,
    /// Endpoints of each service, each a pod.
    pub endpoints: usize,
    /// Namespaces among which the services are dealt out.
    pub namespaces: usize,
}

/// One service of the mesh.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    /// Its number.
    pub index: usize,
    size: Size,
}

impl Size {
    /// The names of the namespaces.
    pub fn namespaces(self) -> impl Iterator<Item = String> {
        (0..self.namespaces).map(namespace_name)
    }

    /// One service; numbers beyond the last start over.
    pub fn service(self, index: usize) -> Service {
        Service { index: index % self.services.max(1), size: self }
    }

    /// Where proxy number `index` is: proxies are dealt out to the services, so that each service has
    /// about as many.
    pub fn pod_of_proxy(self, index: usize) -> (Service, usize) {
        (self.service(index), index / self.services.max(1) % self.endpoints.max(1))
    }
}

impl Service {
    /// Its name, the Service's and that of everything that belongs to it.
    pub fn name(self) -> String {
        format!("service-{:04}", self.index)
    }

    /// The number of its namespace.
    pub fn namespace_index(self) -> usize {
        self.index % self.size.namespaces.max(1)
    }

    /// Its namespace.
    pub fn namespace(self) -> String {
        namespace_name(self.namespace_index())
    }

    /// The resource that has its endpoints.
    pub fn cluster(self) -> String {
        format!("outbound|{PORT}||{}", self.host())
    }

    /// The resource that has its routes.
    pub fn virtual_host(self) -> String {
        format!("{PORT}/{}", self.host())
    }

    /// The name of one of its pods.
    pub fn pod(self, number: usize) -> String {
        format!("{}-{number}", self.name())
    }

    /// The address of one of its pods.
    pub fn address(self, number: usize) -> Ipv4Addr {
        let position = self.index * self.size.endpoints + number;
        // From 10.128.0.1 on, which leaves the services' own addresses alone for as long as there are fewer
        // than eight million pods.
        Ipv4Addr::from(0x0a80_0001 + u32::try_from(position).unwrap_or(0))
    }

    /// The labels of its pods.
    pub fn labels(self) -> Value {
        json!({
            "app": self.name(), "version": "v1", "security.istio.io/tlsMode": "istio",
            "service.istio.io/canonical-name": self.name(), "service.istio.io/canonical-revision": "v1"
        })
    }

    fn host(self) -> String {
        format!("{}.{}.svc.cluster.local", self.name(), self.namespace())
    }

    /// Everything that belongs to it, in the order in which it may be created.
    pub fn objects(self) -> Vec<Value> {
        let mut objects = vec![self.service()];
        objects.extend((0..self.size.endpoints).map(|number| self.pod_object(number)));
        objects.extend([self.endpoint_slice(), self.destination_rule(), self.virtual_service()]);
        objects
    }

    fn metadata(self) -> Value {
        json!({"name": self.name(), "namespace": self.namespace(), "labels": {"app": self.name()}})
    }

    fn service(self) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": self.metadata(),
            "spec": {
                "selector": {"app": self.name()},
                "ports": [{"name": "http", "port": PORT, "targetPort": TARGET_PORT}]
            }
        })
    }

    fn pod_object(self, number: usize) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": self.pod(number), "namespace": self.namespace(), "labels": self.labels()},
            "spec": {
                "nodeName": "simulated", "serviceAccountName": SERVICE_ACCOUNT,
                "containers": [{
                    "name": "app", "image": "app", "ports": [{"name": "http", "containerPort": TARGET_PORT}]
                }]
            }
        })
    }

    fn endpoint_slice(self) -> Value {
        let mut metadata = self.metadata();
        metadata["labels"]["kubernetes.io/service-name"] = json!(self.name());
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata,
            "addressType": "IPv4", "endpoints": self.endpoints(self.size.endpoints),
            "ports": [{"name": "http", "port": TARGET_PORT, "protocol": "TCP"}]
        })
    }

    fn endpoints(self, count: usize) -> Vec<Value> {
        (0..count).map(|number| self.endpoint(number, self.address(number))).collect()
    }

    fn endpoint(self, number: usize, address: Ipv4Addr) -> Value {
        json!({
            "addresses": [address], "conditions": {"ready": true}, "nodeName": "simulated",
            "targetRef": {"kind": "Pod", "name": self.pod(number), "namespace": self.namespace()}
        })
    }

    /// What makes its EndpointSlice carry `mark`: as many endpoints as before with even marks, one less
    /// with odd ones, one of them at the mark's address.
    pub fn marked_endpoints(self, mark: u32) -> Value {
        let ordinary = self.size.endpoints.saturating_sub(1 + mark as usize % 2);
        let mut endpoints = self.endpoints(ordinary);
        let address = Ipv4Addr::from(MARKED | (mark & !MARKED_MASK));
        endpoints.push(self.endpoint(self.size.endpoints.saturating_sub(1), address));
        json!({"endpoints": endpoints})
    }

    fn destination_rule(self) -> Value {
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": self.metadata(),
            "spec": {
                "host": self.host(),
                "trafficPolicy": {
                    "connectionPool": {"tcp": {"maxConnections": 100}, "http": {"http2MaxRequests": 1000}},
                    "outlierDetection": {"consecutive5xxErrors": 7, "interval": "30s"}
                }
            }
        })
    }

    fn virtual_service(self) -> Value {
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": self.metadata(),
            "spec": self.virtual_service_spec(0)
        })
    }

    /// What makes its VirtualService carry `mark`. It is for clients of its own namespace.
    pub fn marked_virtual_service(self, mark: u32) -> Value {
        json!({"spec": self.virtual_service_spec(mark)})
    }

    fn virtual_service_spec(self, mark: u32) -> Value {
        let destination = json!([{"destination": {"host": self.host(), "port": {"number": PORT}}}]);
        json!({
            "hosts": [self.host()], "exportTo": ["."],
            "http": [
                {
                    "match": [{"uri": {"prefix": "/api"}}], "route": destination, "timeout": "5s",
                    "retries": {"attempts": 2, "perTryTimeout": "2s", "retryOn": "5xx"},
                    "headers": {"request": {"set": {(MARK_HEADER): format!("{MARK_PREFIX}{mark}")}}}
                },
                {"route": destination}
            ]
        })
    }
}

/// What must be there before the services of a namespace.
pub fn namespace(name: &str) -> [Value; 2] {
    [
        json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": name, "labels": {"istio-injection": "enabled"}}
        }),
        json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": SERVICE_ACCOUNT, "namespace": name}
        }),
    ]
}

/// The node that all pods are on.
pub fn node() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": "simulated", "labels": {
            "topology.kubernetes.io/region": "region-1", "topology.kubernetes.io/zone": "zone-1"
        }}
    })
}

/// The mark of an endpoint's address, if it has one.
pub fn mark_of_address(address: &str) -> Option<u32> {
    let address = u32::from(address.parse::<Ipv4Addr>().ok()?);
    (address & MARKED_MASK == MARKED).then_some(address & !MARKED_MASK)
}

fn namespace_name(index: usize) -> String {
    format!("mesh-{index:02}")
}
