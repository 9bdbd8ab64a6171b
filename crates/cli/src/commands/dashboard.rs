//! `dashboard`: opens the page asked for. Where the add-on of that name runs, it is forwarded to;
//! where it does not, the built-in page that answers the same question is opened instead.

use crate::access::{Access, AccessOptions};
use crate::forward::Forward;
use anyhow::{Context as _, bail};
use std::process::{Command as Process, Stdio};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  mizzen dashboard kiali\n  mizzen dashboard jaeger --browser=false\n  \
    mizzen dashboard proxy payments-v1-abc.default")]
pub struct Arguments {
    #[command(subcommand)]
    page: Page,
    /// Local port; default: the page's own, or any free one where that is taken
    #[arg(short, long, global = true, default_value_t = 0)]
    port: u16,
    /// Local address to listen on
    #[arg(long, global = true, default_value = "localhost")]
    address: String,
    /// Open a browser
    #[arg(long, global = true, default_value_t = true, num_args = 0..=1, require_equals = true,
          default_missing_value = "true", action = clap::ArgAction::Set)]
    browser: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Page {
    /// The live service graph
    #[command(after_help = "Examples:\n  mizzen dashboard kiali")]
    Kiali,
    /// Traces
    #[command(after_help = "Examples:\n  mizzen dashboard jaeger --browser=false")]
    Jaeger,
    /// The standard metrics
    #[command(after_help = "Examples:\n  mizzen dashboard prometheus --port 9090")]
    Prometheus,
    /// Metrics by service, as charts
    #[command(after_help = "Examples:\n  mizzen dashboard grafana")]
    Grafana,
    /// Traces
    #[command(after_help = "Examples:\n  mizzen dashboard zipkin")]
    Zipkin,
    /// Traces
    #[command(after_help = "Examples:\n  mizzen dashboard skywalking")]
    Skywalking,
    /// The admin pages of a proxy
    #[command(
        visible_alias = "envoy",
        after_help = "Examples:\n  mizzen dashboard proxy payments-v1-abc.default"
    )]
    Proxy {
        /// The proxy: [TYPE/]NAME[.NAMESPACE]
        target: String,
    },
    /// Debug pages of the control plane
    #[command(name = "istiod-debug", after_help = "Examples:\n  mizzen dashboard istiod-debug")]
    IstiodDebug,
}

/// An add-on that Istio's command would forward to, and the built-in page in its place.
struct AddOn {
    name: &'static str,
    selector: &'static str,
    port: u16,
    path: &'static str,
    built_in: &'static str,
}

/// Where a page is served.
struct Destination {
    namespace: String,
    pod: String,
    port: u16,
    path: String,
}

/// The port of the built-in pages.
const BUILT_IN_PORT: u16 = 20001;

impl Page {
    fn add_on(&self) -> Option<AddOn> {
        let (name, selector, port, path, built_in) = match self {
            Page::Kiali => ("Kiali", "app=kiali", 20001, "/kiali", "/graph"),
            Page::Jaeger => ("Jaeger", "app=jaeger", 16686, "", "/traces"),
            Page::Prometheus => ("Prometheus", "app.kubernetes.io/name=prometheus", 9090, "", "/metrics"),
            Page::Grafana => ("Grafana", "app.kubernetes.io/name=grafana", 3000, "", "/metrics"),
            Page::Zipkin => ("Zipkin", "app=zipkin", 9411, "", "/traces"),
            Page::Skywalking => ("SkyWalking", "app=skywalking-ui", 8080, "", "/traces"),
            Page::Proxy { .. } | Page::IstiodDebug => return None,
        };
        Some(AddOn { name, selector, port, path, built_in })
    }
}

pub async fn run(arguments: Arguments, options: &AccessOptions) -> anyhow::Result<()> {
    let access = options.connect().await?;
    let destination = match (&arguments.page, arguments.page.add_on()) {
        (_, Some(add_on)) => find_add_on(&access, &add_on).await?,
        (Page::Proxy { target }, _) => {
            let (pod, namespace) = access.resolve_pod(target).await?;
            Destination { namespace, pod, port: 15000, path: String::new() }
        }
        _ => {
            let pod = access.control_plane_pods().await?.into_iter().find_map(|pod| pod.metadata.name);
            let pod = pod.context("the control plane's pod has no name")?;
            Destination {
                namespace: access.istio_namespace.clone(),
                pod,
                port: 15014,
                path: "/debug".to_owned(),
            }
        }
    };
    let local_port = (arguments.port != 0).then_some(arguments.port);
    let Destination { namespace, pod, port, path } = destination;
    let forward = Forward::bind(&access, (&namespace, &pod), port, &arguments.address, local_port).await?;
    let url = format!("http://{}:{}{path}", arguments.address, forward.local_address()?.port());
    crate::exit::print(&format!("{url}\n"));
    if arguments.browser {
        open_browser(&url);
    } else {
        crate::exit::print("skipping opening a browser\n");
    }
    forward.run().await
}

async fn find_add_on(access: &Access, add_on: &AddOn) -> anyhow::Result<Destination> {
    let mut namespaces = vec![access.istio_namespace.clone()];
    if access.namespace != access.istio_namespace {
        namespaces.push(access.namespace.clone());
    }
    for namespace in &namespaces {
        let pods = access.running_pods(namespace, add_on.selector).await?;
        if let Some(pod) = pods.into_iter().find_map(|pod| pod.metadata.name) {
            let (namespace, path) = (namespace.clone(), add_on.path.to_owned());
            return Ok(Destination { namespace, pod, port: add_on.port, path });
        }
    }
    let namespace = access.istio_namespace.clone();
    let pods = access.running_pods(&namespace, "app=mizzen-dashboard").await?;
    let Some(pod) = pods.into_iter().find_map(|pod| pod.metadata.name) else {
        bail!(
            "no pods found with selector {}, nor the built-in pages (app=mizzen-dashboard)",
            add_on.selector
        );
    };
    eprintln!("{} is not installed; this is the built-in page", add_on.name);
    Ok(Destination { namespace, pod, port: BUILT_IN_PORT, path: add_on.built_in.to_owned() })
}

/// Asks the desktop to open `url`; a machine without one gets a hint instead.
fn open_browser(url: &str) {
    let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let started = Process::new(opener)
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    if started.is_err() {
        eprintln!("cannot open a browser here; open {url} in yours");
    }
}
