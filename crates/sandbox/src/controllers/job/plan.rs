//! What a Job does next and says of itself: pure, time comes in.

use crate::controllers::pods::{is_ready, phase};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::sync::Arc;
use std::time::Duration;

/// Without `backoffLimit`.
const DEFAULT_BACKOFF_LIMIT: i32 = 6;
/// The pause after the first failure; it doubles with each (as in Kubernetes).
const FIRST_PAUSE: i64 = 10;
const LAST_PAUSE: i64 = 360;

/// What to do now.
#[derive(Debug, Default)]
pub struct Decision {
    pub create: i32,
    pub delete: Vec<Arc<Pod>>,
    pub status: JobStatus,
    /// The Job has outlived `ttlSecondsAfterFinished`.
    pub remove: bool,
    /// Look again after this time though nothing changed.
    pub look_again: Option<Duration>,
    /// Complete or Failed was reached just now: the reason and what to say.
    pub news: Option<(&'static str, String)>,
}

/// Why a Job cannot run here, by field.
pub fn unsupported(spec: &JobSpec) -> Option<String> {
    let field = if spec.completion_mode.as_deref() == Some("Indexed") {
        "completionMode: Indexed"
    } else if spec.pod_failure_policy.is_some() {
        "podFailurePolicy"
    } else if spec.success_policy.is_some() {
        "successPolicy"
    } else if spec.backoff_limit_per_index.is_some() {
        "backoffLimitPerIndex"
    } else {
        return None;
    };
    Some(format!("spec.{field} is not done by the sandbox; the Job does not run"))
}

/// Whether the Job has ended, well or not, and when.
fn finished_at(status: &JobStatus) -> Option<Timestamp> {
    let ended = status.conditions.iter().flatten().find(|condition| {
        matches!(condition.type_.as_str(), "Complete" | "Failed") && condition.status == "True"
    })?;
    Some(ended.last_transition_time.as_ref().map_or(Timestamp::MIN, |time| time.0))
}

/// Decides from the Job and the pods it owns.
pub fn plan_job(job: &Job, pods: &[Arc<Pod>], now: Timestamp) -> Decision {
    let spec = job.spec.clone().unwrap_or_default();
    let before = job.status.clone().unwrap_or_default();
    let mut decision = Decision { status: before.clone(), ..Decision::default() };
    if let Some(ended) = finished_at(&before) {
        let left = spec
            .ttl_seconds_after_finished
            .map(|ttl| SignedDuration::from_secs(i64::from(ttl)).saturating_sub(now.duration_since(ended)));
        match left.map(Duration::try_from) {
            Some(Ok(left)) if !left.is_zero() => decision.look_again = Some(left),
            Some(_) => decision.remove = true,
            None => {}
        }
        return decision;
    }
    let of = |wanted: &str| pods.iter().filter(|pod| phase(pod) == wanted).count();
    let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    // Pods that were counted stay counted after someone deletes them.
    let succeeded = count(of("Succeeded")).max(before.succeeded.unwrap_or(0));
    let failed = count(of("Failed")).max(before.failed.unwrap_or(0));
    let running: Vec<&Arc<Pod>> =
        pods.iter().filter(|pod| !matches!(phase(pod), "Succeeded" | "Failed")).collect();
    let (ending, active): (Vec<_>, Vec<_>) =
        running.into_iter().partition(|pod| pod.metadata.deletion_timestamp.is_some());
    let suspended = spec.suspend.unwrap_or(false);
    let status = &mut decision.status;
    status.succeeded = Some(succeeded);
    status.failed = Some(failed);
    status.active = Some(count(active.len()));
    status.ready = Some(count(active.iter().filter(|pod| is_ready(pod)).count()));
    status.terminating = Some(count(ending.len()));
    if suspended {
        status.start_time = None;
        status.active = Some(0);
        set_condition(status, "Suspended", true, "JobSuspended", "Job suspended", now);
        decision.delete = active.into_iter().cloned().collect();
        return decision;
    }
    if status.conditions.iter().flatten().any(|condition| condition.type_ == "Suspended") {
        set_condition(status, "Suspended", false, "JobResumed", "Job resumed", now);
    }
    let started = status.start_time.get_or_insert(Time(now)).0;
    if let Some((reason, message)) = failure(&spec, failed, &active, started, now) {
        status.active = Some(0);
        set_condition(status, "FailureTarget", true, reason, &message, now);
        set_condition(status, "Failed", true, reason, &message, now);
        decision.delete = active.into_iter().cloned().collect();
        decision.news = Some((reason, message));
        return decision;
    }
    let complete = match spec.completions {
        Some(completions) => succeeded >= completions,
        None => succeeded > 0 && active.is_empty(),
    };
    if complete {
        let message = "Reached expected number of succeeded pods";
        set_condition(status, "SuccessCriteriaMet", true, "CompletionsReached", message, now);
        set_condition(status, "Complete", true, "CompletionsReached", message, now);
        status.completion_time = Some(Time(now));
        status.active = Some(0);
        decision.delete = active.into_iter().cloned().collect();
        decision.news = Some(("Completed", "Job completed".to_owned()));
        return decision;
    }
    let parallelism = spec.parallelism.unwrap_or(1).max(0);
    let wanted = match spec.completions {
        Some(completions) => parallelism.min(completions - succeeded),
        // A work queue: after one success no more are started.
        None if succeeded > 0 => parallelism.min(count(active.len())),
        None => parallelism,
    };
    let missing = wanted - count(active.len());
    if missing < 0 {
        let surplus = active.len().saturating_sub(usize::try_from(wanted).unwrap_or(0));
        let mut youngest = active;
        youngest.sort_by_key(|pod| {
            std::cmp::Reverse(pod.metadata.creation_timestamp.as_ref().map(|time| time.0))
        });
        decision.delete = youngest.into_iter().take(surplus).cloned().collect();
    } else if missing > 0 {
        match pause_left(failed, pods, now) {
            Some(pause) => decision.look_again = Some(pause),
            None => decision.create = missing,
        }
    }
    if let Some(deadline) = spec.active_deadline_seconds {
        let left = SignedDuration::from_secs(deadline).saturating_sub(now.duration_since(started));
        if let Ok(left) = Duration::try_from(left) {
            decision.look_again = Some(decision.look_again.map_or(left, |pause| pause.min(left)));
        }
    }
    decision
}

fn failure(
    spec: &JobSpec,
    failed: i32,
    active: &[&Arc<Pod>],
    started: Timestamp,
    now: Timestamp,
) -> Option<(&'static str, String)> {
    let limit = spec.backoff_limit.unwrap_or(DEFAULT_BACKOFF_LIMIT);
    let in_place =
        spec.template.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()) == Some("OnFailure");
    let restarts: i32 = active.iter().map(|pod| restarts_of(pod)).sum();
    let too_many_restarts = in_place && restarts > 0 && restarts >= limit;
    if failed > limit || too_many_restarts {
        return Some(("BackoffLimitExceeded", "Job has reached the specified backoff limit".to_owned()));
    }
    let deadline = SignedDuration::from_secs(spec.active_deadline_seconds?);
    (now.duration_since(started) >= deadline)
        .then(|| ("DeadlineExceeded", "Job was active longer than specified deadline".to_owned()))
}

fn restarts_of(pod: &Pod) -> i32 {
    let status = pod.status.as_ref();
    let statuses = status.and_then(|status| status.container_statuses.as_ref());
    statuses.into_iter().flatten().map(|container| container.restart_count).sum()
}

/// How long to wait before the next attempt, counted from the last failure.
fn pause_left(failed: i32, pods: &[Arc<Pod>], now: Timestamp) -> Option<Duration> {
    let last = pods.iter().filter(|pod| phase(pod) == "Failed").filter_map(|pod| failed_at(pod)).max()?;
    let doublings = u32::try_from(failed.saturating_sub(1)).unwrap_or(0).min(16);
    let pause = FIRST_PAUSE.saturating_mul(2_i64.saturating_pow(doublings)).min(LAST_PAUSE);
    let left = SignedDuration::from_secs(pause).saturating_sub(now.duration_since(last));
    Duration::try_from(left).ok().filter(|left| !left.is_zero())
}

fn failed_at(pod: &Pod) -> Option<Timestamp> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let ended =
        statuses.iter().filter_map(|status| status.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref());
    ended.map(|time| time.0).max()
}

fn set_condition(
    status: &mut JobStatus,
    type_: &str,
    holds: bool,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    let value = if holds { "True" } else { "False" };
    let conditions = status.conditions.get_or_insert_default();
    let current = conditions.iter().position(|condition| condition.type_ == type_);
    if current.and_then(|index| conditions.get(index)).is_some_and(|condition| condition.status == value) {
        return;
    }
    let condition = JobCondition {
        type_: type_.to_owned(),
        status: value.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_probe_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    };
    match current.and_then(|index| conditions.get_mut(index)) {
        Some(slot) => *slot = condition,
        None => conditions.push(condition),
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
