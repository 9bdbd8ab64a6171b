//! Admission webhooks: `/inject` adds sidecars to pods, `/validate` refuses Istio's resources that
//! cannot work. Neither blocks what is none of its business.

use crate::config::ControlConfig;
use crate::metrics::Metrics;
use crate::push::Mesh;
use axum::extract::{DefaultBodyLimit, State};
use axum::routing::post;
use axum::{Json, Router};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{Api, Client};
use mizzen_api::{Kind, Severity, Violation};
use mizzen_inject::{Decision, InjectionConfig};
use mizzen_registry::InjectionSettings;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;

/// The API sends objects of at most 3 MiB, and old and new at times.
const BODY_BYTES: usize = 8 << 20;

/// What the webhooks work with.
#[derive(Clone)]
pub(crate) struct Admission {
    pub(crate) mesh: Arc<Mesh>,
    pub(crate) settings: watch::Receiver<Arc<InjectionSettings>>,
    pub(crate) client: Client,
    pub(crate) config: Arc<ControlConfig>,
    pub(crate) metrics: Arc<Metrics>,
}

/// The webhooks' routes. Istio's injection URLs may carry `/cluster/…/net/…` after `/inject`.
pub(crate) fn routes(admission: Admission) -> Router {
    Router::new()
        .route("/inject", post(inject))
        .route("/inject/{*settings}", post(inject))
        .route("/validate", post(validate))
        .route("/validate/{*settings}", post(validate))
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .with_state(admission)
}

async fn inject(State(admission): State<Admission>, Json(review): Json<Value>) -> Json<Value> {
    admission.metrics.injections.add(&[], 1);
    let review = Review::of(review);
    let answer = match admission.inject(&review).await {
        Ok(answer) => answer,
        Err(reason) => {
            admission.metrics.injection_failures.add(&[], 1);
            tracing::warn!(namespace = review.namespace, pod = review.name, "refused to inject: {reason}");
            Answer::deny(reason)
        }
    };
    Json(review.answered(answer))
}

async fn validate(State(admission): State<Admission>, Json(review): Json<Value>) -> Json<Value> {
    let review = Review::of(review);
    let answer = admission.validate(&review);
    Json(review.answered(answer))
}

impl Admission {
    async fn inject(&self, review: &Review) -> Result<Answer, String> {
        // Deletions and the like, or something that is not a pod.
        if review.object.is_null() {
            return Ok(Answer::allow());
        }
        let pod: Pod = serde_json::from_value(review.object.clone()).map_err(|error| error.to_string())?;
        let labels = self.namespace_labels(&review.namespace).await;
        let decision = mizzen_inject::inject(&pod, &review.namespace, &labels, &self.injection_config())
            .map_err(|error| error.to_string())?;
        match decision {
            Decision::Skip(reason) => {
                self.metrics.injection_skips.add(&[], 1);
                tracing::debug!(namespace = review.namespace, pod = review.name, "not injected: {reason}");
                Ok(Answer::allow())
            }
            Decision::Inject(injected) => {
                let patch = patch_between(&pod, &injected.pod).map_err(|error| error.to_string())?;
                self.metrics.injected.add(&[], 1);
                tracing::info!(namespace = review.namespace, pod = review.name, "injected a sidecar");
                Ok(Answer { patch: Some(patch), warnings: injected.warnings, ..Answer::allow() })
            }
        }
    }

    fn validate(&self, review: &Review) -> Answer {
        let labels = [review.group.as_str(), &review.version, &review.resource];
        // Deletions, and kinds that are not ours, whoever sent them here.
        if review.object.is_null() || Kind::of_resource(&review.group, &review.resource).is_none() {
            return Answer::allow();
        }
        let (errors, warnings): (Vec<_>, Vec<_>) = judge(review.object.clone())
            .into_iter()
            .partition(|violation| violation.severity == Severity::Error);
        let warnings = warnings.iter().map(Violation::to_string).collect();
        if errors.is_empty() {
            self.metrics.validation_passed.add(&labels, 1);
            return Answer { warnings, ..Answer::allow() };
        }
        let [group, version, resource] = labels;
        self.metrics.validation_failed.add(&[group, version, resource, "invalid_resource"], 1);
        Answer { warnings, ..Answer::deny(refusal(&errors)) }
    }
}

/// The JSON patch between a pod and the same pod injected. The difference is taken between the two
/// as our types have them, so fields that are newer than our types are left alone.
fn patch_between(before: &Pod, after: &Pod) -> Result<Value, serde_json::Error> {
    serde_json::to_value(mizzen_inject::patch(&serde_json::to_value(before)?, after)?)
}

/// A review, as far as we look at it. Read by hand: a request of a newer API may have more, and
/// what we do not need must not make us refuse.
struct Review {
    api_version: String,
    uid: String,
    namespace: String,
    name: String,
    group: String,
    version: String,
    resource: String,
    /// Null for deletions.
    object: Value,
}

/// What a review is answered with.
struct Answer {
    allowed: bool,
    message: String,
    warnings: Vec<String>,
    patch: Option<Value>,
}

impl Review {
    fn of(mut review: Value) -> Self {
        let text =
            |pointer: &str| review.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let generated = text("/request/object/metadata/generateName");
        let own = text("/request/object/metadata/name");
        Self {
            api_version: text("/apiVersion"),
            uid: text("/request/uid"),
            namespace: text("/request/namespace"),
            name: if own.is_empty() { generated } else { own },
            group: text("/request/resource/group"),
            version: text("/request/resource/version"),
            resource: text("/request/resource/resource"),
            object: review.pointer_mut("/request/object").map(Value::take).unwrap_or_default(),
        }
    }

    fn answered(&self, answer: Answer) -> Value {
        use base64::Engine;
        let mut response = json!({"uid": self.uid, "allowed": answer.allowed});
        if !answer.allowed {
            response["status"] = json!({"message": answer.message, "reason": "Invalid", "code": 400});
        }
        if !answer.warnings.is_empty() {
            response["warnings"] = json!(answer.warnings);
        }
        if let Some(patch) = answer.patch {
            let encoded = base64::engine::general_purpose::STANDARD.encode(patch.to_string());
            response["patchType"] = json!("JSONPatch");
            response["patch"] = json!(encoded);
        }
        let api_version = match self.api_version.as_str() {
            "" => "admission.k8s.io/v1",
            version => version,
        };
        json!({"apiVersion": api_version, "kind": "AdmissionReview", "response": response})
    }
}

impl Answer {
    fn allow() -> Self {
        Self { allowed: true, message: String::new(), warnings: Vec::new(), patch: None }
    }

    fn deny(message: String) -> Self {
        Self { allowed: false, message, ..Self::allow() }
    }
}

/// Everything that is wrong with an object of ours.
fn judge(object: Value) -> Vec<Violation> {
    match mizzen_api::parse(object) {
        Ok(config) => mizzen_api::validate(&config),
        Err(violations) => violations,
    }
}

/// All reasons at once, each with its field, so that one attempt shows everything to be mended.
fn refusal(errors: &[Violation]) -> String {
    match errors {
        [only] => format!("configuration is invalid: {only}"),
        many => {
            let lines: Vec<_> = many.iter().map(|error| format!("\n\t* {error}")).collect();
            format!("configuration is invalid: {} errors occurred:{}\n", many.len(), lines.concat())
        }
    }
}

impl Admission {
    /// The labels of a namespace. A namespace that is new, or was labelled a moment ago, may not
    /// have come by the watch yet; then the API is asked.
    async fn namespace_labels(&self, name: &str) -> BTreeMap<String, String> {
        let known = self.mesh.snapshot().namespace(name).cloned();
        if let Some(namespace) = known.filter(|namespace| namespace.injects()) {
            return namespace.labels.clone();
        }
        match Api::<Namespace>::all(self.client.clone()).get(name).await {
            Ok(namespace) => namespace.metadata.labels.unwrap_or_default(),
            Err(error) => {
                tracing::warn!(namespace = name, "its labels cannot be read, only the pod's count: {error}");
                BTreeMap::new()
            }
        }
    }

    fn injection_config(&self) -> InjectionConfig {
        let settings = self.settings.borrow().clone();
        InjectionConfig {
            image: self.config.image.clone(),
            revision: self.config.revision.clone(),
            ca_address: format!("istiod.{}.svc:{}", self.config.namespace, self.config.tls_address.port()),
            trust_domain: self.mesh.snapshot().mesh().trust_domain.clone(),
            cluster_id: self.config.cluster_id.clone(),
            proxy_config: settings.proxy_config.clone(),
            merge_prometheus: settings.merge_prometheus,
            cluster_domain: self.config.domain.clone(),
        }
    }
}

#[cfg(test)]
#[path = "admission_tests.rs"]
mod tests;
