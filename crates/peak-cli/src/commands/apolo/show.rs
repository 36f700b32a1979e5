//! `peak apolo ls`, `tags`, `digest`, `size` and `parse`: what is shown of the platform's images.

use peak_sdk::apolo::{Images, RemoteImage};
use serde_json::{Value, json};

use crate::application::Application;
use crate::commands::registry::parse_platform;
use crate::error::CliError;
use crate::output::{Output, human_size, printable};

/// The images in a cluster.
pub(super) async fn images(
    application: &Application,
    images: &Images,
    cluster: Option<&str>,
) -> Result<(), CliError> {
    list(application, &images.list(cluster).await?)
}

/// The tags of an image.
pub(super) async fn tags(
    application: &Application,
    images: &Images,
    text: &str,
) -> Result<(), CliError> {
    let remote = images
        .clusters()
        .parse_remote_without_tag(text)?
        .without_tag();
    list(application, &images.tags(&remote).await?)
}

/// The digest that a tag leads to.
pub(super) async fn digest(
    application: &Application,
    images: &Images,
    text: &str,
) -> Result<(), CliError> {
    let remote = images.clusters().parse_remote(text)?;
    let digest = images.digest(&remote).await?.to_string();
    application.output.object(
        &json!({"image": remote.to_string(), "digest": digest}),
        &[("image", remote.to_string()), ("digest", digest.clone())],
    )
}

/// How many bytes the layers of an image have.
pub(super) async fn size(
    application: &Application,
    images: &Images,
    text: &str,
    platform: Option<&str>,
) -> Result<(), CliError> {
    let remote = images.clusters().parse_remote(text)?;
    let size = match platform.map(parse_platform).transpose()? {
        Some(platform) => images.size_for(&remote, &platform).await?,
        None => images.size(&remote).await?,
    };
    application.output.object(
        &json!({"image": remote.to_string(), "size": size}),
        &[("image", remote.to_string()), ("size", human_size(size))],
    )
}

/// The name of an image, taken apart.
pub(super) fn name(application: &Application, image: &RemoteImage) -> Result<(), CliError> {
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    application.output.object(
        &parts(image),
        &[
            ("name", image.name.clone()),
            ("tag", text(image.tag.as_deref())),
            ("registry", text(image.registry.as_deref())),
            ("cluster", text(image.cluster_name())),
            ("org", text(image.org_name())),
            ("project", text(image.project_name())),
            ("docker url", image.as_docker_url(false)),
        ],
    )
}

/// A name a line for a person, the parts of each for a program.
fn list(application: &Application, images: &[RemoteImage]) -> Result<(), CliError> {
    let output: Output = application.output;
    output.value(&images.iter().map(parts).collect::<Vec<_>>(), || {
        Ok(images.iter().fold(String::new(), |text, image| {
            text + &printable(&image.to_string()) + "\n"
        }))
    })
}

/// The parts of an image's name.
fn parts(image: &RemoteImage) -> Value {
    json!({
        "name": image.name,
        "tag": image.tag,
        "registry": image.registry,
        "cluster": image.cluster_name(),
        "org": image.org_name(),
        "project": image.project_name(),
        "docker_url": image.as_docker_url(false),
    })
}
