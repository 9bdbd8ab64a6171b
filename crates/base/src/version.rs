//! The versions Mizzen reports.

/// Mizzen's own version.
pub const MIZZEN: &str = env!("CARGO_PKG_VERSION");

/// The Istio release whose behaviour and output shapes we follow. Tools of that field
/// (Kiali among them) read a version of the form `1.x.y` and act on it, so proxies and the
/// control plane report this one in node metadata, metrics and `/version`.
pub const ISTIO: &str = "1.30.0";
