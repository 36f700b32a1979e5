//! `peak registry delete`: tags and manifests.

use peak_sdk::registry::{Registry, RegistryError};
use serde_json::json;

use super::names::parse_reference;
use crate::application::Application;
use crate::error::CliError;
use crate::service::agree;

/// Deletes what the reference names: the manifest by its digest, or just the tag.
pub(super) async fn delete(
    application: &Application,
    registry: &Registry,
    reference: &str,
    replace: bool,
    yes: bool,
) -> Result<(), CliError> {
    let reference = parse_reference(reference)?;
    let repository = registry.repository(&reference);
    let what = match (reference.digest(), reference.tag()) {
        (Some(_), _) => format!("{reference} and every tag that leads to it"),
        (None, Some(tag)) => format!("the tag `{tag}` of {repository}"),
        // Here `latest` is not meant unless it is written.
        (None, None) => {
            return Err(
                CliError::usage(format!("`{reference}` has neither tag nor digest"))
                    .with_hint("say what is to be deleted, as NAME:TAG or NAME@DIGEST"),
            );
        }
    };
    // How many tags lead to a manifest nobody knows before; it may be more than one.
    let count = if reference.digest().is_some() { 2 } else { 1 };
    agree(yes, &what, count)?;
    match (reference.digest(), reference.tag()) {
        (Some(digest), _) => repository.delete_manifest(digest).await?,
        (None, Some(tag)) => match repository.delete_tag(tag).await {
            Err(RegistryError::DeleteUnsupported { .. }) if replace => {
                repository.replace_tag(tag).await?;
            }
            Err(error @ RegistryError::DeleteUnsupported { .. }) => {
                return Err(CliError::from(error)
                    .with_hint("--replace does the latter, and NAME@DIGEST the former"));
            }
            other => other?,
        },
        (None, None) => {}
    }
    application.output.object(
        &json!({"deleted": reference.to_string()}),
        &[("deleted", reference.to_string())],
    )
}
