//! The embedded Kubernetes API server: what unmodified `kubectl` (1.30 to 1.33) and `kube` need of one, in one process.
//!
//! It knows no mesh word: a mesh reaches it as CustomResourceDefinitions, admission webhooks and ordinary objects.
//! It authenticates every caller (admin token or service-account token) and authorises every authenticated one:
//! RBAC objects are stored but not enforced, and access reviews say "allowed". It is a sandbox's API, not a cluster's.

mod auth;
mod config;
mod node;
mod server;

pub use config::{DEFAULT_SERVICE_RANGE, ServerConfig};
pub use node::{
    AsyncReadWrite, AttachRequest, ByteStream, ExecRequest, ExecSession, LogRequest, NodeError, NodeRuntime, PodRef,
    TerminalSize,
};
pub use server::{ApiServer, RunningApiServer, StartError};
