use super::super::plan::RolloutStrategy;
use super::*;
use serde_json::json;

const START: i64 = 1_767_225_600;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(START + seconds).expect("a time")
}

fn deployment() -> Deployment {
    serde_json::from_value(json!({
        "metadata": {"name": "payments", "namespace": "default", "generation": 2},
        "spec": {"replicas": 2, "progressDeadlineSeconds": 60,
            "selector": {"matchLabels": {"app": "payments"}}, "template": {}},
    }))
    .expect("a deployment")
}

fn rollout() -> Rollout {
    Rollout {
        desired: 2,
        paused: false,
        strategy: RolloutStrategy::RollingUpdate { max_surge: 1, max_unavailable: 0 },
    }
}

fn replica_set(ready: i32) -> Arc<ReplicaSet> {
    Arc::new(
        serde_json::from_value(json!({
            "metadata": {"name": "payments-abc"},
            "spec": {"replicas": 2, "selector": {}},
            "status": {"replicas": 2, "readyReplicas": ready, "availableReplicas": ready},
        }))
        .expect("a replica set"),
    )
}

fn look(deployment: &mut Deployment, ready: i32, progress: Progress, seconds: i64) -> Option<Duration> {
    let set = replica_set(ready);
    let sets = [set.clone()];
    let (status, again) = status_of(deployment, &rollout(), Some(&set), &sets, &progress, at(seconds));
    deployment.status = Some(status);
    again
}

fn reason(deployment: &Deployment, type_: &str) -> (String, String) {
    let condition = find(deployment.status.as_ref().expect("a status"), type_).expect("a condition");
    (condition.status.clone(), condition.reason.clone().unwrap_or_default())
}

#[test]
fn a_rollout_is_told_from_creation_to_completion() {
    let mut deployment = deployment();
    look(&mut deployment, 0, Progress::Created("payments-abc".into()), 0);
    assert_eq!(reason(&deployment, PROGRESSING), ("True".into(), "NewReplicaSetCreated".into()));
    assert_eq!(reason(&deployment, AVAILABLE), ("False".into(), "MinimumReplicasUnavailable".into()));
    look(&mut deployment, 1, Progress::Nothing, 1);
    assert_eq!(reason(&deployment, PROGRESSING), ("True".into(), "ReplicaSetUpdated".into()));
    look(&mut deployment, 2, Progress::Nothing, 2);
    assert_eq!(reason(&deployment, PROGRESSING), ("True".into(), "NewReplicaSetAvailable".into()));
    assert_eq!(reason(&deployment, AVAILABLE), ("True".into(), "MinimumReplicasAvailable".into()));
    let status = deployment.status.as_ref().expect("a status");
    assert_eq!(status.observed_generation, Some(2));
    assert_eq!(status.unavailable_replicas, Some(0));
}

#[test]
fn a_rollout_that_hangs_is_told_after_its_deadline_and_not_before() {
    let mut deployment = deployment();
    look(&mut deployment, 0, Progress::Created("payments-abc".into()), 0);
    assert_eq!(look(&mut deployment, 0, Progress::Nothing, 50), Some(Duration::from_secs(10)));
    look(&mut deployment, 0, Progress::Nothing, 60);
    assert_eq!(reason(&deployment, PROGRESSING), ("False".into(), "ProgressDeadlineExceeded".into()));
    look(&mut deployment, 1, Progress::Nothing, 70);
    assert_eq!(reason(&deployment, PROGRESSING), ("True".into(), "ReplicaSetUpdated".into()));
}

#[test]
fn a_complete_rollout_stays_complete_when_a_pod_dies_later() {
    let mut deployment = deployment();
    look(&mut deployment, 2, Progress::Nothing, 0);
    look(&mut deployment, 1, Progress::Nothing, 100);
    assert_eq!(reason(&deployment, PROGRESSING), ("True".into(), "NewReplicaSetAvailable".into()));
    assert_eq!(reason(&deployment, AVAILABLE), ("False".into(), "MinimumReplicasUnavailable".into()));
}

#[test]
fn a_look_without_news_changes_nothing() {
    let mut deployment = deployment();
    look(&mut deployment, 2, Progress::Nothing, 0);
    let before = deployment.status.clone();
    look(&mut deployment, 2, Progress::Nothing, 30);
    assert_eq!(deployment.status, before);
}

#[test]
fn a_failure_to_create_pods_is_repeated_and_taken_back() {
    let mut deployment = deployment();
    let mut failing = Arc::unwrap_or_clone(replica_set(0));
    failing.status.as_mut().expect("a status").conditions = serde_json::from_value(json!([
        {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "webhook down"}]))
    .expect("conditions");
    let sets = [Arc::new(failing)];
    let (status, _) = status_of(&deployment, &rollout(), Some(&sets[0]), &sets, &Progress::Nothing, at(0));
    deployment.status = Some(status);
    assert_eq!(reason(&deployment, REPLICA_FAILURE), ("True".into(), "FailedCreate".into()));
    look(&mut deployment, 0, Progress::Nothing, 1);
    assert!(find(deployment.status.as_ref().expect("a status"), REPLICA_FAILURE).is_none());
}

#[test]
fn pausing_and_resuming_are_told() {
    let mut deployment = deployment();
    let set = replica_set(2);
    let paused = Rollout { paused: true, ..rollout() };
    let (status, _) =
        status_of(&deployment, &paused, Some(&set), std::slice::from_ref(&set), &Progress::Nothing, at(0));
    deployment.status = Some(status);
    assert_eq!(reason(&deployment, PROGRESSING), ("Unknown".into(), "DeploymentPaused".into()));
    look(&mut deployment, 1, Progress::Nothing, 1);
    assert_eq!(reason(&deployment, PROGRESSING), ("Unknown".into(), "DeploymentResumed".into()));
}
