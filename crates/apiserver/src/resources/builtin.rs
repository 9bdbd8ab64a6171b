//! The kinds that are always there, as one table, and their OpenAPI schemas.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use k8s_openapi::api;
use k8s_openapi::api::{admissionregistration, apps, authentication, authorization, autoscaling, batch};
use k8s_openapi::api::{
    coordination, core, discovery, events, networking, policy, rbac, scheduling, storage,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use super::{REVIEW_VERBS, Resource, STORED_VERBS, Subresource};

/// Where references between schemas point, as in an OpenAPI v3 document.
pub(crate) const SCHEMA_PREFIX: &str = "#/components/schemas/";

/// Puts a kind's schema, and those it refers to, into the generator.
type Describe = fn(&mut SchemaGenerator);

struct Row {
    group: &'static str,
    version: &'static str,
    plural: &'static str,
    kind: &'static str,
    short_names: &'static [&'static str],
    categories: &'static [&'static str],
    namespaced: bool,
    review: bool,
    subresources: &'static [&'static str],
    describe: Describe,
}

const ALL: &[&str] = &["all"];
const STATUS: &[&str] = &["status"];
const SCALED: &[&str] = &["scale", "status"];
const NONE: &[&str] = &[];

macro_rules! row {
    ($group:literal $version:literal $plural:literal $scope:ident $short:tt $categories:ident $subresources:expr, $type:ty) => {
        row!(@ $group $version $plural $scope $short $categories $subresources, $type, false)
    };
    (review $group:literal $version:literal $plural:literal $scope:ident, $type:ty) => {
        row!(@ $group $version $plural $scope [] NONE NONE, $type, true)
    };
    (@ $group:literal $version:literal $plural:literal $scope:ident $short:tt $categories:ident $subresources:expr, $type:ty, $review:literal) => {
        Row {
            group: $group,
            version: $version,
            plural: $plural,
            kind: <$type as k8s_openapi::Resource>::KIND,
            short_names: &$short,
            categories: $categories,
            namespaced: row!(scope $scope),
            review: $review,
            subresources: $subresources,
            describe: |generator| {
                generator.subschema_for::<$type>();
            },
        }
    };
    (scope namespaced) => { true };
    (scope cluster) => { false };
}

const POD: &[&str] = &["attach", "binding", "eviction", "exec", "log", "portforward", "status"];

static TABLE: &[Row] = &[
    row!("" "v1" "configmaps" namespaced ["cm"] NONE NONE, core::v1::ConfigMap),
    row!("" "v1" "endpoints" namespaced ["ep"] NONE NONE, core::v1::Endpoints),
    row!("" "v1" "events" namespaced ["ev"] NONE NONE, core::v1::Event),
    row!("" "v1" "limitranges" namespaced ["limits"] NONE NONE, core::v1::LimitRange),
    row!("" "v1" "namespaces" cluster ["ns"] NONE &["finalize", "status"], core::v1::Namespace),
    row!("" "v1" "nodes" cluster ["no"] NONE STATUS, core::v1::Node),
    row!("" "v1" "persistentvolumeclaims" namespaced ["pvc"] NONE STATUS, core::v1::PersistentVolumeClaim),
    row!("" "v1" "persistentvolumes" cluster ["pv"] NONE STATUS, core::v1::PersistentVolume),
    row!("" "v1" "pods" namespaced ["po"] ALL POD, core::v1::Pod),
    row!("" "v1" "podtemplates" namespaced [] NONE NONE, core::v1::PodTemplate),
    row!("" "v1" "replicationcontrollers" namespaced ["rc"] ALL SCALED, core::v1::ReplicationController),
    row!("" "v1" "resourcequotas" namespaced ["quota"] NONE STATUS, core::v1::ResourceQuota),
    row!("" "v1" "secrets" namespaced [] NONE NONE, core::v1::Secret),
    row!("" "v1" "serviceaccounts" namespaced ["sa"] NONE &["token"], core::v1::ServiceAccount),
    row!("" "v1" "services" namespaced ["svc"] ALL STATUS, core::v1::Service),
    row!("apps" "v1" "controllerrevisions" namespaced [] NONE NONE, apps::v1::ControllerRevision),
    row!("apps" "v1" "daemonsets" namespaced ["ds"] ALL STATUS, apps::v1::DaemonSet),
    row!("apps" "v1" "deployments" namespaced ["deploy"] ALL SCALED, apps::v1::Deployment),
    row!("apps" "v1" "replicasets" namespaced ["rs"] ALL SCALED, apps::v1::ReplicaSet),
    row!("apps" "v1" "statefulsets" namespaced ["sts"] ALL SCALED, apps::v1::StatefulSet),
    row!("batch" "v1" "cronjobs" namespaced ["cj"] ALL STATUS, batch::v1::CronJob),
    row!("batch" "v1" "jobs" namespaced [] ALL STATUS, batch::v1::Job),
    row!("autoscaling" "v2" "horizontalpodautoscalers" namespaced ["hpa"] ALL STATUS, autoscaling::v2::HorizontalPodAutoscaler),
    row!("discovery.k8s.io" "v1" "endpointslices" namespaced [] NONE NONE, discovery::v1::EndpointSlice),
    row!("events.k8s.io" "v1" "events" namespaced ["ev"] NONE NONE, events::v1::Event),
    row!("coordination.k8s.io" "v1" "leases" namespaced [] NONE NONE, coordination::v1::Lease),
    row!("networking.k8s.io" "v1" "ingressclasses" cluster [] NONE NONE, networking::v1::IngressClass),
    row!("networking.k8s.io" "v1" "ingresses" namespaced ["ing"] NONE STATUS, networking::v1::Ingress),
    row!("networking.k8s.io" "v1" "networkpolicies" namespaced ["netpol"] NONE NONE, networking::v1::NetworkPolicy),
    row!("policy" "v1" "poddisruptionbudgets" namespaced ["pdb"] NONE STATUS, policy::v1::PodDisruptionBudget),
    row!("rbac.authorization.k8s.io" "v1" "clusterrolebindings" cluster [] NONE NONE, rbac::v1::ClusterRoleBinding),
    row!("rbac.authorization.k8s.io" "v1" "clusterroles" cluster [] NONE NONE, rbac::v1::ClusterRole),
    row!("rbac.authorization.k8s.io" "v1" "rolebindings" namespaced [] NONE NONE, rbac::v1::RoleBinding),
    row!("rbac.authorization.k8s.io" "v1" "roles" namespaced [] NONE NONE, rbac::v1::Role),
    row!("scheduling.k8s.io" "v1" "priorityclasses" cluster ["pc"] NONE NONE, scheduling::v1::PriorityClass),
    row!("storage.k8s.io" "v1" "storageclasses" cluster ["sc"] NONE NONE, storage::v1::StorageClass),
    row!("admissionregistration.k8s.io" "v1" "mutatingwebhookconfigurations" cluster [] NONE NONE, admissionregistration::v1::MutatingWebhookConfiguration),
    row!("admissionregistration.k8s.io" "v1" "validatingwebhookconfigurations" cluster [] NONE NONE, admissionregistration::v1::ValidatingWebhookConfiguration),
    row!("admissionregistration.k8s.io" "v1" "validatingadmissionpolicies" cluster [] NONE STATUS, admissionregistration::v1::ValidatingAdmissionPolicy),
    row!("admissionregistration.k8s.io" "v1" "validatingadmissionpolicybindings" cluster [] NONE NONE, admissionregistration::v1::ValidatingAdmissionPolicyBinding),
    row!("apiextensions.k8s.io" "v1" "customresourcedefinitions" cluster ["crd", "crds"] API_EXTENSIONS STATUS, apiextensions::v1::CustomResourceDefinition),
    row!(review "authentication.k8s.io" "v1" "tokenreviews" cluster, authentication::v1::TokenReview),
    row!(review "authentication.k8s.io" "v1" "selfsubjectreviews" cluster, authentication::v1::SelfSubjectReview),
    row!(review "authorization.k8s.io" "v1" "localsubjectaccessreviews" namespaced, authorization::v1::LocalSubjectAccessReview),
    row!(review "authorization.k8s.io" "v1" "selfsubjectaccessreviews" cluster, authorization::v1::SelfSubjectAccessReview),
    row!(review "authorization.k8s.io" "v1" "selfsubjectrulesreviews" cluster, authorization::v1::SelfSubjectRulesReview),
    row!(review "authorization.k8s.io" "v1" "subjectaccessreviews" cluster, authorization::v1::SubjectAccessReview),
];

const API_EXTENSIONS: &[&str] = &["api-extensions"];

/// Every built-in resource.
pub(super) fn resources() -> Vec<Resource> {
    TABLE.iter().map(resource).collect()
}

fn resource(row: &Row) -> Resource {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    // events.k8s.io is another view of the core events.
    let storage_group = if row.group == "events.k8s.io" { "" } else { row.group };
    Resource {
        group: row.group.to_owned(),
        version: row.version.to_owned(),
        plural: row.plural.to_owned(),
        singular: row.kind.to_ascii_lowercase(),
        kind: row.kind.to_owned(),
        short_names: owned(row.short_names),
        categories: owned(row.categories),
        namespaced: row.namespaced,
        collection: Arc::from(format!("{storage_group}/{}", row.plural)),
        verbs: if row.review { REVIEW_VERBS } else { STORED_VERBS },
        subresources: row.subresources.iter().map(|name| subresource(row, name)).collect(),
        custom: None,
    }
}

fn subresource(row: &Row, name: &str) -> Subresource {
    const READ_WRITE: &[&str] = &["get", "patch", "update"];
    const STREAM: &[&str] = &["create", "get"];
    let speaks = |group: &str, version: &str| Some((group.to_owned(), version.to_owned()));
    let (kind, speaks, verbs): (&str, _, &'static [&'static str]) = match name {
        "scale" => ("Scale", speaks("autoscaling", "v1"), READ_WRITE),
        "token" => ("TokenRequest", speaks("authentication.k8s.io", "v1"), &["create"]),
        "eviction" => ("Eviction", speaks("policy", "v1"), &["create"]),
        "binding" => ("Binding", None, &["create"]),
        "log" => (row.kind, None, &["get"]),
        "exec" => ("PodExecOptions", None, STREAM),
        "attach" => ("PodAttachOptions", None, STREAM),
        "portforward" => ("PodPortForwardOptions", None, STREAM),
        "finalize" => (row.kind, None, &["update"]),
        _ => (row.kind, None, READ_WRITE),
    };
    Subresource { name: name.to_owned(), speaks, kind: kind.to_owned(), verbs }
}

/// Name of a built-in kind's schema in OpenAPI documents, if it is in the table.
pub(crate) fn schema_name(group: &str, version: &str, kind: &str) -> Option<&'static str> {
    SCHEMAS.kinds.get(&(group.to_owned(), version.to_owned(), kind.to_owned())).map(String::as_str)
}

/// All schemas that the built-in kinds are made of, by name.
pub(crate) fn schemas() -> &'static BTreeMap<String, Value> {
    &SCHEMAS.definitions
}

/// The schema of a built-in kind.
pub(crate) fn schema(group: &str, version: &str, kind: &str) -> Option<&'static Value> {
    schemas().get(schema_name(group, version, kind)?)
}

struct Schemas {
    definitions: BTreeMap<String, Value>,
    kinds: std::collections::HashMap<(String, String, String), String>,
}

static SCHEMAS: LazyLock<Schemas> = LazyLock::new(|| {
    let settings =
        SchemaSettings::default().with(|settings| settings.definitions_path = "/components/schemas".into());
    let mut generator = SchemaGenerator::new(settings);
    let mut kinds = std::collections::HashMap::new();
    for row in TABLE {
        (row.describe)(&mut generator);
    }
    generator.subschema_for::<autoscaling::v1::Scale>();
    generator.subschema_for::<authentication::v1::TokenRequest>();
    generator.subschema_for::<policy::v1::Eviction>();
    generator.subschema_for::<core::v1::Binding>();
    generator.subschema_for::<api::core::v1::PodTemplateSpec>();
    let mut definitions: BTreeMap<String, Value> =
        generator.take_definitions(false).into_iter().map(|(name, schema)| (name, tidy(schema))).collect();
    // Quantities may be written as numbers.
    if let Some(quantity) = definitions.get_mut("io.k8s.apimachinery.pkg.api.resource.Quantity") {
        crate::object::remove(quantity, &["type"]);
        crate::object::set(quantity, &["oneOf"], json!([{"type": "string"}, {"type": "number"}]));
    }
    // A default or an example in a schema is any JSON, whatever the published type says.
    if let Some(json) = definitions.get_mut("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON") {
        crate::object::remove(json, &["type"]);
        crate::object::set(json, &["x-kubernetes-preserve-unknown-fields"], true);
    }
    let extra = [
        ("autoscaling", "v1", "Scale"),
        ("authentication.k8s.io", "v1", "TokenRequest"),
        ("policy", "v1", "Eviction"),
        ("", "v1", "Binding"),
    ];
    let table = TABLE.iter().map(|row| (row.group, row.version, row.kind));
    for (group, version, kind) in table.chain(extra) {
        // `io.k8s.api.rbac.v1.Role`: the first label of the group, core for the empty one.
        let short = match group.split('.').next() {
            None | Some("") => "core",
            Some(short) => short,
        };
        let name = match group {
            "apiextensions.k8s.io" => {
                format!("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.{version}.{kind}")
            }
            _ => format!("io.k8s.api.{short}.{version}.{kind}"),
        };
        if let Some(schema) = definitions.get_mut(&name) {
            let marker = json!([{"group": group, "version": version, "kind": kind}]);
            crate::object::set(schema, &["x-kubernetes-group-version-kind"], marker);
            kinds.insert((group.to_owned(), version.to_owned(), kind.to_owned()), name);
        }
    }
    Schemas { definitions, kinds }
});

/// OpenAPI knows no siblings of `$ref`: they go into an `allOf`.
fn tidy(schema: impl Into<Value>) -> Value {
    match schema.into() {
        Value::Object(mut map) => {
            // A property may be called "$ref" too, in the schema of schemas.
            let is_reference = map.len() > 1 && map.get("$ref").is_some_and(Value::is_string);
            let reference = if is_reference { map.shift_remove("$ref") } else { None };
            let mut map: serde_json::Map<String, Value> =
                map.into_iter().map(|(key, value)| (key, tidy(value))).collect();
            if let Some(reference) = reference {
                map.insert("allOf".to_owned(), json!([{"$ref": reference}]));
            }
            Value::Object(map)
        }
        Value::Array(values) => Value::Array(values.into_iter().map(tidy).collect()),
        other => other,
    }
}
