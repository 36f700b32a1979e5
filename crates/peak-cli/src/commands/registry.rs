//! `peak registry`: manifests and images in any OCI or Docker registry.

use clap::{Args, Subcommand};
use peak_sdk::oci::{
    Digest, Manifest, MediaType, MediaTypeError, Platform, PlatformError, Raw, Reference, Selector,
};
use peak_sdk::registry::{Registry, Repository};
use peak_sdk::transfer::Target;
use serde_json::{Value, json};

use crate::application::{Application, registry_beside};
use crate::commands::transfer::Destination;
use crate::error::{CliError, ErrorKind};
use crate::output::{Output, human_size, write_json, write_out};

#[derive(Debug, Args)]
pub(crate) struct RegistryArguments {
    /// Registry to speak plain HTTP to, as `host[:port]`; may be repeated. Loopback needs no such mark
    #[arg(long, global = true, value_name = "HOST")]
    insecure: Vec<String>,
    #[command(subcommand)]
    command: RegistryCommand,
}

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Example:
  peak registry digest 127.0.0.1:7325/hello-web:0.0.1")]
enum RegistryCommand {
    /// Read the manifests of images
    #[command(subcommand)]
    Manifest(ManifestCommand),
    /// Print the digest that each reference stands for
    #[command(after_help = "\
Example:
  peak registry digest 127.0.0.1:7325/hello-web:0.0.1")]
    Digest {
        /// References of images
        #[arg(value_name = "REF", required = true)]
        references: Vec<String>,
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
    /// Copy an image into a layout on disk, every blob checked
    #[command(after_help = "\
Example:
  peak registry pull 127.0.0.1:7325/hello-web:0.0.1 oci:target/hello-web")]
    Pull {
        /// Reference of the image
        #[arg(value_name = "SRC")]
        source: String,
        /// Where to: `oci:DIR[:TAG]`; a bare path means `oci:`
        #[arg(value_name = "DST")]
        destination: String,
    },
}

#[derive(Debug, Subcommand)]
enum ManifestCommand {
    /// Print a manifest
    #[command(after_help = "\
Example:
  peak registry manifest get 127.0.0.1:7325/hello-web:0.0.1")]
    Get {
        /// Reference of the image
        #[arg(value_name = "REF")]
        reference: String,
        /// Print the very bytes that the registry sent
        #[arg(long)]
        raw: bool,
        /// Accept this media type alone
        #[arg(long, value_name = "TYPE")]
        media_type: Option<String>,
        /// Of an index, print the manifest for this platform (os/arch[/variant])
        #[arg(long, value_name = "PLATFORM", conflicts_with = "media_type")]
        platform: Option<String>,
    },
}

pub(crate) async fn run(
    application: &Application,
    arguments: RegistryArguments,
) -> Result<(), CliError> {
    let registry = |reference: &Reference| {
        let mut builder = Registry::builder();
        for host in &arguments.insecure {
            builder = builder.insecure(host);
        }
        match application.session() {
            Ok(session) => registry_beside(&session, reference.registry(), builder),
            // Without a platform there is none beside which the registry could stand.
            Err(_) => Ok(builder.build()?),
        }
    };
    match arguments.command {
        RegistryCommand::Manifest(ManifestCommand::Get {
            reference,
            raw,
            media_type,
            platform,
        }) => {
            let reference = parse_reference(&reference)?;
            let platform = platform.map(|text| parse_platform(&text)).transpose()?;
            let repository = registry(&reference)?.repository(&reference);
            let selector = reference.selector_or_latest();
            let manifest = match media_type {
                Some(media_type) => {
                    repository
                        .get_manifest_as(&selector, &parse_media_type(&media_type)?)
                        .await?
                }
                None => repository.get_manifest(&selector).await?,
            };
            let manifest = match platform {
                Some(platform) => of_platform(&repository, manifest, &platform).await?,
                None => manifest,
            };
            if raw {
                write_out(manifest.bytes())
            } else {
                show_manifest(&manifest)
            }
        }
        RegistryCommand::Digest { references } => {
            let references = references
                .iter()
                .map(|text| parse_reference(text))
                .collect::<Result<Vec<_>, _>>()?;
            let mut found = Vec::new();
            for reference in &references {
                let repository = registry(reference)?.repository(reference);
                let selector = reference.selector_or_latest();
                found.push((reference, repository.get_manifest_digest(&selector).await?));
            }
            show_digests(application.asked_output, &found)
        }
        RegistryCommand::Parse { reference } => {
            show_reference(application.output, &parse_reference(&reference)?)
        }
        RegistryCommand::Pull {
            source,
            destination,
        } => {
            let reference = parse_reference(source.strip_prefix("docker://").unwrap_or(&source))?;
            let destination = Destination::open(parse_local_target(&destination)?)?;
            let source = registry(&reference)?.repository(&reference);
            let report = destination
                .receive(application, &source, &reference.selector_or_latest())
                .await?;
            application.output.object(
                &json!({
                    "destination": destination.name(),
                    "digest": report.digest.to_string(),
                    "mediaType": report.media_type.to_string(),
                    "size": report.size,
                    "blobsCopied": report.blobs_copied,
                    "blobsSkipped": report.blobs_skipped,
                }),
                &[
                    ("destination", destination.name()),
                    ("digest", report.digest.to_string()),
                    ("size", human_size(report.size)),
                    (
                        "blobs",
                        format!(
                            "{} copied, {} there already",
                            report.blobs_copied, report.blobs_skipped
                        ),
                    ),
                ],
            )
        }
    }
}

/// Reads a reference that stands on the command line.
pub(crate) fn parse_reference(text: &str) -> Result<Reference, CliError> {
    Reference::parse(text).map_err(|error| {
        CliError::from_chain(ErrorKind::Usage, &error)
            .with_hint("write it as [registry/]repository[:tag][@digest]")
    })
}

/// Reads the name of a place on disk; a bare path means `oci:`. With a colon in it, a bare path could also be meant
/// as some transport or as a tag, so it has to say which.
fn parse_local_target(text: &str) -> Result<Target, CliError> {
    let transports = [
        "oci:",
        "oci-archive:",
        "docker-archive:",
        "docker-daemon:",
        "docker://",
    ];
    if transports
        .iter()
        .any(|transport| text.starts_with(transport))
    {
        return Ok(text.parse()?);
    }
    if text.contains(':') {
        return Err(
            CliError::usage(format!("`{text}` is no place on disk that is known"))
                .with_hint("write it as oci:DIR or oci:DIR:TAG"),
        );
    }
    Ok(format!("oci:{text}").parse()?)
}

fn parse_media_type(text: &str) -> Result<MediaType, CliError> {
    text.parse()
        .map_err(|error: MediaTypeError| CliError::from_chain(ErrorKind::Usage, &error))
}

fn parse_platform(text: &str) -> Result<Platform, CliError> {
    text.parse()
        .map_err(|error: PlatformError| CliError::from_chain(ErrorKind::Usage, &error))
}

fn show_reference(output: Output, reference: &Reference) -> Result<(), CliError> {
    let tag = reference.tag().map(ToString::to_string);
    let digest = reference.digest().map(ToString::to_string);
    let parts = json!({
        "registry": reference.registry(),
        "repository": reference.repository().as_str(),
        "tag": tag,
        "digest": digest,
        "familiar": reference.familiar(),
        "canonical": reference.canonical(),
    });
    output.object(
        &parts,
        &[
            ("registry", reference.registry().to_owned()),
            ("repository", reference.repository().to_string()),
            ("tag", tag.unwrap_or_default()),
            ("digest", digest.unwrap_or_default()),
            ("familiar", reference.familiar()),
            ("canonical", reference.canonical()),
        ],
    )
}

/// A digest a line, as scripts want it, unless JSON was asked for.
fn show_digests(asked: Option<Output>, found: &[(&Reference, Digest)]) -> Result<(), CliError> {
    if asked == Some(Output::Json) {
        let objects: Vec<_> = found
            .iter()
            .map(|(reference, digest)| {
                json!({"reference": reference.to_string(), "digest": digest.to_string()})
            })
            .collect();
        return write_json(&objects);
    }
    let lines = found.iter().map(|(_, digest)| format!("{digest}\n"));
    write_out(lines.collect::<String>())
}

/// A manifest is JSON whatever the output; for reading it is indented.
fn show_manifest(manifest: &Raw<Manifest>) -> Result<(), CliError> {
    let value: Value = serde_json::from_slice(manifest.bytes())
        .map_err(|error| CliError::other(format!("the manifest cannot be shown: {error}")))?;
    write_json(&value)
}

/// The manifest of an index that is for the platform.
async fn of_platform(
    repository: &Repository,
    manifest: Raw<Manifest>,
    platform: &Platform,
) -> Result<Raw<Manifest>, CliError> {
    let Some(index) = manifest.value().as_index() else {
        return Ok(manifest);
    };
    let found = index.best_match(platform);
    if let Some(child) = found {
        return Ok(repository
            .get_manifest(&Selector::Digest(child.digest.clone()))
            .await?);
    }
    let known: Vec<_> = index.platforms().map(ToString::to_string).collect();
    Err(CliError::new(
        ErrorKind::NotFound,
        format!("the index has no manifest for {platform}"),
    )
    .with_hint(format!("it has {}", known.join(", "))))
}
