//! TCP services outside the registry that have no address to be told apart by (IST0134).

use mizzen_api::{
    Spec,
    annotations::label::ENABLE_AUTOALLOCATE_IP,
    networking::{Resolution, ServiceEntry, ServicePort},
};
use mizzen_model::Protocol;

use crate::{code, registry::Registry, report::Report, world::World};

pub(super) fn analyze(world: &World, _: &Registry<'_>, report: &mut Report) {
    for item in world.configs() {
        let Spec::ServiceEntry(entry) = &item.value.spec else { continue };
        let opted_out =
            item.value.meta.labels.get(ENABLE_AUTOALLOCATE_IP).is_some_and(|value| value == "false");
        if !entry.addresses.is_empty() || (gets_address(entry) && !opted_out) {
            continue;
        }
        for (index, port) in entry.ports.iter().enumerate().filter(|(_, port)| is_plain_tcp(port)) {
            let message = format!(
                "port {} is plain TCP, and without an address all its traffic is taken for this service",
                port.number
            );
            let help = "set addresses; TCP has no host name to tell services apart by".to_owned();
            report.add(
                &item.source,
                code::ADDRESSES_REQUIRED,
                &format!("spec.ports[{index}]"),
                message,
                Some(help),
            );
        }
    }
}

/// Whether the mesh gives the service an address of its own.
fn gets_address(entry: &ServiceEntry) -> bool {
    entry.resolution.unwrap_or_default() != Resolution::None
        && entry.hosts.iter().all(|host| !host.starts_with('*'))
}

fn is_plain_tcp(port: &ServicePort) -> bool {
    let number = u16::try_from(port.number).unwrap_or_default();
    let protocol = Protocol::of_port(number, &port.name, port.protocol.as_deref(), None);
    (protocol.is_tcp() && !protocol.is_tls()) || protocol.is_sniffed()
}
