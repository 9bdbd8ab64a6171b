use super::*;
use serde_json::{Value, json};

const NOON: &str = "2026-01-01T12:00:00Z";

fn noon() -> Timestamp {
    NOON.parse().expect("a time")
}

fn job(spec: Value) -> Job {
    let mut job = json!({"metadata": {"name": "migrate", "namespace": "default"}, "spec": {"template": {}}});
    json_patch::merge(&mut job, &json!({"spec": spec}));
    serde_json::from_value(job).expect("a job")
}

fn pod(name: &str, phase: &str) -> Arc<Pod> {
    Arc::new(
        serde_json::from_value(json!({"metadata": {"name": name}, "status": {"phase": phase,
            "containerStatuses": [{"name": "app", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"terminated": {"exitCode": 1, "finishedAt": NOON}}}]}}))
        .expect("a pod"),
    )
}

fn has(status: &JobStatus, type_: &str) -> bool {
    status.conditions.iter().flatten().any(|condition| condition.type_ == type_ && condition.status == "True")
}

#[test]
fn pods_are_started_up_to_the_parallelism_and_what_is_left() {
    let wide = job(json!({"completions": 3, "parallelism": 2}));
    assert_eq!(plan_job(&wide, &[], noon()).create, 2);
    let decision = plan_job(&wide, &[pod("a", "Succeeded"), pod("b", "Succeeded")], noon());
    assert_eq!(decision.create, 1);
    assert_eq!(decision.status.succeeded, Some(2));
}

#[test]
fn a_job_is_complete_when_enough_pods_succeeded() {
    let decision = plan_job(&job(json!({"completions": 1})), &[pod("a", "Succeeded")], noon());
    assert!(has(&decision.status, "Complete"));
    assert_eq!(decision.status.completion_time, Some(Time(noon())));
    assert_eq!(decision.create, 0);
}

#[test]
fn a_failure_is_tried_again_after_a_pause_until_the_limit() {
    let twice = job(json!({"completions": 1, "backoffLimit": 1}));
    let soon = noon() + SignedDuration::from_secs(4);
    let waiting = plan_job(&twice, &[pod("a", "Failed")], soon);
    assert_eq!((waiting.create, waiting.look_again), (0, Some(Duration::from_secs(6))));
    let later = noon() + SignedDuration::from_secs(10);
    assert_eq!(plan_job(&twice, &[pod("a", "Failed")], later).create, 1);
    let over = plan_job(&twice, &[pod("a", "Failed"), pod("b", "Failed")], later);
    assert!(has(&over.status, "Failed"));
    assert_eq!(over.news.map(|(reason, _)| reason), Some("BackoffLimitExceeded"));
}

#[test]
fn the_deadline_ends_running_pods() {
    let mut short = job(json!({"activeDeadlineSeconds": 5}));
    short.status = Some(JobStatus { start_time: Some(Time(noon())), ..JobStatus::default() });
    let waiting = plan_job(&short, &[pod("a", "Running")], noon() + SignedDuration::from_secs(2));
    assert_eq!(waiting.look_again, Some(Duration::from_secs(3)));
    let over = plan_job(&short, &[pod("a", "Running")], noon() + SignedDuration::from_secs(5));
    assert_eq!(over.delete.len(), 1);
    assert!(has(&over.status, "Failed"));
}

#[test]
fn a_suspended_job_runs_nothing_and_goes_on_when_resumed() {
    let suspended = job(json!({"suspend": true}));
    let decision = plan_job(&suspended, &[pod("a", "Running")], noon());
    assert_eq!(decision.delete.len(), 1);
    assert!(has(&decision.status, "Suspended"));
    let mut resumed = job(json!({}));
    resumed.status = Some(decision.status);
    let decision = plan_job(&resumed, &[], noon());
    assert!(!has(&decision.status, "Suspended"));
    assert_eq!(decision.create, 1);
}

#[test]
fn an_ended_job_is_removed_after_its_time() {
    let mut ended = job(json!({"completions": 1, "ttlSecondsAfterFinished": 60}));
    ended.status = Some(plan_job(&ended, &[pod("a", "Succeeded")], noon()).status);
    let waiting = plan_job(&ended, &[], noon() + SignedDuration::from_secs(10));
    assert_eq!((waiting.remove, waiting.look_again), (false, Some(Duration::from_secs(50))));
    assert!(plan_job(&ended, &[], noon() + SignedDuration::from_secs(60)).remove);
}

#[test]
fn what_is_not_done_is_refused_by_name() {
    let refusal = unsupported(&job(json!({"completionMode": "Indexed"})).spec.expect("a spec"));
    assert!(refusal.expect("refused").contains("spec.completionMode"));
}
