//! Spans: one for each sampled request, sent in batches as OTLP over gRPC through the proxy's own
//! upstream connections. A queue that is full drops spans and counts them.
//!
//! Source: OpenTelemetry protocol 1; tags as Envoy and Istio name them.

use super::access_log::Format;
use super::counters::Shared;
use super::trace_context::TraceContext;
use super::{RequestRecord, Telemetry};
use crate::http::matcher::Fraction;
use crate::listener::Direction;
use crate::mirror;
use crate::worker::Worker;
use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1 as otlp;
use prost::Message;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Spans one worker holds before it drops them.
const QUEUE_LIMIT: usize = 2048;
/// Spans that are sent at once.
const BATCH: usize = 512;
/// How long spans are gathered.
const GATHER: Duration = Duration::from_secs(1);
const EXPORT_PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const FORCE_TRACE: HeaderName = HeaderName::from_static("x-envoy-force-trace");

/// Tracing of a connection manager.
#[derive(Debug)]
pub struct Tracing {
    /// Where spans go.
    pub tracer: Arc<Tracer>,
    /// Share of requests without a parent that are traced.
    pub random: Fraction,
    /// Share of all traced requests that stay so.
    pub overall: Fraction,
    /// Longest path in a tag.
    pub max_path: usize,
    /// Tags of configuration: name, and how its value is made.
    pub tags: Vec<(String, Tag)>,
    /// Whether the context is not passed on.
    pub no_propagation: bool,
}

/// How the value of a tag is made.
#[derive(Debug)]
pub enum Tag {
    /// It is this.
    Literal(String),
    /// From a request header, else this.
    Header(HeaderName, Option<String>),
    /// From a format.
    Format(Format),
}

/// Where spans go.
#[derive(Debug)]
pub struct Tracer {
    /// The cluster of the collector.
    pub cluster: Arc<str>,
    /// Its name in requests.
    pub authority: String,
    /// `service.name`.
    pub service: String,
    /// Spans that were dropped.
    pub dropped: Shared,
    /// Spans that were sent.
    pub sent: Shared,
}

/// The span of a request under way.
#[derive(Debug)]
pub struct Span {
    /// Its place.
    pub context: TraceContext,
    /// The span before it.
    pub parent: Option<u64>,
    /// What it is called.
    pub name: Arc<str>,
    /// Tags known at the beginning.
    tags: Vec<KeyValue>,
}

impl Tracing {
    /// Begins the span of a request, and passes its context on.
    pub fn begin(
        &self,
        record: &mut RequestRecord,
        headers: &mut HeaderMap,
        operation: Option<Arc<str>>,
        random: u64,
        internal: bool,
    ) {
        let parent = TraceContext::extract(headers);
        let forced = internal && headers.contains_key(FORCE_TRACE);
        let decided = parent.and_then(|parent| parent.sampled).or_else(|| TraceContext::decision(headers));
        let sampled = forced || decided.unwrap_or_else(|| self.random.happens(random, 0x0074_7261_6365));
        let sampled = sampled && self.overall.happens(random, 0x006f_7665_7261_6c6c);
        let trace = parent.map_or_else(|| rand::random::<u128>().max(1), |parent| parent.trace);
        let context = TraceContext { trace, span: rand::random::<u64>().max(1), sampled: Some(sampled) };
        let above = parent.map(|parent| parent.span);
        if !self.no_propagation {
            context.inject(above, headers);
        }
        if !sampled {
            return;
        }
        let name = operation
            .or_else(|| record.authority.as_ref().and_then(|host| host.to_str().ok()).map(Into::into))
            .unwrap_or_else(|| "request".into());
        let tags = self.own_tags(record, headers);
        record.span = Some(Box::new(Span { context, parent: above, name, tags }));
    }

    fn own_tags(&self, record: &RequestRecord, headers: &HeaderMap) -> Vec<KeyValue> {
        let mut tags = Vec::with_capacity(32);
        for (name, tag) in &self.tags {
            let value = match tag {
                Tag::Literal(value) => Some(value.clone()),
                Tag::Header(header, default) => {
                    let given = headers
                        .get(header)
                        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
                    given.or_else(|| default.clone())
                }
                Tag::Format(format) => {
                    Some(crate::http::mutation::rendered(&record.entry_with(headers), format))
                }
            };
            tags.extend(value.map(|value| tag_of(name, value)));
        }
        for (name, header) in [("guid:x-request-id", "x-request-id"), ("user_agent", "user-agent")] {
            let value =
                headers.get(header).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
            tags.extend(value.map(|value| tag_of(name, value)));
        }
        tags
    }

    /// Ends a span and queues it.
    pub fn finish(&self, span: Span, record: &RequestRecord, duration: Duration) {
        let worker = &record.connection.downstream.worker;
        let span = self.to_otlp(span, record, duration);
        worker.recorder.spans.push(worker, &self.tracer, span);
    }

    fn to_otlp(&self, span: Span, record: &RequestRecord, duration: Duration) -> otlp::Span {
        let downstream = &record.connection.downstream;
        let inbound = downstream.listener.direction == Direction::Inbound;
        let kind = if inbound { otlp::span::SpanKind::Server } else { otlp::span::SpanKind::Client };
        let status = record.status.map_or(0, |status| status.as_u16());
        let failed = status == 0 || status >= 500;
        let scheme = if downstream.tls.is_some() { "https" } else { "http" };
        let host = record.authority.as_ref().and_then(|host| host.to_str().ok()).unwrap_or_default();
        let mut path = record.target.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        path.truncate(floor(&path, self.max_path));
        let version = match record.version {
            http::Version::HTTP_10 => "HTTP/1.0",
            http::Version::HTTP_2 => "HTTP/2",
            _ => "HTTP/1.1",
        };
        let telemetry = downstream.worker.recorder.telemetry();
        let mut tags = span.tags;
        let cluster = record.cluster_name.as_deref().unwrap_or("-").to_owned();
        tags.extend([
            tag_of("component", "proxy"),
            tag_of("node_id", telemetry.node().id.as_str()),
            tag_of("http.method", record.method.as_str()),
            tag_of("http.url", format!("{scheme}://{host}{path}")),
            tag_of("http.protocol", version),
            tag_of("http.status_code", status.to_string()),
            tag_of("upstream_cluster", cluster.as_str()),
            tag_of("upstream_cluster.name", cluster),
            tag_of("downstream_cluster", "-"),
            tag_of("request_size", record.received.to_string()),
            tag_of("response_size", record.sent.to_string()),
            tag_of("response_flags", record.flags.to_string()),
            tag_of("peer.address", downstream.peer.ip().to_string()),
        ]);
        if failed {
            tags.push(tag_of("error", "true"));
        }
        tags.extend(local_tags(telemetry));
        let start = nanos(record.started_at);
        let code = if failed { otlp::status::StatusCode::Error } else { otlp::status::StatusCode::Unset };
        otlp::Span {
            trace_id: span.context.trace.to_be_bytes().to_vec(),
            span_id: span.context.span.to_be_bytes().to_vec(),
            parent_span_id: span.parent.map(|parent| parent.to_be_bytes().to_vec()).unwrap_or_default(),
            name: span.name.to_string(),
            kind: kind.into(),
            start_time_unix_nano: start,
            end_time_unix_nano: start + u64::try_from(duration.as_nanos()).unwrap_or_default(),
            attributes: tags,
            status: Some(otlp::Status { code: code.into(), message: String::new() }),
            flags: 1,
            ..otlp::Span::default()
        }
    }
}

/// Istio's tags of the local workload.
fn local_tags(telemetry: &Telemetry) -> Vec<KeyValue> {
    let local = &telemetry.names().local;
    [
        ("istio.canonical_service", &local.canonical_service),
        ("istio.canonical_revision", &local.canonical_revision),
        ("istio.namespace", &local.namespace),
        ("istio.cluster_id", &local.cluster),
        ("istio.mesh_id", &local.mesh),
    ]
    .into_iter()
    .filter(|(_, value)| !value.is_empty())
    .map(|(name, value)| tag_of(name, value.as_str()))
    .collect()
}

fn floor(text: &str, limit: usize) -> usize {
    (0..=limit.min(text.len())).rev().find(|index| text.is_char_boundary(*index)).unwrap_or(0)
}

fn nanos(moment: SystemTime) -> u64 {
    moment
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| u64::try_from(since.as_nanos()).ok())
        .unwrap_or_default()
}

fn tag_of(name: &str, value: impl Into<String>) -> KeyValue {
    let value = Some(AnyValue { value: Some(any_value::Value::StringValue(value.into())) });
    KeyValue { key: name.to_owned(), value, ..KeyValue::default() }
}

/// One worker's finished spans, by tracer.
#[derive(Debug, Default)]
pub struct SpanQueues(RefCell<Vec<Rc<Queue>>>);

#[derive(Debug)]
struct Queue {
    tracer: Arc<Tracer>,
    spans: RefCell<Vec<otlp::Span>>,
    sending: Cell<bool>,
}

impl SpanQueues {
    fn push(&self, worker: &Rc<Worker>, tracer: &Arc<Tracer>, span: otlp::Span) {
        let queue = {
            let mut queues = self.0.borrow_mut();
            let known = queues.iter().find(|queue| Arc::ptr_eq(&queue.tracer, tracer)).cloned();
            known.unwrap_or_else(|| {
                // Tracers of configurations that are gone have nothing left to send.
                queues.retain(|queue| queue.sending.get());
                let queue = Rc::new(Queue {
                    tracer: Arc::clone(tracer),
                    spans: RefCell::default(),
                    sending: Cell::new(false),
                });
                queues.push(Rc::clone(&queue));
                queue
            })
        };
        if queue.spans.borrow().len() >= QUEUE_LIMIT {
            tracer.dropped.add(1);
            return;
        }
        queue.spans.borrow_mut().push(span);
        if !queue.sending.replace(true) {
            let worker = Rc::downgrade(worker);
            tokio::task::spawn_local(async move {
                loop {
                    tokio::time::sleep(GATHER).await;
                    let batch: Vec<_> = {
                        let mut spans = queue.spans.borrow_mut();
                        let count = spans.len().min(BATCH);
                        spans.drain(..count).collect()
                    };
                    let Some(worker) = worker.upgrade().filter(|_| !batch.is_empty()) else {
                        queue.sending.set(false);
                        return;
                    };
                    queue.tracer.send(&worker, batch).await;
                }
            });
        }
    }
}

impl Tracer {
    /// Sends one batch. Spans that cannot be delivered are counted and let go.
    async fn send(&self, worker: &Rc<Worker>, spans: Vec<otlp::Span>) {
        let count = spans.len() as u64;
        let message = ExportTraceServiceRequest {
            resource_spans: vec![otlp::ResourceSpans {
                resource: Some(Resource {
                    attributes: vec![tag_of("service.name", self.service.as_str())],
                    ..Resource::default()
                }),
                scope_spans: vec![otlp::ScopeSpans {
                    scope: Some(InstrumentationScope {
                        name: "mizzen".to_owned(),
                        ..InstrumentationScope::default()
                    }),
                    spans,
                    schema_url: String::new(),
                }],
                schema_url: String::new(),
            }],
        };
        match mirror::grpc_call(worker, &self.cluster, &self.authority, EXPORT_PATH, frame(&message)).await {
            Ok(()) => self.sent.add(count),
            Err(reason) => {
                self.dropped.add(count);
                ::tracing::debug!(cluster = %self.cluster, "spans not delivered: {reason}");
            }
        }
    }
}

/// A message behind gRPC's flag and length.
fn frame(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut out = BytesMut::with_capacity(length + 5);
    out.put_u8(0);
    out.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    out.put_slice(&message.encode_to_vec());
    out.freeze()
}
