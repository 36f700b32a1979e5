//! What a running platform is asked by those who can read its state directory, and what it answers.

use std::time::Duration;

use peak_registry_server::{CheckOptions, GarbageOptions};
use serde::{Deserialize, Serialize};

pub(crate) const GARBAGE_PATH: &str = "/.peak/control/gc";
pub(crate) const CHECK_PATH: &str = "/.peak/control/check";

/// Asks a running platform to [collect garbage](peak_registry_server::Store::collect_garbage).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GarbageRequest {
    /// The grace time, in seconds.
    pub grace_seconds: u64,
    /// Whether only the report is wanted.
    pub dry_run: bool,
    /// Whether manifests that no tag reaches go too.
    pub untagged: bool,
}

impl GarbageRequest {
    /// The same for a [`Store`](peak_registry_server::Store) of this process.
    pub fn options(&self) -> GarbageOptions {
        GarbageOptions::new()
            .grace(Duration::from_secs(self.grace_seconds))
            .dry_run(self.dry_run)
            .untagged(self.untagged)
    }
}

/// Asks a running platform to [check](peak_registry_server::Store::check) its registry.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CheckRequest {
    /// Whether all blobs are read too.
    pub contents: bool,
}

impl CheckRequest {
    /// The same for a [`Store`](peak_registry_server::Store) of this process.
    pub fn options(&self) -> CheckOptions {
        CheckOptions::new().contents(self.contents)
    }
}

/// What a running platform answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome<T> {
    /// It is done.
    Report(T),
    /// It is not, and this is why.
    Error(String),
}
