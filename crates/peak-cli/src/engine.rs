//! The Docker Engine as a builder of the embedded platform, for what that one does not build itself.

mod builder;
mod pulled;
mod said;
mod steps;

use std::sync::Arc;

use clap::{Args, ValueEnum};
use peak_sdk::local::{EngineUse, PlatformBuilder};

use self::builder::DockerBuilder;

/// Whether builds of the embedded platform may use a Docker Engine.
#[derive(Debug, Args)]
pub(crate) struct DockerOptions {
    /// Which builds of the embedded platform a Docker Engine does [default: auto]
    #[arg(
        long,
        value_enum,
        value_name = "WHEN",
        env = "PEAK_LOCAL_DOCKER",
        hide_env_values = true
    )]
    docker: Option<DockerUse>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum DockerUse {
    #[default]
    /// Those with RUN and other things that the embedded builder does not do
    Auto,
    /// None: they fail
    Never,
    /// All
    Always,
}

impl DockerOptions {
    pub(crate) fn apply(&self, builder: PlatformBuilder) -> PlatformBuilder {
        let when = match self.docker.unwrap_or_default() {
            DockerUse::Never => return builder,
            DockerUse::Auto => EngineUse::Auto,
            DockerUse::Always => EngineUse::Always,
        };
        builder.engine(Arc::new(DockerBuilder::default()), when)
    }
}
