//! `/config_dump`: what was received and is in force, in the shape of `envoy.admin.v3.ConfigDump`.

use super::certificates::secret_dump;
use super::{Holder, Parameters, described, failure, json, moment};
use crate::configuration::{Manager, Record};
use crate::proxy::Shared;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use envoy_types::pb::envoy::config::bootstrap::v3::Bootstrap;
use envoy_types::pb::envoy::config::listener::v3::{Listener, filter::ConfigType};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, http_connection_manager::RouteSpecifier,
};
use mizzen_xds::TypeUrl;
use mizzen_xds::descriptors::Descriptors;
use prost::{Message, Name};
use serde_json::{Map, Value};

const DUMP_TYPE: &str = "type.googleapis.com/envoy.admin.v3.";

pub(super) async fn config_dump(State(shared): Holder, Query(parameters): Parameters) -> Response {
    if let Some(unknown) =
        parameters.keys().find(|key| !matches!(key.as_str(), "include_eds" | "resource" | "name_regex"))
    {
        return (StatusCode::BAD_REQUEST, format!("the parameter '{unknown}' is not supported\n"))
            .into_response();
    }
    let names = match parameters.get("name_regex").map(|pattern| regex::Regex::new(pattern)).transpose() {
        Ok(names) => names,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    };
    let resource = parameters.get("resource").map(String::as_str);
    let endpoints = parameters.contains_key("include_eds")
        || resource.is_some_and(|field| field.ends_with("endpoint_configs"));
    let dumped = described(|descriptors| {
        let configs = Dump { shared: &shared, descriptors, names }.configs(endpoints);
        selected(configs, resource)
    });
    dumped.unwrap_or_else(failure)
}

/// The whole dump, or one field of it.
fn selected(configs: Vec<Value>, resource: Option<&str>) -> Response {
    let Some(field) = resource else { return json(&object([("configs", configs.into())])) };
    let found: Vec<_> = configs.iter().filter_map(|config| config.get(field)).collect();
    if found.is_empty() {
        return (StatusCode::NOT_FOUND, format!("{field} not found in config dump\n")).into_response();
    }
    let inner: Vec<_> = found.into_iter().filter_map(Value::as_array).flatten().cloned().collect();
    json(&object([("configs", inner.into())]))
}

struct Dump<'a> {
    shared: &'a Shared,
    descriptors: &'a Descriptors,
    names: Option<regex::Regex>,
}

impl Dump<'_> {
    fn configs(&self, endpoints: bool) -> Vec<Value> {
        let manager = self.shared.manager.lock();
        let mut configs = vec![self.bootstrap(), self.clusters(&manager)];
        if endpoints {
            configs.push(self.endpoints(&manager));
        }
        configs.extend([self.listeners(&manager), self.routes(&manager)]);
        configs.push(secret_dump(&manager.context().secrets, |name| self.wants(name)));
        configs
    }

    fn wants(&self, name: &str) -> bool {
        self.names.as_ref().is_none_or(|names| names.is_match(name))
    }

    fn any(&self, kind: TypeUrl, body: &[u8]) -> Value {
        redacted(self.descriptors.write_any(kind.as_str(), body))
    }

    fn bootstrap(&self) -> Value {
        let written = self.descriptors.write_encoded(&Bootstrap::full_name(), &self.shared.bootstrap);
        let bootstrap = redacted(written.unwrap_or_else(|error| error.to_string().into()));
        dump(
            "BootstrapConfigDump",
            [("bootstrap", bootstrap), ("last_updated", moment(self.shared.started).into())],
        )
    }

    fn clusters(&self, manager: &Manager) -> Value {
        let records = manager.records();
        let (_, warming) = manager.warming();
        let (mut fixed, mut active, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
        for (name, record) in records.all(TypeUrl::CLUSTER).filter(|(name, _)| self.wants(name)) {
            let mut entry = self.state(TypeUrl::CLUSTER, "cluster", record);
            if let Some(failure) = self.failure(TypeUrl::CLUSTER, record) {
                entry.insert("error_state".to_owned(), failure);
            }
            let list = match (record.fixed, warming.contains(name)) {
                (true, _) => &mut fixed,
                (false, false) => &mut active,
                (false, true) => &mut waiting,
            };
            list.push(Value::Object(entry));
        }
        dump(
            "ClustersConfigDump",
            [
                ("version_info", records.version(TypeUrl::CLUSTER).into()),
                ("static_clusters", fixed.into()),
                ("dynamic_active_clusters", active.into()),
                ("dynamic_warming_clusters", waiting.into()),
            ],
        )
    }

    fn endpoints(&self, manager: &Manager) -> Value {
        let wanted = |name: &str| self.wants(name);
        let records = manager.records().all(TypeUrl::ENDPOINT).filter(|(name, _)| wanted(name));
        let dynamic: Vec<_> = records
            .map(|(_, record)| Value::Object(self.state(TypeUrl::ENDPOINT, "endpoint_config", record)))
            .collect();
        let fixed: Vec<_> = manager
            .records()
            .all(TypeUrl::CLUSTER)
            .filter(|(name, _)| wanted(name))
            .filter_map(|(_, record)| {
                use envoy_types::pb::envoy::config::cluster::v3::Cluster;
                let assignment = Cluster::decode(record.body.clone()).ok()?.load_assignment?;
                let body = assignment.encode_to_vec();
                Some(object([("endpoint_config", self.any(TypeUrl::ENDPOINT, &body))]))
            })
            .collect();
        dump(
            "EndpointsConfigDump",
            [("static_endpoint_configs", fixed.into()), ("dynamic_endpoint_configs", dynamic.into())],
        )
    }

    fn listeners(&self, manager: &Manager) -> Value {
        let records = manager.records();
        let (mut fixed, mut dynamic) = (Vec::new(), Vec::new());
        for (name, record) in records.all(TypeUrl::LISTENER).filter(|(name, _)| self.wants(name)) {
            let state = self.state(TypeUrl::LISTENER, "listener", record);
            if record.fixed {
                fixed.push(Value::Object(state));
                continue;
            }
            let mut entry = Map::new();
            entry.insert("name".to_owned(), (&**name).into());
            if !record.body.is_empty() {
                let place = if manager.warming_listener(name) { "warming_state" } else { "active_state" };
                entry.insert(place.to_owned(), Value::Object(state));
            }
            if let Some(failure) = self.failure(TypeUrl::LISTENER, record) {
                entry.insert("error_state".to_owned(), failure);
            }
            dynamic.push(Value::Object(entry));
        }
        dump(
            "ListenersConfigDump",
            [
                ("version_info", records.version(TypeUrl::LISTENER).into()),
                ("static_listeners", fixed.into()),
                ("dynamic_listeners", dynamic.into()),
            ],
        )
    }

    fn routes(&self, manager: &Manager) -> Value {
        let records = manager.records();
        let dynamic: Vec<_> = records
            .all(TypeUrl::ROUTE)
            .filter(|(name, _)| self.wants(name))
            .map(|(name, record)| {
                let body = manager.whole_routes(name, record).into();
                let whole = Record { body, ..record.clone() };
                let mut entry = self.state(TypeUrl::ROUTE, "route_config", &whole);
                if let Some(failure) = self.failure(TypeUrl::ROUTE, record) {
                    entry.insert("error_state".to_owned(), failure);
                }
                Value::Object(entry)
            })
            .collect();
        let mut fixed = Vec::new();
        for (_, record) in records.all(TypeUrl::LISTENER) {
            for body in inline_routes(record) {
                let routes = self.any(TypeUrl::ROUTE, &body);
                if self.wants(routes.get("name").and_then(Value::as_str).unwrap_or_default()) {
                    let updated = moment(record.updated).into();
                    fixed.push(object([("route_config", routes), ("last_updated", updated)]));
                }
            }
        }
        dump(
            "RoutesConfigDump",
            [("static_route_configs", fixed.into()), ("dynamic_route_configs", dynamic.into())],
        )
    }

    /// Version, message and moment of a record, under the message's own field name.
    fn state(&self, kind: TypeUrl, field: &str, record: &Record) -> Map<String, Value> {
        let mut state = Map::new();
        if !record.fixed {
            state.insert("version_info".to_owned(), (&*record.version).into());
        }
        state.insert(field.to_owned(), self.any(kind, &record.body));
        state.insert("last_updated".to_owned(), moment(record.updated).into());
        state
    }

    fn failure(&self, kind: TypeUrl, record: &Record) -> Option<Value> {
        let failure = record.failure.as_ref()?;
        Some(object([
            ("failed_configuration", self.any(kind, &failure.body)),
            ("last_update_attempt", moment(failure.at).into()),
            ("details", failure.reason.as_str().into()),
            ("version_info", (&*failure.version).into()),
        ]))
    }
}

/// Route configurations inside a listener's HTTP connection managers, encoded.
fn inline_routes(record: &Record) -> Vec<Vec<u8>> {
    let Ok(listener) = Listener::decode(record.body.clone()) else { return Vec::new() };
    let chains = listener.filter_chains.iter().chain(&listener.default_filter_chain);
    chains
        .flat_map(|chain| &chain.filters)
        .filter_map(|filter| match &filter.config_type {
            Some(ConfigType::TypedConfig(any)) if any.type_url == HttpConnectionManager::type_url() => {
                HttpConnectionManager::decode(any.value.as_slice()).ok()
            }
            _ => None,
        })
        .filter_map(|manager| match manager.route_specifier {
            Some(RouteSpecifier::RouteConfig(routes)) => Some(routes.encode_to_vec()),
            _ => None,
        })
        .collect()
}

/// Fields whose content nobody but their owner may see (`udpa.annotations.sensitive`).
const SENSITIVE: &[&str] =
    &["private_key", "password", "pkcs12", "generic_secret", "session_ticket_keys", "client_secret"];
/// The words Envoy puts in their place, and the same in base64.
const REDACTED: &str = "[redacted]";
const REDACTED_BYTES: &str = "W3JlZGFjdGVkXQ==";

/// Takes secrets that were given in line out of a dump. File names stay.
fn redacted(mut value: Value) -> Value {
    redact(&mut value, false);
    value
}

fn redact(value: &mut Value, sensitive: bool) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match name.as_str() {
                    "inline_string" if sensitive => *value = REDACTED.into(),
                    "inline_bytes" if sensitive => *value = REDACTED_BYTES.into(),
                    name => redact(value, sensitive || SENSITIVE.contains(&name)),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| redact(value, sensitive)),
        _ => {}
    }
}

/// One part of the dump. Empty parts are left out, as protobuf's JSON form does.
pub(super) fn dump<const N: usize>(name: &str, fields: [(&str, Value); N]) -> Value {
    let mut dump = Map::new();
    dump.insert("@type".to_owned(), format!("{DUMP_TYPE}{name}").into());
    for (field, value) in fields {
        let empty = value.as_array().is_some_and(Vec::is_empty) || value.as_str().is_some_and(str::is_empty);
        if !empty {
            dump.insert(field.to_owned(), value);
        }
    }
    Value::Object(dump)
}

pub(super) fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

#[cfg(test)]
#[path = "config_dump_tests.rs"]
mod tests;
