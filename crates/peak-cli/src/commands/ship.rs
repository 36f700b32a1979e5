//! `peak ship`: from a directory to a verified image. The main job.

mod checks;
mod copies;
mod show;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use futures_util::TryStreamExt;
use peak_sdk::images::models::{BuildArgument, Id, ImageType};
use peak_sdk::images::{
    Artifact, Build, BuildLogEvent, CreateImage, FinishedBuild, FollowOptions, Images, Upload,
    UpsertOutcome,
};
use peak_sdk::local::Platform;
use peak_sdk::oci::{Digest, Reference, Selector};
use peak_sdk::pack::PackOptions;
use peak_sdk::platform::Session;
use peak_sdk::registry::Repository;
use peak_sdk::transfer::Target;

use self::checks::{
    context_among, dockerfile_among, image_name, refuse_lost, version_can_be_a_tag,
};
use self::copies::{Copies, copy_to_all, how_to_go_on};
use self::show::{show_begun, show_dry_run, show_shipped};
use crate::application::{Application, NamedBy, registry_builder, registry_of, session_at};
use crate::arguments::{PackingOptions, StateOptions, from_one};
use crate::commands::images::{BUILD_HEADING, build_failed};
use crate::commands::local::{already_running, running};
use crate::commands::pack::{Packed, scan_directory};
use crate::commands::registry::{parse_destination, parse_reference};
use crate::commands::transfer::{Destination, clients, reach_engine};
use crate::engine::DockerOptions;
use crate::error::{CliError, ErrorKind};
use crate::output::{Output, human_size};
use crate::paths::in_shell;
use crate::refused;

/// How many lines of a failed build's log are shown where the log itself was not.
const LOG_END: usize = 10;

#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the command line"
)]
#[command(after_help = "\
Examples:
  peak ship examples/hello-web --local --to oci:target/hello-web
  peak ship examples/hello-web --local --dry-run --output table
  peak ship . --name team/site --version 1.4.0 --build-arguments REVISION=abc123")]
pub(crate) struct ShipArguments {
    /// Directory with a Dockerfile
    #[arg(value_name = "DIR")]
    directory: PathBuf,

    /// Run all of it on the embedded platform, started for the time of the command
    #[arg(long)]
    local: bool,
    #[command(flatten)]
    state: StateOptions,
    #[command(flatten)]
    docker: DockerOptions,

    /// Name of the image [default: the directory's name]
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    name: Option<String>,
    /// Version of the image; one that is there already is built again [default: the next patch version, 0.0.1 for a new
    /// image]
    #[arg(long = "version", id = "image_version", value_name = "VERSION", value_parser = NonEmptyStringValueParser::new())]
    version: Option<String>,
    /// Type of a new image: workflow, workspace-r, workspace-python, webapp or api
    #[arg(long = "type", value_name = "TYPE", default_value = "workflow", value_parser = NonEmptyStringValueParser::new())]
    image_type: String,

    /// The Dockerfile, relative to DIR
    #[arg(long, help_heading = BUILD_HEADING, value_name = "PATH", default_value = "Dockerfile", value_parser = NonEmptyStringValueParser::new())]
    dockerfile_path: String,
    /// Directory that COPY and ADD start from, relative to DIR [default: DIR]
    #[arg(long, help_heading = BUILD_HEADING, value_name = "PATH")]
    context: Option<String>,
    /// Build argument; may be repeated
    #[arg(long, help_heading = BUILD_HEADING, value_name = "KEY=VALUE", value_parser = parse_build_argument)]
    build_arguments: Vec<BuildArgument>,
    /// Names of platform secrets that the build may use; may be repeated or comma-separated
    #[arg(long, help_heading = BUILD_HEADING, value_name = "NAME", value_delimiter = ',')]
    secrets: Vec<String>,
    /// Build every layer anew
    #[arg(long, help_heading = BUILD_HEADING)]
    no_use_cache: bool,
    #[command(flatten)]
    packing: PackingOptions,

    /// Where to copy the built image: `oci:DIR[:TAG]`, `oci-archive:FILE[:TAG]`, `docker-archive:FILE[:REFERENCE]`,
    /// `docker-daemon:NAME:TAG` or `REGISTRY/REPOSITORY[:TAG]`; may be repeated or comma-separated
    #[arg(long, value_name = "TARGET", value_delimiter = ',')]
    to: Vec<String>,
    /// Do not follow the build
    #[arg(long, conflicts_with_all = ["to", "local"])]
    no_wait: bool,
    /// Give up following the build after so many seconds [default: follow it to its end]
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, value_parser = from_one)]
    timeout: Option<u64>,
    /// Show the requests and the files that would be sent, and send nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(
    application: &Application,
    arguments: ShipArguments,
) -> Result<(), CliError> {
    // Whatever can be wrong with the command line, the directory, the platform or the destinations is said
    // before any work is done.
    if arguments.local && application.platform_named_by() == Some(NamedBy::Options) {
        return Err(
            CliError::usage("--local means the embedded platform, not another one")
                .with_hint("leave out --local, or --endpoint-url and --stage"),
        );
    }
    let targets = arguments
        .to
        .iter()
        .map(|text| parse_destination(text))
        .collect::<Result<Vec<Target>, _>>()?;
    refuse_lost(&targets)?;
    let options = packing_options(&arguments, &targets)?;
    let files = scan_directory(&arguments.directory, &options).await?;
    let dockerfile = dockerfile_among(&arguments, &files)?;
    context_among(&arguments, &files)?;
    let name = image_name(&arguments)?;
    version_can_be_a_tag(&arguments)?;
    if arguments.dry_run {
        return show_dry_run(application, &arguments, &name, &dockerfile, files, &targets);
    }
    Box::pin(reach_engine(&targets)).await?;
    let session = if arguments.local {
        let platform = start_embedded(&arguments).await?;
        let url = platform.url();
        application.keep_embedded(platform);
        session_at(url)?
    } else {
        application
            .session()
            .map_err(|error| without_account(error, &arguments.directory))?
    };
    let registry = if arguments.local {
        application.registry_beside_embedded(registry_builder()?)?
    } else {
        application.registry(registry_builder()?)?
    };
    let clients = clients(&registry, &targets)?;
    let destinations = targets
        .into_iter()
        .map(|target| Destination::open(target, &clients))
        .collect::<Result<Vec<_>, _>>()?;
    let copies = Copies {
        registry,
        destinations,
    };
    let packed = Packed::of(application, &arguments.directory, &options).await?;
    let image = image_to_create(&arguments, &name, &dockerfile, &packed.artifact);
    ship(
        application,
        session,
        &arguments,
        &name,
        &image,
        packed.size,
        &copies,
    )
    .await
}

/// What this very command writes must not go into the artifact: it would be another one each time.
fn packing_options(arguments: &ShipArguments, targets: &[Target]) -> Result<PackOptions, CliError> {
    let mut options = arguments.packing.to_options();
    if arguments.local {
        options = options.leave_out([arguments.state.directory()?]);
    }
    Ok(options.leave_out(targets.iter().filter_map(Target::path)))
}

/// The embedded platform for the time of this command, on whatever port is free.
async fn start_embedded(arguments: &ShipArguments) -> Result<Platform, CliError> {
    let state = arguments.state.directory()?;
    let builder = Platform::builder().state_dir(&state);
    let started = arguments.docker.apply(builder).start().await;
    match started {
        Ok(platform) => Ok(platform),
        Err(error) => match running(&error, &state).await {
            None => Err(error.into()),
            Some(url) => Err(already_running(&state, &url).with_hint(format!(
                "ship to that one: `peak ship {} --endpoint-url {url}`, without --local; or give another --state-dir",
                in_shell(&arguments.directory)
            ))),
        },
    }
}

/// Without an account there is still the embedded platform.
fn without_account(error: CliError, directory: &Path) -> CliError {
    match (error.kind, &error.hint) {
        // One that cannot be used has no way around it.
        (ErrorKind::Authentication, Some(_)) => error.with_hint(format!(
            "or build it without an account, on the embedded platform: `peak ship {} --local`",
            in_shell(directory)
        )),
        _ => error,
    }
}

/// Everything from the packed artifact on, on whatever platform the session is with.
async fn ship(
    application: &Application,
    session: Session,
    arguments: &ShipArguments,
    name: &str,
    image: &CreateImage,
    size: u64,
    copies: &Copies,
) -> Result<(), CliError> {
    let images = Images::new(session.clone());
    let uploading = application
        .progress
        .meter("upload", format!("{name}, {}", human_size(size)));
    let begun = uploading
        .watch(images.create_or_update_image_version(image))
        .await
        .map_err(|error| refused_version(error.into(), arguments))?;
    drop(uploading);
    let again = match (&begun.outcome, &arguments.version) {
        (UpsertOutcome::UpdatedVersion, Some(version)) => format!(
            "; {version} was there already: it is built again, and its name goes to the new image"
        ),
        _ => String::new(),
    };
    application.progress.step(
        "upload",
        &format!(
            "{name}: image {}, version {}{again}",
            begun.image_id, begun.version_id
        ),
    );
    if arguments.no_wait {
        return show_begun(application.output, name, &begun);
    }

    if let Some(build) = &begun.build_id {
        follow(
            application,
            &images,
            arguments,
            name,
            &begun.image_id,
            build,
        )
        .await?;
    }
    let version = images
        .describe_version(&begun.image_id, &begun.version_id)
        .await?;
    let pull_url = version.pull_url.clone().ok_or_else(|| {
        CliError::other(format!(
            "the platform built {name} but does not say where the image can be pulled from"
        ))
    })?;
    let (reference, built) = match parse_reference(&pull_url) {
        Ok(reference) => {
            let built = Built::look_up(&session, &reference).await;
            (Some(reference), built)
        }
        Err(error) => (None, Err(error)),
    };
    let digest = match built {
        Ok(built) => {
            copy_to_all(application, arguments, &built, copies).await?;
            Some(built.digest)
        }
        // The image is there; where nobody asked for a copy, not being let into its registry is no failure.
        Err(error) if copies.destinations.is_empty() => {
            application.progress.warning(&format!(
                "the digest of the image is not known: {}",
                error.message
            ));
            None
        }
        Err(error) => {
            let error = refused::with_account(&copies.registry, error).await;
            return Err(match reference {
                Some(reference) => error.with_more_hint(&how_to_go_on(
                    application,
                    arguments,
                    &reference,
                    None,
                    "is built",
                    None,
                )),
                None => error,
            });
        }
    };
    if arguments.local && copies.destinations.is_empty() {
        application.progress.step(
            "local",
            &format!(
                "the embedded platform ends now; `{}` serves the image again, --to would have copied it",
                arguments.state.as_command("peak local serve")
            ),
        );
    }
    show_shipped(
        application.output,
        name,
        &begun,
        &version,
        &pull_url,
        digest.as_ref(),
        &copies.destinations,
    )
}

/// The built image, where it stands in its registry. From here on its digest is its name: whatever happens to
/// the tag, every copy is of this image.
struct Built {
    reference: Reference,
    repository: Repository,
    digest: Digest,
}

impl Built {
    async fn look_up(session: &Session, reference: &Reference) -> Result<Self, CliError> {
        let registry = registry_of(session, registry_builder()?)?;
        let repository = registry.repository(reference);
        let digest = repository
            .get_manifest_digest(&reference.selector_or_latest())
            .await?;
        Ok(Self {
            reference: reference.clone(),
            repository,
            digest,
        })
    }

    fn selector(&self) -> Selector {
        Selector::Digest(self.digest.clone())
    }
}

/// What a platform said that does not take the version that was asked for.
fn refused_version(error: CliError, arguments: &ShipArguments) -> CliError {
    match (&arguments.version, error.status) {
        (Some(_), Some(409)) if error.hint.is_none() => {
            error.with_hint("give another --version, or leave it out for the next one")
        }
        _ => error,
    }
}

fn image_to_create(
    arguments: &ShipArguments,
    name: &str,
    dockerfile: &str,
    artifact: &Artifact,
) -> CreateImage {
    let mut upload = Upload::new(artifact.clone()).dockerfile_path(dockerfile);
    if let Some(context) = &arguments.context {
        upload = upload.context(context);
    }
    let mut build = Build::new(upload);
    if arguments.no_use_cache {
        build = build.use_cache(false);
    }
    for argument in &arguments.build_arguments {
        build = build.argument(&argument.name, &argument.value);
    }
    for secret in &arguments.secrets {
        build = build.secret(secret);
    }
    let image = CreateImage::new(name, ImageType::from(arguments.image_type.as_str()), build);
    match &arguments.version {
        Some(version) => image.version(version),
        None => image,
    }
}

/// Shows the log until the build ends; anything but success is an error.
async fn follow(
    application: &Application,
    images: &Images,
    arguments: &ShipArguments,
    name: &str,
    image: &Id,
    build: &Id,
) -> Result<(), CliError> {
    let mut tail = VecDeque::with_capacity(LOG_END);
    let watching = async {
        let mut events = pin!(images.follow_build_logs(image, build, FollowOptions::new()));
        while let Some(event) = events.try_next().await? {
            match event {
                BuildLogEvent::Line(line) => {
                    let message = line.message.unwrap_or_default();
                    application.progress.log_line(&message);
                    if tail.len() == LOG_END {
                        tail.pop_front();
                    }
                    tail.push_back(message);
                }
                BuildLogEvent::Finished(finished) => return Ok(Some(finished)),
                _ => {}
            }
        }
        Ok::<Option<FinishedBuild>, CliError>(None)
    };
    let finished = match arguments.timeout {
        None => watching.await?,
        Some(seconds) => tokio::time::timeout(Duration::from_secs(seconds), watching)
            .await
            .map_err(|_| {
                let error = CliError::other(format!("the build of {name} still runs after {seconds} s"));
                // The embedded platform ends with this command, and the build with it.
                error.with_hint(if arguments.local {
                    "give it more time with --timeout".to_owned()
                } else {
                    format!(
                        "follow it with `peak images get-build-logs --follow --image-id {image} --build-id {build}`"
                    )
                })
            })??,
    };
    if finished.as_ref().is_some_and(FinishedBuild::is_success) {
        return Ok(());
    }
    application.progress.end_of_log(&tail);
    // A person has just read in the log what a program has to find in the error.
    let is_for_programs = matches!(application.asked_output, Some(Output::Json));
    let last_line = tail.back().filter(|_| is_for_programs);
    let failure = build_failed(name, finished.as_ref(), last_line.map(String::as_str));
    Err(if tail.is_empty() || is_for_programs {
        failure
    } else {
        failure.with_hint("its log above says why")
    })
}

fn parse_build_argument(text: &str) -> Result<BuildArgument, String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok(BuildArgument::new(name, value)),
        _ => Err("write it as KEY=VALUE".to_owned()),
    }
}
