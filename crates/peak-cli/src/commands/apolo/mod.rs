//! `peak apolo`: images of the Apolo platform.

mod error;
mod missing;

use std::sync::Arc;

use clap::{Args, Subcommand};
use peak_sdk::apolo::{
    Clusters, Config, ConfigError, ImageProgress, Images, LocalImage, RemoteImage,
};
use peak_sdk::docker::{Engine, EngineConfig};
use peak_sdk::oci::Digest;
use peak_sdk::registry::Registry;
use peak_sdk::transfer::{CopyOptions, CopyReport, Platforms, Target};
use serde_json::{Value, json};

use self::error::of_engine_config;
use crate::application::Application;
use crate::commands::registry::{TlsArguments, parse_local_target, parse_platform};
use crate::commands::transfer::warn;
use crate::error::{CliError, ErrorKind};
use crate::output::{Output, human_size, printable, shown};
use crate::service::agree;

/// What the names of the platform's images begin with.
const SCHEME: &str = "image:";

const SETTINGS: &str = "\
Names of images:
  image:NAME[:TAG]                              in the default cluster, organisation and project
  image:/PROJECT/NAME[:TAG]                     in another project
  image://CLUSTER/[ORG/]PROJECT/NAME[:TAG]      anywhere on the platform
  REGISTRY/[ORG/]PROJECT/NAME[:TAG]             the same by the address of a cluster's registry

Environment:
  APOLO_REGISTRY_URL          registry of the default cluster: https://HOST[:PORT]
  APOLO_CLUSTERS              JSON object of cluster names and registry URLs, for several clusters
  APOLO_CLUSTER               the default cluster
  APOLO_ORG, APOLO_PROJECT    the default organisation and project
  APOLO_USER, APOLO_TOKEN     who asks the registries

Example:
  peak apolo push hello-web:0.0.1 image:hello-web:0.0.1";

#[derive(Debug, Args)]
#[command(after_help = SETTINGS)]
pub(crate) struct ApoloArguments {
    #[command(flatten)]
    tls: TlsArguments,
    #[command(subcommand)]
    command: ApoloCommand,
}

/// How an image moves.
#[derive(Debug, Args)]
pub(crate) struct Way {
    /// Move it straight between the registry and a place on disk, with no Docker Engine. LOCAL is then
    /// `oci:DIR[:TAG]`, `oci-archive:FILE[:TAG]` or `docker-archive:FILE[:REFERENCE]`
    #[arg(long)]
    no_docker: bool,
    /// With --no-docker: of an image for several platforms, take only this one (os/arch[/variant]). May be repeated or
    /// comma-separated [default: all]
    #[arg(
        long,
        value_name = "PLATFORM",
        value_delimiter = ',',
        requires = "no_docker"
    )]
    platform: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum ApoloCommand {
    /// Push an image of the local Docker Engine to the platform
    #[command(after_help = "\
Examples:
  peak apolo push hello-web:0.0.1
  peak apolo push hello-web:0.0.1 image:/team/hello-web:0.0.1
  peak apolo push --no-docker oci:target/hello-web image:hello-web:0.0.1")]
    Push {
        /// Image in the Engine, as `NAME[:TAG]`
        #[arg(value_name = "LOCAL")]
        local: String,
        /// Image on the platform [default: that of the same name in the default project]
        #[arg(value_name = "REMOTE", required_if_eq("no_docker", "true"))]
        remote: Option<String>,
        #[command(flatten)]
        way: Way,
    },
    /// Pull an image of the platform into the local Docker Engine
    #[command(after_help = "\
Examples:
  peak apolo pull image:hello-web:0.0.1
  peak apolo pull image:/team/hello-web:0.0.1 hello-web:team
  peak apolo pull --no-docker image:hello-web:0.0.1 oci:target/hello-web")]
    Pull {
        /// Image on the platform
        #[arg(value_name = "REMOTE")]
        remote: String,
        /// What it is called in the Engine, as `NAME[:TAG]` [default: its name and tag]
        #[arg(value_name = "LOCAL", required_if_eq("no_docker", "true"))]
        local: Option<String>,
        #[command(flatten)]
        way: Way,
    },
    /// List the images in a cluster
    #[command(after_help = "\
Example:
  peak apolo ls --output table")]
    Ls {
        /// The cluster [default: the default one]
        #[arg(long, value_name = "CLUSTER")]
        cluster: Option<String>,
    },
    /// List the tags of an image
    #[command(after_help = "\
Example:
  peak apolo tags image:hello-web")]
    Tags {
        /// Image on the platform, without a tag
        #[arg(value_name = "REMOTE")]
        remote: String,
    },
    /// Show the digest that a tag leads to
    #[command(after_help = "\
Example:
  peak apolo digest image:hello-web:0.0.1")]
    Digest {
        /// Image on the platform
        #[arg(value_name = "REMOTE")]
        remote: String,
    },
    /// Show how many bytes the layers of an image have in the registry
    #[command(after_help = "\
Example:
  peak apolo size image:hello-web:0.0.1 --platform linux/amd64")]
    Size {
        /// Image on the platform
        #[arg(value_name = "REMOTE")]
        remote: String,
        /// Of an image for several platforms, the one that is meant [default: this machine's]
        #[arg(long, value_name = "PLATFORM")]
        platform: Option<String>,
    },
    /// Delete an image and every tag that leads to it
    #[command(after_help = "\
Examples:
  peak apolo rm image:hello-web:0.0.1 --yes
  peak apolo rm image:hello-web \\
    sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a --yes")]
    Rm {
        /// Image on the platform; its tag says which one where no digest is given
        #[arg(value_name = "REMOTE")]
        remote: String,
        /// Digest of the image
        #[arg(value_name = "DIGEST")]
        digest: Option<String>,
        /// Delete without asking
        #[arg(long, short = 'y')]
        yes: bool,
    },
    /// Take the name of an image apart; nothing is asked of anybody
    #[command(after_help = "\
Example:
  peak apolo parse image:hello-web:0.0.1 --output json")]
    Parse {
        /// Name of an image
        #[arg(value_name = "TEXT")]
        text: String,
    },
}

pub(crate) async fn run(
    application: &Application,
    arguments: ApoloArguments,
) -> Result<(), CliError> {
    let config = match (Config::from_environment(), &arguments.command) {
        // What another registry has is named the same, whatever the platform is.
        (Err(_), ApoloCommand::Parse { text }) if !text.starts_with(SCHEME) => {
            return show(application, &elsewhere()?.parse_remote(text)?);
        }
        (config, _) => config?,
    };
    let mut builder = Images::builder(config);
    if let ApoloCommand::Push { way, .. } | ApoloCommand::Pull { way, .. } = &arguments.command
        && !way.no_docker
    {
        builder = builder.engine(engine()?);
    }
    let registry = Registry::builder().tls(arguments.tls.options()?);
    let images = &application.apolo(builder, registry)?;
    let named = arguments.command.remote().map(str::to_owned);
    match perform(application, images, arguments.command).await {
        Err(error) if error.kind == ErrorKind::NotFound && error.hint.is_none() => {
            Err(missing::with_suggestion(images, error, named.as_deref()).await)
        }
        Err(error) if error.kind == ErrorKind::Unavailable && error.hint.is_none() => {
            Err(error.with_hint("APOLO_REGISTRY_URL and APOLO_CLUSTERS say where the registry is"))
        }
        done => done,
    }
}

/// Clusters to which no name of an image belongs; `.invalid` is reserved to be nobody's (RFC 2606).
fn elsewhere() -> Result<Clusters, CliError> {
    let clusters = Clusters::builder("none").cluster("none", "https://registry.invalid");
    Ok(clusters.build().map_err(ConfigError::from)?)
}

async fn perform(
    application: &Application,
    images: &Images,
    command: ApoloCommand,
) -> Result<(), CliError> {
    let clusters = images.clusters();
    match command {
        ApoloCommand::Push { local, remote, way } => {
            let remote = remote
                .map(|text| clusters.parse_remote(&text))
                .transpose()?;
            if way.no_docker {
                let remote = remote.ok_or_else(|| CliError::usage("REMOTE is missing"))?;
                return push_from(application, images, &local, &remote, &way).await;
            }
            push(application, images, &in_engine(&local)?, remote.as_ref()).await
        }
        ApoloCommand::Pull { remote, local, way } => {
            let remote = clusters.parse_remote(&remote)?;
            if way.no_docker {
                let local = local.ok_or_else(|| CliError::usage("LOCAL is missing"))?;
                return pull_into(application, images, &remote, &local, &way).await;
            }
            let local = local.as_deref().map(in_engine).transpose()?;
            pull(application, images, &remote, local.as_ref()).await
        }
        ApoloCommand::Ls { cluster } => {
            let found = images.list(cluster.as_deref()).await?;
            list(application, &found)
        }
        ApoloCommand::Tags { remote } => {
            let remote = clusters.parse_remote_without_tag(&remote)?.without_tag();
            list(application, &images.tags(&remote).await?)
        }
        ApoloCommand::Digest { remote } => digest(application, images, &remote).await,
        ApoloCommand::Size { remote, platform } => {
            size(application, images, &remote, platform.as_deref()).await
        }
        ApoloCommand::Rm {
            remote,
            digest,
            yes,
        } => remove(application, images, &remote, digest.as_deref(), yes).await,
        ApoloCommand::Parse { text } => show(application, &clusters.parse_remote(&text)?),
    }
}

impl ApoloCommand {
    /// The image of the platform that must be there.
    fn remote(&self) -> Option<&str> {
        match self {
            Self::Pull { remote, .. }
            | Self::Tags { remote }
            | Self::Digest { remote }
            | Self::Size { remote, .. }
            | Self::Rm { remote, .. } => Some(remote),
            Self::Push { .. } | Self::Ls { .. } | Self::Parse { .. } => None,
        }
    }
}

/// The Engine that `docker` would take; nothing is connected yet.
fn engine() -> Result<Engine, CliError> {
    let config = EngineConfig::from_environment().map_err(|error| of_engine_config(&error))?;
    Ok(Engine::new(config))
}

/// An image in the Engine. What names a place on disk could be one, too, and is hardly meant so.
fn in_engine(text: &str) -> Result<LocalImage, CliError> {
    let places = ["oci:", "oci-archive:", "docker-archive:"];
    if places.iter().any(|place| text.starts_with(place)) {
        return Err(
            CliError::usage(format!("`{}` is a place on disk", shown(text)))
                .with_hint("--no-docker moves an image from there or to there"),
        );
    }
    Ok(text.parse::<LocalImage>()?)
}

async fn push(
    application: &Application,
    images: &Images,
    local: &LocalImage,
    remote: Option<&RemoteImage>,
) -> Result<(), CliError> {
    let meter = application.progress.layers("push", local.to_string());
    let progress: Arc<dyn ImageProgress> = Arc::clone(&meter) as _;
    let pushing = Box::pin(images.push(local, remote, Some(progress)));
    let pushed = meter.watch(pushing).await?;
    moved(application, &pushed, &local.to_string(), None)
}

async fn pull(
    application: &Application,
    images: &Images,
    remote: &RemoteImage,
    local: Option<&LocalImage>,
) -> Result<(), CliError> {
    let meter = application.progress.layers("pull", remote.to_string());
    let progress: Arc<dyn ImageProgress> = Arc::clone(&meter) as _;
    let pulling = Box::pin(images.pull(remote, local, Some(progress)));
    let pulled = meter.watch(pulling).await?;
    moved(application, remote, &pulled.to_string(), None)
}

async fn push_from(
    application: &Application,
    images: &Images,
    place: &str,
    remote: &RemoteImage,
    way: &Way,
) -> Result<(), CliError> {
    let place = parse_place(place)?;
    let meter = application.progress.transfer("push", remote.to_string());
    let options = options(way)?.progress(meter.listener());
    let pushing = Box::pin(images.push_from(&place, remote, options, None));
    let report = meter.watch(pushing).await?;
    drop(meter);
    warn(application, &report);
    moved(application, remote, &place.to_string(), Some(&report))
}

async fn pull_into(
    application: &Application,
    images: &Images,
    remote: &RemoteImage,
    place: &str,
    way: &Way,
) -> Result<(), CliError> {
    let place = parse_place(place)?;
    let meter = application.progress.transfer("pull", place.to_string());
    let options = options(way)?.progress(meter.listener());
    let pulling = Box::pin(images.pull_into(remote, &place, options, None));
    let report = meter.watch(pulling).await?;
    drop(meter);
    warn(application, &report);
    moved(application, remote, &place.to_string(), Some(&report))
}

/// A place on disk; a name in a registry is none.
fn parse_place(text: &str) -> Result<Target, CliError> {
    let place = parse_local_target(text)?;
    if place.path().is_none() {
        return Err(
            CliError::usage(format!("`{}` is no place on disk", shown(text)))
                .with_hint("write it as oci:DIR[:TAG], oci-archive:FILE or docker-archive:FILE"),
        );
    }
    Ok(place)
}

fn options(way: &Way) -> Result<CopyOptions, CliError> {
    let platforms = way
        .platform
        .iter()
        .map(|text| parse_platform(text))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(CopyOptions::new().platforms(Platforms::only(platforms)))
}

/// Says what was moved.
fn moved(
    application: &Application,
    remote: &RemoteImage,
    local: &str,
    report: Option<&CopyReport>,
) -> Result<(), CliError> {
    let url = remote.as_docker_url(false);
    let mut object = json!({"image": remote.to_string(), "docker_url": url, "local": local});
    let mut rows = vec![
        ("image", remote.to_string()),
        ("docker url", url),
        ("local", local.to_owned()),
    ];
    if let (Some(report), Value::Object(members)) = (report, &mut object) {
        members.insert("digest".to_owned(), report.digest.to_string().into());
        members.insert("size".to_owned(), report.size.into());
        rows.push(("digest", report.digest.to_string()));
        rows.push(("size", human_size(report.size)));
    }
    application.output.object(&object, &rows)
}

async fn digest(application: &Application, images: &Images, text: &str) -> Result<(), CliError> {
    let remote = images.clusters().parse_remote(text)?;
    let digest = images.digest(&remote).await?.to_string();
    application.output.object(
        &json!({"image": remote.to_string(), "digest": digest}),
        &[("image", remote.to_string()), ("digest", digest.clone())],
    )
}

async fn size(
    application: &Application,
    images: &Images,
    text: &str,
    platform: Option<&str>,
) -> Result<(), CliError> {
    let remote = images.clusters().parse_remote(text)?;
    let size = match platform.map(parse_platform).transpose()? {
        Some(platform) => images.size_for(&remote, &platform).await?,
        None => images.size(&remote).await?,
    };
    application.output.object(
        &json!({"image": remote.to_string(), "size": size}),
        &[("image", remote.to_string()), ("size", human_size(size))],
    )
}

async fn remove(
    application: &Application,
    images: &Images,
    text: &str,
    digest: Option<&str>,
    yes: bool,
) -> Result<(), CliError> {
    let clusters = images.clusters();
    let remote = clusters.parse_remote(text)?;
    let digest: Digest = match digest {
        Some(digest) => digest.parse().map_err(|error| {
            let failure = CliError::from_chain(ErrorKind::Usage, &error);
            failure.with_context(&format!("`{}`", printable(digest)))
        })?,
        // Here `latest` is not meant unless it is written.
        None if clusters
            .parse_remote_without_tag(text)
            .is_ok_and(|image| image.tag.is_none()) =>
        {
            return Err(CliError::usage(format!("`{}` has no tag", shown(text)))
                .with_hint("say what is to be deleted: a tag, or a digest behind the name"));
        }
        None => images.digest(&remote).await?,
    };
    let all_tags = remote.without_tag();
    let what = format!("{all_tags}@{digest} and every tag that leads to it");
    agree(yes, &what, 1)?;
    images.rm(&all_tags, &digest).await?;
    let deleted = format!("{all_tags}@{digest}");
    application.output.object(
        &json!({"deleted": deleted}),
        &[("deleted", deleted.clone())],
    )
}

/// The parts of an image's name.
fn parts(image: &RemoteImage) -> Value {
    json!({
        "name": image.name,
        "tag": image.tag,
        "registry": image.registry,
        "cluster": image.cluster_name(),
        "org": image.org_name(),
        "project": image.project_name(),
        "docker_url": image.as_docker_url(false),
    })
}

fn show(application: &Application, image: &RemoteImage) -> Result<(), CliError> {
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    application.output.object(
        &parts(image),
        &[
            ("name", image.name.clone()),
            ("tag", text(image.tag.as_deref())),
            ("registry", text(image.registry.as_deref())),
            ("cluster", text(image.cluster_name())),
            ("org", text(image.org_name())),
            ("project", text(image.project_name())),
            ("docker url", image.as_docker_url(false)),
        ],
    )
}

/// A name a line for a person, the parts of each for a program.
fn list(application: &Application, images: &[RemoteImage]) -> Result<(), CliError> {
    let output: Output = application.output;
    output.value(&images.iter().map(parts).collect::<Vec<_>>(), || {
        Ok(images.iter().fold(String::new(), |text, image| {
            text + &printable(&image.to_string()) + "\n"
        }))
    })
}
