//! A real Docker Engine, and Debian's `docker-registry`.
//!
//! What is missing skips its test, see [`peak_test_peers`].

mod archive;
mod dockerd;
mod killed;
mod passwords;
mod round_trip;
mod secure;
mod slow;

use std::os::unix::fs::MetadataExt as _;

use peak_oci::Reference;
use peak_test_peers::{DockerRegistry, has, missing};

use self::dockerd::Dockerd;

/// Whether there is a Docker Engine to start, and a registry.
fn peers() -> bool {
    let root = std::fs::metadata("/proc/self").is_ok_and(|this| this.uid() == 0);
    has("dockerd") && has("docker-registry") && (root || missing("dockerd starts as root only"))
}

/// An image in a registry.
fn image_at(registry: &DockerRegistry, name: &str) -> Reference {
    format!("{}/{name}", registry.address()).parse().unwrap()
}
