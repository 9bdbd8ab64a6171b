//! Ports of Gateways that no Service of their proxies has, so that clients cannot reach them (IST0162).

use mizzen_api::{Config, Spec, networking::Gateway};

use crate::{
    code,
    registry::{Registry, service_ports},
    report::Report,
    world::{Item, World, selects},
};

pub(super) fn analyze(world: &World, _: &Registry<'_>, report: &mut Report) {
    for item in world.configs() {
        if let Spec::Gateway(gateway) = &item.value.spec {
            check(world, item, gateway, report);
        }
    }
}

fn check(world: &World, item: &Item<Config>, gateway: &Gateway, report: &mut Report) {
    // A Service that would select the pods the Gateway's selector describes will do where no pods are known.
    let proxies: Vec<_> =
        world.workloads().filter(|workload| selects(&gateway.selector, &workload.value.labels)).collect();
    let services: Vec<_> = world
        .services()
        .filter(|service| {
            let selector = service.value.spec.as_ref().and_then(|spec| spec.selector.as_ref());
            let Some(selector) = selector.filter(|selector| !selector.is_empty()) else { return false };
            let selects_proxy = proxies.iter().any(|proxy| {
                proxy.namespace() == service.namespace() && selects(selector, &proxy.value.labels)
            });
            selects_proxy || (proxies.is_empty() && selects(selector, &gateway.selector))
        })
        .collect();
    if services.is_empty() {
        return;
    }
    let names: Vec<_> =
        services.iter().map(|service| format!("{}/{}", service.namespace(), service.name())).collect();
    for (index, server) in gateway.servers.iter().enumerate() {
        let number = server.port.number;
        let mut ports = services.iter().flat_map(|service| service_ports(&service.value));
        if !ports.any(|port| u32::try_from(port.port).is_ok_and(|port| port == number)) {
            let message =
                format!("the Service {} has no port {number}, so clients cannot reach it", names.join(", "));
            let help =
                "add the port to the Service; the Gateway names the Service's port, not the container's"
                    .to_owned();
            let path = format!("spec.servers[{index}].port.number");
            report.add(&item.source, code::PORT_NOT_ON_SERVICE, &path, message, Some(help));
        }
    }
}
