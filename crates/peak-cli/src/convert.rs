//! The failures of the libraries, each with the exit code and the hint that a person needs.

pub(crate) mod network;
mod registry;

pub(crate) use registry::{login_instead, no_registry};

use std::error::Error as StdError;

use peak_sdk::docker::{EngineConfigError, EngineError};
use peak_sdk::images;
use peak_sdk::layout::LayoutError;
use peak_sdk::local::{LocalError, StoreError};
use peak_sdk::oci::{ContentError, ContentErrorKind, NoMatchingPlatform};
use peak_sdk::platform;
use peak_sdk::registry::RegistryError;
use peak_sdk::registry_server::auth::AuthFileError;
use peak_sdk::transfer::{TargetError, TransferError};

use crate::application::token_variable;
use crate::error::{CliError, ErrorKind, causes};
use crate::output::printable;
use crate::suggest::did_you_mean;

impl From<platform::Error> for CliError {
    fn from(error: platform::Error) -> Self {
        let status = error.status().map(|status| status.as_u16());
        let url = match &error {
            platform::Error::Http { url, .. } => Some(url.clone()),
            _ => error.status_error().map(|answer| answer.url().to_owned()),
        };
        let kind = match (&error, status) {
            (_, Some(status)) => ErrorKind::of_status(status),
            (platform::Error::InvalidRequest { .. }, _) => ErrorKind::Usage,
            (
                platform::Error::Http { .. }
                | platform::Error::UnexpectedContent { .. }
                | platform::Error::DownloadInterrupted { .. },
                _,
            ) => ErrorKind::Unavailable,
            _ => ErrorKind::Other,
        };
        if let (platform::Error::Http { source, .. }, None) = (&error, status)
            && network::is_told_alone(source)
        {
            return network::told_of_platform(source);
        }
        let failure = match &error {
            // What to do depends on where the token is from.
            platform::Error::Unauthorized(said) => {
                Self::new(kind, format!("not authenticated: {said}")).with_hint(about_token())
            }
            platform::Error::Forbidden(_) => Self::from_chain(kind, &error).with_hint(
                "the token is known, and may not do this; ask for access, or set PEAK_AUTH_TOKEN to the token of somebody who may",
            ),
            _ => Self::from_chain(kind, &error),
        };
        let failure = failure.with_status(status).with_url(url);
        match (failure.kind, status) {
            (ErrorKind::Unavailable, None) => failure.with_hint(
                "see that the platform runs there; --endpoint-url and --stage say where",
            ),
            _ => failure,
        }
    }
}

/// What to do about a token that the platform does not take.
fn about_token() -> String {
    match token_variable() {
        Some(name) => format!(
            "{name} is set, and not to a token of this platform; --stage and --endpoint-url say which platform is meant"
        ),
        None => "set PEAK_AUTH_TOKEN to a token of this platform".to_owned(),
    }
}

impl From<images::Error> for CliError {
    fn from(error: images::Error) -> Self {
        match error {
            images::Error::Platform(error) => error.into(),
            error => Self::from_chain(ErrorKind::Other, &error),
        }
    }
}

impl From<LocalError> for CliError {
    fn from(error: LocalError) -> Self {
        let kind = match &error {
            LocalError::NotLoopback { .. }
            | LocalError::Token
            | LocalError::Tls { .. }
            | LocalError::NotAStateDirectory { .. } => ErrorKind::Usage,
            LocalError::NoState { .. } => ErrorKind::NotFound,
            _ => ErrorKind::Other,
        };
        let failure = Self::from_chain(kind, &error);
        match error {
            LocalError::NoState { .. } => failure.with_hint(
                "`peak local serve` and `peak ship DIR --local` make one; --state-dir names another directory",
            ),
            LocalError::StateInUse { .. }
            | LocalError::NotAStateDirectory { .. }
            | LocalError::StateDirectory { .. } => {
                failure.with_hint("--state-dir names the directory")
            }
            LocalError::Tls { .. } => {
                failure.with_hint("--tls-cert and --tls-key name PEM files that can be read")
            }
            LocalError::Listen { .. } => failure.with_hint("--listen says where it listens"),
            LocalError::NotLoopback { .. } => failure
                .with_hint("add --token, and --tls-self-signed or --tls-cert with --tls-key; or listen on 127.0.0.1"),
            _ => failure,
        }
    }
}

impl From<AuthFileError> for CliError {
    fn from(error: AuthFileError) -> Self {
        Self::from_chain(ErrorKind::Usage, &error).with_hint(
            "`peak local serve --help` has the forms of the files that --users and --rules name",
        )
    }
}

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> Self {
        Self::from_chain(ErrorKind::Other, &error)
    }
}

/// The error of that type among an error and its causes: it tells more than that it was a registry, or a disk.
fn find<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

impl From<TransferError> for CliError {
    fn from(error: TransferError) -> Self {
        Self::from(&error)
    }
}

impl From<&TransferError> for CliError {
    fn from(error: &TransferError) -> Self {
        match error {
            TransferError::NoPlatform { source, .. } => return Self::from(source),
            TransferError::OtherPlatform { .. } => {
                return Self::from_chain(ErrorKind::NotFound, error)
                    .with_hint("leave out --platform to copy it as it is");
            }
            _ => {}
        }
        let kind = match error.kind() {
            _ if error.is_integrity() => ErrorKind::Integrity,
            Some(kind) => kind_of_content(kind),
            None => ErrorKind::Other,
        };
        let said = of_end(error);
        match said {
            Some(End { told, alone: true }) if kind != ErrorKind::Integrity => told,
            // What was being copied comes first, and the rest is as that end says it.
            Some(End { told, .. }) => Self {
                kind: if kind == ErrorKind::Other {
                    told.kind
                } else {
                    kind
                },
                ..told
            }
            .with_message(Self::from_chain(kind, error).message),
            None => Self::from_chain(kind, error),
        }
    }
}

/// What one end of a copy says.
struct End {
    told: CliError,
    /// Whether that is all there is to say.
    alone: bool,
}

fn of_end(error: &(dyn StdError + 'static)) -> Option<End> {
    if let Some(error) = find::<RegistryError>(error) {
        return Some(End {
            told: CliError::from(error),
            alone: registry::is_told_alone(error),
        });
    }
    if let Some(error) = find::<EngineError>(error) {
        return Some(End {
            told: CliError::from(error),
            alone: true,
        });
    }
    let error = find::<LayoutError>(error)?;
    let told = CliError::from(error);
    Some(End {
        alone: matches!(told.kind, ErrorKind::Usage | ErrorKind::NotFound),
        told,
    })
}

impl From<ContentError> for CliError {
    fn from(error: ContentError) -> Self {
        match of_end(&error) {
            Some(End { told, .. }) => told,
            None => Self::from_chain(kind_of_content(error.kind()), &error),
        }
    }
}

fn kind_of_content(kind: ContentErrorKind) -> ErrorKind {
    match kind {
        ContentErrorKind::Integrity => ErrorKind::Integrity,
        // It was asked to hold what it cannot hold.
        ContentErrorKind::Unsupported => ErrorKind::Usage,
        ContentErrorKind::NotFound => ErrorKind::NotFound,
        ContentErrorKind::Denied => ErrorKind::Authentication,
        ContentErrorKind::Network | ContentErrorKind::Interrupted => ErrorKind::Unavailable,
        _ => ErrorKind::Other,
    }
}

/// An index without an image for the platform that was asked for: says what it has.
impl From<&NoMatchingPlatform> for CliError {
    fn from(error: &NoMatchingPlatform) -> Self {
        let wanted = error.wanted.to_string();
        let failure = Self::new(
            ErrorKind::NotFound,
            format!("the index has no image for {wanted}"),
        );
        if error.available.is_empty() {
            return failure.with_hint(
                "it says no platforms; `peak registry inspect` shows its images, which NAME@DIGEST takes",
            );
        }
        let list = listed(&error.available);
        match did_you_mean(&wanted, &error.available) {
            Some(question) if error.available.len() == 1 => failure.with_hint(question),
            Some(question) => failure.with_hint(format!("{question} it has {list}")),
            None => failure.with_hint(format!("it has {list}")),
        }
    }
}

/// Most names that are told in one line.
const LISTED: usize = 10;

/// `` a, b and 7 more ``
fn listed(names: &[String]) -> String {
    let first: Vec<_> = names
        .iter()
        .take(LISTED)
        .map(|name| printable(name))
        .collect();
    match names.len().saturating_sub(LISTED) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

impl From<EngineConfigError> for CliError {
    fn from(error: EngineConfigError) -> Self {
        Self::from_chain(ErrorKind::Usage, &error)
    }
}

impl From<&EngineError> for CliError {
    fn from(error: &EngineError) -> Self {
        let kind = match error {
            _ if error.is_not_found() => ErrorKind::NotFound,
            _ if error.is_denied() || error.is_unauthorized() => ErrorKind::Authentication,
            _ if error.is_unreachable() || error.is_interrupted() => ErrorKind::Unavailable,
            EngineError::Silent { .. } => ErrorKind::Unavailable,
            EngineError::Conflict { .. } => ErrorKind::Refused,
            EngineError::InvalidName { .. }
            | EngineError::Config(_)
            | EngineError::UnprotectedCredentials { .. } => ErrorKind::Usage,
            _ => ErrorKind::Other,
        };
        match error {
            // The Engine's own words repeat the name, and more than once.
            EngineError::NotFound { what, .. } if what.starts_with("image ") => {
                Self::new(kind, format!("the Docker Engine does not have {what}"))
            }
            _ => Self::from_chain(kind, error),
        }
    }
}

impl From<&LayoutError> for CliError {
    fn from(error: &LayoutError) -> Self {
        match error {
            LayoutError::UnknownImage { name, available } => {
                let failure = Self::new(
                    ErrorKind::NotFound,
                    format!(
                        "there is no image `{}` in that layout or archive",
                        printable(name)
                    ),
                );
                match did_you_mean(name, available) {
                    Some(question) => failure.with_hint(question),
                    None if available.is_empty() => failure.with_hint("it holds none with a name"),
                    None => failure.with_hint(format!("there are {}", listed(available))),
                }
            }
            LayoutError::Ambiguous { available } => Self::usage(
                "there are several images in that layout or archive",
            )
            .with_hint(format!(
                "say which one, as {}; there are {}",
                form_of(available),
                listed(available)
            )),
            LayoutError::NotFound { .. } | LayoutError::NoArchive { .. } => {
                Self::from_chain(ErrorKind::NotFound, error)
                    .with_hint("check the path; it counts from the current directory")
            }
            LayoutError::Unfinished { .. } | LayoutError::MissingBlob { .. } => {
                Self::from_chain(ErrorKind::NotFound, error)
            }
            LayoutError::NotAFile { .. } => Self::from_chain(ErrorKind::Usage, error)
                .with_hint("a directory is written as oci:DIR"),
            LayoutError::NotADirectory { .. } => Self::from_chain(ErrorKind::Usage, error)
                .with_hint("an archive is written as oci-archive:FILE or docker-archive:FILE"),
            LayoutError::IndexNotHeld { .. } => Self::from_chain(ErrorKind::Usage, error)
                .with_hint("--platform OS/ARCHITECTURE does, as in --platform linux/amd64"),
            LayoutError::NotALayout { .. }
            | LayoutError::SeveralUntagged { .. }
            | LayoutError::NamedByDigest { .. }
            | LayoutError::NotHeld { .. }
            | LayoutError::Signed { .. } => Self::from_chain(ErrorKind::Usage, error),
            _ if error.is_integrity() => Self::from_chain(ErrorKind::Integrity, error),
            _ => Self::from_chain(ErrorKind::Other, error),
        }
    }
}

/// How one of these images is written. Those of a Docker archive have whole names.
fn form_of(names: &[String]) -> &'static str {
    let is_whole = |name: &String| name.contains(':') && !name.starts_with("sha256:");
    if names.iter().any(is_whole) {
        "docker-archive:FILE:REFERENCE"
    } else if names.iter().all(|name| name.contains(':')) {
        "oci:DIR@DIGEST (in an archive oci-archive:FILE@DIGEST)"
    } else {
        "oci:DIR:TAG (in an archive oci-archive:FILE:TAG)"
    }
}

impl From<TargetError> for CliError {
    fn from(error: TargetError) -> Self {
        match &error {
            TargetError::Layout(error) => Self::from(error),
            _ => Self::from_chain(ErrorKind::Usage, &error),
        }
    }
}
