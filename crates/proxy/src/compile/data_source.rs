//! `DataSource`: a value in line, in a file or in the environment.

use super::CompileError;
use envoy_types::pb::envoy::config::core::v3::{DataSource, data_source::Specifier};

/// The bytes of a data source. Files are read now; they are small and read at configuration time.
pub fn read(source: &DataSource, field: &str) -> Result<Vec<u8>, CompileError> {
    match &source.specifier {
        Some(Specifier::InlineBytes(bytes)) => Ok(bytes.to_vec()),
        Some(Specifier::InlineString(text)) => Ok(text.clone().into_bytes()),
        Some(Specifier::Filename(path)) => std::fs::read(path).map_err(|error| {
            CompileError::invalid(format!("{field}.filename"), format!("cannot read '{path}': {error}"))
        }),
        Some(Specifier::EnvironmentVariable(name)) => {
            std::env::var(name).map(String::into_bytes).map_err(|error| {
                CompileError::invalid(format!("{field}.environment_variable"), format!("'{name}': {error}"))
            })
        }
        None => Err(CompileError::missing(field)),
    }
}
