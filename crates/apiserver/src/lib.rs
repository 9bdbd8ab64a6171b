//! The embedded Kubernetes API server: what unmodified `kubectl` (1.30 to 1.33) and `kube` need of one, in one process.
//!
//! It knows no mesh word: a mesh reaches it as CustomResourceDefinitions, admission webhooks and ordinary objects.
//! It authenticates every caller (admin token or service-account token) and authorises every authenticated one:
//! RBAC objects are stored but not enforced, and access reviews say "allowed". It is a sandbox's API, not a cluster's.
//!
//! One way through the house: `http` reads a request and finds the resource in the catalogue (`resources`);
//! `operations` take a change through decoding, defaults, admission and validation to a compare-and-swap in the
//! `store`; watchers read the store's history; `lifecycle` collects what was left behind.

mod admission;
mod api;
mod auth;
mod config;
mod defaults;
mod error;
mod http;
mod lifecycle;
mod node;
mod object;
mod operations;
mod patch;
mod protobuf;
mod resources;
mod schema;
mod selector;
mod server;
mod spdy;
mod state;
mod store;
mod subresources;
mod table;
mod validation;

pub use config::{DEFAULT_SERVICE_RANGE, ServerConfig};
pub use node::{
    AsyncReadWrite, AttachRequest, ByteStream, ExecRequest, ExecSession, LogRequest, NoNode, NodeError,
    NodeRuntime, PodRef, TerminalSize,
};
pub use server::{ApiServer, RunningApiServer, StartError};
