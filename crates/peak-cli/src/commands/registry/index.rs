//! `peak registry index`: indexes made, merged and cut down. What they list has to be in their repository: images from
//! elsewhere are copied there first.

use clap::Subcommand;
use peak_sdk::oci::{
    Descriptor, ImageConfig, Index, IndexError, MAX_CONFIG_SIZE, Manifest, Merge, Mixing,
    Placement, Raw, Reference, Selector, Source, read_verified,
};
use peak_sdk::registry::{Registry, Repository};
use peak_sdk::transfer::{CopyOptions, Transfer};

use super::manifest::put;
use super::names::{parse_platform, parse_reference};
use super::opened::Opened;
use crate::application::Application;
use crate::error::{CliError, ErrorKind};

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  peak registry index create 127.0.0.1:7325/app:1.0 127.0.0.1:7325/app:1.0-amd64 127.0.0.1:7325/app:1.0-arm64
  peak registry index remove 127.0.0.1:7325/app:1.0 --platform linux/s390x")]
pub(crate) enum IndexCommand {
    /// Make an index of images, their platforms read from their configs; images from elsewhere are copied beside it
    #[command(after_help = "\
Examples:
  peak registry index create 127.0.0.1:7325/app:1.0 127.0.0.1:7325/app:1.0-amd64 127.0.0.1:7325/app:1.0-arm64
  peak registry index create registry.example/app:1.0 oci:target/amd64 oci:target/arm64")]
    Create {
        /// Where to, with a tag
        #[arg(value_name = "DST")]
        destination: String,
        /// The images, in any registry, or places on disk (`oci:DIR[:TAG]`, `oci-archive:FILE[:TAG]`,
        /// `docker-archive:FILE[:REFERENCE]`); of an index, all that it lists
        #[arg(value_name = "REF", required = true)]
        references: Vec<String>,
        /// Let types of Docker and of OCI stand in one index
        #[arg(long)]
        mix: bool,
    },
    /// Put the manifests of one index over those of another, platform by platform
    #[command(after_help = "\
Example:
  peak registry index merge 127.0.0.1:7325/app:1.0-arm 127.0.0.1:7325/app:1.0 --arch arm64,arm")]
    Merge {
        /// The index whose manifests win, in any registry, or a place on disk (`oci:DIR[:TAG]`,
        /// `oci-archive:FILE[:TAG]`); what is not beside DST is copied there
        #[arg(value_name = "SRC")]
        source: String,
        /// The index that is changed; the other manifests of it stay
        #[arg(value_name = "DST")]
        destination: String,
        /// Only the manifests for this architecture; may be repeated or comma-separated
        #[arg(long, value_name = "ARCH", value_delimiter = ',')]
        arch: Vec<String>,
        /// Let types of Docker and of OCI stand in one index
        #[arg(long)]
        mix: bool,
    },
    /// Take the manifests for a platform out of an index
    #[command(after_help = "\
Example:
  peak registry index remove 127.0.0.1:7325/app:1.0 --platform linux/s390x")]
    Remove {
        /// The index, with a tag
        #[arg(value_name = "REF")]
        reference: String,
        /// The platform (os/arch[/variant]); may be repeated or comma-separated
        #[arg(long, value_name = "PLATFORM", required = true, value_delimiter = ',')]
        platform: Vec<String>,
    },
}

pub(crate) async fn run(
    application: &Application,
    registry: &Registry,
    command: IndexCommand,
) -> Result<(), CliError> {
    match command {
        IndexCommand::Create {
            destination,
            references,
            mix,
        } => {
            let destination = tagged(&destination)?;
            let repository = registry.repository(&destination);
            let mut origins = Vec::with_capacity(references.len());
            let mut entries = Vec::new();
            for text in &references {
                let origin = Opened::open(registry, text)?;
                let image = origin.manifest().await?;
                let listed = listed(&image, origin.source.as_ref()).await?;
                entries.extend(listed.iter().cloned());
                origins.push((origin, listed));
            }
            // Whether they can stand in one index is known before anything is moved.
            let index = Index::create(entries, mixing(mix))?;
            for (origin, listed) in &origins {
                bring(application, origin, listed, &repository).await?;
            }
            send(application, registry, &destination, &index).await
        }
        IndexCommand::Merge {
            source,
            destination,
            arch,
            mix,
        } => {
            let destination = tagged(&destination)?;
            let origin = Opened::open(registry, &source)?;
            let repository = registry.repository(&destination);
            let image = origin.manifest().await?;
            let over = match image.value() {
                Manifest::Index(index) => index.clone(),
                // One image is as good as an index of it.
                _ => Index::create(listed(&image, origin.source.as_ref()).await?, Mixing::Allow)?,
            };
            let under = index_at(&repository, &destination).await?;
            let mut merge = Merge::new().mixing(mixing(mix));
            if !arch.is_empty() {
                merge = merge.architectures(&arch);
            }
            let merged = under.merge(&over, &merge)?;
            // Not all that the other one lists need be in it.
            let is_there = |one: &Descriptor| {
                under
                    .manifests
                    .iter()
                    .any(|there| there.digest == one.digest)
            };
            let new: Vec<_> = merged
                .manifests
                .iter()
                .filter(|one| !is_there(one))
                .cloned()
                .collect();
            bring(application, &origin, &new, &repository).await?;
            send(application, registry, &destination, &merged).await
        }
        IndexCommand::Remove {
            reference,
            platform,
        } => {
            let reference = tagged(&reference)?;
            let platforms = platform
                .iter()
                .map(|text| parse_platform(text))
                .collect::<Result<Vec<_>, _>>()?;
            let repository = registry.repository(&reference);
            let mut index = index_at(&repository, &reference).await?;
            let known: Vec<_> = index.platforms().map(ToString::to_string).collect();
            if index.remove_platforms(&platforms).is_empty() {
                return Err(CliError::new(
                    ErrorKind::NotFound,
                    format!("{reference} lists no manifest for {}", platform.join(", ")),
                )
                .with_hint(format!("it has {}", known.join(", "))));
            }
            send(application, registry, &reference, &index).await
        }
    }
}

fn mixing(mix: bool) -> Mixing {
    if mix { Mixing::Allow } else { Mixing::Refuse }
}

/// A reference to something that can be written: by its tag.
fn tagged(text: &str) -> Result<Reference, CliError> {
    let reference = parse_reference(text)?;
    if reference.tag().is_some() && reference.digest().is_none() {
        return Ok(reference);
    }
    Err(CliError::usage(format!(
        "`{text}` does not name a tag alone, which is what an index is written to"
    ))
    .with_hint("write it as NAME:TAG"))
}

/// Copies what an index will list to where the index will be, unless that is where it is.
async fn bring(
    application: &Application,
    origin: &Opened,
    listed: &[Descriptor],
    repository: &Repository,
) -> Result<(), CliError> {
    if origin.source.repository() == Some((repository.registry(), repository.name())) {
        return Ok(());
    }
    let meter = application
        .progress
        .transfer("copy", format!("{} to {repository}", origin.name));
    let options = CopyOptions::new().progress(meter.listener());
    let run = Transfer::new(origin.source.as_ref(), repository, options);
    let copying = async {
        for one in listed {
            // By its digest, so that a tag that has moved since changes nothing.
            let selector = Selector::Digest(one.digest.clone());
            let placement = Placement::Root { tag: None };
            run.image(Some(&selector), placement).await?;
        }
        Ok::<_, CliError>(())
    };
    meter.watch(Box::pin(copying)).await
}

async fn index_at(repository: &Repository, reference: &Reference) -> Result<Index, CliError> {
    match repository
        .get_manifest(&reference.selector_or_latest())
        .await?
        .into_value()
    {
        Manifest::Index(index) => Ok(index),
        _ => Err(CliError::usage(format!("{reference} is no index"))
            .with_hint("`peak registry index create` makes one")),
    }
}

/// What an index lists for an image: the image with its platform, or all that another index lists.
async fn listed(image: &Raw<Manifest>, source: &dyn Source) -> Result<Vec<Descriptor>, CliError> {
    let config = match image.value() {
        Manifest::Index(index) => return Ok(index.manifests.clone()),
        Manifest::Image(image) if image.artifact_type.is_none() => {
            let bytes = read_verified(source, &image.config, MAX_CONFIG_SIZE).await?;
            ImageConfig::parse(bytes).ok()
        }
        _ => None,
    };
    let config = config.as_ref().map(Raw::value);
    Ok(vec![image.descriptor_for_index(config)])
}

async fn send(
    application: &Application,
    registry: &Registry,
    destination: &Reference,
    index: &Index,
) -> Result<(), CliError> {
    let raw = index
        .to_raw()
        .map_err(|error| CliError::from_chain(ErrorKind::Other, &error))?;
    put(application, registry, destination, &raw).await
}

impl From<IndexError> for CliError {
    fn from(error: IndexError) -> Self {
        let mixed = matches!(error, IndexError::Mixed { .. });
        let failure = Self::from_chain(ErrorKind::Usage, &error);
        if mixed {
            failure.with_hint("--mix allows it")
        } else {
            failure
        }
    }
}
