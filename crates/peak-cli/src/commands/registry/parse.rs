//! `peak registry parse`: what a reference consists of.

use peak_sdk::oci::Reference;
use serde_json::json;

use crate::error::CliError;
use crate::output::Output;

pub(super) fn show(output: Output, reference: &Reference) -> Result<(), CliError> {
    let tag = reference.tag().map(ToString::to_string);
    let digest = reference.digest().map(ToString::to_string);
    let parts = json!({
        "registry": reference.registry(),
        "repository": reference.repository().as_str(),
        "tag": tag,
        "digest": digest,
        "familiar": reference.familiar(),
        "canonical": reference.canonical(),
    });
    output.object(
        &parts,
        &[
            ("registry", reference.registry().to_owned()),
            ("repository", reference.repository().to_string()),
            ("tag", tag.unwrap_or_default()),
            ("digest", digest.unwrap_or_default()),
            ("familiar", reference.familiar()),
            ("canonical", reference.canonical()),
        ],
    )
}
