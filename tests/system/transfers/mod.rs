//! Transfers as a whole: every end with every other one, and what becomes of them when something goes wrong.

#![expect(
    clippy::print_stdout,
    reason = "shown where a test fails, and wherever one asks for it"
)]

mod faults;
mod foreign;
mod image;
mod interrupt;
mod kill;
mod matrix;
#[cfg(target_os = "linux")]
pub(crate) mod memory;
mod places;
mod proxy;

use std::path::Path;

use peak_sdk::oci::{ValidationReport, validate};
use peak_sdk::registry::Registry;
use peak_sdk::transfer::Target;
use serde_json::Value;

use crate::support::{digest, files_under};

/// Waits for what our libraries do.
fn wait_for<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}

fn target(text: &str, folder: &Path) -> Target {
    let text = match text.split_once(':') {
        Some((transport @ ("oci" | "oci-archive" | "docker-archive"), path)) => {
            format!("{transport}:{}/{path}", folder.display())
        }
        _ => text.to_owned(),
    };
    text.parse().unwrap()
}

/// Reads an image with everything in it, which has to be as its digests say.
#[track_caller]
fn validated(text: &str, folder: &Path) -> ValidationReport {
    let registry = Registry::builder().build().unwrap();
    let (source, selector) = target(text, folder).open_source(&registry).unwrap();
    let seen = wait_for(validate(source.as_ref(), selector.as_ref()));
    seen.unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// A layout has what the specification says and our own area, every blob is what its name says, and everything that is
/// tagged is there whole. Gives the tags; none where there is no image yet.
#[track_caller]
fn layout_is_valid(folder: &Path) -> Vec<String> {
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let name = entry.unwrap().file_name();
        let known = ["blobs", "index.json", "oci-layout", ".peak-layout"];
        assert!(
            known.iter().any(|known| name == *known),
            "{}",
            name.display()
        );
    }
    for name in files_under(&folder.join("blobs")) {
        let content = std::fs::read(folder.join("blobs").join(&name)).unwrap();
        assert_eq!(name.replace('/', ":"), digest(&content));
    }
    let Ok(index) = std::fs::read(folder.join("index.json")) else {
        return Vec::new();
    };
    let index: Value = serde_json::from_slice(&index).unwrap();
    let mut tags = Vec::new();
    for descriptor in index["manifests"].as_array().unwrap() {
        let tag = &descriptor["annotations"]["org.opencontainers.image.ref.name"];
        let tag = tag.as_str().unwrap().to_owned();
        let seen = validated(&format!("oci:.:{tag}"), folder);
        assert_eq!(descriptor["digest"], seen.root.digest.to_string());
        tags.push(tag);
    }
    tags.sort();
    tags
}
