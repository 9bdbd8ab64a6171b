//! The standard metrics as Telemetry changes them: the configuration of `istio.stats`.

use mizzen_api::telemetry::{Metric, MetricsOverride, TagOperation};
use mizzen_model::Side;
use mizzen_proto::stats::{MetricConfig, PluginConfig};

use crate::{context::Context, filters};

/// Metrics of HTTP; nothing where all are switched off.
pub(crate) fn http(context: &Context<'_>, side: Side) -> Option<PluginConfig> {
    config(context, side)
}

/// Metrics of connections; nothing where all are switched off.
pub(crate) fn tcp(context: &Context<'_>, side: Side) -> Option<PluginConfig> {
    config(context, side)
}

fn config(context: &Context<'_>, side: Side) -> Option<PluginConfig> {
    let changes = context.snapshot().metric_overrides(&context.proxy.namespace, &context.labels, side);
    if changes.disabled && changes.overrides.iter().all(|change| change.disabled != Some(false)) {
        return None;
    }
    let mut config = filters::stats_defaults(side);
    config.metrics = changes.overrides.iter().flat_map(metric_configs).collect();
    Some(config)
}

/// The names `istio.stats` knows the metrics by; an empty name means all.
fn names(change: &MetricsOverride) -> Vec<String> {
    let Some(matches) = &change.matches else { return vec![String::new()] };
    if let Some(custom) = &matches.custom_metric {
        return vec![custom.clone()];
    }
    let name = match matches.metric.unwrap_or_default() {
        Metric::AllMetrics => "",
        Metric::RequestCount => "requests_total",
        Metric::RequestDuration => "request_duration_milliseconds",
        Metric::RequestSize => "request_bytes",
        Metric::ResponseSize => "response_bytes",
        Metric::TcpOpenedConnections => "tcp_connections_opened_total",
        Metric::TcpClosedConnections => "tcp_connections_closed_total",
        Metric::TcpSentBytes => "tcp_sent_bytes_total",
        Metric::TcpReceivedBytes => "tcp_received_bytes_total",
        Metric::GrpcRequestMessages => "request_messages_total",
        Metric::GrpcResponseMessages => "response_messages_total",
    };
    vec![name.to_owned()]
}

fn metric_configs(change: &MetricsOverride) -> Vec<MetricConfig> {
    let removed = change
        .tag_overrides
        .iter()
        .filter(|(_, tag)| tag.operation == Some(TagOperation::Remove))
        .map(|(tag, _)| tag.clone());
    let added = change
        .tag_overrides
        .iter()
        .filter(|(_, tag)| tag.operation.unwrap_or_default() == TagOperation::Upsert)
        .filter_map(|(tag, change)| Some((tag.clone(), change.value.clone()?)));
    let (removed, added): (Vec<_>, std::collections::HashMap<_, _>) = (removed.collect(), added.collect());
    names(change)
        .into_iter()
        .map(|name| MetricConfig {
            name,
            drop: change.disabled == Some(true),
            tags_to_remove: removed.clone(),
            dimensions: added.clone(),
            ..Default::default()
        })
        .collect()
}
