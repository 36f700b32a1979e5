//! Copies an image and shows how far it is, in a way of one's own: here a line for each tenth.
//!
//! ```sh
//! cargo run -p peak-sdk --example progress --features registry-server -- [FROM TO]
//! ```
//!
//! FROM and TO are places of images: `registry.example/team/app:v1`, `oci:DIR`, `oci-archive:FILE`, `docker-archive:FILE`.
//! Credentials are those that `docker login` has kept. Without arguments an image goes from an embedded registry into a
//! directory.
#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::error::Error;
use std::sync::Mutex;
use std::time::Instant;

use peak_sdk::oci::{
    Descriptor, Digest, ImageConfig, ImageManifest, MediaType, Platform, Reference,
};
use peak_sdk::registry::{Keychain, Registry};
use peak_sdk::registry_server::RegistryServer;
use peak_sdk::transfer::{CopyOptions, Event, ProgressState, Target, copy};

/// Adds the events of a transfer up, and prints when another tenth is there.
struct Tenths {
    state: ProgressState,
    printed: u64,
}

impl Tenths {
    fn apply(&mut self, event: &Event) {
        self.state.apply(event, Instant::now());
        let (done, total) = (self.state.done_bytes(), self.state.total_bytes());
        let tenths = (done * 10).checked_div(total).unwrap_or_default();
        if tenths > self.printed {
            self.printed = tenths;
            println!("{:3} %  {done} of {total} bytes", tenths * 10);
        }
        if let Event::Retried { digest, .. } = event {
            println!("{digest} was cut off and goes on");
        }
    }
}

async fn copy_with_progress(
    registry: &Registry,
    from: &Target,
    to: &Target,
) -> Result<Digest, Box<dyn Error>> {
    let tenths = Mutex::new(Tenths {
        state: ProgressState::new(Instant::now()),
        printed: 0,
    });
    // Called from within the transfer, so it must not wait: for more than a line, send the events to a task of yours.
    let options = CopyOptions::new().progress(move |event| {
        if let Ok(mut tenths) = tenths.lock() {
            tenths.apply(&event);
        }
    });
    let (source, selector) = from.open_source(registry)?;
    let (sink, placement) = to.open_sink(registry)?;
    let report = copy(
        source.as_ref(),
        selector.as_ref(),
        sink.as_ref(),
        placement,
        &options,
    )
    .await?;
    Ok(report.digest)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let registry = Registry::builder()
        .keychain(Keychain::from_environment())
        .build()?;
    let mut arguments = std::env::args().skip(1);
    let digest = if let (Some(from), Some(to)) = (arguments.next(), arguments.next()) {
        copy_with_progress(&registry, &from.parse()?, &to.parse()?).await?
    } else {
        let server = RegistryServer::in_memory().await?;
        let image: Reference = format!("{}/team/app:v1", server.host()).parse()?;
        push(&registry, &image, vec![7; 1024 * 1024]).await?;
        let scratch = tempfile::tempdir()?;
        let layout = Target::Layout {
            path: scratch.path().join("app"),
            selector: None,
        };
        copy_with_progress(&registry, &Target::Registry(image), &layout).await?
    };
    println!("copied {digest}");
    Ok(())
}

/// Puts an image of one layer into a registry.
async fn push(registry: &Registry, to: &Reference, layer: Vec<u8>) -> Result<(), Box<dyn Error>> {
    let repository = registry.repository(to);
    let diff_ids = vec![Digest::sha256_of(&layer)];
    let config = ImageConfig::new(&Platform::new("linux", "amd64"), diff_ids).to_raw()?;
    let layers = vec![Descriptor::of(MediaType::OCI_LAYER, &layer)];
    let config_descriptor = Descriptor::of(MediaType::OCI_CONFIG, config.bytes());
    let manifest = ImageManifest::new(config_descriptor, layers).to_raw()?;
    repository.put_blob(layer.into()).await?;
    repository.put_blob(config.bytes().clone()).await?;
    let tags: Vec<_> = to.tag().cloned().into_iter().collect();
    Ok(repository.upload_manifest(&manifest, &tags).await?)
}
