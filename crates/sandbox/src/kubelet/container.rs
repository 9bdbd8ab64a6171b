//! One container's life: start, probes, end, and start again as its policy says.

use std::io;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, LifecycleHandler, Pod, Probe};
use mizzen_net::process::{Namespace, Placement};
use nix::sys::signal::Signal;
use tokio::process::Child;
use tokio::sync::watch;
use tokio::time::Instant;

use super::attach::{self, Main, Started};
use super::context::{PodContext, PodPlace};
use super::environment::{self, expand};
use super::image::{self, Launch, Program};
use super::logs::Log;
use super::mounts;
use super::probes::{self, Counter, Target, Timing, Turn};
use super::process::{self, Group, Place, Streams};
use super::state::{Condition, Termination};
use super::views;
use crate::events::Severity::{Normal, Warning};

/// Pauses before a container that ends is started again: quick at first, because here a person
/// is watching (a cluster's kubelet begins at 10 seconds and goes to 5 minutes).
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A run this long makes the next end count as the first.
const SOUND_RUN: Duration = Duration::from_secs(30);
/// How long the streams of an ended container may stay open in processes that left its group.
const STREAM_PATIENCE: Duration = Duration::from_secs(1);

/// When a container is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Whatever its exit code.
    Always,
    /// When it failed.
    OnFailure,
    /// Not at all.
    Never,
}

/// Whether a container is to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// It is.
    Run,
    /// It is to end by then; after that it is killed.
    EndBy(Instant),
}

/// One container of a pod.
pub struct Runner {
    pub context: Arc<PodContext>,
    pub container: Container,
    pub place: PodPlace,
    pub policy: RestartPolicy,
    pub order: watch::Receiver<Order>,
}

/// A run that has begun.
struct Run {
    child: Child,
    group: Group,
    place: Place,
    main: Main,
    log: Arc<Log>,
    copies: Vec<tokio::task::JoinHandle<()>>,
    since: Timestamp,
    id: String,
}

/// Why a container cannot start: in one word and in a sentence.
struct StartError {
    reason: &'static str,
    message: String,
}

impl StartError {
    fn config(error: impl std::fmt::Display) -> Self {
        Self { reason: "CreateContainerConfigError", message: error.to_string() }
    }

    fn create(error: impl std::fmt::Display) -> Self {
        Self { reason: "CreateContainerError", message: error.to_string() }
    }

    fn run(error: impl std::fmt::Display) -> Self {
        Self { reason: "RunContainerError", message: error.to_string() }
    }
}

impl Runner {
    /// Runs the container until it ends for good.
    pub async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let began = Instant::now();
            let again = match self.start().await {
                Ok(run) => {
                    let code = self.attend(run).await;
                    match self.policy {
                        RestartPolicy::Always => true,
                        RestartPolicy::OnFailure => code != 0,
                        RestartPolicy::Never => false,
                    }
                }
                Err(StartError { reason, message }) => {
                    self.context.event(Warning, "Failed", format!("Error: {message}"), Some(&self.container));
                    self.context.waiting(&self.container.name, reason, Some(message));
                    true
                }
            };
            if !again || self.is_ordered_to_end() {
                return;
            }
            if began.elapsed() >= SOUND_RUN {
                pause = FIRST_PAUSE;
            }
            if self.back_off(pause).await == Order::Run {
                pause = (pause * 2).min(LONGEST_PAUSE);
            } else {
                return;
            }
        }
    }

    fn is_ordered_to_end(&self) -> bool {
        *self.order.borrow() != Order::Run
    }

    /// Waits before the next run; says so when it takes long enough to be noticed.
    async fn back_off(&mut self, pause: Duration) -> Order {
        let container = &self.container;
        let name = &container.name;
        let failed_start = |condition: &Condition| matches!(condition, Condition::Waiting { .. });
        let waits = self
            .context
            .state
            .lock()
            .containers
            .get(name)
            .is_some_and(|state| failed_start(&state.condition));
        if !waits {
            let pod = format!("{}({})", self.context.name, self.context.uid);
            let message = format!("back-off {pause:?} restarting failed container={name} pod={pod}");
            self.context.update(name, |state| {
                if let Condition::Terminated(end) = &state.condition {
                    state.last = Some(end.clone());
                }
                let reason = "CrashLoopBackOff".to_owned();
                state.condition = Condition::Waiting { reason, message: Some(message) };
            });
            let text = format!("Back-off restarting failed container {name} in pod {}", self.context.name);
            self.context.event(Warning, "BackOff", text, Some(container));
        }
        match tokio::time::timeout(pause, ordered_end(&mut self.order)).await {
            Err(_) => Order::Run,
            Ok(deadline) => Order::EndBy(deadline),
        }
    }

    async fn start(&self) -> Result<Run, StartError> {
        let (context, container) = (&self.context, &self.container);
        let pod = context.pod();
        let sources = context.access.environment_sources(container).await.map_err(StartError::config)?;
        let own =
            environment::resolve(&pod, container, &context.placed(), &sources).map_err(StartError::config)?;
        let expanded = |words: &Option<Vec<String>>| -> Vec<String> {
            words.iter().flatten().map(|word| expand(word, &own)).collect()
        };
        let (command, args) = (expanded(&container.command), expanded(&container.args));
        let launch = image::launch(&pod, container, &command, &args, &context.settings.images);
        let mut environment = process::base_environment(&super::files::host_name(&pod));
        environment.extend(launch.environment.iter().cloned());
        environment.extend(own);
        let mounts = self.mounts(&pod, &environment).await?;
        let place = Place { placement: self.placement(mounts).map_err(StartError::create)?, environment };
        self.announce(&launch);
        let run = self.spawn(place, &launch).map_err(StartError::run)?;
        self.began(&run);
        Ok(run)
    }

    async fn mounts(
        &self,
        pod: &Pod,
        environment: &std::collections::BTreeMap<String, String>,
    ) -> Result<Namespace, StartError> {
        let binds =
            views::binds(&self.context, pod, &self.container, environment).map_err(StartError::config)?;
        let scratch = self.context.folder().join("root");
        std::fs::create_dir_all(&scratch).map_err(StartError::create)?;
        let built =
            tokio::task::spawn_blocking(move || Namespace::with_mounts(|| mounts::build(&scratch, &binds)));
        built.await.map_err(StartError::create)?.map_err(StartError::create)
    }

    fn placement(&self, mounts: Namespace) -> io::Result<Placement> {
        let placement = Placement {
            network: Some(self.place.network.clone()),
            mounts: Some(mounts),
            host_name: Some(self.place.host_name.clone()),
            directory: None,
            terminal: false,
        };
        match self.container.working_dir.as_deref().filter(|folder| !folder.is_empty()) {
            Some(folder) => placement.directory(folder.as_ref()),
            None => Ok(placement),
        }
    }

    fn announce(&self, launch: &Launch) {
        let image = self.container.image.as_deref().unwrap_or_default();
        let container = Some(&self.container);
        if launch.stand_in {
            let text = format!(
                "No local command stands for image \"{image}\": the built-in echo application runs instead \
                 (give one by --image {image}=COMMAND or the annotation {})",
                image::COMMAND_ANNOTATION
            );
            self.context.event(Warning, "ImageStandIn", text, container);
        } else {
            let text = format!("Container image \"{image}\" already present on machine");
            self.context.event(Normal, "Pulled", text, container);
        }
    }

    fn spawn(&self, place: Place, launch: &Launch) -> io::Result<Run> {
        let name = &self.container.name;
        let restarts = self.context.state.lock().containers.get(name).map_or(0, |state| state.restarts);
        let log = Log::create(&self.context.log_folder(name), restarts)?;
        let Started { child, copies, main } = attach::start(place.clone(), launch, &self.container, &log)
            .map_err(|error| describe(&launch.program, &error))?;
        let group = Group::of(&child).ok_or_else(|| io::Error::other("the process ended at once"))?;
        let id = format!("mizzen://{}-{name}-{restarts}", self.context.uid);
        Ok(Run { child, group, place, main, log, copies, since: Timestamp::now(), id })
    }

    fn began(&self, run: &Run) {
        let (context, name) = (&self.context, &self.container.name);
        {
            let mut logs = context.logs.lock();
            let logs = logs.entry(name.clone()).or_default();
            logs.previous = logs.current.replace(run.log.clone());
        }
        context.running.lock().insert(name.clone(), (run.place.clone(), run.main.clone()));
        context.update(name, |state| {
            state.condition = Condition::Running { since: run.since };
            state.id = Some(run.id.clone());
        });
        context.event(Normal, "Created", format!("Created container: {name}"), Some(&self.container));
        context.event(Normal, "Started", format!("Started container {name}"), Some(&self.container));
    }

    /// Watches over a run until it has ended, and returns its exit code.
    async fn attend(&mut self, mut run: Run) -> i32 {
        let mut order = self.order.clone();
        let ended = tokio::select! {
            ended = run.child.wait() => ended,
            deadline = ordered_end(&mut order) => {
                self.end(&mut run, deadline).await
            }
            reason = self.supervise(&run.place) => {
                let text = format!("Container {} {reason}, will be restarted", self.container.name);
                self.context.event(Normal, "Killing", text, Some(&self.container));
                let grace = self.grace();
                self.end(&mut run, Instant::now() + grace).await
            }
        };
        self.finish(run, ended).await
    }

    fn grace(&self) -> Duration {
        let pod = self.context.pod();
        let probe =
            self.container.liveness_probe.as_ref().and_then(|probe| probe.termination_grace_period_seconds);
        let seconds = probe.or_else(|| pod.spec.as_ref()?.termination_grace_period_seconds).unwrap_or(30);
        Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
    }

    /// `preStop`, then a polite signal, then at the deadline an impolite one.
    async fn end(&self, run: &mut Run, deadline: Instant) -> io::Result<std::process::ExitStatus> {
        let hook = self.container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref());
        if let Some(hook) = hook {
            let stopped = tokio::select! {
                done = tokio::time::timeout_at(deadline, self.handle(&run.place, hook)) => match done {
                    Ok(Ok(())) => None,
                    Ok(Err(error)) => Some(error),
                    Err(_) => Some("it took longer than the grace period".to_owned()),
                },
                ended = run.child.wait() => return ended,
            };
            if let Some(error) = stopped {
                let text = format!("PreStopHook failed: {error}");
                self.context.event(Warning, "FailedPreStopHook", text, Some(&self.container));
            }
        }
        let grace = deadline.saturating_duration_since(Instant::now());
        process::end(&mut run.child, run.group, grace).await
    }

    async fn finish(&self, run: Run, ended: io::Result<std::process::ExitStatus>) -> i32 {
        // What the leader leaves behind goes with it, as when the first process of a container ends.
        run.group.signal(Signal::SIGKILL);
        self.context.running.lock().remove(&self.container.name);
        for mut copy in run.copies {
            if tokio::time::timeout(STREAM_PATIENCE, &mut copy).await.is_err() {
                copy.abort();
            }
        }
        run.log.close();
        let (exit_code, signal, message) = match ended {
            Ok(status) => {
                let (code, signal) = process::exit_code(status);
                (code, signal, None)
            }
            Err(error) => (255, None, Some(error.to_string())),
        };
        let end = Termination {
            exit_code,
            signal,
            reason: if exit_code == 0 { "Completed" } else { "Error" }.to_owned(),
            message,
            started: run.since,
            finished: Timestamp::now(),
            id: Some(run.id),
        };
        let again = !self.is_ordered_to_end()
            && match self.policy {
                RestartPolicy::Always => true,
                RestartPolicy::OnFailure => exit_code != 0,
                RestartPolicy::Never => false,
            };
        self.context.update(&self.container.name, |state| {
            state.condition = Condition::Terminated(end);
            state.ready = false;
            state.started = false;
            state.restarts += u32::from(again);
        });
        exit_code
    }

    /// Runs the hooks and probes of a run. Resolves only if the container must be restarted: why.
    async fn supervise(&self, place: &Place) -> String {
        let container = &self.container;
        let post_start = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.as_ref());
        if let Some(hook) = post_start
            && let Err(error) = self.handle(place, hook).await
        {
            let text = format!("PostStartHook failed: {error}");
            self.context.event(Warning, "FailedPostStartHook", text, Some(container));
            return "failed its post-start hook".to_owned();
        }
        if let Some(probe) = &container.startup_probe
            && !self.probe_until_turn(place, "Startup", probe).await
        {
            return "failed startup probe".to_owned();
        }
        let waits = container.readiness_probe.is_some();
        self.context.update(&container.name, |state| {
            state.started = true;
            state.ready = !waits;
        });
        let readiness = async {
            if let Some(probe) = &container.readiness_probe {
                self.probe_readiness(place, probe).await;
            }
            std::future::pending::<()>().await;
        };
        let liveness = async {
            match &container.liveness_probe {
                Some(probe) => self.probe_liveness(place, probe).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = readiness => String::new(),
            () = liveness => "failed liveness probe".to_owned(),
        }
    }

    /// Probes until it passes (true) or has failed too often (false).
    async fn probe_until_turn(&self, place: &Place, kind: &str, probe: &Probe) -> bool {
        let mut probing = Probing::new(self, place, kind, probe);
        tokio::time::sleep(probing.timing.initial_delay).await;
        loop {
            match probing.attempt().await {
                Turn::Passes => return true,
                Turn::Fails => return false,
                Turn::Same => probing.pause().await,
            }
        }
    }

    async fn probe_readiness(&self, place: &Place, probe: &Probe) {
        let mut probing = Probing::new(self, place, "Readiness", probe);
        tokio::time::sleep(probing.timing.initial_delay).await;
        loop {
            match probing.attempt().await {
                Turn::Passes => self.context.update(&self.container.name, |state| state.ready = true),
                Turn::Fails => self.context.update(&self.container.name, |state| state.ready = false),
                Turn::Same => {}
            }
            probing.pause().await;
        }
    }

    async fn probe_liveness(&self, place: &Place, probe: &Probe) {
        let mut probing = Probing::new(self, place, "Liveness", probe);
        tokio::time::sleep(probing.timing.initial_delay).await;
        while probing.attempt().await != Turn::Fails {
            probing.pause().await;
        }
    }

    fn target(&self) -> Target {
        Target {
            network: self.place.network.clone(),
            address: self.place.address,
            container: self.container.clone(),
        }
    }

    async fn handle(&self, place: &Place, hook: &LifecycleHandler) -> Result<(), String> {
        if let Some(action) = &hook.exec {
            return run_once(place, action.command.as_deref().unwrap_or_default()).await;
        }
        if let Some(action) = &hook.http_get {
            return probes::http(&self.target(), action).await;
        }
        if let Some(action) = &hook.tcp_socket {
            return probes::tcp(&self.target(), action.host.as_deref(), &action.port).await;
        }
        if let Some(action) = &hook.sleep {
            tokio::time::sleep(Duration::from_secs(u64::try_from(action.seconds).unwrap_or_default())).await;
        }
        Ok(())
    }
}

/// Resolves once the container is to end: by when. A pod that is gone ends its containers at once.
async fn ordered_end(order: &mut watch::Receiver<Order>) -> Instant {
    match order.wait_for(|order| *order != Order::Run).await.map(|order| *order) {
        Ok(Order::EndBy(deadline)) => deadline,
        Ok(Order::Run) | Err(_) => Instant::now(),
    }
}

/// One probe of one run.
struct Probing<'r> {
    runner: &'r Runner,
    place: &'r Place,
    kind: &'r str,
    probe: &'r Probe,
    timing: Timing,
    counter: Counter,
}

impl<'r> Probing<'r> {
    fn new(runner: &'r Runner, place: &'r Place, kind: &'r str, probe: &'r Probe) -> Self {
        let timing = Timing::of(probe);
        Self { runner, place, kind, probe, timing, counter: Counter::new(timing) }
    }

    async fn attempt(&mut self) -> Turn {
        let outcome = match tokio::time::timeout(self.timing.timeout, self.once()).await {
            Ok(outcome) => outcome,
            Err(_) => Err(format!("no answer in {:?}", self.timing.timeout)),
        };
        let was_early = self.counter.is_early();
        let turn = self.counter.count(outcome.is_ok());
        if let Err(error) = outcome
            && !was_early
        {
            let text = format!("{} probe failed: {error}", self.kind);
            self.runner.context.event(Warning, "Unhealthy", text, Some(&self.runner.container));
        }
        turn
    }

    async fn once(&self) -> Result<(), String> {
        let target = self.runner.target();
        if let Some(action) = &self.probe.http_get {
            return probes::http(&target, action).await;
        }
        if let Some(action) = &self.probe.tcp_socket {
            return probes::tcp(&target, action.host.as_deref(), &action.port).await;
        }
        if let Some(action) = &self.probe.grpc {
            return probes::grpc(&target, action).await;
        }
        if let Some(action) = &self.probe.exec {
            return run_once(self.place, action.command.as_deref().unwrap_or_default()).await;
        }
        Ok(())
    }

    async fn pause(&mut self) {
        tokio::time::sleep(self.counter.pause()).await;
    }
}

/// Runs a command in the container and wants it to succeed.
async fn run_once(place: &Place, command: &[String]) -> Result<(), String> {
    let Some((program, arguments)) = command.split_first() else {
        return Err("no command is given".to_owned());
    };
    let streams = Streams { stdin: Stdio::null(), stdout: Stdio::piped(), stderr: Stdio::piped() };
    let program = Program::Host(program.clone());
    let child = process::start(place, &program, arguments, streams)
        .map_err(|error| describe(&program, &error).to_string())?;
    let output = child.wait_with_output().await.map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    let text =
        String::from_utf8_lossy(text.get(..text.len().min(1024)).unwrap_or_default()).trim().to_owned();
    Err(format!("command exited with {}: {text}", process::exit_code(output.status).0))
}

fn describe(program: &Program, error: &io::Error) -> io::Error {
    let name = match program {
        Program::Own => "this program",
        Program::Host(name) => name.as_str(),
    };
    io::Error::new(error.kind(), format!("cannot start {name:?} of this machine: {error}"))
}
