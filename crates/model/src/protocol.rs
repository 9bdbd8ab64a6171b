//! What a port speaks, as its name and `appProtocol` declare it.

use std::fmt;

/// The application protocol of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// HTTP/1.
    Http,
    /// An HTTP/1.1 forward proxy.
    HttpProxy,
    /// HTTP/2, in clear text or over TLS.
    Http2,
    /// gRPC over HTTP/2.
    Grpc,
    /// gRPC-Web over HTTP.
    GrpcWeb,
    /// HTTP over TLS that only the application can read.
    Https,
    /// Anything over TLS.
    Tls,
    /// Plain TCP, server-first protocols included.
    Tcp,
    /// MongoDB, treated as TCP.
    Mongo,
    /// MySQL, treated as TCP.
    Mysql,
    /// Redis, treated as TCP.
    Redis,
    /// UDP, which the mesh does not carry.
    Udp,
    /// Not declared: found out from the first bytes of a connection.
    #[default]
    Unsupported,
}

/// Ports where the server speaks first or that are never HTTP: sniffing would hang there.
/// Source: Istio, `pkg/config/kube/conversion.go`.
const WELL_KNOWN_TCP_PORTS: [u16; 4] = [25, 53, 3306, 27017];

impl Protocol {
    /// The protocol of a Kubernetes Service port: `appProtocol` beats the port's name, and of the name
    /// only what stands before the first `-` counts.
    pub fn of_port(port: u16, name: &str, app_protocol: Option<&str>, transport: Option<&str>) -> Self {
        if transport.is_some_and(|transport| transport.eq_ignore_ascii_case("UDP")) {
            return Self::Udp;
        }
        match app_protocol {
            Some("kubernetes.io/h2c") => return Self::Http2,
            Some("kubernetes.io/ws") => return Self::Http,
            Some("kubernetes.io/wss") => return Self::Https,
            _ => {}
        }
        let declared = app_protocol.unwrap_or(name);
        let protocol = if starts_with_ignoring_case(declared, "grpc-web") {
            Self::GrpcWeb
        } else {
            Self::parse(declared.split('-').next().unwrap_or_default())
        };
        match protocol {
            Self::Unsupported if WELL_KNOWN_TCP_PORTS.contains(&port) => Self::Tcp,
            other => other,
        }
    }

    /// The protocol of this name, whatever its case; anything unknown is [`Protocol::Unsupported`].
    pub fn parse(name: &str) -> Self {
        match name.to_ascii_lowercase().as_str() {
            "http" => Self::Http,
            "http_proxy" => Self::HttpProxy,
            "http2" => Self::Http2,
            "grpc" => Self::Grpc,
            "grpc-web" => Self::GrpcWeb,
            "https" => Self::Https,
            "tls" => Self::Tls,
            "tcp" => Self::Tcp,
            "mongo" => Self::Mongo,
            "mysql" => Self::Mysql,
            "redis" => Self::Redis,
            "udp" => Self::Udp,
            _ => Self::Unsupported,
        }
    }

    /// HTTP that the proxy can read.
    pub fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::HttpProxy | Self::Http2 | Self::Grpc | Self::GrpcWeb)
    }

    /// HTTP/2 that the proxy can read: its upstream connections speak HTTP/2.
    pub fn is_http2(self) -> bool {
        matches!(self, Self::Http2 | Self::Grpc | Self::GrpcWeb)
    }

    /// TLS whose inside is not the proxy's business.
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::Tls)
    }

    /// A stream of bytes and no more.
    pub fn is_tcp(self) -> bool {
        matches!(self, Self::Tcp | Self::Mongo | Self::Mysql | Self::Redis) || self.is_tls()
    }

    /// Not declared, so found out per connection.
    pub fn is_sniffed(self) -> bool {
        self == Self::Unsupported
    }
}

fn starts_with_ignoring_case(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

impl fmt::Display for Protocol {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Http => "HTTP",
            Self::HttpProxy => "HTTP_PROXY",
            Self::Http2 => "HTTP2",
            Self::Grpc => "GRPC",
            Self::GrpcWeb => "GRPC-Web",
            Self::Https => "HTTPS",
            Self::Tls => "TLS",
            Self::Tcp => "TCP",
            Self::Mongo => "Mongo",
            Self::Mysql => "MySQL",
            Self::Redis => "Redis",
            Self::Udp => "UDP",
            Self::Unsupported => "UnsupportedProtocol",
        })
    }
}

#[cfg(test)]
#[path = "protocol_tests.rs"]
mod tests;
