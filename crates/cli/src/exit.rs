//! Exit codes and the one place where an error is printed: `Error: reason` on standard error,
//! with Istio's codes (64 for bad usage, 65 for bad files, 79 for findings of `analyze`).

use std::io::Write as _;
use std::process::ExitCode;

/// Bad usage: an unknown command or flag.
pub const USAGE: u8 = 64;

/// An error that asks for a particular exit code.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ExitError {
    /// The process's exit code.
    pub code: u8,
    /// What is printed after `Error: `.
    pub message: String,
}

/// Prints `text` on standard output. A reader that has gone (`| head`) has what it wanted: the
/// command ends there, without a word.
pub fn print(text: &str) {
    let mut output = std::io::stdout().lock();
    if output.write_all(text.as_bytes()).and_then(|()| output.flush()).is_err() {
        std::process::exit(0);
    }
}

/// Prints what clap has to say: help and version succeed, everything else is bad usage.
pub fn from_usage(error: &clap::Error) -> ExitCode {
    let help = !error.use_stderr();
    // Nothing is left to do when the terminal is gone.
    let _ = error.print();
    if help { ExitCode::SUCCESS } else { ExitCode::from(USAGE) }
}

/// Prints `error` with its causes on one line.
pub fn from_error(error: &anyhow::Error) -> ExitCode {
    eprintln!("Error: {error:#}");
    error.downcast_ref::<ExitError>().map_or(ExitCode::FAILURE, |exit| ExitCode::from(exit.code))
}
