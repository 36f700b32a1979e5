//! An image that a command reads, wherever it is.

use peak_sdk::oci::{Digest, Manifest, Raw, Selector, Source};
use peak_sdk::registry::Registry;
use peak_sdk::transfer::Target;

use super::names::parse_source;
use crate::commands::transfer::{clients, open_source};
use crate::error::CliError;

/// An image in a registry or on disk, to be read.
pub(super) struct Opened {
    pub(super) source: Box<dyn Source>,
    pub(super) selector: Option<Selector>,
    /// What it is called.
    pub(super) name: String,
}

impl Opened {
    pub(super) fn open(registry: &Registry, text: &str) -> Result<Self, CliError> {
        let target = parse_source(text)?;
        let clients = clients(registry, [&target])?;
        let (source, selector) = open_source(&target, &clients)?;
        let name = match &target {
            Target::Registry(reference) => reference.to_string(),
            other => other.to_string(),
        };
        Ok(Self {
            source,
            selector,
            name,
        })
    }

    pub(super) async fn manifest(&self) -> Result<Raw<Manifest>, CliError> {
        Ok(self.source.manifest(self.selector.as_ref()).await?)
    }

    pub(super) async fn digest(&self) -> Result<Digest, CliError> {
        if let Some(selector) = &self.selector
            && let Some(digest) = self.source.manifest_digest(selector).await?
        {
            return Ok(digest);
        }
        // Where there is none, the source says more of what is missing when it is asked for all of it.
        Ok(self.manifest().await?.digest().clone())
    }
}
