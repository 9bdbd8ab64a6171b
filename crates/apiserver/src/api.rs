//! What every request works on, and the small steps they share.

use std::sync::Arc;

use arc_swap::ArcSwap;
use ipnet::Ipv4Net;
use parking_lot::Mutex;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::admission::WebhookClient;
use crate::auth::{Tokens, User};
use crate::error::ApiError;
use crate::node::NodeRuntime;
use crate::object;
use crate::resources::{Catalogue, Resource};
use crate::store::{Location, Store, Stored};

/// Where definitions are stored.
pub(crate) const DEFINITIONS: &str = "apiextensions.k8s.io/customresourcedefinitions";

/// The state of a running server.
pub(crate) struct Api {
    pub store: Store,
    pub catalogue: ArcSwap<Catalogue>,
    pub tokens: Tokens,
    pub node: Arc<dyn NodeRuntime>,
    pub service_range: Ipv4Net,
    /// Certificate that clients check this server by, PEM.
    pub authority_pem: String,
    /// Held while a Service gets its addresses and is written, so that none is given twice.
    pub service_addresses: Mutex<()>,
    pub webhooks: WebhookClient,
    pub stopping: CancellationToken,
}

/// How a change is to be made.
#[derive(Clone, Debug)]
pub(crate) struct WriteOptions {
    pub user: User,
    pub dry_run: bool,
    pub field_manager: String,
    pub field_validation: FieldValidation,
    /// Server-side apply has already written down who owns what.
    pub ownership_recorded: bool,
}

/// What is done about fields that the schema does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    Ignore,
    Warn,
    Strict,
}

/// A done request: what to answer.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub code: u16,
    pub object: Value,
    pub warnings: Vec<String>,
}

impl Outcome {
    pub fn new(code: u16, object: Value) -> Outcome {
        Outcome { code, object, warnings: Vec::new() }
    }
}

impl Api {
    /// Reads the definitions again; to be called after one was written.
    pub fn refresh_catalogue(&self) {
        self.catalogue.rcu(|previous| {
            let (definitions, _) = self.store.list(DEFINITIONS, None);
            let definitions: Vec<Value> = definitions.iter().map(|stored| stored.object.clone()).collect();
            Arc::new(Catalogue::new(&definitions, Some(previous)))
        });
    }

    /// One object, or the error that says it is not there.
    pub fn find(&self, resource: &Resource, namespace: &str, name: &str) -> Result<Arc<Stored>, ApiError> {
        self.store
            .get(&resource.collection, namespace, name)
            .ok_or_else(|| ApiError::not_found(resource.named(name)))
    }

    /// Where an object of a resource is.
    pub fn location(resource: &Resource, object: &Value) -> Location {
        Location {
            collection: resource.collection.clone(),
            namespace: object::namespace(object).to_owned(),
            name: object::name(object).to_owned(),
        }
    }
}

/// An object as the asked-for version shows it.
pub(crate) fn presented(resource: &Resource, object: &Value) -> Value {
    if resource.is("events.k8s.io", "events") {
        return crate::operations::events::to_new(object);
    }
    let mut shown = object.clone();
    object::set(&mut shown, &["apiVersion"], resource.api_version());
    object::set(&mut shown, &["kind"], resource.kind.as_str());
    shown
}
