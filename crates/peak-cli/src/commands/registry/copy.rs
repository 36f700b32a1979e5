//! `peak registry copy`, `pull` and `push`: images from anywhere to anywhere. `pull` and `push` are `copy` with one end
//! on disk.

use std::fmt::Write as _;

use clap::Args;
use peak_sdk::oci::{Descriptor, Digest};
use peak_sdk::registry::Registry;
use peak_sdk::transfer::{
    BlobAction, CopyOptions, CopyPreview, CopyReport, Platforms, Target, Transfer,
};
use serde_json::{Value, json};

use super::names::{
    parse_destination, parse_local_target, parse_platform, parse_registry, parse_source,
};
use super::parse_concurrency;
use crate::application::Application;
use crate::commands::transfer::{Destination, clients, open_source, reach_engine, warn};
use crate::error::CliError;
use crate::output::{human_size, table};

/// How images are copied.
#[derive(Debug, Args)]
pub(crate) struct HowToCopy {
    /// Of an index, take only the image for this platform (os/arch[/variant]); several make an index of only those,
    /// which has another digest. May be repeated or comma-separated [default: all]
    #[arg(long, value_name = "PLATFORM", value_delimiter = ',')]
    platform: Vec<String>,
    /// Copy the images under all tags; SRC and DST are then written without one
    #[arg(long)]
    all_tags: bool,
    /// Take along what refers to the image: signatures, attestations, also those under cosign's tags
    #[arg(long)]
    referrers: bool,
    /// Only show what would be moved
    #[arg(long)]
    dry_run: bool,
    /// How many blobs are moved at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = parse_concurrency, allow_negative_numbers = true)]
    concurrency: u16,
}

impl HowToCopy {
    fn options(&self) -> Result<CopyOptions, CliError> {
        let platforms = self
            .platform
            .iter()
            .map(|text| parse_platform(text))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(CopyOptions::new()
            .platforms(Platforms::only(platforms))
            .referrers(self.referrers)
            .concurrency(usize::from(self.concurrency)))
    }
}

/// Which ends of a copy have to be on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ends {
    Any,
    /// The source is on disk, the destination is a registry.
    Push,
    /// The destination is on disk.
    Pull,
}

pub(crate) async fn run(
    application: &Application,
    registry: &Registry,
    ends: Ends,
    source: &str,
    destination: &str,
    how: &HowToCopy,
) -> Result<(), CliError> {
    let (from, to) = match ends {
        Ends::Any => (parse_source(source)?, parse_destination(destination)?),
        Ends::Push => (parse_local_target(source)?, parse_registry(destination)?),
        Ends::Pull => (parse_source(source)?, parse_local_target(destination)?),
    };
    if how.all_tags {
        return all_tags(application, registry, &from, to, how).await;
    }
    let options = how.options()?;
    let keeps_digest = to.keeps_digests();
    let clients = clients(registry, [&from, &to])?;
    reach_engine(std::slice::from_ref(&to)).await?;
    let (source, selector) = open_source(&from, &clients)?;
    let destination = Destination::open(to, &clients)?;
    if how.dry_run {
        let run = Transfer::new(source.as_ref(), destination.sink.as_ref(), options);
        let preview = run.preview(selector.as_ref()).await?;
        return show_previews(application, &destination.name(), &[(None, preview)]);
    }
    let report = destination
        .receive(application, source.as_ref(), selector.as_ref(), options)
        .await?;
    let name = destination.name();
    let mut object = as_json(&report);
    if let Value::Object(members) = &mut object {
        members.insert("destination".to_owned(), name.clone().into());
        members.insert("digestKept".to_owned(), keeps_digest.into());
    }
    // Where no manifest is kept, the image has another digest there, or none.
    let digest = if keeps_digest {
        "digest"
    } else {
        "digest at the source"
    };
    let mut rows = vec![
        ("destination", name),
        (digest, report.digest.to_string()),
        ("size", human_size(report.size)),
        ("blobs", blobs(&report)),
    ];
    if how.referrers {
        rows.push(("referrers", report.referrers.to_string()));
    }
    application.output.object(&object, &rows)
}

/// Copies the images under all tags.
async fn all_tags(
    application: &Application,
    registry: &Registry,
    from: &Target,
    to: Target,
    how: &HowToCopy,
) -> Result<(), CliError> {
    for end in [from, &to] {
        refuse_one_image(end)?;
    }
    let options = how.options()?;
    let clients = clients(registry, [from, &to])?;
    let (source, _) = open_source(from, &clients)?;
    let destination = Destination::open(to, &clients)?;
    let name = destination.name();
    if how.dry_run {
        use futures_util::TryStreamExt as _;
        let run = Transfer::new(source.as_ref(), destination.sink.as_ref(), options);
        let previews: Vec<_> = run
            .all_previews()
            .map_ok(|(tag, preview)| (Some(tag.to_string()), preview))
            .try_collect()
            .await?;
        return show_previews(application, &name, &previews);
    }
    let meter = application.progress.transfer("copy", name.clone());
    let options = options.progress(meter.listener());
    let run = Transfer::new(source.as_ref(), destination.sink.as_ref(), options);
    let mut reports = Vec::new();
    meter
        .watch(run.all_tags(|tag, report| reports.push((tag, report))))
        .await?;
    drop(meter);
    reports.sort_by(|(left, _), (right, _)| left.cmp(right));
    let mut images = Vec::with_capacity(reports.len());
    let mut rows = Vec::with_capacity(reports.len());
    for (tag, report) in &reports {
        warn(application, report);
        let mut object = as_json(report);
        if let Value::Object(members) = &mut object {
            members.insert("tag".to_owned(), tag.to_string().into());
        }
        images.push(object);
        rows.push(vec![
            tag.to_string(),
            report.digest.to_string(),
            human_size(report.size),
            blobs(report),
        ]);
    }
    application
        .output
        .value(&json!({"destination": name, "images": images}), || {
            Ok(table(&["tag", "digest", "size", "blobs"], rows))
        })
}

/// With `--all-tags` an end is a whole repository or layout.
fn refuse_one_image(end: &Target) -> Result<(), CliError> {
    let names_one = match end {
        Target::Registry(reference) => reference.selector().is_some(),
        Target::Layout { selector, .. } => selector.is_some(),
        _ => {
            return Err(
                CliError::usage(format!("{end} holds one image, not all tags"))
                    .with_hint("--all-tags copies between registries and layouts (oci:DIR)"),
            );
        }
    };
    if names_one {
        return Err(
            CliError::usage(format!("{end} names one image, and --all-tags means all"))
                .with_hint("leave out the tag or --all-tags"),
        );
    }
    Ok(())
}

fn as_json(report: &CopyReport) -> Value {
    let texts =
        |digests: &[Digest]| -> Vec<String> { digests.iter().map(ToString::to_string).collect() };
    json!({
        "digest": report.digest.to_string(),
        "mediaType": report.media_type.to_string(),
        "whole": report.is_whole,
        "size": report.size,
        "blobsCopied": report.blobs_copied,
        "blobsSkipped": report.blobs_skipped,
        "blobsMounted": report.blobs_mounted,
        "bytesCopied": report.bytes_copied,
        "bytesSkipped": report.bytes_skipped,
        "bytesMounted": report.bytes_mounted,
        "referrers": report.referrers,
        "missingReferrers": texts(&report.missing_referrers),
        "missingForeignLayers": texts(&report.missing_foreign_layers),
    })
}

/// `3 copied, 2 there already, 1 mounted`
fn blobs(report: &CopyReport) -> String {
    let mut text = format!(
        "{} copied, {} there already",
        report.blobs_copied, report.blobs_skipped
    );
    if report.blobs_mounted > 0 {
        let _ = write!(text, ", {} mounted", report.blobs_mounted);
    }
    text
}

/// Shows what would be moved, image by image and all together.
fn show_previews(
    application: &Application,
    destination: &str,
    previews: &[(Option<String>, CopyPreview)],
) -> Result<(), CliError> {
    let name = |action| match action {
        BlobAction::Copy => "copy",
        BlobAction::Skip => "skip",
        BlobAction::Mount => "mount",
        BlobAction::Omit => "omit",
        _ => "other",
    };
    let sum = |action| {
        previews
            .iter()
            .fold((0, 0_u64), |(count, bytes), (_, one)| {
                let (more, more_bytes) = one.sum(action);
                (count + more, bytes.saturating_add(more_bytes))
            })
    };
    let all = [
        BlobAction::Copy,
        BlobAction::Mount,
        BlobAction::Skip,
        BlobAction::Omit,
    ]
    .map(|action| {
        let (blobs, bytes) = sum(action);
        (name(action), blobs, bytes)
    });
    let totals: serde_json::Map<String, Value> = all
        .iter()
        .map(|(name, blobs, bytes)| ((*name).to_owned(), json!({"blobs": blobs, "bytes": bytes})))
        .collect();
    let described = |descriptor: &Descriptor| {
        json!({
            "digest": descriptor.digest.to_string(),
            "mediaType": descriptor.media_type.to_string(),
            "size": descriptor.size,
        })
    };
    let images: Vec<Value> = previews
        .iter()
        .map(|(tag, preview)| {
            let blobs: Vec<Value> = preview
                .blobs
                .iter()
                .map(|(blob, action)| {
                    let mut object = described(blob);
                    if let Value::Object(members) = &mut object {
                        members.insert("action".to_owned(), name(*action).into());
                    }
                    object
                })
                .collect();
            let manifests: Vec<Value> = preview.manifests.iter().map(described).collect();
            json!({
                "tag": tag,
                "digest": preview.digest.to_string(),
                "mediaType": preview.media_type.to_string(),
                "whole": preview.is_whole,
                "referrers": preview.referrers,
                "manifests": manifests,
                "blobs": blobs,
            })
        })
        .collect();
    let value = json!({"destination": destination, "images": images, "totals": totals});
    application.output.value(&value, || {
        let rows = previews
            .iter()
            .map(|(tag, preview)| {
                let part = |action| {
                    let (blobs, bytes) = preview.sum(action);
                    format!("{blobs} ({})", human_size(bytes))
                };
                vec![
                    tag.clone().unwrap_or_default(),
                    preview.digest.to_string(),
                    part(BlobAction::Copy),
                    part(BlobAction::Mount),
                    part(BlobAction::Skip),
                ]
            })
            .collect();
        let heading = ["tag", "digest", "to copy", "to mount", "there already"];
        let mut text = table(&heading, rows);
        let [(_, blobs, bytes), .., (_, omitted, _)] = all;
        if omitted > 0 {
            let _ = write!(
                text,
                "\n{omitted} foreign layers are not at the source and would stay where their URLs point"
            );
        }
        let _ = write!(
            text,
            "\n{blobs} blobs with {} would be copied to {destination}\nnothing was sent\n",
            human_size(bytes)
        );
        Ok(text)
    })
}
