//! A test of code that speaks with a registry: the embedded one, in the memory of the test, on a port of its own. Tests
//! that run at the same time do not know of each other, and nothing is left behind.
//!
//! ```sh
//! cargo run -p peak-sdk --example registry_in_a_test --features registry-server
//! ```
//!
//! It needs nothing and takes no arguments. In a test of yours `#[tokio::test]` stands where `#[tokio::main]` is here.
#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::error::Error;

use peak_sdk::oci::{
    Descriptor, Digest, ImageConfig, ImageManifest, MediaType, Platform, Reference,
};
use peak_sdk::registry::{Credentials, Registry, RegistryError};
use peak_sdk::registry_server::RegistryServer;
use peak_sdk::registry_server::auth::Auth;

/// What is tested: how many bytes the layers of an image have.
async fn layer_bytes(registry: &Registry, image: &Reference) -> Result<u64, RegistryError> {
    let repository = registry.repository(image);
    let manifest = repository.get_manifest(&image.selector_or_latest()).await?;
    let layers = manifest.value().children().into_iter().skip(1);
    Ok(layers.map(|layer| layer.size).sum())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // Loopback is spoken to over plain HTTP without being told.
    let server = RegistryServer::in_memory().await?;
    let registry = Registry::builder().build()?;
    let image: Reference = format!("{}/team/app:v1", server.host()).parse()?;

    let absent = layer_bytes(&registry, &image).await;
    assert!(absent.is_err_and(|error| error.is_not_found()));
    println!("an image that is not there is not found");

    push(&registry, &image, &[b"first layer", b"second"]).await?;
    assert_eq!(layer_bytes(&registry, &image).await?, 11 + 6);
    println!("an image has the bytes of its layers");

    // A registry that wants a password, over the same content.
    let closed = RegistryServer::builder()
        .storage(server.store().clone())
        .auth(Auth::shared_secret("of this test"))
        .bind("127.0.0.1:0")
        .await?;
    let image: Reference = format!("{}/team/app:v1", closed.host()).parse()?;
    let refused = layer_bytes(&registry, &image).await;
    assert!(refused.is_err_and(|error| error.is_authentication()));
    let registry = Registry::builder()
        .credentials(
            &closed.host(),
            Credentials::new("anybody", "of this test".into()),
        )
        .build()?;
    assert_eq!(layer_bytes(&registry, &image).await?, 11 + 6);
    println!("a password is needed, and taken");

    closed.shutdown().await;
    server.shutdown().await;
    Ok(())
}

/// Puts an image of these layers into a registry.
async fn push(
    registry: &Registry,
    to: &Reference,
    layers: &[&'static [u8]],
) -> Result<(), Box<dyn Error>> {
    let repository = registry.repository(to);
    for layer in layers {
        repository.put_blob((*layer).into()).await?;
    }
    let diff_ids = layers
        .iter()
        .map(|layer| Digest::sha256_of(layer))
        .collect();
    let config = ImageConfig::new(&Platform::new("linux", "amd64"), diff_ids).to_raw()?;
    repository.put_blob(config.bytes().clone()).await?;
    let layers = layers
        .iter()
        .map(|layer| Descriptor::of(MediaType::OCI_LAYER, layer));
    let config = Descriptor::of(MediaType::OCI_CONFIG, config.bytes());
    let manifest = ImageManifest::new(config, layers.collect()).to_raw()?;
    let tags: Vec<_> = to.tag().cloned().into_iter().collect();
    Ok(repository.upload_manifest(&manifest, &tags).await?)
}
