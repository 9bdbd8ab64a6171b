//! The control plane's own metrics, under Istio's names. Istio's counters have no `_total` suffix,
//! which is why they are written here and not by a library that insists on it.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Instant;

/// One metric: values by the values of its labels.
pub(crate) struct Family {
    name: &'static str,
    help: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    values: Mutex<BTreeMap<Vec<String>, Value>>,
}

#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    /// With the upper bounds of its buckets.
    Histogram(&'static [f64]),
}

#[derive(Default)]
struct Value {
    /// Of counters and gauges; the sum of histograms.
    number: f64,
    count: u64,
    buckets: Vec<u64>,
}

impl Family {
    const fn new(
        name: &'static str,
        help: &'static str,
        kind: Kind,
        labels: &'static [&'static str],
    ) -> Self {
        Self { name, help, kind, labels, values: Mutex::new(BTreeMap::new()) }
    }

    /// Adds to a counter.
    pub(crate) fn add(&self, labels: &[&str], amount: u64) {
        // Far below 2^53 for as long as anyone will watch.
        self.with(labels, |value| value.number += amount as f64);
    }

    /// Sets a gauge.
    pub(crate) fn set(&self, labels: &[&str], number: f64) {
        self.with(labels, |value| value.number = number);
    }

    /// Forgets all values, so that label values that are gone disappear.
    pub(crate) fn clear(&self) {
        self.values.lock().clear();
    }

    /// Puts a value into a histogram.
    pub(crate) fn observe(&self, labels: &[&str], number: f64) {
        let Kind::Histogram(bounds) = self.kind else { return };
        self.with(labels, |value| {
            value.buckets.resize(bounds.len(), 0);
            for (bucket, bound) in value.buckets.iter_mut().zip(bounds) {
                *bucket += u64::from(number <= *bound);
            }
            value.number += number;
            value.count += 1;
        });
    }

    fn with(&self, labels: &[&str], change: impl FnOnce(&mut Value)) {
        let key = labels.iter().map(|&label| label.to_owned()).collect();
        change(self.values.lock().entry(key).or_default());
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        let values = self.values.lock();
        if values.is_empty() {
            return Ok(());
        }
        let kind = match self.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        writeln!(text, "# HELP {} {}\n# TYPE {} {kind}", self.name, self.help, self.name)?;
        for (key, value) in values.iter() {
            let labels: Vec<_> = self
                .labels
                .iter()
                .zip(key)
                .map(|(name, value)| format!("{name}=\"{}\"", escape(value)))
                .collect();
            let labels = labels.join(",");
            match self.kind {
                Kind::Counter | Kind::Gauge if labels.is_empty() => {
                    writeln!(text, "{} {}", self.name, value.number)?;
                }
                Kind::Counter | Kind::Gauge => writeln!(text, "{}{{{labels}}} {}", self.name, value.number)?,
                Kind::Histogram(bounds) => write_histogram(text, self.name, &labels, bounds, value)?,
            }
        }
        Ok(())
    }
}

fn write_histogram(
    text: &mut String,
    name: &str,
    labels: &str,
    bounds: &[f64],
    value: &Value,
) -> std::fmt::Result {
    let (comma, braces) = match labels {
        "" => ("", String::new()),
        _ => (",", format!("{{{labels}}}")),
    };
    for (bound, count) in bounds.iter().zip(&value.buckets) {
        writeln!(text, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {count}")?;
    }
    writeln!(text, "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {}", value.count)?;
    writeln!(text, "{name}_sum{braces} {}\n{name}_count{braces} {}", value.number, value.count)
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Seconds. Source: Istio, `pilot/pkg/xds/monitoring.go`.
const CONVERGENCE: &[f64] = &[0.1, 0.5, 1.0, 3.0, 5.0, 10.0, 20.0, 30.0];
const SECONDS: &[f64] = &[0.001, 0.003, 0.01, 0.03, 0.1, 0.5, 1.0, 3.0, 5.0, 10.0];
const BYTES: &[f64] = &[1.0, 1e4, 1e6, 4e6, 1e7, 4e7];

macro_rules! metrics {
    ($($(#[$doc:meta])* $field:ident: $name:literal, $help:literal, $kind:expr, [$($label:literal),*];)*) => {
        /// Every metric of the control plane.
        pub(crate) struct Metrics {
            started: Instant,
            $(pub(crate) $field: Family,)*
        }

        impl Metrics {
            pub(crate) fn new() -> Arc<Self> {
                Arc::new(Self {
                    started: Instant::now(),
                    $($field: Family::new($name, $help, $kind, &[$($label),*]),)*
                })
            }

            fn families(&self) -> Vec<&Family> {
                vec![$(&self.$field),*]
            }
        }
    };
}

metrics! {
    connected: "pilot_xds", "Number of endpoints connected to this pilot using XDS.", Kind::Gauge, ["version"];
    pushes: "pilot_xds_pushes", "Pilot build and send errors for lds, rds, cds and eds.", Kind::Counter, ["type"];
    push_time: "pilot_xds_push_time", "Total time in seconds Pilot takes to push lds, rds, cds and eds.", Kind::Histogram(SECONDS), ["type"];
    config_size: "pilot_xds_config_size_bytes", "Distribution of configuration sizes pushed to clients.", Kind::Histogram(BYTES), ["type"];
    convergence: "pilot_proxy_convergence_time", "Delay in seconds between config change and a proxy receiving all required configuration.", Kind::Histogram(CONVERGENCE), [];
    debounce: "pilot_debounce_time", "Delay in seconds between the first config enters debouncing and the merged push request is pushed into the push queue.", Kind::Histogram(SECONDS), [];
    snapshot_time: "pilot_pushcontext_init_seconds", "Total time in seconds Pilot takes to init pushContext.", Kind::Histogram(SECONDS), [];
    push_triggers: "pilot_push_triggers", "Total number of times a push was triggered, labeled by reason for the push.", Kind::Counter, ["type"];
    inbound_updates: "pilot_inbound_updates", "Total number of updates received by pilot.", Kind::Counter, ["type"];
    services: "pilot_services", "Total services known to pilot.", Kind::Gauge, [];
    virtual_services: "pilot_virt_services", "Total virtual services known to pilot.", Kind::Gauge, [];
    rejects: "pilot_total_xds_rejects", "Total number of XDS responses from pilot rejected by proxy.", Kind::Counter, ["type"];
    cluster_rejects: "pilot_xds_cds_reject", "Pilot rejected CDS configs.", Kind::Gauge, ["node", "err"];
    endpoint_rejects: "pilot_xds_eds_reject", "Pilot rejected EDS.", Kind::Gauge, ["node", "err"];
    listener_rejects: "pilot_xds_lds_reject", "Pilot rejected LDS.", Kind::Gauge, ["node", "err"];
    route_rejects: "pilot_xds_rds_reject", "Pilot rejected RDS.", Kind::Gauge, ["node", "err"];
    rejected_configs: "pilot_total_rejected_configs", "Total number of configs that Pilot had to reject or ignore.", Kind::Gauge, ["type"];
    csr_count: "citadel_server_csr_count", "The number of CSRs received by Citadel server.", Kind::Counter, [];
    certificates_issued: "citadel_server_success_cert_issuance_count", "The number of certificates issuances that have succeeded.", Kind::Counter, [];
    csr_errors: "citadel_server_csr_parsing_err_count", "The number of errors occurred when parsing the CSR.", Kind::Counter, [];
    authentication_failures: "citadel_server_authentication_failure_count", "The number of authentication failures.", Kind::Counter, [];
    root_expiry: "citadel_server_root_cert_expiry_timestamp", "The unix timestamp, in seconds, when the root cert will expire.", Kind::Gauge, [];
    injections: "sidecar_injection_requests_total", "Total number of sidecar injection requests.", Kind::Counter, [];
    injected: "sidecar_injection_success_total", "Total number of successful sidecar injection requests.", Kind::Counter, [];
    injection_failures: "sidecar_injection_failure_total", "Total number of failed sidecar injection requests.", Kind::Counter, [];
    injection_skips: "sidecar_injection_skip_total", "Total number of skipped sidecar injection requests.", Kind::Counter, [];
    validation_passed: "galley_validation_passed", "Resource is valid.", Kind::Counter, ["group", "version", "resource"];
    validation_failed: "galley_validation_failed", "Resource validation failed.", Kind::Counter, ["group", "version", "resource", "reason"];
    info: "pilot_info", "Pilot version and build information.", Kind::Gauge, ["version"];
    build: "istio_build", "Istio component build info.", Kind::Gauge, ["component", "tag"];
    clusters: "istiod_managed_clusters", "Number of clusters managed by istiod.", Kind::Gauge, ["cluster_type"];
    uptime: "istiod_uptime_seconds", "Current istiod server uptime in seconds.", Kind::Gauge, [];
    cpu: "process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", Kind::Counter, [];
    resident: "process_resident_memory_bytes", "Resident memory size in bytes.", Kind::Gauge, [];
    virtual_memory: "process_virtual_memory_bytes", "Virtual memory size in bytes.", Kind::Gauge, [];
    descriptors: "process_open_fds", "Number of open file descriptors.", Kind::Gauge, [];
}

impl Metrics {
    /// All metrics in the text exposition format.
    pub(crate) fn text(&self) -> String {
        let version = mizzen_base::version::ISTIO;
        self.info.set(&[version], 1.0);
        self.build.set(&["pilot", version], 1.0);
        self.clusters.set(&["local"], 1.0);
        self.uptime.set(&[], self.started.elapsed().as_secs_f64());
        self.read_process();
        let mut text = String::new();
        for family in self.families() {
            // Writing to a String does not fail.
            let _ = family.write(&mut text);
        }
        text
    }

    /// From /proc; on a system without it the process metrics are missing.
    fn read_process(&self) {
        if let Ok(stat) = std::fs::read_to_string("/proc/self/stat") {
            // The second field, the program's name in parentheses, may have spaces.
            let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
            let field = |index: usize| -> f64 {
                rest.split(' ').nth(index).and_then(|text| text.parse().ok()).unwrap_or_default()
            };
            const TICKS_PER_SECOND: f64 = 100.0;
            const PAGE_BYTES: f64 = 4096.0;
            // Fields 14 and 15 (user and system time), 23 and 24 (sizes) of proc(5), from field 3 on.
            self.cpu.set(&[], (field(11) + field(12)) / TICKS_PER_SECOND);
            self.virtual_memory.set(&[], field(20));
            self.resident.set(&[], field(21) * PAGE_BYTES);
        }
        if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
            self.descriptors.set(&[], entries.count() as f64);
        }
    }

    /// The family that counts refusals of a type.
    pub(crate) fn rejects_of(&self, short: &str) -> Option<&Family> {
        match short {
            "cds" => Some(&self.cluster_rejects),
            "eds" => Some(&self.endpoint_rejects),
            "lds" => Some(&self.listener_rejects),
            "rds" => Some(&self.route_rejects),
            _ => None,
        }
    }
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
