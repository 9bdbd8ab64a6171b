//! The steps between what a caller sent and what is stored.

use std::sync::Arc;

use serde_json::Value;

use crate::admission::{self, Review};
use crate::api::{Api, FieldValidation, WriteOptions};
use crate::error::{ApiError, FieldError};
use crate::object;
use crate::patch::shape::Shapes;
use crate::resources::{Resource, builtin};
use crate::schema::{self, prune};
use crate::{defaults, validation};

/// Everything about a change that its steps need.
pub(crate) struct Change<'a> {
    pub api: &'a Api,
    pub resource: &'a Arc<Resource>,
    pub subresource: &'a str,
    /// What is there now; `None` when something is created.
    pub old: Option<&'a Value>,
    pub options: &'a WriteOptions,
}

/// Where the shapes of a resource's lists come from.
pub(crate) fn shapes(resource: &Resource) -> Shapes<'_> {
    match &resource.custom {
        Some(custom) => Shapes::Schema(&custom.schema),
        None => Shapes::BuiltIn,
    }
}

/// Checks that the body is of the kind and version that the path speaks of, and fills both in if they are missing.
pub(crate) fn check_kind(resource: &Resource, object: &mut Value) -> Result<(), ApiError> {
    if !object.is_object() {
        return Err(ApiError::bad_request("the object provided is not an object"));
    }
    let expected = resource.api_version();
    let (api_version, kind) = (object::text_or_empty(object, &["apiVersion"]), object::kind(object));
    if !api_version.is_empty() && api_version != expected {
        return Err(ApiError::bad_request(format!(
            "the API version in the data ({api_version}) does not match the expected API version ({expected})"
        )));
    }
    if !kind.is_empty() && kind != resource.kind {
        return Err(ApiError::bad_request(format!(
            "the kind in the data ({kind}) does not match the expected kind ({})",
            resource.kind
        )));
    }
    object::set(object, &["apiVersion"], expected);
    object::set(object, &["kind"], resource.kind.as_str());
    Ok(())
}

/// Drops what the schema does not know (or refuses it) and refuses values that are no values of their types.
pub(crate) fn decode(
    resource: &Resource,
    object: &mut Value,
    field_validation: FieldValidation,
    warnings: &mut Vec<String>,
) -> Result<(), ApiError> {
    let meta_schema = || builtin::schemas().get("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
    let (mut unknown, wrong) = match &resource.custom {
        Some(custom) => {
            let mut unknown = Vec::new();
            if let (Some(metadata), Some(schema)) = (object.get_mut("metadata"), meta_schema()) {
                unknown = prune::prune(metadata, schema, prune::Style::BuiltIn);
                unknown.iter_mut().for_each(|path| *path = format!("metadata.{path}"));
            }
            unknown.extend(prune::prune(object, &custom.schema, prune::Style::Structural));
            let wrong = match (object.get("metadata"), meta_schema()) {
                (Some(metadata), Some(schema)) => schema::validate::type_errors(metadata, schema),
                _ => Vec::new(),
            };
            (unknown, wrong)
        }
        None => match builtin::schema(&resource.group, &resource.version, &resource.kind) {
            Some(schema) => {
                let unknown = prune::prune(object, schema, prune::Style::BuiltIn);
                (unknown, schema::validate::type_errors(object, schema))
            }
            None => (Vec::new(), Vec::new()),
        },
    };
    let (kind, version) = (&resource.kind, &resource.version);
    if let Some(error) = wrong.first() {
        return Err(ApiError::bad_request(format!(
            "{kind} in version {version:?} cannot be handled as a {kind}: {error}"
        )));
    }
    unknown.sort();
    let messages: Vec<String> = unknown.iter().map(|path| format!("unknown field {path:?}")).collect();
    match field_validation {
        _ if messages.is_empty() => {}
        FieldValidation::Ignore => {}
        FieldValidation::Warn => warnings.extend(messages),
        FieldValidation::Strict => {
            return Err(ApiError::bad_request(format!(
                "{kind} in version {version:?} cannot be handled as a {kind}: strict decoding error: {}",
                messages.join(", ")
            )));
        }
    }
    if let Some(warning) = resource.custom.as_ref().and_then(|custom| custom.deprecation.clone()) {
        warnings.push(warning);
    }
    Ok(())
}

/// Defaults, mutating admission, validation, validating admission. Gives what may be committed.
pub(crate) async fn admit(
    change: &Change<'_>,
    mut object: Value,
    warnings: &mut Vec<String>,
) -> Result<Value, ApiError> {
    let Change { api, resource, old, .. } = change;
    fill_in(resource, &mut object, *old);
    if old.is_none() && change.subresource.is_empty() {
        admission::service_account::admit(api, resource, &mut object)?;
    }
    let review = Review {
        operation: if old.is_some() { "UPDATE" } else { "CREATE" },
        resource,
        subresource: change.subresource,
        namespace: object::namespace(&object).to_owned(),
        name: object::name(&object).to_owned(),
        old: *old,
        options: change.options,
    };
    let mutated = admission::mutate(api, &review, object, warnings).await?;
    let mut object = mutated.object;
    if mutated.changed {
        // A webhook's patch is the server's own business: unknown fields go without a word, types still count.
        decode(resource, &mut object, FieldValidation::Ignore, &mut Vec::new())?;
        fill_in(resource, &mut object, *old);
    }
    let errors = violations(change, &object);
    if !errors.is_empty() {
        return Err(ApiError::invalid(&resource.group, &resource.kind, object::name(&object), &errors));
    }
    admission::validate(api, &review, &object, warnings).await?;
    Ok(object)
}

fn fill_in(resource: &Resource, object: &mut Value, old: Option<&Value>) {
    match &resource.custom {
        Some(custom) => schema::defaults::apply(object, &custom.schema),
        None => defaults::apply(resource, object, old),
    }
}

fn violations(change: &Change<'_>, object: &Value) -> Vec<FieldError> {
    let resource = change.resource;
    let mut errors = Vec::new();
    validation::names::metadata(object, &resource.group, &resource.plural, &mut errors);
    match &resource.custom {
        Some(custom) => {
            errors.extend(schema::validate::violations(object, &custom.schema));
            // Rules may assume that the shape is right.
            if errors.is_empty() {
                errors.extend(schema::cel::violations(object, change.old, &custom.schema));
            }
        }
        None => validation::violations(resource, object, change.old, &mut errors),
    }
    errors
}
