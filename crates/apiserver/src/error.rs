//! What a request is answered with when it fails: Kubernetes' `Status` object, with Kubernetes' wording, because people and
//! programs match on it.

use serde_json::{Value, json};

/// One thing wrong with one field, in the words of apimachinery's `field.Error`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FieldError {
    /// Path of the field, for example `spec.ports[0].port`.
    pub field: String,
    /// Machine-readable reason, for example `FieldValueInvalid`.
    pub reason: &'static str,
    /// Message without the field.
    pub message: String,
}

impl FieldError {
    fn new(field: impl Into<String>, reason: &'static str, message: String) -> FieldError {
        FieldError { field: field.into(), reason, message }
    }

    pub fn required(field: impl Into<String>, detail: &str) -> FieldError {
        let message =
            if detail.is_empty() { "Required value".to_owned() } else { format!("Required value: {detail}") };
        FieldError::new(field, "FieldValueRequired", message)
    }

    pub fn invalid(field: impl Into<String>, value: &Value, detail: impl AsRef<str>) -> FieldError {
        let message = format!("Invalid value: {}: {}", shown(value), detail.as_ref());
        FieldError::new(field, "FieldValueInvalid", message)
    }

    pub fn wrong_type(field: impl Into<String>, got: &str, detail: impl AsRef<str>) -> FieldError {
        FieldError::new(
            field,
            "FieldValueTypeInvalid",
            format!("Invalid value: {got:?}: {}", detail.as_ref()),
        )
    }

    pub fn not_supported(field: impl Into<String>, value: &Value, supported: &[&str]) -> FieldError {
        let supported: Vec<String> = supported.iter().map(|value| format!("{value:?}")).collect();
        let message =
            format!("Unsupported value: {}: supported values: {}", shown(value), supported.join(", "));
        FieldError::new(field, "FieldValueNotSupported", message)
    }

    pub fn duplicate(field: impl Into<String>, value: &Value) -> FieldError {
        FieldError::new(field, "FieldValueDuplicate", format!("Duplicate value: {}", shown(value)))
    }

    pub fn forbidden(field: impl Into<String>, detail: impl AsRef<str>) -> FieldError {
        FieldError::new(field, "FieldValueForbidden", format!("Forbidden: {}", detail.as_ref()))
    }

    pub fn too_long(field: impl Into<String>, maximum: u64) -> FieldError {
        FieldError::new(field, "FieldValueTooLong", format!("Too long: may not be more than {maximum} bytes"))
    }

    pub fn too_many(field: impl Into<String>, count: usize, maximum: u64) -> FieldError {
        let message = format!("Too many: {count}: must have at most {maximum} items");
        FieldError::new(field, "FieldValueTooMany", message)
    }
}

impl std::fmt::Display for FieldError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.field.is_empty() {
            formatter.write_str(&self.message)
        } else {
            write!(formatter, "{}: {}", self.field, self.message)
        }
    }
}

/// A value as a message shows it; long ones are cut so that an error cannot be made to echo megabytes.
fn shown(value: &Value) -> String {
    const LONGEST: usize = 512;
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// A failed request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ApiError {
    /// HTTP status code.
    pub code: u16,
    /// Machine-readable reason of the `Status`.
    pub reason: &'static str,
    /// What to tell the caller.
    pub message: String,
    /// `Status.details`.
    pub details: Option<Value>,
}

/// Which resource an error is about: `deployments` of group `apps`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named<'a> {
    pub group: &'a str,
    pub plural: &'a str,
    pub name: &'a str,
}

impl Named<'_> {
    fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }

    fn details(&self) -> Value {
        let mut details = json!({"name": self.name, "kind": self.plural});
        if !self.group.is_empty() {
            crate::object::set(&mut details, &["group"], self.group);
        }
        details
    }
}

impl ApiError {
    fn new(code: u16, reason: &'static str, message: impl Into<String>) -> ApiError {
        ApiError { code, reason, message: message.into(), details: None }
    }

    pub fn not_found(what: Named<'_>) -> ApiError {
        let message = format!("{} {:?} not found", what.qualified(), what.name);
        ApiError { details: Some(what.details()), ..ApiError::new(404, "NotFound", message) }
    }

    /// A path that no resource answers; the words make kubectl say that the server has no such resource type.
    pub fn no_such_resource() -> ApiError {
        ApiError::new(404, "NotFound", "the server could not find the requested resource")
    }

    pub fn already_exists(what: Named<'_>) -> ApiError {
        let message = format!("{} {:?} already exists", what.qualified(), what.name);
        ApiError { details: Some(what.details()), ..ApiError::new(409, "AlreadyExists", message) }
    }

    pub fn conflict(what: Named<'_>, why: &str) -> ApiError {
        let message = format!("Operation cannot be fulfilled on {} {:?}: {why}", what.qualified(), what.name);
        ApiError { details: Some(what.details()), ..ApiError::new(409, "Conflict", message) }
    }

    pub fn changed_meanwhile(what: Named<'_>) -> ApiError {
        ApiError::conflict(
            what,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// Server-side apply found fields that others own.
    pub fn apply_conflict(message: String, causes: Vec<Value>) -> ApiError {
        ApiError { details: Some(json!({"causes": causes})), ..ApiError::new(409, "Conflict", message) }
    }

    pub fn invalid(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> ApiError {
        let qualified = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let texts: Vec<String> = errors.iter().map(FieldError::to_string).collect();
        let text = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let causes: Vec<Value> = errors
            .iter()
            .map(|error| json!({"reason": error.reason, "message": error.message, "field": error.field}))
            .collect();
        let mut details = json!({"name": name, "kind": kind, "causes": causes});
        if !group.is_empty() {
            crate::object::set(&mut details, &["group"], group);
        }
        ApiError {
            details: Some(details),
            ..ApiError::new(422, "Invalid", format!("{qualified} {name:?} is invalid: {text}"))
        }
    }

    pub fn bad_request(message: impl Into<String>) -> ApiError {
        ApiError::new(400, "BadRequest", message)
    }

    pub fn unauthorized() -> ApiError {
        ApiError::new(401, "Unauthorized", "Unauthorized")
    }

    pub fn forbidden(what: Named<'_>, why: &str) -> ApiError {
        let message = format!("{} {:?} is forbidden: {why}", what.qualified(), what.name);
        ApiError { details: Some(what.details()), ..ApiError::new(403, "Forbidden", message) }
    }

    pub fn namespace_terminating(what: Named<'_>, namespace: &str) -> ApiError {
        let why =
            format!("unable to create new content in namespace {namespace} because it is being terminated");
        let mut error = ApiError::forbidden(what, &why);
        if let Some(details) = &mut error.details {
            let message = format!("namespace {namespace} is being terminated");
            let cause = json!([{"reason": "NamespaceTerminating", "message": message, "field": "metadata.namespace"}]);
            crate::object::set(details, &["causes"], cause);
        }
        error
    }

    /// An admission webhook said no, with the status it chose.
    pub fn denied(code: u16, message: String) -> ApiError {
        let reason = match code {
            400 => "BadRequest",
            404 => "NotFound",
            409 => "Conflict",
            422 => "Invalid",
            500.. => "InternalError",
            _ => "Forbidden",
        };
        ApiError::new(if (400..600).contains(&code) { code } else { 403 }, reason, message)
    }

    pub fn method_not_allowed() -> ApiError {
        ApiError::new(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        )
    }

    pub fn not_acceptable() -> ApiError {
        let offered = "application/json, application/yaml";
        ApiError::new(406, "NotAcceptable", format!("only the following media types are accepted: {offered}"))
    }

    pub fn unsupported_media_type(offered: &str) -> ApiError {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {offered}"
        );
        ApiError::new(415, "UnsupportedMediaType", message)
    }

    pub fn expired(message: impl Into<String>) -> ApiError {
        ApiError::new(410, "Expired", message)
    }

    pub fn too_large(limit: usize) -> ApiError {
        let message = format!("Request entity too large: limit is {limit}");
        ApiError::new(413, "RequestEntityTooLarge", message)
    }

    pub fn too_many_requests(message: impl Into<String>) -> ApiError {
        ApiError::new(429, "TooManyRequests", message)
    }

    pub fn timeout(message: impl Into<String>) -> ApiError {
        ApiError::new(504, "Timeout", message)
    }

    pub fn internal(message: impl std::fmt::Display) -> ApiError {
        ApiError::new(500, "InternalError", format!("Internal error occurred: {message}"))
    }

    /// The `Status` object of this failure.
    pub fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        });
        if let Some(details) = &self.details {
            crate::object::set(&mut status, &["details"], details.clone());
        }
        status
    }
}
