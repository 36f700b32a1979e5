//! Creating images and versions, and updating versions.

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use peak_sdk::images::models::Id;
use peak_sdk::images::operations::{
    CreateImageFrom, CreateVersionFrom, ImagesPage, UpdateVersionFrom,
};
use peak_sdk::images::{Artifact, Existing, Images, ListImages};
use peak_sdk::platform::{Operation, Session};
use serde_json::Value;

use super::body::{BuildOptions, ImageOptions, Input, VersionOptions, without};
use crate::application::Application;
use crate::error::{CliError, ErrorKind};
use crate::output::write_out;
use crate::service::{self, DryRun, Shown, Upload, send};

const CREATE_SAMPLE: &str = include_str!("../../../samples/image.yaml");
const CREATE_VERSION_SAMPLE: &str = include_str!("../../../samples/image_version.yaml");
const UPDATE_SAMPLE: &str = include_str!("../../../samples/image_update.yaml");

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  peak images create --name web --type webapp --artifact-path examples/hello-web
  peak images create image.yaml --params-file values.yaml --params version=1.2.0
  peak images create --generate > image.yaml
  peak images create-or-update --name web --type webapp --version 1.2.0 --artifact-path .")]
pub(crate) struct CreateArguments {
    #[command(flatten)]
    image: ImageOptions,
    #[command(flatten)]
    version: VersionOptions,
    #[command(flatten)]
    build: BuildOptions,
    #[command(flatten)]
    sending: Sending,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  peak images create-version 1 --version 1.3.0 --artifact-path examples/hello-web
  peak images create-version 1 version.yaml --params-file values.yaml
  peak images create-version --generate > version.yaml")]
pub(crate) struct CreateVersionArguments {
    /// Id of the image
    #[arg(value_name = "IMAGE_ID", value_parser = NonEmptyStringValueParser::new(), required_unless_present = "generate")]
    pub(super) image: Option<String>,
    #[command(flatten)]
    version: VersionOptions,
    #[command(flatten)]
    build: BuildOptions,
    #[command(flatten)]
    sending: Sending,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  peak images update-version --image-id 1 --version-id 2 --artifact-path examples/hello-web
  peak images update-version --image-id 1 --version-id 2 update.yaml
  peak images update-version --generate > update.yaml")]
pub(crate) struct UpdateVersionArguments {
    /// Id of the image
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new(), required_unless_present = "generate")]
    pub(super) image_id: Option<String>,
    /// Id of the version
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new(), required_unless_present = "generate")]
    version_id: Option<String>,
    #[command(flatten)]
    build: BuildOptions,
    #[command(flatten)]
    sending: Sending,
}

/// What to do in place of sending.
#[derive(Debug, Args)]
pub(crate) struct Sending {
    #[command(flatten)]
    pub(crate) dry: DryRun,
    /// Print a sample FILE
    #[arg(long)]
    pub(crate) generate: bool,
}

pub(crate) async fn image(
    application: &Application,
    arguments: &CreateArguments,
) -> Result<(), CliError> {
    if arguments.sending.generate {
        return write_out(CREATE_SAMPLE);
    }
    let input = arguments
        .build
        .input(Some(&arguments.image), Some(&arguments.version))?;
    input.require("name", "--name")?;
    input.require("type", "--type")?;
    pack_and_submit(
        application,
        &input,
        &Existing::Nothing,
        arguments.sending.dry,
    )
    .await
}

pub(crate) async fn version(
    application: &Application,
    arguments: &CreateVersionArguments,
) -> Result<(), CliError> {
    if arguments.sending.generate {
        return write_out(CREATE_VERSION_SAMPLE);
    }
    let input = arguments.build.input(None, Some(&arguments.version))?;
    let existing = Existing::Image(id(arguments.image.as_deref()));
    pack_and_submit(application, &input, &existing, arguments.sending.dry).await
}

pub(crate) async fn update(
    application: &Application,
    arguments: &UpdateVersionArguments,
) -> Result<(), CliError> {
    if arguments.sending.generate {
        return write_out(UPDATE_SAMPLE);
    }
    let input = arguments.build.input(None, None)?;
    let existing = Existing::Version(
        id(arguments.image_id.as_deref()),
        id(arguments.version_id.as_deref()),
    );
    pack_and_submit(application, &input, &existing, arguments.sending.dry).await
}

pub(crate) async fn image_or_version(
    application: &Application,
    arguments: &CreateArguments,
) -> Result<(), CliError> {
    if arguments.sending.generate {
        return write_out(CREATE_SAMPLE);
    }
    let input = arguments
        .build
        .input(Some(&arguments.image), Some(&arguments.version))?;
    let name = input.require("name", "--name")?;
    let dry = arguments.sending.dry;
    let session = service::session(application, dry)?;
    if dry.dry_run {
        let upload = prepare(application, &input, dry).await?;
        let requests = upsert_plan(&session, &input.body, &name, upload.as_ref())?;
        return service::show_requests(application.output, &requests, upload.as_ref());
    }
    let images = Images::new(session.clone());
    // What is there is asked before anything is packed.
    let existing = images
        .look_up(&name, input.text("version").as_deref())
        .await?;
    if existing == Existing::Nothing {
        input.require("type", "--type")?;
    }
    let upload = prepare(application, &input, dry).await?;
    let left_out = match existing {
        Existing::Image(_) => NOT_OF_A_VERSION,
        Existing::Version(..) => NOT_OF_AN_UPDATE,
        _ => &[],
    };
    let body = without(&input.body, left_out);
    submit(
        application,
        &session,
        &existing,
        &body,
        upload.as_ref(),
        dry,
    )
    .await
}

/// Packs what goes with the body, and submits both.
async fn pack_and_submit(
    application: &Application,
    input: &Input,
    existing: &Existing,
    dry: DryRun,
) -> Result<(), CliError> {
    let session = service::session(application, dry)?;
    let upload = prepare(application, input, dry).await?;
    submit(
        application,
        &session,
        existing,
        &input.body,
        upload.as_ref(),
        dry,
    )
    .await
}

/// Creates an image, or a version of the one that exists, or updates the version that exists; or shows the request.
async fn submit(
    application: &Application,
    session: &Session,
    existing: &Existing,
    body: &Value,
    upload: Option<&Upload>,
    dry: DryRun,
) -> Result<(), CliError> {
    let artifact = artifact(upload);
    let sent = match existing {
        Existing::Image(image) => {
            let create = CreateVersionFrom {
                image,
                body,
                artifact,
            };
            send(application, session, &create, body, upload, dry).await
        }
        Existing::Version(image, version) => {
            let update = UpdateVersionFrom {
                image,
                version,
                body,
                artifact,
            };
            send(application, session, &update, body, upload, dry).await
        }
        _ => {
            let create = CreateImageFrom { body, artifact };
            send(application, session, &create, body, upload, dry).await
        }
    };
    sent.map_err(|error| match error.kind {
        ErrorKind::Refused if artifact.is_none() && is_from_files(body) => error.with_hint(
            "--artifact-path names the directory to build from, and so does `path` below `artifact` in FILE",
        ),
        _ => error,
    })
}

/// Whether the build takes its files from an archive, which is what it does where the body says nothing else.
fn is_from_files(body: &Value) -> bool {
    let source = body
        .get("buildDetails")
        .and_then(|details| details.get("source"));
    source.is_none_or(|source| source == "upload")
}

/// Fields of a new image that a version of it has not.
const NOT_OF_A_VERSION: &[&str] = &["name", "type"];

/// Fields of a new image that cannot be changed.
const NOT_OF_AN_UPDATE: &[&str] = &["name", "type", "version"];

/// The requests that create an image of this name or a version of it, or update one: which there would be depends on what
/// the platform has.
pub(crate) fn upsert_plan(
    session: &Session,
    body: &Value,
    name: &str,
    upload: Option<&Upload>,
) -> Result<Vec<Shown>, CliError> {
    let endpoint = session.endpoint();
    let list = ListImages::new().name(name).page_size(100);
    let look = ImagesPage {
        list: &list,
        number: Some(1),
    };
    let look = look.request(endpoint)?;
    let create = CreateImageFrom {
        body,
        artifact: artifact(upload),
    };
    let create = create.request(endpoint)?;
    let (image, version) = (Id::from("IMAGE_ID"), Id::from("VERSION_ID"));
    let version_body = without(body, NOT_OF_A_VERSION);
    let create_version = CreateVersionFrom {
        image: &image,
        body: &version_body,
        artifact: artifact(upload),
    };
    let create_version = create_version.request(endpoint)?;
    let update_body = without(body, NOT_OF_AN_UPDATE);
    let update = UpdateVersionFrom {
        image: &image,
        version: &version,
        body: &update_body,
        artifact: artifact(upload),
    };
    let update = update.request(endpoint)?;
    let when_new = Some("if there is no image of this name");
    let when_there = Some("if there is the image, without this version");
    let when_both = Some("if there is the image with this version");
    Ok(vec![
        Shown::of(session, &look, None, None),
        Shown::of(session, &create, Some(body), when_new),
        Shown::of(session, &create_version, Some(&version_body), when_there),
        Shown::of(session, &update, Some(&update_body), when_both),
    ])
}

async fn prepare(
    application: &Application,
    input: &Input,
    dry: DryRun,
) -> Result<Option<Upload>, CliError> {
    match &input.packing {
        Some(packing) => Ok(Some(Upload::prepare(application, packing, dry).await?)),
        None => Ok(None),
    }
}

fn artifact(upload: Option<&Upload>) -> Option<&Artifact> {
    upload.map(Upload::artifact)
}

/// An id that clap has seen to be there.
fn id(text: Option<&str>) -> Id {
    Id::from(text.unwrap_or_default())
}
