//! Ports of Services that the application opens on the loopback only (IST0143): nobody else reaches them.

use k8s_openapi::{api::core::v1::ServicePort, apimachinery::pkg::util::intstr::IntOrString};

use crate::{
    code,
    registry::{Registry, service_ports},
    report::Report,
    world::{Item, Workload, World, selects},
};

pub(super) fn analyze(world: &World, _: &Registry<'_>, report: &mut Report) {
    for service in world.services() {
        let selector = service.value.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        let Some(selector) = selector.filter(|selector| !selector.is_empty()) else { continue };
        let pods: Vec<_> = world
            .pods()
            .filter(|pod| pod.namespace() == service.namespace() && selects(selector, &pod.value.labels))
            .collect();
        for (index, port) in service_ports(&service.value).enumerate() {
            let to_itself = |pod: &&Item<Workload>| {
                target(port, pod).is_some_and(|number| is_only_for_itself(world, pod, number))
            };
            let Some(pod) = pods.iter().copied().find(to_itself) else { continue };
            let message = format!(
                "the pod {} opens the container port of port {} on its loopback only, so nobody else reaches it",
                pod.name(),
                port.port
            );
            let help = "let the application listen on 0.0.0.0 or on the address of its pod".to_owned();
            let path = format!("spec.ports[{index}]");
            report.add(&service.source, code::LOCALHOST_LISTENER, &path, message, Some(help));
        }
    }
}

/// Whether all sockets that listen on a port of the pod are on the loopback; no where none is known.
fn is_only_for_itself(world: &World, pod: &Item<Workload>, port: u16) -> bool {
    let mut sockets = world.listeners(pod).iter().filter(|socket| socket.port() == port).peekable();
    sockets.peek().is_some() && sockets.all(|socket| socket.ip().to_canonical().is_loopback())
}

/// The container port that a port of a Service leads to.
fn target(port: &ServicePort, pod: &Item<Workload>) -> Option<u16> {
    let number = match &port.target_port {
        None => port.port,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(name)) => {
            let mut ports =
                pod.value.spec.containers.iter().flat_map(|container| container.ports.iter().flatten());
            ports.find(|port| port.name.as_ref() == Some(name))?.container_port
        }
    };
    u16::try_from(number).ok()
}
