//! Which telemetry holds for a workload: Telemetry resources of the root, its namespace and itself, in
//! that order, the narrower taking the place of the wider section by section.

use std::{collections::BTreeMap, sync::Arc};

use mizzen_api::telemetry::{CustomTag, Metric, MetricsOverride, Telemetry, WorkloadMode};

use crate::{
    index::attached::{Declared, Selecting},
    snapshot::Snapshot,
    workload::Labels,
};

/// Which side of a request a proxy is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// It sends the request on: outbound, and at gateways.
    Client,
    /// It delivers the request to its application.
    Server,
}

impl Side {
    fn matches(self, mode: Option<WorkloadMode>) -> bool {
        match mode.unwrap_or_default() {
            WorkloadMode::ClientAndServer => true,
            WorkloadMode::Client => self == Self::Client,
            WorkloadMode::Server => self == Self::Server,
        }
    }
}

/// Tracing as it holds for a workload.
#[derive(Clone, Debug, PartialEq)]
pub struct Tracing {
    /// Names of the providers spans go to.
    pub providers: Vec<String>,
    /// The share of requests traced that nobody decided about, in percent.
    pub sampling: f64,
    /// Whether no spans are sent at all, though context is still passed on.
    pub disabled: bool,
    /// Tags added to every span.
    pub tags: BTreeMap<String, CustomTag>,
}

/// Metrics as they hold for a workload.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetricOverrides {
    /// What is changed, in the order it applies; later ones win.
    pub overrides: Vec<MetricsOverride>,
    /// Whether no metric is recorded at all.
    pub disabled: bool,
}

/// The settings of the levels that have one, the widest first.
fn levels(snapshot: &Snapshot, namespace: &str, labels: &Labels) -> Vec<Arc<Declared<Telemetry>>> {
    let root = snapshot.root_namespace();
    let of_root = snapshot.telemetries.of_namespace(root, labels);
    let own = if namespace == root {
        of_root.clone()
    } else {
        snapshot.telemetries.of_namespace(namespace, labels)
    };
    let whole = |found: &[Arc<Declared<Telemetry>>]| {
        found.iter().find(|telemetry| telemetry.spec.selector().is_none()).cloned()
    };
    let selecting = own.iter().find(|telemetry| telemetry.spec.selector().is_some()).cloned();
    let of_namespace = if namespace == root { None } else { whole(&own) };
    [whole(&of_root), of_namespace, selecting].into_iter().flatten().collect()
}

impl Snapshot {
    /// The names of the providers a workload's access logs go to.
    pub fn access_log_providers(&self, namespace: &str, labels: &Labels, side: Side) -> Vec<String> {
        let mut providers = self.mesh().default_access_log_providers.clone();
        for telemetry in levels(self, namespace, labels) {
            if telemetry.spec.access_logging.is_empty() {
                continue;
            }
            let inherited = std::mem::take(&mut providers);
            let mut said = false;
            for entry in &telemetry.spec.access_logging {
                if !side.matches(entry.matches.as_ref().and_then(|matches| matches.mode)) {
                    continue;
                }
                said = true;
                let named: Vec<String> = match entry.providers.as_slice() {
                    [] if inherited.is_empty() => vec!["envoy".to_owned()],
                    [] => inherited.clone(),
                    named => named.iter().map(|provider| provider.name.clone()).collect(),
                };
                if entry.disabled == Some(true) {
                    if entry.providers.is_empty() {
                        providers.clear();
                    } else {
                        providers.retain(|provider| !named.contains(provider));
                    }
                } else {
                    providers.extend(named);
                }
            }
            if !said {
                providers = inherited;
            }
            providers.sort();
            providers.dedup();
        }
        providers
    }

    /// The tracing of a workload.
    pub fn tracing(&self, namespace: &str, labels: &Labels, side: Side) -> Tracing {
        let mesh = self.mesh();
        let mut tracing = Tracing {
            providers: mesh.default_tracing_providers.clone(),
            sampling: mesh.tracing_sampling,
            disabled: !mesh.enable_tracing,
            tags: BTreeMap::new(),
        };
        for telemetry in levels(self, namespace, labels) {
            let entries = telemetry.spec.tracing.iter();
            for entry in
                entries.filter(|entry| side.matches(entry.matches.as_ref().and_then(|matches| matches.mode)))
            {
                if !entry.providers.is_empty() {
                    tracing.providers =
                        entry.providers.iter().map(|provider| provider.name.clone()).collect();
                }
                if let Some(sampling) = entry.random_sampling_percentage {
                    tracing.sampling = sampling;
                }
                if let Some(disabled) = entry.disable_span_reporting {
                    tracing.disabled = disabled;
                }
                if !entry.custom_tags.is_empty() {
                    tracing.tags.clone_from(&entry.custom_tags);
                }
            }
        }
        tracing
    }

    /// What is changed about a workload's metrics.
    pub fn metric_overrides(&self, namespace: &str, labels: &Labels, side: Side) -> MetricOverrides {
        let mut found = MetricOverrides::default();
        for telemetry in levels(self, namespace, labels) {
            for section in &telemetry.spec.metrics {
                let prometheus =
                    section.providers.is_empty() || section.providers.iter().any(|p| p.name == "prometheus");
                if !prometheus {
                    continue;
                }
                for change in &section.overrides {
                    let mode = change.matches.as_ref().and_then(|matches| matches.mode);
                    if side.matches(mode) {
                        found.overrides.push(change.clone());
                    }
                }
            }
        }
        let all = found.overrides.iter().rev().find(|change| {
            change.disabled.is_some()
                && change.matches.as_ref().is_none_or(|matches| {
                    matches.custom_metric.is_none()
                        && matches.metric.unwrap_or_default() == Metric::AllMetrics
                })
        });
        found.disabled = all.is_some_and(|change| change.disabled == Some(true));
        found
    }
}

impl Snapshot {
    /// Whether any Telemetry has a word on the access logs of a workload, so that the mesh's file is not
    /// a fallback.
    pub fn declares_access_logs(&self, namespace: &str, labels: &Labels, side: Side) -> bool {
        levels(self, namespace, labels).iter().any(|telemetry| {
            telemetry
                .spec
                .access_logging
                .iter()
                .any(|entry| side.matches(entry.matches.as_ref().and_then(|matches| matches.mode)))
        })
    }
}
