//! Lists, in pages if asked for.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::api::{Api, presented};
use crate::error::ApiError;
use crate::http::query::Query;
use crate::object;
use crate::resources::Resource;
use crate::selector::{FieldSelector, LabelSelector};
use crate::store::Stored;

/// Which objects a list or a watch is about.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    /// `None` for all namespaces, or a cluster-scoped resource.
    pub namespace: Option<String>,
    pub labels: LabelSelector,
    pub fields: FieldSelector,
}

impl Scope {
    pub fn from_query(
        resource: &Resource,
        namespace: &str,
        name: &str,
        query: &Query,
    ) -> Result<Scope, ApiError> {
        let labels = LabelSelector::parse(query.text("labelSelector").unwrap_or_default())
            .map_err(|error| ApiError::bad_request(format!("unable to parse labelSelector: {error}")))?;
        let mut fields = query.text("fieldSelector").unwrap_or_default().to_owned();
        if !name.is_empty() {
            // A watch on one object's path is a watch for its name.
            fields = if fields.is_empty() {
                format!("metadata.name={name}")
            } else {
                format!("{fields},metadata.name={name}")
            };
        }
        let fields = FieldSelector::parse(&fields, resource).map_err(ApiError::bad_request)?;
        Ok(Scope { namespace: (!namespace.is_empty()).then(|| namespace.to_owned()), labels, fields })
    }

    pub fn contains(&self, object: &Value) -> bool {
        self.namespace.as_deref().is_none_or(|namespace| namespace == object::namespace(object))
            && self.labels.matches(object)
            && self.fields.matches(object)
    }
}

/// A page of objects.
pub(crate) struct Page {
    pub objects: Vec<Arc<Stored>>,
    pub revision: u64,
    pub continuation: Option<String>,
    pub remaining: Option<usize>,
}

/// Where the next page starts, and the revision the first page was of.
#[derive(Debug, PartialEq)]
struct Continuation {
    revision: u64,
    namespace: String,
    name: String,
}

impl Continuation {
    fn encode(&self) -> String {
        let token = json!({"v": "meta.k8s.io/v1", "rv": self.revision, "namespace": self.namespace, "name": self.name});
        URL_SAFE_NO_PAD.encode(token.to_string())
    }

    fn decode(token: &str) -> Option<Continuation> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let value: Value = serde_json::from_slice(&bytes).ok()?;
        Some(Continuation {
            revision: value.get("rv")?.as_u64()?,
            namespace: object::text(&value, &["namespace"])?.to_owned(),
            name: object::text(&value, &["name"])?.to_owned(),
        })
    }
}

/// One page. Later pages show the state of now: objects are not kept at old revisions, which Kubernetes calls an
/// inconsistent list and allows.
pub(crate) fn page(api: &Api, resource: &Resource, scope: &Scope, query: &Query) -> Result<Page, ApiError> {
    check_revision(api, query)?;
    let limit = query
        .number("limit")?
        .filter(|limit| *limit > 0)
        .map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let start = match query.text("continue") {
        None => None,
        Some(token) => Some(Continuation::decode(token).ok_or_else(|| {
            ApiError::bad_request("continue key is not valid: it did not come from this server")
        })?),
    };
    let (mut objects, revision) = match (scope.fields.single_name(), &scope.namespace) {
        (Some(name), Some(namespace)) => {
            let revision = api.store.revision();
            (api.store.get(&resource.collection, namespace, name).into_iter().collect(), revision)
        }
        _ => api.store.list(&resource.collection, scope.namespace.as_deref()),
    };
    objects.retain(|stored| scope.contains(&stored.object));
    if let Some(start) = &start {
        let after = (start.namespace.as_str(), start.name.as_str());
        objects.retain(|stored| (object::namespace(&stored.object), object::name(&stored.object)) > after);
    }
    let mut page = Page { objects, revision, continuation: None, remaining: None };
    if let Some(limit) = limit
        && page.objects.len() > limit
    {
        page.remaining = Some(page.objects.len() - limit);
        page.objects.truncate(limit);
        page.continuation = page.objects.last().map(|last| {
            Continuation {
                revision,
                namespace: object::namespace(&last.object).to_owned(),
                name: object::name(&last.object).to_owned(),
            }
            .encode()
        });
    }
    Ok(page)
}

/// A list is always of now, which satisfies every `resourceVersion` but one from the future or an exact one.
fn check_revision(api: &Api, query: &Query) -> Result<(), ApiError> {
    let matching = query.text("resourceVersionMatch");
    let Some(text) = query.text("resourceVersion") else {
        return match matching {
            Some(_) if query.optional_flag("sendInitialEvents")?.is_none() => Err(ApiError::bad_request(
                "resourceVersionMatch is forbidden unless resourceVersion is provided",
            )),
            _ => Ok(()),
        };
    };
    let wanted = revision(text)?;
    let now = api.store.revision();
    if wanted > now {
        let message = format!("Too large resource version: {wanted}, current: {now}");
        return Err(ApiError {
            code: 504,
            reason: "Timeout",
            message,
            details: Some(
                json!({"causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}], "retryAfterSeconds": 1}),
            ),
        });
    }
    if matching == Some("Exact") && wanted != now {
        return Err(ApiError::expired(format!(
            "The provided resource version {wanted} is not available any more: only the current state is kept"
        )));
    }
    Ok(())
}

/// Reads a `resourceVersion`.
pub(crate) fn revision(text: &str) -> Result<u64, ApiError> {
    text.parse()
        .map_err(|_| ApiError::bad_request(format!("invalid resource version {text:?}: must be a number")))
}

/// The list object of a page.
pub(crate) fn rendered(resource: &Resource, page: &Page, item: impl Fn(&Value) -> Value) -> Value {
    let items: Vec<Value> =
        page.objects.iter().map(|stored| item(&presented(resource, &stored.object))).collect();
    json!({
        "kind": resource.list_kind(),
        "apiVersion": resource.api_version(),
        "metadata": metadata(page),
        "items": items,
    })
}

/// `ListMeta` of a page.
pub(crate) fn metadata(page: &Page) -> Value {
    let mut metadata = json!({"resourceVersion": page.revision.to_string()});
    if let Some(continuation) = &page.continuation {
        object::set(&mut metadata, &["continue"], continuation.as_str());
    }
    if let Some(remaining) = page.remaining {
        object::set(&mut metadata, &["remainingItemCount"], remaining);
    }
    metadata
}
