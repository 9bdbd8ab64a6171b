//! `control`: the control plane, as the Deployment `istiod` runs it.

use mizzen_control::ControlConfig;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Options have the defaults of a pod in `istio-system`; its environment fills in the names.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  mizzen control --kubeconfig ~/.kube/config\n  \
    mizzen control --revision canary")]
pub struct Arguments {
    /// Where to find the Kubernetes API; the pod's own service account without
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The control plane's own namespace
    #[arg(long, env = "POD_NAMESPACE", default_value = "istio-system")]
    namespace: String,
    /// The name of this replica
    #[arg(long, env = "POD_NAME", default_value = "istiod")]
    pod_name: String,
    /// The service account of this replica
    #[arg(long, env = "SERVICE_ACCOUNT", default_value = "istiod")]
    service_account: String,
    /// The revision pods choose by label istio.io/rev
    #[arg(long, env = "REVISION", default_value = "default")]
    revision: String,
    /// The name of this cluster in telemetry
    #[arg(long, env = "CLUSTER_ID", default_value = "Kubernetes")]
    cluster_id: String,
    /// The DNS suffix of the cluster
    #[arg(long, default_value = "cluster.local")]
    domain: String,
    /// The image of injected sidecars [default: mizzen/mizzen of this version]
    #[arg(long, env = "MIZZEN_IMAGE")]
    image: Option<String>,
    /// Discovery and certificates in plain text; "" serves none
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:15010")]
    grpc_addr: String,
    /// Discovery and certificates over TLS
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:15012")]
    secure_grpc_addr: SocketAddr,
    /// Admission webhooks
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:15017")]
    https_addr: SocketAddr,
    /// Metrics and debug endpoints
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:15014")]
    monitoring_addr: SocketAddr,
    /// Readiness
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    http_addr: SocketAddr,
    /// How much to log
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: String,
}

/// Runs until SIGTERM or SIGINT, on as many threads as there are processors.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(arguments))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(arguments: Arguments) -> anyhow::Result<()> {
    // Already started when several commands share a process.
    let _ = mizzen_base::logging::init(&arguments.log_level);
    let plaintext_address = match arguments.grpc_addr.as_str() {
        "" => None,
        address => Some(address.parse()?),
    };
    let default = ControlConfig::default();
    let config = ControlConfig {
        kubeconfig: arguments.kubeconfig,
        namespace: arguments.namespace,
        pod_name: arguments.pod_name,
        service_account: arguments.service_account,
        revision: arguments.revision,
        cluster_id: arguments.cluster_id,
        domain: arguments.domain,
        image: arguments.image.unwrap_or(default.image),
        tls_address: arguments.secure_grpc_addr,
        plaintext_address,
        webhook_address: arguments.https_addr,
        monitoring_address: arguments.monitoring_addr,
        http_address: arguments.http_addr,
        drain: Duration::from_secs(5),
    };
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    mizzen_control::run(config, async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
    .await?;
    Ok(())
}
