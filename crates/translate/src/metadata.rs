//! Where a resource comes from, said in the metadata that tools read.

use std::sync::Arc;

use mizzen_api::Kind;
use mizzen_model::{DestinationRule, ObjectName, Port, Service};

use crate::envoy::{self as e, core, wkt};

/// The path of an object in the API, as `filter_metadata.istio.config` holds it.
fn path(kind: Kind, object: &ObjectName) -> String {
    let word = match kind {
        Kind::VirtualService => "virtual-service",
        Kind::DestinationRule => "destination-rule",
        Kind::Gateway => "gateway",
        other => other.singular(),
    };
    let version = kind.versions().first().unwrap_or(&"v1");
    format!("/apis/{}/{version}/namespaces/{}/{word}/{}", kind.group(), object.namespace, object.name)
}

/// Says which object a resource was made from.
pub(crate) fn of_object(kind: Kind, object: &ObjectName) -> core::Metadata {
    e::metadata("istio", e::structure([("config", e::string_value(path(kind, object)))]))
}

fn described(service: &Service) -> wkt::Value {
    e::struct_value(e::structure([
        ("host", e::string_value(service.host.as_str())),
        ("name", e::string_value(&*short_name(service))),
        ("namespace", e::string_value(&*service.namespace)),
    ]))
}

/// A Kubernetes Service goes by its name, a ServiceEntry's host by itself.
fn short_name(service: &Service) -> String {
    match service.registry {
        mizzen_model::Registry::Kubernetes => service.name.to_string(),
        mizzen_model::Registry::ServiceEntry => service.host.as_str().to_owned(),
    }
}

pub(crate) fn of_outbound_cluster(
    service: &Service,
    port: &Port,
    subset: Option<&str>,
    rule: Option<&DestinationRule>,
) -> core::Metadata {
    let mut fields = vec![
        ("services", e::list_value(vec![described(service)])),
        (
            "default_original_port",
            wkt::Value { kind: Some(wkt::value::Kind::NumberValue(f64::from(port.number))) },
        ),
    ];
    if let Some(rule) = rule {
        fields.push(("config", e::string_value(path(Kind::DestinationRule, &rule.object_name()))));
    }
    if let Some(subset) = subset {
        fields.push(("subset", e::string_value(subset)));
    }
    if service.location == mizzen_model::Location::External {
        fields.push(("external", wkt::Value { kind: Some(wkt::value::Kind::BoolValue(true)) }));
    }
    e::metadata("istio", e::structure(fields))
}

pub(crate) fn of_inbound_cluster(services: &[Arc<Service>]) -> core::Metadata {
    let services = services.iter().map(|service| described(service)).collect();
    e::metadata("istio", e::structure([("services", e::list_value(services))]))
}
