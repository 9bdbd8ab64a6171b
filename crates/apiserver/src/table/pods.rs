//! The row of a pod, with the status words of kubectl's printer.

use serde_json::Value;

use super::columns::{AGE, Cell, NAME, or};
use crate::object::{age, at, integer, is_terminating, items, text, text_or_empty};

pub(super) static PODS: &[Cell] = &[
    NAME,
    ("Ready", "string", 0, |pod| {
        let (ready, total, _) = containers(pod);
        format!("{ready}/{total}").into()
    }),
    ("Status", "string", 0, |pod| status(pod).into()),
    ("Restarts", "string", 0, |pod| restarts(pod).into()),
    AGE,
    ("IP", "string", 1, |pod| or(text_or_empty(pod, &["status", "podIP"]), "<none>")),
    ("Node", "string", 1, |pod| or(text_or_empty(pod, &["spec", "nodeName"]), "<none>")),
    ("Nominated Node", "string", 1, |pod| or(text_or_empty(pod, &["status", "nominatedNodeName"]), "<none>")),
    ("Readiness Gates", "string", 1, |pod| {
        let gates = items(pod, &["spec", "readinessGates"]);
        if gates.is_empty() {
            return "<none>".into();
        }
        let met = gates.iter().filter(|gate| {
            super::columns::condition(pod, text_or_empty(gate, &["conditionType"])) == Some("True")
        });
        format!("{}/{}", met.count(), gates.len()).into()
    }),
];

/// Init containers that keep running beside the others (native sidecars).
fn is_sidecar(pod: &Value, name: &str) -> bool {
    items(pod, &["spec", "initContainers"]).iter().any(|container| {
        text(container, &["name"]) == Some(name) && text(container, &["restartPolicy"]) == Some("Always")
    })
}

/// Ready containers, all containers, restarts; sidecars included.
fn containers(pod: &Value) -> (usize, usize, i64) {
    let sidecars = || {
        items(pod, &["status", "initContainerStatuses"])
            .iter()
            .filter(|status| is_sidecar(pod, text_or_empty(status, &["name"])))
    };
    let statuses = || items(pod, &["status", "containerStatuses"]).iter().chain(sidecars());
    let is_ready = |status: &&Value| at(status, &["ready"]) == Some(&Value::Bool(true));
    let sidecar_count = items(pod, &["spec", "initContainers"])
        .iter()
        .filter(|container| text(container, &["restartPolicy"]) == Some("Always"))
        .count();
    (
        statuses().filter(is_ready).count(),
        items(pod, &["spec", "containers"]).len() + sidecar_count,
        statuses().filter_map(|status| integer(status, &["restartCount"])).sum(),
    )
}

fn restarts(pod: &Value) -> String {
    let (_, _, count) = containers(pod);
    let last = items(pod, &["status", "containerStatuses"])
        .iter()
        .filter_map(|status| text(status, &["lastState", "terminated", "finishedAt"]))
        .max();
    match last {
        Some(last) if count > 0 => format!("{count} ({} ago)", age(Some(last))),
        _ => count.to_string(),
    }
}

/// The word in the STATUS column.
fn status(pod: &Value) -> String {
    let mut word = match text_or_empty(pod, &["status", "reason"]) {
        "" => text_or_empty(pod, &["status", "phase"]).to_owned(),
        reason => reason.to_owned(),
    };
    let initializing = init_status(pod);
    if let Some(init) = &initializing {
        word.clone_from(init);
    } else {
        let mut has_running = false;
        for container in items(pod, &["status", "containerStatuses"]).iter().rev() {
            let state = |path: &[&str]| text_or_empty(container, path).to_owned();
            let (waiting, ended) =
                (state(&["state", "waiting", "reason"]), state(&["state", "terminated", "reason"]));
            if !waiting.is_empty() {
                word = waiting;
            } else if !ended.is_empty() {
                word = ended;
            } else if let Some(terminated) = at(container, &["state", "terminated"]) {
                word = exit_word(terminated);
            } else if at(container, &["ready"]) == Some(&Value::Bool(true))
                && at(container, &["state", "running"]).is_some()
            {
                has_running = true;
            }
        }
        if word == "Completed" && has_running {
            let ready = super::columns::condition(pod, "Ready") == Some("True");
            word = if ready { "Running" } else { "NotReady" }.to_owned();
        }
    }
    if is_terminating(pod) {
        word = if text(pod, &["status", "reason"]) == Some("NodeLost") { "Unknown" } else { "Terminating" }
            .to_owned();
    }
    word
}

/// The word while init containers have not all done their part.
fn init_status(pod: &Value) -> Option<String> {
    let total = items(pod, &["spec", "initContainers"]).len();
    for (index, container) in items(pod, &["status", "initContainerStatuses"]).iter().enumerate() {
        let exit = integer(container, &["state", "terminated", "exitCode"]);
        let started = at(container, &["started"]) == Some(&Value::Bool(true));
        if exit == Some(0) || (started && is_sidecar(pod, text_or_empty(container, &["name"]))) {
            continue;
        }
        if let Some(terminated) = at(container, &["state", "terminated"]) {
            return Some(match text_or_empty(terminated, &["reason"]) {
                "" => format!("Init:{}", exit_word(terminated)),
                reason => format!("Init:{reason}"),
            });
        }
        let waiting = text_or_empty(container, &["state", "waiting", "reason"]);
        return Some(match waiting {
            "" | "PodInitializing" => format!("Init:{index}/{total}"),
            reason => format!("Init:{reason}"),
        });
    }
    None
}

fn exit_word(terminated: &Value) -> String {
    match integer(terminated, &["signal"]) {
        Some(signal) if signal != 0 => format!("Signal:{signal}"),
        _ => format!("ExitCode:{}", integer(terminated, &["exitCode"]).unwrap_or_default()),
    }
}
