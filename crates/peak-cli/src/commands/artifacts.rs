//! `peak artifacts`: packed directories on the platform, and their versions.

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use peak_sdk::artifacts::models::Id;
use peak_sdk::artifacts::operations::{
    ArtifactsPage, CreateArtifactFrom, CreateArtifactVersionFrom, DeleteArtifact,
    DeleteArtifactVersion, DescribeArtifact, DownloadArtifact, UpdateArtifactFrom,
};
use peak_sdk::artifacts::{Artifacts, ListArtifacts};
use peak_sdk::platform::Download;
use serde_json::{Map, Value, json};

use super::images::packing;
use super::pack::PackingInput;
use crate::application::Application;
use crate::arguments::from_one;
use crate::error::{CliError, ErrorKind};
use crate::input::TemplateOptions;
use crate::output::{aligned, human_size, write_out};
use crate::paths::can_be_written;
use crate::service::{
    self, DeleteOptions, DryRun, ListForm, PageOptions, Shown, Upload, WalkOptions, send,
};
use crate::view::{Column, rows_of};

const CREATE_SAMPLE: &str = include_str!("../../samples/artifact.yaml");
const CREATE_VERSION_SAMPLE: &str = include_str!("../../samples/artifact_version.yaml");
const UPDATE_SAMPLE: &str = include_str!("../../samples/artifact_metadata.yaml");

/// What a person sees of an artifact, above its versions.
const ARTIFACT: &[Column] = &[
    Column::new("id", "id"),
    Column::new("name", "name"),
    Column::new("description", "description"),
    Column::time("created (UTC)", "createdAt"),
    Column::new("created by", "createdBy"),
];

const ARTIFACTS: ListForm = ListForm {
    items: "artifacts",
    count: "artifactCount",
    // An id alone takes 36 columns of 80; `describe` shows the rest.
    columns: &[
        Column::new("id", "id"),
        Column::new("name", "name"),
        Column::time("created (UTC)", "createdAt"),
    ],
};

const VERSIONS: ListForm = ListForm {
    items: "versions",
    count: "versionCount",
    columns: &[
        Column::new("version", "version"),
        Column::size("size", "size"),
        Column::time("created (UTC)", "createdAt"),
        Column::new("created by", "createdBy"),
    ],
};

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  peak artifacts create --generate > artifact.yaml
  peak artifacts create artifact.yaml
  peak artifacts list")]
pub(crate) enum ArtifactsCommand {
    /// List artifacts
    #[command(after_help = "\
Examples:
  peak artifacts list --page-size 10 --page-number 1
  peak artifacts list --all --output yaml")]
    List(WalkOptions),
    /// Describe an artifact, with a page of its versions
    #[command(after_help = "\
Example:
  peak artifacts describe c7575459-e265-4944-a539-1fbb3336799e --page-size 10")]
    Describe {
        /// Id of the artifact
        #[arg(value_name = "ARTIFACT_ID", value_parser = NonEmptyStringValueParser::new())]
        artifact: String,
        #[command(flatten)]
        page: PageOptions,
    },
    /// Create an artifact, with its first version
    #[command(after_help = "\
Examples:
  peak artifacts create artifact.yaml --params-file values.yaml --params name=model
  peak artifacts create --generate > artifact.yaml")]
    Create {
        #[command(flatten)]
        input: InputOptions,
    },
    /// Create a version of an artifact
    #[command(after_help = "\
Examples:
  peak artifacts create-version c7575459-e265-4944-a539-1fbb3336799e version.yaml
  peak artifacts create-version --generate > version.yaml")]
    CreateVersion {
        /// Id of the artifact
        #[arg(value_name = "ARTIFACT_ID", value_parser = NonEmptyStringValueParser::new(), required_unless_present = "generate")]
        artifact: Option<String>,
        #[command(flatten)]
        input: InputOptions,
    },
    /// Change the name or the description of an artifact
    #[command(after_help = "\
Examples:
  peak artifacts update-metadata c7575459-e265-4944-a539-1fbb3336799e metadata.yaml
  peak artifacts update-metadata --generate > metadata.yaml")]
    UpdateMetadata {
        /// Id of the artifact
        #[arg(value_name = "ARTIFACT_ID", value_parser = NonEmptyStringValueParser::new(), required_unless_present = "generate")]
        artifact: Option<String>,
        #[command(flatten)]
        input: InputOptions,
    },
    /// Download a version of an artifact into a file
    Download(DownloadArguments),
    /// Delete an artifact with all of its versions
    #[command(after_help = "\
Example:
  peak artifacts delete c7575459-e265-4944-a539-1fbb3336799e --yes")]
    Delete {
        /// Id of the artifact
        #[arg(value_name = "ARTIFACT_ID", value_parser = NonEmptyStringValueParser::new())]
        artifact: String,
        #[command(flatten)]
        options: DeleteOptions,
    },
    /// Delete a version of an artifact
    #[command(after_help = "\
Example:
  peak artifacts delete-version c7575459-e265-4944-a539-1fbb3336799e 1 --yes")]
    DeleteVersion {
        /// Id of the artifact
        #[arg(value_name = "ARTIFACT_ID", value_parser = NonEmptyStringValueParser::new())]
        artifact: String,
        /// Number of the version
        #[arg(value_name = "VERSION", allow_negative_numbers = true, value_parser = from_one)]
        version: u64,
        #[command(flatten)]
        options: DeleteOptions,
    },
}

/// What is sent, and whether it is.
#[derive(Debug, Args)]
pub(crate) struct InputOptions {
    /// YAML or JSON file, rendered as a template; --generate prints a sample
    #[arg(value_name = "FILE", required_unless_present = "generate")]
    file: Option<PathBuf>,
    #[command(flatten)]
    template: TemplateOptions,
    #[command(flatten)]
    dry: DryRun,
    /// Print a sample FILE
    #[arg(long)]
    generate: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  peak artifacts download c7575459-e265-4944-a539-1fbb3336799e model.zip --version 2")]
pub(crate) struct DownloadArguments {
    /// Id of the artifact
    #[arg(value_name = "ARTIFACT_ID", value_parser = NonEmptyStringValueParser::new())]
    artifact: String,
    /// The file to download into
    #[arg(value_name = "DOWNLOAD_PATH")]
    path: PathBuf,
    /// Number of the version [default: the latest]
    #[arg(long = "version", id = "artifact_version", value_name = "N", allow_negative_numbers = true, value_parser = from_one)]
    version: Option<u64>,
    #[command(flatten)]
    dry: DryRun,
}

impl InputOptions {
    /// What FILE says.
    fn load(&self) -> Result<Map<String, Value>, CliError> {
        match &self.file {
            Some(file) => self.template.load(file),
            // clap has seen to it that there is one.
            None => Err(CliError::usage("no FILE is given")),
        }
    }

    /// What FILE says, taken apart: of its fields these and no others, as the Python tool does it, and the directory
    /// that its `artifact` names.
    fn body_and_directory(&self, fields: &[&str]) -> Result<(Value, PackingInput), CliError> {
        let mut file = self.load()?;
        let packing = packing(file.remove("artifact"), None, &[])?.ok_or_else(|| {
            CliError::usage("FILE has no `artifact` with a `path`")
                .with_hint("--generate prints a sample")
        })?;
        file.retain(|name, _| fields.contains(&name.as_str()));
        Ok((Value::Object(file), packing))
    }
}

pub(crate) async fn run(
    application: &Application,
    command: ArtifactsCommand,
) -> Result<(), CliError> {
    let done = perform(application, command).await;
    done.map_err(|error| match (error.kind, error.status) {
        (ErrorKind::NotFound, Some(_)) if error.hint.is_none() => error.with_hint(
            "`peak artifacts list` shows the ids, `peak artifacts describe` the versions",
        ),
        _ => error,
    })
}

async fn perform(application: &Application, command: ArtifactsCommand) -> Result<(), CliError> {
    match command {
        ArtifactsCommand::List(walk) => {
            let mut wanted = ListArtifacts::new();
            if let Some(size) = walk.page.page_size {
                wanted = wanted.page_size(size);
            }
            let page = |number| ArtifactsPage {
                list: &wanted,
                number,
            };
            service::list(application, &ARTIFACTS, walk, page).await
        }
        ArtifactsCommand::Describe { artifact, page } => {
            describe(application, &Id::from(artifact), page).await
        }
        ArtifactsCommand::Create { input } => create(application, &input).await,
        ArtifactsCommand::CreateVersion { artifact, input } => {
            create_version(application, &Id::from(artifact.unwrap_or_default()), &input).await
        }
        ArtifactsCommand::UpdateMetadata { artifact, input } => {
            update_metadata(application, &Id::from(artifact.unwrap_or_default()), &input).await
        }
        ArtifactsCommand::Download(arguments) => download(application, arguments).await,
        ArtifactsCommand::Delete { artifact, options } => {
            let id = Id::from(artifact);
            let what = format!("artifact {id} with all of its versions");
            let operation = DeleteArtifact { id: &id };
            service::delete(application, options, &what, 1, &operation).await
        }
        ArtifactsCommand::DeleteVersion {
            artifact,
            version,
            options,
        } => {
            let id = Id::from(artifact);
            let what = format!("version {version} of artifact {id}");
            let operation = DeleteArtifactVersion { id: &id, version };
            service::delete(application, options, &what, 1, &operation).await
        }
    }
}

async fn describe(application: &Application, id: &Id, page: PageOptions) -> Result<(), CliError> {
    let mut operation = DescribeArtifact::new(id);
    if let Some(number) = page.page_number {
        operation = operation.page_number(number);
    }
    if let Some(size) = page.page_size {
        operation = operation.page_size(size);
    }
    let answer: Value = application.session()?.call_as(&operation).await?;
    application.output.value(&answer, || {
        let rows = aligned(&rows_of(&answer, ARTIFACT));
        Ok(format!("{rows}\n{}", VERSIONS.page(&answer)))
    })
}

async fn create(application: &Application, input: &InputOptions) -> Result<(), CliError> {
    if input.generate {
        return write_out(CREATE_SAMPLE);
    }
    let fields = ["name", "description", "source", "scan", "validate"];
    let (body, packing) = input.body_and_directory(&fields)?;
    if body.get("name").is_none() {
        return Err(CliError::usage("FILE has no `name`").with_hint("--generate prints a sample"));
    }
    let session = service::session(application, input.dry)?;
    let upload = Upload::prepare(application, &packing, input.dry).await?;
    let operation = CreateArtifactFrom {
        body: &body,
        artifact: upload.artifact(),
    };
    send(
        application,
        &session,
        &operation,
        &body,
        Some(&upload),
        input.dry,
    )
    .await
}

async fn create_version(
    application: &Application,
    id: &Id,
    input: &InputOptions,
) -> Result<(), CliError> {
    if input.generate {
        return write_out(CREATE_VERSION_SAMPLE);
    }
    let (body, packing) = input.body_and_directory(&["scan", "validate"])?;
    let session = service::session(application, input.dry)?;
    let upload = Upload::prepare(application, &packing, input.dry).await?;
    let operation = CreateArtifactVersionFrom {
        id,
        body: &body,
        artifact: upload.artifact(),
    };
    send(
        application,
        &session,
        &operation,
        &body,
        Some(&upload),
        input.dry,
    )
    .await
}

async fn update_metadata(
    application: &Application,
    id: &Id,
    input: &InputOptions,
) -> Result<(), CliError> {
    if input.generate {
        return write_out(UPDATE_SAMPLE);
    }
    let Some(body @ Value::Object(_)) = input.load()?.remove("body") else {
        return Err(
            CliError::usage("FILE has no map `body`").with_hint("--generate prints a sample")
        );
    };
    let session = service::session(application, input.dry)?;
    let operation = UpdateArtifactFrom { id, body: &body };
    send(application, &session, &operation, &body, None, input.dry).await
}

async fn download(application: &Application, arguments: DownloadArguments) -> Result<(), CliError> {
    let id = Id::from(arguments.artifact);
    can_be_written("DOWNLOAD_PATH", &arguments.path)?;
    let session = service::session(application, arguments.dry)?;
    if arguments.dry.dry_run {
        let operation = DownloadArtifact {
            id: &id,
            version: arguments.version,
        };
        let request = Download::request(&operation, session.endpoint())?;
        return service::show_requests(
            application.output,
            &[Shown::of(&session, &request, None, None)],
            None,
        );
    }
    let artifacts = Artifacts::new(session);
    let meter = application
        .progress
        .meter("download", format!("artifact {id}"));
    let saved = meter
        .watch(artifacts.download_artifact(&id, arguments.version, &arguments.path))
        .await?;
    drop(meter);
    let file = saved.path.display().to_string();
    application.output.object(
        &json!({"file": file, "size": saved.size}),
        &[("file", file.clone()), ("size", human_size(saved.size))],
    )
}
