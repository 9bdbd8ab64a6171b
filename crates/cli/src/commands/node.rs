//! `node` (hidden): the process in its own namespaces that `up` starts. Its standard input is the
//! channel to the portal.

use anyhow::Context as _;
use mizzen_sandbox::controllers::PublishedPort;
use mizzen_sandbox::node::NodeOptions;
use std::os::fd::AsFd as _;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Folder that keeps the mesh's state
    #[arg(long)]
    state: PathBuf,
    /// Image and the command that stands for it
    #[arg(long = "image", value_name = "NAME=COMMAND", value_parser = image)]
    images: Vec<(String, String)>,
    /// Port of this machine for a port of a LoadBalancer Service
    #[arg(long, value_name = "HOST_PORT:SERVICE_PORT", value_parser = published)]
    publish: Vec<PublishedPort>,
}

/// Becomes the node. Must run before any thread is started.
pub fn run(arguments: Arguments) -> anyhow::Result<()> {
    let portal = std::io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .context("no channel to the portal on standard input")?;
    mizzen_base::logging::init("warn");
    let Arguments { state, images, publish } = arguments;
    Ok(mizzen_sandbox::node::run(NodeOptions { state, images, published_ports: publish }, portal)?)
}

/// Reads `NAME=COMMAND`.
pub fn image(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, command)) if !name.is_empty() && !command.trim().is_empty() => {
            Ok((name.to_owned(), command.to_owned()))
        }
        _ => {
            Err("it must be NAME=COMMAND, as in docker.io/team/app='python3 -m http.server 8080'".to_owned())
        }
    }
}

/// Reads `HOST_PORT:SERVICE_PORT`.
pub fn published(text: &str) -> Result<PublishedPort, String> {
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    let pair = text.split_once(':').and_then(|(host, service)| Some((port(host)?, port(service)?)));
    let (host_port, service_port) = pair.ok_or("it must be HOST_PORT:SERVICE_PORT, as in 9080:80")?;
    Ok(PublishedPort { host_port, service_port })
}
