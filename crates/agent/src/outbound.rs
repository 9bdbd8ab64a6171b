//! Connections of the agent itself. They carry the proxy's mark, or interception would send them
//! through the proxy they serve.

use mizzen_net::ConnectOptions;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpStream;

/// Connects to `HOST:PORT`, trying each address the name has.
pub(crate) async fn connect(authority: &str, timeout: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, format!("{authority} has no address"));
    for address in tokio::net::lookup_host(authority).await? {
        match connect_from(None, address, timeout).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Connects to the application in the same pod. Interception takes a marked connection to the pod's
/// own address for a request that came back to its pod and hands it to the proxy's inbound side,
/// where strict mTLS would refuse it; the proxy's inbound source address says that it is not one.
/// Source: Istio's `UpstreamLocalAddressIPv4` and rule `-s 127.0.0.6/32 -o lo -j RETURN`.
pub(crate) async fn connect_to_application(address: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
    let source = match address.ip() {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::new(127, 0, 0, 6)),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6)),
    };
    connect_from(Some(source), address, timeout).await
}

async fn connect_from(
    source: Option<IpAddr>,
    address: SocketAddr,
    timeout: Duration,
) -> io::Result<TcpStream> {
    let options = ConnectOptions {
        source,
        mark: Some(mizzen_net::PROXY_MARK),
        nodelay: true,
        timeout: Some(timeout),
        ..ConnectOptions::default()
    };
    mizzen_net::connect(address, &options).await
}
