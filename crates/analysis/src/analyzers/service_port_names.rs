//! Ports whose names do not say what is spoken there (IST0118).

use mizzen_model::Protocol;

use crate::{
    code,
    registry::{Registry, service_ports},
    report::Report,
    world::World,
};

pub(super) fn analyze(world: &World, _: &Registry<'_>, report: &mut Report) {
    for service in world.services() {
        for (index, port) in service_ports(&service.value).enumerate() {
            let name = port.name.as_deref().unwrap_or_default();
            let number = u16::try_from(port.port).unwrap_or_default();
            let protocol =
                Protocol::of_port(number, name, port.app_protocol.as_deref(), port.protocol.as_deref());
            if protocol.is_sniffed() {
                let subject = match name {
                    "" => format!("port {number} has no name, so what is spoken there"),
                    name => {
                        format!("the name {name:?} of port {number} does not say what is spoken there, so it")
                    }
                };
                let message = format!("{subject} is found out from the first bytes of each connection");
                let help =
                    "begin the name with the protocol, as http, http-web, grpc or tcp-db, or set appProtocol";
                let path = format!("spec.ports[{index}].name");
                report.add(&service.source, code::PORT_NAME, &path, message, Some(help.to_owned()));
            }
        }
    }
}
