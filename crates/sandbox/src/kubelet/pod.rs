//! A pod's life: a place, its volumes, its containers in order, and an orderly end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, Volume};
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use mizzen_net::NetworkNamespace;
use mizzen_net::process::Namespace;
use serde_json::{Value, json};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::container::{Order, RestartPolicy, Runner};
use super::context::{PodContext, PodPlace, Touched};
use super::files;
use super::state::{self, Condition, is_sidecar};
use super::unhonoured;
use super::views;
use super::volumes::{self, VolumeError, VolumeSources};
use crate::events::Severity::{Normal, Warning};
use crate::node::{NodeNetwork, PodNetwork};

/// Pauses before something the pod needs is looked for again.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Failures before an Event tells of them: what is missing at first is often just being made.
const QUIET_FAILURES: u32 = 5;

/// A container that has been let loose.
struct Task {
    sidecar: bool,
    order: watch::Sender<Order>,
    done: JoinHandle<()>,
}

/// How a pod's working life ended.
enum Ending {
    /// Its containers are done.
    Completed,
    /// It is to be deleted.
    Deleted,
    /// It took longer than `activeDeadlineSeconds`.
    Overdue,
}

/// Runs a pod from its beginning until it is gone from the API.
pub async fn run(context: Arc<PodContext>, network: Arc<NodeNetwork>) {
    let publisher = tokio::spawn(publish(context.clone()));
    let mut tasks = Vec::new();
    let mut place = None;
    let ending = tokio::select! {
        ending = live(&context, &network, &mut place, &mut tasks) => ending,
        () = context.ending() => Ending::Deleted,
    };
    if matches!(ending, Ending::Overdue) {
        let reason = (
            "DeadlineExceeded".to_owned(),
            "Pod was active on the node longer than the specified deadline".to_owned(),
        );
        context.state.lock().failure = Some(reason);
        context.changed.notify_one();
    }
    end_containers(&context, tasks).await;
    if let Some(place) = place.take() {
        remove_network(&context, &network, place).await;
    }
    context.changed.notify_one();
    context.ending().await;
    publisher.abort();
    finish(&context).await;
    let folder = context.folder();
    if let Err(error) = std::fs::remove_dir_all(&folder)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::debug!(path = %folder.display(), %error, "a pod's folder stays behind");
    }
}

async fn live(
    context: &Arc<PodContext>,
    network: &NodeNetwork,
    network_place: &mut Option<PodNetwork>,
    tasks: &mut Vec<Task>,
) -> Ending {
    let pod = context.pod();
    let Some(spec) = pod.spec.clone() else { return Ending::Completed };
    let deadline = spec.active_deadline_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    context.state.lock().started = Some(Timestamp::now());
    let without_effect = unhonoured::fields(&spec);
    if !without_effect.is_empty() {
        let text = format!("Fields that have no effect on this node: {}", without_effect.join(", "));
        context.event(Warning, "FieldNotHonoured", text, None);
    }
    let work = async {
        let place = set_up(context, network, network_place, &pod).await;
        let volumes = tokio::spawn(keep_volumes(context.clone()));
        let policy = match spec.restart_policy.as_deref() {
            Some("Never") => RestartPolicy::Never,
            Some("OnFailure") => RestartPolicy::OnFailure,
            _ => RestartPolicy::Always,
        };
        for container in spec.init_containers.iter().flatten() {
            initialize(context, &place, container, policy, tasks).await;
            if policy == RestartPolicy::Never && is_over(context, &pod) {
                volumes.abort();
                return;
            }
        }
        for container in &spec.containers {
            tasks.push(let_loose(context, &place, container, policy, false));
        }
        for task in tasks.iter_mut().filter(|task| !task.sidecar) {
            // A task that panicked is a container that does not run: the others go on.
            let _ = (&mut task.done).await;
        }
        volumes.abort();
    };
    let overdue = async {
        match deadline {
            Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = work => Ending::Completed,
        () = overdue => Ending::Overdue,
    }
}

fn is_over(context: &PodContext, pod: &Pod) -> bool {
    let state = context.state.lock();
    pod.spec.as_ref().is_some_and(|spec| state::phase(spec, &state).is_final())
}

/// Gives the pod its network, files and volumes; tries until it succeeds.
async fn set_up(
    context: &Arc<PodContext>,
    network: &NodeNetwork,
    network_place: &mut Option<PodNetwork>,
    pod: &Pod,
) -> PodPlace {
    let place = patiently(context, "FailedCreatePodSandBox", || make_place(network, pod)).await;
    context.state.lock().address = Some(place.1.address);
    *network_place = place.0;
    context.changed.notify_one();
    patiently(context, "FailedMount", || async {
        write_own_files(context, pod, place.1.address)?;
        make_volumes(context).await
    })
    .await;
    place.1
}

/// Repeats until it works, with growing pauses, and tells of failures that last.
async fn patiently<T, E: std::fmt::Display, F: Future<Output = Result<T, E>>>(
    context: &PodContext,
    reason: &str,
    mut work: impl FnMut() -> F,
) -> T {
    let mut pause = FIRST_PAUSE;
    let mut failures = 0;
    loop {
        match work().await {
            Ok(done) => return done,
            Err(error) => {
                failures += 1;
                if failures >= QUIET_FAILURES {
                    context.event(Warning, reason, error.to_string(), None);
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

async fn make_place(network: &NodeNetwork, pod: &Pod) -> Result<(Option<PodNetwork>, PodPlace), String> {
    let of_host = pod.spec.as_ref().and_then(|spec| spec.host_network) == Some(true);
    let name = files::host_name(pod);
    let host_name =
        Namespace::with_host_name(&name).map_err(|error| format!("host name {name:?}: {error}"))?;
    if of_host {
        let network = NetworkNamespace::current().map_err(|error| error.to_string())?;
        return Ok((None, PodPlace { network, address: crate::node::NODE_ADDRESS, host_name }));
    }
    let made = network.add_pod().await.map_err(|error| error.to_string())?;
    let place = PodPlace { network: made.namespace.clone(), address: made.address, host_name };
    Ok((Some(made), place))
}

fn write_own_files(context: &PodContext, pod: &Pod, address: std::net::Ipv4Addr) -> Result<(), VolumeError> {
    let folder = context.folder().join("etc");
    let dns = &context.settings.dns;
    let contents = [
        ("hosts", files::hosts(pod, address, &dns.domain)),
        ("resolv.conf", files::resolver_settings(pod, dns)),
        ("hostname", format!("{}\n", files::host_name(pod))),
    ];
    let written = std::fs::create_dir_all(&folder).and_then(|()| {
        contents.iter().try_for_each(|(name, content)| std::fs::write(folder.join(name), content))
    });
    written.map_err(|source| VolumeError::Write { path: folder, source })
}

/// The pod's volumes and the one with its credentials.
fn all_volumes(pod: &Pod) -> Vec<Volume> {
    let mut volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.clone()).unwrap_or_default();
    if views::any_wants_credentials(pod) {
        volumes.push(views::credentials_volume());
    }
    volumes
}

/// Makes or renews every volume.
async fn make_volumes(context: &PodContext) -> Result<(), VolumeError> {
    let pod = context.pod();
    let volumes = all_volumes(&pod);
    let sources = volume_sources(context, &pod, &volumes).await?;
    let placed = context.placed();
    for volume in &volumes {
        let folder = context.volume_folder(&volume.name);
        if volumes::is_from_api(volume) {
            volumes::write(&folder, &volumes::files(&pod, &placed, volume, &sources)?)?;
        } else if volume.empty_dir.is_some() {
            std::fs::create_dir_all(&folder).map_err(|source| VolumeError::Write { path: folder, source })?;
        } else if volume.host_path.is_none() {
            return Err(VolumeError::Unsupported(volume.name.clone()));
        }
    }
    Ok(())
}

async fn volume_sources(
    context: &PodContext,
    pod: &Pod,
    all: &[Volume],
) -> Result<VolumeSources, VolumeError> {
    let mut sources = VolumeSources::default();
    let (mut maps, mut secrets) = (BTreeSet::new(), BTreeSet::new());
    for volume in all {
        let (some_maps, some_secrets) = volumes::references(volume);
        maps.extend(some_maps);
        secrets.extend(some_secrets);
    }
    for name in maps {
        if let Some(map) = context.access.config_map(&name).await? {
            sources.config_maps.insert(name, map);
        }
    }
    for name in secrets {
        if let Some(secret) = context.access.secret(&name).await? {
            sources.secrets.insert(name, secret);
        }
    }
    for request in volumes::token_requests(all) {
        let held = context.tokens.lock().get(&request.audience).cloned();
        let token = match held.filter(|token| token.renew_at > Timestamp::now()) {
            Some(token) => token,
            None => context.access.token(pod, &request).await?,
        };
        context.tokens.lock().insert(request.audience.clone(), token.clone());
        sources.tokens.insert(request.audience, token.text);
    }
    Ok(sources)
}

/// Renews the volumes when what they are made from changes: ConfigMaps, Secrets, the pod's labels
/// and annotations, and tokens that grow old.
async fn keep_volumes(context: Arc<PodContext>) {
    let mut touched = context.touched.subscribe();
    let mut view = context.view.clone();
    let mut retry: Option<Duration> = None;
    loop {
        let names = interesting(&context.pod());
        let renewal = context.tokens.lock().values().map(|token| token.renew_at).min();
        let renewal =
            renewal.map(|at| Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or_default());
        let pause = [renewal, retry].into_iter().flatten().min();
        tokio::select! {
            change = touched.recv() => match change {
                Ok(change) if !concerns(&context, &names, &change) => continue,
                Err(broadcast::error::RecvError::Closed) => return,
                // Having missed some, one of them may have been ours.
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            },
            seen = view.changed() => if seen.is_err() { return },
            () = sleep_if(pause) => {}
        }
        retry = match make_volumes(&context).await {
            Ok(()) => None,
            Err(error) => {
                context.event(Warning, "FailedMount", error.to_string(), None);
                Some(LONGEST_PAUSE)
            }
        };
    }
}

async fn sleep_if(pause: Option<Duration>) {
    match pause {
        Some(pause) => tokio::time::sleep(pause).await,
        None => std::future::pending().await,
    }
}

fn interesting(pod: &Pod) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut maps, mut secrets) = (BTreeSet::new(), BTreeSet::new());
    for volume in all_volumes(pod) {
        let (some_maps, some_secrets) = volumes::references(&volume);
        maps.extend(some_maps);
        secrets.extend(some_secrets);
    }
    (maps, secrets)
}

fn concerns(
    context: &PodContext,
    (maps, secrets): &(BTreeSet<String>, BTreeSet<String>),
    change: &Touched,
) -> bool {
    let names = if change.secret { secrets } else { maps };
    change.namespace == context.namespace && names.contains(&change.name)
}

/// Runs an init container to its end, or starts a sidecar and waits until it has started.
async fn initialize(
    context: &Arc<PodContext>,
    place: &PodPlace,
    container: &Container,
    policy: RestartPolicy,
    tasks: &mut Vec<Task>,
) {
    if is_sidecar(container) {
        tasks.push(let_loose(context, place, container, RestartPolicy::Always, true));
        let started =
            || context.state.lock().containers.get(&container.name).is_some_and(|state| state.started);
        while !started() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        return;
    }
    let policy = if policy == RestartPolicy::Never { policy } else { RestartPolicy::OnFailure };
    tasks.push(let_loose(context, place, container, policy, false));
    if let Some(task) = tasks.last_mut() {
        // A task that panicked counts as done; the pod's status tells that it did not succeed.
        let _ = (&mut task.done).await;
    }
    tasks.pop();
}

fn let_loose(
    context: &Arc<PodContext>,
    place: &PodPlace,
    container: &Container,
    policy: RestartPolicy,
    sidecar: bool,
) -> Task {
    let (order, receiver) = watch::channel(Order::Run);
    let runner = Runner {
        context: context.clone(),
        container: container.clone(),
        place: place.clone(),
        policy,
        order: receiver,
    };
    Task { sidecar, order, done: tokio::spawn(runner.run()) }
}

/// Ends the application's containers together, then the sidecars one by one, the last one first.
async fn end_containers(context: &PodContext, tasks: Vec<Task>) {
    let pod = context.pod();
    let spec = pod.spec.as_ref();
    let asked = pod.metadata.deletion_grace_period_seconds;
    let seconds = asked.or_else(|| spec?.termination_grace_period_seconds).unwrap_or(30);
    let deadline = Instant::now() + Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    let (sidecars, applications): (Vec<Task>, Vec<Task>) = tasks.into_iter().partition(|task| task.sidecar);
    if pod.metadata.deletion_timestamp.is_some() {
        let names = spec.into_iter().flat_map(|spec| &spec.containers);
        for container in names {
            let text = format!("Stopping container {}", container.name);
            context.event(Normal, "Killing", text, Some(container));
        }
    }
    for task in &applications {
        task.order.send_replace(Order::EndBy(deadline));
    }
    for task in applications {
        let _ = task.done.await;
    }
    for task in sidecars.into_iter().rev() {
        // A sidecar has at least a moment to close its connections, however long the others took.
        let deadline = deadline.max(Instant::now() + Duration::from_millis(500));
        task.order.send_replace(Order::EndBy(deadline));
        let _ = task.done.await;
    }
}

async fn remove_network(context: &PodContext, network: &NodeNetwork, place: PodNetwork) {
    super::sweep::kill_all_in(&place.namespace);
    if let Err(error) = network.remove(&place).await {
        tracing::warn!(pod = context.name, %error, "cannot take a pod off the network");
    }
}

/// Keeps the pod's status in the API as its state is.
async fn publish(context: Arc<PodContext>) {
    let mut last = Value::Null;
    let mut view = context.view.clone();
    loop {
        let pod = context.pod();
        let status = {
            let state = context.state.lock();
            state::pod_status(&pod, &state, context.settings.node_address, &last)
        };
        if status != last {
            match patch_status(&context, &status).await {
                Ok(()) => last = status,
                Err(kube::Error::Api(error)) if error.code == 404 => return,
                Err(error) => {
                    tracing::debug!(pod = context.name, %error, "a pod's status is not written, trying again");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    continue;
                }
            }
        }
        tokio::select! {
            () = context.changed.notified() => {}
            seen = view.changed() => if seen.is_err() { return },
        }
    }
}

async fn patch_status(context: &PodContext, status: &Value) -> Result<(), kube::Error> {
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), &context.namespace);
    let patch = json!({"metadata": {"uid": context.uid}, "status": status});
    pods.patch_status(&context.name, &PatchParams::default(), &Patch::Merge(patch)).await.map(|_| ())
}

/// Writes the last status and removes the object for good.
async fn finish(context: &PodContext) {
    if context.view.borrow().gone {
        return;
    }
    let pod = context.pod();
    let status = {
        let mut state = context.state.lock();
        for container in state.containers.values_mut() {
            container.ready = false;
            if let Condition::Waiting { reason, .. } = &mut container.condition {
                *reason = "ContainerCreating".to_owned();
            }
        }
        state::pod_status(&pod, &state, context.settings.node_address, &Value::Null)
    };
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), &context.namespace);
    let preconditions = Preconditions { uid: Some(context.uid.clone()), resource_version: None };
    let now = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() }.grace_period(0);
    let mut pause = FIRST_PAUSE;
    loop {
        // The status is for those who watch; the deletion is what matters.
        let _ = patch_status(context, &status).await;
        match pods.delete(&context.name, &now).await {
            Ok(_) => return,
            Err(kube::Error::Api(error)) if matches!(error.code, 404 | 409) => return,
            Err(error) => tracing::debug!(pod = context.name, %error, "a pod is not deleted, trying again"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
