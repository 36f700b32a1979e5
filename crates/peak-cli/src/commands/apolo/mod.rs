//! `peak apolo`: images of the Apolo platform.

mod arguments;
mod error;
mod missing;
mod push_pull;
mod rm;
mod show;

use peak_sdk::apolo::{Clusters, Config, ConfigError, Images};
use peak_sdk::docker::{Engine, EngineConfig};
use peak_sdk::registry::Registry;

pub(crate) use self::arguments::ApoloArguments;

use self::arguments::ApoloCommand;
use self::error::of_engine_config;
use crate::application::Application;
use crate::error::{CliError, ErrorKind};

/// What the names of the platform's images begin with.
const SCHEME: &str = "image:";

pub(crate) async fn run(
    application: &Application,
    arguments: ApoloArguments,
) -> Result<(), CliError> {
    let config = match (Config::from_environment(), &arguments.command) {
        // What another registry has is named the same, whatever the platform is.
        (Err(_), ApoloCommand::Parse { text }) if !text.starts_with(SCHEME) => {
            return show::name(application, &elsewhere()?.parse_remote(text)?);
        }
        (config, _) => config?,
    };
    let mut builder = Images::builder(config);
    if let ApoloCommand::Push { how, .. } | ApoloCommand::Pull { how, .. } = &arguments.command
        && !how.no_docker
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

/// The Engine that `docker` would take; nothing is connected yet.
fn engine() -> Result<Engine, CliError> {
    let config = EngineConfig::from_environment().map_err(|error| of_engine_config(&error))?;
    Ok(Engine::new(config))
}

async fn perform(
    application: &Application,
    images: &Images,
    command: ApoloCommand,
) -> Result<(), CliError> {
    match command {
        ApoloCommand::Push { local, remote, how } => {
            push_pull::push(application, images, &local, remote.as_deref(), &how).await
        }
        ApoloCommand::Pull { remote, local, how } => {
            push_pull::pull(application, images, &remote, local.as_deref(), &how).await
        }
        ApoloCommand::Ls { cluster } => show::images(application, images, cluster.as_deref()).await,
        ApoloCommand::Tags { remote } => show::tags(application, images, &remote).await,
        ApoloCommand::Digest { remote } => show::digest(application, images, &remote).await,
        ApoloCommand::Size { remote, platform } => {
            show::size(application, images, &remote, platform.as_deref()).await
        }
        ApoloCommand::Rm {
            remote,
            digest,
            yes,
        } => rm::remove(application, images, &remote, digest.as_deref(), yes).await,
        ApoloCommand::Parse { text } => {
            show::name(application, &images.clusters().parse_remote(&text)?)
        }
    }
}
