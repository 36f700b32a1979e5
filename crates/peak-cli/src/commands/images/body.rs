//! What an image or a version is made from: a `FILE`, the options, or both; the options win.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value, json};

use crate::commands::pack::PackingInput;
use crate::error::CliError;
use crate::input::{TemplateOptions, merge};

/// What the options of a build stand under in the help.
pub(crate) const BUILD_HEADING: &str = "Build";

/// The options of a new image alone.
#[derive(Debug, Args)]
pub(crate) struct ImageOptions {
    /// Name of the image
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Type of the image: workflow, workspace-r, workspace-python, webapp or api
    #[arg(long = "type", value_name = "TYPE")]
    image_type: Option<String>,
}

/// The options of a new version alone.
#[derive(Debug, Args)]
pub(crate) struct VersionOptions {
    /// Version [default: the next patch version, 0.0.1 for a new image]
    #[arg(long = "version", id = "image_version", value_name = "VERSION")]
    version: Option<String>,
}

/// The options of whatever is built.
#[derive(Debug, Args)]
pub(crate) struct BuildOptions {
    /// YAML or JSON file with `body` and `artifact`, rendered as a template; options win over it
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    template: TemplateOptions,

    /// What the version is about
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Directory to pack and build from
    #[arg(long, value_name = "DIR")]
    artifact_path: Option<PathBuf>,
    /// Ignore files directly in the directory; may be repeated or comma-separated [default: .dockerignore if it
    /// exists]
    #[arg(long, value_name = "FILE", value_delimiter = ',')]
    artifact_ignore_files: Vec<String>,
    /// The build's details as a JSON object; the options below win over it
    // Not read by clap, whose errors repeat what was given: this can hold a token.
    #[arg(long, help_heading = BUILD_HEADING, value_name = "JSON")]
    build_details: Option<String>,
    /// Where the build takes its files from: upload, github or dockerfile [default: upload]
    #[arg(long, help_heading = BUILD_HEADING, value_name = "SOURCE")]
    source: Option<String>,
    /// Text of the Dockerfile, for the source `dockerfile`
    #[arg(long, help_heading = BUILD_HEADING, value_name = "TEXT")]
    dockerfile: Option<String>,
    /// Path of the Dockerfile in the artifact or repository [default: Dockerfile]
    #[arg(long, help_heading = BUILD_HEADING, value_name = "PATH")]
    dockerfile_path: Option<String>,
    /// Directory in the artifact or repository that COPY and ADD start from [default: all of it]
    #[arg(long, help_heading = BUILD_HEADING, value_name = "PATH")]
    context: Option<String>,
    /// Repository, for the source `github`
    #[arg(long, help_heading = BUILD_HEADING, value_name = "URL")]
    repository: Option<String>,
    /// Branch of the repository
    #[arg(long, help_heading = BUILD_HEADING, value_name = "NAME")]
    branch: Option<String>,
    /// Token that reads the repository; in FILE, `{{ os_env.NAME }}` keeps it out of the process list
    #[arg(long, help_heading = BUILD_HEADING, value_name = "TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Use layers of earlier builds again, which is the default
    #[arg(long, help_heading = BUILD_HEADING, overrides_with = "no_use_cache")]
    use_cache: bool,
    /// Build every layer anew
    #[arg(long, help_heading = BUILD_HEADING)]
    no_use_cache: bool,
    /// Build argument; may be repeated
    #[arg(long, help_heading = BUILD_HEADING, value_name = "KEY=VALUE", value_parser = parse_build_argument)]
    build_arguments: Vec<Object>,
    /// Names of platform secrets that the build may use; may be repeated or comma-separated
    #[arg(long, help_heading = BUILD_HEADING, value_name = "NAME", value_delimiter = ',')]
    secrets: Vec<String>,
}

type Object = Map<String, Value>;

/// What is to be sent: the body, and the directory to pack.
pub(crate) struct Input {
    pub(crate) body: Value,
    pub(crate) packing: Option<PackingInput>,
}

impl Input {
    /// A field of the body as text; numbers as YAML reads them in `version: 1.0` are text too.
    pub(crate) fn text(&self, field: &str) -> Option<String> {
        match self.body.get(field)? {
            Value::String(text) if text.is_empty() => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }

    /// Refuses a body without a field that the platform needs.
    pub(crate) fn require(&self, field: &str, option: &str) -> Result<String, CliError> {
        self.text(field).ok_or_else(|| {
            CliError::usage(format!("the body has no `{field}`"))
                .with_hint(format!("give {option}, or `{field}` below `body` in FILE"))
        })
    }
}

/// A body without fields that are not for the request.
pub(crate) fn without(body: &Value, fields: &[&str]) -> Value {
    let mut body = body.clone();
    if let Some(body) = body.as_object_mut() {
        body.retain(|name, _| !fields.contains(&name.as_str()));
    }
    body
}

impl BuildOptions {
    /// Puts the options over what FILE says.
    pub(crate) fn input(
        &self,
        image: Option<&ImageOptions>,
        version: Option<&VersionOptions>,
    ) -> Result<Input, CliError> {
        let mut file = match &self.file {
            Some(file) => self.template.load(file)?,
            None => Map::new(),
        };
        let mut body = match file.remove("body") {
            None => Map::new(),
            Some(Value::Object(body)) => body,
            Some(_) => return Err(not_a_map("body")),
        };
        merge(&mut body, self.fields(image, version)?);
        let packing = packing(
            file.remove("artifact"),
            self.artifact_path.clone(),
            &self.artifact_ignore_files,
        )?;
        Ok(Input {
            body: Value::Object(body),
            packing,
        })
    }

    /// The fields that the options name.
    fn fields(
        &self,
        image: Option<&ImageOptions>,
        version: Option<&VersionOptions>,
    ) -> Result<Object, CliError> {
        let mut fields = Map::new();
        set(
            &mut fields,
            "name",
            image.and_then(|image| image.name.as_ref()),
        );
        set(
            &mut fields,
            "type",
            image.and_then(|image| image.image_type.as_ref()),
        );
        set(
            &mut fields,
            "version",
            version.and_then(|version| version.version.as_ref()),
        );
        set(&mut fields, "description", self.description.as_ref());
        let details = self.details()?;
        if !details.is_empty() {
            fields.insert("buildDetails".to_owned(), Value::Object(details));
        }
        Ok(fields)
    }

    fn details(&self) -> Result<Object, CliError> {
        let mut details = match &self.build_details {
            Some(text) => parse_object(text)?,
            None => Map::new(),
        };
        set(&mut details, "source", self.source.as_ref());
        set(&mut details, "dockerfile", self.dockerfile.as_ref());
        set(
            &mut details,
            "dockerfilePath",
            self.dockerfile_path.as_ref(),
        );
        set(&mut details, "context", self.context.as_ref());
        set(&mut details, "repository", self.repository.as_ref());
        set(&mut details, "branch", self.branch.as_ref());
        set(&mut details, "token", self.token.as_ref());
        if self.use_cache || self.no_use_cache {
            details.insert("useCache".to_owned(), Value::from(self.use_cache));
        }
        if !self.build_arguments.is_empty() {
            details.insert("buildArguments".to_owned(), json!(self.build_arguments));
        }
        if !self.secrets.is_empty() {
            details.insert("secrets".to_owned(), json!(self.secrets));
        }
        Ok(details)
    }
}

fn set(fields: &mut Object, name: &str, value: Option<&String>) {
    if let Some(value) = value {
        fields.insert(name.to_owned(), Value::from(value.as_str()));
    }
}

pub(crate) fn not_a_map(name: &str) -> CliError {
    CliError::usage(format!("`{name}` in FILE is not a map"))
        .with_hint("--generate prints a sample")
}

/// The directory to pack: as an option says, else as FILE's `artifact` does. Without a path there is none.
pub(crate) fn packing(
    artifact: Option<Value>,
    path: Option<PathBuf>,
    ignore_files: &[String],
) -> Result<Option<PackingInput>, CliError> {
    let mut artifact = match artifact {
        None => Map::new(),
        Some(Value::Object(artifact)) => artifact,
        Some(_) => return Err(not_a_map("artifact")),
    };
    let wrong = |field: &str, what: &str| {
        CliError::usage(format!("`{field}` below `artifact` in FILE is not {what}"))
    };
    let path = match (path, artifact.remove("path")) {
        (Some(path), _) => path,
        (None, Some(Value::String(path))) => PathBuf::from(path),
        (None, Some(_)) => return Err(wrong("path", "a path")),
        (None, None) => return Ok(None),
    };
    let ignore_files = if ignore_files.is_empty() {
        match artifact.remove("ignore_files") {
            None => Vec::new(),
            Some(list) => serde_json::from_value(list)
                .map_err(|_| wrong("ignore_files", "a list of names"))?,
        }
    } else {
        ignore_files.to_vec()
    };
    Ok(Some(PackingInput { path, ignore_files }))
}

/// The value of `--build-details`, which no error repeats.
fn parse_object(text: &str) -> Result<Object, CliError> {
    let at = match serde_json::from_str(text) {
        Ok(Value::Object(object)) => return Ok(object),
        Ok(_) => String::new(),
        Err(error) => format!(": line {}, column {}", error.line(), error.column()),
    };
    Err(CliError::usage(format!(
        "the value of --build-details is not a JSON object{at}"
    ))
    .with_hint("write it as '{\"source\": \"upload\"}'"))
}

fn parse_build_argument(text: &str) -> Result<Object, String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok(Map::from_iter([
            ("name".to_owned(), Value::from(name)),
            ("value".to_owned(), Value::from(value)),
        ])),
        _ => Err("write it as KEY=VALUE".to_owned()),
    }
}
