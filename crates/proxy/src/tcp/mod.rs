//! The TCP data path.

/// A compiled chain of network filters that ends in a TCP proxy.
pub struct TcpProxy {}
