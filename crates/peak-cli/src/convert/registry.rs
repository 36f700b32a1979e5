//! What to tell of the failures of registries.

use peak_sdk::http;
use peak_sdk::registry::RegistryError;

use super::network;
use crate::error::{CliError, ErrorKind, Missing};
use crate::output::shown;

impl From<RegistryError> for CliError {
    fn from(error: RegistryError) -> Self {
        Self::from(&error)
    }
}

impl From<&RegistryError> for CliError {
    fn from(error: &RegistryError) -> Self {
        let told = match error {
            RegistryError::ManifestNotFound { .. } | RegistryError::RepositoryNotFound { .. } => {
                not_found(error)
            }
            RegistryError::BlobNotFound {
                repository, digest, ..
            } => Self::new(
                ErrorKind::NotFound,
                format!("{repository} has no blob {digest}"),
            ),
            RegistryError::Unauthorized { repository, .. } => asks_for_credentials(
                repository,
                format!("{repository} asks for other credentials{}", reasons(error)),
            ),
            RegistryError::NoCredential { repository, source } => {
                no_credential(error, repository, source)
            }
            RegistryError::Denied { repository, .. } => Self::new(
                ErrorKind::Authentication,
                format!("access to {repository} is denied{}", reasons(error)),
            )
            .with_hint(format!(
                "it takes an account that may do this; `peak registry auth explain {repository}` says which one is used"
            ))
            .with_refused(repository),
            RegistryError::LoginRefused { registry, .. } => Self::new(
                ErrorKind::Authentication,
                format!(
                    "{registry} does not accept this user name and password{}",
                    reasons(error)
                ),
            )
            .with_hint("some registries want an access token in place of the password"),
            RegistryError::RateLimited { .. } => {
                Self::from_chain(ErrorKind::Unavailable, error).with_hint(
                    "try again then; after `peak registry login` there may be more",
                )
            }
            RegistryError::InvalidRegistry { registry } => no_registry(registry),
            RegistryError::Transport { repository, source } => network::told(source, repository),
            RegistryError::Setup(source) => network::told(source, "the registry"),
            RegistryError::ManifestType { .. } => Self::from_chain(ErrorKind::NotFound, error)
                .with_hint("without --media-type it is shown as it is"),
            RegistryError::InvalidResponse { repository, .. } => {
                Self::from_chain(ErrorKind::Other, error)
                    .with_doctor(network::doctor(registry_of(repository)))
            }
            RegistryError::Status { repository, .. } => {
                let failure = Self::from_chain(kind(error), error);
                let doctor = network::doctor(registry_of(repository));
                match failure.kind {
                    ErrorKind::Unavailable => failure.with_hint("try again later").with_doctor(doctor),
                    ErrorKind::NotFound | ErrorKind::Other => failure.with_doctor(doctor),
                    _ => failure,
                }
            }
            _ => Self::from_chain(kind(error), error),
        };
        match error.status() {
            Some(status) => told.with_status(Some(status.as_u16())),
            None => told,
        }
        .or_url(error.url())
    }
}

/// What should be the name of a registry and is not.
pub(crate) fn no_registry(text: &str) -> CliError {
    let failure = CliError::usage(format!("`{}` is not the name of a registry", shown(text)));
    failure.with_hint(login_instead(text).unwrap_or_else(|| {
        "write it as HOST or HOST:PORT, without `https://` and without a path".to_owned()
    }))
}

/// What to do in place of writing a user before a host, where somebody has.
pub(crate) fn login_instead(text: &str) -> Option<String> {
    let shown = shown(text);
    let (_, rest) = shown.split_once("…@")?;
    let host = rest
        .split(['/', '@'])
        .next()
        .filter(|host| !host.is_empty())?;
    Some(format!(
        "a host has no user before it; log in with `peak registry login {host} -u USER`, and leave out the user elsewhere"
    ))
}

/// Whether the error says by itself all that there is to say; what was being copied then adds nothing.
pub(super) fn is_told_alone(error: &RegistryError) -> bool {
    match error {
        RegistryError::Transport { source, .. } => network::is_told_alone(source),
        RegistryError::RateLimited { .. } | RegistryError::InvalidRegistry { .. } => true,
        _ => error.is_not_found() || error.is_authentication(),
    }
}

fn not_found(error: &RegistryError) -> CliError {
    let unknown_repository = |repository: &str| {
        CliError::new(
            ErrorKind::NotFound,
            format!("there is no repository {repository}"),
        )
        .with_missing(Some(Missing {
            repository: repository.to_owned(),
            tag: None,
        }))
    };
    match error {
        RegistryError::RepositoryNotFound { repository, .. } => unknown_repository(repository),
        RegistryError::ManifestNotFound { repository, .. }
            if error.codes().contains(&"NAME_UNKNOWN") =>
        {
            unknown_repository(repository)
        }
        RegistryError::ManifestNotFound {
            repository,
            selector,
            ..
        } if selector.contains(':') => CliError::new(
            ErrorKind::NotFound,
            format!("{repository} has no manifest {selector}"),
        )
        .with_hint(format!("`peak registry tags {repository}` lists its tags")),
        RegistryError::ManifestNotFound {
            repository,
            selector,
            ..
        } => CliError::new(
            ErrorKind::NotFound,
            format!("{repository} has no tag `{selector}`"),
        )
        .with_missing(Some(Missing {
            repository: repository.clone(),
            tag: Some(selector.clone()),
        })),
        _ => CliError::from_chain(ErrorKind::NotFound, error),
    }
}

/// A token server that cannot be reached is trouble of the network, not of the credentials.
fn no_credential(error: &RegistryError, repository: &str, source: &http::Error) -> CliError {
    if let Some(request) = network::request_in(source)
        && request.kind() != http::ErrorKind::Authentication
    {
        return network::told(request, repository);
    }
    let message = if error.is_without_credentials() {
        format!("{repository} asks for credentials, and none are known for it")
    } else {
        let reason = crate::error::causes(source).last().map(ToString::to_string);
        let reason = reason.unwrap_or_default();
        format!("there is no access to {repository}: {reason}")
    };
    asks_for_credentials(repository, message)
}

fn asks_for_credentials(repository: &str, message: String) -> CliError {
    let login = format!(
        "log in with `peak registry login {}`",
        registry_of(repository)
    );
    // A registry alone is nothing that is explained.
    let hint = if repository.contains('/') {
        format!(
            "{login}; `peak registry auth explain {repository}` says whose credentials are used"
        )
    } else {
        login
    };
    CliError::new(ErrorKind::Authentication, message)
        .with_hint(hint)
        .with_refused(repository)
}

/// What the registry said: `: CODE (message)`, as the library puts it behind its own words.
fn reasons(error: &RegistryError) -> String {
    match error {
        RegistryError::Unauthorized { reasons, .. }
        | RegistryError::Denied { reasons, .. }
        | RegistryError::LoginRefused { reasons, .. } => reasons.to_string(),
        _ => String::new(),
    }
}

/// The registry of a repository that is shown with it, or alone.
fn registry_of(repository: &str) -> &str {
    repository
        .split_once('/')
        .map_or(repository, |(registry, _)| registry)
}

pub(super) fn kind(error: &RegistryError) -> ErrorKind {
    match error {
        _ if error.is_integrity() => ErrorKind::Integrity,
        _ if error.is_not_found() => ErrorKind::NotFound,
        _ if error.is_authentication() => ErrorKind::Authentication,
        RegistryError::InvalidRegistry { .. } | RegistryError::NoSelector { .. } => {
            ErrorKind::Usage
        }
        RegistryError::Status { status, .. } => ErrorKind::of_status(status.as_u16()),
        RegistryError::DeleteUnsupported { .. } => ErrorKind::Refused,
        RegistryError::RateLimited { .. }
        | RegistryError::Transport { .. }
        | RegistryError::Interrupted { .. }
        | RegistryError::UploadInterrupted { .. } => ErrorKind::Unavailable,
        _ => ErrorKind::Other,
    }
}
