//! The control plane: from the objects of a Kubernetes API to the configuration of proxies, with
//! the certificate authority, the admission webhooks and the status around it.
//!
//! ```text
//! registry → model::Store → snapshot ┬→ push → views → discovery (15010, 15012)
//!                                    ├→ admission (15017)
//!                                    ├→ status, root certificates
//!                                    └→ debug (15014), readiness (8080)
//! ```
//!
//! [`run`] is the wiring, in start order.

mod admission;
mod authority;
mod caller;
mod config;
mod debug;
mod error;
mod issue;
mod metrics;
mod push;
mod roots;
mod serve;
mod status;

pub use config::ControlConfig;
pub use error::ControlError;

use admission::Admission;
use authority::{Authority, ROOTS, SERVING};
use caller::Authenticator;
use debug::Debug;
use issue::CertificateService;
use metrics::Metrics;
use mizzen_base::drain;
use mizzen_base::readiness::Readiness;
use mizzen_identity::tls::{ServerSettings, Version};
use mizzen_identity::verify::Verification;
use mizzen_registry::{Pace, Registry, RegistryOptions};
use mizzen_xds::server::{AdsService, Limits, Options};
use push::{Mesh, Proxies, TrustDomain};
use serve::GrpcServices;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::task::JoinSet;

/// Runs the control plane until `shutdown` resolves, then drains.
///
/// # Errors
/// What makes it impossible to start. Once it runs, what fails is logged and tried again.
pub async fn run(config: ControlConfig, shutdown: impl Future<Output = ()>) -> Result<(), ControlError> {
    mizzen_identity::install_crypto_provider();
    let config = Arc::new(config);
    let readiness = Readiness::default();
    let first_snapshot = readiness.register("the first list of every kind");
    let metrics = Metrics::new();
    let (drain, watcher) = drain::channel();
    let mut tasks = JoinSet::new();

    // Readiness and metrics are served from the start, so that what is waited for can be seen.
    let client = connect(&config).await?;
    let authenticator = Arc::new(Authenticator::new(client.clone()));
    let mut store = mizzen_model::Store::with_validation(&config.domain, mizzen_api::validate);
    let mesh = Mesh::new(store.snapshot());
    let proxies = Proxies::new(mesh.clone(), metrics.clone());
    let debug = debug::routes(Debug {
        mesh: mesh.clone(),
        proxies: proxies.clone(),
        metrics: metrics.clone(),
        readiness: readiness.clone(),
        authenticator: authenticator.clone(),
    });
    for address in [config.monitoring_address, config.http_address] {
        let incoming = serve::plain(serve::bind(address).await?, watcher.clone());
        tasks.spawn(serve::serve(incoming, debug.clone(), watcher.clone()));
    }

    // The whole mesh once, before anybody is told anything of it.
    let options = RegistryOptions { root_namespace: config.namespace.clone(), pace: Pace::default() };
    let mut registry = Registry::start(&client, &options);
    let settings = registry.injection_settings();
    tokio::pin!(shutdown);
    let first = tokio::select! {
        first = registry.next() => first.ok_or(ControlError::WatchesEnded)?,
        () = &mut shutdown => return Ok(()),
    };
    let applied = store.apply(first.changes);
    mesh.replace(applied.snapshot, true);
    drop(first_snapshot);

    let trust_domain = mesh.snapshot().mesh().trust_domain.clone();
    let authority = Authority::load(&client, &config, &trust_domain).await?;
    let expiry = authority.current().not_after();
    let expiry = expiry.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    metrics.root_expiry.set(&[], expiry.as_secs_f64());
    tasks.spawn(authority.clone().maintain(client.clone(), config.namespace.clone()));
    tasks.spawn(roots::distribute(client.clone(), mesh.clone(), authority.watch_roots()));
    tasks.spawn(push::run(registry, store, mesh.clone(), proxies.clone(), metrics.clone()));
    tasks.spawn(status::write(client.clone(), mesh.clone(), proxies.clone()));

    let webhooks = admission::routes(Admission {
        mesh: mesh.clone(),
        settings,
        client: client.clone(),
        config: config.clone(),
        metrics: metrics.clone(),
    });
    let listener = serve::bind(config.webhook_address).await?;
    let incoming = serve::tls(listener, webhook_tls(&authority)?, watcher.clone());
    tasks.spawn(serve::serve(incoming, webhooks, watcher.clone()));
    // Only now can a call succeed: until then the API must not be told to trust us.
    tasks.spawn(roots::complete_webhooks(client.clone(), authority.watch_roots()));

    let services = GrpcServices {
        discovery: AdsService::new(
            proxies.clone(),
            Options {
                types: push::TYPES.to_vec(),
                identifier: identifier(&config),
                limits: Limits::default(),
            },
            proxies.hub().clone(),
            watcher.clone(),
        ),
        certificates: Arc::new(CertificateService {
            authority: authority.clone(),
            trust_domain: TrustDomain(mesh),
            metrics,
        }),
        authenticator,
    };
    let listener = serve::bind(config.tls_address).await?;
    let incoming = serve::tls(listener, mesh_tls(&authority)?, watcher.clone());
    tasks.spawn(services.clone().serve(incoming, false, watcher.clone()));
    if let Some(address) = config.plaintext_address {
        let incoming = serve::plain(serve::bind(address).await?, watcher.clone());
        tasks.spawn(services.serve(incoming, true, watcher.clone()));
    }
    tracing::info!(
        tls = %config.tls_address, webhooks = %config.webhook_address, revision = config.revision,
        "the control plane is ready"
    );

    tokio::select! {
        () = shutdown => {}
        ended = tasks.join_next() => {
            tracing::error!("a part of the control plane has ended, so all of it does: {ended:?}");
        }
    }
    tracing::info!("draining");
    drop(watcher);
    drain.start();
    let _ = tokio::time::timeout(config.drain, async {
        // Servers end by themselves once their requests have; watches only when dropped.
        while let Some(ended) = tasks.join_next().await {
            drop(ended);
            if proxies.hub().is_empty() {
                return;
            }
        }
    })
    .await;
    Ok(())
}

async fn connect(config: &ControlConfig) -> Result<kube::Client, ControlError> {
    let access = |error: &dyn std::fmt::Display| ControlError::Access(error.to_string());
    let kube_config = match &config.kubeconfig {
        Some(path) => {
            let file = kube::config::Kubeconfig::read_from(path).map_err(|error| access(&error))?;
            kube::Config::from_custom_kubeconfig(file, &kube::config::KubeConfigOptions::default())
                .await
                .map_err(|error| access(&error))?
        }
        // The pod's own account before a kubeconfig that happens to lie about.
        None => match kube::Config::incluster() {
            Ok(own) => own,
            Err(_) => kube::Config::infer().await.map_err(|error| access(&error))?,
        },
    };
    kube::Client::try_from(kube_config).map_err(|error| access(&error))
}

/// What proxies and tools are told of who is serving. Source: Istio, `ControlPlaneInstance`.
fn identifier(config: &ControlConfig) -> Arc<str> {
    serde_json::json!({
        "Component": "istiod",
        "ID": config.pod_name,
        "Info": {"version": mizzen_base::version::ISTIO}
    })
    .to_string()
    .into()
}

/// For proxies: they may present a certificate of the mesh instead of a token.
fn mesh_tls(authority: &Authority) -> Result<Arc<rustls::ServerConfig>, ControlError> {
    let secrets = authority.secrets();
    let settings = ServerSettings {
        certificates: vec![secrets.slot(SERVING)],
        verification: Some(Verification::spiffe(secrets.slot(ROOTS), Vec::new())),
        require_client_certificate: false,
        session_tickets: true,
        session_cache: true,
        application_protocols: vec![b"h2".to_vec()],
        lowest: Version::Tls12,
        highest: Version::Tls13,
    };
    Ok(settings.build()?)
}

/// For the API, which presents nothing that we could check.
fn webhook_tls(authority: &Authority) -> Result<Arc<rustls::ServerConfig>, ControlError> {
    let settings = ServerSettings {
        certificates: vec![authority.secrets().slot(SERVING)],
        verification: None,
        require_client_certificate: false,
        session_tickets: true,
        session_cache: true,
        application_protocols: vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        lowest: Version::Tls12,
        highest: Version::Tls13,
    };
    Ok(settings.build()?)
}
