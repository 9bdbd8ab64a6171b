//! Logging of the process itself (not access logs): one line an event, on standard error.

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

/// Changes the filter of a running process, as the admin port's `/logging` does.
pub struct LevelHandle(reload::Handle<EnvFilter, tracing_subscriber::Registry>);

/// Why a filter could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum LevelError {
    /// The directive does not parse.
    #[error("'{0}' is not a log level; use trace, debug, info, warn, error or off, or TARGET=LEVEL")]
    Invalid(String),
    /// The subscriber is gone.
    #[error("logging is not running: {0}")]
    Gone(#[from] reload::Error),
}

/// Starts logging at `default` (a `tracing` filter such as `info` or `info,mizzen_xds=debug`).
/// The environment variable `MIZZEN_LOG` wins. Returns `None` when logging was already started.
pub fn init(default: &str) -> Option<LevelHandle> {
    let filter = std::env::var("MIZZEN_LOG")
        .ok()
        .and_then(|value| EnvFilter::try_new(value).ok())
        .unwrap_or_else(|| EnvFilter::new(default));
    let (filter, handle) = reload::Layer::new(filter);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(true);
    tracing_subscriber::registry().with(filter).with(lines).try_init().ok()?;
    Some(LevelHandle(handle))
}

impl LevelHandle {
    /// Replaces the whole filter.
    pub fn set(&self, filter: &str) -> Result<(), LevelError> {
        let parsed = EnvFilter::try_new(filter).map_err(|_| LevelError::Invalid(filter.to_owned()))?;
        Ok(self.0.reload(parsed)?)
    }

    /// The filter in force.
    pub fn current(&self) -> String {
        self.0.with_current(EnvFilter::to_string).unwrap_or_default()
    }
}
