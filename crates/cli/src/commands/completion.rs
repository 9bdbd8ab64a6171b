//! `completion`: a script that completes commands and flags in a shell.

use clap::CommandFactory as _;
use clap_complete::Shell;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  source <(mizzen completion bash)\n  mizzen completion zsh > \"${fpath[1]}/_mizzen\"\n  \
    mizzen completion fish > ~/.config/fish/completions/mizzen.fish"
)]
pub struct Arguments {
    /// The shell
    shell: Shell,
}

/// Prints the script.
pub fn run(arguments: &Arguments) {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut crate::Cli::command(), "mizzen", &mut script);
    crate::exit::print(&String::from_utf8_lossy(&script));
}
