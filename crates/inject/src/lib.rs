//! Injection: a pod goes in, the same pod with a sidecar comes out.
//!
//! Pure, and typed from end to end: nothing that a pod's author writes is ever pasted into a
//! template, so an annotation cannot add a container (see [`annotations`]).

pub mod annotations;
mod policy;
mod probes;
mod sidecar;

use annotations::{AnnotationError, Annotations};
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;
use std::collections::BTreeMap;

pub use policy::Owner;

/// The container that is the proxy.
pub const PROXY_CONTAINER: &str = "istio-proxy";
/// The init container that installs interception.
pub const INIT_CONTAINER: &str = "istio-init";
/// Marks a pod as injected, and says with what.
pub const STATUS_ANNOTATION: &str = "sidecar.istio.io/status";

/// What injection takes from the mesh.
#[derive(Clone, Debug)]
pub struct InjectionConfig {
    /// The image that holds the `mizzen` binary.
    pub image: String,
    /// The control plane's revision.
    pub revision: String,
    /// Where the certificate service is, `HOST:PORT`.
    pub ca_address: String,
    /// SPIFFE trust domain.
    pub trust_domain: String,
    /// Name of this cluster in telemetry.
    pub cluster_id: String,
    /// `defaultConfig` of the mesh configuration, in JSON.
    pub proxy_config: Value,
    /// Whether application metrics are merged with the proxy's (`enablePrometheusMerge`).
    pub merge_prometheus: bool,
    /// The DNS suffix of the cluster, `cluster.local`.
    pub cluster_domain: String,
}

/// What became of a pod.
#[derive(Debug)]
pub enum Decision {
    /// It stays as it is, for this reason.
    Skip(&'static str),
    /// It gets a sidecar.
    Inject(Box<Injected>),
}

/// An injected pod.
#[derive(Debug)]
pub struct Injected {
    /// The pod as it shall be.
    pub pod: Pod,
    /// Annotations that ask for something a sidecar of ours does not do, one sentence each.
    pub warnings: Vec<String>,
}

/// Why a pod cannot be injected as it asks.
#[derive(Debug, thiserror::Error)]
pub enum InjectError {
    /// An annotation has a value that cannot be used.
    #[error(transparent)]
    Annotation(#[from] AnnotationError),
    /// A probe names a port that no container has.
    #[error(
        "container {container}: the {probe} probe names port '{port}', which the container does not declare"
    )]
    ProbePort {
        /// The container.
        container: String,
        /// Which probe.
        probe: &'static str,
        /// The port's name.
        port: String,
    },
    /// The pod has a container of the proxy's name that injection did not make.
    #[error(
        "the pod has its own container named {PROXY_CONTAINER}; rename it, or set label sidecar.istio.io/inject=false"
    )]
    NameTaken,
    /// The pod cannot be written as JSON.
    #[error("the pod cannot be encoded: {0}")]
    Encode(#[from] serde_json::Error),
}

/// Decides about `pod`, which is created in `namespace` with `namespace_labels`.
pub fn inject(
    pod: &Pod,
    namespace: &str,
    namespace_labels: &BTreeMap<String, String>,
    config: &InjectionConfig,
) -> Result<Decision, InjectError> {
    if let Some(reason) = policy::reason_to_skip(pod, namespace, namespace_labels, &config.revision) {
        return Ok(Decision::Skip(reason));
    }
    let Some(spec) = &pod.spec else { return Ok(Decision::Skip("the pod has no spec")) };
    let taken = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    if taken.into_iter().any(|container| container.name == PROXY_CONTAINER) {
        return Err(InjectError::NameTaken);
    }
    let annotations = Annotations::read(pod)?;
    let owner = Owner::of(pod, namespace);
    let mut injected = pod.clone();
    let probers = match annotations.rewrite_probes {
        true => probes::rewrite(&mut injected)?,
        false => None,
    };
    sidecar::add(
        &mut injected,
        &sidecar::Context { namespace, owner: &owner, annotations: &annotations, config, probers },
    )?;
    Ok(Decision::Inject(Box::new(Injected { pod: injected, warnings: annotations.warnings })))
}

/// The JSON patch (RFC 6902) that makes `after` of the object `before`, as an admission answer carries it.
pub fn patch(before: &Value, after: &Pod) -> Result<json_patch::Patch, serde_json::Error> {
    Ok(json_patch::diff(before, &serde_json::to_value(after)?))
}

#[cfg(test)]
#[path = "lib_tests.rs"]
mod tests;
