//! What `ship` and `registry copy, pull, push` share: a copy with its progress, into a place opened beforehand.

use std::sync::Arc;

use peak_sdk::oci::{Placement, Selector, Sink, Source};
use peak_sdk::registry::Registry;
use peak_sdk::transfer::{CopyOptions, CopyReport, Event, Target, copy};
use serde_json::json;

use crate::application::Application;
use crate::error::CliError;
use crate::output::human_size;

/// A place to copy images to, known to be writable.
pub(crate) struct Destination {
    target: Target,
    sink: Box<dyn Sink>,
    placement: Placement,
}

impl Destination {
    /// Opens the place, before any work is done for it.
    pub(crate) fn open(target: Target, registry: &Registry) -> Result<Self, CliError> {
        let (sink, placement) = target.open_sink(registry)?;
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
            Event::Mounted { digest, size } => {
                listener.moved(size);
                listener.blob("mounted", digest.as_ref(), size);
            }
            Event::Retried { digest, offset } => {
                listener.blob("retried", digest.as_ref(), offset);
            }
            Event::Finished { digest, size } => listener.blob("finished", digest.as_ref(), size),
            _ => {}
        });
        let placement = self.placement.clone();
        let copying = copy(source, selector, &*self.sink, placement, &options);
        Ok(progress.watch(copying).await?)
    }

    /// Says what was copied here.
    pub(crate) fn show(
        &self,
        application: &Application,
        report: &CopyReport,
    ) -> Result<(), CliError> {
        let mounted = match report.blobs_mounted {
            0 => String::new(),
            count => format!(", {count} mounted"),
        };
        let blobs = format!(
            "{} copied, {} there already{mounted}",
            report.blobs_copied, report.blobs_skipped
        );
        application.output.object(
            &json!({
                "destination": self.name(),
                "digest": report.digest.to_string(),
                "mediaType": report.media_type.to_string(),
                "size": report.size,
                "blobsCopied": report.blobs_copied,
                "blobsSkipped": report.blobs_skipped,
                "blobsMounted": report.blobs_mounted,
            }),
            &[
                ("destination", self.name()),
                ("digest", report.digest.to_string()),
                ("size", human_size(report.size)),
                ("blobs", blobs),
            ],
        )
    }
}
