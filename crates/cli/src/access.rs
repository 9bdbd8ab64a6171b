//! How the commands reach a mesh: a kubeconfig, and requests through a forwarded port of a pod.

use anyhow::{Context as _, bail};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use std::path::PathBuf;

/// The largest answer read from a proxy or the control plane; a configuration dump of
/// thousands of clusters stays far below it.
const LARGEST_ANSWER: usize = 512 << 20;

/// The flags that every command which talks to a mesh understands.
#[derive(Clone, Debug, clap::Args)]
pub struct AccessOptions {
    /// Kubernetes configuration file; default: $KUBECONFIG, the running `mizzen up`, ~/.kube/config
    #[arg(short = 'c', long, global = true)]
    pub kubeconfig: Option<PathBuf>,
    /// Context of that file to use
    #[arg(long, global = true)]
    pub context: Option<String>,
    /// Namespace to look in; default: that of the context
    #[arg(short = 'n', long, global = true)]
    pub namespace: Option<String>,
    /// Namespace of the control plane
    #[arg(short = 'i', long = "istioNamespace", global = true, default_value = "istio-system")]
    pub istio_namespace: String,
}

/// A connected client and the namespace in use.
#[derive(Clone)]
pub struct Access {
    /// Client of the Kubernetes API.
    pub client: kube::Client,
    /// The namespace asked for, or that of the context.
    pub namespace: String,
    /// The control plane's namespace.
    pub istio_namespace: String,
}

impl AccessOptions {
    /// Reads the configuration and connects.
    pub async fn connect(&self) -> anyhow::Result<Access> {
        let config = self.config().await?;
        let namespace = self.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = kube::Client::try_from(config).context("cannot use the Kubernetes configuration")?;
        Ok(Access { client, namespace, istio_namespace: self.istio_namespace.clone() })
    }

    async fn config(&self) -> anyhow::Result<kube::Config> {
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        if let Some(path) = self.kubeconfig_path() {
            let file = Kubeconfig::read_from(&path)
                .with_context(|| format!("cannot read the Kubernetes configuration {}", path.display()))?;
            return Ok(kube::Config::from_custom_kubeconfig(file, &options).await?);
        }
        let found = kube::Config::from_kubeconfig(&options).await;
        // In a pod there is no file, and no context to choose.
        if found.is_err()
            && self.context.is_none()
            && let Ok(config) = kube::Config::incluster()
        {
            return Ok(config);
        }
        found.context(
            "no Kubernetes configuration to use: start a mesh with `mizzen up`, set KUBECONFIG, or pass --kubeconfig",
        )
    }

    /// The flag, else what the environment names, else that of the mesh running on this machine.
    fn kubeconfig_path(&self) -> Option<PathBuf> {
        if let Some(path) = &self.kubeconfig {
            return Some(path.clone());
        }
        if std::env::var_os("KUBECONFIG").is_some() {
            return None;
        }
        let local = mizzen_base::state::default_folder().join("kubeconfig");
        local.exists().then_some(local)
    }
}

impl Access {
    /// Pods of `namespace` with a label selector, running ones only, sorted by name.
    pub async fn running_pods(&self, namespace: &str, selector: &str) -> anyhow::Result<Vec<Pod>> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let list = pods
            .list(&ListParams::default().labels(selector))
            .await
            .with_context(|| format!("cannot list pods of namespace {namespace}"))?;
        let mut running: Vec<Pod> = list.items.into_iter().filter(is_running).collect();
        running.sort_by(|left, right| left.metadata.name.cmp(&right.metadata.name));
        Ok(running)
    }

    /// The running pods of all namespaces, in no particular order.
    pub async fn all_running_pods(&self) -> anyhow::Result<Vec<Pod>> {
        let pods: Api<Pod> = Api::all(self.client.clone());
        let list = pods.list(&ListParams::default()).await.context("cannot list the pods")?;
        Ok(list.items.into_iter().filter(is_running).collect())
    }

    /// The control plane's pods; an error that says so where there is none.
    pub async fn control_plane_pods(&self) -> anyhow::Result<Vec<Pod>> {
        let pods = self.running_pods(&self.istio_namespace, "app=istiod").await?;
        if pods.is_empty() {
            bail!(
                "no running control plane (pods labelled app=istiod) in namespace {}; is the mesh installed?",
                self.istio_namespace
            );
        }
        Ok(pods)
    }

    /// Resolves `[TYPE/]NAME[.NAMESPACE]` to a pod: types pod (default), deployment, service.
    pub async fn resolve_pod(&self, target: &str) -> anyhow::Result<(String, String)> {
        let (kind, rest) = target.split_once('/').unwrap_or(("pod", target));
        let (name, namespace) = match rest.split_once('.') {
            Some((name, namespace)) => (name.to_owned(), namespace.to_owned()),
            None => (rest.to_owned(), self.namespace.clone()),
        };
        match kind {
            "pod" | "pods" | "po" => {
                let pods: Api<Pod> = Api::namespaced(self.client.clone(), &namespace);
                let found = pods.get_opt(&name).await?;
                if found.is_none() {
                    bail!(
                        "unable to find pod {name} in namespace {namespace}; `kubectl get pods -n {namespace}` lists them"
                    );
                }
                Ok((name, namespace))
            }
            "deployment" | "deploy" | "deployments" => {
                let deployments: Api<k8s_openapi::api::apps::v1::Deployment> =
                    Api::namespaced(self.client.clone(), &namespace);
                let deployment = deployments.get(&name).await?;
                let selector =
                    deployment.spec.map(|spec| spec.selector).and_then(|selector| selector.match_labels);
                self.first_pod(&namespace, selector.unwrap_or_default(), target).await
            }
            "service" | "svc" | "services" => {
                let services: Api<k8s_openapi::api::core::v1::Service> =
                    Api::namespaced(self.client.clone(), &namespace);
                let selector = services.get(&name).await?.spec.and_then(|spec| spec.selector);
                self.first_pod(&namespace, selector.unwrap_or_default(), target).await
            }
            other => bail!("'{other}' is not a type that has pods; use pod/, deployment/ or service/"),
        }
    }

    async fn first_pod(
        &self,
        namespace: &str,
        labels: std::collections::BTreeMap<String, String>,
        target: &str,
    ) -> anyhow::Result<(String, String)> {
        let selector: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let pods = self.running_pods(namespace, &selector.join(",")).await?;
        let name = pods.into_iter().find_map(|pod| pod.metadata.name);
        Ok((
            name.with_context(|| format!("no running pod behind {target} in namespace {namespace}"))?,
            namespace.to_owned(),
        ))
    }

    /// One HTTP request to a port of a pod, through the API server.
    pub async fn request(
        &self,
        namespace: &str,
        pod: &str,
        port: u16,
        method: http::Method,
        path: &str,
    ) -> anyhow::Result<(http::StatusCode, bytes::Bytes)> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let mut forwarder = pods
            .portforward(pod, &[port])
            .await
            .with_context(|| format!("cannot forward port {port} of pod {pod}.{namespace}"))?;
        let stream = forwarder.take_stream(port).context("the API server forwarded no stream")?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .with_context(|| format!("port {port} of pod {pod}.{namespace} does not speak HTTP"))?;
        let driver = tokio::spawn(connection);
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::HOST, "localhost")
            .body(Empty::<bytes::Bytes>::new())?;
        let response = sender
            .send_request(request)
            .await
            .with_context(|| format!("no answer on port {port} of pod {pod}.{namespace}"))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LARGEST_ANSWER)
            .collect()
            .await
            .map_err(|error| anyhow::anyhow!("the answer of pod {pod}.{namespace} broke off: {error}"))?;
        drop(sender);
        driver.abort();
        Ok((status, body.to_bytes()))
    }

    /// A GET that must succeed.
    pub async fn get(
        &self,
        namespace: &str,
        pod: &str,
        port: u16,
        path: &str,
    ) -> anyhow::Result<bytes::Bytes> {
        let (status, body) = self.request(namespace, pod, port, http::Method::GET, path).await?;
        if !status.is_success() {
            bail!(
                "pod {pod}.{namespace} answered {status} to {path}: {}",
                String::from_utf8_lossy(&body).trim()
            );
        }
        Ok(body)
    }
}

fn is_running(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none()
        && pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running")
}
