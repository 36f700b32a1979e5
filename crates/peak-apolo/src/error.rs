//! What can go wrong with images of the platform, by outcome.

use std::error::Error as StdError;
use std::time::Duration;

use peak_docker::EngineError;
use peak_oci::{ContentErrorKind, MediaType, NoMatchingPlatform, ReferenceError};
use peak_registry::RegistryError;
use peak_transfer::{TargetError, TransferError};

use crate::{ImageNameError, LocalImage, RemoteImage};

type Cause = Box<dyn StdError + Send + Sync>;

/// An operation on images of the platform failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApoloError {
    /// A text is not the name of an image.
    #[error(transparent)]
    Name(#[from] ImageNameError),
    /// The image is in another registry than the platform's.
    #[error(
        "`{image}` is not an image of the platform; write it as image:NAME or image://CLUSTER/ORG/PROJECT/NAME"
    )]
    NotPlatformImage {
        /// The image.
        image: Box<RemoteImage>,
    },
    /// There is no such cluster.
    #[error("there is no cluster `{cluster}` with this registry; known are: {}", known.join(", "))]
    UnknownCluster {
        /// The name.
        cluster: String,
        /// The clusters that there are.
        known: Vec<String>,
    },
    /// The image cannot have this name in a registry, or in the Engine.
    #[error("`{image}` cannot be the name of an image in a registry; give it another one")]
    Unusable {
        /// The image, as Docker would call it.
        image: String,
        /// Why not.
        #[source]
        source: ReferenceError,
    },
    /// One image is meant, and the name says none.
    #[error("`{image}` has no tag; say which image is meant")]
    NoTag {
        /// The image.
        image: Box<RemoteImage>,
    },
    /// All tags are meant, and the name says one.
    #[error("`{image}` has a tag, and all tags are meant here; leave it out")]
    TagNotAllowed {
        /// The image.
        image: Box<RemoteImage>,
    },
    /// The client was made without an Engine.
    #[error("a Docker Engine is needed for that, and this client has none")]
    NoEngine,
    /// The Docker Engine has no such image.
    #[error(
        "the image {image} was not found in the local Docker Engine; `docker image ls` shows what there is"
    )]
    NotFoundLocally {
        /// The image.
        image: LocalImage,
        /// What the Engine said.
        #[source]
        source: EngineError,
    },
    /// The registry has no such image.
    #[error("the image {image} was not found in the registry")]
    NotFoundInRegistry {
        /// The image.
        image: Box<RemoteImage>,
        /// What the registry or the Engine said.
        #[source]
        source: Cause,
    },
    /// The registry does not let whoever asks do that (403).
    #[error("access to {place} is denied{said}; see that the token is for somebody who may")]
    AccessDenied {
        /// The image, or the registry.
        place: String,
        /// What the registry said.
        said: String,
    },
    /// The registry wants credentials, or does not accept these (401).
    #[error(
        "the registry does not accept the credentials for {place}{said}; set APOLO_USER and APOLO_TOKEN"
    )]
    Unauthorized {
        /// The image, or the registry.
        place: String,
        /// What the registry said.
        said: String,
        /// What its token server said, where it has one.
        #[source]
        source: Option<Cause>,
    },
    /// It took longer than it may.
    #[error("the {operation} of {image} took more than {} seconds and was given up; run it again to go on", limit.as_secs())]
    TimedOut {
        /// Push or pull.
        operation: &'static str,
        /// The image.
        image: Box<RemoteImage>,
        /// How long it may take.
        limit: Duration,
    },
    /// The manifest does not say how large the layers are.
    #[error(
        "the size of {image} is not known, since a manifest of type {media_type} does not say it"
    )]
    NoSize {
        /// The image.
        image: Box<RemoteImage>,
        /// The type of its manifest.
        media_type: MediaType,
    },
    /// An index has nothing for the platform.
    #[error("the image {image} has nothing for this platform")]
    NoPlatform {
        /// The image.
        image: Box<RemoteImage>,
        /// What it has.
        #[source]
        source: NoMatchingPlatform,
    },
    /// Something else went wrong in the Docker Engine, or on the way to it.
    #[error(transparent)]
    Engine(EngineError),
    /// Something else went wrong in the registry, or on the way to it.
    #[error(transparent)]
    Registry(RegistryError),
    /// The place on disk cannot be opened.
    #[error(transparent)]
    Target(TargetError),
    /// A push or pull without an Engine stopped.
    #[error(transparent)]
    Transfer(TransferError),
}

impl ApoloError {
    /// Whether the image is not there: in the Engine for a push, in the registry else.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::NotFoundLocally { .. }
            | Self::NotFoundInRegistry { .. }
            | Self::NoPlatform { .. } => true,
            Self::Registry(error) => error.is_not_found(),
            Self::Transfer(error) => error.kind() == Some(ContentErrorKind::NotFound),
            _ => false,
        }
    }

    /// Whether other credentials would be needed.
    pub fn is_authentication(&self) -> bool {
        match self {
            Self::AccessDenied { .. } | Self::Unauthorized { .. } => true,
            Self::Registry(error) => error.is_authentication(),
            Self::Engine(error) => error.is_denied() || error.is_unauthorized(),
            _ => false,
        }
    }

    /// Whether it was given up for taking too long.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::TimedOut { .. })
    }

    /// What a registry said about an image of its own.
    pub(crate) fn of_registry(image: &RemoteImage, error: RegistryError) -> Self {
        if error.is_not_found() {
            let image = Box::new(image.clone());
            let source = Box::new(error);
            return Self::NotFoundInRegistry { image, source };
        }
        Self::refused(&image.to_string(), error)
    }

    /// What a registry said. Its own advice on credentials is left out: it is for people who have logged in.
    pub(crate) fn refused(place: &str, error: RegistryError) -> Self {
        let place = place.to_owned();
        match error {
            RegistryError::Denied { reasons, .. } => Self::AccessDenied {
                place,
                said: reasons.to_string(),
            },
            RegistryError::Unauthorized { reasons, .. } => Self::Unauthorized {
                place,
                said: reasons.to_string(),
                source: None,
            },
            RegistryError::NoCredential { source, .. } => Self::Unauthorized {
                place,
                said: String::new(),
                source: Some(Box::new(source)),
            },
            error => Self::Registry(error),
        }
    }

    /// What the Engine said of its way to the registry and back.
    pub(crate) fn of_engine(image: &RemoteImage, error: EngineError) -> Self {
        match error {
            error @ EngineError::NotFound { .. } => Self::NotFoundInRegistry {
                image: Box::new(image.clone()),
                source: Box::new(error),
            },
            EngineError::Denied { message, .. } => Self::AccessDenied {
                place: image.to_string(),
                said: format!(" ({message})"),
            },
            EngineError::Unauthorized { message, .. } => Self::Unauthorized {
                place: image.to_string(),
                said: format!(" ({message})"),
                source: None,
            },
            error => Self::Engine(error),
        }
    }
}
