use super::*;

fn pod(policy: &str) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "p"},
        "spec": {
            "restartPolicy": policy,
            "initContainers": [{"name": "setup"}, {"name": "proxy", "restartPolicy": "Always"}],
            "containers": [{"name": "app", "image": "echo"}]
        }
    }))
    .expect("pod")
}

fn ended(code: i32) -> ContainerState {
    let now = Timestamp::UNIX_EPOCH;
    ContainerState {
        condition: Condition::Terminated(Termination {
            exit_code: code,
            signal: None,
            reason: "x".to_owned(),
            message: None,
            started: now,
            finished: now,
            id: Some("mizzen://1".to_owned()),
        }),
        id: Some("mizzen://1".to_owned()),
        ..ContainerState::default()
    }
}

fn running(ready: bool) -> ContainerState {
    ContainerState {
        condition: Condition::Running { since: Timestamp::UNIX_EPOCH },
        started: true,
        ready,
        id: Some("mizzen://2".to_owned()),
        ..ContainerState::default()
    }
}

fn state(containers: &[(&str, ContainerState)]) -> PodState {
    let containers = containers.iter().map(|(name, state)| ((*name).to_owned(), state.clone())).collect();
    PodState { containers, address: Some(Ipv4Addr::new(10, 244, 0, 9)), ..PodState::default() }
}

fn phase_of(policy: &str, containers: &[(&str, ContainerState)]) -> Phase {
    phase(pod(policy).spec.as_ref().expect("spec"), &state(containers))
}

#[test]
fn the_phase_follows_the_containers() {
    let up = [("setup", ended(0)), ("proxy", running(true))];
    let with = |app: ContainerState| [up[0].clone(), up[1].clone(), ("app", app)];
    assert_eq!(phase_of("Always", &[]), Phase::Pending);
    assert_eq!(phase_of("Always", &[("setup", ended(1))]), Phase::Pending);
    assert_eq!(phase_of("Never", &[("setup", ended(1))]), Phase::Failed);
    assert_eq!(phase_of("Always", &up), Phase::Pending);
    assert_eq!(phase_of("Always", &with(running(false))), Phase::Running);
    assert_eq!(phase_of("Always", &with(ended(0))), Phase::Running);
    assert_eq!(phase_of("Never", &with(ended(0))), Phase::Succeeded);
    assert_eq!(phase_of("Never", &with(ended(3))), Phase::Failed);
    assert_eq!(phase_of("OnFailure", &with(ended(0))), Phase::Succeeded);
    assert_eq!(phase_of("OnFailure", &with(ended(3))), Phase::Running);
}

fn condition<'s>(status: &'s Value, kind: &str) -> &'s Value {
    let conditions = status["conditions"].as_array().expect("conditions");
    conditions.iter().find(|condition| condition["type"] == kind).expect("condition")
}

#[test]
fn a_pod_is_ready_when_sidecars_and_containers_are() {
    let node = Ipv4Addr::new(10, 244, 0, 1);
    let status = |proxy: bool| {
        let containers = [("setup", ended(0)), ("proxy", running(proxy)), ("app", running(true))];
        pod_status(&pod("Always"), &state(&containers), node, &Value::Null)
    };
    let ready = status(true);
    assert_eq!(ready["phase"], "Running");
    assert_eq!(ready["podIPs"][0]["ip"], "10.244.0.9");
    assert_eq!(condition(&ready, "Ready")["status"], "True");
    assert_eq!(ready["initContainerStatuses"][0]["ready"], true, "done counts as ready for init containers");
    assert_eq!(ready["containerStatuses"][0]["state"]["running"]["startedAt"], "1970-01-01T00:00:00Z");
    let unready = status(false);
    assert_eq!(condition(&unready, "Ready")["status"], "False");
    assert_eq!(condition(&unready, "Ready")["message"], "containers with unready status: [proxy]");
}

#[test]
fn transition_times_stay_while_the_status_does() {
    let earlier = json!({"conditions": [
        {"type": "Ready", "status": "False", "lastTransitionTime": "2020-01-01T00:00:00Z"},
        {"type": "Initialized", "status": "True", "lastTransitionTime": "2020-01-01T00:00:00Z"}]});
    let status = pod_status(&pod("Always"), &state(&[]), Ipv4Addr::LOCALHOST, &earlier);
    assert_eq!(condition(&status, "Ready")["lastTransitionTime"], "2020-01-01T00:00:00Z");
    assert_ne!(condition(&status, "Initialized")["lastTransitionTime"], "2020-01-01T00:00:00Z");
}

#[test]
fn a_readiness_gate_of_somebody_else_is_waited_for_and_kept() {
    let mut pod = pod("Always");
    let gate = json!([{"conditionType": "example.com/routed"}]);
    pod.spec.as_mut().expect("spec").readiness_gates = serde_json::from_value(gate).expect("gates");
    let containers = [("setup", ended(0)), ("proxy", running(true)), ("app", running(true))];
    let status = |pod: &Pod| pod_status(pod, &state(&containers), Ipv4Addr::LOCALHOST, &Value::Null);
    assert_eq!(condition(&status(&pod), "Ready")["reason"], "ReadinessGatesNotReady");
    let set = json!({"conditions": [{"type": "example.com/routed", "status": "True"}]});
    pod.status = serde_json::from_value(set).expect("status");
    assert_eq!(condition(&status(&pod), "Ready")["status"], "True");
    assert_eq!(condition(&status(&pod), "example.com/routed")["status"], "True");
}
