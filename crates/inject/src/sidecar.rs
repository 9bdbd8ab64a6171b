//! What injection adds: interception, the proxy, its volumes, labels and annotations.

use super::annotations::Annotations;
use super::policy::Owner;
use super::{INIT_CONTAINER, InjectError, InjectionConfig, PROXY_CONTAINER, STATUS_ANNOTATION};
use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMapVolumeSource, Container, ContainerPort, DownwardAPIVolumeFile,
    DownwardAPIVolumeSource, EmptyDirVolumeSource, EnvVar, EnvVarSource, HTTPGetAction, ObjectFieldSelector,
    Pod, Probe, ProjectedVolumeSource, SecurityContext, ServiceAccountTokenProjection, Volume, VolumeMount,
    VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Ports of the proxy itself, never intercepted: metrics, readiness, agent.
const PROXY_PORTS: &str = "15090,15021,15020";
/// The user the proxy runs as.
const PROXY_USER: i64 = 1337;

/// What [`add`] works from.
pub(crate) struct Context<'a> {
    pub namespace: &'a str,
    pub owner: &'a Owner,
    pub annotations: &'a Annotations,
    pub config: &'a InjectionConfig,
    /// JSON of the application's probes, for the agent.
    pub probers: Option<String>,
}

/// Adds the sidecar to `pod`.
pub(crate) fn add(pod: &mut Pod, context: &Context<'_>) -> Result<(), InjectError> {
    let prometheus = merge_prometheus(pod, context);
    let proxy = proxy_container(pod, context, prometheus)?;
    label(pod, context);
    let Some(spec) = &mut pod.spec else { return Ok(()) };
    // The proxy comes before the pod's own init containers: as a native sidecar it is up before
    // they run, so their traffic is in the mesh as well.
    let own = spec.init_containers.take().unwrap_or_default();
    spec.init_containers = Some([init_container(context), proxy].into_iter().chain(own).collect());
    spec.volumes.get_or_insert_default().extend(volumes());
    Ok(())
}

fn image(context: &Context<'_>) -> String {
    context.annotations.image.clone().unwrap_or_else(|| context.config.image.clone())
}

/// Installs interception, then ends. The flags are those of Istio's own init container.
fn init_container(context: &Context<'_>) -> Container {
    let annotations = context.annotations;
    let excluded_inbound = match annotations.exclude_inbound_ports.as_str() {
        "" => PROXY_PORTS.to_owned(),
        ports => format!("{PROXY_PORTS},{ports}"),
    };
    let mut arguments = vec!["intercept".to_owned(), "install".to_owned()];
    for (flag, value) in [
        ("-p", "15001"),
        ("-z", "15006"),
        ("-u", "1337"),
        ("-i", annotations.include_outbound_networks.as_str()),
        ("-x", annotations.exclude_outbound_networks.as_str()),
        ("-b", annotations.include_inbound_ports.as_str()),
        ("-d", excluded_inbound.as_str()),
        ("-q", annotations.include_outbound_ports.as_str()),
        ("-o", annotations.exclude_outbound_ports.as_str()),
        ("-c", annotations.exclude_interfaces.as_str()),
    ] {
        arguments.extend([flag.to_owned(), value.to_owned()]);
    }
    Container {
        name: INIT_CONTAINER.to_owned(),
        image: Some(image(context)),
        args: Some(arguments),
        resources: Some(annotations.resources.clone()),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            privileged: Some(false),
            read_only_root_filesystem: Some(false),
            run_as_non_root: Some(false),
            run_as_user: Some(0),
            run_as_group: Some(0),
            capabilities: Some(Capabilities {
                add: Some(vec!["NET_ADMIN".to_owned(), "NET_RAW".to_owned()]),
                drop: Some(vec!["ALL".to_owned()]),
            }),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}

fn proxy_container(
    pod: &Pod,
    context: &Context<'_>,
    prometheus: Option<String>,
) -> Result<Container, InjectError> {
    let annotations = context.annotations;
    let (initial_delay, period, failures) = annotations.readiness;
    let ready = HTTPGetAction {
        path: Some("/healthz/ready".to_owned()),
        port: IntOrString::Int(15021),
        ..HTTPGetAction::default()
    };
    Ok(Container {
        name: PROXY_CONTAINER.to_owned(),
        image: Some(image(context)),
        restart_policy: Some("Always".to_owned()),
        args: Some(
            [
                "proxy",
                "sidecar",
                "--domain",
                &format!("$(POD_NAMESPACE).svc.{}", context.config.cluster_domain),
                "--proxyLogLevel",
                &annotations.log_level,
            ]
            .map(str::to_owned)
            .to_vec(),
        ),
        ports: Some(vec![ContainerPort {
            name: Some("http-envoy-prom".to_owned()),
            container_port: 15090,
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        }]),
        env: Some(environment(pod, context, prometheus)?),
        resources: Some(annotations.resources.clone()),
        // Started as soon as it can serve, which is what lets the application start.
        startup_probe: Some(Probe {
            http_get: Some(ready.clone()),
            period_seconds: Some(1),
            timeout_seconds: Some(3),
            failure_threshold: Some(600),
            ..Probe::default()
        }),
        readiness_probe: Some(Probe {
            http_get: Some(ready),
            initial_delay_seconds: Some(initial_delay),
            period_seconds: Some(period),
            timeout_seconds: Some(3),
            failure_threshold: Some(failures),
            ..Probe::default()
        }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                ..Capabilities::default()
            }),
            privileged: Some(false),
            read_only_root_filesystem: Some(true),
            run_as_non_root: Some(true),
            run_as_user: Some(PROXY_USER),
            run_as_group: Some(PROXY_USER),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(
            [
                ("istiod-ca-cert", "/var/run/secrets/istio"),
                ("istio-token", "/var/run/secrets/tokens"),
                ("istio-podinfo", "/etc/istio/pod"),
                ("istio-data", "/var/lib/istio/data"),
            ]
            .map(|(name, path)| VolumeMount {
                name: name.to_owned(),
                mount_path: path.to_owned(),
                ..VolumeMount::default()
            })
            .to_vec(),
        ),
        ..Container::default()
    })
}

fn environment(
    pod: &Pod,
    context: &Context<'_>,
    prometheus: Option<String>,
) -> Result<Vec<EnvVar>, InjectError> {
    let config = context.config;
    let proxy_config = proxy_config(context);
    let mut variables = vec![
        value("PILOT_CERT_PROVIDER", "istiod"),
        value("CA_ADDR", &config.ca_address),
        field("POD_NAME", "metadata.name"),
        field("POD_NAMESPACE", "metadata.namespace"),
        field("INSTANCE_IP", "status.podIP"),
        field("SERVICE_ACCOUNT", "spec.serviceAccountName"),
        field("HOST_IP", "status.hostIP"),
        field("ISTIO_META_NODE_NAME", "spec.nodeName"),
        value("PROXY_CONFIG", &proxy_config.to_string()),
        value("ISTIO_META_POD_PORTS", &pod_ports(pod)?),
        value("ISTIO_META_APP_CONTAINERS", &application_containers(pod)),
        value("ISTIO_META_CLUSTER_ID", &config.cluster_id),
        value("ISTIO_META_INTERCEPTION_MODE", "REDIRECT"),
        value("ISTIO_META_WORKLOAD_NAME", &context.owner.name),
        value("ISTIO_META_OWNER", &context.owner.path),
        value("ISTIO_META_MESH_ID", &config.trust_domain),
        value("TRUST_DOMAIN", &config.trust_domain),
    ];
    if let Some(probers) = &context.probers {
        variables.push(value("ISTIO_KUBE_APP_PROBERS", probers));
    }
    if let Some(prometheus) = prometheus {
        variables.push(value("ISTIO_PROMETHEUS_ANNOTATIONS", &prometheus));
    }
    for (name, setting) in proxy_metadata(&proxy_config) {
        variables.retain(|variable| variable.name != *name);
        variables.push(value(name, setting));
    }
    Ok(variables)
}

/// `proxyMetadata` of the proxy's configuration: variables of its environment, such as `SECRET_TTL`.
fn proxy_metadata(proxy_config: &Value) -> impl Iterator<Item = (&String, &str)> {
    let settings = proxy_config["proxyMetadata"].as_object().into_iter().flatten();
    settings.filter_map(|(name, setting)| Some((name, setting.as_str()?)))
}

/// The mesh's proxy configuration under the pod's own; a map's entries are merged one by one.
fn proxy_config(context: &Context<'_>) -> Value {
    let mut merged = context.config.proxy_config.clone();
    if let Some(overrides) = &context.annotations.proxy_config {
        json_patch::merge(&mut merged, overrides);
    }
    merged
}

fn pod_ports(pod: &Pod) -> Result<String, InjectError> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let ports: Vec<&ContainerPort> =
        containers.flat_map(|container| container.ports.iter().flatten()).collect();
    Ok(serde_json::to_string(&ports)?)
}

fn application_containers(pod: &Pod) -> String {
    let names = pod.spec.iter().flat_map(|spec| &spec.containers).map(|container| container.name.as_str());
    names.collect::<Vec<_>>().join(",")
}

fn value(name: &str, value: &str) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(value.to_owned()), value_from: None }
}

fn field(name: &str, path: &str) -> EnvVar {
    let source = EnvVarSource { field_ref: Some(selector(path)), ..EnvVarSource::default() };
    EnvVar { name: name.to_owned(), value: None, value_from: Some(source) }
}

fn selector(path: &str) -> ObjectFieldSelector {
    ObjectFieldSelector { api_version: Some("v1".to_owned()), field_path: path.to_owned() }
}

fn volumes() -> Vec<Volume> {
    let info = |path: &str| DownwardAPIVolumeFile {
        path: path.to_owned(),
        field_ref: Some(selector(&format!("metadata.{path}"))),
        ..DownwardAPIVolumeFile::default()
    };
    let token = ServiceAccountTokenProjection {
        audience: Some("istio-ca".to_owned()),
        expiration_seconds: Some(43200),
        path: "istio-token".to_owned(),
    };
    vec![
        Volume {
            name: "istiod-ca-cert".to_owned(),
            config_map: Some(ConfigMapVolumeSource {
                name: "istio-ca-root-cert".to_owned(),
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        },
        Volume {
            name: "istio-token".to_owned(),
            projected: Some(ProjectedVolumeSource {
                sources: Some(vec![VolumeProjection {
                    service_account_token: Some(token),
                    ..VolumeProjection::default()
                }]),
                ..ProjectedVolumeSource::default()
            }),
            ..Volume::default()
        },
        Volume {
            name: "istio-podinfo".to_owned(),
            downward_api: Some(DownwardAPIVolumeSource {
                items: Some(vec![info("labels"), info("annotations")]),
                ..DownwardAPIVolumeSource::default()
            }),
            ..Volume::default()
        },
        Volume {
            name: "istio-data".to_owned(),
            empty_dir: Some(EmptyDirVolumeSource::default()),
            ..Volume::default()
        },
    ]
}

/// Points scrapers at the agent, which merges the application's metrics with the proxy's. Returns
/// where the application's own are (the annotations it came with), for the agent.
fn merge_prometheus(pod: &mut Pod, context: &Context<'_>) -> Option<String> {
    if !context.annotations.merge_prometheus.unwrap_or(context.config.merge_prometheus) {
        return None;
    }
    let annotations = pod.metadata.annotations.get_or_insert_default();
    let own = |name: &str| annotations.get(&format!("prometheus.io/{name}")).cloned();
    // A pod that said "do not scrape me" keeps its word: its own metrics are not merged.
    let application = match own("scrape").as_deref() {
        Some("true") => Some(
            json!({
                "scrape": "true",
                "path": own("path").unwrap_or_default(),
                "port": own("port").unwrap_or_default()
            })
            .to_string(),
        ),
        _ => None,
    };
    for (name, setting) in [
        ("scrape", "true".to_owned()),
        ("port", context.annotations.status_port.to_string()),
        ("path", "/stats/prometheus".to_owned()),
    ] {
        annotations.insert(format!("prometheus.io/{name}"), setting);
    }
    application
}

fn label(pod: &mut Pod, context: &Context<'_>) {
    let labels = pod.metadata.labels.get_or_insert_default();
    let first = |labels: &BTreeMap<String, String>, names: [&str; 3]| {
        names.iter().find_map(|name| labels.get(*name)).cloned()
    };
    let name = first(labels, ["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"]);
    let revision =
        first(labels, ["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"]);
    for (label, setting) in [
        ("security.istio.io/tlsMode", "istio".to_owned()),
        ("service.istio.io/canonical-name", name.unwrap_or_else(|| context.owner.name.clone())),
        ("service.istio.io/canonical-revision", revision.unwrap_or_else(|| "latest".to_owned())),
        ("istio.io/rev", context.config.revision.clone()),
    ] {
        labels.entry(label.to_owned()).or_insert(setting);
    }
    let status = json!({
        "initContainers": [INIT_CONTAINER, PROXY_CONTAINER],
        "containers": null,
        "volumes": ["istiod-ca-cert", "istio-token", "istio-podinfo", "istio-data"],
        "imagePullSecrets": null,
        "revision": context.config.revision,
        "namespace": context.namespace
    });
    let annotations = pod.metadata.annotations.get_or_insert_default();
    annotations.insert(STATUS_ANNOTATION.to_owned(), status.to_string());
    let default =
        pod.spec.iter().flat_map(|spec| &spec.containers).next().map(|container| container.name.clone());
    if let Some(default) = default {
        annotations.entry("kubectl.kubernetes.io/default-container".to_owned()).or_insert(default);
    }
}
