//! SPDY/3.1, the server's side: what kubectl forwards ports over, on an upgraded connection or inside a websocket.
//!
//! HTTP has moved on to version 2, but Kubernetes' clients still open their streams in this protocol. Only what a
//! session of streams needs is here: no pushes, no priorities, no credentials.

mod flow;
mod frame;
mod header_block;
mod session;

pub(crate) use header_block::Headers;
pub(crate) use session::{Arrival, Input, Output, Stream, serve};
