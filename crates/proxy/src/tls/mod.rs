//! TLS of the data path: accepting and connecting with configurations that were built when the
//! certificate arrived, never while a connection waits.

mod accept;
mod connect;
mod secrets;

pub use accept::{AcceptError, Acceptor};
pub use connect::{ConnectError, ConnectRequest, Connector};
pub use secrets::{SecretSource, Secrets, WorkloadSecrets};
