//! What is done to the mesh while its proxies are watched.

use super::fill;
use super::fleet::{Fleet, Received};
use super::latency::Latency;
use super::objects::{Service, Size};
use super::processes::{ControlPlane, Usage};
use super::report::{Bar, Outcome};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use std::time::{Duration, Instant};

/// Changes one after the other, each taken over everywhere before the next.
const ROUNDS: usize = 10;
const CHURN: Duration = Duration::from_secs(20);
const CHURN_PER_SECOND: usize = 200;
const IDLE: Duration = Duration::from_secs(20);
/// How long nothing must have been received for everything to count as received.
const QUIET: Duration = Duration::from_secs(2);
/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(600);
const POLL: Duration = Duration::from_millis(5);

/// A simulated mesh at work.
pub struct Running {
    pub client: kube::Client,
    pub size: Size,
    pub control: ControlPlane,
    pub fleet: Fleet,
}

/// The state at the start of a scenario.
struct Start {
    usage: Usage,
    received: Received,
}

impl Running {
    /// Waits until every proxy has everything.
    pub async fn complete(&self) -> anyhow::Result<()> {
        let progress = fill::progress(self.fleet.size(), "proxies complete");
        until("all proxies have everything", || {
            progress.set_position(self.fleet.complete() as u64);
            self.fleet.complete() >= self.fleet.size()
        })
        .await?;
        progress.finish();
        self.quiet().await
    }

    /// One endpoint of one service, again and again.
    pub async fn endpoint(&self) -> anyhow::Result<Outcome> {
        let start = self.start().await?;
        for round in 0..ROUNDS {
            self.change_endpoint(round * 37).await?;
            self.arrived((round + 1) * self.fleet.size()).await?;
        }
        let mut outcome = self.outcome("endpoint", ROUNDS, &start, self.fleet.shared.changes.take())?;
        outcome.bars.push(Bar::new("p99", outcome.latency.p99, 150.0, " ms"));
        let extra = outcome.received.resources as f64 - outcome.latency.count as f64;
        outcome.bars.push(Bar::new("resources sent besides", extra, 0.0, ""));
        outcome.bars.push(Bar::new("memory", outcome.resident / 1e6, 400.0, " MB"));
        Ok(outcome)
    }

    /// One VirtualService, for clients of its namespace.
    pub async fn virtual_service(&self) -> anyhow::Result<Outcome> {
        let start = self.start().await?;
        let proxies = self.proxies_by_namespace();
        let (mut arrivals, mut elsewhere) = (0, 0);
        for round in 0..ROUNDS {
            let service = self.size.service(round * 37);
            let own = service.namespace_index();
            let before = self.fleet.resources();
            arrivals += proxies.get(own).copied().unwrap_or(0);
            self.change_virtual_service(service).await?;
            self.arrived(arrivals).await?;
            self.quiet().await?;
            let counts = self.fleet.resources().into_iter().zip(before).enumerate();
            let others = counts.filter(|(namespace, _)| *namespace != own);
            elsewhere += others.map(|(_, (after, before))| after - before).sum::<u64>();
            // The virtual host has the same name everywhere, and is another in every namespace.
            self.fleet.shared.changes.forget();
        }
        let latency = self.fleet.shared.changes.take();
        let mut outcome = self.outcome("virtual-service", ROUNDS, &start, latency)?;
        outcome.bars.push(Bar::new("p99", outcome.latency.p99, 300.0, " ms"));
        outcome.bars.push(Bar::new("resources sent to others", elsewhere as f64, 0.0, ""));
        Ok(outcome)
    }

    /// Endpoints of all services at a high rate.
    pub async fn churn(&self) -> anyhow::Result<Outcome> {
        let start = self.start().await?;
        let changes = CHURN_PER_SECOND * CHURN.as_secs() as usize;
        let began = Instant::now();
        let halfway = tokio::sync::OnceCell::new();
        stream::iter(0..changes)
            .then(|change| async move {
                let due = began + Duration::from_secs(1) * change as u32 / CHURN_PER_SECOND as u32;
                tokio::time::sleep_until(due.into()).await;
                change
            })
            .map(|change| {
                let halfway = &halfway;
                async move {
                    if change == changes / 2 {
                        halfway.set(self.control.usage()?)?;
                    }
                    self.change_endpoint(change).await
                }
            })
            .buffer_unordered(CHURN_PER_SECOND)
            .try_collect::<()>()
            .await?;
        self.arrived(changes * self.fleet.size()).await?;
        let mut outcome = self.outcome("churn", changes, &start, self.fleet.shared.changes.take())?;
        let halfway = halfway.get().map_or(outcome.anonymous, |usage| usage.memory.anonymous);
        outcome.bars.push(Bar::new("p99", outcome.latency.p99, 1000.0, " ms"));
        let growth = (outcome.anonymous / halfway.max(1.0) - 1.0) * 100.0;
        outcome.bars.push(Bar::new("growth of memory in the second half", growth, 5.0, " %"));
        outcome.bars.push(Bar::new("memory", outcome.resident / 1e6, 400.0, " MB"));
        Ok(outcome)
    }

    /// The control plane is killed and started again; as soon as every proxy has a stream, one endpoint
    /// changes. A proxy that has received that change has been looked at, and is current.
    pub async fn reconnect(&mut self) -> anyhow::Result<Outcome> {
        self.quiet().await?;
        let before = self.fleet.received();
        let killed = Instant::now();
        self.control.replace().await?;
        until("no streams are open", || self.fleet.open() == 0).await?;
        until("all streams are open again", || self.fleet.open() >= self.fleet.size()).await?;
        let connected = killed.elapsed();
        self.change_endpoint(0).await?;
        self.arrived(self.fleet.size()).await?;
        let current = killed.elapsed();
        self.quiet().await?;
        let start = Start { usage: Usage::default(), received: before };
        let mut outcome = self.outcome("reconnect", 1, &start, self.fleet.shared.changes.take())?;
        outcome.bars.push(Bar::new("all streams open", connected.as_secs_f64(), 10.0, " s"));
        outcome.bars.push(Bar::new("all current", current.as_secs_f64(), 10.0, " s"));
        let extra = outcome.received.resources as f64 - outcome.latency.count as f64;
        outcome.bars.push(Bar::new("resources sent that were known", extra, 0.0, ""));
        outcome.bars.push(Bar::new("memory", outcome.resident / 1e6, 400.0, " MB"));
        Ok(outcome)
    }

    /// Nothing happens.
    pub async fn idle(&self) -> anyhow::Result<Outcome> {
        let start = self.start().await?;
        tokio::time::sleep(IDLE).await;
        let mut outcome = self.outcome("idle", 0, &start, Latency::default())?;
        let share = outcome.cpu / IDLE.as_secs_f64() * 100.0;
        outcome.bars.push(Bar::new("processor", share, 1.0, " % of a core"));
        outcome.bars.push(Bar::new("memory", outcome.resident / 1e6, 400.0, " MB"));
        Ok(outcome)
    }

    async fn change_endpoint(&self, index: usize) -> anyhow::Result<()> {
        let service = self.size.service(index);
        let mark = self.fleet.shared.changes.begin(&service.cluster());
        let object = (service.namespace(), service.name());
        let kind = ("discovery.k8s.io/v1", "EndpointSlice");
        fill::patch(&self.client, kind, (&object.0, &object.1), service.marked_endpoints(mark)).await
    }

    async fn change_virtual_service(&self, service: Service) -> anyhow::Result<()> {
        let mark = self.fleet.shared.changes.begin(&service.virtual_host());
        let object = (service.namespace(), service.name());
        let kind = ("networking.istio.io/v1", "VirtualService");
        fill::patch(&self.client, kind, (&object.0, &object.1), service.marked_virtual_service(mark)).await
    }

    fn proxies_by_namespace(&self) -> Vec<usize> {
        let mut counts = vec![0; self.size.namespaces];
        for index in 0..self.fleet.size() {
            counts[self.size.pod_of_proxy(index).0.namespace_index()] += 1;
        }
        counts
    }

    async fn arrived(&self, count: usize) -> anyhow::Result<()> {
        let all = || self.fleet.shared.changes.arrived() >= count as u64;
        until("the change has arrived everywhere", all).await
    }

    /// Waits until nothing is on its way any more.
    async fn quiet(&self) -> anyhow::Result<()> {
        let (mut received, mut since) = (self.fleet.received(), Instant::now());
        until("nothing more is sent", || {
            let now = self.fleet.received();
            if now != received {
                (received, since) = (now, Instant::now());
            }
            since.elapsed() >= QUIET
        })
        .await
    }

    async fn start(&self) -> anyhow::Result<Start> {
        self.quiet().await?;
        Ok(Start { usage: self.control.usage()?, received: self.fleet.received() })
    }

    fn outcome(
        &self,
        scenario: &str,
        changes: usize,
        start: &Start,
        latency: Latency,
    ) -> anyhow::Result<Outcome> {
        let usage = self.control.usage()?;
        Ok(Outcome {
            scenario: scenario.to_owned(),
            changes,
            latency,
            received: self.fleet.received() - start.received,
            cpu: (usage.cpu - start.usage.cpu).total(),
            resident: usage.memory.resident,
            anonymous: usage.memory.anonymous,
            bars: Vec::new(),
        })
    }
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) -> anyhow::Result<()> {
    let began = Instant::now();
    while !condition() {
        anyhow::ensure!(began.elapsed() < PATIENCE, "not in {PATIENCE:?}: {what}");
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}
