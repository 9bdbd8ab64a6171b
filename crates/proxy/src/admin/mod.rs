//! The admin port: configuration, statistics and commands in the shapes of Envoy, so that tools made
//! for it (`istioctl proxy-config` among them) work here.
//!
//! What changes something needs POST, as in Envoy.

mod certificates;
mod config_dump;
mod info;
pub(crate) mod statistics;

use crate::compile::{CompileError, address};
use crate::configuration::BindError;
use crate::proxy::{Shared, StartError};
use axum::Router;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use envoy_types::pb::envoy::config::bootstrap::v3::Admin;
use mizzen_base::{drain, http};
use mizzen_net::ListenOptions;
use mizzen_net::socket::listen_std;
use mizzen_xds::descriptors::{DescriptorError, Descriptors};
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Arc;

type Parameters = Query<BTreeMap<String, String>>;
type Holder = State<Arc<Shared>>;

/// What there is, for `/help` and the page at `/`.
const ENDPOINTS: &[(&str, &str)] = &[
    ("/certs", "print certificates in use"),
    ("/clusters", "upstream cluster status (format=json)"),
    ("/config_dump", "dump current configuration (include_eds, resource=FIELD)"),
    ("/drain_listeners", "POST: drain listeners (inboundonly)"),
    ("/help", "print this"),
    ("/listeners", "print listener addresses (format=json)"),
    ("/logging", "POST: change the log level (level=LEVEL or paths=TARGET:LEVEL,...)"),
    ("/memory", "print memory use"),
    ("/quitquitquit", "POST: end the process"),
    ("/ready", "print server state, 503 unless LIVE"),
    ("/reopen_logs", "POST: open access logs again"),
    ("/server_info", "print version, state and options"),
    ("/stats", "print statistics (format=json|prometheus, filter=REGEX, usedonly)"),
    ("/stats/prometheus", "print statistics in Prometheus's format"),
];

/// Binds the admin port; `None` when the bootstrap has none.
pub(crate) fn bind(admin: Option<&Admin>) -> Result<Option<TcpListener>, StartError> {
    let Some(admin) = admin else { return Ok(None) };
    let at = |error: CompileError| error.at("admin");
    let unsupported = |field: &str| Err(at(CompileError::unsupported(field, "this setting")).into());
    #[allow(deprecated)]
    let access_log =
        !admin.access_log.is_empty() || !matches!(admin.access_log_path.as_str(), "" | "/dev/null");
    if access_log {
        return unsupported("access_log");
    }
    if !admin.socket_options.is_empty() {
        return unsupported("socket_options");
    }
    if admin.address.is_none() {
        return Ok(None);
    }
    let (address, _) = address::socket(admin.address.as_ref()).map_err(|error| at(error.at("address")))?;
    let socket = listen_std(address, &ListenOptions::default())
        .map_err(|source| StartError::Bind(BindError { address, source }))?;
    Ok(Some(socket))
}

/// Serves the admin port for ever.
pub(crate) async fn serve(socket: TcpListener, shared: Arc<Shared>) {
    let socket = match tokio::net::TcpListener::from_std(socket) {
        Ok(socket) => socket,
        Err(error) => return tracing::error!(%error, "the admin port does not serve"),
    };
    // Ends with the process, without a drain of its own.
    let (_drain, watcher) = drain::channel();
    http::serve(http::plain(socket, watcher.clone()), router(shared), watcher).await;
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/", get(help))
        .route("/help", get(help))
        .route("/certs", get(certificates::certs))
        .route("/clusters", get(info::clusters))
        .route("/config_dump", get(config_dump::config_dump))
        .route("/listeners", get(info::listeners))
        .route("/memory", get(info::memory))
        .route("/ready", get(info::ready))
        .route("/server_info", get(info::server_info))
        .route("/stats", get(statistics::stats))
        .route("/stats/prometheus", get(statistics::stats_prometheus))
        .route("/drain_listeners", post(drain_listeners))
        .route("/logging", post(logging))
        .route("/quitquitquit", post(quit))
        .route("/reopen_logs", post(reopen_logs))
        .fallback(unknown)
        .with_state(shared)
}

async fn help() -> String {
    ENDPOINTS
        .iter()
        .fold("admin commands are:\n".to_owned(), |text, (path, what)| format!("{text}  {path}: {what}\n"))
}

async fn unknown() -> (StatusCode, String) {
    (StatusCode::NOT_FOUND, format!("invalid path. {}", help().await))
}

async fn drain_listeners(State(shared): Holder, Query(parameters): Parameters) -> &'static str {
    // Nobody waits here for the sockets to be closed.
    drop(shared.manager.lock().drain(parameters.contains_key("inboundonly")));
    "OK\n"
}

async fn quit(State(shared): Holder) -> &'static str {
    shared.quit.send_replace(true);
    "OK\n"
}

async fn reopen_logs(State(shared): Holder) -> &'static str {
    shared.telemetry.reopen_logs();
    "OK\n"
}

async fn logging(State(shared): Holder, Query(parameters): Parameters) -> Response {
    let Some(handle) = &shared.logging else {
        return (StatusCode::BAD_REQUEST, "the process that runs this proxy keeps its log level\n")
            .into_response();
    };
    match log_filter(&parameters) {
        Some(filter) => match handle.set(&filter) {
            Ok(()) => active_loggers(&handle.current()).into_response(),
            Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
        },
        None => active_loggers(&handle.current()).into_response(),
    }
}

/// The filter that Envoy's parameters ask for: `level=debug`, `paths=a:debug,b:info`, or `a=debug`.
fn log_filter(parameters: &BTreeMap<String, String>) -> Option<String> {
    let level =
        |name: &str| if name == "critical" { "error".to_owned() } else { name.replace("warning", "warn") };
    if let Some(name) = parameters.get("level") {
        return Some(level(name));
    }
    if let Some(paths) = parameters.get("paths") {
        let filters: Vec<_> = paths
            .split(',')
            .filter_map(|pair| pair.split_once(':'))
            .map(|(target, name)| format!("{target}={}", level(name)))
            .collect();
        return Some(format!("info,{}", filters.join(",")));
    }
    let pairs: Vec<_> = parameters.iter().map(|(target, name)| format!("{target}={}", level(name))).collect();
    (!pairs.is_empty()).then(|| format!("info,{}", pairs.join(",")))
}

fn active_loggers(filter: &str) -> String {
    let lines: String = filter
        .split(',')
        .map(|directive| match directive.split_once('=') {
            Some((target, level)) => format!("  {target}: {level}\n"),
            None => format!("  default: {directive}\n"),
        })
        .collect();
    format!("active loggers:\n{lines}")
}

/// Does `work` with the descriptors, and keeps none of the memory that took.
fn described<T: Send>(work: impl FnOnce(&Descriptors) -> T + Send) -> Result<T, DescriptorError> {
    let done = Descriptors::with(work);
    mizzen_net::memory::give_back();
    done
}

/// A JSON answer, indented as Envoy's is.
fn json(value: &serde_json::Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], format!("{value:#}\n")).into_response()
}

/// An answer for a failure of ours.
fn failure(error: impl std::fmt::Display) -> Response {
    (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response()
}

/// A moment in protobuf's JSON form.
fn moment(time: std::time::SystemTime) -> String {
    jiff::Timestamp::try_from(time).map(|time| format!("{time:.3}")).unwrap_or_default()
}

#[cfg(test)]
#[path = "admin_tests.rs"]
mod tests;
