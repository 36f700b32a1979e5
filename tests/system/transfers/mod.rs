//! Transfers as a whole: every end with every other one, and what becomes of them when something goes wrong.

mod image;
mod matrix;

use std::path::Path;

use peak_sdk::oci::{ValidationReport, validate};
use peak_sdk::registry::Registry;
use peak_sdk::transfer::Target;

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
