//! The copies of the built image. One that fails ends none of the others, and takes nothing from what is built.

use std::path::Path;

use peak_sdk::oci::{Digest, Reference};
use peak_sdk::registry::Registry;
use peak_sdk::transfer::CopyOptions;

use super::{Built, ShipArguments};
use crate::application::{Application, token_variable};
use crate::commands::local::DEFAULT_LISTEN;
use crate::commands::transfer::Destination;
use crate::error::CliError;
use crate::paths::in_shell;
use crate::refused;

/// Where the image is copied to, and as whom.
pub(super) struct Copies {
    pub(super) registry: Registry,
    pub(super) destinations: Vec<Destination>,
}

/// Copies the image to each of these places. Where one did not take it the first failure is the result, which says as well
/// what has become of the rest.
pub(super) async fn copy_to_all(
    application: &Application,
    arguments: &ShipArguments,
    built: &Built,
    copies: &Copies,
) -> Result<(), CliError> {
    let Copies {
        registry,
        destinations,
    } = copies;
    let mut copied = Vec::new();
    let mut failures = Vec::new();
    for destination in destinations {
        let name = destination.name();
        application.progress.step("copy", &name);
        let selector = built.selector();
        let received = destination.receive(
            application,
            &built.repository,
            Some(&selector),
            CopyOptions::new(),
        );
        match received.await {
            Ok(_) => copied.push(name),
            Err(error) => {
                failures.push((name, refused::with_account(registry, error).await));
            }
        }
    }
    let mut failures = failures.into_iter();
    let Some((place, first)) = failures.next() else {
        return Ok(());
    };
    let others: Vec<_> = failures.collect();
    let wanted = others.is_empty().then_some(place.as_str());
    let first = if destinations.len() > 1 {
        first.with_context(&format!("the copy to {place}"))
    } else {
        first
    };
    let what = if copied.is_empty() {
        "is built".to_owned()
    } else {
        format!("is built, and copied to {}", copied.join(", "))
    };
    let digest = Some(&built.digest);
    let hint = how_to_go_on(
        application,
        arguments,
        &built.reference,
        digest,
        &what,
        wanted,
    );
    let error = first.with_more_hint(&hint);
    Err(others.iter().fold(error, |error, (name, other)| {
        error.with_more_hint(&format!(
            "the copy to {name} failed as well: {}",
            other.message
        ))
    }))
}

/// What is built all the same, and how it is copied to a place.
pub(super) fn how_to_go_on(
    application: &Application,
    arguments: &ShipArguments,
    reference: &Reference,
    digest: Option<&Digest>,
    what: &str,
    place: Option<&str>,
) -> String {
    let place = place.map_or_else(|| "DEST".to_owned(), |place| in_shell(Path::new(place)));
    let pinned = match digest {
        Some(digest) => reference.with_digest(digest.clone()),
        None => reference.clone(),
    };
    // The token of the platform counts at its registry where it is clear which platform is meant.
    let copy = match token_variable() {
        Some(_) if !arguments.local => application.as_command("peak registry copy"),
        _ => "peak registry copy".to_owned(),
    };
    if !arguments.local {
        return format!("`{pinned}` {what}; `{copy} {pinned} {place}` copies it");
    }
    // The address of the embedded platform ends with the command.
    let served = Reference::new(
        DEFAULT_LISTEN,
        pinned.repository().clone(),
        pinned.tag().cloned(),
        pinned.digest().cloned(),
    );
    let served = served.unwrap_or_else(|_| pinned.clone());
    let name = served.to_string();
    let name = name
        .strip_prefix(&format!("{DEFAULT_LISTEN}/"))
        .unwrap_or(&name);
    format!(
        "`{name}` {what}; while `{}` runs, `{copy} {served} {place}` copies it",
        arguments.state.as_command("peak local serve")
    )
}
