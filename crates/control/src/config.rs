//! What can be chosen about the control plane.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Options of `mizzen control`. The defaults are those of a pod in `istio-system`.
#[derive(Clone, Debug)]
pub struct ControlConfig {
    /// How to reach the API; the pod's own account without.
    pub kubeconfig: Option<PathBuf>,
    /// The control plane's namespace.
    pub namespace: String,
    /// This replica's name, in what proxies and operators are told.
    pub pod_name: String,
    /// The control plane's service account, in its certificates.
    pub service_account: String,
    /// The control plane's revision; pods choose one by label `istio.io/rev`.
    pub revision: String,
    /// The name of this cluster in telemetry.
    pub cluster_id: String,
    /// The DNS suffix of the cluster.
    pub domain: String,
    /// The image that injected pods run.
    pub image: String,
    /// Where discovery and certificates are served over TLS.
    pub tls_address: SocketAddr,
    /// Where discovery is served in plain text; not at all without.
    pub plaintext_address: Option<SocketAddr>,
    /// Where admission webhooks are served.
    pub webhook_address: SocketAddr,
    /// Where metrics and debug endpoints are served.
    pub monitoring_address: SocketAddr,
    /// Where readiness is served.
    pub http_address: SocketAddr,
    /// How long open requests may take once the process was asked to end.
    pub drain: Duration,
}

impl Default for ControlConfig {
    fn default() -> Self {
        let any = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
        Self {
            kubeconfig: None,
            namespace: "istio-system".to_owned(),
            pod_name: "istiod".to_owned(),
            service_account: "istiod".to_owned(),
            revision: "default".to_owned(),
            cluster_id: "Kubernetes".to_owned(),
            domain: "cluster.local".to_owned(),
            image: format!("mizzen/mizzen:{}", mizzen_base::version::MIZZEN),
            tls_address: any(15012),
            plaintext_address: Some(any(15010)),
            webhook_address: any(15017),
            monitoring_address: any(15014),
            http_address: any(8080),
            drain: Duration::from_secs(5),
        }
    }
}

impl ControlConfig {
    /// The names under which clients know the control plane, for its certificate.
    pub(crate) fn dns_names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for service in ["istiod", &format!("istiod-{}", self.revision), "istio-pilot"] {
            names.push(format!("{service}.{}.svc", self.namespace));
            names.push(format!("{service}.{}.svc.{}", self.namespace, self.domain));
            names.push(format!("{service}.{}", self.namespace));
        }
        names
    }
}
