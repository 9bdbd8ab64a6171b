//! `AccessLog` → [`AccessLog`]. Sinks: file, standard output, standard error.

use super::{CompileError, Context, unpack};
use crate::telemetry::AccessLog;
use envoy_types::pb::envoy::config::accesslog::v3 as pb;
use envoy_types::pb::envoy::extensions::access_loggers::file::v3::{FileAccessLog, file_access_log};
use envoy_types::pb::envoy::extensions::access_loggers::stream::v3 as stream;
use pb::access_log::ConfigType;
use pb::access_log_filter::FilterSpecifier;
use std::sync::Arc;

const FILE: &str = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog";
const STDOUT: &str = "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog";
const STDERR: &str = "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StderrAccessLog";

/// Compiles the logs of an HTTP connection manager or TCP proxy.
pub fn compile(logs: &[pb::AccessLog], context: &Context) -> Result<Vec<Arc<AccessLog>>, CompileError> {
    each(logs, |log| {
        if log.filter.is_some() {
            return Err(CompileError::unsupported("filter", "an access log filter"));
        }
        one(log, context)
    })
}

/// Compiles the logs of a listener, which are written for connections that no filter chain took. So
/// a filter on the response flag NR, as Istio sends it, says nothing new.
pub fn compile_of_listener(
    logs: &[pb::AccessLog],
    context: &Context,
) -> Result<Vec<Arc<AccessLog>>, CompileError> {
    each(logs, |log| {
        match log.filter.as_ref().and_then(|filter| filter.filter_specifier.as_ref()) {
            None => {}
            Some(FilterSpecifier::ResponseFlagFilter(filter))
                if filter.flags.is_empty() || filter.flags.iter().any(|flag| flag == "NR") => {}
            Some(_) => {
                return Err(CompileError::unsupported(
                    "filter",
                    "an access log filter of a listener other than response_flag_filter NR",
                ));
            }
        }
        one(log, context)
    })
}

fn each(
    logs: &[pb::AccessLog],
    compile: impl Fn(&pb::AccessLog) -> Result<AccessLog, CompileError>,
) -> Result<Vec<Arc<AccessLog>>, CompileError> {
    logs.iter()
        .enumerate()
        .map(|(index, log)| {
            compile(log).map(Arc::new).map_err(|error| error.at(format!("access_log[{index}]")))
        })
        .collect()
}

fn one(log: &pb::AccessLog, context: &Context) -> Result<AccessLog, CompileError> {
    let Some(ConfigType::TypedConfig(any)) = &log.config_type else {
        return Err(CompileError::missing("typed_config"));
    };
    let file = match any.type_url.as_str() {
        FILE => unpack::<FileAccessLog>(any, "typed_config")?,
        STDOUT => {
            let log: stream::StdoutAccessLog = unpack(any, "typed_config")?;
            let format =
                log.access_log_format.map(|stream::stdout_access_log::AccessLogFormat::LogFormat(format)| {
                    file_access_log::AccessLogFormat::LogFormat(format)
                });
            FileAccessLog { path: "/dev/stdout".to_owned(), access_log_format: format }
        }
        STDERR => {
            let log: stream::StderrAccessLog = unpack(any, "typed_config")?;
            let format =
                log.access_log_format.map(|stream::stderr_access_log::AccessLogFormat::LogFormat(format)| {
                    file_access_log::AccessLogFormat::LogFormat(format)
                });
            FileAccessLog { path: "/dev/stderr".to_owned(), access_log_format: format }
        }
        other => return Err(CompileError::unsupported("typed_config", format!("'{}' ({other})", log.name))),
    };
    AccessLog::file(&file, &context.telemetry).map_err(|error| error.at("typed_config"))
}
