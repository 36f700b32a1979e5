//! How images and places are written on the command line: references, registries, places on this machine.

use std::path::Path;

use peak_sdk::oci::{
    MediaType, MediaTypeError, Platform, PlatformError, Reference, ReferenceError,
};
use peak_sdk::transfer::{Target, TargetError};

use crate::convert::{login_instead, no_registry};
use crate::error::{CliError, ErrorKind};
use crate::output::shown;

/// Reads a reference that stands on the command line.
pub(crate) fn parse_reference(text: &str) -> Result<Reference, CliError> {
    // `oci:app` would be the tag `app` of an image at Docker Hub, which nobody means who writes it so.
    if is_local(text) {
        return Err(CliError::usage(format!(
            "`{}` is a place on this machine, and this takes an image in a registry",
            shown(text)
        ))
        .with_hint("`peak registry copy` and `push` bring an image from there into a registry"));
    }
    let reference = parse_any_reference(text)?;
    // `127.0.0.1:7325` would be the tag 7325 of an image at Docker Hub, which nobody means either.
    if !text.contains('/') && reference.tag().is_some() && is_address(text) {
        return Err(
            CliError::usage(format!("`{text}` is a registry without a repository"))
                .with_hint(format!("write it as {text}/REPOSITORY[:TAG]")),
        );
    }
    Ok(reference)
}

/// Refuses what is no name of a registry, before anything is done with it.
pub(crate) fn check_host(text: &str) -> Result<(), CliError> {
    let is_host =
        !text.contains('/') && Reference::parse(&format!("{}/x", text.to_lowercase())).is_ok();
    if is_host {
        return Ok(());
    }
    Err(no_registry(text))
}

/// Whether it is the address of a machine, with a port.
fn is_address(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        let is_host = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok();
        is_host && port.parse::<u16>().is_ok()
    })
}

/// As [`parse_reference`], where something else has made clear that it is in a registry.
fn parse_any_reference(text: &str) -> Result<Reference, CliError> {
    Reference::parse(text).map_err(|error| {
        CliError::from_chain(ErrorKind::Usage, &error).with_hint(advice_on_reference(text, &error))
    })
}

/// What to write in place of something that is no reference, as far as it shows what was meant.
fn advice_on_reference(text: &str, error: &ReferenceError) -> String {
    if let (ReferenceError::User { .. }, Some(advice)) = (error, login_instead(text)) {
        return advice;
    }
    let bare = text.trim();
    let bare = ["https://", "http://"]
        .into_iter()
        .find_map(|scheme| bare.strip_prefix(scheme))
        .unwrap_or(bare)
        .trim_end_matches('/');
    for candidate in [bare.to_owned(), bare.to_lowercase()] {
        if candidate != text && Reference::parse(&candidate).is_ok() {
            return format!("did you mean `{candidate}`?");
        }
    }
    if text.starts_with(['/', '.', '~']) {
        return "a directory is written as oci:DIR, an archive as oci-archive:FILE or docker-archive:FILE"
            .to_owned();
    }
    "write it as [registry/]repository[:tag][@digest]".to_owned()
}

/// How the names of places that are not in a registry begin.
const LOCAL_TRANSPORTS: [&str; 4] = ["oci:", "oci-archive:", "docker-archive:", "docker-daemon:"];

pub(super) fn is_local(text: &str) -> bool {
    LOCAL_TRANSPORTS
        .iter()
        .any(|transport| text.starts_with(transport))
}

/// Reads the name of an image: in a registry, unless it says another place.
pub(super) fn parse_source(text: &str) -> Result<Target, CliError> {
    if is_local(text) {
        return parse_target(text);
    }
    parse_registry(text)
}

/// Reads the name of any place.
fn parse_target(text: &str) -> Result<Target, CliError> {
    text.parse().map_err(|error| match error {
        TargetError::Reference { source, .. } => CliError::from_chain(ErrorKind::Usage, &source)
            .with_hint(advice_on_reference(
                text.strip_prefix("docker://").unwrap_or(text),
                &source,
            )),
        error => error.into(),
    })
}

pub(super) fn parse_registry(text: &str) -> Result<Target, CliError> {
    let reference = match text.strip_prefix("docker://") {
        Some(name) => parse_any_reference(name)?,
        None => parse_reference(text)?,
    };
    Ok(Target::Registry(reference))
}

/// Reads the name of a place to write to. Everything is the name of an image at Docker Hub, so there one has to say that
/// it is meant.
pub(crate) fn parse_destination(text: &str) -> Result<Target, CliError> {
    let target = parse_target(text)?;
    let names_a_registry = text.starts_with("docker://")
        || text
            .split_once('/')
            .is_some_and(|(host, _)| host == "localhost" || host.contains(['.', ':', '[']));
    if matches!(target, Target::Registry(_)) && !names_a_registry {
        return Err(CliError::usage(format!(
            "`{}` names neither a place on disk nor a registry",
            shown(text)
        ))
        .with_hint(format!(
            "write it as oci:DIR[:TAG] or REGISTRY/REPOSITORY[:TAG]; Docker Hub's image is docker://{text}"
        )));
    }
    Ok(target)
}

/// Reads the name of a place on disk; a bare path means `oci:`. With a colon in it, a bare path could also be meant
/// as some transport or as a tag, so it has to say which.
pub(crate) fn parse_local_target(text: &str) -> Result<Target, CliError> {
    if is_local(text) || text.starts_with("docker://") {
        return parse_target(text);
    }
    if text.is_empty() {
        return Err(CliError::usage("the place on disk is empty").with_hint(
            "write it as oci:DIR[:TAG], oci-archive:FILE[:TAG] or docker-archive:FILE[:REFERENCE]",
        ));
    }
    let place = shown(text);
    if text.contains(':') {
        return Err(
            CliError::usage(format!("`{place}` is no place on disk that is known"))
                .with_hint("write it as oci:DIR or oci:DIR:TAG"),
        );
    }
    if is_named_like_an_archive(text) {
        return Err(CliError::usage(format!(
            "`{place}` is called like an archive, and a bare path means a directory"
        ))
        .with_hint(format!(
            "write it as docker-archive:{place} (for `docker load`) or oci-archive:{place}; as oci:{place} if a directory is meant"
        )));
    }
    parse_target(&format!("oci:{text}"))
}

/// Whether whoever writes this path means a file: a directory of that name is there already, or there is none.
fn is_named_like_an_archive(path: &str) -> bool {
    const ENDINGS: [&str; 7] = [
        ".tar", ".tgz", ".tar.gz", ".tar.zst", ".tar.xz", ".tar.bz2", ".zip",
    ];
    let lower = path.to_lowercase();
    ENDINGS.iter().any(|ending| lower.ends_with(ending)) && !Path::new(path).is_dir()
}

pub(super) fn parse_media_type(text: &str) -> Result<MediaType, CliError> {
    text.parse()
        .map_err(|error: MediaTypeError| CliError::from_chain(ErrorKind::Usage, &error))
}

pub(crate) fn parse_platform(text: &str) -> Result<Platform, CliError> {
    text.parse()
        .map_err(|error: PlatformError| CliError::from_chain(ErrorKind::Usage, &error))
}
