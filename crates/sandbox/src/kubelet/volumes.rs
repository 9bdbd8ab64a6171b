//! The contents of a pod's volumes, in folders of the node's state that the containers' mounts
//! point to.
//!
//! What comes from the API is written as Kubernetes does it: files are links through `..data`, which
//! is replaced in one step, so a reader sees either all old or all new files.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{
    ConfigMap, DownwardAPIVolumeFile, HostPathVolumeSource, KeyToPath, Pod, ProjectedVolumeSource, Secret,
    Volume,
};

use super::environment::{EnvironmentError, Placed, container_resource, named_container, pod_field};

const DEFAULT_MODE: i32 = 0o644;

/// A file of a volume, relative to its root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeFile {
    /// Where, without `..`.
    pub path: PathBuf,
    /// What.
    pub content: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
}

/// Why a volume cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// A ConfigMap or Secret that must exist does not.
    #[error("{kind} \"{name}\" not found")]
    MissingObject {
        /// `configmap` or `secret`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// A key that must exist does not.
    #[error("{kind} \"{name}\" has no key \"{key}\"")]
    MissingKey {
        /// `configmap` or `secret`.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The key.
        key: String,
    },
    /// A path that leads out of the volume.
    #[error("the path \"{0}\" leads out of the volume")]
    Path(String),
    /// A field or resource of the downward API.
    #[error(transparent)]
    Downward(#[from] EnvironmentError),
    /// A kind of volume that is not honoured.
    #[error(
        "volume \"{0}\" is of a kind the sandbox does not have (it has emptyDir, configMap, secret, projected, downwardAPI and hostPath)"
    )]
    Unsupported(String),
    /// A `hostPath` whose type check fails.
    #[error("hostPath {path} is not a {wanted}")]
    HostPath {
        /// The path.
        path: String,
        /// The type asked for.
        wanted: String,
    },
    /// A service-account token.
    #[error("cannot get a token for volume \"{volume}\": {reason}")]
    Token {
        /// The volume.
        volume: String,
        /// Why not.
        reason: String,
    },
    /// The API does not answer.
    #[error("cannot read {what}: {reason}")]
    Api {
        /// What was asked for.
        what: String,
        /// Why not.
        reason: String,
    },
    /// The file system.
    #[error("cannot write the volume at {path}: {source}")]
    Write {
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// What volumes are made from: looked up before.
#[derive(Clone, Debug, Default)]
pub struct VolumeSources {
    /// The ConfigMaps the pod's volumes name, those that exist.
    pub config_maps: BTreeMap<String, ConfigMap>,
    /// The Secrets the pod's volumes name, those that exist.
    pub secrets: BTreeMap<String, Secret>,
    /// Service-account tokens by audience (empty for the API server's own).
    pub tokens: BTreeMap<String, String>,
}

/// A token that a volume asks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenRequest {
    /// For whom; empty for the API server.
    pub audience: String,
    /// For how long, in seconds; an hour by default.
    pub seconds: i64,
}

/// The tokens the pod's volumes ask for.
pub fn token_requests(volumes: &[Volume]) -> Vec<TokenRequest> {
    let projected = volumes.iter().filter_map(|volume| volume.projected.as_ref());
    let sources = projected.flat_map(|projected| projected.sources.iter().flatten());
    let tokens = sources.filter_map(|source| source.service_account_token.as_ref());
    let mut requests: Vec<TokenRequest> = tokens
        .map(|token| TokenRequest {
            audience: token.audience.clone().unwrap_or_default(),
            seconds: token.expiration_seconds.unwrap_or(3600),
        })
        .collect();
    requests.sort();
    requests.dedup_by(|left, right| left.audience == right.audience);
    requests
}

/// The ConfigMaps and Secrets a volume is made from: names.
pub fn references(volume: &Volume) -> (Vec<String>, Vec<String>) {
    let (mut maps, mut secrets) = (Vec::new(), Vec::new());
    maps.extend(volume.config_map.as_ref().map(|map| map.name.clone()));
    secrets.extend(volume.secret.as_ref().and_then(|secret| secret.secret_name.clone()));
    let projected = volume.projected.as_ref().and_then(|projected| projected.sources.as_ref());
    for source in projected.into_iter().flatten() {
        maps.extend(source.config_map.as_ref().map(|map| map.name.clone()));
        secrets.extend(source.secret.as_ref().map(|secret| secret.name.clone()));
    }
    (maps, secrets)
}

/// Whether the volume's files come from the API and change with it.
pub fn is_from_api(volume: &Volume) -> bool {
    volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.projected.is_some()
        || volume.downward_api.is_some()
}

/// The files of a volume that comes from the API.
pub fn files(
    pod: &Pod,
    placed: &Placed,
    volume: &Volume,
    sources: &VolumeSources,
) -> Result<Vec<VolumeFile>, VolumeError> {
    if let Some(map) = &volume.config_map {
        let mode = map.default_mode.unwrap_or(DEFAULT_MODE);
        return config_map_files(&map.name, map.optional, map.items.as_deref(), mode, sources);
    }
    if let Some(secret) = &volume.secret {
        let name = secret.secret_name.as_deref().unwrap_or_default();
        let mode = secret.default_mode.unwrap_or(DEFAULT_MODE);
        return secret_files(name, secret.optional, secret.items.as_deref(), mode, sources);
    }
    if let Some(downward) = &volume.downward_api {
        let mode = downward.default_mode.unwrap_or(DEFAULT_MODE);
        return downward_files(pod, placed, downward.items.as_deref().unwrap_or_default(), mode);
    }
    match &volume.projected {
        Some(projected) => projected_files(pod, placed, &volume.name, projected, sources),
        None => Err(VolumeError::Unsupported(volume.name.clone())),
    }
}

fn projected_files(
    pod: &Pod,
    placed: &Placed,
    volume: &str,
    projected: &ProjectedVolumeSource,
    sources: &VolumeSources,
) -> Result<Vec<VolumeFile>, VolumeError> {
    let mode = projected.default_mode.unwrap_or(DEFAULT_MODE);
    let mut files = Vec::new();
    for source in projected.sources.iter().flatten() {
        if let Some(map) = &source.config_map {
            files.extend(config_map_files(&map.name, map.optional, map.items.as_deref(), mode, sources)?);
        }
        if let Some(secret) = &source.secret {
            files.extend(secret_files(
                &secret.name,
                secret.optional,
                secret.items.as_deref(),
                mode,
                sources,
            )?);
        }
        if let Some(downward) = &source.downward_api {
            files.extend(downward_files(pod, placed, downward.items.as_deref().unwrap_or_default(), mode)?);
        }
        if let Some(token) = &source.service_account_token {
            let found = sources.tokens.get(token.audience.as_deref().unwrap_or_default());
            let text = found.ok_or_else(|| VolumeError::Token {
                volume: volume.to_owned(),
                reason: "the API server gave none".to_owned(),
            })?;
            files.push(file(&token.path, text.clone().into_bytes(), mode)?);
        }
        if source.cluster_trust_bundle.is_some() {
            return Err(VolumeError::Unsupported(volume.to_owned()));
        }
    }
    Ok(files)
}

fn config_map_files(
    name: &str,
    optional: Option<bool>,
    items: Option<&[KeyToPath]>,
    mode: i32,
    sources: &VolumeSources,
) -> Result<Vec<VolumeFile>, VolumeError> {
    let data = sources.config_maps.get(name).map(|map| {
        let text = map.data.iter().flatten().map(|(key, value)| (key.clone(), value.clone().into_bytes()));
        let binary = map.binary_data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone()));
        text.chain(binary).collect()
    });
    keyed_files("configmap", name, optional, items, mode, data)
}

fn secret_files(
    name: &str,
    optional: Option<bool>,
    items: Option<&[KeyToPath]>,
    mode: i32,
    sources: &VolumeSources,
) -> Result<Vec<VolumeFile>, VolumeError> {
    let data = sources.secrets.get(name).map(|secret| {
        let values = secret.data.iter().flatten();
        values.map(|(key, ByteString(value))| (key.clone(), value.clone())).collect()
    });
    keyed_files("secret", name, optional, items, mode, data)
}

fn keyed_files(
    kind: &'static str,
    name: &str,
    optional: Option<bool>,
    items: Option<&[KeyToPath]>,
    mode: i32,
    data: Option<BTreeMap<String, Vec<u8>>>,
) -> Result<Vec<VolumeFile>, VolumeError> {
    let optional = optional == Some(true);
    let Some(data) = data else {
        let missing = VolumeError::MissingObject { kind, name: name.to_owned() };
        return if optional { Ok(Vec::new()) } else { Err(missing) };
    };
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        return data.into_iter().map(|(key, content)| file(&key, content, mode)).collect();
    };
    let mut files = Vec::new();
    for item in items {
        match data.get(&item.key) {
            Some(content) => files.push(file(&item.path, content.clone(), item.mode.unwrap_or(mode))?),
            None if optional => {}
            None => {
                return Err(VolumeError::MissingKey { kind, name: name.to_owned(), key: item.key.clone() });
            }
        }
    }
    Ok(files)
}

fn downward_files(
    pod: &Pod,
    placed: &Placed,
    items: &[DownwardAPIVolumeFile],
    mode: i32,
) -> Result<Vec<VolumeFile>, VolumeError> {
    let mut files = Vec::new();
    for item in items {
        let text = match (&item.field_ref, &item.resource_field_ref) {
            (Some(field), _) => pod_field(pod, placed, &field.field_path)?,
            (None, Some(resource)) => {
                let container =
                    resource.container_name.as_deref().and_then(|name| named_container(pod, name));
                let unknown = || EnvironmentError::UnknownResource(resource.resource.clone());
                let container = container.ok_or_else(unknown)?;
                container_resource(container, &resource.resource, resource.divisor.as_ref())?
            }
            (None, None) => String::new(),
        };
        files.push(file(&item.path, text.into_bytes(), item.mode.unwrap_or(mode))?);
    }
    Ok(files)
}

fn file(path: &str, content: Vec<u8>, mode: i32) -> Result<VolumeFile, VolumeError> {
    let relative = PathBuf::from(path);
    let inside = !path.is_empty()
        && !path.starts_with("..")
        && relative.components().all(|part| matches!(part, Component::Normal(_)));
    if !inside {
        return Err(VolumeError::Path(path.to_owned()));
    }
    Ok(VolumeFile { path: relative, content, mode: (mode & 0o777) as u32 })
}

/// Makes `root` hold exactly these files, in one step for its readers. Does nothing when it does.
pub fn write(root: &Path, files: &[VolumeFile]) -> Result<(), VolumeError> {
    let done = (|| {
        fs::create_dir_all(root)?;
        let data = root.join("..data");
        if holds(&data, files) {
            return Ok(());
        }
        let stamp = format!("..{}", jiff::Timestamp::now().as_nanosecond());
        let fresh = root.join(&stamp);
        for file in files {
            let path = fresh.join(&file.path);
            fs::create_dir_all(path.parent().unwrap_or(&fresh))?;
            fs::write(&path, &file.content)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(file.mode))?;
        }
        fs::create_dir_all(&fresh)?;
        let old = fs::read_link(&data).ok();
        let next = root.join("..data_next");
        // Left over from a write that was cut short.
        let _ = fs::remove_file(&next);
        symlink(&stamp, &next)?;
        fs::rename(&next, &data)?;
        link_names(root, files)?;
        match old {
            Some(old) => fs::remove_dir_all(root.join(old)),
            None => Ok(()),
        }
    })();
    done.map_err(|source| VolumeError::Write { path: root.to_owned(), source })
}

fn holds(data: &Path, files: &[VolumeFile]) -> bool {
    let same =
        |file: &VolumeFile| fs::read(data.join(&file.path)).is_ok_and(|content| content == file.content);
    data.is_dir() && count_files(data) == files.len() && files.iter().all(same)
}

fn count_files(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| if entry.path().is_dir() { count_files(&entry.path()) } else { 1 }).sum()
}

/// The names a reader sees: links into `..data`, one for each first component.
fn link_names(root: &Path, files: &[VolumeFile]) -> io::Result<()> {
    let first = |file: &VolumeFile| file.path.components().next().map(|part| part.as_os_str().to_owned());
    let wanted: std::collections::BTreeSet<_> = files.iter().filter_map(first).collect();
    for entry in fs::read_dir(root)? {
        let name = entry?.file_name();
        if !name.to_string_lossy().starts_with("..") && !wanted.contains(&name) {
            fs::remove_file(root.join(name))?;
        }
    }
    for name in wanted {
        let link = root.join(&name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new("..data").join(&name), link)?;
        }
    }
    Ok(())
}

/// The path of a `hostPath` volume, checked and made as its type says.
pub fn host_path(source: &HostPathVolumeSource) -> Result<PathBuf, VolumeError> {
    let path = PathBuf::from(&source.path);
    let wanted = source.type_.as_deref().unwrap_or_default();
    let made = match wanted {
        "DirectoryOrCreate" => fs::create_dir_all(&path),
        "FileOrCreate" => fs::OpenOptions::new().create(true).append(true).open(&path).map(|_| ()),
        _ => Ok(()),
    };
    made.map_err(|source| VolumeError::Write { path: path.clone(), source })?;
    use std::os::unix::fs::FileTypeExt as _;
    let kind = fs::metadata(&path).map(|metadata| metadata.file_type());
    let fits = match (wanted, &kind) {
        ("", _) => true,
        ("Directory" | "DirectoryOrCreate", Ok(kind)) => kind.is_dir(),
        ("File" | "FileOrCreate", Ok(kind)) => kind.is_file(),
        ("Socket", Ok(kind)) => kind.is_socket(),
        ("CharDevice", Ok(kind)) => kind.is_char_device(),
        ("BlockDevice", Ok(kind)) => kind.is_block_device(),
        _ => false,
    };
    if fits {
        return Ok(path);
    }
    let wanted = if wanted.is_empty() { "path" } else { wanted };
    Err(VolumeError::HostPath { path: source.path.clone(), wanted: wanted.to_owned() })
}

#[cfg(test)]
#[path = "volumes_tests.rs"]
mod tests;
