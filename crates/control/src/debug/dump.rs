//! What a proxy should have, in the shape of Envoy's `/config_dump`, to be held against its own.

use crate::push::ProxySession;
use mizzen_xds::descriptors::Descriptors;
use mizzen_xds::resource::{collection_of, with_virtual_hosts};
use mizzen_xds::server::{Connection, Selection, Session};
use mizzen_xds::{Resource, TypeUrl};
use serde_json::{Value, json};

/// The dump, or why there is none.
pub(super) fn config_dump(connection: &Connection<ProxySession>) -> Value {
    Descriptors::with(|descriptors| dump(descriptors, connection))
        .unwrap_or_else(|error| json!({"error": error.to_string()}))
}

fn dump(descriptors: &Descriptors, connection: &Connection<ProxySession>) -> Value {
    let session = connection.session();
    let asked = connection.names(TypeUrl::ROUTE);
    let write =
        |type_url: TypeUrl, resource: &Resource| descriptors.write_any(type_url.as_str(), &resource.body);
    let clusters: Vec<_> = session
        .resources(TypeUrl::CLUSTER, Selection::Everything)
        .iter()
        .map(|resource| json!({"cluster": write(TypeUrl::CLUSTER, resource)}))
        .collect();
    let listeners: Vec<_> = session
        .resources(TypeUrl::LISTENER, Selection::Everything)
        .iter()
        .map(|resource| {
            json!({"name": &*resource.name, "active_state": {"listener": write(TypeUrl::LISTENER, resource)}})
        })
        .collect();
    let hosts = session.resources(TypeUrl::VIRTUAL_HOST, Selection::Everything);
    let routes: Vec<_> = session
        .resources(TypeUrl::ROUTE, Selection::Named(&asked))
        .iter()
        .map(|resource| {
            let hosts = hosts.iter().filter(|host| collection_of(&host.name) == &*resource.name);
            let whole = with_virtual_hosts(&resource.body, hosts.map(|host| &*host.body));
            json!({"route_config": descriptors.write_any(TypeUrl::ROUTE.as_str(), &whole)})
        })
        .collect();
    json!({"configs": [
        {"@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump", "dynamic_active_clusters": clusters},
        {"@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump", "dynamic_listeners": listeners},
        {"@type": "type.googleapis.com/envoy.admin.v3.RoutesConfigDump", "dynamic_route_configs": routes}
    ]})
}
