//! `peak registry`: manifests and images in any OCI or Docker registry.

mod blob;
mod copy;
mod delete;
mod here;
mod index;
mod inspect;
mod lists;
mod login;
mod manifest;
mod mirror;
mod missing;
mod names;
mod opened;
mod parse;

use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use peak_sdk::http::TlsOptions;
use peak_sdk::registry::Registry;

use self::copy::Ends;
pub(crate) use self::names::{
    check_host, parse_destination, parse_local_target, parse_platform, parse_reference,
};
use crate::application::{Application, tls_of_environment};
use crate::error::{CliError, ErrorKind};
use crate::refused;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  peak registry tags 127.0.0.1:7325/hello-web
  peak registry inspect ubuntu:24.04
  peak registry copy 127.0.0.1:7325/hello-web:0.0.1 oci:target/hello-web
  peak registry login registry.example --username robot")]
pub(crate) struct RegistryArguments {
    /// Registry to speak plain HTTP to, or TLS with whatever certificate it shows, as `host[:port]`: that host and port
    /// alone; may be repeated. Loopback needs no such mark for plain HTTP
    #[arg(long, global = true, value_name = "HOST", help_heading = CONNECTION_HEADING)]
    insecure: Vec<String>,
    /// Send a registry at most so many requests a second [default: no limit]
    #[arg(long, global = true, value_name = "N", value_parser = parse_rate, allow_negative_numbers = true, help_heading = CONNECTION_HEADING)]
    requests_per_second: Option<NonZeroU32>,
    #[command(flatten)]
    tls: TlsArguments,
    #[command(subcommand)]
    command: RegistryCommand,
}

/// Over the options that say how registries are spoken to.
pub(crate) const CONNECTION_HEADING: &str = "Connection";

/// Whom to trust, and who we are, where the registry asks for it.
#[derive(Debug, Args)]
#[command(next_help_heading = CONNECTION_HEADING)]
pub(crate) struct TlsArguments {
    /// PEM file with certificates to trust beside the system's [default: `PEAK_CA_FILE`]
    #[arg(long, global = true, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// PEM file with our certificate, for registries that ask for one
    #[arg(long, global = true, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// PEM file with the key of our certificate
    #[arg(long, global = true, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
}

impl TlsArguments {
    pub(crate) fn options(&self) -> Result<TlsOptions, CliError> {
        self.options_or(tls_of_environment)
    }

    /// Whether the system and the environment are not all that says whom to trust.
    pub(crate) fn names_a_ca(&self) -> bool {
        self.ca_file.is_some()
    }

    /// As [`options`](Self::options), with something else in place of what the environment says.
    pub(crate) fn options_or(
        &self,
        environment: impl FnOnce() -> Result<TlsOptions, CliError>,
    ) -> Result<TlsOptions, CliError> {
        let wrong = |error: peak_sdk::http::Error| CliError::from_chain(ErrorKind::Usage, &error);
        let mut options = match &self.ca_file {
            Some(file) => TlsOptions::new()
                .with_root_certificates_file(file)
                .map_err(wrong)?,
            None => environment()?,
        };
        if let (Some(certificate), Some(key)) = (&self.cert, &self.key) {
            options = options
                .with_client_certificate_files(certificate, key)
                .map_err(wrong)?;
        }
        Ok(options)
    }
}

fn parse_rate(text: &str) -> Result<NonZeroU32, String> {
    text.parse()
        .map_err(|_| "write a number from 1 on".to_owned())
}

/// How many blobs are moved at once.
pub(super) fn parse_concurrency(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(count @ 1..=64) => Ok(count),
        _ => Err("write a number from 1 to 64".to_owned()),
    }
}

impl RegistryArguments {
    /// Whether the command takes notice of signals itself, as it has something to say when it is interrupted.
    pub(crate) fn is_ended_by_itself(&self) -> bool {
        matches!(self.command, RegistryCommand::Mirror(_))
    }

    /// Whether `--output` may name a file.
    pub(crate) fn writes_a_file(&self) -> bool {
        matches!(
            self.command,
            RegistryCommand::Blob(blob::BlobCommand::Get { .. })
        )
    }
}

#[derive(Debug, Subcommand)]
enum RegistryCommand {
    /// Read, send and delete manifests
    #[command(subcommand)]
    Manifest(manifest::ManifestCommand),
    /// Check credentials with a registry and keep them
    Login(login::LoginArguments),
    /// Remove the credentials of a registry
    #[command(after_help = "\
Example:
  peak registry logout registry.example")]
    Logout {
        /// The registry, as `host[:port]`
        #[arg(value_name = "HOST")]
        host: String,
    },
    /// Where credentials come from
    #[command(subcommand)]
    Auth(login::AuthCommand),
    /// Show all that an image consists of: platforms, configs, layers with their sizes and what made them
    #[command(after_help = "\
Examples:
  peak registry inspect 127.0.0.1:7325/hello-web:0.0.1
  peak registry inspect ubuntu:24.04 --output json
  peak registry inspect oci:target/hello-web")]
    Inspect {
        /// Reference of the image, or a place on this machine: `oci:DIR[:TAG]`, `oci-archive:FILE[:TAG]`,
        /// `docker-archive:FILE[:REFERENCE]`, `docker-daemon:NAME:TAG`
        #[arg(value_name = "REF")]
        reference: String,
    },
    /// Make, merge and cut down indexes
    #[command(subcommand)]
    Index(index::IndexCommand),
    /// Read and send blobs
    #[command(subcommand)]
    Blob(blob::BlobCommand),
    /// Print the digest that each reference stands for
    #[command(after_help = "\
Example:
  peak registry digest 127.0.0.1:7325/hello-web:0.0.1")]
    Digest {
        /// References of images, or places on this machine: `oci:DIR[:TAG]`, `oci-archive:FILE[:TAG]`,
        /// `docker-archive:FILE[:REFERENCE]`, `docker-daemon:NAME:TAG`
        #[arg(value_name = "REF", required = true)]
        references: Vec<String>,
    },
    /// Print the config of an image: its environment, command, labels and history
    #[command(after_help = "\
Examples:
  peak registry config ubuntu:24.04 --platform linux/arm64
  peak registry config docker-archive:hello.tar --raw")]
    Config {
        /// Reference of the image, or a place on disk: `oci:DIR[:TAG]`, `oci-archive:FILE[:TAG]`,
        /// `docker-archive:FILE[:REFERENCE]`
        #[arg(value_name = "REF")]
        reference: String,
        /// Print the very bytes that are there
        #[arg(long)]
        raw: bool,
        /// Of an index, for this platform (os/arch[/variant]) [default: this machine's]
        #[arg(long, value_name = "PLATFORM")]
        platform: Option<String>,
    },
    /// List the tags of a repository, or of a place on disk
    #[command(after_help = "\
Examples:
  peak registry tags 127.0.0.1:7325/hello-web
  peak registry tags oci:target/hello-web")]
    Tags {
        /// The repository, or a place on disk: `oci:DIR`, `oci-archive:FILE`, `docker-archive:FILE` (whose images have
        /// whole names)
        #[arg(value_name = "REPO")]
        repository: String,
    },
    /// List the repositories of a registry; many do not tell
    #[command(after_help = "\
Example:
  peak registry catalog 127.0.0.1:7325")]
    Catalog {
        /// The registry, as `host[:port]`
        #[arg(value_name = "HOST")]
        host: String,
    },
    /// List what refers to an image: signatures, attestations and the like
    #[command(after_help = "\
Example:
  peak registry referrers 127.0.0.1:7325/hello-web:0.0.1")]
    Referrers {
        /// Reference of the image
        #[arg(value_name = "REF")]
        reference: String,
        /// Only of this artifact type
        #[arg(long, value_name = "TYPE")]
        artifact_type: Option<String>,
    },
    /// Delete a tag, or with a digest the manifest and every tag that leads to it
    #[command(after_help = "\
Example:
  peak registry delete 127.0.0.1:7325/hello-web:0.0.1 --yes")]
    Delete {
        /// Reference of the image
        #[arg(value_name = "REF")]
        reference: String,
        /// Where the registry cannot delete just a tag, make it lead to an empty image first and delete that
        #[arg(long)]
        replace: bool,
        /// Delete without asking
        #[arg(long, short = 'y')]
        yes: bool,
    },
    /// Take a reference apart: registry, repository, tag, digest, familiar and canonical form
    #[command(after_help = "\
Example:
  peak registry parse ubuntu:24.04 --output json")]
    Parse {
        /// Reference of an image
        #[arg(value_name = "REF")]
        reference: String,
    },
    /// Copy an image into a layout, an archive or the Docker Engine, every blob checked
    #[command(after_help = "\
Examples:
  peak registry pull 127.0.0.1:7325/hello-web:0.0.1 oci:target/hello-web
  peak registry pull 127.0.0.1:7325/hello-web:0.0.1 docker-archive:hello.tar:hello-web:0.0.1
  peak registry pull 127.0.0.1:7325/hello-web:0.0.1 docker-daemon:hello-web:0.0.1
  peak registry pull oci:target/hello-web oci-archive:hello-web.tar")]
    Pull {
        /// Reference of the image, or a place on this machine: `oci:DIR[:TAG]`, `oci-archive:FILE[:TAG]`,
        /// `docker-archive:FILE[:REFERENCE]`, `docker-daemon:NAME:TAG`
        #[arg(value_name = "SRC")]
        source: String,
        /// Where to: `oci:DIR[:TAG]`, `oci-archive:FILE[:TAG]`, `docker-archive:FILE[:REFERENCE]` or
        /// `docker-daemon:NAME:TAG`; a bare path means `oci:`
        #[arg(value_name = "DST")]
        destination: String,
        #[command(flatten)]
        how: copy::HowToCopy,
    },
    /// Copy an image from a layout, an archive or the Docker Engine into a registry, tag last
    #[command(after_help = "\
Examples:
  peak registry push oci:target/hello-web 127.0.0.1:7325/hello-web:0.0.2
  peak registry push docker-archive:app.tar registry.example/team/app:1.0
  peak registry push docker-daemon:app:1.0 registry.example/team/app:1.0")]
    Push {
        /// Where from: `oci:DIR[:TAG or @DIGEST]`, `oci-archive:FILE[:TAG]`, `docker-archive:FILE[:REFERENCE]` or
        /// `docker-daemon:NAME:TAG`; a bare path means `oci:`
        #[arg(value_name = "SRC")]
        source: String,
        /// Reference that the image gets
        #[arg(value_name = "DST")]
        destination: String,
        #[command(flatten)]
        how: copy::HowToCopy,
    },
    /// Copy images from anywhere to anywhere, unchanged
    #[command(after_help = "\
Places are written as REGISTRY/REPOSITORY[:TAG], docker://REPOSITORY[:TAG], oci:DIR[:TAG],
oci-archive:FILE[:TAG], docker-archive:FILE[:REFERENCE] or docker-daemon:NAME:TAG (an image of the
Docker Engine that the docker command uses).

Examples:
  peak registry copy 127.0.0.1:7325/hello-web:0.0.1 127.0.0.1:7325/team/hello-web:stable
  peak registry copy quay.io/team/app registry.example/team/app --all-tags --referrers --dry-run
  peak registry copy ubuntu:24.04 registry.example/ubuntu:24.04 --platform linux/amd64,linux/arm64")]
    Copy {
        /// Where from: any of the places below
        #[arg(value_name = "SRC")]
        source: String,
        /// Where to: any of the places below
        #[arg(value_name = "DST")]
        destination: String,
        #[command(flatten)]
        how: copy::HowToCopy,
    },
    /// Keep repositories the same as others, by a plan: does only what changed
    Mirror(mirror::MirrorArguments),
}

impl RegistryCommand {
    /// What is read, as it is written, where that may also be a place on this machine.
    fn sources(&self) -> Vec<String> {
        match self {
            Self::Inspect { reference } | Self::Config { reference, .. } => vec![reference.clone()],
            Self::Digest { references } => references.clone(),
            Self::Tags { repository } => vec![repository.clone()],
            Self::Pull { source, .. } | Self::Copy { source, .. } => vec![source.clone()],
            _ => Vec::new(),
        }
    }
}

pub(crate) async fn run(
    application: &Application,
    arguments: RegistryArguments,
) -> Result<(), CliError> {
    let mut builder = Registry::builder().tls(arguments.tls.options()?);
    for host in &arguments.insecure {
        check_host(host)?;
        builder = builder.insecure(host);
    }
    if let Some(count) = arguments.requests_per_second {
        builder = builder.requests_per_second(count);
    }
    let registry = &application.registry(builder)?;
    let sources = arguments.command.sources();
    let Err(error) = command(application, registry, arguments.command).await else {
        return Ok(());
    };
    let error = missing::with_suggestion(registry, error).await;
    let error = refused::with_account(registry, error).await;
    Err(here::with_place(&sources, with_pace(error)))
}

/// Puts behind the error of a registry that wants fewer requests what these commands have against it.
fn with_pace(error: CliError) -> CliError {
    match error.status {
        Some(429) => error.with_more_hint("--requests-per-second N asks more slowly"),
        _ => error,
    }
}

async fn command(
    application: &Application,
    registry: &Registry,
    command: RegistryCommand,
) -> Result<(), CliError> {
    match command {
        RegistryCommand::Manifest(command) => manifest::run(application, registry, command).await,
        RegistryCommand::Login(arguments) => login::login(application, registry, arguments).await,
        RegistryCommand::Logout { host } => login::logout(application, registry, &host).await,
        RegistryCommand::Auth(command) => login::auth(application, registry, command).await,
        RegistryCommand::Inspect { reference } => {
            inspect::inspect(application, registry, &reference).await
        }
        RegistryCommand::Index(command) => index::run(application, registry, command).await,
        RegistryCommand::Blob(command) => blob::run(application, registry, command).await,
        RegistryCommand::Digest { references } => {
            manifest::digests(application, registry, &references).await
        }
        RegistryCommand::Config {
            reference,
            raw,
            platform,
        } => manifest::config(registry, &reference, platform.as_deref(), raw).await,
        RegistryCommand::Tags { repository } => {
            lists::tags(application, registry, &repository).await
        }
        RegistryCommand::Catalog { host } => lists::catalog(application, registry, &host).await,
        RegistryCommand::Referrers {
            reference,
            artifact_type,
        } => lists::referrers(application, registry, &reference, artifact_type.as_deref()).await,
        RegistryCommand::Delete {
            reference,
            replace,
            yes,
        } => delete::delete(application, registry, &reference, replace, yes).await,
        RegistryCommand::Parse { reference } => {
            parse::show(application.output, &parse_reference(&reference)?)
        }
        RegistryCommand::Pull {
            source,
            destination,
            how,
        } => {
            Box::pin(copy::run(
                application,
                registry,
                Ends::Pull,
                &source,
                &destination,
                &how,
            ))
            .await
        }
        RegistryCommand::Push {
            source,
            destination,
            how,
        } => {
            Box::pin(copy::run(
                application,
                registry,
                Ends::Push,
                &source,
                &destination,
                &how,
            ))
            .await
        }
        RegistryCommand::Copy {
            source,
            destination,
            how,
        } => {
            Box::pin(copy::run(
                application,
                registry,
                Ends::Any,
                &source,
                &destination,
                &how,
            ))
            .await
        }
        RegistryCommand::Mirror(arguments) => {
            Box::pin(mirror::run(application, registry, arguments)).await
        }
    }
}
