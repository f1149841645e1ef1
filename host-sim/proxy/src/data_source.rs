//! What a configuration brings along or has somewhere else: `envoy.config.core.v3.DataSource`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Its bytes.
///
/// # Errors
/// Why they cannot be had, without where they were to come from.
pub(crate) fn read(source: &xds::DataSource) -> Result<Vec<u8>, String> {
    if let Some(path) = &source.filename {
        return std::fs::read(path).map_err(|error| error.to_string());
    }
    if let Some(bytes) = &source.inline_bytes {
        return STANDARD.decode(bytes).map_err(|error| format!("inline_bytes is no base64: {error}"));
    }
    if let Some(variable) = &source.environment_variable {
        return std::env::var(variable).map(String::into_bytes).map_err(|error| error.to_string());
    }
    Ok(source.inline_string.clone().unwrap_or_default().into_bytes())
}

/// The same, with the name of the file or the variable in what is wrong.
pub(crate) fn read_named(source: &xds::DataSource) -> Result<Vec<u8>, String> {
    let name = source.filename.as_ref().or(source.environment_variable.as_ref());
    read(source).map_err(|reason| name.map_or(reason.clone(), |name| format!("{name}: {reason}")))
}
