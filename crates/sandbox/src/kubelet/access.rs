//! What the kubelet reads from the API for its pods.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::TokenRequest as ApiTokenRequest;
use k8s_openapi::api::core::v1::{ConfigMap, Container, Pod, Secret, Service, ServiceAccount};
use kube::api::{Api, ListParams, PostParams};
use serde_json::json;

use super::environment::Sources;
use super::volumes::{TokenRequest, VolumeError};

/// Reads for one pod.
#[derive(Clone)]
pub struct Access {
    client: kube::Client,
    namespace: String,
}

/// A service-account token.
#[derive(Clone, Debug)]
pub struct Token {
    /// The token.
    pub text: String,
    /// When to get the next one: at four fifths of its life.
    pub renew_at: Timestamp,
}

fn failed(what: &str) -> impl FnOnce(kube::Error) -> VolumeError {
    move |error| VolumeError::Api { what: what.to_owned(), reason: error.to_string() }
}

impl Access {
    /// Reads in the namespace of a pod.
    pub fn new(client: kube::Client, namespace: &str) -> Self {
        Self { client, namespace: namespace.to_owned() }
    }

    /// The ConfigMap, if it exists.
    pub async fn config_map(&self, name: &str) -> Result<Option<ConfigMap>, VolumeError> {
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        maps.get_opt(name).await.map_err(failed("a ConfigMap"))
    }

    /// The Secret, if it exists.
    pub async fn secret(&self, name: &str) -> Result<Option<Secret>, VolumeError> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        secrets.get_opt(name).await.map_err(failed("a Secret"))
    }

    /// Everything the container's environment may come from.
    pub async fn environment_sources(&self, container: &Container) -> Result<Sources, VolumeError> {
        let (maps, secrets) = environment_references(container);
        let mut sources = Sources { services: self.services().await?, ..Sources::default() };
        for name in maps {
            if let Some(map) = self.config_map(&name).await? {
                sources.config_maps.insert(name, map);
            }
        }
        for name in secrets {
            if let Some(secret) = self.secret(&name).await? {
                sources.secrets.insert(name, secret);
            }
        }
        Ok(sources)
    }

    async fn services(&self) -> Result<Vec<Service>, VolumeError> {
        let own: Api<Service> = Api::namespaced(self.client.clone(), &self.namespace);
        let mut services = own.list(&ListParams::default()).await.map_err(failed("the Services"))?.items;
        if self.namespace != "default" {
            let default: Api<Service> = Api::namespaced(self.client.clone(), "default");
            services.extend(default.get_opt("kubernetes").await.map_err(failed("the Service kubernetes"))?);
        }
        Ok(services)
    }

    /// A token of the pod's service account, bound to the pod.
    pub async fn token(&self, pod: &Pod, request: &TokenRequest) -> Result<Token, VolumeError> {
        let spec = pod.spec.as_ref();
        let account = spec.and_then(|spec| spec.service_account_name.as_deref()).unwrap_or("default");
        let audiences = if request.audience.is_empty() { json!([]) } else { json!([request.audience]) };
        let body = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {
                "audiences": audiences,
                "expirationSeconds": request.seconds,
                "boundObjectRef": {
                    "apiVersion": "v1", "kind": "Pod", "name": pod.metadata.name, "uid": pod.metadata.uid
                }
            }
        });
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &self.namespace);
        let answer: ApiTokenRequest = accounts
            .create_subresource("token", account, &PostParams::default(), &body)
            .await
            .map_err(failed("a service-account token"))?;
        let status = answer.status.ok_or_else(|| VolumeError::Api {
            what: "a service-account token".to_owned(),
            reason: "the answer has none".to_owned(),
        })?;
        let now = Timestamp::now();
        let life = status.expiration_timestamp.0.duration_since(now);
        let renew_at = now.checked_add(life * 4 / 5).unwrap_or(status.expiration_timestamp.0);
        Ok(Token { text: status.token, renew_at })
    }
}

/// The ConfigMaps and Secrets a container's environment names.
fn environment_references(container: &Container) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut maps, mut secrets) = (BTreeSet::new(), BTreeSet::new());
    for source in container.env_from.iter().flatten() {
        maps.extend(source.config_map_ref.as_ref().map(|reference| reference.name.clone()));
        secrets.extend(source.secret_ref.as_ref().map(|reference| reference.name.clone()));
    }
    for source in container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref()) {
        maps.extend(source.config_map_key_ref.as_ref().map(|reference| reference.name.clone()));
        secrets.extend(source.secret_key_ref.as_ref().map(|reference| reference.name.clone()));
    }
    (maps, secrets)
}
