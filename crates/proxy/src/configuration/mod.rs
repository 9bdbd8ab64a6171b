//! Configuration in force: takes resources from the bootstrap and from ADS, compiles them, warms
//! them, and puts generations in force. Runs on the control thread only.

mod ads;
mod manager;
mod records;
mod sockets;

pub(crate) use ads::{Ads, run};
pub(crate) use manager::Manager;
pub use manager::StaticError;
pub use records::{Failure, Record, Records};
pub use sockets::BindError;
