//! Traces: an OTLP receiver and the last ones received, by trace id. Bounded in traces and spans.

use indexmap::IndexMap;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::TraceService;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use parking_lot::Mutex;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The most traces kept; the oldest goes first.
const MOST_TRACES: usize = 2_000;
/// The most spans kept of one trace.
const MOST_SPANS: usize = 500;

/// One span, times in microseconds since 1970.
#[derive(Clone, Debug, Serialize)]
pub struct Span {
    /// Id, 16 hexadecimal digits.
    pub id: String,
    /// Id of the parent; empty for a root.
    pub parent: String,
    /// The service that recorded it.
    pub service: String,
    /// What was done.
    pub name: String,
    /// Start.
    pub start: u64,
    /// Duration, microseconds.
    pub duration: u64,
    /// Whether it failed.
    pub error: bool,
    /// `client`, `server` or `internal`.
    pub kind: &'static str,
    /// Attributes.
    pub attributes: BTreeMap<String, String>,
}

/// A line of the list of traces.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// Trace id, 32 hexadecimal digits.
    pub id: String,
    /// Service and name of the earliest span.
    pub root: String,
    /// Start, microseconds since 1970.
    pub start: u64,
    /// From the first start to the last end, microseconds.
    pub duration: u64,
    /// Number of spans.
    pub spans: usize,
    /// Services that took part.
    pub services: Vec<String>,
    /// Whether any span failed.
    pub error: bool,
}

/// The traces received.
#[derive(Clone, Debug, Default)]
pub struct Traces(Arc<Mutex<IndexMap<String, Vec<Span>>>>);

impl Traces {
    fn add(&self, trace: String, span: Span) {
        let mut traces = self.0.lock();
        if !traces.contains_key(&trace) && traces.len() >= MOST_TRACES {
            traces.shift_remove_index(0);
        }
        let spans = traces.entry(trace).or_default();
        if spans.len() < MOST_SPANS {
            spans.push(span);
        }
    }

    /// The newest traces that pass, newest first.
    pub fn list(&self, service: Option<&str>, errors_only: bool, limit: usize) -> Vec<Summary> {
        let traces = self.0.lock();
        let summaries = traces.iter().rev().filter_map(|(id, spans)| summary(id, spans));
        let mut found: Vec<Summary> = summaries
            .filter(|summary| {
                service.is_none_or(|name| summary.services.iter().any(|service| service == name))
            })
            .filter(|summary| !errors_only || summary.error)
            .take(limit)
            .collect();
        found.sort_by_key(|summary| std::cmp::Reverse(summary.start));
        found
    }

    /// All spans of a trace, by start.
    pub fn get(&self, id: &str) -> Option<Vec<Span>> {
        let mut spans = self.0.lock().get(id)?.clone();
        spans.sort_by_key(|span| span.start);
        Some(spans)
    }

    /// Names of all services that recorded a span.
    pub fn services(&self) -> Vec<String> {
        let traces = self.0.lock();
        let names: std::collections::BTreeSet<&String> =
            traces.values().flatten().map(|span| &span.service).collect();
        names.into_iter().cloned().collect()
    }
}

fn summary(id: &str, spans: &[Span]) -> Option<Summary> {
    let first = spans.iter().min_by_key(|span| (span.start, !span.parent.is_empty()))?;
    let end = spans.iter().map(|span| span.start + span.duration).max()?;
    let services: std::collections::BTreeSet<String> =
        spans.iter().map(|span| span.service.clone()).collect();
    Some(Summary {
        id: id.to_owned(),
        root: format!("{}: {}", first.service, first.name),
        start: first.start,
        duration: end.saturating_sub(first.start),
        spans: spans.len(),
        services: services.into_iter().collect(),
        error: spans.iter().any(|span| span.error),
    })
}

#[tonic::async_trait]
impl TraceService for Traces {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        for resource in request.into_inner().resource_spans {
            let attributes =
                resource.resource.map(|resource| attributes(&resource.attributes)).unwrap_or_default();
            let service = attributes.get("service.name").cloned().unwrap_or_else(|| "unknown".to_owned());
            for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                let start = span.start_time_unix_nano / 1000;
                let mut own = attributes.clone();
                own.extend(self::attributes(&span.attributes));
                let failed = span.status.is_some_and(|status| status.code == StatusCode::Error as i32);
                self.add(
                    hexadecimal(&span.trace_id),
                    Span {
                        id: hexadecimal(&span.span_id),
                        parent: hexadecimal(&span.parent_span_id),
                        service: service.clone(),
                        name: span.name,
                        start,
                        duration: (span.end_time_unix_nano / 1000).saturating_sub(start),
                        error: failed,
                        kind: match span.kind {
                            2 => "server",
                            3 => "client",
                            _ => "internal",
                        },
                        attributes: own,
                    },
                );
            }
        }
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

fn attributes(list: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |pair: &KeyValue| {
        let value = match pair.value.as_ref()?.value.as_ref()? {
            any_value::Value::StringValue(text) => text.clone(),
            any_value::Value::BoolValue(truth) => truth.to_string(),
            any_value::Value::IntValue(number) => number.to_string(),
            any_value::Value::DoubleValue(number) => number.to_string(),
            _ => return None,
        };
        Some((pair.key.clone(), value))
    };
    list.iter().filter_map(text).collect()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[path = "traces_tests.rs"]
mod tests;
