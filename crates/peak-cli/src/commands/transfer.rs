//! What `ship` and `registry pull` share: a copy with its progress, into a place opened beforehand.

use std::sync::Arc;

use peak_sdk::oci::{Placement, Selector, Sink, Source};
use peak_sdk::transfer::{CopyOptions, CopyReport, Event, Target, copy};

use crate::application::Application;
use crate::error::CliError;

/// A place to copy images to, known to be writable.
pub(crate) struct Destination {
    target: Target,
    sink: Box<dyn Sink>,
    placement: Placement,
}

impl Destination {
    /// Opens the place, before any work is done for it.
    pub(crate) fn open(target: Target) -> Result<Self, CliError> {
        let (sink, placement) = target.open_sink()?;
        Ok(Self {
            target,
            sink,
            placement,
        })
    }

    /// The name of the place.
    pub(crate) fn name(&self) -> String {
        self.target.to_string()
    }

    /// Copies an image here.
    pub(crate) async fn receive(
        &self,
        application: &Application,
        source: &dyn Source,
        selector: Option<&Selector>,
    ) -> Result<CopyReport, CliError> {
        if !self.target.keeps_digests() {
            application.progress.warning(&format!(
                "{} holds no manifests: the image keeps its id there, but not its digest",
                self.name()
            ));
        }
        let progress = Arc::new(application.progress.meter("copy", self.name()));
        let listener = Arc::clone(&progress);
        let options = CopyOptions::new().progress(move |event| match event {
            Event::Planned { bytes, .. } => listener.expect_more(bytes),
            Event::Started {
                digest,
                size,
                offset,
            } => {
                listener.moved(offset);
                listener.blob("started", digest.as_ref(), size);
            }
            Event::Bytes { count, .. } => listener.moved(count),
            Event::Skipped { digest, size } => {
                listener.moved(size);
                listener.blob("skipped", digest.as_ref(), size);
            }
            Event::Finished { digest, size } => listener.blob("finished", digest.as_ref(), size),
            _ => {}
        });
        let placement = self.placement.clone();
        let copying = copy(source, selector, self.sink.as_ref(), placement, &options);
        Ok(progress.watch(copying).await?)
    }
}
