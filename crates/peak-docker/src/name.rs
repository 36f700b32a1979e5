//! What an image in the Engine is called.

use std::fmt;
use std::str::FromStr;

use peak_oci::{Reference, ReferenceError};

const TRANSPORT: &str = "docker-daemon:";

/// An image in the local Docker Engine, by reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaemonImage(Reference);

/// Why a text is no [`DaemonImage`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DaemonImageError {
    /// Another transport, or none.
    #[error("`{text}` does not begin with `docker-daemon:`")]
    Transport {
        /// The text.
        text: String,
    },
    /// The Engine lists images by tag, so a name without one is ambiguous there.
    #[error("`{text}` has neither tag nor digest; write `docker-daemon:NAME:TAG`")]
    NoTag {
        /// The text.
        text: String,
    },
    /// What stands behind the transport is no reference.
    #[error("`{text}` is not the name of an image")]
    Reference {
        /// The text.
        text: String,
        /// Why not.
        #[source]
        source: ReferenceError,
    },
}

impl DaemonImage {
    /// The image's reference.
    pub fn reference(&self) -> &Reference {
        &self.0
    }
}

impl FromStr for DaemonImage {
    type Err = DaemonImageError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let owned = || text.to_owned();
        let name = text
            .strip_prefix(TRANSPORT)
            .ok_or_else(|| DaemonImageError::Transport { text: owned() })?;
        let reference = Reference::parse(name).map_err(|source| DaemonImageError::Reference {
            text: owned(),
            source,
        })?;
        if reference.selector().is_none() {
            return Err(DaemonImageError::NoTag { text: owned() });
        }
        Ok(Self(reference))
    }
}

/// With the transport in front, as parsed.
impl fmt::Display for DaemonImage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{TRANSPORT}{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_full_names_of_this_transport_are_taken() {
        let image: DaemonImage = "docker-daemon:app:v1".parse().unwrap();
        assert_eq!(image.to_string(), "docker-daemon:app:v1");
        let error = |text: &str| text.parse::<DaemonImage>().unwrap_err();
        assert!(matches!(
            error("app:v1"),
            DaemonImageError::Transport { .. }
        ));
        assert!(matches!(
            error("docker-daemon:app"),
            DaemonImageError::NoTag { .. }
        ));
        assert!(matches!(
            error("docker-daemon:A B"),
            DaemonImageError::Reference { .. }
        ));
    }
}
