//! `analyze`: what is wrong with the configuration, of files, of a live mesh, or of both together.

use crate::access::AccessOptions;
use crate::exit::ExitError;
use crate::manifests;
use anyhow::Context as _;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams};
use mizzen_analysis::{
    Diagnostic, Level, Settings, Suppression, World, analyze, code, format, suppress::suppress,
};
use mizzen_api::Kind;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;

/// The code for findings at or above the threshold. Source: istioctl's `analyze`.
const FOUND_ISSUES: u8 = 79;

#[derive(Debug, clap::Args)]
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
    /// List what is looked for, and do nothing else
    #[arg(short = 'L', long)]
    list_analyzers: bool,
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
        return list();
    }
    for suppression in arguments.suppress.iter().filter(|suppression| !suppression.has_known_code()) {
        eprintln!("Warning: nothing is reported as {}, so suppressing it has no effect", suppression.code);
    }
    let files = manifests::files(&arguments.files, arguments.recursive)?;
    let (mut world, namespace) = world(&arguments, access, !files.is_empty()).await?;
    let unread = add_files(&files, &mut world, arguments.ignore_unknown)?;
    let scope = Scope { namespace: (!arguments.all_namespaces).then_some(namespace), files };
    let found = suppress(analyze(&world), &arguments.suppress);
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

fn list() -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for code in code::ALL {
        writeln!(out, "{} {:<7} {}", code.id, code.level, code.name)?;
    }
    Ok(())
}

/// The live mesh, where one is asked for or found, and the namespace in use.
async fn world(
    arguments: &Arguments,
    access: &AccessOptions,
    has_files: bool,
) -> anyhow::Result<(World, String)> {
    let settings = |namespace: &str, is_live: bool| Settings {
        root_namespace: access.istio_namespace.clone(),
        default_namespace: namespace.to_owned(),
        is_live,
        ..Settings::default()
    };
    let named = access.namespace.clone().unwrap_or_else(|| "default".to_owned());
    if arguments.use_kube == Some(false) {
        return Ok((World::new(settings(&named, false)), named));
    }
    let live = async {
        let access = access.connect().await?;
        let mut world = World::new(settings(&access.namespace, true));
        add_live(&access.client, &mut world).await?;
        Ok((world, access.namespace))
    };
    match live.await {
        Err(error) if has_files && arguments.use_kube.is_none() => {
            let error: anyhow::Error = error;
            eprintln!("Note: the files are analyzed by themselves, as no mesh can be reached: {error:#}");
            Ok((World::new(settings(&named, false)), named))
        }
        result => result,
    }
}

/// What is listed of Kubernetes' own: group, version and kind.
const KUBERNETES: [(&str, &str, &str); 7] = [
    ("", "v1", "Namespace"),
    ("", "v1", "Service"),
    ("", "v1", "Pod"),
    ("", "v1", "Secret"),
    ("apps", "v1", "Deployment"),
    ("apps", "v1", "StatefulSet"),
    ("apps", "v1", "DaemonSet"),
];

/// Adds the objects of a live mesh. A kind that the API does not serve has none.
async fn add_live(client: &kube::Client, world: &mut World) -> anyhow::Result<()> {
    let ours = Kind::ALL.iter().map(|kind| {
        let gvk = GroupVersionKind::gvk(kind.group(), kind.storage_version(), kind.name());
        ApiResource::from_gvk_with_plural(&gvk, kind.plural())
    });
    let others = KUBERNETES
        .iter()
        .map(|(group, version, kind)| ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind)));
    for resource in others.chain(ours) {
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        let list = match api.list(&ListParams::default()).await {
            Ok(list) => list,
            Err(kube::Error::Api(status)) if status.code == 404 => continue,
            Err(error) => return Err(error).with_context(|| format!("cannot list {}", resource.plural)),
        };
        for object in list {
            let mut value = serde_json::to_value(&object)?;
            // Objects in lists leave out what they are.
            value["apiVersion"] = resource.api_version.clone().into();
            value["kind"] = resource.kind.clone().into();
            world.add(value, None);
        }
    }
    Ok(())
}

/// Adds the objects of files; gives how many files could not be read.
fn add_files(files: &[PathBuf], world: &mut World, ignore_unread: bool) -> anyhow::Result<usize> {
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
    Ok(unread)
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
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(())
}

#[cfg(test)]
#[path = "analyze_tests.rs"]
mod tests;
