//! The names of places where images are: `oci:DIR:TAG`, `docker://registry/repository:tag`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use peak_layout::{Directory, LayoutError};
use peak_oci::{Digest, Placement, Reference, ReferenceError, Selector, Sink, Source, Tag};
use peak_registry::Registry;

/// Names that are reserved for transports to come, with what they will be.
const NOT_YET: [(&str, &str); 3] = [
    ("oci-archive", "image layouts in one tar file"),
    ("docker-archive", "the files of `docker save`"),
    ("docker-daemon", "the local Docker Engine"),
];

/// A place where an image is, or shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// `registry.example/repository:tag`, also with `docker://` in front.
    Registry(Reference),
    /// `oci:DIR[:TAG or @DIGEST]`: an OCI image layout in a directory.
    Layout {
        /// The directory.
        path: PathBuf,
        /// Which image in it.
        selector: Option<Selector>,
    },
}

/// Why a text is no [`Target`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// A transport that exists, but not here yet.
    #[error(
        "`{transport}:` ({what}) is not supported yet; supported are `oci:DIR[:TAG]` and `docker://REGISTRY/REPOSITORY[:TAG]`"
    )]
    NotSupported {
        /// The transport's name.
        transport: &'static str,
        /// What it means.
        what: &'static str,
    },
    /// `oci:` without a directory.
    #[error("`{text}` names no directory; write `oci:DIR` or `oci:DIR:TAG`")]
    NoDirectory {
        /// The text.
        text: String,
    },
    /// What stands behind the directory is no tag.
    #[error(
        "`{tag}` in `{text}` is not a tag; write `oci:DIR:TAG`, or `oci:./{tag}` for a directory of that name"
    )]
    Tag {
        /// The text.
        text: String,
        /// What was taken for a tag.
        tag: String,
    },
    /// What stands behind `@` is no digest.
    #[error("`{digest}` in `{text}` is not a digest")]
    Digest {
        /// The text.
        text: String,
        /// What was taken for a digest.
        digest: String,
        /// Why not.
        #[source]
        source: peak_oci::DigestError,
    },
    /// The name of an image in a registry is not valid.
    #[error(
        "`{text}` is not the name of an image; write `docker://REGISTRY/REPOSITORY[:TAG]` or `oci:DIR[:TAG]`"
    )]
    Reference {
        /// The text.
        text: String,
        /// Why not.
        #[source]
        source: ReferenceError,
    },
    /// A digest says what an image is, not what it shall be called.
    #[error("an image cannot be written under the digest {digest}; give a tag or nothing")]
    WrittenByDigest {
        /// The digest.
        digest: Digest,
    },
    /// The layout cannot be opened.
    #[error("the image layout cannot be used")]
    Layout(#[source] LayoutError),
}

impl Target {
    /// Opens the place to read the image that is named, and says which one that is.
    ///
    /// A name of a registry without tag and digest means `latest`, as it does for every tool. Blocks on a few small
    /// file operations for a layout; nothing is sent to a registry.
    ///
    /// # Errors
    /// [`TargetError::Layout`] where the layout cannot be read.
    pub fn open_source(
        &self,
        registry: &Registry,
    ) -> Result<(Box<dyn Source>, Option<Selector>), TargetError> {
        match self {
            Self::Registry(reference) => Ok((
                Box::new(registry.repository(reference)),
                Some(reference.selector_or_latest()),
            )),
            Self::Layout { path, selector } => {
                let layout = Directory::open(path).map_err(TargetError::Layout)?;
                Ok((Box::new(layout), selector.clone()))
            }
        }
    }

    /// Where on disk it is, if it is on disk.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Registry(_) => None,
            Self::Layout { path, .. } => Some(path),
        }
    }

    /// Opens the place to write an image there, and says under which name it becomes visible.
    ///
    /// A layout's directory is created where it does not exist, so that a place that cannot be written is known before
    /// any work is done. Blocks on a few small file operations for a layout; nothing is sent to a registry. A name of a
    /// registry without tag means `latest`, as it does for every tool.
    ///
    /// # Errors
    /// [`TargetError::Layout`] where the layout cannot be written, [`TargetError::WrittenByDigest`] where the name says
    /// a digest.
    pub fn open_sink(
        &self,
        registry: &Registry,
    ) -> Result<(Box<dyn Sink>, Placement), TargetError> {
        let selector = match self {
            Self::Registry(reference) => match reference.digest() {
                Some(digest) => Some(Selector::Digest(digest.clone())),
                None => Some(reference.selector_or_latest()),
            },
            Self::Layout { selector, .. } => selector.clone(),
        };
        let tag = match selector {
            None => None,
            Some(Selector::Tag(tag)) => Some(tag),
            Some(Selector::Digest(digest)) => return Err(TargetError::WrittenByDigest { digest }),
        };
        let sink: Box<dyn Sink> = match self {
            Self::Registry(reference) => Box::new(registry.repository(reference)),
            Self::Layout { path, .. } => {
                Box::new(Directory::create(path).map_err(TargetError::Layout)?)
            }
        };
        Ok((sink, Placement::Root { tag }))
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(rest) = text.strip_prefix("oci:") {
            return parse_layout(text, rest);
        }
        for (transport, what) in NOT_YET {
            if text
                .strip_prefix(transport)
                .is_some_and(|rest| rest.starts_with(':'))
            {
                return Err(TargetError::NotSupported { transport, what });
            }
        }
        let name = text.strip_prefix("docker://").unwrap_or(text);
        Reference::parse(name)
            .map(Self::Registry)
            .map_err(|source| TargetError::Reference {
                text: text.to_owned(),
                source,
            })
    }
}

/// The canonical form, which parses to the same target.
impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(reference) => write!(formatter, "docker://{reference}"),
            Self::Layout { path, selector } => {
                write!(formatter, "oci:{}", path.display())?;
                match selector {
                    None => Ok(()),
                    Some(Selector::Tag(tag)) => write!(formatter, ":{tag}"),
                    Some(Selector::Digest(digest)) => write!(formatter, "@{digest}"),
                }
            }
        }
    }
}

/// `DIR`, `DIR:TAG` or `DIR@DIGEST`. A colon before the last slash belongs to the directory.
fn parse_layout(text: &str, rest: &str) -> Result<Target, TargetError> {
    let name_start = rest.rfind('/').map_or(0, |slash| slash + 1);
    let (folder, name) = rest.split_at_checked(name_start).unwrap_or((rest, ""));
    let (directory, selector) = if let Some((directory, digest)) = name.split_once('@')
        && digest.contains(':')
    {
        let digest: Digest = digest.parse().map_err(|source| TargetError::Digest {
            text: text.to_owned(),
            digest: digest.to_owned(),
            source,
        })?;
        (directory, Some(Selector::Digest(digest)))
    } else if let Some((directory, tag)) = name.rsplit_once(':') {
        let tag: Tag = tag.parse().map_err(|_| TargetError::Tag {
            text: text.to_owned(),
            tag: tag.to_owned(),
        })?;
        (directory, Some(Selector::Tag(tag)))
    } else {
        (name, None)
    };
    let path = format!("{folder}{directory}");
    if path.is_empty() {
        return Err(TargetError::NoDirectory {
            text: text.to_owned(),
        });
    }
    Ok(Target::Layout {
        path: PathBuf::from(path),
        selector,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn layout(text: &str) -> (String, Option<String>) {
        match text.parse().unwrap() {
            Target::Layout { path, selector } => (
                path.display().to_string(),
                selector.map(|selector| selector.to_string()),
            ),
            Target::Registry(_) => panic!("{text} is a registry"),
        }
    }

    #[test]
    fn layouts_are_named_with_or_without_an_image() {
        let digest = Digest::sha256_of(b"x");
        assert_eq!(layout("oci:target/x"), ("target/x".into(), None));
        assert_eq!(
            layout("oci:target/x:v1"),
            ("target/x".into(), Some("v1".into()))
        );
        assert_eq!(layout("oci:x:v1"), ("x".into(), Some("v1".into())));
        assert_eq!(layout("oci:a:b/x"), ("a:b/x".into(), None));
        assert_eq!(layout("oci:/a/x/"), ("/a/x/".into(), None));
        assert_eq!(layout("oci:u@h/x"), ("u@h/x".into(), None));
        assert_eq!(layout("oci:x@y"), ("x@y".into(), None));
        assert_eq!(
            layout(&format!("oci:x@{digest}")),
            ("x".into(), Some(digest.to_string()))
        );
    }

    #[test]
    fn registries_are_named_with_or_without_the_scheme() {
        for text in [
            "registry.example/a/b:v1",
            "docker://registry.example/a/b:v1",
        ] {
            let Target::Registry(reference) = text.parse().unwrap() else {
                panic!("{text}");
            };
            assert_eq!(reference.registry(), "registry.example");
            assert_eq!(reference.to_string(), "registry.example/a/b:v1");
        }
    }

    #[test]
    fn what_cannot_be_used_says_what_can() {
        let error = |text: &str| text.parse::<Target>().unwrap_err();
        for text in [
            "oci-archive:x.tar",
            "docker-archive:x.tar:a",
            "docker-daemon:a:b",
        ] {
            assert!(
                matches!(error(text), TargetError::NotSupported { .. }),
                "{text}"
            );
            assert!(error(text).to_string().contains("oci:DIR[:TAG]"));
        }
        for text in ["oci:", "oci::v1"] {
            assert!(
                matches!(error(text), TargetError::NoDirectory { .. }),
                "{text}"
            );
        }
        assert!(matches!(error("oci:x:a b"), TargetError::Tag { .. }));
        assert!(matches!(
            error("oci:x@sha256:12"),
            TargetError::Digest { .. }
        ));
        for text in ["", "docker://", "UPPER/Case", "dir:/tmp/x"] {
            assert!(
                matches!(error(text), TargetError::Reference { .. }),
                "{text}"
            );
        }
    }

    #[test]
    fn a_place_is_written_under_a_tag_and_not_under_a_digest() {
        let registry = Registry::builder().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new");
        let target: Target = format!("oci:{}:v1", path.display()).parse().unwrap();
        let (_, placement) = target.open_sink(&registry).unwrap();
        assert!(matches!(placement, Placement::Root { tag: Some(tag) } if tag.as_str() == "v1"));

        let untouched = folder.path().join("untouched");
        let digest = Digest::sha256_of(b"x");
        let target: Target = format!("oci:{}@{digest}", untouched.display())
            .parse()
            .unwrap();
        assert!(matches!(
            target.open_sink(&registry),
            Err(TargetError::WrittenByDigest { .. })
        ));
        assert!(!untouched.exists());
        for (name, expected) in [
            ("registry.example/a:b", "b"),
            ("registry.example/a", "latest"),
        ] {
            let target: Target = name.parse().unwrap();
            let (_, placement) = target.open_sink(&registry).unwrap();
            assert!(
                matches!(placement, Placement::Root { tag: Some(tag) } if tag.as_str() == expected)
            );
        }
        let target: Target = format!("registry.example/a:b@{digest}").parse().unwrap();
        assert!(matches!(
            target.open_sink(&registry),
            Err(TargetError::WrittenByDigest { .. })
        ));
    }

    proptest! {
        #[test]
        fn a_target_survives_its_own_name(text in "(oci:|docker://)?[a-z0-9./:@-]{0,40}") {
            if let Ok(target) = text.parse::<Target>() {
                let again: Target = target.to_string().parse().unwrap();
                prop_assert_eq!(again.to_string(), target.to_string());
            }
        }
    }
}
