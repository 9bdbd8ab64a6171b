//! Where a mesh on this machine keeps its state.

use std::path::PathBuf;

/// `$XDG_STATE_HOME/mizzen/default`, else `~/.local/state/mizzen/default`, else a folder of this
/// user under the system's temporary folder.
pub fn default_folder() -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("XDG_STATE_HOME")
        .or_else(|| variable("HOME").map(|home| home.join(".local/state")))
        .unwrap_or_else(std::env::temp_dir)
        .join("mizzen/default")
}
