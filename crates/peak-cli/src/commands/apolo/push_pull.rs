//! `peak apolo push` and `pull`: an image between the platform and the Docker Engine, or a place on disk.

use std::sync::Arc;

use peak_sdk::apolo::{ImageProgress, Images, LocalImage, RemoteImage};
use peak_sdk::transfer::{CopyOptions, CopyReport, Platforms, Target};
use serde_json::{Value, json};

use super::arguments::HowToMove;
use crate::application::Application;
use crate::commands::registry::{parse_local_target, parse_platform};
use crate::commands::transfer::warn;
use crate::error::CliError;
use crate::output::{human_size, shown};

/// An image goes to the platform: out of the Engine, or with no Engine from a place on disk.
pub(super) async fn push(
    application: &Application,
    images: &Images,
    local: &str,
    remote: Option<&str>,
    how: &HowToMove,
) -> Result<(), CliError> {
    let remote = remote
        .map(|text| images.clusters().parse_remote(text))
        .transpose()?;
    if how.no_docker {
        let remote = remote.ok_or_else(|| CliError::usage("REMOTE is missing"))?;
        return push_from_place(application, images, local, &remote, how).await;
    }
    push_from_engine(application, images, &in_engine(local)?, remote.as_ref()).await
}

/// An image comes from the platform: into the Engine, or with no Engine into a place on disk.
pub(super) async fn pull(
    application: &Application,
    images: &Images,
    remote: &str,
    local: Option<&str>,
    how: &HowToMove,
) -> Result<(), CliError> {
    let remote = images.clusters().parse_remote(remote)?;
    if how.no_docker {
        let local = local.ok_or_else(|| CliError::usage("LOCAL is missing"))?;
        return pull_into_place(application, images, &remote, local, how).await;
    }
    let local = local.map(in_engine).transpose()?;
    pull_into_engine(application, images, &remote, local.as_ref()).await
}

/// An image in the Engine. What names a place on disk could be one, too, and is hardly meant so.
fn in_engine(text: &str) -> Result<LocalImage, CliError> {
    let places = ["oci:", "oci-archive:", "docker-archive:"];
    if places.iter().any(|place| text.starts_with(place)) {
        return Err(
            CliError::usage(format!("`{}` is a place on disk", shown(text)))
                .with_hint("--no-docker moves an image from there or to there"),
        );
    }
    Ok(text.parse::<LocalImage>()?)
}

async fn push_from_engine(
    application: &Application,
    images: &Images,
    local: &LocalImage,
    remote: Option<&RemoteImage>,
) -> Result<(), CliError> {
    let meter = application.progress.layers("push", local.to_string());
    let progress: Arc<dyn ImageProgress> = Arc::clone(&meter) as _;
    let pushing = Box::pin(images.push(local, remote, Some(progress)));
    let pushed = meter.watch(pushing).await?;
    moved(application, &pushed, &local.to_string(), None)
}

async fn pull_into_engine(
    application: &Application,
    images: &Images,
    remote: &RemoteImage,
    local: Option<&LocalImage>,
) -> Result<(), CliError> {
    let meter = application.progress.layers("pull", remote.to_string());
    let progress: Arc<dyn ImageProgress> = Arc::clone(&meter) as _;
    let pulling = Box::pin(images.pull(remote, local, Some(progress)));
    let pulled = meter.watch(pulling).await?;
    moved(application, remote, &pulled.to_string(), None)
}

async fn push_from_place(
    application: &Application,
    images: &Images,
    place: &str,
    remote: &RemoteImage,
    how: &HowToMove,
) -> Result<(), CliError> {
    let place = parse_place(place)?;
    let meter = application.progress.transfer("push", remote.to_string());
    let options = options(how)?.progress(meter.listener());
    let pushing = Box::pin(images.push_from(&place, remote, options, None));
    let report = meter.watch(pushing).await?;
    drop(meter);
    warn(application, &report);
    moved(application, remote, &place.to_string(), Some(&report))
}

async fn pull_into_place(
    application: &Application,
    images: &Images,
    remote: &RemoteImage,
    place: &str,
    how: &HowToMove,
) -> Result<(), CliError> {
    let place = parse_place(place)?;
    let meter = application.progress.transfer("pull", place.to_string());
    let options = options(how)?.progress(meter.listener());
    let pulling = Box::pin(images.pull_into(remote, &place, options, None));
    let report = meter.watch(pulling).await?;
    drop(meter);
    warn(application, &report);
    moved(application, remote, &place.to_string(), Some(&report))
}

/// A place on disk; a name in a registry is none.
fn parse_place(text: &str) -> Result<Target, CliError> {
    let place = parse_local_target(text)?;
    if place.path().is_none() {
        return Err(
            CliError::usage(format!("`{}` is no place on disk", shown(text)))
                .with_hint("write it as oci:DIR[:TAG], oci-archive:FILE or docker-archive:FILE"),
        );
    }
    Ok(place)
}

fn options(how: &HowToMove) -> Result<CopyOptions, CliError> {
    let platforms = how
        .platform
        .iter()
        .map(|text| parse_platform(text))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(CopyOptions::new().platforms(Platforms::only(platforms)))
}

/// Says what was moved.
fn moved(
    application: &Application,
    remote: &RemoteImage,
    local: &str,
    report: Option<&CopyReport>,
) -> Result<(), CliError> {
    let url = remote.as_docker_url(false);
    let mut object = json!({"image": remote.to_string(), "docker_url": url, "local": local});
    let mut rows = vec![
        ("image", remote.to_string()),
        ("docker url", url),
        ("local", local.to_owned()),
    ];
    if let (Some(report), Value::Object(members)) = (report, &mut object) {
        members.insert("digest".to_owned(), report.digest.to_string().into());
        members.insert("size".to_owned(), report.size.into());
        rows.push(("digest", report.digest.to_string()));
        rows.push(("size", human_size(report.size)));
    }
    application.output.object(&object, &rows)
}
