//! What `peak ship` prints: the requests of a dry run, or what became of the image.

use peak_sdk::images::Upserted;
use peak_sdk::images::models::ImageVersion;
use peak_sdk::oci::Digest;
use peak_sdk::pack::FileList;
use peak_sdk::transfer::Target;
use serde_json::json;
use url::Url;

use super::{ShipArguments, image_to_create};
use crate::application::{Application, session_at};
use crate::commands::images::upsert_plan;
use crate::commands::transfer::Destination;
use crate::error::{CliError, ErrorKind};
use crate::output::{Output, human_size};
use crate::service;

/// Where the embedded platform would be in a dry run: port 0 is whatever is free.
const EMBEDDED_URL: &str = "http://127.0.0.1:0";

/// Shows the requests of which the platform gets those that fit what it has, and the files. The embedded platform listens
/// on a port that is known once it runs, so 0 stands for it.
pub(super) fn show_dry_run(
    application: &Application,
    arguments: &ShipArguments,
    name: &str,
    dockerfile: &str,
    files: FileList,
    targets: &[Target],
) -> Result<(), CliError> {
    let session = if arguments.local {
        session_at(Url::parse(EMBEDDED_URL).map_err(|error| CliError::other(error.to_string()))?)?
    } else {
        application.session_to_show()?
    };
    let upload = service::Upload::listed(files);
    let image = image_to_create(arguments, name, dockerfile, upload.artifact());
    let body = serde_json::to_value(image.body())
        .map_err(|error| CliError::from_chain(ErrorKind::Other, &error))?;
    let requests = upsert_plan(&session, &body, name, Some(&upload))?;
    let to: Vec<_> = targets.iter().map(ToString::to_string).collect();
    service::show_plan(application.output, &requests, Some(&upload), Some(&to))
}

pub(super) fn show_begun(output: Output, name: &str, begun: &Upserted) -> Result<(), CliError> {
    output.object(
        &json!({"name": name, "imageId": begun.image_id, "versionId": begun.version_id, "buildId": begun.build_id}),
        &[
            ("name", name.to_owned()),
            ("imageId", begun.image_id.to_string()),
            ("versionId", begun.version_id.to_string()),
            ("buildId", begun.build_id.as_ref().map(ToString::to_string).unwrap_or_default()),
        ],
    )
}

pub(super) fn show_shipped(
    output: Output,
    name: &str,
    begun: &Upserted,
    version: &ImageVersion,
    pull_url: &str,
    digest: Option<&Digest>,
    destinations: &[Destination],
) -> Result<(), CliError> {
    let copied: Vec<_> = destinations.iter().map(Destination::name).collect();
    let digest = digest.map(ToString::to_string);
    let mut rows = vec![
        ("name", name.to_owned()),
        ("version", version.version.clone().unwrap_or_default()),
        ("imageId", begun.image_id.to_string()),
        ("versionId", begun.version_id.to_string()),
        ("pullUrl", pull_url.to_owned()),
        (
            "digest",
            digest.clone().unwrap_or_else(|| "not known".to_owned()),
        ),
        ("size", version.size.map(human_size).unwrap_or_default()),
    ];
    rows.extend(copied.iter().map(|place| ("copied to", place.clone())));
    output.object(
        &json!({
            "name": name,
            "version": version.version,
            "imageId": begun.image_id,
            "versionId": begun.version_id,
            "buildId": begun.build_id,
            "pullUrl": pull_url,
            "digest": digest,
            "size": version.size,
            "to": copied,
        }),
        &rows,
    )
}
