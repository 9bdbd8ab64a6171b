//! What the kubelet knows of a pod and its containers, and the Kubernetes status that follows from
//! it. The status is a pure function of the pod's spec and this state.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use serde_json::{Value, json};

/// A pod as it is now.
#[derive(Clone, Debug, Default)]
pub struct PodState {
    /// Its address, once it has one.
    pub address: Option<Ipv4Addr>,
    /// When the kubelet took it on.
    pub started: Option<Timestamp>,
    /// Its containers by name, init containers included.
    pub containers: BTreeMap<String, ContainerState>,
    /// Why it cannot run at all, if so: reason and message.
    pub failure: Option<(String, String)>,
}

/// A container as it is now.
#[derive(Clone, Debug)]
pub struct ContainerState {
    /// What it does.
    pub condition: Condition,
    /// How its previous run ended.
    pub last: Option<Termination>,
    /// How often it was started again.
    pub restarts: u32,
    /// Whether its startup probe has passed in this run (or it has none and runs).
    pub started: bool,
    /// Whether its readiness probe passes (or it has none and has started).
    pub ready: bool,
    /// Names this run, `mizzen://…`.
    pub id: Option<String>,
}

/// What a container does.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// Not running, not for good.
    Waiting {
        /// In one word.
        reason: String,
        /// In a sentence.
        message: Option<String>,
    },
    /// Running.
    Running {
        /// Since when.
        since: Timestamp,
    },
    /// Ended.
    Terminated(Termination),
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Termination {
    /// The exit code; 128 and the signal's number for a killed process.
    pub exit_code: i32,
    /// The signal that killed it.
    pub signal: Option<i32>,
    /// `Completed`, `Error` or why it could not start.
    pub reason: String,
    /// More, if there is more.
    pub message: Option<String>,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Timestamp,
    /// The run's id.
    pub id: Option<String>,
}

impl Default for ContainerState {
    fn default() -> Self {
        Self {
            condition: Condition::Waiting { reason: "PodInitializing".to_owned(), message: None },
            last: None,
            restarts: 0,
            started: false,
            ready: false,
            id: None,
        }
    }
}

impl ContainerState {
    /// Whether it ended with success.
    pub fn succeeded(&self) -> bool {
        matches!(&self.condition, Condition::Terminated(end) if end.exit_code == 0)
    }

    fn running(&self) -> bool {
        matches!(self.condition, Condition::Running { .. })
    }
}

/// Whether this init container runs beside the application (a native sidecar).
pub fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// Where in its life a pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Pending,
    Running,
    Succeeded,
    Failed,
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Phase::Pending => "Pending",
            Phase::Running => "Running",
            Phase::Succeeded => "Succeeded",
            Phase::Failed => "Failed",
        }
    }

    /// Whether nothing of the pod will run again.
    pub fn is_final(self) -> bool {
        matches!(self, Phase::Succeeded | Phase::Failed)
    }
}

/// The pod's phase.
pub fn phase(spec: &PodSpec, state: &PodState) -> Phase {
    if state.failure.is_some() {
        return Phase::Failed;
    }
    let policy = spec.restart_policy.as_deref().unwrap_or("Always");
    let ended =
        |container: &Container| match state.containers.get(&container.name).map(|found| &found.condition) {
            Some(Condition::Terminated(end)) => Some(end.exit_code == 0),
            _ => None,
        };
    let mut inits = spec.init_containers.iter().flatten().filter(|container| !is_sidecar(container));
    if policy == "Never" && inits.any(|container| ended(container) == Some(false)) {
        return Phase::Failed;
    }
    if !initialized(spec, state) {
        return Phase::Pending;
    }
    let ends: Vec<Option<bool>> = spec.containers.iter().map(ended).collect();
    let over = ends.iter().all(Option::is_some);
    match policy {
        "Never" if over && ends.contains(&Some(false)) => Phase::Failed,
        "Never" | "OnFailure" if over && ends.iter().all(|end| *end == Some(true)) => Phase::Succeeded,
        _ => {
            let begun = |container: &Container| {
                state
                    .containers
                    .get(&container.name)
                    .is_some_and(|found| found.running() || found.last.is_some() || found.id.is_some())
            };
            if spec.containers.iter().all(begun) { Phase::Running } else { Phase::Pending }
        }
    }
}

/// Whether every init container is done, and every sidecar has started.
pub fn initialized(spec: &PodSpec, state: &PodState) -> bool {
    spec.init_containers.iter().flatten().all(|container| {
        let Some(found) = state.containers.get(&container.name) else { return false };
        if is_sidecar(container) { found.started || found.last.is_some() } else { found.succeeded() }
    })
}

/// The `status` of the pod object. Fields that may have to go are null, so that it can be merged.
pub fn pod_status(pod: &Pod, state: &PodState, node_address: Ipv4Addr, previous: &Value) -> Value {
    let Some(spec) = &pod.spec else { return json!({}) };
    let phase = phase(spec, state);
    let sidecars = || spec.init_containers.iter().flatten().filter(|container| is_sidecar(container));
    let unready = || -> Vec<&str> {
        let all = sidecars().chain(&spec.containers);
        let not_ready =
            |container: &&Container| !state.containers.get(&container.name).is_some_and(|found| found.ready);
        all.filter(not_ready).map(|container| container.name.as_str()).collect()
    };
    let containers_ready = match phase {
        Phase::Succeeded => Err(("PodCompleted", String::new())),
        Phase::Failed => Err(("PodFailed", String::new())),
        _ if unready().is_empty() => Ok(()),
        _ => {
            Err(("ContainersNotReady", format!("containers with unready status: [{}]", unready().join(" "))))
        }
    };
    let gates_closed: Vec<&str> = closed_gates(pod);
    let ready = match &containers_ready {
        Ok(()) if gates_closed.is_empty() => Ok(()),
        Ok(()) => {
            Err(("ReadinessGatesNotReady", format!("readiness gates not met: [{}]", gates_closed.join(" "))))
        }
        Err(reason) => Err(reason.clone()),
    };
    let initialized = if initialized(spec, state) || phase == Phase::Succeeded {
        Ok(())
    } else {
        Err(("ContainersNotInitialized", "init containers are not done".to_owned()))
    };
    let mut conditions = conditions(
        [
            (
                "PodReadyToStartContainers",
                state.address.map(|_| ()).ok_or(("PodSandboxNotReady", String::new())),
            ),
            ("Initialized", initialized),
            ("Ready", ready),
            ("ContainersReady", containers_ready),
            ("PodScheduled", Ok(())),
        ],
        previous,
    );
    conditions.extend(foreign_conditions(pod));
    let statuses = |containers: &[Container], init: bool| -> Vec<Value> {
        let status = |container| container_status(container, state, init);
        containers.iter().map(status).collect()
    };
    let address = state.address.map(|address| address.to_string());
    json!({
        "phase": phase.name(),
        "conditions": conditions,
        "reason": state.failure.as_ref().map(|(reason, _)| reason),
        "message": state.failure.as_ref().map(|(_, message)| message),
        "hostIP": node_address.to_string(),
        "hostIPs": [{"ip": node_address.to_string()}],
        "podIP": address,
        "podIPs": address.map(|address| json!([{"ip": address}])),
        "startTime": state.started.map(time),
        "initContainerStatuses": spec.init_containers.as_ref().map(|containers| statuses(containers, true)),
        "containerStatuses": statuses(&spec.containers, false),
        "qosClass": "BestEffort",
    })
}

/// Readiness gates whose condition somebody else has not set to true.
fn closed_gates(pod: &Pod) -> Vec<&str> {
    let gates = pod.spec.as_ref().and_then(|spec| spec.readiness_gates.as_ref());
    let set = |kind: &str| {
        let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
        conditions
            .into_iter()
            .flatten()
            .any(|condition| condition.type_ == kind && condition.status == "True")
    };
    let kinds = gates.into_iter().flatten().map(|gate| gate.condition_type.as_str());
    kinds.filter(|kind| !set(kind)).collect()
}

const OWN_CONDITIONS: [&str; 5] =
    ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];

/// Conditions others have put on the pod: they are kept.
fn foreign_conditions(pod: &Pod) -> Vec<Value> {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let foreign = conditions
        .into_iter()
        .flatten()
        .filter(|condition| !OWN_CONDITIONS.contains(&condition.type_.as_str()));
    foreign.filter_map(|condition| serde_json::to_value(condition).ok()).collect()
}

type Verdict = Result<(), (&'static str, String)>;

/// Conditions whose transition times change only when their status does.
fn conditions(wanted: [(&str, Verdict); 5], previous: &Value) -> Vec<Value> {
    let earlier = |kind: &str, status: &str| {
        let conditions = previous.get("conditions").and_then(Value::as_array);
        let same = conditions.into_iter().flatten().find(|condition| {
            condition.get("type").and_then(Value::as_str) == Some(kind)
                && condition.get("status").and_then(Value::as_str) == Some(status)
        });
        same.and_then(|condition| condition.get("lastTransitionTime").cloned())
    };
    wanted
        .into_iter()
        .map(|(kind, verdict)| {
            let status = if verdict.is_ok() { "True" } else { "False" };
            let since = earlier(kind, status).unwrap_or_else(|| time(Timestamp::now()));
            let mut condition =
                json!({"type": kind, "status": status, "lastProbeTime": null, "lastTransitionTime": since});
            if let (Err((reason, message)), Some(fields)) = (verdict, condition.as_object_mut()) {
                fields.insert("reason".to_owned(), reason.into());
                if !message.is_empty() {
                    fields.insert("message".to_owned(), message.into());
                }
            }
            condition
        })
        .collect()
}

fn container_status(container: &Container, state: &PodState, init: bool) -> Value {
    let fallback = ContainerState::default();
    let state = state.containers.get(&container.name).unwrap_or(&fallback);
    let image = container.image.clone().unwrap_or_default();
    let now = match &state.condition {
        Condition::Waiting { reason, message } => json!({"waiting": {"reason": reason, "message": message}}),
        Condition::Running { since } => json!({"running": {"startedAt": time(*since)}}),
        Condition::Terminated(end) => json!({"terminated": termination(end)}),
    };
    json!({
        "name": container.name,
        "image": image,
        "imageID": format!("mizzen://{image}"),
        "containerID": state.id,
        "ready": state.ready || (init && state.succeeded()),
        "started": state.started,
        "restartCount": state.restarts,
        "state": now,
        "lastState": state.last.as_ref().map_or_else(|| json!({}), |end| json!({"terminated": termination(end)})),
    })
}

fn termination(end: &Termination) -> Value {
    json!({
        "exitCode": end.exit_code,
        "signal": end.signal,
        "reason": end.reason,
        "message": end.message,
        "startedAt": time(end.started),
        "finishedAt": time(end.finished),
        "containerID": end.id,
    })
}

/// A time as Kubernetes writes it: whole seconds.
pub fn time(at: Timestamp) -> Value {
    Timestamp::from_second(at.as_second()).map_or(Value::Null, |whole| whole.to_string().into())
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
