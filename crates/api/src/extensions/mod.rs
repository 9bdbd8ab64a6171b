//! `extensions.istio.io`.

mod traffic_extension;
mod wasm_plugin;

pub use traffic_extension::*;
pub use wasm_plugin::*;
