//! The names of places where images are: `oci:DIR:TAG`, `docker-archive:FILE`, `docker-daemon:NAME:TAG`,
//! `docker://registry/repository:tag`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use peak_docker::{DaemonImage, DaemonImageError, Engine, EngineSink, EngineSource};
use peak_layout::{
    Directory, DockerArchive, DockerArchiveOptions, DockerArchiveWriter, LayoutError, OciArchive,
    OciArchiveWriter,
};
use peak_oci::{
    Digest, Placement, Reference, ReferenceError, Selector, Sink, Source, Tag, without_user,
};
use peak_registry::Registry;

const LAYOUT: &str = "oci";
const OCI_ARCHIVE: &str = "oci-archive";
const DOCKER_ARCHIVE: &str = "docker-archive";
const DOCKER_DAEMON: &str = "docker-daemon";

/// Whom the places of images that are not on disk are asked of. Cheap to clone.
///
/// A [`Registry`] alone will do where no Docker Engine is named.
#[derive(Clone, Debug)]
#[must_use]
pub struct Clients {
    registry: Registry,
    engine: Option<Engine>,
}

impl Clients {
    /// Registries, and no Engine.
    pub fn new(registry: Registry) -> Self {
        Self {
            registry,
            engine: None,
        }
    }

    /// The Engine that `docker-daemon:` means.
    pub fn engine(mut self, engine: Engine) -> Self {
        self.engine = Some(engine);
        self
    }
}

impl From<&Registry> for Clients {
    fn from(registry: &Registry) -> Self {
        Self::new(registry.clone())
    }
}

impl From<&Self> for Clients {
    fn from(clients: &Self) -> Self {
        clients.clone()
    }
}

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
    /// `oci-archive:FILE[:TAG or @DIGEST]`: an OCI image layout in one tar file.
    OciArchive {
        /// The file.
        path: PathBuf,
        /// Which image in it.
        selector: Option<Selector>,
    },
    /// `docker-archive:FILE[:REFERENCE]`: what `docker save` writes and `docker load` reads.
    DockerArchive {
        /// The file.
        path: PathBuf,
        /// Which image in it, by the name that Docker knows it by.
        reference: Option<Reference>,
    },
    /// `docker-daemon:NAME:TAG`: an image of a Docker Engine.
    DockerDaemon(DaemonImage),
}

/// Why a text is no [`Target`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// A transport without a directory or file.
    #[error(
        "`{text}` names no {what}; write `{transport}:PATH`, and a name for the image behind another colon"
    )]
    NoPath {
        /// The text.
        text: String,
        /// The transport's name.
        transport: &'static str,
        /// What it should name.
        what: &'static str,
    },
    /// What stands behind the directory or file is no tag.
    #[error(
        "`{tag}` in `{text}` is not a tag; write `{transport}:PATH:TAG`, or `{transport}:./{tag}` for a path of that name"
    )]
    Tag {
        /// The text.
        text: String,
        /// The transport's name.
        transport: &'static str,
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
    /// The name of an image of an Engine is not valid, or cannot be written.
    #[error(transparent)]
    DaemonImage(DaemonImageError),
    /// An image of an Engine, where no Engine was given.
    #[error("`{image}` is an image of a Docker Engine, and there is no Engine to ask")]
    NoEngine {
        /// The image.
        image: DaemonImage,
    },
    /// The layout or archive cannot be opened.
    #[error(transparent)]
    Layout(LayoutError),
}

impl Target {
    /// Opens the place to read the image that is named, and says which one that is.
    ///
    /// A name of a registry without tag and digest means `latest`, as it does for every tool. Blocks on a few small
    /// file operations for a layout, and while an archive's headers are read; nothing is sent to a registry or an Engine.
    ///
    /// # Errors
    /// [`TargetError::Layout`] where the layout or archive cannot be read; [`TargetError::NoEngine`].
    pub fn open_source(
        &self,
        clients: impl Into<Clients>,
    ) -> Result<(Box<dyn Source>, Option<Selector>), TargetError> {
        let clients = clients.into();
        let registry = &clients.registry;
        match self {
            Self::Registry(reference) => Ok((
                Box::new(registry.repository(reference)),
                Some(reference.selector_or_latest()),
            )),
            Self::Layout { path, selector } => {
                let layout = Directory::open(path).map_err(TargetError::Layout)?;
                Ok((Box::new(layout), selector.clone()))
            }
            Self::OciArchive { path, selector } => {
                let archive = OciArchive::open(path).map_err(TargetError::Layout)?;
                Ok((Box::new(archive), selector.clone()))
            }
            Self::DockerArchive { path, reference } => {
                let archive =
                    DockerArchive::open(path, reference.as_ref()).map_err(TargetError::Layout)?;
                Ok((Box::new(archive), None))
            }
            Self::DockerDaemon(image) => {
                let source = EngineSource::new(engine(&clients, image)?, image.clone());
                Ok((Box::new(source), None))
            }
        }
    }

    /// Where on disk it is, if it is on disk.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Registry(_) | Self::DockerDaemon(_) => None,
            Self::Layout { path, .. }
            | Self::OciArchive { path, .. }
            | Self::DockerArchive { path, .. } => Some(path),
        }
    }

    /// Whether an image that is written there takes the place of all that was there: archives are not added to.
    pub fn is_replaced(&self) -> bool {
        matches!(self, Self::OciArchive { .. } | Self::DockerArchive { .. })
    }

    /// Whether the place holds manifests, so that an image keeps its digest. Docker archives do not, nor do most Engines.
    pub fn keeps_digests(&self) -> bool {
        !matches!(self, Self::DockerArchive { .. } | Self::DockerDaemon(_))
    }

    /// Opens the place to write an image there, and says under which name it becomes visible.
    ///
    /// What it needs is created where it does not exist (a layout's directory, that of an archive), so that a place that
    /// cannot be written is known before any work is done. Blocks on a few small file operations; nothing is sent to a
    /// registry or an Engine. A name of a registry without tag means `latest`, as it does for every tool.
    ///
    /// # Errors
    /// [`TargetError::Layout`] where the place cannot be written, [`TargetError::WrittenByDigest`] where the name says a
    /// digest; [`TargetError::NoEngine`].
    pub fn open_sink(
        &self,
        clients: impl Into<Clients>,
    ) -> Result<(Box<dyn Sink>, Placement), TargetError> {
        let clients = clients.into();
        let registry = &clients.registry;
        match self {
            Self::Registry(reference) => {
                let selector = reference.digest().cloned().map(Selector::Digest);
                let selector = selector.unwrap_or_else(|| reference.selector_or_latest());
                let tag = written_tag(Some(&selector))?;
                let repository = registry.repository(reference);
                Ok((Box::new(repository), Placement::Root { tag }))
            }
            Self::Layout { path, selector } => {
                let tag = written_tag(selector.as_ref())?;
                let layout = Directory::create(path).map_err(TargetError::Layout)?;
                Ok((Box::new(layout), Placement::Root { tag }))
            }
            Self::OciArchive { path, selector } => {
                let tag = written_tag(selector.as_ref())?;
                let archive = OciArchiveWriter::create(path).map_err(TargetError::Layout)?;
                Ok((Box::new(archive), Placement::Root { tag }))
            }
            Self::DockerArchive { path, reference } => {
                let mut options = DockerArchiveOptions::new();
                if let Some(reference) = reference {
                    written_tag(reference.selector().as_ref())?;
                    options = options.name(reference.clone());
                }
                let archive =
                    DockerArchiveWriter::create(path, options).map_err(TargetError::Layout)?;
                Ok((Box::new(archive), Placement::Root { tag: None }))
            }
            Self::DockerDaemon(image) => {
                let sink = EngineSink::new(engine(&clients, image)?, image.clone());
                let sink = sink.map_err(TargetError::DaemonImage)?;
                Ok((Box::new(sink), Placement::Root { tag: None }))
            }
        }
    }
}

/// The Engine that an image is asked of.
fn engine(clients: &Clients, image: &DaemonImage) -> Result<Engine, TargetError> {
    clients.engine.clone().ok_or_else(|| TargetError::NoEngine {
        image: image.clone(),
    })
}

/// The tag that an image is written under.
fn written_tag(selector: Option<&Selector>) -> Result<Option<Tag>, TargetError> {
    match selector {
        None => Ok(None),
        Some(Selector::Tag(tag)) => Ok(Some(tag.clone())),
        Some(Selector::Digest(digest)) => Err(TargetError::WrittenByDigest {
            digest: digest.clone(),
        }),
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some((transport, rest)) = text.split_once(':') {
            match transport {
                LAYOUT => {
                    let (path, selector) = parse_place(text, LAYOUT, rest)?;
                    return Ok(Self::Layout { path, selector });
                }
                OCI_ARCHIVE => {
                    let (path, selector) = parse_place(text, OCI_ARCHIVE, rest)?;
                    return Ok(Self::OciArchive { path, selector });
                }
                DOCKER_ARCHIVE => return parse_docker_archive(text, rest),
                DOCKER_DAEMON => {
                    let image = text.parse().map_err(TargetError::DaemonImage)?;
                    return Ok(Self::DockerDaemon(image));
                }
                _ => {}
            }
        }
        let name = text.strip_prefix("docker://").unwrap_or(text);
        parse_reference(text, name).map(Self::Registry)
    }
}

fn parse_reference(text: &str, name: &str) -> Result<Reference, TargetError> {
    Reference::parse(name).map_err(|source| TargetError::Reference {
        text: without_user(text).into_owned(),
        source,
    })
}

/// The canonical form, which parses to the same target.
impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(reference) => write!(formatter, "docker://{reference}"),
            Self::Layout { path, selector } => {
                write_place(formatter, LAYOUT, path, selector.as_ref())
            }
            Self::OciArchive { path, selector } => {
                write_place(formatter, OCI_ARCHIVE, path, selector.as_ref())
            }
            Self::DockerArchive { path, reference } => {
                write!(formatter, "{DOCKER_ARCHIVE}:{}", path.display())?;
                match reference {
                    None => Ok(()),
                    Some(reference) => write!(formatter, ":{reference}"),
                }
            }
            Self::DockerDaemon(image) => image.fmt(formatter),
        }
    }
}

fn write_place(
    formatter: &mut fmt::Formatter<'_>,
    transport: &str,
    path: &Path,
    selector: Option<&Selector>,
) -> fmt::Result {
    write!(formatter, "{transport}:{}", path.display())?;
    match selector {
        None => Ok(()),
        Some(Selector::Tag(tag)) => write!(formatter, ":{tag}"),
        Some(Selector::Digest(digest)) => write!(formatter, "@{digest}"),
    }
}

/// `PATH`, `PATH:TAG` or `PATH@DIGEST`. A colon before the last slash belongs to the path.
fn parse_place(
    text: &str,
    transport: &'static str,
    rest: &str,
) -> Result<(PathBuf, Option<Selector>), TargetError> {
    let name_start = rest.rfind('/').map_or(0, |slash| slash + 1);
    let (folder, name) = rest.split_at_checked(name_start).unwrap_or((rest, ""));
    let (last, selector) = if let Some((last, digest)) = name.split_once('@')
        && digest.contains(':')
    {
        let digest: Digest = digest.parse().map_err(|source| TargetError::Digest {
            text: text.to_owned(),
            digest: digest.to_owned(),
            source,
        })?;
        (last, Some(Selector::Digest(digest)))
    } else if let Some((last, tag)) = name.rsplit_once(':') {
        let tag: Tag = tag.parse().map_err(|_| TargetError::Tag {
            text: text.to_owned(),
            transport,
            tag: tag.to_owned(),
        })?;
        (last, Some(Selector::Tag(tag)))
    } else {
        (name, None)
    };
    let path = format!("{folder}{last}");
    if path.is_empty() {
        return Err(TargetError::NoPath {
            text: text.to_owned(),
            transport,
            what: if transport == LAYOUT {
                "directory"
            } else {
                "file"
            },
        });
    }
    Ok((PathBuf::from(path), selector))
}

/// `FILE` or `FILE:REFERENCE`. References have colons and slashes, so the first colon ends the file's name.
fn parse_docker_archive(text: &str, rest: &str) -> Result<Target, TargetError> {
    let (path, name) = match rest.split_once(':') {
        Some((path, name)) => (path, Some(name)),
        None => (rest, None),
    };
    if path.is_empty() {
        return Err(TargetError::NoPath {
            text: text.to_owned(),
            transport: DOCKER_ARCHIVE,
            what: "file",
        });
    }
    let reference = name.map(|name| parse_reference(text, name)).transpose()?;
    Ok(Target::DockerArchive {
        path: PathBuf::from(path),
        reference,
    })
}

#[cfg(test)]
mod tests {
    use peak_docker::{Endpoint, EngineConfig};
    use proptest::prelude::*;

    use super::*;

    fn layout(text: &str) -> (String, Option<String>) {
        match text.parse().unwrap() {
            Target::Layout { path, selector } => (
                path.display().to_string(),
                selector.map(|selector| selector.to_string()),
            ),
            other => panic!("{text} is {other:?}"),
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
        for text in ["docker-daemon:", "docker-daemon:a", "docker-daemon:A:b"] {
            assert!(matches!(error(text), TargetError::DaemonImage(_)), "{text}");
        }
        for text in [
            "oci:",
            "oci::v1",
            "oci-archive:",
            "oci-archive::v1",
            "docker-archive:",
            "docker-archive::a:b",
        ] {
            assert!(matches!(error(text), TargetError::NoPath { .. }), "{text}");
        }
        assert!(matches!(
            error("oci-archive:x.tar:a b"),
            TargetError::Tag { .. }
        ));
        assert!(matches!(error("oci:x:a b"), TargetError::Tag { .. }));
        assert!(matches!(
            error("oci:x@sha256:12"),
            TargetError::Digest { .. }
        ));
        for text in [
            "",
            "docker://",
            "UPPER/Case",
            "dir:/tmp/x",
            "docker-archive:x.tar:A",
        ] {
            assert!(
                matches!(error(text), TargetError::Reference { .. }),
                "{text}"
            );
        }
    }

    #[test]
    fn archives_are_named_with_or_without_an_image() {
        let archive = |text: &str| match text.parse().unwrap() {
            Target::OciArchive { path, selector } => (
                path.display().to_string(),
                selector.map(|selector| selector.to_string()),
            ),
            Target::DockerArchive { path, reference } => (
                path.display().to_string(),
                reference.map(|reference| reference.to_string()),
            ),
            other => panic!("{text} is {other:?}"),
        };
        let digest = Digest::sha256_of(b"x");
        for (text, path, name) in [
            ("oci-archive:a/x.tar", "a/x.tar", None),
            ("oci-archive:x.tar:v1", "x.tar", Some("v1")),
            ("oci-archive:a:b/x.tar", "a:b/x.tar", None),
            ("docker-archive:/a/x.tar", "/a/x.tar", None),
            ("docker-archive:x.tar:app", "x.tar", Some("app")),
            (
                "docker-archive:x.tar:registry.example:5000/team/app:v1",
                "x.tar",
                Some("registry.example:5000/team/app:v1"),
            ),
        ] {
            assert_eq!(archive(text), (path.into(), name.map(str::to_owned)));
        }
        let (_, selector) = archive(&format!("oci-archive:x@{digest}"));
        assert_eq!(selector, Some(digest.to_string()));
    }

    #[test]
    fn images_of_an_engine_are_named_by_tag_and_wait_for_an_engine() {
        let registry = Registry::builder().build().unwrap();
        let target: Target = "docker-daemon:team/app:v1".parse().unwrap();
        assert_eq!(target.to_string(), "docker-daemon:team/app:v1");
        assert!(!target.keeps_digests() && target.path().is_none());
        let without = target.open_source(&registry).err().unwrap();
        assert!(matches!(without, TargetError::NoEngine { .. }), "{without}");
        let endpoint = Endpoint::socket("/nowhere/docker.sock");
        let clients = Clients::new(registry).engine(Engine::new(EngineConfig::at(endpoint)));
        let (_, selector) = target.open_source(&clients).unwrap();
        assert_eq!(selector, None);
        let (_, placement) = target.open_sink(&clients).unwrap();
        assert_eq!(placement, Placement::Root { tag: None });
        let digest = Digest::sha256_of(b"x");
        for name in [format!("app@{digest}"), digest.to_string()] {
            let target: Target = format!("docker-daemon:{name}").parse().unwrap();
            target.open_source(&clients).unwrap();
            let error = target.open_sink(&clients).err().unwrap();
            assert!(matches!(error, TargetError::DaemonImage(_)), "{error}");
        }
    }

    #[test]
    fn an_archive_is_made_when_its_image_is_there_and_not_before() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["oci-archive:{}:v1", "docker-archive:{}:app:v1"] {
            let path = folder.path().join("new/x.tar");
            let target: Target = text.replace("{}", path.to_str().unwrap()).parse().unwrap();
            assert!(target.is_replaced());
            let registry = Registry::builder().build().unwrap();
            drop(target.open_sink(&registry).unwrap());
            let entries = std::fs::read_dir(folder.path().join("new")).unwrap();
            assert_eq!(entries.count(), 0);
            assert!(matches!(
                target.open_source(&registry),
                Err(TargetError::Layout(LayoutError::NoArchive { .. }))
            ));
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
        for (transport, name) in [
            ("oci", "@"),
            ("oci-archive", "@"),
            ("docker-archive", ":app@"),
        ] {
            let target: Target = format!("{transport}:{}{name}{digest}", untouched.display())
                .parse()
                .unwrap();
            assert!(matches!(
                target.open_sink(&registry),
                Err(TargetError::WrittenByDigest { .. })
            ));
            assert!(!untouched.exists());
        }
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
        fn a_target_survives_its_own_name(text in "(oci:|oci-archive:|docker-archive:|docker-daemon:|docker://)?[a-z0-9./:@-]{0,40}") {
            if let Ok(target) = text.parse::<Target>() {
                let again: Target = target.to_string().parse().unwrap();
                prop_assert_eq!(again.to_string(), target.to_string());
            }
        }
    }
}
