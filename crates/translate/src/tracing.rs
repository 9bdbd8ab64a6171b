//! Tracing: which requests leave spans, with what tags, and where they go.

use std::collections::BTreeMap;

use envoy_types::pb::envoy::{
    config::trace::v3 as trace,
    r#type::tracing::v3::{CustomTag, custom_tag},
};
use mizzen_api::telemetry::CustomTag as ApiTag;
use mizzen_model::{
    Host, Side,
    mesh::ProviderKind,
    workload::{canonical_name, canonical_revision},
};

use crate::{
    context::Context,
    envoy::{self as e, core, hcm, types},
    name,
};

/// The tracing of HTTP on one side of a proxy. Without a provider, context is passed on and nothing sent.
pub(crate) fn of_side(context: &Context<'_>, side: Side) -> Option<hcm::http_connection_manager::Tracing> {
    let settings = context.snapshot().tracing(&context.proxy.namespace, &context.labels, side);
    if settings.disabled {
        return None;
    }
    let mesh = context.snapshot().mesh();
    let provider =
        settings.providers.iter().filter_map(|name| mesh.provider(name)).find_map(
            |provider| match &provider.kind {
                ProviderKind::OpenTelemetry { service, port } => opentelemetry(context, service, *port),
                _ => None,
            },
        )?;
    let percent = |value: f64| Some(types::Percent { value });
    Some(hcm::http_connection_manager::Tracing {
        client_sampling: percent(100.0),
        random_sampling: percent(settings.sampling),
        overall_sampling: percent(100.0),
        custom_tags: tags(context, &settings.tags),
        provider: Some(provider),
        ..Default::default()
    })
}

fn opentelemetry(context: &Context<'_>, service: &str, port: u16) -> Option<trace::tracing::Http> {
    let host = service.rsplit_once('/').map_or(service, |(_, host)| host);
    let host = Host::new(host);
    let known = context.scope.service(&host)?;
    let cluster = name::outbound_cluster(port, "", &known.host);
    let service_name = format!(
        "{}.{}",
        canonical_name(&context.labels).unwrap_or(&context.proxy.workload_name),
        context.proxy.namespace
    );
    let config = trace::OpenTelemetryConfig {
        grpc_service: Some(core::GrpcService {
            target_specifier: Some(core::grpc_service::TargetSpecifier::EnvoyGrpc(
                core::grpc_service::EnvoyGrpc {
                    cluster_name: cluster,
                    authority: host.as_str().to_owned(),
                    ..Default::default()
                },
            )),
            ..Default::default()
        }),
        service_name,
        ..Default::default()
    };
    Some(trace::tracing::Http {
        name: "envoy.tracers.opentelemetry".to_owned(),
        config_type: Some(trace::tracing::http::ConfigType::TypedConfig(e::any(&config))),
    })
}

fn tags(context: &Context<'_>, own: &BTreeMap<String, ApiTag>) -> Vec<CustomTag> {
    let proxy = context.proxy;
    let literal = |tag: &str, value: &str| CustomTag {
        tag: tag.to_owned(),
        r#type: Some(custom_tag::Type::Literal(custom_tag::Literal { value: value.to_owned() })),
    };
    let mut tags = vec![
        literal("istio.canonical_revision", canonical_revision(&context.labels)),
        literal("istio.canonical_service", canonical_name(&context.labels).unwrap_or(&proxy.workload_name)),
        literal("istio.cluster_id", &proxy.cluster),
        literal("istio.mesh_id", &proxy.mesh_id),
        literal("istio.namespace", &proxy.namespace),
    ];
    tags.extend(own.iter().filter_map(|(tag, value)| own_tag(tag, value)));
    tags
}

fn own_tag(tag: &str, value: &ApiTag) -> Option<CustomTag> {
    let kind = if let Some(literal) = &value.literal {
        custom_tag::Type::Literal(custom_tag::Literal { value: literal.value.clone() })
    } else if let Some(environment) = &value.environment {
        custom_tag::Type::Environment(custom_tag::Environment {
            name: environment.name.clone(),
            default_value: environment.default_value.clone().unwrap_or_default(),
        })
    } else if let Some(header) = &value.header {
        custom_tag::Type::RequestHeader(custom_tag::Header {
            name: header.name.clone(),
            default_value: header.default_value.clone().unwrap_or_default(),
        })
    } else if let Some(formatter) = &value.formatter {
        custom_tag::Type::Value(formatter.value.clone())
    } else {
        return None;
    };
    Some(CustomTag { tag: tag.to_owned(), r#type: Some(kind) })
}
