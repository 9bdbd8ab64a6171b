//! What runs for an image. There are no images here: one stands for a program of this machine.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod};

/// Annotation of a pod: the host command of its containers.
pub const COMMAND_ANNOTATION: &str = "sandbox.mizzen.dev/command";
/// Images under this are this executable.
const OWN_IMAGES: &str = "mizzen/";
/// The built-in echo application.
const ECHO_IMAGE: &str = "mizzen/echo";
/// The name under which pods call this executable, whatever its path.
const OWN_NAME: &str = "mizzen";
/// Images under this are the programs of the machine that the container names itself.
const HOST_IMAGES: &str = "host/";
/// Where the echo application listens when a container names no port.
const DEFAULT_ECHO_PORT: &str = "8080";

/// Images and the host commands that stand for them (`--image NAME=COMMAND`).
#[derive(Clone, Debug, Default)]
pub struct ImageMap(BTreeMap<String, String>);

impl ImageMap {
    /// Reads the `NAME=COMMAND` pairs; a name may carry a tag or not.
    pub fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(pairs.into_iter().collect())
    }

    /// The whole reference first, then without digest and tag.
    fn command(&self, image: &str) -> Option<&String> {
        self.0.get(image).or_else(|| self.0.get(repository(image)))
    }
}

/// `registry:5000/team/app:v1@sha256:…` without `@…` and `:v1`.
fn repository(image: &str) -> &str {
    let untagged = image.split('@').next().unwrap_or(image);
    match untagged.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => untagged,
    }
}

/// What to run for a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Which program.
    pub program: Program,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Environment that comes with the image; the container's own wins.
    pub environment: Vec<(String, String)>,
    /// Whether the echo application stands in for an image that is not known here.
    pub stand_in: bool,
}

/// A program of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// This executable.
    Own,
    /// A path, or a name to look for in `PATH`.
    Host(String),
}

impl Launch {
    fn new(program: Program, arguments: Vec<String>) -> Self {
        Self { program, arguments, environment: Vec::new(), stand_in: false }
    }
}

/// Decides what runs. `command` and `args` are the container's, with variables already expanded.
pub fn launch(
    pod: &Pod,
    container: &Container,
    command: &[String],
    args: &[String],
    images: &ImageMap,
) -> Launch {
    let image = container.image.as_deref().unwrap_or_default();
    if let Some(line) = annotated_command(pod, &container.name) {
        return shell(line, args);
    }
    let mapped = images.command(image);
    if let Some((program, rest)) = command.split_first()
        && (mapped.is_some() || image.starts_with(OWN_IMAGES) || image.starts_with(HOST_IMAGES))
    {
        return Launch::new(named(program), rest.iter().chain(args).cloned().collect());
    }
    if let Some(line) = mapped {
        return shell(line, args);
    }
    if is_own(image) {
        return Launch::new(Program::Own, args.to_vec());
    }
    if let Some(program) = image.strip_prefix(HOST_IMAGES) {
        return Launch::new(Program::Host(repository(program).to_owned()), args.to_vec());
    }
    // The echo application takes no arguments: as in images that have a default command and no entry point, those
    // given name what is to run instead (`kubectl run -it x --image=mizzen/echo -- sh`).
    if let Some((program, rest)) = args.split_first()
        && image.starts_with(ECHO_IMAGE)
    {
        return Launch::new(named(program), rest.to_vec());
    }
    echo(container, image)
}

/// Whether an image holds this executable for the mesh's own use.
pub fn is_own(image: &str) -> bool {
    image.starts_with(OWN_IMAGES) && !image.starts_with(ECHO_IMAGE)
}

fn annotated_command<'p>(pod: &'p Pod, container: &str) -> Option<&'p String> {
    let annotations = pod.metadata.annotations.as_ref()?;
    let own = annotations.get(&format!("{COMMAND_ANNOTATION}.{container}"));
    // A sidecar someone injects is not what the pod's author meant.
    own.or_else(|| annotations.get(COMMAND_ANNOTATION).filter(|_| !container.starts_with("istio-")))
}

fn named(program: &str) -> Program {
    let name = program.rsplit('/').next().unwrap_or(program);
    if name == OWN_NAME { Program::Own } else { Program::Host(program.to_owned()) }
}

/// A command line as a person writes it, with the container's arguments after it.
fn shell(line: &str, args: &[String]) -> Launch {
    let script = format!("exec {line} \"$@\"");
    let arguments = ["-c".to_owned(), script, "sh".to_owned()].into_iter().chain(args.iter().cloned());
    Launch::new(Program::Host("/bin/sh".to_owned()), arguments.collect())
}

fn echo(container: &Container, image: &str) -> Launch {
    let ports = container.ports.iter().flatten().filter(|port| port.protocol.as_deref() != Some("UDP"));
    let ports: Vec<String> = ports.map(|port| port.container_port.to_string()).collect();
    let ports = if ports.is_empty() { DEFAULT_ECHO_PORT.to_owned() } else { ports.join(",") };
    Launch {
        program: Program::Own,
        arguments: vec!["workload".to_owned(), "echo".to_owned()],
        environment: vec![
            ("MIZZEN_ECHO_PORTS".to_owned(), ports),
            ("MIZZEN_ECHO_IMAGE".to_owned(), image.to_owned()),
        ],
        stand_in: !image.starts_with(ECHO_IMAGE),
    }
}

#[cfg(test)]
#[path = "image_tests.rs"]
mod tests;
