//! What a Deployment says of itself: counts, and the conditions Available, Progressing and
//! ReplicaFailure with Kubernetes' reasons. Pure: time comes in.

use super::plan::Rollout;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::sync::Arc;
use std::time::Duration;

const AVAILABLE: &str = "Available";
const PROGRESSING: &str = "Progressing";
const REPLICA_FAILURE: &str = "ReplicaFailure";
/// Without `progressDeadlineSeconds`.
const DEFAULT_PROGRESS_DEADLINE: i32 = 600;

/// What happened in this look at the Deployment that its status should tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Progress {
    #[default]
    Nothing,
    /// A ReplicaSet for the present template was created.
    Created(String),
    /// It could not be created, and why.
    CreateFailed(String),
}

/// The status now, and when it must be looked at again because of the progress deadline.
pub fn status_of(
    deployment: &Deployment,
    rollout: &Rollout,
    new: Option<&ReplicaSet>,
    sets: &[Arc<ReplicaSet>],
    progress: &Progress,
    now: Timestamp,
) -> (DeploymentStatus, Option<Duration>) {
    let before = deployment.status.clone().unwrap_or_default();
    let count = |of: fn(&ReplicaSet) -> i32| sets.iter().map(|set| of(set)).sum::<i32>();
    let available = count(available_of);
    let wanted = count(|set| set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0));
    let mut status = DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: Some(count(|set| set.status.as_ref().map_or(0, |status| status.replicas))),
        updated_replicas: Some(new.and_then(|set| set.status.as_ref()).map_or(0, |status| status.replicas)),
        ready_replicas: Some(count(|set| {
            set.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0)
        })),
        available_replicas: Some(available),
        unavailable_replicas: Some((wanted - available).max(0)),
        collision_count: before.collision_count,
        conditions: before.conditions.clone(),
        terminating_replicas: None,
    };
    let enough = available >= rollout.desired - rollout.max_unavailable();
    let condition = if enough {
        new_condition(AVAILABLE, true, "MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        new_condition(
            AVAILABLE,
            false,
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
        )
    };
    set_condition(&mut status, condition, now);
    let look_again = set_progressing(&mut status, deployment, rollout, new, &before, progress, now);
    set_replica_failure(&mut status, new, sets, now);
    (status, look_again)
}

/// Whether every wanted pod has the present template and is available.
pub fn is_complete(status: &DeploymentStatus, rollout: &Rollout, generation: Option<i64>) -> bool {
    status.updated_replicas.unwrap_or(0) == rollout.desired
        && status.replicas.unwrap_or(0) == rollout.desired
        && status.available_replicas.unwrap_or(0) == rollout.desired
        && status.observed_generation >= generation
}

fn set_progressing(
    status: &mut DeploymentStatus,
    deployment: &Deployment,
    rollout: &Rollout,
    new: Option<&ReplicaSet>,
    before: &DeploymentStatus,
    progress: &Progress,
    now: Timestamp,
) -> Option<Duration> {
    let deadline = deployment.spec.as_ref().and_then(|spec| spec.progress_deadline_seconds);
    let deadline = deadline.unwrap_or(DEFAULT_PROGRESS_DEADLINE);
    // Kubernetes reads the largest number as "no deadline", and then tells no progress.
    if deadline == i32::MAX {
        status.conditions.get_or_insert_default().retain(|condition| condition.type_ != PROGRESSING);
        return None;
    }
    let current = find(before, PROGRESSING);
    let current_reason = current.and_then(|condition| condition.reason.as_deref()).unwrap_or_default();
    if rollout.paused {
        if current_reason != "DeploymentPaused" {
            let mut paused = new_condition(PROGRESSING, true, "DeploymentPaused", "Deployment is paused");
            paused.status = "Unknown".to_owned();
            set_condition(status, paused, now);
        }
        return None;
    }
    if let Progress::CreateFailed(message) = progress {
        set_condition(status, new_condition(PROGRESSING, false, "ReplicaSetCreateError", message), now);
        return None;
    }
    let who = match new.and_then(|set| set.metadata.name.as_deref()) {
        Some(set) => format!("ReplicaSet \"{set}\""),
        None => format!("Deployment \"{}\"", deployment.metadata.name.as_deref().unwrap_or_default()),
    };
    if new.is_some() && is_complete(status, rollout, deployment.metadata.generation) {
        let message = format!("{who} has successfully progressed.");
        set_condition(status, new_condition(PROGRESSING, true, "NewReplicaSetAvailable", &message), now);
        return None;
    }
    let progressing = match progress {
        Progress::Created(set) => Some(new_condition(
            PROGRESSING,
            true,
            "NewReplicaSetCreated",
            &format!("Created new replica set \"{set}\""),
        )),
        _ if current_reason == "DeploymentPaused" => {
            let mut resumed = new_condition(PROGRESSING, true, "DeploymentResumed", "Deployment is resumed");
            resumed.status = "Unknown".to_owned();
            Some(resumed)
        }
        _ if has_progressed(status, before) => {
            Some(new_condition(PROGRESSING, true, "ReplicaSetUpdated", &format!("{who} is progressing.")))
        }
        _ if current.is_none() && new.is_some() => {
            let message = format!("Found new replica set {}", who.trim_start_matches("ReplicaSet "));
            Some(new_condition(PROGRESSING, true, "FoundNewReplicaSet", &message))
        }
        // A complete rollout whose pods went away again is not a rollout that hangs.
        _ if current_reason == "NewReplicaSetAvailable" && status.replicas == status.updated_replicas => {
            return None;
        }
        _ => None,
    };
    let Some(condition) = progressing else {
        return time_out(status, current, current_reason, deadline, &who, now);
    };
    touch_condition(status, condition, now);
    Duration::try_from(SignedDuration::from_secs(i64::from(deadline))).ok()
}

/// Sets ProgressDeadlineExceeded when the last progress is too long ago, else says how long is left.
fn time_out(
    status: &mut DeploymentStatus,
    current: Option<&DeploymentCondition>,
    current_reason: &str,
    deadline: i32,
    who: &str,
    now: Timestamp,
) -> Option<Duration> {
    if matches!(current_reason, "NewReplicaSetAvailable" | "ProgressDeadlineExceeded") {
        return None;
    }
    let since = current?.last_update_time.as_ref()?.0;
    let left = SignedDuration::from_secs(i64::from(deadline)) - now.duration_since(since);
    if left.is_positive() {
        return Duration::try_from(left).ok();
    }
    let message = format!("{who} has timed out progressing.");
    set_condition(status, new_condition(PROGRESSING, false, "ProgressDeadlineExceeded", &message), now);
    None
}

fn has_progressed(now: &DeploymentStatus, before: &DeploymentStatus) -> bool {
    let number = |value: Option<i32>| value.unwrap_or(0);
    let old = |status: &DeploymentStatus| number(status.replicas) - number(status.updated_replicas);
    number(now.updated_replicas) > number(before.updated_replicas)
        || old(now) < old(before)
        || number(now.ready_replicas) > number(before.ready_replicas)
        || number(now.available_replicas) > number(before.available_replicas)
}

/// Repeats the failure of the new set, or of any other, to create pods.
fn set_replica_failure(
    status: &mut DeploymentStatus,
    new: Option<&ReplicaSet>,
    sets: &[Arc<ReplicaSet>],
    now: Timestamp,
) {
    let failing = new.into_iter().chain(sets.iter().map(Arc::as_ref)).find_map(|set| {
        let conditions = set.status.as_ref()?.conditions.as_ref()?;
        conditions.iter().find(|condition| condition.type_ == REPLICA_FAILURE && condition.status == "True")
    });
    match failing {
        Some(failure) => {
            let reason = failure.reason.as_deref().unwrap_or("FailedCreate");
            let message = failure.message.as_deref().unwrap_or_default();
            set_condition(status, new_condition(REPLICA_FAILURE, true, reason, message), now);
        }
        None => {
            status.conditions.get_or_insert_default().retain(|condition| condition.type_ != REPLICA_FAILURE)
        }
    }
}

fn available_of(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0)
}

fn new_condition(type_: &str, holds: bool, reason: &str, message: &str) -> DeploymentCondition {
    DeploymentCondition {
        type_: type_.to_owned(),
        status: if holds { "True" } else { "False" }.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_transition_time: None,
        last_update_time: None,
    }
}

fn find<'a>(status: &'a DeploymentStatus, type_: &str) -> Option<&'a DeploymentCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == type_)
}

/// Sets a condition unless it already says the same; the transition time moves with the status.
fn set_condition(status: &mut DeploymentStatus, condition: DeploymentCondition, now: Timestamp) {
    let same = find(status, &condition.type_).is_some_and(|current| {
        current.status == condition.status
            && current.reason == condition.reason
            && current.message == condition.message
    });
    if !same {
        touch_condition(status, condition, now);
    }
}

/// Sets a condition and its update time, even if it says the same: something moved.
fn touch_condition(status: &mut DeploymentStatus, mut condition: DeploymentCondition, now: Timestamp) {
    let now = Time(without_fraction(now));
    let current = find(status, &condition.type_);
    let kept = current.filter(|current| current.status == condition.status);
    condition.last_transition_time =
        kept.and_then(|current| current.last_transition_time.clone()).or(Some(now.clone()));
    condition.last_update_time = Some(now);
    let conditions = status.conditions.get_or_insert_default();
    match conditions.iter_mut().find(|current| current.type_ == condition.type_) {
        Some(current) => *current = condition,
        None => conditions.push(condition),
    }
}

/// API times have whole seconds.
fn without_fraction(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
