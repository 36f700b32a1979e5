//! What can go wrong with a registry, by outcome.

use std::time::Duration;

use http::StatusCode;
use peak_oci::{ContentError, ContentErrorKind, Digest, ManifestError, MediaType, VerifyError};

use crate::Reasons;
use crate::auth::KeychainError;
use crate::auth::token::TokenError;

/// An error of a registry.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The registry has no such manifest, or no such repository.
    #[error("{repository} has no manifest `{selector}`{reasons}")]
    ManifestNotFound {
        /// Registry and repository.
        repository: String,
        /// The tag or digest asked for.
        selector: String,
        /// What the registry said.
        reasons: Reasons,
    },
    /// The registry has no such repository.
    #[error("there is no repository {repository}{reasons}")]
    RepositoryNotFound {
        /// Registry and repository.
        repository: String,
        /// What the registry said.
        reasons: Reasons,
    },
    /// The registry does not delete such a thing.
    #[error("{repository} does not delete {what}{reasons}; {alternative}")]
    DeleteUnsupported {
        /// Registry and repository.
        repository: String,
        /// What was to be deleted.
        what: String,
        /// What the registry said.
        reasons: Reasons,
        /// What can be done in its place.
        alternative: &'static str,
    },
    /// The registry says that it has stored something else than what was sent.
    #[error("{repository} stored {actual} where {expected} was sent")]
    Stored {
        /// Registry and repository.
        repository: String,
        /// The digest of what was sent.
        expected: Digest,
        /// The digest that the registry says.
        actual: Digest,
    },
    /// Others change the list of referrers all the time, and one of the changes is lost each time.
    #[error(
        "the referrers of {subject} in {repository} were changed by others again and again; run this again"
    )]
    ReferrersChanged {
        /// Registry and repository.
        repository: String,
        /// What the referrers refer to.
        subject: Digest,
    },
    /// The registry has no such blob in this repository.
    #[error("{repository} has no blob {digest}{reasons}")]
    BlobNotFound {
        /// Registry and repository.
        repository: String,
        /// The blob asked for.
        digest: Digest,
        /// What the registry said.
        reasons: Reasons,
    },
    /// The registry wants credentials, or refuses the ones it got (401).
    #[error(
        "{repository} asks for other credentials{reasons}; log in with `peak registry login {}`",
        registry_of(repository)
    )]
    Unauthorized {
        /// Registry and repository.
        repository: String,
        /// What the registry said.
        reasons: Reasons,
    },
    /// No token could be had from the server that the registry names.
    #[error(
        "no credential for {repository} could be had; log in with `peak registry login {}`",
        registry_of(repository)
    )]
    NoCredential {
        /// Registry and repository.
        repository: String,
        /// Why not.
        #[source]
        source: peak_http::Error,
    },
    /// The registry knows who asks and refuses (403).
    #[error("access to {repository} is denied{reasons}; it takes an account that may do this")]
    Denied {
        /// Registry and repository.
        repository: String,
        /// What the registry said.
        reasons: Reasons,
    },
    /// The registry does not take the credentials of a login.
    #[error(
        "{registry} does not accept this user name and password{reasons}; some registries want an access token in the place of the password"
    )]
    LoginRefused {
        /// The registry.
        registry: String,
        /// What the registry said.
        reasons: Reasons,
        /// What its token server said, where it has one.
        #[source]
        source: Option<peak_http::Error>,
    },
    /// Credentials could not be kept, or removed.
    #[error("the credentials cannot be kept or removed")]
    Keychain(
        #[from]
        #[source]
        KeychainError,
    ),
    /// Too many requests (429), also after waiting as told.
    #[error("{repository} limits how often it may be asked; {}{reasons}", when(*.retry_after))]
    RateLimited {
        /// Registry and repository.
        repository: String,
        /// For how long it wants to be left alone (`Retry-After`), where it says that.
        retry_after: Option<Duration>,
        /// What the registry said.
        reasons: Reasons,
    },
    /// Any other status that is not success.
    #[error("{repository} answered {status}{reasons}")]
    Status {
        /// Registry and repository.
        repository: String,
        /// The status.
        status: StatusCode,
        /// What the registry said.
        reasons: Reasons,
    },
    /// The registry's name is no host with an optional port.
    #[error(
        "`{registry}` is not the name of a registry; it should be a host with an optional port, and no user before it"
    )]
    InvalidRegistry {
        /// The name, without a user and a password.
        registry: String,
    },
    /// Neither the call nor the reference says which image.
    #[error("{repository} was given without tag or digest; say which image is meant")]
    NoSelector {
        /// Registry and repository.
        repository: String,
    },
    /// One type was asked for and another came.
    #[error("the manifest is of type {actual}, but {expected} was asked for")]
    ManifestType {
        /// The type asked for.
        expected: MediaType,
        /// The type that came.
        actual: MediaType,
    },
    /// What came is no manifest.
    #[error("{repository} sent something for `{selector}` that is not a valid manifest")]
    InvalidManifest {
        /// Registry and repository.
        repository: String,
        /// The tag or digest asked for.
        selector: String,
        /// Where and why.
        #[source]
        source: ManifestError,
    },
    /// Bytes are not what their digest says.
    #[error("{repository} sent other content than `{selector}`")]
    Integrity {
        /// Registry and repository.
        repository: String,
        /// What was asked for.
        selector: String,
        /// What differs.
        #[source]
        source: VerifyError,
    },
    /// The registry has a blob of another size than the manifest says.
    #[error("{repository} has {actual} bytes for blob {digest}, but its manifest says {expected}")]
    BlobSize {
        /// Registry and repository.
        repository: String,
        /// The blob.
        digest: Digest,
        /// The size in the manifest.
        expected: u64,
        /// The size the registry has.
        actual: u64,
    },
    /// The blob is larger than what is read into memory.
    #[error("blob {digest} of {repository} has {size} bytes; at most {limit} are read into memory")]
    BlobTooLarge {
        /// Registry and repository.
        repository: String,
        /// The blob.
        digest: Digest,
        /// Its size in bytes.
        size: u64,
        /// How much is read.
        limit: u64,
    },
    /// The content of a blob could not be read to its end.
    #[error("the blob cannot be read")]
    Content {
        /// Why not.
        #[source]
        source: ContentError,
    },
    /// A blob was dropped so often without progress that asking again has no point.
    #[error(
        "blob {digest} from {repository} was cut off at byte {received} again and again; run this again to go on"
    )]
    Interrupted {
        /// Registry and repository.
        repository: String,
        /// The blob.
        digest: Digest,
        /// How far it came.
        received: u64,
        /// The last interruption, where it was more than an early end.
        #[source]
        source: Option<Box<RegistryError>>,
    },
    /// An upload went wrong so often without progress that going on has no point.
    #[error(
        "the upload of blob {digest} to {repository} was cut off at byte {acknowledged} again and again; run this again"
    )]
    UploadInterrupted {
        /// Registry and repository.
        repository: String,
        /// The blob.
        digest: Digest,
        /// How many of its bytes the registry has acknowledged.
        acknowledged: u64,
        /// What went wrong last.
        #[source]
        source: Option<Box<RegistryError>>,
    },
    /// What was to be uploaded is not what its digest or size says. The registry has not got all of it.
    #[error("blob {digest} was not uploaded, since its content at the source is another")]
    SourceIntegrity {
        /// The blob.
        digest: Digest,
        /// What differs.
        #[source]
        source: VerifyError,
    },
    /// The answer does not follow the protocol.
    #[error("the answer of {repository} cannot be used: {reason}")]
    InvalidResponse {
        /// Registry and repository.
        repository: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The HTTP client could not be made with these settings.
    #[error("the HTTP client cannot be set up")]
    Setup(#[source] peak_http::Error),
    /// The request or its answer did not get through.
    #[error("the request to {repository} failed")]
    Transport {
        /// Registry and repository.
        repository: String,
        /// What happened.
        #[source]
        source: peak_http::Error,
    },
}

impl RegistryError {
    /// Whether some content was not what its digest or size says.
    pub fn is_integrity(&self) -> bool {
        matches!(
            self,
            Self::Integrity { .. }
                | Self::BlobSize { .. }
                | Self::Stored { .. }
                | Self::SourceIntegrity { .. }
        )
    }

    /// Whether the thing asked for is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(
            self,
            Self::ManifestNotFound { .. }
                | Self::BlobNotFound { .. }
                | Self::RepositoryNotFound { .. }
        )
    }

    /// Whether other credentials would be needed.
    pub fn is_authentication(&self) -> bool {
        matches!(
            self,
            Self::Unauthorized { .. }
                | Self::NoCredential { .. }
                | Self::Denied { .. }
                | Self::LoginRefused { .. }
        )
    }

    /// Whether the same may well succeed a little later: the connection broke, time ran out, the registry limits how
    /// often it is asked, or it says that the trouble is its own.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Transport { source, .. } => source.is_transient() || source.is_timeout(),
            Self::RateLimited { .. }
            | Self::Interrupted { .. }
            | Self::UploadInterrupted { .. } => true,
            Self::Status {
                status, reasons, ..
            } => match status.as_u16() {
                408 | 499 | 500 | 502 | 503 | 504 | 520 | 522 => true,
                // Beyond those, 5xx may be for good (501), unless a code says otherwise.
                501..=599 => reasons.has_any(&["UNKNOWN", "UNAVAILABLE", "TOOMANYREQUESTS"]),
                _ => false,
            },
            _ => false,
        }
    }

    /// The codes of the registry's error body, such as `NAME_UNKNOWN`; none where it sent none.
    pub fn codes(&self) -> Vec<&str> {
        self.reasons()
            .into_iter()
            .flat_map(Reasons::codes)
            .collect()
    }

    /// Whether the registry asks for credentials where none are known: its token server gives no token to nobody.
    pub fn is_without_credentials(&self) -> bool {
        matches!(self.token_error(), Some(TokenError::NotAnonymous { .. }))
    }

    /// The status that the registry, or its token server, answered with, where it is one that says no.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Status { status, .. } => Some(*status),
            Self::NoCredential { .. } => self.token_error()?.status(),
            _ => Some(self.reasons()?.answer()?.status),
        }
    }

    /// The URL that was asked, without secrets, where that is known.
    pub fn url(&self) -> Option<&str> {
        match self {
            Self::Transport { source, .. }
            | Self::NoCredential { source, .. }
            | Self::Setup(source)
            | Self::LoginRefused {
                source: Some(source),
                ..
            } => source.url(),
            _ => Some(&self.reasons()?.answer()?.url),
        }
    }

    fn token_error(&self) -> Option<&TokenError> {
        let Self::NoCredential { source, .. } = self else {
            return None;
        };
        std::error::Error::source(source)?.downcast_ref()
    }

    fn reasons(&self) -> Option<&Reasons> {
        match self {
            Self::ManifestNotFound { reasons, .. }
            | Self::BlobNotFound { reasons, .. }
            | Self::RepositoryNotFound { reasons, .. }
            | Self::DeleteUnsupported { reasons, .. }
            | Self::Unauthorized { reasons, .. }
            | Self::Denied { reasons, .. }
            | Self::LoginRefused { reasons, .. }
            | Self::RateLimited { reasons, .. }
            | Self::Status { reasons, .. } => Some(reasons),
            _ => None,
        }
    }

    fn kind(&self) -> ContentErrorKind {
        match self {
            Self::ManifestNotFound { .. }
            | Self::BlobNotFound { .. }
            | Self::RepositoryNotFound { .. } => ContentErrorKind::NotFound,
            Self::Unauthorized { .. }
            | Self::NoCredential { .. }
            | Self::Denied { .. }
            | Self::LoginRefused { .. } => ContentErrorKind::Denied,
            Self::Integrity { .. }
            | Self::BlobSize { .. }
            | Self::Stored { .. }
            | Self::SourceIntegrity { .. } => ContentErrorKind::Integrity,
            Self::Interrupted { .. } | Self::UploadInterrupted { .. } => {
                ContentErrorKind::Interrupted
            }
            Self::Content { source } => source.kind(),
            Self::RateLimited { .. } | Self::Transport { .. } => ContentErrorKind::Network,
            Self::Status { .. }
            | Self::Setup(_)
            | Self::Keychain(_)
            | Self::DeleteUnsupported { .. }
            | Self::ReferrersChanged { .. } => ContentErrorKind::Other,
            Self::InvalidRegistry { .. }
            | Self::NoSelector { .. }
            | Self::BlobTooLarge { .. }
            | Self::ManifestType { .. }
            | Self::InvalidManifest { .. }
            | Self::InvalidResponse { .. } => ContentErrorKind::Invalid,
        }
    }
}

/// The registry of a repository that is shown with it, or alone.
fn registry_of(repository: &str) -> &str {
    repository
        .split_once('/')
        .map_or(repository, |(registry, _)| registry)
}

impl From<RegistryError> for ContentError {
    fn from(error: RegistryError) -> Self {
        let kind = error.kind();
        let message = match kind {
            _ if matches!(error, RegistryError::SourceIntegrity { .. }) => {
                "wrong content is not sent to the registry"
            }
            _ if matches!(error, RegistryError::UploadInterrupted { .. }) => {
                "the upload was cut off"
            }
            _ if matches!(error, RegistryError::RateLimited { .. }) => "the registry asks to wait",
            ContentErrorKind::NotFound => "the registry does not have it",
            ContentErrorKind::Denied => "the registry refuses access",
            ContentErrorKind::Integrity => "the registry sent wrong content",
            ContentErrorKind::Interrupted => "the download was cut off",
            ContentErrorKind::Network => "the registry cannot be reached",
            _ => "the registry cannot do this",
        };
        ContentError::new(kind, message).with_source(error)
    }
}

/// When to come back.
fn when(retry_after: Option<Duration>) -> String {
    match retry_after {
        // A part of a second is a second to a person.
        Some(wait) if !wait.is_zero() => {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            format!("it asks to wait for {seconds} s")
        }
        _ => "try again later".to_owned(),
    }
}
