//! From a change to the proxies it concerns.
//!
//! A batch of changes becomes a snapshot and a list of what it touched. Proxies that see the same
//! thing share a [`view`] of it, and those of one workload another; each view works out which of its resources differ, once, and tells its
//! connections their names. What is sent, and when, is the transport's business.

mod client;
mod known;
mod mesh;
mod proxies;
mod sight;
mod translation;
mod view;

pub(crate) use mesh::{Mesh, TrustDomain};
pub(crate) use proxies::{Proxies, ProxySession, node_text, short_name};
pub(crate) use translation::TYPES;

use crate::metrics::Metrics;
use mizzen_model::{Store, Touched};
use mizzen_registry::Registry;
use std::sync::Arc;
use std::time::Instant;

/// Applies batches and pushes what they change, until the watches end.
pub(crate) async fn run(
    mut registry: Registry,
    mut store: Store,
    mesh: Arc<Mesh>,
    proxies: Proxies,
    metrics: Arc<Metrics>,
) {
    while let Some(batch) = registry.next().await {
        metrics.debounce.observe(&[], batch.since.elapsed().as_secs_f64());
        let started = Instant::now();
        let applied = store.apply(batch.changes);
        metrics.snapshot_time.observe(&[], started.elapsed().as_secs_f64());
        if applied.touched.is_empty() {
            continue;
        }
        let configuration = touches_configuration(&applied.touched);
        count_updates(&metrics, &applied.touched, configuration);
        metrics.push_triggers.add(&[trigger(&applied.touched)], 1);
        // Counting costs what the mesh holds, so that most changes must do without.
        if configuration {
            metrics.rejected_configs.set(&["quarantined"], applied.snapshot.quarantined().count() as f64);
            metrics.virtual_services.set(&[], applied.snapshot.virtual_services().count() as f64);
        }
        if !applied.touched.services.is_empty() {
            metrics.services.set(&[], applied.snapshot.hosts().count() as f64);
        }
        let before = mesh.snapshot();
        mesh.replace(applied.snapshot.clone(), configuration);
        proxies.push(&before, &applied.snapshot, &applied.touched).await;
    }
}

fn count_updates(metrics: &Metrics, touched: &Touched, configuration: bool) {
    let (services, endpoints) = (touched.services.len() as u64, touched.endpoints.len() as u64);
    for (kind, count) in [("svc", services), ("eds", endpoints), ("config", u64::from(configuration))] {
        if count > 0 {
            metrics.inbound_updates.add(&[kind], count);
        }
    }
}

/// Whether more changed than services, endpoints and workloads.
fn touches_configuration(touched: &Touched) -> bool {
    let others = Touched {
        services: Default::default(),
        endpoints: Default::default(),
        workloads: Default::default(),
        ..touched.clone()
    };
    !others.is_empty()
}

/// Istio's word for what set a push off.
fn trigger(touched: &Touched) -> &'static str {
    let endpoints = Touched { endpoints: touched.endpoints.clone(), ..Touched::default() };
    let workloads = Touched { workloads: touched.workloads.clone(), ..endpoints.clone() };
    if *touched == endpoints || *touched == workloads {
        "endpoint"
    } else if !touched.services.is_empty() {
        "service"
    } else if touched.mesh {
        "global"
    } else if !touched.secrets.is_empty() {
        "secret"
    } else {
        "config"
    }
}
