//! Tokens, evictions and bindings: small requests with small answers.

use serde_json::{Value, json};

use crate::api::Api;
use crate::auth::TokenRequest;
use crate::error::{ApiError, FieldError};
use crate::http::response::{self, Answer};
use crate::http::service::Call;
use crate::object::{self, integer, items, set, text, text_or_empty};
use crate::operations::delete::{self, DeleteOptions};

/// `serviceaccounts/NAME/token`.
pub(super) fn token(api: &Api, call: &Call, request: &Value) -> Result<Answer, ApiError> {
    let (namespace, name, _) = call.place();
    let account = api.find(&call.resource, namespace, name)?;
    let invalid = |error| ApiError::invalid("authentication.k8s.io", "TokenRequest", "", &[error]);
    let expiration = integer(request, &["spec", "expirationSeconds"]);
    if let Some(seconds) = expiration
        && seconds < 600
    {
        let detail = "may not specify a duration less than 10 minutes";
        return Err(invalid(FieldError::invalid("spec.expirationSeconds", &seconds.into(), detail)));
    }
    let (bound_to, node) =
        match object::at(request, &["spec", "boundObjectRef"]).filter(|bound| bound.is_object()) {
            Some(bound) => bound_object(api, call, &account.object, bound)?,
            None => (None, None),
        };
    let audiences: Vec<String> =
        items(request, &["spec", "audiences"]).iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let wanted = TokenRequest {
        namespace: namespace.to_owned(),
        account: name.to_owned(),
        account_uid: object::uid(&account.object).to_owned(),
        audiences: audiences.clone(),
        expiration_seconds: expiration,
        bound_to,
        node,
    };
    let (token, expires) = api.tokens.issue(&wanted).map_err(ApiError::internal)?;
    let mut answer = request.clone();
    set(&mut answer, &["kind"], "TokenRequest");
    set(&mut answer, &["apiVersion"], "authentication.k8s.io/v1");
    set(
        &mut answer,
        &["metadata"],
        json!({"name": name, "namespace": namespace, "creationTimestamp": object::now()}),
    );
    if audiences.is_empty() {
        set(&mut answer, &["spec", "audiences"], json!([crate::auth::tokens::ISSUER]));
    }
    object::set_default(&mut answer, &["spec", "expirationSeconds"], 3600);
    set(&mut answer, &["status"], json!({"token": token, "expirationTimestamp": object::time(expires)}));
    Ok(response::object(201, &answer, call.accepted))
}

type Bound = (Option<(String, String, String)>, Option<(String, String)>);

/// What a token is to be bound to: it must exist, and a pod must run as the account.
fn bound_object(api: &Api, call: &Call, account: &Value, bound: &Value) -> Result<Bound, ApiError> {
    let namespace = call.path.namespace.as_str();
    let (kind, name) = (object::kind(bound), text_or_empty(bound, &["name"]));
    let collection = match kind {
        "Pod" => "/pods",
        "Secret" => "/secrets",
        "Node" => "/nodes",
        other => {
            return Err(ApiError::bad_request(format!(
                "cannot bind token to object of type v1, Kind={other}"
            )));
        }
    };
    let space = if kind == "Node" { "" } else { namespace };
    let plural = collection.trim_start_matches('/');
    let named = crate::error::Named { group: "", plural, name };
    let found = api.store.get(collection, space, name).ok_or_else(|| ApiError::not_found(named))?;
    let uid = object::uid(&found.object);
    if let Some(wanted) = text(bound, &["uid"]).filter(|wanted| !wanted.is_empty() && *wanted != uid) {
        let why = format!(
            "the UID in the bound object reference ({wanted}) does not match the UID in record. The object might have been deleted and then recreated"
        );
        return Err(ApiError::conflict(named, &why));
    }
    let mut node = None;
    if kind == "Pod" {
        let runs_as = text(&found.object, &["spec", "serviceAccountName"]).unwrap_or("default");
        if runs_as != object::name(account) {
            return Err(ApiError::bad_request(format!(
                "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
                object::name(account)
            )));
        }
        node = text(&found.object, &["spec", "nodeName"]).map(|name| {
            let stored = api.store.get("/nodes", "", name);
            (name.to_owned(), stored.map(|node| object::uid(&node.object).to_owned()).unwrap_or_default())
        });
    }
    Ok((Some((kind.to_owned(), name.to_owned(), uid.to_owned())), node))
}

/// `pods/NAME/eviction`: a deletion that respects disruption budgets.
pub(super) async fn evict(api: &Api, call: &Call, eviction: &Value) -> Result<Answer, ApiError> {
    let (namespace, name, _) = call.place();
    let pod = api.find(&call.resource, namespace, name)?;
    for budget in api.store.list("policy/poddisruptionbudgets", Some(namespace)).0 {
        let selector = object::at(&budget.object, &["spec", "selector"]).cloned().unwrap_or_default();
        let selects = crate::selector::LabelSelector::from_object(&selector)
            .is_ok_and(|selector| selector.matches(&pod.object));
        let allowed = integer(&budget.object, &["status", "disruptionsAllowed"]);
        if selects && allowed == Some(0) {
            return Err(ApiError::too_many_requests(
                "Cannot evict pod as it would violate the pod's disruption budget.",
            ));
        }
    }
    let how = DeleteOptions::from_body(eviction.get("deleteOptions").unwrap_or(&Value::Null))?;
    delete::delete(api, &call.resource, namespace, name, &how, &call.write_options()?).await?;
    let done =
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    Ok(response::object(201, &done, call.accepted))
}

/// `pods/NAME/binding`: a scheduler's decision.
pub(super) fn bind(api: &Api, call: &Call, binding: &Value) -> Result<Answer, ApiError> {
    let (namespace, name, _) = call.place();
    let node = text_or_empty(binding, &["target", "name"]);
    if node.is_empty() {
        let error = FieldError::required("target.name", "");
        return Err(ApiError::invalid("", "Binding", name, &[error]));
    }
    let pod = api.find(&call.resource, namespace, name)?;
    let taken = text_or_empty(&pod.object, &["spec", "nodeName"]);
    if !taken.is_empty() {
        let why = format!("pod {name} is already assigned to node {taken:?}");
        return Err(ApiError::conflict(call.resource.named(name), &why));
    }
    delete::rewrite(api, &Api::location(&call.resource, &pod.object), |pod| {
        set(pod, &["spec", "nodeName"], node);
        let mut conditions: Vec<Value> = items(pod, &["status", "conditions"]).to_vec();
        conditions.retain(|condition| text(condition, &["type"]) != Some("PodScheduled"));
        conditions.push(json!({
            "type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": object::now(),
        }));
        set(pod, &["status", "conditions"], conditions);
    });
    let done =
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    Ok(response::object(201, &done, call.accepted))
}
