//! What can be written behind `peak apolo`, and what its help says.

use clap::{Args, Subcommand};

use crate::commands::registry::TlsArguments;

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
    pub(super) tls: TlsArguments,
    #[command(subcommand)]
    pub(super) command: ApoloCommand,
}

/// How an image moves.
#[derive(Debug, Args)]
pub(super) struct HowToMove {
    /// Move it straight between the registry and a place on disk, with no Docker Engine. LOCAL is then
    /// `oci:DIR[:TAG]`, `oci-archive:FILE[:TAG]` or `docker-archive:FILE[:REFERENCE]`
    #[arg(long)]
    pub(super) no_docker: bool,
    /// With --no-docker: of an image for several platforms, take only this one (os/arch[/variant]). May be repeated or
    /// comma-separated [default: all]
    #[arg(
        long,
        value_name = "PLATFORM",
        value_delimiter = ',',
        requires = "no_docker"
    )]
    pub(super) platform: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum ApoloCommand {
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
        how: HowToMove,
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
        how: HowToMove,
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

impl ApoloCommand {
    /// The image of the platform that must be there.
    pub(super) fn remote(&self) -> Option<&str> {
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
