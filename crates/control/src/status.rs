//! What became of each of Istio's resources, written into its status: whether it was accepted, and
//! on how many proxies it is live.
//!
//! Kept cheap: read once at the start, written when a resource's generation or verdict changes, at most once a pause, and
//! again when the last proxy has taken it over. A mesh in which nothing changes writes nothing.

use crate::push::{Mesh, Proxies};
use jiff::Timestamp;
use kube::api::{Api, ApiResource, DynamicObject, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt as _};
use mizzen_api::Kind;
use mizzen_model::{ObjectRef, Snapshot};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Changes are gathered for this long before statuses are written.
const PAUSE: Duration = Duration::from_secs(1);
/// How long to wait for proxies to take a change over before a partial count is written.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often proxies are counted while some are behind.
const COUNT: Duration = Duration::from_millis(200);
/// Objects written per pause; a burst is spread.
const WRITES: usize = 200;

/// What is said of one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Verdict {
    /// Of the spec this is about.
    generation: i64,
    /// Why it is not accepted.
    refusal: Option<String>,
    /// Proxies that have it, of all that are connected; nothing for what is not accepted.
    live: Option<(usize, usize)>,
}

impl Verdict {
    /// Whether nothing that may yet change is missing.
    fn is_final(&self) -> bool {
        self.live.is_none_or(|(live, all)| live == all)
    }

    /// Whether the same is said of the same spec, live counts aside.
    fn says_the_same(&self, other: &Self) -> bool {
        self.generation == other.generation && self.refusal == other.refusal
    }
}

type Key = (Kind, String, String);

/// Writes statuses for ever.
pub(crate) async fn write(client: Client, mesh: Arc<Mesh>, proxies: Proxies) {
    let mut snapshots = mesh.watch_configuration();
    let mut written = read(&client).await;
    let mut unfinished = true;
    loop {
        if !unfinished && snapshots.changed().await.is_err() {
            return;
        }
        tokio::time::sleep(PAUSE).await;
        let snapshot = snapshots.borrow_and_update().clone();
        let live = wait_for_proxies(&proxies, snapshot.revision()).await;
        let due = due(&snapshot, live, &written);
        written.retain(|(kind, namespace, name), _| snapshot.config(*kind, namespace, name).is_some());
        unfinished = due.len() > WRITES || live.0 < live.1;
        for (key, verdict) in due.into_iter().take(WRITES) {
            match patch(&client, &key, &verdict).await {
                Ok(()) => {
                    written.insert(key, verdict);
                }
                // Deleted meanwhile.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => {
                    let (kind, namespace, name) = &key;
                    tracing::debug!("status of {kind} {namespace}/{name} not written, trying again: {error}");
                    unfinished = true;
                }
            }
        }
    }
}

/// What an earlier control plane has written, so that a restart does not write to every resource again. What
/// cannot be read is written anew.
async fn read(client: &Client) -> HashMap<Key, Verdict> {
    let mut written = HashMap::new();
    for kind in Kind::ALL {
        let api = Api::<DynamicObject>::all_with(client.clone(), &resource(kind));
        let Ok(list) = api.list(&ListParams::default()).await else { continue };
        for object in list {
            if let Some(verdict) = object.data.get("status").and_then(verdict_of) {
                written.insert((kind, object.namespace().unwrap_or_default(), object.name_any()), verdict);
            }
        }
    }
    written
}

/// Gives proxies some time to take a generation over, and counts those that have.
async fn wait_for_proxies(proxies: &Proxies, generation: u64) -> (usize, usize) {
    let patience = Instant::now() + PATIENCE;
    loop {
        let connections = proxies.hub().connections();
        let live = connections.iter().filter(|connection| connection.is_current(generation)).count();
        if live == connections.len() || Instant::now() >= patience {
            return (live, connections.len());
        }
        tokio::time::sleep(COUNT).await;
    }
}

/// The verdicts that differ from what was written. That a proxy came or went is no reason to write
/// to every resource: a count is written with a change, and once more when it is complete.
fn due(snapshot: &Snapshot, live: (usize, usize), written: &HashMap<Key, Verdict>) -> Vec<(Key, Verdict)> {
    let refusals: BTreeMap<&ObjectRef, String> = snapshot
        .quarantined()
        .map(|(object, violations)| {
            let reasons: Vec<_> = violations.iter().map(ToString::to_string).collect();
            (object, reasons.join("; "))
        })
        .collect();
    let mut due = Vec::new();
    for config in Kind::ALL.into_iter().flat_map(|kind| snapshot.configs(kind)) {
        let kind = config.kind();
        let (namespace, name) = (config.meta.namespace.clone(), config.meta.name.clone());
        let refusal = refusals.get(&ObjectRef::config(kind, namespace.as_str(), name.as_str())).cloned();
        let verdict =
            Verdict { generation: config.meta.generation, live: refusal.is_none().then_some(live), refusal };
        let key = (kind, namespace, name);
        let wanted = written
            .get(&key)
            .is_none_or(|before| !before.says_the_same(&verdict) || !before.is_final() && *before != verdict);
        if wanted {
            due.push((key, verdict));
        }
    }
    due
}

async fn patch(client: &Client, (kind, namespace, name): &Key, verdict: &Verdict) -> Result<(), kube::Error> {
    let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource(*kind));
    let status = status(verdict, Timestamp::now());
    api.patch_status(name, &PatchParams::default(), &Patch::Merge(&status)).await.map(drop)
}

fn resource(kind: Kind) -> ApiResource {
    ApiResource {
        group: kind.group().to_owned(),
        version: kind.storage_version().to_owned(),
        api_version: format!("{}/{}", kind.group(), kind.storage_version()),
        kind: kind.name().to_owned(),
        plural: kind.plural().to_owned(),
    }
}

fn status(verdict: &Verdict, now: Timestamp) -> Value {
    let condition = |kind: &str, status: bool, reason: &str, message: &str| {
        json!({
            "type": kind,
            "status": if status { "True" } else { "False" },
            "reason": reason,
            "message": message,
            "lastProbeTime": now.to_string(),
            "lastTransitionTime": now.to_string(),
            "observedGeneration": verdict.generation.to_string()
        })
    };
    let mut conditions = Vec::new();
    match (&verdict.refusal, verdict.live) {
        (Some(reason), _) => {
            conditions.push(condition("Accepted", false, "Invalid", reason));
            conditions.push(condition(
                "Reconciled",
                false,
                "Quarantined",
                "left out of the mesh until it is mended; the rest goes on",
            ));
        }
        (None, live) => {
            conditions.push(condition("Accepted", true, "Accepted", "valid and in use"));
            if let Some((live, all)) = live {
                let message = format!("live on {live}/{all} proxies");
                let reason = if live == all { "Live" } else { "Propagating" };
                conditions.push(condition("Reconciled", live == all, reason, &message));
            }
        }
    }
    json!({"status": {"conditions": conditions, "observedGeneration": verdict.generation.to_string()}})
}

/// The reverse of [`status`]; nothing for what somebody else has written.
fn verdict_of(status: &Value) -> Option<Verdict> {
    let conditions = status.get("conditions")?.as_array()?;
    let condition = |kind: &str| conditions.iter().find(|condition| condition["type"] == kind);
    let accepted = condition("Accepted")?;
    let refusal = match accepted["status"] == "True" {
        true => None,
        false => Some(accepted["message"].as_str()?.to_owned()),
    };
    let live = condition("Reconciled").and_then(|reconciled| {
        let counts = reconciled["message"].as_str()?.strip_prefix("live on ")?.strip_suffix(" proxies")?;
        let (live, all) = counts.split_once('/')?;
        Some((live.parse().ok()?, all.parse().ok()?))
    });
    let generation = status.get("observedGeneration")?.as_str()?.parse().ok()?;
    Some(Verdict { generation, refusal, live })
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
