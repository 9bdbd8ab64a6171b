//! Which proxies can share what was made for one of them.

use std::sync::Arc;

use mizzen_model::{Labels, Locality, ObjectName, map::Name};

use crate::{
    context::Context,
    proxy::{Interception, ProxyKind},
};

/// What outbound resources of a proxy depend on besides the mesh. Proxies with equal keys get equal clusters
/// of services, endpoints and routes for the same snapshot. Listeners and secrets depend on the workload
/// itself and are not shared by this key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ViewKey {
    kind: ProxyKind,
    namespace: Name,
    sidecar: Option<(Name, Name)>,
    labels: Option<Arc<Labels>>,
    locality: Locality,
    node: Option<Name>,
    interception: Interception,
    istio_filters: bool,
    virtual_host_discovery: bool,
    dns_capture: bool,
}

impl ViewKey {
    /// The key of a proxy. Labels count only where some rule looks at them, and always for gateways.
    pub fn of(context: &Context<'_>) -> Self {
        let proxy = context.proxy;
        let by_labels = proxy.is_router() || context.scope.snapshot().depends_on_client_labels();
        let sidecar = context.scope.sidecar().map(|sidecar| {
            let ObjectName { namespace, name } = sidecar.object_name();
            (namespace, name)
        });
        Self {
            kind: proxy.kind,
            namespace: Arc::clone(&proxy.namespace),
            sidecar,
            labels: by_labels.then(|| Arc::clone(&context.labels)),
            locality: context.locality.clone(),
            node: context.scope.snapshot().depends_on_client_node().then(|| Arc::clone(&proxy.node)),
            interception: proxy.interception,
            istio_filters: proxy.istio_filters,
            virtual_host_discovery: proxy.virtual_host_discovery,
            dns_capture: proxy.dns_capture,
        }
    }
}
