//! Promotes an image: copies what was tested to the registry of production, under another tag, and makes sure that what
//! is there is the same image, byte by byte.
//!
//! ```sh
//! cargo run -p peak-sdk --example promote --features registry-server -- [FROM TO]
//! ```
//!
//! FROM is the image that was tested (`registry.example/staging/app:build-17`), TO what it shall be called
//! (`registry.example/production/app:1.0`). Credentials are those that `docker login` has kept. Without arguments there
//! are two embedded registries, and an image in the first.
#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::error::Error;

use peak_sdk::oci::{
    Descriptor, Digest, ImageConfig, ImageManifest, MediaType, Placement, Platform, Reference,
    Selector, validate,
};
use peak_sdk::registry::{Keychain, Registry};
use peak_sdk::registry_server::RegistryServer;
use peak_sdk::transfer::{CopyOptions, copy};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let registry = Registry::builder()
        .keychain(Keychain::from_environment())
        .build()?;
    let mut arguments = std::env::args().skip(1);
    if let (Some(from), Some(to)) = (arguments.next(), arguments.next()) {
        return promote(&registry, &from.parse()?, &to.parse()?).await;
    }
    let staging = RegistryServer::in_memory().await?;
    let production = RegistryServer::in_memory().await?;
    let from = format!("{}/staging/app:build-17", staging.host()).parse()?;
    let to = format!("{}/production/app:1.0", production.host()).parse()?;
    push_sample(&registry, &from).await?;
    promote(&registry, &from, &to).await
}

async fn promote(
    registry: &Registry,
    from: &Reference,
    to: &Reference,
) -> Result<(), Box<dyn Error>> {
    let source = registry.repository(from);
    let destination = registry.repository(to);
    let tag = to.tag().ok_or("give the promoted image a tag")?.clone();

    // Tags move. From here on the image is its digest, so that what was tested is what arrives.
    let digest = source
        .get_manifest_digest(&from.selector_or_latest())
        .await?;
    let tested = Selector::Digest(digest.clone());
    let placement = Placement::Root {
        tag: Some(tag.clone()),
    };
    // Signatures and attestations come along, and are there before the tag is.
    let options = CopyOptions::new().referrers(true);
    let report = copy(&source, Some(&tested), &destination, placement, &options).await?;
    println!(
        "{} blobs copied, {} mounted, {} were there",
        report.blobs_copied, report.blobs_mounted, report.blobs_skipped
    );

    // Each blob was hashed on its way. This reads all of it back from where it is now.
    let there = validate(&destination, Some(&Selector::Tag(tag))).await?;
    if there.root.digest != digest {
        return Err(format!("{to} is {}, not {digest}", there.root.digest).into());
    }
    println!("{to} is {digest}, {} bytes verified", there.bytes);
    Ok(())
}

/// An image of one layer, to have something to promote.
async fn push_sample(registry: &Registry, to: &Reference) -> Result<(), Box<dyn Error>> {
    let repository = registry.repository(to);
    let layer = b"the bytes of a layer";
    let layers = vec![Descriptor::of(MediaType::OCI_LAYER, layer)];
    let platform = Platform::new("linux", "amd64");
    let config = ImageConfig::new(&platform, vec![Digest::sha256_of(layer)]).to_raw()?;
    let config_descriptor = Descriptor::of(MediaType::OCI_CONFIG, config.bytes());
    let manifest = ImageManifest::new(config_descriptor, layers).to_raw()?;
    repository.put_blob(layer.as_slice().into()).await?;
    repository.put_blob(config.bytes().clone()).await?;
    let tags: Vec<_> = to.tag().cloned().into_iter().collect();
    repository.upload_manifest(&manifest, &tags).await?;
    Ok(())
}
