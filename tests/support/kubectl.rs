//! The kubectls of this machine: the one on `PATH`, and the other versions that some packages put beside it as
//! `kubectl.1.NN`. Shared by the tests of the API server and those of the mesh.

use std::path::{Path, PathBuf};

/// The minor versions of Kubernetes 1 whose kubectl must work.
const MINORS: std::ops::RangeInclusive<u32> = 30..=33;

/// A kubectl.
#[derive(Clone, Debug)]
pub struct Kubectl {
    /// For the test's output.
    pub name: String,
    /// Its path.
    pub program: PathBuf,
}

/// The kubectl on `PATH`.
pub fn on_path() -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths).map(|folder| folder.join("kubectl")).find(|program| program.is_file())
}

/// Every kubectl there is. Says which versions are tried and which are missing, because what is skipped must not look
/// like what has passed.
pub fn every_one() -> Vec<Kubectl> {
    let Some(first) = on_path() else {
        println!("SKIPPED: kubectl is not on PATH");
        return Vec::new();
    };
    // A link on PATH leads to the package's own folder.
    let real = first.canonicalize().unwrap_or_else(|_| first.clone());
    let folder = real.parent().unwrap_or(Path::new("/"));
    let mut found = vec![Kubectl { name: "kubectl on PATH".to_owned(), program: first }];
    for minor in MINORS {
        let name = format!("kubectl 1.{minor}");
        let program = folder.join(format!("kubectl.1.{minor}"));
        if program.is_file() {
            found.push(Kubectl { name, program });
        } else {
            println!("SKIPPED: {name} is not beside the kubectl on PATH");
        }
    }
    for kubectl in &found {
        println!("trying {}", kubectl.name);
    }
    found
}
