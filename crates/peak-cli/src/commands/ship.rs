//! `peak ship`: from a directory to a verified image. The main job.

use std::collections::{BTreeSet, VecDeque};
use std::path::{Component, Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use futures_util::TryStreamExt;
use peak_sdk::images::models::{BuildArgument, Id, ImageType, ImageVersion};
use peak_sdk::images::{
    Artifact, Build, BuildLogEvent, CreateImage, FinishedBuild, FollowOptions, Images, Upload,
    UpsertOutcome, Upserted,
};
use peak_sdk::local::Platform;
use peak_sdk::oci::{Digest, RepositoryName, Selector, Tag};
use peak_sdk::pack::{FileList, PackOptions};
use peak_sdk::platform::Session;
use peak_sdk::registry::Repository;
use peak_sdk::transfer::{CopyOptions, Target};
use serde_json::json;
use url::Url;

use crate::application::{Application, registry_builder, registry_of, session_at};
use crate::arguments::{PackingOptions, StateOptions, from_one};
use crate::commands::images::{BUILD_HEADING, build_failed, upsert_plan};
use crate::commands::local::{already_running, running};
use crate::commands::pack::{Packed, directory_name, scan_directory};
use crate::commands::registry::{parse_destination, parse_reference};
use crate::commands::transfer::{Destination, clients, reach_engine};
use crate::engine::DockerOptions;
use crate::error::{CliError, ErrorKind};
use crate::output::{Output, human_size, printable};
use crate::paths::in_shell;
use crate::service;
use crate::suggest::{did_you_mean, either, nearest};

/// Where the embedded platform would be in a dry run: port 0 is whatever is free.
const EMBEDDED_URL: &str = "http://127.0.0.1:0";

/// What leaves files out where nothing else is named.
const DEFAULT_IGNORE_FILE: &str = ".dockerignore";

/// Most files that are suggested in place of a Dockerfile.
const SUGGESTIONS: usize = 3;

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
    if arguments.local && application.names_a_platform() {
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
    let registry = application.registry(registry_builder()?)?;
    let clients = clients(&registry, &targets)?;
    let destinations = targets
        .into_iter()
        .map(|target| Destination::open(target, &clients))
        .collect::<Result<Vec<_>, _>>()?;
    let packed = Packed::of(application, &arguments.directory, &options).await?;
    let image = image_to_create(&arguments, &name, &dockerfile, &packed.artifact);
    ship(
        application,
        session,
        &arguments,
        &name,
        &image,
        packed.size,
        &destinations,
    )
    .await
}

/// Refuses to write two images to a place that holds one: the second would replace the first.
fn refuse_lost(targets: &[Target]) -> Result<(), CliError> {
    let mut replaced: Vec<_> = targets
        .iter()
        .filter(|target| target.is_replaced())
        .filter_map(Target::path)
        .collect();
    replaced.sort_unstable();
    match replaced.windows(2).find(|pair| pair.first() == pair.last()) {
        Some([path, ..]) => Err(CliError::usage(format!(
            "--to names the archive {} twice, and it holds one image under one name",
            path.display()
        ))
        .with_hint("name each archive once; a layout directory (oci:DIR:TAG) takes several names")),
        _ => Ok(()),
    }
}

/// What this very command writes must not go into the artifact: it would be another one each time.
fn packing_options(arguments: &ShipArguments, targets: &[Target]) -> Result<PackOptions, CliError> {
    let mut options = arguments.packing.to_options();
    if arguments.local {
        options = options.leave_out([arguments.state.directory()?]);
    }
    Ok(options.leave_out(targets.iter().filter_map(Target::path)))
}

/// The name asked for, else that of the directory where it can name an image. Which names another platform takes is for
/// that one to say.
fn image_name(arguments: &ShipArguments) -> Result<String, CliError> {
    let (name, whose) = match &arguments.name {
        Some(name) if !arguments.local => return Ok(name.clone()),
        Some(name) => (name.clone(), "the name"),
        None => (
            directory_name(&arguments.directory)?,
            "the directory's name",
        ),
    };
    match name.parse::<RepositoryName>() {
        Ok(_) => Ok(name),
        Err(error) => Err(CliError::from_chain(ErrorKind::Usage, &error)
            .with_context(&format!(
                "{whose} `{}` cannot be that of an image",
                printable(&name)
            ))
            .with_hint("give another with --name")),
    }
}

/// Refuses a version that the embedded platform cannot name an image by. Which versions another platform takes is for that
/// one to say.
fn version_can_be_a_tag(arguments: &ShipArguments) -> Result<(), CliError> {
    let Some(version) = arguments.version.as_deref().filter(|_| arguments.local) else {
        return Ok(());
    };
    match version.parse::<Tag>() {
        Ok(_) => Ok(()),
        Err(_) => Err(CliError::usage(format!(
            "`{}` cannot be a version: it takes up to 128 letters, digits, `.`, `_` and `-`, none of `.` and `-` first",
            printable(version)
        ))
        .with_hint("give another with --version, such as 1.0.0")),
    }
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
    destinations: &[Destination],
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
    let built = Built::look_up(&session, &pull_url).await;
    let digest = match built {
        Ok(built) => {
            for destination in destinations {
                application.progress.step("copy", &destination.name());
                destination
                    .receive(
                        application,
                        &built.repository,
                        Some(&built.selector()),
                        CopyOptions::new(),
                    )
                    .await?;
            }
            Some(built.digest)
        }
        // The image is there; where nobody asked for a copy, not being let into its registry is no failure.
        Err(error) if destinations.is_empty() => {
            application.progress.warning(&format!(
                "the digest of the image is not known: {}",
                error.message
            ));
            None
        }
        Err(error) => return Err(error),
    };
    if arguments.local && destinations.is_empty() {
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
        destinations,
    )
}

/// The built image, where it stands in its registry. From here on its digest is its name: whatever happens to
/// the tag, every copy is of this image.
struct Built {
    repository: Repository,
    digest: Digest,
}

impl Built {
    async fn look_up(session: &Session, pull_url: &str) -> Result<Self, CliError> {
        let reference = parse_reference(pull_url)?;
        let registry = registry_of(session, registry_builder()?)?;
        let repository = registry.repository(&reference);
        let digest = repository
            .get_manifest_digest(&reference.selector_or_latest())
            .await?;
        Ok(Self { repository, digest })
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

/// Whether a path leads to something below the directory it starts from.
fn is_inside(path: &str) -> bool {
    Path::new(path)
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

/// The path of the Dockerfile, which must be among the files that go up.
fn dockerfile_among(arguments: &ShipArguments, files: &FileList) -> Result<String, CliError> {
    let given = arguments.dockerfile_path.as_str();
    if !is_inside(given) {
        return Err(CliError::usage(format!(
            "the Dockerfile `{}` is not below the directory",
            printable(given)
        ))
        .with_hint("--dockerfile-path is relative to DIR, without `..`"));
    }
    let wanted = normal(given);
    if let Some(file) = files
        .files
        .iter()
        .find(|file| Path::new(&file.path) == wanted)
    {
        return Ok(file.path.clone());
    }
    let (directory, wanted) = (arguments.directory.display(), wanted.display().to_string());
    if arguments.directory.join(&wanted).is_file() {
        return Err(left_out(&arguments.packing, &arguments.directory, &wanted));
    }
    let what = format!(
        "`{directory}` has no file `{}` to build from",
        printable(&wanted)
    );
    let wanted = wanted.as_str();
    let found = dockerfiles_like(wanted, files);
    let hint = if found.is_empty() {
        "add one, or name another with --dockerfile-path".to_owned()
    } else {
        format!("did you mean --dockerfile-path {}?", either(&found))
    };
    Err(CliError::new(ErrorKind::NotFound, what).with_hint(hint))
}

/// A Dockerfile that is there, and does not go up.
fn left_out(packing: &PackingOptions, directory: &Path, wanted: &str) -> CliError {
    let wanted = printable(wanted);
    let (ignore_files, last) = match packing.ignore_files.as_slice() {
        [] => (format!("`{DEFAULT_IGNORE_FILE}`"), DEFAULT_IGNORE_FILE),
        [one] => (format!("`{}`", printable(one)), one.as_str()),
        [.., last] => (
            format!("one of `{}`", printable(&packing.ignore_files.join("`, `"))),
            last.as_str(),
        ),
    };
    CliError::new(
        ErrorKind::NotFound,
        format!(
            "{ignore_files} of `{}` leaves out its `{wanted}`",
            directory.display()
        ),
    )
    .with_hint(format!(
        "put `!{wanted}` at the end of `{}`, or name another with --dockerfile-path",
        printable(last)
    ))
}

/// The files that could be meant where there is no such Dockerfile: those of nearly that name, else those that are called
/// so wherever they lie.
fn dockerfiles_like(wanted: &str, files: &FileList) -> Vec<String> {
    let paths = || files.files.iter().map(|file| file.path.as_str());
    let is_dockerfile = |path: &str| {
        let name = path.rsplit('/').next().unwrap_or(path);
        name.to_ascii_lowercase().contains("dockerfile") && !name.ends_with("ignore")
    };
    let near = nearest(wanted, paths().filter(|path| is_dockerfile(path)));
    if !near.is_empty() {
        return near;
    }
    let mut others: Vec<_> = paths().filter(|path| is_dockerfile(path)).collect();
    others.sort_unstable_by_key(|path| (path.matches('/').count(), *path));
    others.truncate(SUGGESTIONS);
    others.into_iter().map(printable).collect()
}

/// Refuses a context that none of the files that go up lies in.
fn context_among(arguments: &ShipArguments, files: &FileList) -> Result<(), CliError> {
    let Some(context) = &arguments.context else {
        return Ok(());
    };
    if !is_inside(context) {
        return Err(CliError::usage(format!(
            "the context `{}` is not below the directory",
            printable(context)
        ))
        .with_hint("--context is relative to DIR, without `..`"));
    }
    let mut inside = files.files.iter().map(|file| Path::new(&file.path));
    let wanted = normal(context);
    if inside.any(|file| file != wanted && file.starts_with(&wanted)) {
        return Ok(());
    }
    let directories: BTreeSet<_> = files
        .files
        .iter()
        .flat_map(|file| Path::new(&file.path).ancestors().skip(1))
        .filter_map(Path::to_str)
        .collect();
    let hint = did_you_mean(context, directories)
        .unwrap_or_else(|| "--context names a directory below DIR; without it DIR is meant".into());
    Err(CliError::new(
        ErrorKind::NotFound,
        format!(
            "`{}` has no directory `{}` with files to build from",
            arguments.directory.display(),
            printable(context)
        ),
    )
    .with_hint(hint))
}

/// The path without `.`.
fn normal(path: &str) -> PathBuf {
    Path::new(path)
        .components()
        .filter(|part| matches!(part, Component::Normal(_)))
        .collect()
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
    // What the log says need not be said again.
    let failure = build_failed(name, finished.as_ref(), None);
    Err(if tail.is_empty() {
        failure
    } else {
        failure.with_hint("its log above says why")
    })
}

/// Shows the requests of which the platform gets those that fit what it has, and the files. The embedded platform listens
/// on a port that is known once it runs, so 0 stands for it.
fn show_dry_run(
    application: &Application,
    arguments: &ShipArguments,
    name: &str,
    dockerfile: &str,
    files: FileList,
    targets: &[Target],
) -> Result<(), CliError> {
    let session = if arguments.local {
        session_at(Url::parse(EMBEDDED_URL).map_err(|error| CliError::other(error.to_string()))?)?
    } else {
        application.session_to_show()?
    };
    let upload = service::Upload::listed(files);
    let image = image_to_create(arguments, name, dockerfile, upload.artifact());
    let body = serde_json::to_value(image.body())
        .map_err(|error| CliError::from_chain(ErrorKind::Other, &error))?;
    let requests = upsert_plan(&session, &body, name, Some(&upload))?;
    let to: Vec<_> = targets.iter().map(ToString::to_string).collect();
    service::show_plan(application.output, &requests, Some(&upload), Some(&to))
}

fn show_begun(output: Output, name: &str, begun: &Upserted) -> Result<(), CliError> {
    output.object(
        &json!({"name": name, "imageId": begun.image_id, "versionId": begun.version_id, "buildId": begun.build_id}),
        &[
            ("name", name.to_owned()),
            ("imageId", begun.image_id.to_string()),
            ("versionId", begun.version_id.to_string()),
            ("buildId", begun.build_id.as_ref().map(ToString::to_string).unwrap_or_default()),
        ],
    )
}

fn show_shipped(
    output: Output,
    name: &str,
    begun: &Upserted,
    version: &ImageVersion,
    pull_url: &str,
    digest: Option<&Digest>,
    destinations: &[Destination],
) -> Result<(), CliError> {
    let copied: Vec<_> = destinations.iter().map(Destination::name).collect();
    let digest = digest.map(ToString::to_string);
    let mut rows = vec![
        ("name", name.to_owned()),
        ("version", version.version.clone().unwrap_or_default()),
        ("imageId", begun.image_id.to_string()),
        ("versionId", begun.version_id.to_string()),
        ("pullUrl", pull_url.to_owned()),
        (
            "digest",
            digest.clone().unwrap_or_else(|| "not known".to_owned()),
        ),
        ("size", version.size.map(human_size).unwrap_or_default()),
    ];
    rows.extend(copied.iter().map(|place| ("copied to", place.clone())));
    output.object(
        &json!({
            "name": name,
            "version": version.version,
            "imageId": begun.image_id,
            "versionId": begun.version_id,
            "buildId": begun.build_id,
            "pullUrl": pull_url,
            "digest": digest,
            "size": version.size,
            "to": copied,
        }),
        &rows,
    )
}

fn parse_build_argument(text: &str) -> Result<BuildArgument, String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok(BuildArgument::new(name, value)),
        _ => Err("write it as KEY=VALUE".to_owned()),
    }
}
