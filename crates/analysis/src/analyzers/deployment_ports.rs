//! Deployments behind several Services that say different things of one container port: different
//! protocols (IST0116) or different ports (IST0137).

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::ServicePort, apimachinery::pkg::util::intstr::IntOrString};
use mizzen_model::Protocol;

use crate::{
    code,
    registry::{Registry, service_ports},
    report::Report,
    world::{Item, Workload, World, selects},
};

pub(super) fn analyze(world: &World, _: &Registry<'_>, report: &mut Report) {
    for deployment in world.controllers() {
        check(world, deployment, report);
    }
}

/// What the Services say of one container port.
#[derive(Default)]
struct Said {
    services: Vec<String>,
    ports: Vec<i32>,
    protocols: Vec<Protocol>,
}

fn check(world: &World, deployment: &Item<Workload>, report: &mut Report) {
    let mut said: BTreeMap<String, Said> = BTreeMap::new();
    for service in world.services().filter(|service| service.namespace() == deployment.namespace()) {
        let selector = service.value.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        let Some(selector) = selector.filter(|selector| !selector.is_empty()) else { continue };
        if !selects(selector, &deployment.value.labels) {
            continue;
        }
        for port in service_ports(&service.value) {
            let said = said.entry(target(port)).or_default();
            push(&mut said.services, service.name().to_owned());
            push(&mut said.ports, port.port);
            push(&mut said.protocols, protocol(port));
        }
    }
    for (target, said) in said.iter().filter(|(_, said)| said.services.len() > 1) {
        let services = said.services.join(" and ");
        if said.protocols.len() > 1 {
            let protocols: Vec<_> = said.protocols.iter().map(ToString::to_string).collect();
            let message = format!(
                "Services {services} give the container port {target} different protocols: {}",
                protocols.join(", ")
            );
            let help = "give their ports the same name, so that the sidecar knows what is spoken".to_owned();
            report.add(
                &deployment.source,
                code::DEPLOYMENT_IN_SERVICES,
                "metadata.name",
                message,
                Some(help),
            );
        }
        if said.ports.len() > 1 {
            let ports: Vec<_> = said.ports.iter().map(ToString::to_string).collect();
            let message = format!(
                "Services {services} reach the container port {target} by different ports: {}",
                ports.join(", ")
            );
            let help = "use the same port, or a container port for each".to_owned();
            report.add(&deployment.source, code::CONFLICTING_PORTS, "metadata.name", message, Some(help));
        }
    }
}

fn push<T: PartialEq>(list: &mut Vec<T>, value: T) {
    if !list.contains(&value) {
        list.push(value);
    }
}

fn target(port: &ServicePort) -> String {
    match &port.target_port {
        Some(IntOrString::Int(number)) => number.to_string(),
        Some(IntOrString::String(name)) => name.clone(),
        None => port.port.to_string(),
    }
}

fn protocol(port: &ServicePort) -> Protocol {
    let number = u16::try_from(port.port).unwrap_or_default();
    let name = port.name.as_deref().unwrap_or_default();
    Protocol::of_port(number, name, port.app_protocol.as_deref(), port.protocol.as_deref())
}
