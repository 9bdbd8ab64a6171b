//! From a request to an answer: who asks, for what, in which form.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::request::Parts;
use http::{Method, Request};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::negotiate::{Accepted, Form, accepted, aggregated_discovery};
use super::query::Query;
use super::response::{self, Answer};
use super::route::{ResourcePath, Target};
use super::{body, discovery, openapi, route};
use crate::api::{Api, FieldValidation, Outcome, WriteOptions};
use crate::auth::{self, User};
use crate::error::ApiError;
use crate::operations::delete::DeleteOptions;
use crate::operations::list::{self, Scope};
use crate::operations::patch::Patch;
use crate::operations::{create, delete, patch, update, watch};
use crate::patch::PatchKind;
use crate::resources::{CustomKind, Resource};
use crate::{api, object, subresources, table};

/// An authenticated request for a resource.
pub(crate) struct Call {
    pub method: Method,
    pub path: ResourcePath,
    pub resource: Arc<Resource>,
    pub query: Query,
    pub accepted: Accepted,
    pub user: User,
    pub user_agent: String,
}

/// Answers a request. Never fails: what goes wrong is an answer too.
pub(crate) async fn handle(api: Arc<Api>, request: Request<Incoming>) -> Answer {
    let started = tokio::time::Instant::now();
    let method = request.method().clone();
    let uri = request.uri().clone();
    let answer = match answer(&api, request).await {
        Ok(answer) => answer,
        Err(error) => response::failure(&error),
    };
    tracing::debug!(%method, uri = %uri, status = answer.status().as_u16(), took = ?started.elapsed(), "request");
    answer
}

fn header(parts: &Parts, name: http::HeaderName) -> &str {
    parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

async fn answer(api: &Arc<Api>, request: Request<Incoming>) -> Result<Answer, ApiError> {
    let (parts, incoming) = request.into_parts();
    let target = route::parse(parts.uri.path());
    // What monitors and token verifiers read without a token, as in Kubernetes.
    match target {
        Target::Health => return Ok(response::text(200, "ok")),
        Target::Version => return Ok(response::json(200, &discovery::version())),
        _ => {}
    }
    let user = authenticate(api, &parts)?;
    let accept = header(&parts, ACCEPT).to_owned();
    match target {
        Target::Resource(path) => {
            let call = call(api, &parts, path, user)?;
            dispatch(api, call, &parts, incoming).await
        }
        other => document(api, &other, &parts.method, &accept),
    }
}

fn authenticate(api: &Api, parts: &Parts) -> Result<User, ApiError> {
    let bearer = header(parts, AUTHORIZATION).strip_prefix("Bearer ").map(str::trim).unwrap_or_default();
    auth::authenticate(&api.tokens, &api.store, bearer).ok_or_else(ApiError::unauthorized)
}

/// Documents about the server itself.
fn document(api: &Api, target: &Target, method: &Method, accept: &str) -> Result<Answer, ApiError> {
    if method != Method::GET {
        return Err(ApiError::method_not_allowed());
    }
    let catalogue = api.catalogue.load();
    let value = match target {
        Target::CoreVersions | Target::Groups => {
            let core = *target == Target::CoreVersions;
            if let Some(form) = aggregated_discovery(accept) {
                let value = discovery::aggregated(&catalogue, core, form);
                let content_type =
                    format!("application/json;g=apidiscovery.k8s.io;v={form};as=APIGroupDiscoveryList");
                return Ok(response::with_type(200, &content_type, response::full(value.to_string())));
            }
            if core { discovery::core_versions() } else { discovery::groups(&catalogue) }
        }
        Target::Group(group) => {
            discovery::group(catalogue.group(group).ok_or_else(ApiError::no_such_resource)?)
        }
        Target::GroupVersion { group, version } => {
            let found = catalogue.group_version(group, version).ok_or_else(ApiError::no_such_resource)?;
            discovery::resources(group, found)
        }
        Target::OpenApiIndex => openapi::index(&catalogue),
        Target::OpenApi { group, version } => {
            openapi::document(catalogue.group_version(group, version).ok_or_else(ApiError::no_such_resource)?)
        }
        Target::TokenIssuer => json!({
            "issuer": auth::tokens::ISSUER,
            "jwks_uri": format!("{}/openid/v1/jwks", auth::tokens::ISSUER),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        }),
        Target::TokenKeys => api.tokens.key_set(),
        Target::Health | Target::Version | Target::Resource(_) | Target::Unknown => {
            return Err(ApiError::no_such_resource());
        }
    };
    Ok(response::json(200, &value))
}

fn call(api: &Api, parts: &Parts, path: ResourcePath, user: User) -> Result<Call, ApiError> {
    let catalogue = api.catalogue.load();
    let resource = catalogue
        .find(&path.group, &path.version, &path.plural)
        .cloned()
        .ok_or_else(ApiError::no_such_resource)?;
    if !resource.namespaced && !path.namespace.is_empty() {
        return Err(ApiError::no_such_resource());
    }
    if resource.namespaced && path.namespace.is_empty() && !path.name.is_empty() {
        return Err(ApiError::no_such_resource());
    }
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let is_upgrade = parts.headers.contains_key(http::header::UPGRADE);
    let streams = is_upgrade || path.subresource == "log";
    let accept = header(parts, ACCEPT);
    let accepted = match accepted(accept) {
        Some(accepted) => accepted,
        None if streams => Accepted { form: Form::Plain, yaml: false },
        None => return Err(ApiError::not_acceptable()),
    };
    Ok(Call {
        method: parts.method.clone(),
        path,
        resource,
        query,
        accepted,
        user,
        user_agent: header(parts, USER_AGENT).to_owned(),
    })
}

impl Call {
    /// Options of a change. Without a field manager it is the program's name, as in Kubernetes.
    pub fn write_options(&self) -> Result<WriteOptions, ApiError> {
        let agent = self.user_agent.split('/').next().unwrap_or_default();
        let field_manager =
            self.query.text("fieldManager").unwrap_or(if agent.is_empty() { "unknown" } else { agent });
        if field_manager.len() > 128 || field_manager.chars().any(char::is_control) {
            return Err(ApiError::bad_request("fieldManager must be at most 128 printable characters"));
        }
        let field_validation = match self.query.text("fieldValidation") {
            Some("Strict") => FieldValidation::Strict,
            Some("Warn") | None => FieldValidation::Warn,
            Some("Ignore") => FieldValidation::Ignore,
            Some(other) => {
                return Err(ApiError::bad_request(format!(
                    "fieldValidation: Unsupported value: {other:?}: supported values: \"Ignore\", \"Strict\", \"Warn\""
                )));
            }
        };
        Ok(WriteOptions {
            user: self.user.clone(),
            dry_run: self.query.dry_run()?,
            field_manager: field_manager.to_owned(),
            field_validation,
            ownership_recorded: false,
        })
    }

    pub fn place(&self) -> (&str, &str, &str) {
        (&self.path.namespace, &self.path.name, &self.path.subresource)
    }

    /// The answer for an outcome, in the accepted form.
    pub fn render(&self, outcome: &Outcome) -> Answer {
        let is_status = object::kind(&outcome.object) == "Status" && object::name(&outcome.object).is_empty();
        let shown = match self.accepted.form {
            _ if is_status => outcome.object.clone(),
            Form::Plain => outcome.object.clone(),
            Form::Metadata => table::partial(&outcome.object),
            Form::Table => table::of_one(&self.resource, &outcome.object, self.wants_objects()),
        };
        let mut answer = response::object(outcome.code, &shown, self.accepted);
        response::warn(&mut answer, &outcome.warnings);
        answer
    }

    fn wants_objects(&self) -> bool {
        self.query.text("includeObject") == Some("Object")
    }
}

async fn dispatch(api: &Arc<Api>, call: Call, parts: &Parts, incoming: Incoming) -> Result<Answer, ApiError> {
    if !call.path.subresource.is_empty() && !matches!(call.path.subresource.as_str(), "status" | "finalize") {
        return subresources::dispatch(api, call, parts, incoming).await;
    }
    if !call.path.subresource.is_empty() && call.resource.subresource(&call.path.subresource).is_none() {
        return Err(ApiError::no_such_resource());
    }
    let verb = verb(&call)?;
    if !call.resource.verbs.contains(&verb) {
        return Err(ApiError::method_not_allowed());
    }
    let bytes = match call.method {
        Method::GET => Bytes::new(),
        _ => body::read(incoming).await?,
    };
    let content_type = header(parts, CONTENT_TYPE);
    match verb {
        "get" => {
            let stored = api.find(&call.resource, &call.path.namespace, &call.path.name)?;
            let mut outcome = Outcome::new(200, api::presented(&call.resource, &stored.object));
            outcome.warnings.extend(deprecation(&call.resource));
            Ok(call.render(&outcome))
        }
        "list" => list_objects(api, &call),
        "watch" => watch_objects(api, &call),
        "create" => {
            let object = body::decode(&bytes, content_type)?;
            let options = call.write_options()?;
            if call.resource.verbs == crate::resources::REVIEW_VERBS {
                return subresources::reviews::answer(api, &call, object);
            }
            Ok(call
                .render(&create::create(api, &call.resource, &call.path.namespace, object, &options).await?))
        }
        "update" => {
            let object = body::decode(&bytes, content_type)?;
            Ok(call.render(
                &update::update(api, &call.resource, call.place(), object, &call.write_options()?).await?,
            ))
        }
        "patch" => patch_object(api, &call, &bytes, content_type).await,
        "delete" => {
            let how = delete_options(&call, &bytes, content_type)?;
            let (namespace, name, _) = call.place();
            let options = call.write_options()?;
            Ok(call.render(&delete::delete(api, &call.resource, namespace, name, &how, &options).await?))
        }
        _ => delete_collection(api, &call, &bytes, content_type).await,
    }
}

/// What a method on this path means.
fn verb(call: &Call) -> Result<&'static str, ApiError> {
    let on_object = !call.path.name.is_empty();
    let watching = call.query.flag("watch")?;
    Ok(match (call.method.as_str(), on_object) {
        ("GET" | "HEAD", _) if watching => "watch",
        ("GET" | "HEAD", true) => "get",
        ("GET" | "HEAD", false) => "list",
        ("POST", false) => {
            if call.resource.namespaced && call.path.namespace.is_empty() {
                return Err(ApiError::bad_request("an empty namespace may not be set during creation"));
            }
            "create"
        }
        ("PUT", true) => "update",
        ("PATCH", true) => "patch",
        ("DELETE", true) => "delete",
        ("DELETE", false) => "deletecollection",
        _ => return Err(ApiError::method_not_allowed()),
    })
}

fn deprecation(resource: &Resource) -> Option<String> {
    resource.custom.as_deref().and_then(|custom: &CustomKind| custom.deprecation.clone())
}

fn list_objects(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    let scope = Scope::from_query(&call.resource, &call.path.namespace, "", &call.query)?;
    let page = list::page(api, &call.resource, &scope, &call.query)?;
    let shown = match call.accepted.form {
        Form::Plain => list::rendered(&call.resource, &page, Value::clone),
        Form::Table => table::of_page(&call.resource, &page, call.wants_objects()),
        Form::Metadata => {
            let mut shown = list::rendered(&call.resource, &page, table::partial);
            object::set(&mut shown, &["kind"], "PartialObjectMetadataList");
            object::set(&mut shown, &["apiVersion"], "meta.k8s.io/v1");
            shown
        }
    };
    let mut answer = response::object(200, &shown, call.accepted);
    response::warn(&mut answer, deprecation(&call.resource).as_slice());
    Ok(answer)
}

fn watch_objects(api: &Arc<Api>, call: &Call) -> Result<Answer, ApiError> {
    let scope = Scope::from_query(&call.resource, &call.path.namespace, &call.path.name, &call.query)?;
    let stream = watch::open(api, &call.resource, scope, call.accepted.form, &call.query)?;
    let mut answer = response::with_type(200, "application/json", response::streamed(stream));
    response::warn(&mut answer, deprecation(&call.resource).as_slice());
    Ok(answer)
}

async fn patch_object(api: &Api, call: &Call, bytes: &Bytes, content_type: &str) -> Result<Answer, ApiError> {
    let (patch, options) = read_patch(call, bytes, content_type)?;
    Ok(call.render(&patch::patch(api, &call.resource, call.place(), patch, &options).await?))
}

/// A patch and the options that come with it.
pub(crate) fn read_patch(
    call: &Call,
    bytes: &Bytes,
    content_type: &str,
) -> Result<(Patch, WriteOptions), ApiError> {
    let kind = PatchKind::from_content_type(body::media_type(content_type))?;
    let options = call.write_options()?;
    let force = call.query.optional_flag("force")?;
    if kind == PatchKind::Apply && call.query.text("fieldManager").is_none() {
        return Err(ApiError::bad_request(
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
        ));
    }
    if kind != PatchKind::Apply && force.is_some() {
        return Err(ApiError::bad_request(
            "PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for non-apply patch",
        ));
    }
    let body = body::decode(bytes, content_type)?;
    Ok((Patch { kind, body, force: force.unwrap_or_default() }, options))
}

/// From the body and, for clients that put them there, the query.
pub(crate) fn delete_options(
    call: &Call,
    bytes: &Bytes,
    content_type: &str,
) -> Result<DeleteOptions, ApiError> {
    let mut body = if bytes.is_empty() { json!({}) } else { body::decode(bytes, content_type)? };
    if let Some(grace) = call.query.number("gracePeriodSeconds")? {
        object::set_default(&mut body, &["gracePeriodSeconds"], grace);
    }
    if let Some(policy) = call.query.text("propagationPolicy") {
        object::set_default(&mut body, &["propagationPolicy"], policy);
    }
    DeleteOptions::from_body(&body)
}

async fn delete_collection(
    api: &Api,
    call: &Call,
    bytes: &Bytes,
    content_type: &str,
) -> Result<Answer, ApiError> {
    let how = delete_options(call, bytes, content_type)?;
    let mut options = call.write_options()?;
    options.dry_run |= object::items(&serde_json::from_slice(bytes).unwrap_or_default(), &["dryRun"])
        .iter()
        .any(|v| v == "All");
    let scope = Scope::from_query(&call.resource, &call.path.namespace, "", &call.query)?;
    let page = list::page(api, &call.resource, &scope, &call.query)?;
    for stored in &page.objects {
        let (namespace, name) = (object::namespace(&stored.object), object::name(&stored.object));
        match delete::delete(api, &call.resource, namespace, name, &how, &options).await {
            Err(error) if error.code != 404 => return Err(error),
            _ => {}
        }
    }
    Ok(response::object(200, &list::rendered(&call.resource, &page, Value::clone), call.accepted))
}
