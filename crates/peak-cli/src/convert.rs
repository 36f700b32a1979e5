//! The failures of the libraries, each with the exit code and the hint that a person needs.

use std::error::Error as StdError;

use peak_sdk::docker::EngineConfigError;
use peak_sdk::http;
use peak_sdk::images;
use peak_sdk::layout::LayoutError;
use peak_sdk::local::{LocalError, StoreError};
use peak_sdk::oci::{ContentError, ContentErrorKind};
use peak_sdk::platform;
use peak_sdk::registry::RegistryError;
use peak_sdk::registry_server::auth::AuthFileError;
use peak_sdk::transfer::{TargetError, TransferError};

use crate::error::{CliError, ErrorKind};

/// A failure of what goes over the network. Where the server was not trusted, says how it can be.
fn over_network(kind: ErrorKind, error: &(dyn StdError + 'static)) -> CliError {
    let failure = CliError::from_chain(kind, error);
    if let Some(RegistryError::RateLimited { .. }) = said_by_registry(error) {
        return failure.with_hint(
            "try again then, or ask more slowly with --requests-per-second; after `peak registry login` there may be more",
        );
    }
    let mut causes = std::iter::successors(Some(error), |error| StdError::source(*error));
    let is_about_tls = causes.any(|cause| {
        cause
            .downcast_ref::<http::Error>()
            .is_some_and(|cause| cause.kind() == http::ErrorKind::Tls)
    });
    if is_about_tls {
        failure.with_hint(
            "to trust a CA of your own, name its PEM file: with --ca-file for `peak registry`, else in SSL_CERT_FILE",
        )
    } else {
        failure
    }
}

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
        let failure = over_network(kind, &error).with_status(status).with_url(url);
        match (&failure.kind, status) {
            (ErrorKind::Unavailable, None) if failure.hint.is_none() => failure.with_hint(
                "see that the platform runs there; --endpoint-url and --stage say where",
            ),
            _ => failure,
        }
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
            LocalError::NotLoopback { .. } | LocalError::Token => ErrorKind::Usage,
            LocalError::NoState { .. } => ErrorKind::NotFound,
            _ => ErrorKind::Other,
        };
        let failure = Self::from_chain(kind, &error);
        match error {
            LocalError::StateInUse { .. }
            | LocalError::NotAStateDirectory { .. }
            | LocalError::NoState { .. }
            | LocalError::StateDirectory { .. } => {
                failure.with_hint("--state-dir names the directory")
            }
            LocalError::NotLoopback { .. } => failure
                .with_hint("add --token, and --tls-self-signed or --tls-cert with --tls-key; or listen on 127.0.0.1"),
            _ => failure,
        }
    }
}

impl From<AuthFileError> for CliError {
    fn from(error: AuthFileError) -> Self {
        Self::from_chain(ErrorKind::Usage, &error)
    }
}

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> Self {
        Self::from_chain(ErrorKind::Other, &error)
    }
}

impl From<RegistryError> for CliError {
    fn from(error: RegistryError) -> Self {
        Self::from(&error)
    }
}

impl From<&RegistryError> for CliError {
    fn from(error: &RegistryError) -> Self {
        over_network(kind_of_registry(error), error)
    }
}

fn kind_of_registry(error: &RegistryError) -> ErrorKind {
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

/// What a registry that failed said, which tells more than that it was a registry.
fn said_by_registry<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a RegistryError> {
    std::iter::successors(Some(error), |error| StdError::source(*error))
        .find_map(|cause| cause.downcast_ref())
}

impl From<TransferError> for CliError {
    fn from(error: TransferError) -> Self {
        Self::from(&error)
    }
}

impl From<&TransferError> for CliError {
    fn from(error: &TransferError) -> Self {
        let kind = match error.kind() {
            _ if error.is_integrity() => ErrorKind::Integrity,
            Some(kind) => kind_of_content(kind),
            None => ErrorKind::Other,
        };
        let kind = match said_by_registry(error) {
            Some(cause) if kind == ErrorKind::Other => kind_of_registry(cause),
            _ => kind,
        };
        over_network(kind, error)
    }
}

impl From<ContentError> for CliError {
    fn from(error: ContentError) -> Self {
        // What a registry said tells more than that it was a registry.
        let cause = std::error::Error::source(&error);
        if let Some(cause) = cause.and_then(|cause| cause.downcast_ref::<RegistryError>()) {
            return Self::from(cause);
        }
        Self::from_chain(kind_of_content(error.kind()), &error)
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

impl From<EngineConfigError> for CliError {
    fn from(error: EngineConfigError) -> Self {
        Self::from_chain(ErrorKind::Usage, &error)
    }
}

impl From<TargetError> for CliError {
    fn from(error: TargetError) -> Self {
        let kind = match &error {
            TargetError::Layout(
                LayoutError::NotFound { .. }
                | LayoutError::NoArchive { .. }
                | LayoutError::UnknownImage { .. },
            ) => ErrorKind::NotFound,
            TargetError::Layout(_) => ErrorKind::Other,
            _ => ErrorKind::Usage,
        };
        Self::from_chain(kind, &error)
    }
}
