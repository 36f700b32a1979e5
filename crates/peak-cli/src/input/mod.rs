//! What a person wrote in a `FILE`: a template, rendered, read as YAML or JSON (`spec/cli.md`).

mod template;
mod yaml;

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Map, Value};

use crate::error::CliError;

/// No file that is read here may be larger, in bytes.
const FILE_LIMIT: u64 = 4 * 1024 * 1024;

/// The values of a template.
#[derive(Debug, Args)]
pub(crate) struct TemplateOptions {
    /// YAML or JSON file with values for FILE's template
    #[arg(long, short = 'v', value_name = "FILE")]
    params_file: Option<PathBuf>,

    /// A value for FILE's template; may be repeated, and wins over --params-file
    #[arg(long = "params", short = 'p', value_name = "KEY=VALUE", value_parser = parse_parameter)]
    params: Vec<(String, String)>,

    /// Show the requests that are sent, without secrets; repeat it for more of what happens
    // The global option, here without its `-v`, which means --params-file in these commands.
    #[arg(long, action = clap::ArgAction::Count, help_heading = "Global options")]
    verbose: u8,
}

fn parse_parameter(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it as KEY=VALUE".to_owned()),
    }
}

impl TemplateOptions {
    /// The object that a `FILE` comes to. Keys of its first level may be written in camel case; what is null
    /// counts as absent.
    pub(crate) fn load(&self, file: &Path) -> Result<Map<String, Value>, CliError> {
        let rendered = template::render(file, &self.parameters()?)?;
        let object = object_of(&rendered, file)
            .map_err(|error| error.with_hint("--generate prints a sample"))?
            .into_iter()
            .map(|(key, value)| (snake_case(&key), value))
            .collect();
        Ok(without_nulls(object))
    }

    fn parameters(&self) -> Result<Map<String, Value>, CliError> {
        let mut parameters = Map::new();
        if let Some(file) = &self.params_file {
            parameters = without_nulls(read_object(file)?);
        }
        parameters.extend(
            self.params
                .iter()
                .map(|(key, value)| (key.clone(), Value::from(value.as_str()))),
        );
        Ok(parameters)
    }
}

/// The object in a YAML or JSON file.
pub(crate) fn read_object(file: &Path) -> Result<Map<String, Value>, CliError> {
    object_of(&read_text(file)?, file)
        .map_err(|error| error.with_hint("it wants a line `NAME: VALUE` for each value"))
}

fn object_of(text: &str, file: &Path) -> Result<Map<String, Value>, CliError> {
    let invalid = |what: String| CliError::usage(format!("`{}` {what}", file.display()));
    match yaml::parse(text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(Value::Null) => Err(invalid("is empty".to_owned())),
        Ok(_) => Err(invalid("is not a map of names to values".to_owned())),
        Err(error) => Err(invalid(format!("is neither YAML nor JSON: {error}"))),
    }
}

/// Reads a text file of bounded size.
fn read_text(file: &Path) -> Result<String, CliError> {
    use std::io::Read as _;

    let mut bytes = Vec::new();
    std::fs::File::open(file)
        .and_then(|open| open.take(FILE_LIMIT + 1).read_to_end(&mut bytes))
        .map_err(|error| CliError::unreadable(file, &error))?;
    let invalid = |what: &str| CliError::usage(format!("`{}` {what}", file.display()));
    if bytes.len() as u64 > FILE_LIMIT {
        return Err(invalid(&format!("is larger than {FILE_LIMIT} bytes"))
            .with_hint("see that it is the file that is meant"));
    }
    String::from_utf8(bytes).map_err(|_| {
        invalid("is not text in UTF-8").with_hint("see that it is the file that is meant")
    })
}

/// `camelCase` and `TitleCase` as `snake_case`.
fn snake_case(key: &str) -> String {
    let mut text = String::with_capacity(key.len() + 4);
    for c in key.chars() {
        if c.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(c.to_ascii_lowercase());
    }
    text
}

/// Leaves out what is null, in objects at any depth; the items of lists stay as they are.
fn without_nulls(object: Map<String, Value>) -> Map<String, Value> {
    object
        .into_iter()
        .filter_map(|(key, value)| match value {
            Value::Null => None,
            Value::Object(inner) => Some((key, Value::Object(without_nulls(inner)))),
            other => Some((key, other)),
        })
        .collect()
}

/// Puts the values of one object over those of another, object by object; lists are replaced.
pub(crate) fn merge(under: &mut Map<String, Value>, over: Map<String, Value>) {
    for (key, value) in over {
        match (under.get_mut(&key), value) {
            (Some(Value::Object(under)), Value::Object(over)) => merge(under, over),
            (_, value) => {
                under.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(object) => object,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn keys_become_snake_case() {
        for (key, expected) in [
            ("body", "body"),
            ("Body", "body"),
            ("ignoreFiles", "ignore_files"),
            ("ignore_files", "ignore_files"),
        ] {
            assert_eq!(snake_case(key), expected);
        }
    }

    #[test]
    fn nulls_are_absent_but_not_in_lists() {
        let cleaned = without_nulls(object(json!({"a": null, "b": {"c": null, "d": [null]}})));
        assert_eq!(Value::Object(cleaned), json!({"b": {"d": [null]}}));
    }

    #[test]
    fn what_is_put_over_wins_object_by_object() {
        let mut under = object(json!({"a": {"b": 1, "c": [1, 2]}, "d": 1, "e": {"f": 1}}));
        merge(
            &mut under,
            object(json!({"a": {"c": [3]}, "d": {"g": 2}, "e": 5})),
        );
        assert_eq!(
            Value::Object(under),
            json!({"a": {"b": 1, "c": [3]}, "d": {"g": 2}, "e": 5})
        );
    }
}
