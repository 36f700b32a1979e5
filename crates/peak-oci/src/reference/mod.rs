//! Image references: `[registry/]repository[:tag][@digest]` in Docker's normal form.

mod registry;
mod repository;
mod tag;
mod user;

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

pub use repository::{RepositoryName, RepositoryNameError};
pub use tag::{Tag, TagError};
pub use user::without_user;

use crate::digest::{Digest, DigestError};
use crate::text::{Excerpt, text_serde};

/// Why a text is not a reference. What stands before an `@` in its host may be a password; no error has it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// There is nothing in it.
    #[error("the image reference is empty")]
    Empty,
    /// It is longer than any reference can be.
    #[error(
        "the image reference has {length} bytes; at most {} are allowed",
        Reference::MAX_LENGTH
    )]
    TooLong {
        /// How long it is, in bytes.
        length: usize,
    },
    /// It is 64 hexadecimal digits, which Docker takes for the identifier of a local image.
    #[error(
        "64 hexadecimal digits are an image identifier, not a name; write the repository before it"
    )]
    Identifier,
    /// The part before the first slash is not a host.
    #[error(
        "{} is not a registry; the form is `host` or `host:port`",
        Excerpt(registry)
    )]
    Registry {
        /// The text where a registry should be.
        registry: String,
    },
    /// It has a user, and maybe a password, before its registry.
    #[error(
        "the image reference {} names a user, and a registry is a host and a port alone",
        Excerpt(reference)
    )]
    User {
        /// The reference without the user and the password.
        reference: String,
    },
    /// The repository name is not allowed.
    #[error(
        "the image reference {} has no valid repository name",
        Excerpt(reference)
    )]
    Repository {
        /// The reference as given.
        reference: String,
        /// What is wrong with the name.
        source: RepositoryNameError,
    },
    /// The tag is not allowed.
    #[error(
        "the image reference {} has no valid tag after the colon",
        Excerpt(reference)
    )]
    Tag {
        /// The reference as given.
        reference: String,
        /// What is wrong with the tag.
        source: TagError,
    },
    /// The digest is not one that can be used.
    #[error(
        "the image reference {} has no valid digest after the `@`",
        Excerpt(reference)
    )]
    Digest {
        /// The reference as given.
        reference: String,
        /// What is wrong with the digest.
        source: DigestError,
    },
}

/// What picks one manifest of a repository.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Selector {
    /// By tag, which may move.
    Tag(Tag),
    /// By digest, which cannot.
    Digest(Digest),
}

/// The text that stands in the URL of a manifest.
impl fmt::Display for Selector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(formatter),
            Self::Digest(digest) => digest.fmt(formatter),
        }
    }
}

impl From<Tag> for Selector {
    fn from(tag: Tag) -> Self {
        Self::Tag(tag)
    }
}

impl From<Digest> for Selector {
    fn from(digest: Digest) -> Self {
        Self::Digest(digest)
    }
}

/// A digest if it is one, else a tag. A tag cannot hold a colon, so there is no doubt.
impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        if text.contains(':') {
            text.parse()
                .map(Self::Digest)
                .map_err(SelectorError::Digest)
        } else {
            text.parse().map(Self::Tag).map_err(SelectorError::Tag)
        }
    }
}

/// Why a text is neither a tag nor a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SelectorError {
    /// It has a colon but is no digest.
    #[error(transparent)]
    Digest(DigestError),
    /// It has no colon and is no tag.
    #[error(transparent)]
    Tag(TagError),
}

/// A reference to an image: registry, repository, and a tag or a digest or both.
///
/// `Display` is what was written. [`Reference::familiar`] is the short form that people know, [`Reference::canonical`] the
/// full one. Two references are equal when registry, repository, tag and digest are, however they were written.
///
/// ```
/// # fn main() -> Result<(), peak_oci::ReferenceError> {
/// use peak_oci::Reference;
/// let reference = Reference::parse("index.docker.io/ubuntu:24.04")?;
/// assert_eq!(reference.registry(), "docker.io");
/// assert_eq!(reference.repository().as_str(), "library/ubuntu");
/// assert_eq!(reference.familiar(), "ubuntu:24.04");
/// assert_eq!(reference.canonical(), "docker.io/library/ubuntu:24.04");
/// assert_eq!(reference.to_string(), "index.docker.io/ubuntu:24.04");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Reference {
    registry: Box<str>,
    repository: RepositoryName,
    tag: Option<Tag>,
    digest: Option<Digest>,
    written: Box<str>,
    /// How many bytes of `written` are registry and repository.
    written_name_length: usize,
}

impl Reference {
    /// The longest reference that is looked at, in bytes; every valid one is shorter.
    pub const MAX_LENGTH: usize = 1024;

    /// Parses a reference and normalises it as Docker does.
    ///
    /// # Errors
    /// [`ReferenceError`] says which part is wrong.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        if text.len() > Self::MAX_LENGTH {
            return Err(ReferenceError::TooLong { length: text.len() });
        }
        if is_identifier(text) {
            return Err(ReferenceError::Identifier);
        }
        if user::names_a_user(text) {
            return Err(ReferenceError::User {
                reference: without_user(text).into_owned(),
            });
        }
        let (tagged, digest) = match text.split_once('@') {
            Some((tagged, digest)) => (tagged, Some(digest)),
            None => (text, None),
        };
        let (name, tag) = split_tag(tagged);
        let (registry, repository) = parse_name(text, name)?;
        let tag = tag
            .map(str::parse)
            .transpose()
            .map_err(|source| ReferenceError::Tag {
                reference: without_user(text).into_owned(),
                source,
            })?;
        let digest =
            digest
                .map(str::parse)
                .transpose()
                .map_err(|source| ReferenceError::Digest {
                    reference: without_user(text).into_owned(),
                    source,
                })?;
        Ok(Self {
            registry: registry.into(),
            repository,
            tag,
            digest,
            written: text.into(),
            written_name_length: name.len(),
        })
    }

    /// A reference from its parts. `index.docker.io` becomes `docker.io`, and a Docker Hub name of one component gets `library/`.
    ///
    /// # Errors
    /// [`ReferenceError::Registry`] when the registry is not `host` or `host:port`; [`ReferenceError::Repository`] when
    /// `library/` makes the name too long.
    pub fn new(
        registry: &str,
        repository: RepositoryName,
        tag: Option<Tag>,
        digest: Option<Digest>,
    ) -> Result<Self, ReferenceError> {
        let registry = registry::normalize(registry);
        let is_a_host = registry::is_valid(registry) && {
            // A bare word would be read back as an organisation of Docker Hub.
            registry::split(&format!("{registry}/a/b")).0 == registry
        };
        if !is_a_host {
            return Err(ReferenceError::Registry {
                registry: without_user(registry).into_owned(),
            });
        }
        let qualified = registry::qualify(registry, repository.as_str());
        let repository = if qualified == repository.as_str() {
            repository
        } else {
            qualified
                .parse()
                .map_err(|source| ReferenceError::Repository {
                    reference: qualified,
                    source,
                })?
        };
        let name = format!("{registry}/{repository}");
        Ok(Self::assemble(registry, repository, tag, digest, &name))
    }

    fn assemble(
        registry: &str,
        repository: RepositoryName,
        tag: Option<Tag>,
        digest: Option<Digest>,
        written_name: &str,
    ) -> Self {
        let written = with_suffix(written_name, tag.as_ref(), digest.as_ref());
        Self {
            registry: registry.into(),
            repository,
            tag,
            digest,
            written: written.into(),
            written_name_length: written_name.len(),
        }
    }

    /// The registry, with the port if one was written: `docker.io`, `127.0.0.1:5000`, `[::1]:5000`.
    ///
    /// Empty for the one odd form that Docker's grammar lets through: a first part with a dot that is no host name but a
    /// valid repository component (`my_reg.io/app`). Such a reference names a repository of no registry; see
    /// [`Reference::has_registry`].
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Whether there is a registry to talk to. A client refuses a reference where there is none.
    pub fn has_registry(&self) -> bool {
        !self.registry.is_empty()
    }

    /// The repository in the registry, with `library/` where Docker Hub means it.
    pub fn repository(&self) -> &RepositoryName {
        &self.repository
    }

    /// The tag, if one was written.
    pub fn tag(&self) -> Option<&Tag> {
        self.tag.as_ref()
    }

    /// The digest, if one was written.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// What was written.
    pub fn written(&self) -> &str {
        &self.written
    }

    /// The short form: without `docker.io` and `library/` as far as the text still means the same.
    pub fn familiar(&self) -> String {
        let full = self.name();
        let mut shorter = [
            self.repository
                .as_str()
                .strip_prefix(registry::OFFICIAL_PREFIX),
            Some(self.repository.as_str()),
        ]
        .into_iter()
        .flatten();
        let name = shorter.find(|name| {
            let bare_identifier = self.tag.is_none() && self.digest.is_none() && is_identifier(name);
            !bare_identifier && matches!(parse_name(name, name), Ok((registry, repository)) if *registry == *self.registry && repository == self.repository)
        });
        with_suffix(
            name.unwrap_or(&full),
            self.tag.as_ref(),
            self.digest.as_ref(),
        )
    }

    /// The full form, with the registry.
    pub fn canonical(&self) -> String {
        with_suffix(&self.name(), self.tag.as_ref(), self.digest.as_ref())
    }

    /// Registry and repository without tag and digest.
    pub fn name(&self) -> String {
        if self.has_registry() {
            format!("{}/{}", self.registry, self.repository)
        } else {
            self.repository.to_string()
        }
    }

    /// The same repository by this tag. A digest is dropped, because it would win over the tag.
    #[must_use]
    pub fn with_tag(&self, tag: Tag) -> Self {
        Self::assemble(
            &self.registry,
            self.repository.clone(),
            Some(tag),
            None,
            self.written_name(),
        )
    }

    /// The same repository by this digest. A tag is kept; it is then only a note for people.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self::assemble(
            &self.registry,
            self.repository.clone(),
            self.tag.clone(),
            Some(digest),
            self.written_name(),
        )
    }

    /// What picks the manifest: the digest if there is one, else the tag.
    pub fn selector(&self) -> Option<Selector> {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => Some(Selector::Digest(digest.clone())),
            (None, Some(tag)) => Some(Selector::Tag(tag.clone())),
            (None, None) => None,
        }
    }

    /// [`Reference::selector`], or the tag `latest` where there is neither.
    pub fn selector_or_latest(&self) -> Selector {
        self.selector()
            .unwrap_or_else(|| Selector::Tag(Tag::latest()))
    }

    fn written_name(&self) -> &str {
        self.written
            .get(..self.written_name_length)
            .unwrap_or(&self.written)
    }

    fn parts(&self) -> (&str, &RepositoryName, Option<&Tag>, Option<&Digest>) {
        (
            &self.registry,
            &self.repository,
            self.tag.as_ref(),
            self.digest.as_ref(),
        )
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        Self::parse(text)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.written)
    }
}

text_serde!(Reference);

impl PartialEq for Reference {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for Reference {}

impl PartialOrd for Reference {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Reference {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(&other.parts())
    }
}

impl Hash for Reference {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

/// Registry and repository of a name; `whole` is the reference that errors show.
fn parse_name<'a>(whole: &str, name: &'a str) -> Result<(&'a str, RepositoryName), ReferenceError> {
    let invalid = |source| ReferenceError::Repository {
        reference: without_user(whole).into_owned(),
        source,
    };
    let (registry, repository) = registry::split(name);
    if registry::is_valid(registry) {
        return Ok((registry, repository.parse().map_err(invalid)?));
    }
    // Docker's grammar makes the host optional, so that what is no host may still be the first part of a repository.
    match name.parse() {
        Ok(repository) => Ok(("", repository)),
        Err(_) => Err(ReferenceError::Registry {
            registry: registry.to_owned(),
        }),
    }
}

/// Splits `:tag` off; a colon before the last slash is that of a port.
fn split_tag(text: &str) -> (&str, Option<&str>) {
    let last_component = text.rfind('/').map_or(0, |slash| slash + 1);
    let colon = text
        .get(last_component..)
        .and_then(|component| component.find(':'));
    match colon.and_then(|colon| text.split_at_checked(last_component + colon)) {
        Some((name, tag)) => (name, tag.strip_prefix(':')),
        None => (text, None),
    }
}

fn is_identifier(text: &str) -> bool {
    text.len() == 64
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn with_suffix(name: &str, tag: Option<&Tag>, digest: Option<&Digest>) -> String {
    let mut text = name.to_owned();
    if let Some(tag) = tag {
        text.push(':');
        text.push_str(tag.as_str());
    }
    if let Some(digest) = digest {
        text.push('@');
        text.push_str(digest.as_str());
    }
    text
}
