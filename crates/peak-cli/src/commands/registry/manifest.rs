//! `peak registry manifest`, `digest` and `config`: manifests as they are, and what they say.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use peak_sdk::oci::{
    Digest, ImageConfig, MAX_MANIFEST_SIZE, Manifest, MediaType, Platform, Raw, Reference,
    Selector, Source, read_verified,
};
use peak_sdk::registry::Registry;
use peak_sdk::transfer::Target;
use serde_json::{Value, json};

use super::names::{parse_media_type, parse_platform, parse_reference, parse_source};
use super::opened::Opened;
use crate::application::Application;
use crate::error::{CliError, ErrorKind};
use crate::output::{Output, write_json, write_out};
use crate::service::agree;

/// Largest config that is shown, in bytes.
const CONFIG_LIMIT: u64 = 16 * 1024 * 1024;

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  peak registry manifest get 127.0.0.1:7325/hello-web:0.0.1
  peak registry manifest put 127.0.0.1:7325/hello-web:copy manifest.json")]
pub(crate) enum ManifestCommand {
    /// Print a manifest
    #[command(after_help = "\
Examples:
  peak registry manifest get 127.0.0.1:7325/hello-web:0.0.1
  peak registry manifest get ubuntu:24.04 --platform linux/arm64 --raw
  peak registry manifest get oci:target/hello-web")]
    Get {
        /// Reference of the image, or a place on disk: `oci:DIR[:TAG]`, `oci-archive:FILE[:TAG]`,
        /// `docker-archive:FILE[:REFERENCE]`
        #[arg(value_name = "REF")]
        reference: String,
        /// Print the very bytes that are there
        #[arg(long)]
        raw: bool,
        /// Accept this media type alone; of a registry only
        #[arg(long, value_name = "TYPE")]
        media_type: Option<String>,
        /// Of an index, print the manifest for this platform (os/arch[/variant])
        #[arg(long, value_name = "PLATFORM", conflicts_with = "media_type")]
        platform: Option<String>,
    },
    /// Send a manifest, its bytes unchanged; what it points to has to be there
    #[command(after_help = "\
Examples:
  peak registry manifest put 127.0.0.1:7325/hello-web:copy manifest.json
  peak registry manifest get hello:1 --raw | peak registry manifest put hello:2 -")]
    Put {
        /// Where to, with a tag, or with the manifest's digest
        #[arg(value_name = "REF")]
        reference: String,
        /// The manifest; `-` is standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Its media type, where the manifest itself does not say it
        #[arg(long, value_name = "TYPE")]
        media_type: Option<String>,
    },
    /// Delete a manifest, given by its digest, with every tag that leads to it
    #[command(after_help = "\
Example:
  peak registry manifest delete 127.0.0.1:7325/hello-web@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 --yes")]
    Delete {
        /// Reference with a digest
        #[arg(value_name = "REF")]
        reference: String,
        /// Delete without asking
        #[arg(long, short = 'y')]
        yes: bool,
    },
}

pub(crate) async fn run(
    application: &Application,
    registry: &Registry,
    command: ManifestCommand,
) -> Result<(), CliError> {
    match command {
        ManifestCommand::Get {
            reference,
            raw,
            media_type,
            platform,
        } => {
            let platform = platform.map(|text| parse_platform(&text)).transpose()?;
            let manifest = if let Some(media_type) = media_type {
                let media_type = parse_media_type(&media_type)?;
                let Target::Registry(reference) = parse_source(&reference)? else {
                    return Err(CliError::usage(
                        "--media-type is asked of a registry; a place on disk has a manifest in one form",
                    )
                    .with_hint("leave out --media-type"));
                };
                let repository = registry.repository(&reference);
                repository
                    .get_manifest_as(&reference.selector_or_latest(), &media_type)
                    .await?
            } else {
                let image = Opened::open(registry, &reference)?;
                let manifest = image.manifest().await?;
                match platform {
                    Some(platform) => {
                        let source = image.source.as_ref();
                        let manifest = of_platform(source, manifest, &platform).await?;
                        is_for(source, &manifest, &platform).await?;
                        manifest
                    }
                    None => manifest,
                }
            };
            if raw {
                write_out(manifest.bytes())
            } else {
                show_document(manifest.bytes())
            }
        }
        ManifestCommand::Put {
            reference,
            file,
            media_type,
        } => {
            let reference = parse_reference(&reference)?;
            let content_type = media_type.map(|text| parse_media_type(&text)).transpose()?;
            let content_type = content_type.as_ref().map(MediaType::as_str);
            let manifest =
                Manifest::parse(read_input(&file)?.into(), content_type).map_err(|error| {
                    CliError::from_chain(ErrorKind::Usage, &error)
                        .with_context(&format!("`{}` is no manifest", file.display()))
                        .with_hint("`peak registry manifest get --raw` prints one as it has to be")
                })?;
            put(application, registry, &reference, &manifest).await
        }
        ManifestCommand::Delete { reference, yes } => {
            let reference = parse_reference(&reference)?;
            let Some(digest) = reference.digest() else {
                return Err(
                    CliError::usage(format!("`{reference}` has no digest")).with_hint(
                        "`peak registry digest` says it; `peak registry delete` takes a tag",
                    ),
                );
            };
            // How many tags lead to it nobody knows before; it may be more than one.
            agree(
                yes,
                &format!("{reference} and every tag that leads to it"),
                2,
            )?;
            registry
                .repository(&reference)
                .delete_manifest(digest)
                .await?;
            application.output.object(
                &json!({"deleted": digest.to_string()}),
                &[("deleted", digest.to_string())],
            )
        }
    }
}

/// Sends a manifest and says where it is.
pub(crate) async fn put(
    application: &Application,
    registry: &Registry,
    reference: &Reference,
    manifest: &Raw<Manifest>,
) -> Result<(), CliError> {
    if let Some(digest) = reference.digest()
        && digest.algorithm() == manifest.digest().algorithm()
        && digest != manifest.digest()
    {
        return Err(CliError::new(
            ErrorKind::Integrity,
            format!(
                "the manifest's digest is {}, not that of `{reference}`",
                manifest.digest()
            ),
        ));
    }
    let tags: Vec<_> = reference.tag().into_iter().cloned().collect();
    if tags.is_empty() && reference.digest().is_none() {
        return Err(
            CliError::usage(format!("`{reference}` has neither tag nor digest"))
                .with_hint("say where the manifest goes, as NAME:TAG"),
        );
    }
    registry
        .repository(reference)
        .upload_manifest(manifest, &tags)
        .await?;
    application.output.object(
        &json!({
            "reference": reference.to_string(),
            "digest": manifest.digest().to_string(),
            "mediaType": manifest.media_type().to_string(),
            "size": manifest.size(),
        }),
        &[
            ("reference", reference.to_string()),
            ("digest", manifest.digest().to_string()),
            ("mediaType", manifest.media_type().to_string()),
        ],
    )
}

/// `peak registry digest`: a digest a line, as scripts want it, unless another form was asked for.
pub(crate) async fn digests(
    application: &Application,
    registry: &Registry,
    references: &[String],
) -> Result<(), CliError> {
    let images = references
        .iter()
        .map(|text| Opened::open(registry, text))
        .collect::<Result<Vec<_>, _>>()?;
    let mut found: Vec<(&str, Digest)> = Vec::with_capacity(images.len());
    for image in &images {
        found.push((&image.name, image.digest().await?));
    }
    let objects: Vec<_> = found
        .iter()
        .map(|(reference, digest)| json!({"reference": reference, "digest": digest.to_string()}))
        .collect();
    let output = application.asked_output.unwrap_or(Output::Table);
    output.value(&objects, || {
        let lines = found.iter().map(|(_, digest)| format!("{digest}\n"));
        Ok(lines.collect())
    })
}

/// `peak registry config`: the config of an image, as it is.
pub(crate) async fn config(
    registry: &Registry,
    reference: &str,
    platform: Option<&str>,
    raw: bool,
) -> Result<(), CliError> {
    let image = Opened::open(registry, reference)?;
    let manifest = image.manifest().await?;
    let asked = platform.map(parse_platform).transpose()?;
    let platform = asked.clone().unwrap_or_else(Platform::host);
    let manifest = of_platform(image.source.as_ref(), manifest, &platform).await?;
    if let Some(asked) = &asked {
        is_for(image.source.as_ref(), &manifest, asked).await?;
    }
    let Some(found) = manifest.value().as_image() else {
        return Err(CliError::usage(format!(
            "{} is no image manifest, so it has no config of its own",
            manifest.digest()
        ))
        .with_hint("`peak registry manifest get` shows what it is"));
    };
    let config = read_verified(image.source.as_ref(), &found.config, CONFIG_LIMIT).await?;
    if raw {
        write_out(&config)
    } else {
        show_document(&config)
    }
}

/// The manifest of an index that is for the platform.
async fn of_platform(
    source: &dyn Source,
    manifest: Raw<Manifest>,
    platform: &Platform,
) -> Result<Raw<Manifest>, CliError> {
    let Some(index) = manifest.value().as_index() else {
        return Ok(manifest);
    };
    let found = index
        .select(platform)
        .map_err(|error| CliError::from(&error))?;
    let selector = Selector::Digest(found.digest.clone());
    Ok(source.manifest(Some(&selector)).await?)
}

/// Refuses an image that stands alone and is for another platform than the one that was asked for. An index says itself
/// what it lists; what has no config that can be read is for any.
async fn is_for(
    source: &dyn Source,
    manifest: &Raw<Manifest>,
    wanted: &Platform,
) -> Result<(), CliError> {
    let Some(image) = manifest.value().as_image() else {
        return Ok(());
    };
    if !image.config.media_type.is_image_config() {
        return Ok(());
    }
    let bytes = read_verified(source, &image.config, CONFIG_LIMIT).await?;
    let Ok(config) = ImageConfig::parse(bytes) else {
        return Ok(());
    };
    let actual = config.value().platform();
    if !actual.is_known() || wanted.mismatch(&actual).is_some() {
        return Ok(());
    }
    let failure = CliError::new(
        ErrorKind::NotFound,
        format!("the image is for {actual}, not for {wanted}"),
    );
    Err(failure.with_hint("leave out --platform to have it as it is"))
}

/// A manifest or config is JSON whatever the output; for reading it is indented.
fn show_document(bytes: &[u8]) -> Result<(), CliError> {
    let value: Value = serde_json::from_slice(bytes)
        .map_err(|error| CliError::other(format!("the document cannot be shown: {error}")))?;
    write_json(&value)
}

/// A small file, or standard input.
fn read_input(file: &Path) -> Result<Vec<u8>, CliError> {
    use std::io::Read as _;

    let failed = |error: std::io::Error| CliError::unreadable(file, &error);
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        std::io::stdin()
            .lock()
            .take(MAX_MANIFEST_SIZE + 1)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
    } else {
        std::fs::File::open(file)
            .and_then(|open| open.take(MAX_MANIFEST_SIZE + 1).read_to_end(&mut bytes))
            .map_err(failed)?;
    }
    Ok(bytes)
}
