//! What an image in the Engine is called.

use std::fmt;
use std::str::FromStr;

use peak_oci::{Digest, Reference, ReferenceError, without_user};

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
    /// A name with a digest, or an identifier: what they mean is one image, and no other can be given them.
    #[error(
        "`{text}` says which image it is, and cannot be the name of another; write `docker-daemon:NAME:TAG`"
    )]
    NotAName {
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

    /// The identifier, where it is one: `docker-daemon:sha256:…`, as Docker's own commands understand it.
    pub fn id(&self) -> Option<Digest> {
        self.0.familiar().parse().ok()
    }

    /// What the Engine knows it by.
    pub(crate) fn for_engine(&self) -> String {
        match self.id() {
            Some(id) => id.to_string(),
            None => self.0.canonical(),
        }
    }

    /// Whether an image can be given this name.
    ///
    /// # Errors
    /// [`DaemonImageError::NotAName`].
    pub(crate) fn check_writable(&self) -> Result<(), DaemonImageError> {
        if self.0.digest().is_some() || self.id().is_some() {
            return Err(DaemonImageError::NotAName {
                text: self.to_string(),
            });
        }
        Ok(())
    }
}

impl FromStr for DaemonImage {
    type Err = DaemonImageError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let owned = || without_user(text).into_owned();
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
        let id = format!("docker-daemon:{}", Digest::sha256_of(b"x"));
        let by_id: DaemonImage = id.parse().unwrap();
        assert_eq!(by_id.id(), Some(Digest::sha256_of(b"x")));
        assert_eq!(by_id.for_engine(), id["docker-daemon:".len()..]);
        assert!(by_id.check_writable().is_err());
        assert!(image.check_writable().is_ok() && image.id().is_none());
        assert_eq!(image.for_engine(), "docker.io/library/app:v1");
        assert!(matches!(
            error("docker-daemon:A B"),
            DaemonImageError::Reference { .. }
        ));
    }
}
