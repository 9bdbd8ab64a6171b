//! The rows of workload kinds.

use serde_json::Value;

use super::columns::{AGE, Cell, NAME, condition, joined_map, or};
use crate::object::{age, at, human_duration, integer, items, map, text, text_or_empty};

fn number(object: &Value, path: &[&str]) -> i64 {
    integer(object, path).unwrap_or_default()
}

const CONTAINERS: Cell = ("Containers", "string", 1, |object| template_texts(object, "name"));
const IMAGES: Cell = ("Images", "string", 1, |object| template_texts(object, "image"));
const SELECTOR: Cell = ("Selector", "string", 1, selector);
const READY: Cell = ("Ready", "string", 0, |object| {
    format!(
        "{}/{}",
        number(object, &["status", "readyReplicas"]),
        integer(object, &["spec", "replicas"]).unwrap_or(1)
    )
    .into()
});

fn template_texts(object: &Value, field: &str) -> Value {
    let containers = items(object, &["spec", "template", "spec", "containers"]).iter();
    containers.map(|container| text_or_empty(container, &[field])).collect::<Vec<_>>().join(",").into()
}

fn selector(object: &Value) -> Value {
    if map(object, &["spec", "selector", "matchLabels"]).is_none() {
        return "<none>".into();
    }
    joined_map(object, &["spec", "selector", "matchLabels"])
}

pub(super) static DEPLOYMENTS: &[Cell] = &[
    NAME,
    READY,
    ("Up-to-date", "string", 0, |object| number(object, &["status", "updatedReplicas"]).to_string().into()),
    ("Available", "string", 0, |object| number(object, &["status", "availableReplicas"]).to_string().into()),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(super) static REPLICA_SETS: &[Cell] = &[
    NAME,
    ("Desired", "integer", 0, |object| integer(object, &["spec", "replicas"]).unwrap_or(1).into()),
    ("Current", "integer", 0, |object| number(object, &["status", "replicas"]).into()),
    ("Ready", "integer", 0, |object| number(object, &["status", "readyReplicas"]).into()),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(super) static STATEFUL_SETS: &[Cell] = &[NAME, READY, AGE, CONTAINERS, IMAGES];

pub(super) static DAEMON_SETS: &[Cell] = &[
    NAME,
    ("Desired", "integer", 0, |object| number(object, &["status", "desiredNumberScheduled"]).into()),
    ("Current", "integer", 0, |object| number(object, &["status", "currentNumberScheduled"]).into()),
    ("Ready", "integer", 0, |object| number(object, &["status", "numberReady"]).into()),
    ("Up-to-date", "integer", 0, |object| number(object, &["status", "updatedNumberScheduled"]).into()),
    ("Available", "integer", 0, |object| number(object, &["status", "numberAvailable"]).into()),
    ("Node Selector", "string", 0, |object| {
        joined_map(object, &["spec", "template", "spec", "nodeSelector"])
    }),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(super) static JOBS: &[Cell] = &[
    NAME,
    ("Status", "string", 0, |job| {
        let words = [("Complete", "Complete"), ("Failed", "Failed"), ("Suspended", "Suspended")];
        let word =
            words.into_iter().find(|(kind, _)| condition(job, kind) == Some("True")).map(|(_, word)| word);
        word.unwrap_or("Running").into()
    }),
    ("Completions", "string", 0, |job| {
        let wanted = integer(job, &["spec", "completions"]).unwrap_or(1);
        format!("{}/{wanted}", number(job, &["status", "succeeded"])).into()
    }),
    ("Duration", "string", 0, |job| {
        let time = |path: &[&str]| text(job, path).and_then(|text| text.parse::<jiff::Timestamp>().ok());
        let Some(start) = time(&["status", "startTime"]) else { return "".into() };
        let end = time(&["status", "completionTime"]).unwrap_or_else(jiff::Timestamp::now);
        human_duration(end.as_second() - start.as_second()).into()
    }),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(super) static CRON_JOBS: &[Cell] = &[
    NAME,
    ("Schedule", "string", 0, |job| text_or_empty(job, &["spec", "schedule"]).into()),
    ("Timezone", "string", 0, |job| or(text_or_empty(job, &["spec", "timeZone"]), "<none>")),
    ("Suspend", "string", 0, |job| {
        let suspended = at(job, &["spec", "suspend"]) == Some(&Value::Bool(true));
        if suspended { "True".into() } else { "False".into() }
    }),
    ("Active", "integer", 0, |job| items(job, &["status", "active"]).len().into()),
    ("Last Schedule", "string", 0, |job| match text(job, &["status", "lastScheduleTime"]) {
        Some(last) => age(Some(last)).into(),
        None => "<none>".into(),
    }),
    AGE,
];
