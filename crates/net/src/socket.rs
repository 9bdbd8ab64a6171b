//! TCP sockets with what a transparent proxy needs: the original destination, marks, a chosen
//! source address and listeners shared by several workers.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Once;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// The address the client dialled before packet rules redirected the connection here.
///
/// Asks conntrack (`SO_ORIGINAL_DST`, `IP6T_SO_ORIGINAL_DST`). A connection that was not
/// redirected has no entry, or one equal to the local address; both give the local address,
/// which is also what a TPROXY listener needs.
pub fn original_destination(stream: &TcpStream) -> io::Result<SocketAddr> {
    let local = stream.local_addr()?;
    let socket = SockRef::from(stream);
    let original = match local {
        SocketAddr::V4(_) => socket.original_dst_v4(),
        // A dual-stack listener sees IPv4 clients as mapped addresses, but conntrack knows the
        // connection as IPv4.
        SocketAddr::V6(v6) if v6.ip().to_ipv4_mapped().is_some() => socket.original_dst_v4(),
        SocketAddr::V6(_) => socket.original_dst_v6(),
    };
    Ok(original.ok().and_then(|address| address.as_socket()).map_or_else(|| unmapped(local), unmapped))
}

/// An IPv4-mapped IPv6 address as plain IPv4; anything else unchanged.
pub fn unmapped(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// How to open a listener. The default is an exclusive listener with a backlog of 1024.
#[derive(Clone, Debug)]
pub struct ListenOptions {
    /// `SO_REUSEPORT`: several listeners share the port, the kernel spreads connections.
    pub reuse_port: bool,
    /// `IP_TRANSPARENT`: accept connections to addresses that are not ours (TPROXY). Needs
    /// `CAP_NET_ADMIN` in the network namespace.
    pub transparent: bool,
    /// `IPV6_V6ONLY` for IPv6 listeners; off means that they take IPv4 clients too.
    pub only_v6: bool,
    /// Connections the kernel holds before they are accepted.
    pub backlog: i32,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self { reuse_port: false, transparent: false, only_v6: false, backlog: 1024 }
    }
}

/// Opens a TCP listener with `SO_REUSEADDR` and the given options.
pub fn listen(address: SocketAddr, options: &ListenOptions) -> io::Result<TcpListener> {
    TcpListener::from_std(listen_std(address, options)?)
}

/// As [`listen`], for handing to another runtime or process: non-blocking, not yet registered.
pub fn listen_std(address: SocketAddr, options: &ListenOptions) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(options.reuse_port)?;
    if address.is_ipv6() {
        socket.set_only_v6(options.only_v6)?;
    }
    if options.transparent {
        set_transparent(&socket, address)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(options.backlog)?;
    Ok(socket.into())
}

/// `SO_KEEPALIVE` and its timers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Idle time before the first probe; the kernel's default (2 hours) when absent.
    pub time: Option<Duration>,
    /// Time between probes; the kernel's default (75 seconds) when absent.
    pub interval: Option<Duration>,
    /// Probes without an answer before the connection is dropped; the kernel's default (9) when absent.
    pub probes: Option<u32>,
}

/// How to open a connection. The default asks for nothing but `TCP_NODELAY`.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// Source address to bind; the port is left to the kernel at connect time.
    pub source: Option<IpAddr>,
    /// `IP_TRANSPARENT`, for a `source` that is not ours (keeping the client's address).
    pub transparent: bool,
    /// `SO_MARK`. Where the process may not set marks, the connection is made without one and
    /// the first such case is logged.
    pub mark: Option<u32>,
    /// `SO_KEEPALIVE`; off when absent.
    pub keepalive: Option<Keepalive>,
    /// `TCP_NODELAY`; on by default.
    pub nodelay: bool,
    /// Deadline for the handshake; an error of kind `TimedOut` when it passes. None: the kernel's.
    pub timeout: Option<Duration>,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self { source: None, transparent: false, mark: None, keepalive: None, nodelay: true, timeout: None }
    }
}

/// Opens a TCP connection.
pub async fn connect(address: SocketAddr, options: &ConnectOptions) -> io::Result<TcpStream> {
    connect_prepared(prepare(address, options)?, address, options).await
}

/// The second half of [`connect`]; the socket may have been made in another network namespace.
pub(crate) async fn connect_prepared(
    socket: Socket,
    address: SocketAddr,
    options: &ConnectOptions,
) -> io::Result<TcpStream> {
    let connecting = TcpSocket::from_std_stream(socket.into()).connect(address);
    match options.timeout {
        None => connecting.await,
        Some(timeout) => match tokio::time::timeout(timeout, connecting).await {
            Ok(connected) => connected,
            Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no answer from {address} in {timeout:?}"),
            )),
        },
    }
}

pub(crate) fn prepare(address: SocketAddr, options: &ConnectOptions) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(options.nodelay)?;
    if let Some(mark) = options.mark {
        set_mark(&socket, mark)?;
    }
    if let Some(keepalive) = &options.keepalive {
        set_keepalive(&socket, keepalive)?;
    }
    if options.transparent {
        set_transparent(&socket, address)?;
    }
    if let Some(source) = options.source.filter(|source| source.is_ipv4() == address.is_ipv4()) {
        bind_source(&socket, source)?;
    }
    Ok(socket)
}

/// Applies `SO_KEEPALIVE` and its timers to any socket, an accepted one included.
pub fn set_keepalive<'s>(socket: impl Into<SockRef<'s>>, keepalive: &Keepalive) -> io::Result<()> {
    let mut parameters = TcpKeepalive::new();
    if let Some(time) = keepalive.time {
        parameters = parameters.with_time(time);
    }
    if let Some(interval) = keepalive.interval {
        parameters = parameters.with_interval(interval);
    }
    if let Some(probes) = keepalive.probes {
        parameters = parameters.with_retries(probes);
    }
    socket.into().set_tcp_keepalive(&parameters)
}

/// Sets `SO_MARK` on a socket (TCP or UDP). Not being permitted to is logged once and is no error:
/// outside of an intercepted namespace the mark means nothing.
pub fn set_mark<'s>(socket: impl Into<SockRef<'s>>, mark: u32) -> io::Result<()> {
    static REFUSED: Once = Once::new();
    match socket.into().set_mark(mark) {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
            REFUSED.call_once(|| {
                tracing::warn!(
                    "may not mark sockets with {mark:#x} (no CAP_NET_ADMIN): interception, if any, must tell \
                     this process by its user id"
                );
            });
            Ok(())
        }
        other => other,
    }
}

/// `SO_MARK` for programs that are told socket options by number: level and name.
pub const MARK_OPTION: (i64, i64) = (libc::SOL_SOCKET as i64, libc::SO_MARK as i64);

/// Whether this process may mark sockets. A program it starts may then too.
pub fn may_mark() -> bool {
    let probe = Socket::new(Domain::IPV4, Type::DGRAM, None);
    probe.is_ok_and(|socket| socket.set_mark(crate::PROXY_MARK).is_ok())
}

fn set_transparent(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    match address {
        SocketAddr::V4(_) => socket.set_ip_transparent_v4(true),
        SocketAddr::V6(_) => socket.set_ip_transparent_v6(true),
    }
}

/// With `IP_BIND_ADDRESS_NO_PORT` the port is chosen at connect, when the four-tuple is known, so one
/// source address can have more connections than there are ports.
fn bind_source(socket: &Socket, source: IpAddr) -> io::Result<()> {
    nix::sys::socket::setsockopt(socket, nix::sys::socket::sockopt::IpBindAddressNoPort, &true)?;
    socket.bind(&SocketAddr::new(source, 0).into())
}

/// The wildcard address of the same family as `address`.
pub fn wildcard(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

#[cfg(test)]
#[path = "socket_tests.rs"]
mod tests;
