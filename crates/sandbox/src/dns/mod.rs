//! Cluster DNS: names of Services and pods from the API, everything else from outside.

mod resolver;
mod server;
mod zone;

pub use resolver::Resolver;
pub use server::Server;
pub use zone::Zone;
