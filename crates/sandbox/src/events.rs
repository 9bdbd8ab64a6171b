//! Events: what controllers and the node tell people about objects, as `kubectl describe` and
//! `kubectl get events` show it. The same thing said again counts up one Event instead of adding one.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Api, Patch, PatchParams, PostParams};
use std::collections::HashMap;
use std::future::Future;
use tokio::sync::mpsc;

/// Events waiting to be written; more than these are dropped and logged.
const WAITING: usize = 1024;
/// Events remembered for counting up; forgotten all at once when there are more.
const REMEMBERED: usize = 4096;

/// Whether an Event needs attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    Normal,
    Warning,
}

impl Severity {
    fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// Records Events in the name of one component. Clones are cheap.
#[derive(Clone, Debug)]
pub struct Recorder {
    component: &'static str,
    host: Option<String>,
    sender: mpsc::Sender<Note>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Note {
    component: &'static str,
    host: Option<String>,
    about: About,
    severity: Severity,
    reason: String,
    message: String,
}

/// `ObjectReference` has no `Hash`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct About {
    api_version: Option<String>,
    kind: Option<String>,
    namespace: Option<String>,
    name: Option<String>,
    uid: Option<String>,
    field_path: Option<String>,
}

impl Recorder {
    /// A recorder for `component`, and the task that writes what it and its clones record. The task
    /// ends when the last recorder is dropped.
    pub fn new(client: kube::Client, component: &'static str) -> (Self, impl Future<Output = ()> + Send) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self { component, host: None, sender }, write_all(client, receiver))
    }

    /// The same recorder speaking for another component.
    pub fn for_component(&self, component: &'static str) -> Self {
        Self { component, ..self.clone() }
    }

    /// The same recorder naming the node it speaks from, as a kubelet does.
    pub fn on_host(&self, host: &str) -> Self {
        Self { host: Some(host.to_owned()), ..self.clone() }
    }

    /// Records one Event about an object (or a part of it, by `fieldPath`). Never waits.
    pub fn record(
        &self,
        about: &ObjectReference,
        severity: Severity,
        reason: &str,
        message: impl Into<String>,
    ) {
        let note = Note {
            component: self.component,
            host: self.host.clone(),
            about: About {
                api_version: about.api_version.clone(),
                kind: about.kind.clone(),
                namespace: about.namespace.clone(),
                name: about.name.clone(),
                uid: about.uid.clone(),
                field_path: about.field_path.clone(),
            },
            severity,
            reason: reason.to_owned(),
            message: message.into(),
        };
        if let Err(error) = self.sender.try_send(note) {
            tracing::warn!(reason, %error, "an Event was dropped: the API takes them too slowly");
        }
    }
}

/// An Event already written: its name and how often it was said.
struct Written {
    name: String,
    count: i32,
}

async fn write_all(client: kube::Client, mut notes: mpsc::Receiver<Note>) {
    let mut written: HashMap<Note, Written> = HashMap::new();
    while let Some(note) = notes.recv().await {
        if written.len() >= REMEMBERED {
            written.clear();
        }
        let namespace = note.about.namespace.clone().unwrap_or_else(|| "default".to_owned());
        let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
        let now = Timestamp::now();
        if let Some(earlier) = written.get_mut(&note) {
            earlier.count = earlier.count.saturating_add(1);
            let patch = serde_json::json!({ "count": earlier.count, "lastTimestamp": Time(now) });
            match api.patch(&earlier.name, &PatchParams::default(), &Patch::Merge(patch)).await {
                Ok(_) => continue,
                Err(error) => tracing::debug!(%error, "an Event could not be counted up; writing a new one"),
            }
        }
        let event = new_event(&note, &namespace, now);
        let name = event.metadata.name.clone().unwrap_or_default();
        match api.create(&PostParams::default(), &event).await {
            Ok(_) => {
                written.insert(note, Written { name, count: 1 });
            }
            // A namespace on its way out takes no Events; losing them is what is wanted.
            Err(error) => tracing::debug!(%error, reason = note.reason, "an Event could not be written"),
        }
    }
}

fn new_event(note: &Note, namespace: &str, now: Timestamp) -> Event {
    let about = &note.about;
    let object = about.name.as_deref().unwrap_or("unknown");
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{object}.{:x}", now.as_nanosecond())),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: about.api_version.clone(),
            kind: about.kind.clone(),
            namespace: about.namespace.clone(),
            name: about.name.clone(),
            uid: about.uid.clone(),
            field_path: about.field_path.clone(),
            resource_version: None,
        },
        type_: Some(note.severity.as_str().to_owned()),
        reason: Some(note.reason.clone()),
        message: Some(note.message.clone()),
        count: Some(1),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        reporting_component: Some(note.component.to_owned()),
        reporting_instance: Some(note.host.clone().unwrap_or_default()),
        source: Some(EventSource { component: Some(note.component.to_owned()), host: note.host.clone() }),
        ..Event::default()
    }
}
