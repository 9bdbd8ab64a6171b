//! Starting and holding a proxy: workers, the control thread with configuration and admin port, and
//! the graceful end.

use crate::admin;
use crate::compile::bootstrap::Opened;
use crate::compile::{self, CompileError, Context};
use crate::configuration::{self, Ads, BindError, Manager, StaticError};
use crate::telemetry::Telemetry;
use crate::tls::{SecretSource, Secrets};
use crate::worker::{Current, ThreadRuntime, WorkerThread};
use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::grpc_service::TargetSpecifier;
use envoy_types::pb::envoy::config::core::v3::{BuildVersion, Node, node::UserAgentVersionType};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::Secret;
use envoy_types::pb::envoy::r#type::v3::SemanticVersion;
use mizzen_xds::TypeUrl;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{oneshot, watch};

/// How often warming resources are looked at.
const WARMING_TICK: Duration = Duration::from_millis(10);

/// How to start a proxy.
#[derive(Default)]
pub struct ProxyConfig {
    /// The Envoy bootstrap, encoded: node, admin, static and dynamic resources.
    pub bootstrap: Bytes,
    /// Number of workers; 0 means one a core.
    pub concurrency: usize,
    /// Gives the secrets `default` and `ROOTCA` in process, whatever their `sds_config` says.
    pub secrets: Option<SecretSource>,
    /// Changes the log filter of the process, for `/logging`.
    pub logging: Option<mizzen_base::logging::LevelHandle>,
}

/// Why a proxy did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The bootstrap says something this proxy does not honour.
    #[error("bootstrap: {0}")]
    Bootstrap(#[from] CompileError),
    /// A socket could not be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A thread or runtime could not be made.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

impl From<StaticError> for StartError {
    fn from(error: StaticError) -> Self {
        match error {
            StaticError::Compile(error) => Self::Bootstrap(error),
            StaticError::Bind(error) => Self::Bind(error),
        }
    }
}

/// Starts proxies.
pub struct Proxy;

/// A running proxy. Dropping it ends it at once; see [`ProxyHandle::drain`] for the graceful way.
pub struct ProxyHandle {
    shared: Arc<Shared>,
    admin_address: Option<SocketAddr>,
    /// Dropping it ends the control thread.
    control: Option<(oneshot::Sender<()>, std::thread::JoinHandle<()>)>,
}

/// What the handle, the admin port and the control thread share.
pub(crate) struct Shared {
    pub manager: Arc<Mutex<Manager>>,
    pub current: Arc<Current>,
    pub telemetry: Arc<Telemetry>,
    /// The bootstrap, encoded, for dumps.
    pub bootstrap: Bytes,
    pub node: Node,
    pub concurrency: usize,
    pub logging: Option<mizzen_base::logging::LevelHandle>,
    pub live: watch::Sender<bool>,
    /// Someone asked over the admin port that the process end.
    pub quit: watch::Sender<bool>,
    pub started: SystemTime,
}

impl Proxy {
    /// Starts workers, admin port and configuration. Returns once static listeners are bound; see
    /// [`ProxyHandle::ready`] for the rest.
    pub fn start(config: ProxyConfig) -> Result<ProxyHandle, StartError> {
        mizzen_identity::install_crypto_provider();
        let opened = compile::bootstrap::open(&config.bootstrap, |bootstrap| {
            introduce(bootstrap.node.get_or_insert_default());
        })?;
        drop(config.bootstrap);
        compile::bootstrap::check(&opened.message)?;
        let node = opened.message.node.clone().unwrap_or_default();
        let concurrency = match config.concurrency {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            count => count,
        };
        let telemetry = Telemetry::new(&node, concurrency);
        let secrets = Arc::new(Secrets::new(config.secrets.is_some()));
        let current = Arc::new(Current::default());
        if let Some(limit) = compile::bootstrap::connection_limit(&opened.message)? {
            current.connections().limit(limit);
        }
        let runtime = ThreadRuntime::new()?;
        let context = Context {
            node: Arc::new(node.clone()),
            secrets: Arc::clone(&secrets),
            telemetry: Arc::clone(&telemetry),
            control: runtime.get().handle().clone(),
        };
        if let Some(source) = &config.secrets
            && let Some(workload) = source.borrow().as_ref()
        {
            secrets.take(workload);
        }
        for (index, secret) in opened.secrets.iter().enumerate() {
            let compile = || {
                let secret = compile::decode::<Secret>(secret)?;
                compile::secret::compile(&secret).map(|value| secrets.fix(&secret.name, value))
            };
            compile().map_err(|error| error.at(format!("static_resources.secrets[{index}]")))?;
        }
        let ads = ads(&opened, &context)?;
        let awaited = ads.as_ref().map(|(_, awaited)| awaited.clone()).unwrap_or_default();
        let workers = (0..concurrency)
            .map(|index| WorkerThread::start(index, Arc::clone(&current), Arc::clone(&telemetry)))
            .collect::<Result<Vec<_>, _>>()?;
        let mut manager = Manager::new(context, Arc::clone(&current), workers, awaited);
        {
            let _entered = runtime.get().enter();
            manager.take_static(opened.clusters, opened.listeners)?;
        }
        let admin = admin::bind(opened.message.admin.as_ref())?;
        let admin_address = admin.as_ref().and_then(|socket| socket.local_addr().ok());
        let shared = Arc::new(Shared {
            live: watch::Sender::new(manager.is_live()),
            manager: Arc::new(Mutex::new(manager)),
            current,
            telemetry,
            bootstrap: opened.encoded,
            node: node.clone(),
            concurrency,
            logging: config.logging,
            quit: watch::Sender::new(false),
            started: SystemTime::now(),
        });
        let (stop, stopped) = oneshot::channel();
        let control = Control {
            shared: Arc::clone(&shared),
            ads: ads.map(|(ads, _)| ads),
            node,
            admin,
            secrets,
            source: config.secrets,
        };
        let thread = std::thread::Builder::new().name("control".to_owned()).spawn(move || {
            runtime.get().block_on(async {
                tokio::select! {
                    () = control.run() => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(ProxyHandle { shared, admin_address, control: Some((stop, thread)) })
    }
}

/// Says in the node who we are.
fn introduce(node: &mut Node) {
    node.user_agent_name = "mizzen".to_owned();
    let mut parts = mizzen_base::version::MIZZEN.split('.').map(|part| part.parse().unwrap_or_default());
    let version = SemanticVersion {
        major_number: parts.next().unwrap_or_default(),
        minor_number: parts.next().unwrap_or_default(),
        patch: parts.next().unwrap_or_default(),
    };
    node.user_agent_version_type = Some(UserAgentVersionType::UserAgentBuildVersion(BuildVersion {
        version: Some(version),
        metadata: None,
    }));
}

/// The way to the control plane, and what must come from there before the proxy is live.
fn ads(opened: &Opened, context: &Context) -> Result<Option<(Ads, BTreeSet<TypeUrl>)>, CompileError> {
    let Some(dynamic) = &opened.message.dynamic_resources else { return Ok(None) };
    let Some(source) = &dynamic.ads_config else { return Ok(None) };
    let mut kinds = Vec::new();
    if dynamic.cds_config.is_some() {
        kinds.push(TypeUrl::CLUSTER);
    }
    kinds.push(TypeUrl::ENDPOINT);
    if dynamic.lds_config.is_some() {
        kinds.push(TypeUrl::LISTENER);
    }
    kinds.extend([TypeUrl::ROUTE, TypeUrl::VIRTUAL_HOST, TypeUrl::SECRET]);
    let awaited = kinds.iter().copied().filter(|kind| kind.is_wildcard_by_default()).collect();
    let mut clusters = Vec::new();
    for service in &source.grpc_services {
        if let Some(TargetSpecifier::EnvoyGrpc(grpc)) = &service.target_specifier {
            clusters.extend(opened.cluster(&grpc.cluster_name)?);
        }
    }
    let ads = Ads::compile(source, &clusters, kinds, context)
        .map_err(|error| error.at("dynamic_resources.ads_config"))?;
    Ok(Some((ads, awaited)))
}

/// What runs on the control thread.
struct Control {
    shared: Arc<Shared>,
    ads: Option<Ads>,
    node: Node,
    admin: Option<std::net::TcpListener>,
    secrets: Arc<Secrets>,
    source: Option<SecretSource>,
}

impl Control {
    async fn run(self) {
        let manager = Arc::clone(&self.shared.manager);
        let ads = async {
            match self.ads {
                Some(ads) => configuration::run(ads, self.node, manager, self.secrets.store().watch()).await,
                None => std::future::pending().await,
            }
        };
        let admin = async {
            match self.admin {
                Some(socket) => admin::serve(socket, Arc::clone(&self.shared)).await,
                None => std::future::pending().await,
            }
        };
        let secrets = follow(self.source, &self.secrets);
        tokio::join!(ads, admin, secrets, tick(&self.shared));
    }
}

/// Takes each certificate the agent obtains.
async fn follow(source: Option<SecretSource>, secrets: &Secrets) {
    let Some(mut source) = source else { return };
    // What was there at the start has been taken.
    while source.changed().await.is_ok() {
        let workload = source.borrow_and_update().clone();
        if let Some(workload) = workload {
            secrets.take(&workload);
        }
    }
}

/// Puts in force what has become warm, and says when the proxy is live.
async fn tick(shared: &Shared) {
    let mut ticks = tokio::time::interval(WARMING_TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let changed = shared.manager.lock().warming_started();
    let mut starting = true;
    loop {
        ticks.tick().await;
        let (warming, now_live) = {
            let mut manager = shared.manager.lock();
            (manager.tick(), manager.is_live())
        };
        shared.live.send_if_modified(|live| now_live && !std::mem::replace(live, true));
        if !warming {
            if std::mem::take(&mut starting) {
                give_back();
            }
            // An idle proxy does not wake up; the next update does that.
            changed.notified().await;
        }
    }
}

/// Gives back what only the start needed: a sidecar is judged by what it holds while it rests.
fn give_back() {
    mizzen_net::memory::give_back();
    if let Err(error) = mizzen_net::memory::give_back_code() {
        tracing::debug!("code that only the start needed stays in memory: {error}");
    }
}

impl ProxyHandle {
    /// Resolves when all initial configuration is in force (Envoy's state LIVE).
    pub async fn ready(&self) {
        // The sender lives as long as this handle.
        let _ = self.shared.live.subscribe().wait_for(|live| *live).await;
    }

    /// Whether all initial configuration is in force.
    pub fn is_ready(&self) -> bool {
        *self.shared.live.borrow()
    }

    /// Whether a stream to the control plane is open.
    pub fn is_connected(&self) -> bool {
        self.shared.manager.lock().is_connected()
    }

    /// Stops accepting, asks open connections to finish (GOAWAY, `Connection: close`), and waits
    /// until none is left, at most `deadline`. Returns whether all finished.
    pub async fn drain(&self, deadline: Duration) -> bool {
        let closed = self.shared.manager.lock().drain(false);
        let finished = async {
            // What the kernel had accepted is served, so it must be counted first.
            for sockets in closed {
                sockets.wait().await;
            }
            self.shared.current.connections().none().await;
        };
        tokio::time::timeout(deadline, finished).await.is_ok()
    }

    /// Resolves when someone asked over the admin port that the process end.
    pub async fn quit_requested(&self) {
        // The sender lives as long as this handle.
        let _ = self.shared.quit.subscribe().wait_for(|quit| *quit).await;
    }

    /// Connections open now.
    pub fn active_connections(&self) -> u64 {
        self.shared.current.connections().count()
    }

    /// All metrics in Prometheus's text format.
    pub fn prometheus(&self) -> String {
        admin::statistics::prometheus(&self.shared)
    }

    /// The admin port's address, with the port it was given when the bootstrap asked for port 0.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin_address
    }

    /// The addresses a listener is bound to; empty when it does not exist or is not bound.
    pub fn listener_addresses(&self, name: &str) -> Vec<SocketAddr> {
        self.shared.manager.lock().listener_addresses(name)
    }

    /// Ends at once.
    pub fn shutdown(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        let Some((stop, thread)) = self.control.take() else { return };
        drop(stop);
        if thread.join().is_err() {
            tracing::error!("the control thread had panicked");
        }
        self.shared.manager.lock().stop();
    }
}

impl Drop for ProxyHandle {
    fn drop(&mut self) {
        self.stop();
    }
}
