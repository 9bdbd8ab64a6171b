//! A cluster for tests: the embedded API server, the controllers, and a kubelet in three lines.

use futures::future::BoxFuture;
use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RecordType};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, Config, Resource};
use mizzen_apiserver::{ApiServer, NoNode, RunningApiServer, ServerConfig};
use mizzen_sandbox::controllers::{
    self, ControllerContext, Controllers, Forward, Frontend, Publisher, ServiceTable,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt::Debug;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_stream::StreamExt;

/// A test that waits longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Publishes on a free port whatever port is asked for, so that tests run side by side.
struct AnyPort;

impl Publisher for AnyPort {
    fn publish(&self, host_port: u16) -> BoxFuture<'_, io::Result<TcpListener>> {
        Box::pin(TcpListener::bind((Ipv4Addr::LOCALHOST, host_port)))
    }
}

/// Keeps the last table where the test can see it.
struct Table(watch::Sender<Vec<Forward>>);

impl ServiceTable for Table {
    fn replace(&self, forwards: &[Forward]) -> io::Result<()> {
        self.0.send_replace(forwards.to_vec());
        Ok(())
    }
}

/// What a test can hold of any kind.
pub trait Object:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
    + Send
    + Sync
    + 'static
{
}
impl<K> Object for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize
        + Send
        + Sync
        + 'static
{
}

pub struct Cluster {
    client: Client,
    table: watch::Receiver<Vec<Forward>>,
    dns: SocketAddr,
    // Stopped in this order.
    _controllers: Controllers,
    _server: RunningApiServer,
    _state: tempfile::TempDir,
}

impl Cluster {
    pub async fn start() -> Self {
        mizzen_identity::install_crypto_provider();
        let state = tempfile::tempdir().expect("a folder");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
        let SocketAddr::V4(api_address) = listener.local_addr().expect("an address") else { panic!("IPv4") };
        let config = ServerConfig::new(state.path().to_owned(), vec![listener], Arc::new(NoNode));
        let server = ApiServer::start(config).await.expect("an API server");
        let kubeconfig = Kubeconfig::from_yaml(&server.kubeconfig(&format!("https://{api_address}")))
            .expect("a kubeconfig");
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .expect("a config");
        let client = Client::try_from(config).expect("a client");
        let (sender, table) = watch::channel(Vec::new());
        let context = ControllerContext {
            node_name: "node".into(),
            node_address: Ipv4Addr::LOCALHOST,
            api_address: SocketAddrV4::new(Ipv4Addr::new(10, 244, 0, 1), api_address.port()),
            kubernetes_service_address: Ipv4Addr::new(10, 96, 0, 1),
            cluster_ca_pem: server.ca_pem().to_owned(),
            cluster_domain: "cluster.local".into(),
            dns_address: "127.0.0.1:0".parse().expect("an address"),
            published_ports: Vec::new(),
            publisher: Arc::new(AnyPort),
            upstream: None,
            service_table: Arc::new(Table(sender)),
        };
        let controllers = controllers::start(client.clone(), context).await.expect("controllers");
        controllers.synced().await;
        let dns = controllers.cluster().context.dns_address;
        Self { client, table, dns, _controllers: controllers, _server: server, _state: state }
    }

    fn api<K: Object>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), "default")
    }

    /// Makes every pod Running and Ready at 127.0.0.1, until the handle is dropped.
    pub fn kubelet(&self) -> Kubelet {
        let api: Api<Pod> = self.api();
        Kubelet(tokio::spawn(async move {
            let mut pods = std::pin::pin!(watcher(api.clone(), watcher::Config::default()).applied_objects());
            while let Some(Ok(pod)) = pods.next().await {
                let started = pod.status.as_ref().is_some_and(|status| status.pod_ip.is_some());
                if let Some(name) = pod.metadata.name.filter(|_| !started) {
                    // It may be deleted meanwhile.
                    let _ =
                        api.patch_status(&name, &PatchParams::default(), &Patch::Merge(running(true))).await;
                }
            }
        }))
    }

    pub async fn set_ready(&self, pod: &str, ready: bool) {
        self.patch_pod_status(pod, running(ready)).await;
    }

    pub async fn set_phase(&self, pod: &str, phase: &str) {
        self.patch_pod_status(pod, json!({"status": {"phase": phase}})).await;
    }

    async fn patch_pod_status(&self, pod: &str, patch: Value) {
        let api: Api<Pod> = self.api();
        api.patch_status(pod, &PatchParams::default(), &Patch::Merge(patch)).await.expect("a status");
    }

    pub async fn create<K: Object>(&self, object: Value) -> K {
        let object: K = serde_json::from_value(object).expect("an object");
        self.api().create(&PostParams::default(), &object).await.expect("created")
    }

    pub async fn merge<K: Object>(&self, name: &str, patch: Value) -> K {
        self.api().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.expect("patched")
    }

    pub async fn delete<K: Object>(&self, name: &str) {
        self.api::<K>().delete(name, &DeleteParams::default()).await.expect("deleted");
    }

    pub async fn list<K: Object>(&self) -> Vec<K> {
        self.api().list(&ListParams::default()).await.expect("a list").items
    }

    /// Waits until the named object is as wanted.
    pub async fn until<K: Object>(&self, name: &str, wanted: impl Fn(&K) -> bool) -> K {
        self.until_any(|object: &K| object.meta().name.as_deref() == Some(name) && wanted(object)).await
    }

    /// Waits until any object is as wanted.
    pub async fn until_any<K: Object>(&self, wanted: impl Fn(&K) -> bool) -> K {
        let mut objects =
            std::pin::pin!(watcher(self.api::<K>(), watcher::Config::default()).applied_objects());
        let mut last = HashMap::new();
        let waiting = async {
            loop {
                let object = objects.next().await.expect("an endless stream").expect("a watch");
                if wanted(&object) {
                    return object;
                }
                last.insert(object.meta().name.clone(), object);
            }
        };
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(object) => object,
            Err(_) => panic!("no {} became as wanted; last seen: {last:#?}", K::kind(&())),
        }
    }

    /// Waits until no object of this kind is left.
    pub async fn until_none<K: Object>(&self) {
        let mut events = std::pin::pin!(watcher(self.api::<K>(), watcher::Config::default()));
        let waiting = async {
            while !self.list::<K>().await.is_empty() {
                events.next().await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("all gone");
    }

    /// Waits until the kernel's table would forward this address to exactly these.
    pub async fn until_forward(&self, frontend: &str, backends: &[String]) {
        let frontend = Frontend::Address(frontend.parse().expect("an address"));
        let wanted = |table: &Vec<Forward>| {
            table.iter().any(|forward| {
                forward.frontend == frontend
                    && forward.backends.iter().map(ToString::to_string).eq(backends.iter().cloned())
            })
        };
        let mut table = self.table.clone();
        tokio::time::timeout(PATIENCE, table.wait_for(wanted)).await.expect("in time").expect("a table");
    }

    /// Waits until nothing listens on a port of the host.
    pub async fn until_closed(&self, port: u16) {
        let waiting = async {
            while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("closed");
    }

    /// The addresses cluster DNS gives for a name.
    pub async fn resolve(&self, name: &str) -> Vec<String> {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let mut query = Message::query();
        query.add_query(Query::query(Name::from_str(name).expect("a name"), RecordType::A));
        socket.send_to(&query.to_vec().expect("bytes"), self.dns).await.expect("sent");
        let mut buffer = [0_u8; 2048];
        let length = socket.recv(&mut buffer).await.expect("an answer");
        let answer = Message::from_vec(&buffer[..length]).expect("a message");
        answer.answers.iter().map(|record| record.data.to_string()).collect()
    }
}

fn running(ready: bool) -> Value {
    let status = if ready { "True" } else { "False" };
    json!({"status": {"phase": "Running", "podIP": "127.0.0.1",
        "conditions": [{"type": "Ready", "status": status, "lastTransitionTime": "2026-01-01T00:00:00Z"}]}})
}

/// Stops with the test.
pub struct Kubelet(JoinHandle<()>);

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A server that says one thing to everybody.
pub async fn backend(says: &'static str) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let address = listener.local_addr().expect("an address");
    let serving = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(says.as_bytes()).await;
        }
    });
    (address, serving)
}

/// What a port of the host says.
pub async fn read_all(port: u16) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.expect("connected");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("text");
    text
}
