//! `--config FILE`: global options that need not be written each time. The command line wins over the
//! environment, and the environment over the file.

use std::path::Path;

use clap::ValueEnum;
use serde::Deserialize;

use crate::application::platform_variable;
use crate::arguments::GlobalOptions;
use crate::error::CliError;
use crate::input::read_object;

/// What the file may hold: global options by their names. A token is not among them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct Config {
    stage: Option<String>,
    endpoint_url: Option<String>,
    output: Option<String>,
    progress: Option<String>,
    quiet: bool,
    color: Option<String>,
}

/// Puts what the file says where nothing else says anything.
pub(crate) fn apply(mut options: GlobalOptions, file: &Path) -> Result<GlobalOptions, CliError> {
    let invalid = |message: String| {
        CliError::usage(format!("`{}`: {message}", file.display())).with_hint(
            "it may name stage, endpoint-url, output, progress, quiet and color, as the options do",
        )
    };
    let object = read_object(file)?;
    let config: Config = serde_json::from_value(serde_json::Value::Object(object))
        .map_err(|error| invalid(error.to_string()))?;
    let platform_is_named =
        options.stage.is_some() || options.endpoint_url.is_some() || platform_variable().is_some();
    if !platform_is_named && (config.stage.is_some() || config.endpoint_url.is_some()) {
        options.platform_file = Some(file.to_owned());
        options.stage = config.stage;
        options.endpoint_url = config.endpoint_url;
    }
    if options.output.is_empty()
        && let Some(output) = &config.output
    {
        match output.as_str() {
            "json" | "yaml" | "table" => options.output.extend(output.parse()),
            other => return Err(invalid(format!("`{other}` is no output format"))),
        }
    }
    let mode = |text: &str| invalid(format!("`{text}` is not a value of its option"));
    if let (None, Some(text)) = (options.progress, &config.progress) {
        options.progress = Some(ValueEnum::from_str(text, false).map_err(|_| mode(text))?);
    }
    if let (None, Some(text)) = (options.color, &config.color) {
        options.color = Some(ValueEnum::from_str(text, false).map_err(|_| mode(text))?);
    }
    options.quiet |= config.quiet;
    Ok(options)
}
