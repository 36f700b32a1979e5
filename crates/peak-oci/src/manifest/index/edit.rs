//! Creating, changing and merging indexes.

use std::collections::{HashMap, HashSet};

use super::Index;
use crate::annotations::{DOCKER_REFERENCE_DIGEST, DOCKER_REFERENCE_TYPE};
use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::media_type::MediaType;
use crate::platform::{Fit, Platform};

/// Why an index cannot be put together like that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// Types of Docker and of OCI meet, and [`Mixing::Refuse`] was asked for.
    #[error(
        "{index} and {other} do not go together: one is Docker's and one is OCI's; convert one of them, or allow mixing"
    )]
    Mixed {
        /// The type of the index, or of the first manifest that is to be in it.
        index: MediaType,
        /// The type that does not go with it.
        other: MediaType,
    },
    /// Two manifests of an index that is to be created are for the same platform.
    #[error("{first} and {second} are both for {platform}; leave one of them out")]
    SamePlatform {
        /// The platform.
        platform: Box<Platform>,
        /// One of the two.
        first: Digest,
        /// The other.
        second: Digest,
    },
}

/// What happens where types of Docker and of OCI meet in one index.
///
/// The specifications allow it, but there are clients and registries that do not understand it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mixing {
    /// An error.
    #[default]
    Refuse,
    /// It is allowed. Manifests are never converted: their descriptors stay as they are. A new index of both is an OCI
    /// one; an index that exists keeps its type.
    Allow,
}

/// How [`Index::merge`] does it: by default all platforms, and [`Mixing::Refuse`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Merge {
    architectures: Option<HashSet<String>>,
    mixing: Mixing,
}

impl Merge {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes only manifests for these architectures out of the other index. Names are normalised: `x86_64` is `amd64`.
    #[must_use]
    pub fn architectures<T: AsRef<str>>(mut self, names: impl IntoIterator<Item = T>) -> Self {
        let normalized = names
            .into_iter()
            .map(|name| Platform::new("", name.as_ref()).normalized().architecture);
        self.architectures = Some(normalized.collect());
        self
    }

    /// What happens where types of Docker and of OCI meet.
    #[must_use]
    pub fn mixing(mut self, mixing: Mixing) -> Self {
        self.mixing = mixing;
        self
    }

    fn takes(&self, manifest: &Descriptor) -> bool {
        let Some(names) = &self.architectures else {
            return true;
        };
        manifest
            .platform
            .as_ref()
            .is_some_and(|platform| names.contains(&platform.clone().normalized().architecture))
    }
}

/// Whose types they are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Docker,
    Oci,
}

impl Family {
    /// `None` for types that are nobody's and go with everything.
    fn of(media_type: &MediaType) -> Option<Self> {
        if media_type.as_str().starts_with("application/vnd.docker.") {
            Some(Self::Docker)
        } else if media_type.as_str().starts_with("application/vnd.oci.") {
            Some(Self::Oci)
        } else {
            None
        }
    }
}

fn check_family(index: &MediaType, other: &MediaType, mixing: Mixing) -> Result<(), IndexError> {
    match (Family::of(index), Family::of(other)) {
        (Some(ours), Some(theirs)) if ours != theirs && mixing == Mixing::Refuse => {
            Err(IndexError::Mixed {
                index: index.clone(),
                other: other.clone(),
            })
        }
        _ => Ok(()),
    }
}

/// The place of a manifest in an index, of which there is one: its platform, or where that says nothing, its content.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Slot {
    Platform {
        os: String,
        architecture: String,
        variant: Option<String>,
        os_version: Option<String>,
    },
    Content(Digest),
}

impl Slot {
    fn of(manifest: &Descriptor) -> Self {
        match &manifest.platform {
            Some(platform) if platform.is_known() && described(manifest).is_none() => {
                let platform = platform.clone().normalized();
                Self::Platform {
                    os: platform.os,
                    architecture: platform.architecture,
                    variant: platform.variant,
                    os_version: platform.os_version,
                }
            }
            _ => Self::Content(manifest.digest.clone()),
        }
    }
}

/// The digest of the manifest that an attestation of `BuildKit` is about; `None` for everything else.
fn described(manifest: &Descriptor) -> Option<Digest> {
    manifest
        .annotation(DOCKER_REFERENCE_TYPE)
        .filter(|kind| *kind == "attestation-manifest")?;
    manifest.annotation(DOCKER_REFERENCE_DIGEST)?.parse().ok()
}

/// Manifests in order, each slot once.
#[derive(Default)]
struct Slots {
    manifests: Vec<Descriptor>,
    positions: HashMap<Slot, usize>,
}

impl Slots {
    /// Appends it, unless its slot is taken: the first is the one that clients would pick.
    fn keep(&mut self, manifest: &Descriptor) {
        if !self.positions.contains_key(&Slot::of(manifest)) {
            self.put(manifest.clone());
        }
    }

    /// Puts it where the one of its slot stands, or at the end; gives back the one that it took the place of.
    fn put(&mut self, manifest: Descriptor) -> Option<Descriptor> {
        let position = *self
            .positions
            .entry(Slot::of(&manifest))
            .or_insert(self.manifests.len());
        if let Some(old) = self.manifests.get_mut(position) {
            Some(std::mem::replace(old, manifest))
        } else {
            self.manifests.push(manifest);
            None
        }
    }
}

/// Takes out attestations about manifests that were listed before and no longer are; gives them back.
fn drop_orphans(before: &HashSet<Digest>, manifests: &mut Vec<Descriptor>) -> Vec<Descriptor> {
    let after = digests(manifests);
    manifests
        .extract_if(.., |manifest| {
            described(manifest)
                .is_some_and(|digest| before.contains(&digest) && !after.contains(&digest))
        })
        .collect()
}

fn digests(manifests: &[Descriptor]) -> HashSet<Digest> {
    manifests
        .iter()
        .map(|manifest| manifest.digest.clone())
        .collect()
}

impl Index {
    /// An index of these manifests, in their order: a Docker manifest list if all of them are Docker's, else an OCI
    /// index. One that is there twice is taken once.
    ///
    /// Each should have a platform: [`descriptor_for_index`](crate::Raw::descriptor_for_index) takes it from the config.
    ///
    /// # Errors
    /// [`IndexError::Mixed`]; [`IndexError::SamePlatform`] for two different manifests for one platform.
    pub fn create(manifests: Vec<Descriptor>, mixing: Mixing) -> Result<Self, IndexError> {
        let of_family = |family| {
            manifests
                .iter()
                .map(|manifest| &manifest.media_type)
                .find(|media_type| Family::of(media_type) == Some(family))
        };
        let (docker, oci) = (of_family(Family::Docker), of_family(Family::Oci));
        if let (Some(docker), Some(oci)) = (docker, oci) {
            check_family(docker, oci, mixing)?;
        }
        let media_type = if docker.is_some() && oci.is_none() {
            MediaType::DOCKER_MANIFEST_LIST
        } else {
            MediaType::OCI_INDEX
        };
        let mut slots = Slots::default();
        for manifest in manifests {
            let (digest, platform) = (manifest.digest.clone(), manifest.platform.clone());
            if let (Some(first), Some(platform)) = (slots.put(manifest), platform)
                && first.digest != digest
            {
                return Err(IndexError::SamePlatform {
                    platform: Box::new(platform),
                    first: first.digest,
                    second: digest,
                });
            }
        }
        let mut index = Self::new(slots.manifests);
        index.media_type = media_type;
        Ok(index)
    }

    /// Adds a manifest: in the place of the one for the same platform, else at the end. Gives back what is no longer
    /// listed: the one replaced, and its attestations.
    ///
    /// Platforms are the same when operating system, architecture, variant and `os.version` are, after
    /// [`Platform::normalized`]. A manifest without a platform, or for the platform `unknown`, takes the place of the
    /// one with the same digest.
    ///
    /// # Errors
    /// [`IndexError::Mixed`]; nothing is then changed.
    pub fn add(
        &mut self,
        manifest: Descriptor,
        mixing: Mixing,
    ) -> Result<Vec<Descriptor>, IndexError> {
        check_family(&self.media_type, &manifest.media_type, mixing)?;
        let before = digests(&self.manifests);
        let slot = Slot::of(&manifest);
        let found = self
            .manifests
            .iter_mut()
            .find(|listed| Slot::of(listed) == slot);
        let Some(listed) = found else {
            self.manifests.push(manifest);
            return Ok(Vec::new());
        };
        let mut dropped = vec![std::mem::replace(listed, manifest)];
        dropped.extend(drop_orphans(&before, &mut self.manifests));
        Ok(dropped)
    }

    /// Removes a manifest, wherever it is listed, and its attestations. Gives back what is no longer listed; nothing if
    /// it was not there.
    pub fn remove(&mut self, digest: &Digest) -> Vec<Descriptor> {
        self.remove_where(|manifest| manifest.digest == *digest)
    }

    /// Removes the manifests for exactly these platforms, and their attestations. Gives back what is no longer listed.
    ///
    /// A platform without `os.version` means every version; one with a Windows build every revision of it.
    pub fn remove_platforms(&mut self, platforms: &[Platform]) -> Vec<Descriptor> {
        self.remove_where(|manifest| is_for(manifest, platforms))
    }

    /// Keeps only the manifests for exactly these platforms (as in [`Index::remove_platforms`]) and their attestations.
    /// Gives back what is no longer listed.
    pub fn retain_platforms(&mut self, platforms: &[Platform]) -> Vec<Descriptor> {
        let kept: HashSet<Digest> = self
            .manifests
            .iter()
            .filter(|manifest| is_for(manifest, platforms))
            .map(|manifest| manifest.digest.clone())
            .collect();
        self.remove_where(|manifest| match described(manifest) {
            Some(digest) => !kept.contains(&digest),
            None => !is_for(manifest, platforms),
        })
    }

    /// This index with the manifests of `other` over it, platform by platform.
    ///
    /// A manifest of `other` takes the place of the one for the same platform (as in [`Index::add`]); those for new
    /// platforms come at the end, in their order in `other`. The rest stays, in its order. Where one of the two indexes
    /// lists a platform twice its first manifest counts, which is the one that clients pick. Attestations go with the
    /// manifests that they are about. Type, annotations, subject and unknown members are those of this index.
    ///
    /// Merging the same index once more changes nothing.
    ///
    /// # Errors
    /// [`IndexError::Mixed`].
    pub fn merge(&self, other: &Self, merge: &Merge) -> Result<Self, IndexError> {
        check_family(&self.media_type, &other.media_type, merge.mixing)?;
        let mut theirs = Slots::default();
        for manifest in other
            .manifests
            .iter()
            .filter(|manifest| merge.takes(manifest))
        {
            if described(manifest).is_none() {
                theirs.keep(manifest);
            }
        }
        let taken = digests(&theirs.manifests);
        for manifest in &other.manifests {
            if described(manifest).is_some_and(|digest| taken.contains(&digest)) {
                theirs.keep(manifest);
            }
        }

        let mut ours = Slots::default();
        for manifest in &self.manifests {
            ours.keep(manifest);
        }
        for manifest in theirs.manifests {
            ours.put(manifest);
        }
        let mut merged = self.clone();
        merged.manifests = ours.manifests;
        drop_orphans(&digests(&self.manifests), &mut merged.manifests);
        Ok(merged)
    }

    fn remove_where(&mut self, is_removed: impl Fn(&Descriptor) -> bool) -> Vec<Descriptor> {
        let before = digests(&self.manifests);
        let mut dropped: Vec<_> = self
            .manifests
            .extract_if(.., |manifest| is_removed(manifest))
            .collect();
        dropped.extend(drop_orphans(&before, &mut self.manifests));
        dropped
    }
}

fn is_for(manifest: &Descriptor, platforms: &[Platform]) -> bool {
    manifest.platform.as_ref().is_some_and(|offered| {
        platforms
            .iter()
            .any(|wanted| wanted.fit(offered).is_some_and(Fit::is_same_platform))
    })
}
