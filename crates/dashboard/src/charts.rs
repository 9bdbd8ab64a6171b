//! The standard metrics of each service over time, for charts. Pure, from the store's series.

use crate::store::{Store, quantile};
use serde::Serialize;
use std::collections::BTreeMap;

/// One service's last minutes, a value a step.
#[derive(Debug, Serialize)]
pub struct ServiceChart {
    /// Namespace of the service.
    pub namespace: String,
    /// Its name.
    pub service: String,
    /// Requests per second.
    pub rate: Vec<f64>,
    /// Share of failed requests, 0 to 1.
    pub errors: Vec<f64>,
    /// Median duration, milliseconds.
    pub p50: Vec<Option<f64>>,
    /// 95th percentile.
    pub p95: Vec<Option<f64>>,
    /// 99th percentile.
    pub p99: Vec<Option<f64>>,
}

/// Charts of all services with traffic: `steps` steps of `step` milliseconds that end at `now`.
pub fn build(store: &Store, now: u64, step: u64, steps: usize) -> Vec<ServiceChart> {
    let mut services: BTreeMap<(String, String), ()> = BTreeMap::new();
    for series in store.series("istio_requests_total") {
        services.insert(identity(series), ());
    }
    let length = u64::try_from(steps).unwrap_or_default();
    let start = now.saturating_sub(step * length);
    services
        .into_keys()
        .map(|(namespace, service)| {
            let reporter = reporter(store, &namespace, &service);
            let mut chart = ServiceChart {
                rate: Vec::new(),
                errors: Vec::new(),
                p50: Vec::new(),
                p95: Vec::new(),
                p99: Vec::new(),
                namespace,
                service,
            };
            for index in 0..length {
                let from = start + index * step;
                add_step(&mut chart, store, reporter, from, from + step);
            }
            chart
        })
        .collect()
}

fn identity(series: &crate::store::Series) -> (String, String) {
    (
        series.label("destination_service_namespace").to_owned(),
        series.label("destination_service_name").to_owned(),
    )
}

fn is_of(series: &crate::store::Series, namespace: &str, service: &str, reporter: &str) -> bool {
    series.label("destination_service_name") == service
        && series.label("destination_service_namespace") == namespace
        && series.label("reporter") == reporter
}

/// Whose word counts: the receiver's where the service is in the mesh, else the caller's.
fn reporter(store: &Store, namespace: &str, service: &str) -> &'static str {
    let received =
        store.series("istio_requests_total").any(|series| is_of(series, namespace, service, "destination"));
    if received { "destination" } else { "source" }
}

fn add_step(chart: &mut ServiceChart, store: &Store, reporter: &str, from: u64, to: u64) {
    let (mut all, mut failed) = (0.0, 0.0);
    let requests = store.series("istio_requests_total");
    for series in requests.filter(|series| is_of(series, &chart.namespace, &chart.service, reporter)) {
        let growth = series.increase(from, to);
        all += growth;
        let code = series.label("response_code");
        if code == "0" || code.starts_with('5') {
            failed += growth;
        }
    }
    let mut buckets: BTreeMap<String, f64> = BTreeMap::new();
    let durations = store.series("istio_request_duration_milliseconds_bucket");
    for series in durations.filter(|series| is_of(series, &chart.namespace, &chart.service, reporter)) {
        *buckets.entry(series.label("le").to_owned()).or_default() += series.increase(from, to);
    }
    let bound = |text: &str| if text == "+Inf" { f64::INFINITY } else { text.parse().unwrap_or(f64::NAN) };
    let mut buckets: Vec<(f64, f64)> = buckets.iter().map(|(upper, count)| (bound(upper), *count)).collect();
    chart.rate.push(all / ((to - from) as f64 / 1000.0));
    chart.errors.push(if all > 0.0 { failed / all } else { 0.0 });
    chart.p50.push(quantile(0.50, &mut buckets));
    chart.p95.push(quantile(0.95, &mut buckets));
    chart.p99.push(quantile(0.99, &mut buckets));
}
