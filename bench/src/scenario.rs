//! What is measured.

use crate::load::Shape;
use crate::peer::Peer;

/// What stands between the client and the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// One proxy that understands HTTP.
    Hop {
        /// Whether the client speaks HTTP/2.
        http2_in: bool,
        /// Whether the application is spoken to in HTTP/2.
        http2_out: bool,
        /// Whether the proxy terminates TLS.
        tls: bool,
    },
    /// One proxy that does not.
    Tcp,
    /// Two sidecars with mutual TLS between them.
    Mesh,
    /// The same two as TCP proxies.
    MeshTcp,
    /// One proxy with this many clusters and virtual hosts.
    Large(usize),
    /// The same with virtual hosts that a control plane sends.
    Routed(usize),
}

impl Path {
    /// Whether a peer can do it.
    pub fn suits(self, peer: Peer) -> bool {
        match peer {
            Peer::Mizzen | Peer::Envoy => true,
            Peer::Haproxy => !matches!(self, Self::Large(_) | Self::Routed(_)),
            Peer::Nginx => matches!(self, Self::Hop { http2_out: false, .. } | Self::Tcp),
        }
    }
}

/// How it is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Measure {
    /// Processor time and latency under load.
    Load(Shape),
    /// Memory of connections that are open and idle.
    IdleConnections(usize),
    /// Time from start to listening, and to the first answer.
    Start,
    /// Memory by the number of clusters.
    Memory,
    /// Processor time without load.
    IdleCpu,
    /// Processor time that this many changes of one virtual host take, each sent with all the others.
    RouteChange(usize),
}

/// One thing that is measured.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// As it is asked for.
    pub name: &'static str,
    /// What it is, in a line.
    pub about: &'static str,
    /// What stands between client and application; for [`Measure::IdleConnections`], [`Measure::Start`] and
    /// [`Measure::Memory`] one of several.
    pub path: Path,
    /// How it is measured.
    pub measure: Measure,
}

impl Scenario {
    /// Whether requests come at a fixed rate, so that latency can be compared.
    pub fn is_open_loop(&self) -> bool {
        matches!(self.measure, Measure::Load(Shape::Poisson { .. }))
    }
}

const PLAIN: Path = Path::Hop { http2_in: false, http2_out: false, tls: false };
const TLS: Path = Path::Hop { http2_in: false, http2_out: false, tls: true };
const H2C: Shape = Shape::Http2 { connections: 8, streams: 8 };
const SLOW: Shape = Shape::Poisson { connections: 16, rate: 1000.0 };

/// All of them, in the order they are run.
pub const ALL: [Scenario; 17] = [
    Scenario {
        name: "plain-http1",
        about: "HTTP/1.1 through one proxy, 64 connections, closed loop",
        path: PLAIN,
        measure: Measure::Load(Shape::Http1 { connections: 64 }),
    },
    Scenario {
        name: "plain-http1-1000rps",
        about: "HTTP/1.1 through one proxy, 16 connections, 1,000 requests/s as Poisson arrivals",
        path: PLAIN,
        measure: Measure::Load(SLOW),
    },
    Scenario {
        name: "h2c-http1",
        about: "HTTP/2 in, HTTP/1.1 out, 8 connections of 8 streams, closed loop",
        path: Path::Hop { http2_in: true, http2_out: false, tls: false },
        measure: Measure::Load(H2C),
    },
    Scenario {
        name: "h2c-h2c",
        about: "HTTP/2 in and out, 8 connections of 8 streams, closed loop",
        path: Path::Hop { http2_in: true, http2_out: true, tls: false },
        measure: Measure::Load(H2C),
    },
    Scenario {
        name: "tls-keepalive",
        about: "TLS 1.3 terminated, HTTP/1.1, 64 connections, closed loop",
        path: TLS,
        measure: Measure::Load(Shape::Http1 { connections: 64 }),
    },
    Scenario {
        name: "tls-new-connections",
        about: "TLS 1.3 terminated, a connection for each request without resumption, 16 at a time",
        path: TLS,
        measure: Measure::Load(Shape::NewConnections { connections: 16 }),
    },
    Scenario {
        name: "mesh-path",
        about: "client, sidecar A, mutual TLS with HTTP/2, sidecar B, application; policy, access log, metrics; \
                64 connections, closed loop",
        path: Path::Mesh,
        measure: Measure::Load(Shape::Http1 { connections: 64 }),
    },
    Scenario {
        name: "mesh-path-1000rps",
        about: "the mesh path at 1,000 requests/s as Poisson arrivals, 16 connections",
        path: Path::Mesh,
        measure: Measure::Load(SLOW),
    },
    Scenario {
        name: "mesh-tcp",
        about: "bytes through two sidecars with mutual TLS, one connection",
        path: Path::MeshTcp,
        measure: Measure::Load(Shape::Download { connections: 1, bytes: 64 << 20 }),
    },
    Scenario {
        name: "tcp",
        about: "bytes through one proxy, one connection",
        path: Path::Tcp,
        measure: Measure::Load(Shape::Download { connections: 1, bytes: 64 << 20 }),
    },
    Scenario {
        name: "download",
        about: "HTTP answers of 64 MiB through one proxy, one connection",
        path: PLAIN,
        measure: Measure::Load(Shape::Download { connections: 1, bytes: 64 << 20 }),
    },
    Scenario {
        name: "upload",
        about: "HTTP requests of 64 MiB through one proxy, one connection",
        path: PLAIN,
        measure: Measure::Load(Shape::Upload { connections: 1, bytes: 64 << 20 }),
    },
    Scenario {
        name: "idle-connections",
        about: "anonymous memory of an idle connection that has had one request",
        path: PLAIN,
        measure: Measure::IdleConnections(4000),
    },
    Scenario {
        name: "start",
        about: "from start to listening and to the first answer, with 1 and 5,000 clusters and routes",
        path: PLAIN,
        measure: Measure::Start,
    },
    Scenario {
        name: "memory",
        about: "memory after start with 10, 1,000 and 5,000 clusters and virtual hosts",
        path: Path::Large(10),
        measure: Measure::Memory,
    },
    Scenario {
        name: "idle-cpu",
        about: "processor time without load, with 5,000 clusters and virtual hosts",
        path: Path::Large(5000),
        measure: Measure::IdleCpu,
    },
    Scenario {
        name: "route-change",
        about: "processor time of a change to one of 5,000 virtual hosts that come over ADS, all in one resource",
        path: Path::Routed(5000),
        measure: Measure::RouteChange(10),
    },
];

/// The names of all.
pub fn names() -> Vec<&'static str> {
    ALL.iter().map(|scenario| scenario.name).collect()
}

/// The ones with these names, in the order of [`ALL`]; all without a name.
pub fn select(names: &[String]) -> Vec<Scenario> {
    ALL.into_iter()
        .filter(|scenario| names.is_empty() || names.iter().any(|name| name == scenario.name))
        .collect()
}
