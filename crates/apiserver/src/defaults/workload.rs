//! Defaults of the kinds that make pods (`pkg/apis/apps/v1/defaults.go`, `pkg/apis/batch/v1/defaults.go`).

use serde_json::{Value, json};

use super::pod;
use crate::object::{at, set, set_default, text};

const TEMPLATE: &[&str] = &["spec", "template", "spec"];

pub(super) fn deployment(object: &mut Value) {
    pod::spec(object, TEMPLATE);
    set_default(object, &["spec", "replicas"], 1);
    set_default(object, &["spec", "revisionHistoryLimit"], 10);
    set_default(object, &["spec", "progressDeadlineSeconds"], 600);
    set_default(object, &["spec", "strategy", "type"], "RollingUpdate");
    if text(object, &["spec", "strategy", "type"]) == Some("RollingUpdate") {
        set_default(object, &["spec", "strategy", "rollingUpdate", "maxUnavailable"], "25%");
        set_default(object, &["spec", "strategy", "rollingUpdate", "maxSurge"], "25%");
    }
}

pub(super) fn replica_set(object: &mut Value) {
    pod::spec(object, TEMPLATE);
    set_default(object, &["spec", "replicas"], 1);
}

pub(super) fn stateful_set(object: &mut Value) {
    pod::spec(object, TEMPLATE);
    set_default(object, &["spec", "replicas"], 1);
    set_default(object, &["spec", "revisionHistoryLimit"], 10);
    set_default(object, &["spec", "podManagementPolicy"], "OrderedReady");
    set_default(object, &["spec", "updateStrategy", "type"], "RollingUpdate");
    if text(object, &["spec", "updateStrategy", "type"]) == Some("RollingUpdate") {
        set_default(object, &["spec", "updateStrategy", "rollingUpdate", "partition"], 0);
    }
    let retention = json!({"whenDeleted": "Retain", "whenScaled": "Retain"});
    set_default(object, &["spec", "persistentVolumeClaimRetentionPolicy"], retention);
}

pub(super) fn daemon_set(object: &mut Value) {
    pod::spec(object, TEMPLATE);
    set_default(object, &["spec", "revisionHistoryLimit"], 10);
    set_default(object, &["spec", "updateStrategy", "type"], "RollingUpdate");
    if text(object, &["spec", "updateStrategy", "type"]) == Some("RollingUpdate") {
        set_default(object, &["spec", "updateStrategy", "rollingUpdate", "maxSurge"], 0);
        set_default(object, &["spec", "updateStrategy", "rollingUpdate", "maxUnavailable"], 1);
    }
}

pub(super) fn job(object: &mut Value, old: Option<&Value>) {
    job_spec(object, &["spec"]);
    // The server gives a job its selector; the labels it selects on carry the job's own uid.
    let manual = at(object, &["spec", "manualSelector"]) == Some(&Value::Bool(true));
    if old.is_none() && !manual && at(object, &["spec", "selector"]).is_none() {
        let uid = crate::object::uid(object).to_owned();
        let name = crate::object::name(object).to_owned();
        for label in ["batch.kubernetes.io/controller-uid", "controller-uid"] {
            set(object, &["spec", "template", "metadata", "labels", label], uid.as_str());
        }
        for label in ["batch.kubernetes.io/job-name", "job-name"] {
            set(object, &["spec", "template", "metadata", "labels", label], name.as_str());
        }
        set(
            object,
            &["spec", "selector"],
            json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}),
        );
    }
}

fn job_spec(object: &mut Value, path: &[&str]) {
    let Some(spec) = path.iter().try_fold(object, |value, name| value.get_mut(*name)) else { return };
    pod::spec(spec, &["template", "spec"]);
    if at(spec, &["completions"]).is_none() && at(spec, &["parallelism"]).is_none() {
        set(spec, &["completions"], 1);
    }
    set_default(spec, &["parallelism"], 1);
    set_default(spec, &["backoffLimit"], 6);
    set_default(spec, &["completionMode"], "NonIndexed");
    set_default(spec, &["suspend"], false);
    set_default(spec, &["manualSelector"], false);
    set_default(spec, &["podReplacementPolicy"], "TerminatingOrFailed");
}

pub(super) fn cron_job(object: &mut Value) {
    set_default(object, &["spec", "concurrencyPolicy"], "Allow");
    set_default(object, &["spec", "suspend"], false);
    set_default(object, &["spec", "successfulJobsHistoryLimit"], 3);
    set_default(object, &["spec", "failedJobsHistoryLimit"], 1);
    pod::spec(object, &["spec", "jobTemplate", "spec", "template", "spec"]);
}
