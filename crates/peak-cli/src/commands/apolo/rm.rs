//! `peak apolo rm`: an image of the platform goes, and every tag that leads to it.

use peak_sdk::apolo::Images;
use peak_sdk::oci::Digest;
use serde_json::json;

use crate::application::Application;
use crate::error::{CliError, ErrorKind};
use crate::output::{printable, shown};
use crate::service::agree;

pub(super) async fn remove(
    application: &Application,
    images: &Images,
    text: &str,
    digest: Option<&str>,
    yes: bool,
) -> Result<(), CliError> {
    let clusters = images.clusters();
    let remote = clusters.parse_remote(text)?;
    let digest: Digest = match digest {
        Some(digest) => digest.parse().map_err(|error| {
            let failure = CliError::from_chain(ErrorKind::Usage, &error);
            failure.with_context(&format!("`{}`", printable(digest)))
        })?,
        // Here `latest` is not meant unless it is written.
        None if clusters
            .parse_remote_without_tag(text)
            .is_ok_and(|image| image.tag.is_none()) =>
        {
            return Err(CliError::usage(format!("`{}` has no tag", shown(text)))
                .with_hint("say what is to be deleted: a tag, or a digest behind the name"));
        }
        None => images.digest(&remote).await?,
    };
    let all_tags = remote.without_tag();
    let what = format!("{all_tags}@{digest} and every tag that leads to it");
    agree(yes, &what, 1)?;
    images.rm(&all_tags, &digest).await?;
    let deleted = format!("{all_tags}@{digest}");
    application.output.object(
        &json!({"deleted": deleted}),
        &[("deleted", deleted.clone())],
    )
}
