//! What a cluster has from the start, and puts back when someone deletes it: the system namespaces,
//! a ServiceAccount and the cluster's certificates in every namespace, and the Services of the API
//! and of DNS.

use super::cache::{Cache, Change, ObjectKey};
use super::cluster::Cluster;
use super::endpoint_slice::SERVICE_NAME;
use super::queue::{ControllerError, Next, WorkQueue};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, PostParams};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use tokio::task::JoinSet;

const CONTROLLER: &str = "bootstrap";
const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];
const ROOT_CERTIFICATE: &str = "kube-root-ca.crt";

/// Creates what is missing, for ever.
pub fn start(cluster: &Arc<Cluster>, tasks: &mut JoinSet<()>) {
    let queue = WorkQueue::default();
    let accounts: Cache<ServiceAccount> = Cache::default();
    let certificates: Cache<ConfigMap> = Cache::default();
    let namespaces = queue.clone();
    cluster.namespaces.on_change(move |change: &Change<'_, Namespace>| {
        for namespace in change.before.into_iter().chain(change.after) {
            namespaces.add(namespace_key(namespace.metadata.name.as_deref()));
        }
    });
    let by_account = queue.clone();
    accounts.on_change(move |change: &Change<'_, ServiceAccount>| {
        for account in change.before.into_iter().chain(change.after) {
            by_account.add(namespace_key(account.metadata.namespace.as_deref()));
        }
    });
    let by_certificate = queue.clone();
    certificates.on_change(move |change: &Change<'_, ConfigMap>| {
        for map in change.before.into_iter().chain(change.after) {
            by_certificate.add(namespace_key(map.metadata.namespace.as_deref()));
        }
    });
    let by_service = queue.clone();
    cluster.services.on_change(move |change: &Change<'_, Service>| {
        for service in change.before.into_iter().chain(change.after) {
            let key = ObjectKey::of(&service.metadata);
            if is_system_service(&key) {
                by_service.add(key);
            }
        }
    });
    let by_slice = queue.clone();
    cluster.slices.on_change(move |change: &Change<'_, EndpointSlice>| {
        for slice in change.before.into_iter().chain(change.after) {
            let key = ObjectKey::of(&slice.metadata);
            if is_system_service(&key) {
                by_slice.add(key);
            }
        }
    });
    for namespace in NAMESPACES {
        queue.add(namespace_key(Some(namespace)));
    }
    queue.add(ObjectKey::new("default", "kubernetes"));
    queue.add(ObjectKey::new("kube-system", "kube-dns"));
    let all_accounts = Api::all(cluster.client.clone());
    tasks.spawn(accounts.clone().follow(all_accounts, Some("metadata.name=default")));
    let all_maps = Api::all(cluster.client.clone());
    tasks.spawn(certificates.clone().follow(all_maps, Some("metadata.name=kube-root-ca.crt")));
    let cluster = cluster.clone();
    tasks.spawn(async move {
        queue
            .work(CONTROLLER, |key| {
                let (cluster, accounts, certificates) =
                    (cluster.clone(), accounts.clone(), certificates.clone());
                async move {
                    if key.namespace.is_empty() {
                        ensure_namespace(&cluster, &accounts, &certificates, &key.name).await
                    } else {
                        ensure_service(&cluster, &key).await
                    }
                }
            })
            .await;
    });
}

fn namespace_key(name: Option<&str>) -> ObjectKey {
    ObjectKey::new("", name.unwrap_or_default())
}

fn is_system_service(key: &ObjectKey) -> bool {
    matches!(
        (key.namespace.as_str(), key.name.as_str()),
        ("default", "kubernetes") | ("kube-system", "kube-dns")
    )
}

async fn ensure_namespace(
    cluster: &Cluster,
    accounts: &Cache<ServiceAccount>,
    certificates: &Cache<ConfigMap>,
    name: &str,
) -> Result<Next, ControllerError> {
    let namespace = cluster.namespaces.get(&namespace_key(Some(name)));
    match &namespace {
        Some(namespace) if namespace.metadata.deletion_timestamp.is_some() => return Ok(Next::OnChange),
        Some(_) => {}
        None if NAMESPACES.contains(&name) => {
            create_missing::<Namespace>(
                Api::all(cluster.client.clone()),
                json!({"metadata": {"name": name}}),
            )
            .await?;
        }
        None => return Ok(Next::OnChange),
    }
    if accounts.get(&ObjectKey::new(name, "default")).is_none() {
        let account = json!({"metadata": {"name": "default", "namespace": name}});
        create_missing::<ServiceAccount>(Api::namespaced(cluster.client.clone(), name), account).await?;
    }
    let wanted = BTreeMap::from([("ca.crt".to_owned(), cluster.context.cluster_ca_pem.clone())]);
    let key = ObjectKey::new(name, ROOT_CERTIFICATE);
    match certificates.get(&key) {
        Some(map) if map.data.as_ref() == Some(&wanted) => {}
        Some(_) => {
            cluster.merge(certificates, &key, json!({"data": wanted})).await?;
        }
        None => {
            let map = json!({"metadata": {"name": ROOT_CERTIFICATE, "namespace": name}, "data": wanted});
            create_missing::<ConfigMap>(Api::namespaced(cluster.client.clone(), name), map).await?;
        }
    }
    Ok(Next::OnChange)
}

/// Creates an object unless it is there already.
async fn create_missing<K>(api: Api<K>, object: Value) -> Result<(), ControllerError>
where
    K: Clone + DeserializeOwned + Serialize + Debug,
{
    let object: K = serde_json::from_value(object)
        .map_err(|error| ControllerError::Invalid(format!("a built-in object does not parse: {error}")))?;
    match api.create(&PostParams::default(), &object).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(error) => Err(error.into()),
    }
}

async fn ensure_service(cluster: &Cluster, key: &ObjectKey) -> Result<Next, ControllerError> {
    let context = &cluster.context;
    let (service, slice) = if key.name == "kubernetes" {
        let port = json!([{"name": "https", "port": 443, "protocol": "TCP", "targetPort": context.api_address.port()}]);
        let labels = json!({"component": "apiserver", "provider": "kubernetes"});
        (
            service(key, labels, &context.kubernetes_service_address.to_string(), port),
            slice(
                key,
                &context.api_address.ip().to_string(),
                json!([{"name": "https", "port": context.api_address.port(), "protocol": "TCP"}]),
            ),
        )
    } else {
        let port = context.dns_address.port();
        let address = context.dns_address.ip().to_string();
        let service_ports = json!([
            {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": port},
            {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": port},
        ]);
        let ports = json!([
            {"name": "dns", "port": port, "protocol": "UDP"},
            {"name": "dns-tcp", "port": port, "protocol": "TCP"},
        ]);
        let labels = json!({"k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true"});
        (service(key, labels, &address, service_ports), slice(key, &address, ports))
    };
    if cluster.services.get(key).is_none() {
        create_missing::<Service>(Api::namespaced(cluster.client.clone(), &key.namespace), service).await?;
    }
    match cluster.slices.get(key) {
        // The API's port may be another one after a restart.
        Some(current) => {
            let wanted: EndpointSlice = serde_json::from_value(slice.clone()).map_err(|error| {
                ControllerError::Invalid(format!("a built-in object does not parse: {error}"))
            })?;
            if current.ports != wanted.ports || current.endpoints != wanted.endpoints {
                cluster.merge(&cluster.slices, key, slice).await?;
            }
        }
        None => {
            create_missing::<EndpointSlice>(Api::namespaced(cluster.client.clone(), &key.namespace), slice)
                .await?;
        }
    }
    Ok(Next::OnChange)
}

fn service(key: &ObjectKey, labels: Value, cluster_ip: &str, ports: Value) -> Value {
    json!({
        "metadata": {"name": key.name, "namespace": key.namespace, "labels": labels},
        "spec": {"type": "ClusterIP", "clusterIP": cluster_ip, "clusterIPs": [cluster_ip], "ports": ports},
    })
}

fn slice(key: &ObjectKey, address: &str, ports: Value) -> Value {
    json!({
        "metadata": {"name": key.name, "namespace": key.namespace, "labels": {SERVICE_NAME: key.name}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": true}}],
        "ports": ports,
    })
}
