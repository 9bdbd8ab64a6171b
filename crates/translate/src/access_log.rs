//! Access logs: Istio's line, or a format of one's own.

use envoy_types::pb::envoy::extensions::access_loggers::file::v3::{
    FileAccessLog, file_access_log::AccessLogFormat,
};
use mizzen_model::{
    Side,
    mesh::{MeshConfig, Provider, ProviderKind},
};

use crate::{
    context::Context,
    envoy::{self as e, accesslog, core, wkt},
    wire,
};

/// Istio's line. Kiali and others read its fields by position. Source: Istio,
/// `pilot/pkg/model/telemetry_logging.go`.
const TEXT: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% \
%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% \"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" \
%BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \
\"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER_RAW% \
%UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n";

/// The same as JSON.
const JSON: [(&str, &str); 24] = [
    ("start_time", "%START_TIME%"),
    ("route_name", "%ROUTE_NAME%"),
    ("method", "%REQ(:METHOD)%"),
    ("path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"),
    ("protocol", "%PROTOCOL%"),
    ("response_code", "%RESPONSE_CODE%"),
    ("response_flags", "%RESPONSE_FLAGS%"),
    ("response_code_details", "%RESPONSE_CODE_DETAILS%"),
    ("connection_termination_details", "%CONNECTION_TERMINATION_DETAILS%"),
    ("bytes_received", "%BYTES_RECEIVED%"),
    ("bytes_sent", "%BYTES_SENT%"),
    ("duration", "%DURATION%"),
    ("upstream_service_time", "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%"),
    ("x_forwarded_for", "%REQ(X-FORWARDED-FOR)%"),
    ("user_agent", "%REQ(USER-AGENT)%"),
    ("request_id", "%REQ(X-REQUEST-ID)%"),
    ("authority", "%REQ(:AUTHORITY)%"),
    ("upstream_host", "%UPSTREAM_HOST%"),
    ("upstream_cluster", "%UPSTREAM_CLUSTER_RAW%"),
    ("upstream_local_address", "%UPSTREAM_LOCAL_ADDRESS%"),
    ("downstream_local_address", "%DOWNSTREAM_LOCAL_ADDRESS%"),
    ("downstream_remote_address", "%DOWNSTREAM_REMOTE_ADDRESS%"),
    ("requested_server_name", "%REQUESTED_SERVER_NAME%"),
    ("upstream_transport_failure_reason", "%UPSTREAM_TRANSPORT_FAILURE_REASON%"),
];

/// The access logs of a proxy on one side: of its Telemetry, else the mesh's file.
pub(crate) fn of_side(context: &Context<'_>, side: Side) -> Vec<accesslog::AccessLog> {
    let mesh = context.snapshot().mesh();
    let providers = context.snapshot().access_log_providers(&context.proxy.namespace, &context.labels, side);
    let known = providers.iter().filter_map(|name| mesh.provider(name));
    let mut logs: Vec<_> = known.filter_map(|provider| of_provider(mesh, provider)).collect();
    let silenced = context.snapshot().declares_access_logs(&context.proxy.namespace, &context.labels, side);
    if logs.is_empty() && !silenced && !mesh.access_log_file.is_empty() {
        logs.push(file(&mesh.access_log_file, of_mesh(mesh)));
    }
    logs
}

/// Connections that no filter chain took leave a line too, where there are access logs at all.
pub(crate) fn of_unmatched(context: &Context<'_>, side: Side) -> Vec<accesslog::AccessLog> {
    let no_route = accesslog::AccessLogFilter {
        filter_specifier: Some(accesslog::access_log_filter::FilterSpecifier::ResponseFlagFilter(
            accesslog::ResponseFlagFilter { flags: vec!["NR".to_owned()] },
        )),
    };
    of_side(context, side)
        .into_iter()
        .map(|log| accesslog::AccessLog { filter: Some(no_route.clone()), ..log })
        .collect()
}

fn of_provider(mesh: &MeshConfig, provider: &Provider) -> Option<accesslog::AccessLog> {
    match &provider.kind {
        ProviderKind::AccessLogFile { path, text, json } => {
            let format = match (text, json) {
                (Some(text), _) => text_format(text),
                (None, Some(labels)) => {
                    json_format(labels.iter().map(|(key, value)| (key.as_str(), json_value(value))))
                }
                (None, None) => of_mesh(mesh),
            };
            Some(file(path, format))
        }
        ProviderKind::OpenTelemetry { .. } | ProviderKind::Prometheus | ProviderKind::Other => None,
    }
}

fn of_mesh(mesh: &MeshConfig) -> core::SubstitutionFormatString {
    let own = Some(mesh.access_log_format.as_str()).filter(|format| !format.is_empty());
    if !mesh.access_log_json {
        return text_format(own.unwrap_or(TEXT));
    }
    let parsed = own
        .and_then(|format| serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(format).ok());
    match parsed {
        Some(fields) => json_format(fields.iter().map(|(key, value)| (key.as_str(), json_value(value)))),
        None => json_format(JSON.into_iter().map(|(key, value)| (key, e::string_value(value)))),
    }
}

fn file(path: &str, format: core::SubstitutionFormatString) -> accesslog::AccessLog {
    let config =
        FileAccessLog { path: path.to_owned(), access_log_format: Some(AccessLogFormat::LogFormat(format)) };
    accesslog::AccessLog {
        name: "envoy.access_loggers.file".to_owned(),
        filter: None,
        config_type: Some(accesslog::access_log::ConfigType::TypedConfig(e::any_of(
            &config,
            &wire::FILE_ACCESS_LOG,
        ))),
    }
}

fn text_format(text: &str) -> core::SubstitutionFormatString {
    let mut line = text.to_owned();
    if !line.ends_with('\n') {
        line.push('\n');
    }
    core::SubstitutionFormatString {
        format: Some(core::substitution_format_string::Format::TextFormatSource(core::DataSource {
            specifier: Some(core::data_source::Specifier::InlineString(line)),
            ..Default::default()
        })),
        ..Default::default()
    }
}

fn json_format<'a>(fields: impl Iterator<Item = (&'a str, wkt::Value)>) -> core::SubstitutionFormatString {
    core::SubstitutionFormatString {
        format: Some(core::substitution_format_string::Format::JsonFormat(e::structure(fields))),
        ..Default::default()
    }
}

fn json_value(value: &serde_json::Value) -> wkt::Value {
    let kind = match value {
        serde_json::Value::Null => wkt::value::Kind::NullValue(0),
        serde_json::Value::Bool(value) => wkt::value::Kind::BoolValue(*value),
        serde_json::Value::Number(value) => wkt::value::Kind::NumberValue(value.as_f64().unwrap_or_default()),
        serde_json::Value::String(value) => wkt::value::Kind::StringValue(value.clone()),
        serde_json::Value::Array(values) => {
            wkt::value::Kind::ListValue(wkt::ListValue { values: values.iter().map(json_value).collect() })
        }
        serde_json::Value::Object(fields) => wkt::value::Kind::StructValue(e::structure(
            fields.iter().map(|(key, value)| (key.clone(), json_value(value))),
        )),
    };
    wkt::Value { kind: Some(kind) }
}
