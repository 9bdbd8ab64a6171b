//! `intercept`: what the init container `istio-init` runs. Takes the flags of Istio's own.

use anyhow::{Context as _, bail};
use clap::Parser;
use mizzen_net::interception::{self, InterceptionRules, Networks, Ports};
use nix::errno::Errno;
use std::str::FromStr;

/// The flags come after the subcommand as they are: some of Istio's letters mean something else to
/// the rest of this program.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// `install` with the flags of istio-iptables, or `remove`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    command: Vec<String>,
}

#[derive(Debug, Parser)]
#[command(name = "mizzen intercept", disable_version_flag = true)]
enum Action {
    /// Redirect this network namespace's TCP traffic to the proxy
    Install(Box<Flags>),
    /// Take the rules away
    Remove,
}

#[derive(Debug, clap::Args)]
struct Flags {
    /// Where outbound TCP goes
    #[arg(short = 'p', long, default_value_t = 15001)]
    envoy_port: u16,
    /// Where inbound TCP goes
    #[arg(short = 'z', long, default_value_t = 15006)]
    inbound_capture_port: u16,
    /// User ids of the proxy, where they exist
    #[arg(short = 'u', long, default_value = "1337")]
    proxy_uid: String,
    /// Group ids of the proxy, where they exist
    #[arg(short = 'g', long, default_value = "1337")]
    proxy_gid: String,
    /// How inbound traffic is captured; only REDIRECT
    #[arg(short = 'm', long, default_value = "REDIRECT")]
    istio_inbound_interception_mode: String,
    /// Inbound ports to capture, comma-separated, or *
    #[arg(short = 'b', long, default_value = "*")]
    istio_inbound_ports: String,
    /// Inbound ports to leave alone
    #[arg(short = 'd', long, default_value = "15090,15021,15020")]
    istio_local_exclude_ports: String,
    /// Outbound networks to capture, comma-separated, or *
    #[arg(short = 'i', long, default_value = "*")]
    istio_service_cidr: String,
    /// Outbound networks to leave alone
    #[arg(short = 'x', long, default_value = "")]
    istio_service_exclude_cidr: String,
    /// Outbound ports to capture whatever the network
    #[arg(short = 'q', long, default_value = "")]
    istio_outbound_ports: String,
    /// Outbound ports to leave alone
    #[arg(short = 'o', long, default_value = "")]
    istio_local_outbound_ports_exclude: String,
    /// Interfaces whose incoming traffic is left alone
    #[arg(short = 'c', long, default_value = "")]
    istio_exclude_interfaces: String,
    /// Redirect DNS to the proxy
    #[arg(long)]
    redirect_dns: bool,
}

/// Installs or removes the rules of the network namespace this runs in.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let words = std::iter::once("mizzen intercept").chain(arguments.command.iter().map(String::as_str));
    match Action::try_parse_from(words)? {
        Action::Remove => Ok(interception::remove()?),
        Action::Install(flags) => install(rules(&flags)?),
    }
}

fn install(mut rules: InterceptionRules) -> anyhow::Result<()> {
    match interception::install(&rules) {
        Err(error) if error.errno() == Some(Errno::EINVAL) && !rules.proxy_users.is_empty() => {
            // A user namespace that maps a single user has no 1337; the mark tells the proxy apart.
            rules.proxy_users.clear();
            rules.proxy_groups.clear();
            interception::install(&rules)?;
            println!("the proxy is told apart by its mark alone: its user id does not exist here");
        }
        other => other?,
    }
    println!("intercepting: outbound to {}, inbound to {}", rules.outbound_port, rules.inbound_port);
    Ok(())
}

fn rules(flags: &Flags) -> anyhow::Result<InterceptionRules> {
    if flags.istio_inbound_interception_mode != "REDIRECT" {
        bail!("interception mode {} is not honoured; use REDIRECT", flags.istio_inbound_interception_mode);
    }
    Ok(InterceptionRules {
        outbound_port: flags.envoy_port,
        inbound_port: flags.inbound_capture_port,
        dns_port: flags.redirect_dns.then_some(15053),
        mark: mizzen_net::PROXY_MARK,
        proxy_users: list("-u", &flags.proxy_uid)?,
        proxy_groups: list("-g", &flags.proxy_gid)?,
        include_inbound_ports: match flags.istio_inbound_ports.trim() {
            "*" => Ports::All,
            ports => Ports::Only(list("-b", ports)?),
        },
        exclude_inbound_ports: list("-d", &flags.istio_local_exclude_ports)?,
        include_outbound_networks: match flags.istio_service_cidr.trim() {
            "*" => Networks::All,
            networks => Networks::Only(list("-i", networks)?),
        },
        exclude_outbound_networks: list("-x", &flags.istio_service_exclude_cidr)?,
        include_outbound_ports: list("-q", &flags.istio_outbound_ports)?,
        exclude_outbound_ports: list("-o", &flags.istio_local_outbound_ports_exclude)?,
        exclude_interfaces: list("-c", &flags.istio_exclude_interfaces)?,
    })
}

fn list<T: FromStr>(flag: &str, text: &str) -> anyhow::Result<Vec<T>>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    items
        .map(|item| item.parse().with_context(|| format!("{flag}: '{item}' is not what it should be")))
        .collect()
}

#[cfg(test)]
#[path = "intercept_tests.rs"]
mod tests;
