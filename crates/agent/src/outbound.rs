//! Connections of the agent itself. They carry the proxy's mark, or interception would send them
//! through the proxy they serve.

use mizzen_net::ConnectOptions;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;

/// Connects to `HOST:PORT`, trying each address the name has.
pub(crate) async fn connect(authority: &str, timeout: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, format!("{authority} has no address"));
    for address in tokio::net::lookup_host(authority).await? {
        match connect_to(address, timeout).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Connects to one address.
pub(crate) async fn connect_to(address: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
    let options = ConnectOptions {
        mark: Some(mizzen_net::PROXY_MARK),
        nodelay: true,
        timeout: Some(timeout),
        ..ConnectOptions::default()
    };
    mizzen_net::connect(address, &options).await
}
