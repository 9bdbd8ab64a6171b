//! `analyze`: what is wrong with the configuration, of files, of a live mesh, or of both together.

mod live;
mod sockets;

use crate::access::AccessOptions;
use crate::exit::{ExitError, USAGE, print};
use crate::manifests;
use crate::table::Table;
use anyhow::Context as _;
use live::{Live, Sockets};
use mizzen_analysis::{
    ANALYZERS, Analyzer, Diagnostic, Level, Settings, Suppression, World, analyze_with, code, format,
    suppress::suppress,
};
use mizzen_api::Duration;
use mizzen_api::mesh::{MeshConfig, parse_mesh_config};
use serde_json::json;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

/// The code for findings at or above the threshold. Source: istioctl's `analyze`.
const FOUND_ISSUES: u8 = 79;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  mizzen analyze -A\n  \
    mizzen analyze shop.yaml gateway/ -o pretty\n  \
    mizzen analyze --use-kube=false -R . --meshConfigFile mesh.yaml\n  \
    mizzen analyze --analyzer virtual-service-destinations -S 'IST0101=VirtualService *.test'")]
pub struct Arguments {
    /// Files or folders to analyze as if they were applied; `-` is standard input
    files: Vec<PathBuf>,
    /// Analyze all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Analyze the live mesh, with the files in place of what is there; default: if there is one
    #[arg(short = 'k', long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    use_kube: Option<bool>,
    /// How to write what is found
    #[arg(short = 'o', long, value_enum, default_value_t = Output::Log)]
    output: Output,
    /// Do not report a code for a resource, as in "IST0102=Namespace default" or "IST0103=Pod *.test"
    #[arg(short = 'S', long, value_name = "CODE=RESOURCE")]
    suppress: Vec<Suppression>,
    /// The level from which the command fails: Error, Warning or Info
    #[arg(long, default_value_t = Level::Error)]
    failure_threshold: Level,
    /// The level from which findings are shown: Error, Warning or Info
    #[arg(long, default_value_t = Level::Info)]
    output_threshold: Level,
    /// Color the output; default: on a terminal
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    color: Option<bool>,
    /// Look into folders inside folders
    #[arg(short = 'R', long)]
    recursive: bool,
    /// Go on when a file cannot be read
    #[arg(long)]
    ignore_unknown: bool,
    /// List the analyzers and what each reports, and do nothing else
    #[arg(short = 'L', long)]
    list_analyzers: bool,
    /// Run this analyzer only; may be given several times
    #[arg(long, value_name = "NAME")]
    analyzer: Vec<String>,
    /// File with the mesh's configuration; default: that of the live mesh
    #[arg(long = "meshConfigFile", value_name = "FILE")]
    mesh_config_file: Option<PathBuf>,
    /// Analyze what the control plane of this revision takes
    #[arg(short = 'r', long)]
    revision: Option<String>,
    /// Contexts of further clusters of the mesh to analyze, separated by commas
    #[arg(long, value_name = "CONTEXT", value_delimiter = ',')]
    remote_contexts: Vec<String>,
    /// How long the mesh may take to answer
    #[arg(long, default_value_t = Duration::from_secs(30))]
    timeout: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// A line each
    Log,
    /// A JSON list
    Json,
    /// A YAML list
    Yaml,
    /// With the lines of the files that are meant
    Pretty,
}

pub async fn run(arguments: Arguments, access: &AccessOptions) -> anyhow::Result<()> {
    if arguments.list_analyzers {
        return list(arguments.output);
    }
    for suppression in arguments.suppress.iter().filter(|suppression| !suppression.has_known_code()) {
        eprintln!("Warning: nothing is reported as {}, so suppressing it has no effect", suppression.code);
    }
    let analyzers = chosen(&arguments.analyzer)?;
    let files = manifests::files(&arguments.files, arguments.recursive)?;
    let (mut clusters, namespace) = worlds(&arguments, access, !files.is_empty(), &analyzers).await?;
    // Files are what would be applied to the cluster in use, which is the first.
    let unread = match clusters.first_mut() {
        Some(own) => add_files(&files, &mut own.world, arguments.ignore_unknown),
        None => 0,
    };
    let scope = Scope { namespace: (!arguments.all_namespaces).then_some(namespace), files };
    let found = suppress(findings(&clusters, &analyzers), &arguments.suppress);
    let found: Vec<Diagnostic> = found.into_iter().filter(|diagnostic| scope.includes(diagnostic)).collect();
    show(&found, &arguments)?;
    if unread > 0 && !arguments.ignore_unknown {
        return Err(data_error(unread).into());
    }
    let failed = found.iter().any(|diagnostic| diagnostic.code.level <= arguments.failure_threshold);
    let for_people = matches!(arguments.output, Output::Log | Output::Pretty);
    if found.is_empty() && for_people {
        eprintln!("✔ No validation issues found when analyzing {}", scope.name());
    }
    if failed && for_people {
        let message = format!(
            "Analyzers found issues when analyzing {}\nSee https://istio.io/latest/docs/reference/config/analysis for more \
             information about causes and resolutions.",
            scope.name()
        );
        return Err(ExitError { code: FOUND_ISSUES, message }.into());
    }
    Ok(())
}

/// The analyzers, with their codes.
fn list(output: Output) -> anyhow::Result<()> {
    let codes = |analyzer: &Analyzer| analyzer.codes.iter().map(|code| code.id).collect::<Vec<_>>();
    let record = |analyzer: &Analyzer| json!({"name": analyzer.name, "codes": codes(analyzer), "finds": analyzer.finds});
    let records = || ANALYZERS.iter().map(record).collect::<Vec<_>>();
    let text = match output {
        Output::Json => serde_json::to_string_pretty(&records())? + "\n",
        Output::Yaml => serde_saphyr::to_string(&records())?,
        Output::Log | Output::Pretty => {
            let mut table = Table::new(2, ["NAME", "CODES", "FINDS"]);
            for analyzer in ANALYZERS {
                table.row([analyzer.name.to_owned(), codes(analyzer).join(","), analyzer.finds.to_owned()]);
            }
            table.render()
        }
    };
    print(&text);
    Ok(())
}

/// The clusters that are analyzed, the one in use first, and the namespace in use.
async fn worlds(
    arguments: &Arguments,
    access: &AccessOptions,
    has_files: bool,
    analyzers: &[&Analyzer],
) -> anyhow::Result<(Vec<Cluster>, String)> {
    let mesh = arguments.mesh_config_file.as_deref().map(mesh_of_file).transpose()?;
    let offline = || {
        let namespace = access.namespace.clone().unwrap_or_else(|| "default".to_owned());
        let root = mesh.as_ref().map_or(&access.istio_namespace, |mesh| &mesh.root_namespace);
        let world = World::new(Settings {
            root_namespace: root.clone(),
            mesh: mesh.clone(),
            default_namespace: namespace.clone(),
            ..Settings::default()
        });
        (vec![Cluster { name: None, world }], namespace)
    };
    if arguments.use_kube == Some(false) {
        return Ok(offline());
    }
    let asks = analyzers.iter().any(|analyzer| analyzer.codes.contains(&code::LOCALHOST_LISTENER));
    let live = Live {
        access,
        revision: arguments.revision.as_deref(),
        mesh: mesh.as_ref(),
        sockets: match (asks, arguments.all_namespaces) {
            (false, _) => Sockets::Nobodys,
            (true, false) => Sockets::OfNamespace,
            (true, true) => Sockets::Everybodys,
        },
    };
    let patience = arguments.timeout.as_std();
    let read = tokio::time::timeout(patience, clusters(&live, &arguments.remote_contexts));
    let read = read.await.unwrap_or_else(|_| {
        Err(anyhow::anyhow!("the mesh did not answer within {}; raise --timeout", arguments.timeout))
    });
    match read {
        Err(error) if has_files && arguments.use_kube.is_none() => {
            eprintln!("Note: the files are analyzed by themselves, as no mesh can be reached: {error:#}");
            Ok(offline())
        }
        read => read,
    }
}

/// A cluster that is analyzed.
struct Cluster {
    /// Its context, where several are analyzed.
    name: Option<String>,
    world: World,
}

/// The cluster in use and those of other contexts, each with the Services of all.
async fn clusters(live: &Live<'_>, others: &[String]) -> anyhow::Result<(Vec<Cluster>, String)> {
    let (world, namespace) = live::read(live).await?;
    if others.is_empty() {
        return Ok((vec![Cluster { name: None, world }], namespace));
    }
    let own = live.access.context.clone().unwrap_or_else(|| "default".to_owned());
    let mut worlds = vec![(own, world)];
    for context in others {
        let access = AccessOptions { context: Some(context.clone()), ..live.access.clone() };
        let read = live::read(&Live { access: &access, ..*live }).await;
        let (world, _) = read.with_context(|| format!("cannot read the cluster of context {context}"))?;
        worlds.push((context.clone(), world));
    }
    let alone: Vec<World> = worlds.iter().map(|(_, world)| world.clone()).collect();
    let clusters = worlds.into_iter().enumerate().map(|(index, (name, mut world))| {
        let others = alone.iter().enumerate().filter(|(other, _)| *other != index);
        others.for_each(|(_, other)| world.know_services_of(other));
        Cluster { name: Some(name), world }
    });
    Ok((clusters.collect(), namespace))
}

/// What each cluster has to say for itself.
fn findings(clusters: &[Cluster], analyzers: &[&Analyzer]) -> Vec<Diagnostic> {
    let of_cluster = |cluster: &Cluster| {
        let found = analyze_with(&cluster.world, analyzers.iter().copied());
        let name = cluster.name.clone();
        found.into_iter().map(move |diagnostic| Diagnostic { cluster: name.clone(), ..diagnostic })
    };
    clusters.iter().flat_map(of_cluster).collect()
}

/// The analyzers of these names; all where none is named.
fn chosen(names: &[String]) -> anyhow::Result<Vec<&'static Analyzer>> {
    if names.is_empty() {
        return Ok(ANALYZERS.iter().collect());
    }
    let find = |name: &String| {
        ANALYZERS.iter().find(|analyzer| analyzer.name == name).ok_or_else(|| {
            let message = format!("there is no analyzer {name:?}; --list-analyzers names them");
            ExitError { code: USAGE, message }.into()
        })
    };
    names.iter().map(find).collect()
}

/// The mesh's configuration of a file. What Mizzen does not use of it is said on standard error.
fn mesh_of_file(path: &Path) -> anyhow::Result<MeshConfig> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let parsed = parse_mesh_config(&text).map_err(|violations| ExitError {
        code: manifests::BAD_DATA,
        message: format!("{}: {}", path.display(), live::listed(&violations)),
    })?;
    parsed.warnings.iter().for_each(|warning| eprintln!("Warning: {}: {warning}", path.display()));
    Ok(parsed.config)
}

/// Adds the objects of files; gives how many files could not be read.
fn add_files(files: &[PathBuf], world: &mut World, ignore_unread: bool) -> usize {
    let mut unread = 0;
    for file in files {
        match manifests::read(file) {
            Ok(manifests) => {
                for manifest in manifests {
                    world.add(manifest.value, Some(manifest.origin));
                }
            }
            Err(error) => {
                let level = if ignore_unread { "Warning" } else { "Error" };
                eprintln!("{level}: {error:#}");
                unread += 1;
            }
        }
    }
    unread
}

fn data_error(unread: usize) -> ExitError {
    let files = if unread == 1 { "a file" } else { "some files" };
    let message =
        format!("{files} could not be read; fix what is said above, or go on with --ignore-unknown");
    ExitError { code: manifests::BAD_DATA, message }
}

/// What is analyzed.
struct Scope {
    /// One namespace, or all.
    namespace: Option<String>,
    files: Vec<PathBuf>,
}

impl Scope {
    /// Whether a finding is of what is analyzed: of a file, or of the namespace.
    fn includes(&self, diagnostic: &Diagnostic) -> bool {
        let Some(namespace) = &self.namespace else { return true };
        let resource = &diagnostic.resource;
        let own = if resource.kind == "Namespace" { &resource.name } else { &resource.namespace };
        diagnostic.place.is_some() || own == namespace
    }

    fn name(&self) -> String {
        match (self.files.as_slice(), &self.namespace) {
            ([], None) => "all namespaces.".to_owned(),
            ([], Some(namespace)) => format!("namespace: {namespace}."),
            ([file], _) => format!("{}.", file.display()),
            (files, _) => files
                .iter()
                .fold("these files:".to_owned(), |list, file| format!("{list}\n- {}", file.display())),
        }
    }
}

fn show(found: &[Diagnostic], arguments: &Arguments) -> anyhow::Result<()> {
    let shown: Vec<Diagnostic> = found
        .iter()
        .filter(|diagnostic| diagnostic.code.level <= arguments.output_threshold)
        .cloned()
        .collect();
    let color = arguments.color.unwrap_or_else(|| std::io::stdout().is_terminal());
    let text = match arguments.output {
        Output::Log => format::log(&shown, color),
        Output::Json => format::json(&shown)?,
        Output::Yaml => format::yaml(&shown)?,
        Output::Pretty => format::pretty(&shown, color),
    };
    print(&text);
    Ok(())
}

#[cfg(test)]
#[path = "analyze_tests.rs"]
mod tests;
