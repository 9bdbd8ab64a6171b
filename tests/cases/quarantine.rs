//! A resource that slipped past admission: it is left out and says why, and the rest goes on.

use super::traffic::{NAMESPACE, networking, prepare, statuses};
use crate::support::{Mesh, eventually};
use anyhow::ensure;
use serde_json::{Value, json};

const WEBHOOK: &str = "validatingwebhookconfiguration/istio-validator-istio-system";

pub fn quarantined(mesh: &Mesh) -> anyhow::Result<()> {
    prepare(mesh)?;
    let mut webhook = mesh.get(&[WEBHOOK])?;
    mesh.kubectl(&["delete", WEBHOOK])?;
    let broken = json!({"hosts": ["server"], "http": [{"match": [{"uri": {"regex": "("}}],
        "route": [{"destination": {"host": "server"}}]}]});
    let slipped_in = networking(mesh, "VirtualService", "broken", &broken);
    // Back before anything else: later cases count on it.
    if let Some(metadata) = webhook["metadata"].as_object_mut() {
        metadata.retain(|name, _| ["name", "labels", "annotations"].contains(&name.as_str()));
    }
    mesh.apply(&webhook.to_string())?;
    slipped_in?;

    let condition = |object: &Value, kind: &str| -> Value {
        let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
        conditions.into_iter().find(|condition| condition["type"] == kind).cloned().unwrap_or_default()
    };
    eventually("the broken resource to be quarantined", || {
        let object = mesh.get(&["-n", NAMESPACE, "virtualservice", "broken"])?;
        let accepted = condition(&object, "Accepted");
        ensure!(accepted["status"] == "False", "{object}");
        ensure!(accepted["message"].as_str().is_some_and(|message| message.contains("regex")), "{accepted}");
        ensure!(condition(&object, "Reconciled")["reason"] == "Quarantined", "{object}");
        Ok(())
    })?;
    // The host of the broken one is served as if it were not there, and later changes go through.
    let plain = statuses(mesh, "http://server/", 5)?;
    ensure!(plain.iter().all(|status| status == "200"), "{plain:?}");
    let good = json!({"hosts": ["good.example.com"], "http": [{"directResponse": {"status": 418}}]});
    networking(mesh, "VirtualService", "good", &good)?;
    eventually("the good resource to be in use", || {
        let object = mesh.get(&["-n", NAMESPACE, "virtualservice", "good"])?;
        ensure!(condition(&object, "Accepted")["status"] == "True", "{object}");
        ensure!(condition(&object, "Reconciled")["reason"] == "Live", "{object}");
        Ok(())
    })?;
    mesh.kubectl(&["delete", "-n", NAMESPACE, "virtualservice", "broken", "good"])?;
    // Admission is on again.
    let refusal = eventually("the webhook to refuse again", || {
        match networking(mesh, "VirtualService", "broken", &broken) {
            Ok(()) => {
                mesh.kubectl(&["delete", "-n", NAMESPACE, "virtualservice", "broken"])?;
                anyhow::bail!("it was taken")
            }
            Err(refusal) => Ok(format!("{refusal:#}")),
        }
    })?;
    ensure!(refusal.contains("regex"), "{refusal}");
    Ok(())
}
