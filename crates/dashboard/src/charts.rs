//! The standard metrics of each service over time, for charts. Pure, from the store's series.

use crate::store::{Series, Store, quantile};
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
    let length = u64::try_from(steps).unwrap_or_default();
    let start = now.saturating_sub(step * length);
    let bounds = (0..length).map(|index| start + index * step).map(|from| (from, from + step));
    by_service(store)
        .into_iter()
        .map(|((namespace, service), told)| {
            let mut chart = ServiceChart {
                namespace: namespace.to_owned(),
                service: service.to_owned(),
                rate: Vec::new(),
                errors: Vec::new(),
                p50: Vec::new(),
                p95: Vec::new(),
                p99: Vec::new(),
            };
            for (from, to) in bounds.clone() {
                add_step(&mut chart, told.trusted(), from, to);
            }
            chart
        })
        .collect()
}

/// The series of one service that one side has counted.
#[derive(Default)]
struct Counted<'a> {
    requests: Vec<&'a Series>,
    /// With the upper bound of each bucket.
    durations: Vec<(f64, &'a Series)>,
}

/// The series of one service.
#[derive(Default)]
struct Told<'a> {
    by_receiver: Counted<'a>,
    by_callers: Counted<'a>,
}

impl<'a> Told<'a> {
    fn of(&mut self, series: &Series) -> &mut Counted<'a> {
        if series.label("reporter") == "destination" { &mut self.by_receiver } else { &mut self.by_callers }
    }

    /// Whose word counts: the receiver's where the service is in the mesh, else the callers'.
    fn trusted(&self) -> &Counted<'a> {
        if self.by_receiver.requests.is_empty() { &self.by_callers } else { &self.by_receiver }
    }
}

/// The series by namespace and name of their service: one look at each, however many steps are drawn.
fn by_service(store: &Store) -> BTreeMap<(&str, &str), Told<'_>> {
    let mut services: BTreeMap<_, Told<'_>> = BTreeMap::new();
    for series in store.series("istio_requests_total") {
        services.entry(service(series)).or_default().of(series).requests.push(series);
    }
    for series in store.series("istio_request_duration_milliseconds_bucket") {
        if let Some(told) = services.get_mut(&service(series)) {
            told.of(series).durations.push((bound(series.label("le")), series));
        }
    }
    services
}

fn service(series: &Series) -> (&str, &str) {
    (series.label("destination_service_namespace"), series.label("destination_service_name"))
}

fn bound(text: &str) -> f64 {
    if text == "+Inf" { f64::INFINITY } else { text.parse().unwrap_or(f64::NAN) }
}

fn add_step(chart: &mut ServiceChart, counted: &Counted<'_>, from: u64, to: u64) {
    let (mut all, mut failed) = (0.0, 0.0);
    for series in &counted.requests {
        let growth = series.increase(from, to);
        all += growth;
        let code = series.label("response_code");
        if code == "0" || code.starts_with('5') {
            failed += growth;
        }
    }
    let mut buckets: Vec<(f64, f64)> = Vec::new();
    for (upper, series) in &counted.durations {
        let growth = series.increase(from, to);
        match buckets.iter_mut().find(|(known, _)| known.total_cmp(upper).is_eq()) {
            Some((_, count)) => *count += growth,
            None => buckets.push((*upper, growth)),
        }
    }
    chart.rate.push(all / ((to - from) as f64 / 1000.0));
    chart.errors.push(if all > 0.0 { failed / all } else { 0.0 });
    chart.p50.push(quantile(0.50, &mut buckets));
    chart.p95.push(quantile(0.95, &mut buckets));
    chart.p99.push(quantile(0.99, &mut buckets));
}

#[cfg(test)]
#[path = "charts_tests.rs"]
mod tests;
