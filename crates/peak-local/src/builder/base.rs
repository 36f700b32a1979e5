//! Images of the embedded registry: finding the one that `FROM` or `COPY --from` names.

use std::io::Read;

use bytes::Bytes;
use peak_oci::content::MAX_INDEX_DEPTH;
use peak_oci::{
    Descriptor, Digest, ImageConfig, ImageManifest, Index, MAX_CONFIG_SIZE, Manifest, MediaType,
    Platform, RepositoryName, Selector, Tag,
};
use peak_registry_server::{Store, StoreError};

use super::error::{BuildError, Fault, Problem};
use super::expand::Word;

/// Images in the embedded registry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Registry<'a> {
    pub store: &'a Store,
    /// The names under which the registry is known, `127.0.0.1:4321`.
    pub hosts: &'a [String],
}

/// An image to build upon or to copy from.
#[derive(Debug)]
pub(crate) struct BaseImage {
    pub repository: RepositoryName,
    pub config: ImageConfig,
    /// The base first; of OCI media types.
    pub layers: Vec<Descriptor>,
}

impl Registry<'_> {
    /// Finds the image that a word of the Dockerfile names.
    pub(crate) fn find(&self, word: &Word, platform: &Platform) -> Result<BaseImage, Fault> {
        let (repository, selector) = self.parse(word)?;
        let image = self.manifest(word, &repository, selector, platform)?;
        let unusable = |reason: &str| Problem::UnusableImage {
            image: word.shown().to_owned(),
            reason: reason.to_owned(),
        };
        if !image.config.media_type.is_image_config() {
            return Err(unusable("it is not an image that can be run").into());
        }
        let config = self.config(&repository, &image.config, &unusable)?;
        if config.rootfs.diff_ids.len() != image.layers.len() {
            return Err(unusable("its config and its manifest disagree about its layers").into());
        }
        let handle = self.store.repository(&repository);
        let mut layers = Vec::new();
        for layer in image.layers {
            let present = handle
                .has_blob(&layer.digest)
                .map_err(BuildError::store("look into"))?;
            if !present {
                return Err(unusable("not all of its layers are in the embedded registry").into());
            }
            let media_type = oci_layer_type(&layer.media_type).ok_or_else(|| {
                unusable(&format!("it has a layer of the type {}", layer.media_type))
            })?;
            layers.push(Descriptor::new(media_type, layer.digest, layer.size));
        }
        Ok(BaseImage {
            repository,
            config,
            layers,
        })
    }

    /// The image that a word of the Dockerfile names, by its digest, if it is in the registry. `None` means that it is
    /// for others to find.
    pub(crate) fn locate(&self, word: &Word) -> Result<Option<(RepositoryName, Digest)>, Fault> {
        let Ok((repository, selector)) = self.parse(word) else {
            return Ok(None);
        };
        match self.store.repository(&repository).manifest_entry(&selector) {
            Ok(entry) => Ok(Some((repository, entry.digest))),
            Err(StoreError::ManifestUnknown { .. } | StoreError::RepositoryUnknown { .. }) => {
                let problem = Self::not_in_registry(word, &repository);
                // With the registry's own address before it, it is nowhere else.
                match problem {
                    Problem::NotInRegistry { ours: true, .. } => Err(problem.into()),
                    _ => Ok(None),
                }
            }
            Err(error) => Err(BuildError::store("read an image from")(error).into()),
        }
    }

    /// The repository and what of it is meant: `name[:tag][@digest]`, perhaps with a host before.
    fn parse(&self, word: &Word) -> Result<(RepositoryName, Selector), Problem> {
        let text = word.text.as_str();
        let malformed = || Problem::ImageName {
            image: word.shown().to_owned(),
        };
        let name = match text.split_once('/') {
            Some((host, name)) if is_host(host) => {
                if !self.hosts.iter().any(|known| known == host) {
                    return Err(Self::in_other_registry(word, name));
                }
                name
            }
            _ => text,
        };
        let (name, digest) = match name.split_once('@') {
            Some((name, digest)) => (
                name,
                Some(digest.parse::<Digest>().map_err(|_| malformed())?),
            ),
            None => (name, None),
        };
        let (name, tag) = match name.split_once(':') {
            Some((name, tag)) => (name, tag.parse::<Tag>().map_err(|_| malformed())?),
            None => (name, Tag::latest()),
        };
        let repository = name.parse::<RepositoryName>().map_err(|_| malformed())?;
        Ok((
            repository,
            digest.map_or(Selector::Tag(tag), Selector::Digest),
        ))
    }

    fn in_other_registry(word: &Word, name: &str) -> Problem {
        let name = if word.private {
            "NAME:TAG"
        } else {
            name.split('@').next().unwrap_or(name)
        };
        Problem::OtherRegistry {
            image: word.shown().to_owned(),
            name: name.to_owned(),
        }
    }

    fn not_in_registry(word: &Word, repository: &RepositoryName) -> Problem {
        let bare = if word.private {
            "NAME:TAG".to_owned()
        } else {
            let text = word.text.split('@').next().unwrap_or_default();
            let tag = text
                .rsplit('/')
                .next()
                .and_then(|last| last.split_once(':'));
            tag.map_or_else(
                || repository.to_string(),
                |(_, tag)| format!("{repository}:{tag}"),
            )
        };
        let has_host = word
            .text
            .split_once('/')
            .is_some_and(|(host, _)| is_host(host));
        Problem::NotInRegistry {
            image: word.shown().to_owned(),
            source_name: if has_host || word.private {
                "SOURCE".to_owned()
            } else {
                word.shown().to_owned()
            },
            name: bare,
            ours: has_host,
        }
    }

    /// The image manifest for the platform, through as many indexes as there may be.
    fn manifest(
        &self,
        word: &Word,
        repository: &RepositoryName,
        mut selector: Selector,
        platform: &Platform,
    ) -> Result<ImageManifest, Fault> {
        let handle = self.store.repository(repository);
        for _ in 0..=MAX_INDEX_DEPTH {
            let raw = handle.manifest(&selector).map_err(|error| match error {
                StoreError::ManifestUnknown { .. } | StoreError::RepositoryUnknown { .. } => {
                    Fault::Problem(Self::not_in_registry(word, repository))
                }
                other => BuildError::store("read an image from")(other).into(),
            })?;
            match raw.into_value() {
                Manifest::Image(image) => return Ok(image),
                Manifest::Index(index) => {
                    let child = index
                        .best_match(platform)
                        .ok_or_else(|| no_platform(word, platform, &index))?;
                    selector = Selector::Digest(child.digest.clone());
                }
                _ => break,
            }
        }
        Err(Fault::Problem(Problem::UnusableImage {
            image: word.shown().to_owned(),
            reason: "its manifest is of a kind that the embedded builder does not read".to_owned(),
        }))
    }

    fn config(
        &self,
        repository: &RepositoryName,
        descriptor: &Descriptor,
        unusable: &dyn Fn(&str) -> Problem,
    ) -> Result<ImageConfig, Fault> {
        let blob = self
            .store
            .repository(repository)
            .blob(&descriptor.digest)
            .map_err(BuildError::store("read an image from"))?;
        if blob.size > MAX_CONFIG_SIZE {
            return Err(unusable("its config is too large").into());
        }
        let mut bytes = Vec::new();
        blob.content
            .take(MAX_CONFIG_SIZE)
            .read_to_end(&mut bytes)
            .map_err(BuildError::disk("read an image's config"))?;
        let config = ImageConfig::parse(Bytes::from(bytes))
            .map_err(|error| unusable(&format!("its config is not one ({error})")))?;
        Ok(config.into_value())
    }
}

fn no_platform(word: &Word, wanted: &Platform, index: &Index) -> Problem {
    let mut available: Vec<_> = index.platforms().map(ToString::to_string).collect();
    if available.is_empty() {
        available.push("none".to_owned());
    }
    Problem::NoPlatform {
        image: word.shown().to_owned(),
        wanted: wanted.to_string(),
        available: available.join(", "),
    }
}

/// What OCI calls a layer of this type; `None` if it has no name for it.
fn oci_layer_type(media_type: &MediaType) -> Option<MediaType> {
    const KNOWN: [(MediaType, MediaType); 5] = [
        (MediaType::DOCKER_LAYER, MediaType::OCI_LAYER),
        (MediaType::DOCKER_LAYER_GZIP, MediaType::OCI_LAYER_GZIP),
        (MediaType::OCI_LAYER, MediaType::OCI_LAYER),
        (MediaType::OCI_LAYER_GZIP, MediaType::OCI_LAYER_GZIP),
        (MediaType::OCI_LAYER_ZSTD, MediaType::OCI_LAYER_ZSTD),
    ];
    KNOWN
        .into_iter()
        .find(|(known, _)| known == media_type)
        .map(|(_, oci)| oci)
}

/// Whether the part before the first `/` names a registry, by Docker's rule.
fn is_host(text: &str) -> bool {
    text.contains(['.', ':']) || text == "localhost"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_told_from_names() {
        for (text, expected) in [
            ("localhost", true),
            ("127.0.0.1:5000", true),
            ("quay.io", true),
            ("library", false),
        ] {
            assert_eq!(is_host(text), expected, "{text}");
        }
    }
}
