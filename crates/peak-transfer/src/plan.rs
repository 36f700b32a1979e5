//! What is to be moved: every manifest below the root, what refers to them, and every blob that they name, once.

use std::collections::{HashMap, HashSet};

use peak_oci::{
    ContentError, ContentErrorKind, Descriptor, Digest, MAX_INDEX_DEPTH, Manifest, MediaType, Raw,
    Selector, Sink, Source, Tag,
};

use crate::TransferError;
use crate::foreign;
use crate::manifests::Manifests;
use crate::select::{self, Platforms};
use crate::several::several;

/// How far referrers of referrers are followed: a signature of an attestation about a bill of materials.
pub(crate) const MAX_REFERRER_DEPTH: usize = 4;

/// Most referrers of one image, those of its referrers among them.
pub(crate) const MAX_IMAGE_REFERRERS: usize = 1000;

/// What cosign appends to `sha256-<hex>` to name the tag of a signature, of attestations and of a bill of materials.
pub(crate) const COSIGN_SUFFIXES: [&str; 3] = ["sig", "att", "sbom"];

/// What is asked of a plan.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    pub(crate) platforms: Platforms,
    pub(crate) referrers: bool,
    /// Requests at once.
    pub(crate) concurrency: usize,
}

/// What is to be moved.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Written last.
    pub(crate) root: Raw<Manifest>,
    /// Whether the root is what the source has, or what was left of it for some platforms.
    pub(crate) is_whole: bool,
    /// All others below the root; each comes after those that it points to.
    pub(crate) children: Vec<Raw<Manifest>>,
    /// What refers to the root or to a child, with what it consists of; each comes after its subject.
    pub(crate) attached: Vec<Attached>,
    /// Referrers that are listed at the source and are not there.
    pub(crate) missing_referrers: Vec<Digest>,
    /// Each digest once, in the order in which they are named.
    pub(crate) blobs: Vec<Descriptor>,
    /// Layers that stay where their `urls` point: neither end has them.
    pub(crate) omitted: Vec<Descriptor>,
}

/// A manifest that does not belong to the image itself.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) manifest: Raw<Manifest>,
    /// The tag by which it is found, where it is found by one.
    pub(crate) tag: Option<Tag>,
}

impl Plan {
    pub(crate) fn bytes(&self) -> u64 {
        self.blobs
            .iter()
            .fold(0, |sum, blob| sum.saturating_add(blob.size))
    }

    /// All manifests, the root last.
    pub(crate) fn manifests(&self) -> impl Iterator<Item = &Raw<Manifest>> {
        self.children
            .iter()
            .chain(self.attached.iter().map(|attached| &attached.manifest))
            .chain(std::iter::once(&self.root))
    }
}

/// Reads all manifests, level by level, several at once. Nothing is written.
pub(crate) async fn make(
    source: &dyn Source,
    selector: Option<&Selector>,
    sink: &dyn Sink,
    scope: &Scope,
) -> Result<Plan, TransferError> {
    let manifests = Manifests::new(source, sink);
    let whole = manifests.root(selector).await?;
    let digest = whole.digest().clone();
    let root = select::choose(&manifests, whole, &scope.platforms).await?;
    let concurrency = scope.concurrency.max(1);
    let mut reader = Reader {
        manifests: &manifests,
        concurrency,
        known: HashMap::new(),
        layers: HashMap::new(),
        order: Order::default(),
    };
    reader.gather(vec![root.clone()]).await?;
    let children = reader.place(&root)?;
    let mut attached = Vec::new();
    let mut missing_referrers = Vec::new();
    if scope.referrers {
        let image: Vec<Digest> = std::iter::once(&root)
            .chain(&children)
            .map(|manifest| manifest.digest().clone())
            .collect();
        missing_referrers = reader.add_referrers(&image, &mut attached).await?;
        reader.add_cosign_tags(&image, &mut attached).await?;
        if !(attached.is_empty() || sink.holds_referrers()) {
            let error = ContentError::new(
                ContentErrorKind::Unsupported,
                "an archive holds one image and nothing that refers to it; copy to a registry or to a layout directory",
            );
            let what = format!("the referrers of image {digest}");
            return Err(TransferError::writing(what, error));
        }
    }
    let (blobs, omitted) = foreign::divide(source, sink, reader.order.blobs, concurrency).await?;
    Ok(Plan {
        is_whole: *root.digest() == digest,
        root,
        children,
        attached,
        missing_referrers,
        blobs,
        omitted,
    })
}

/// Reads manifests and puts them into the order in which they can be written.
struct Reader<'a> {
    manifests: &'a Manifests<'a>,
    concurrency: usize,
    known: HashMap<Digest, Raw<Manifest>>,
    /// The layers of manifests that do not say their sizes.
    layers: HashMap<Digest, Vec<Descriptor>>,
    order: Order,
}

impl Reader<'_> {
    /// Reads everything below these manifests that is a manifest.
    async fn gather(&mut self, mut level: Vec<Raw<Manifest>>) -> Result<(), TransferError> {
        for depth in 0.. {
            for manifest in &level {
                self.manifests.check(manifest)?;
                self.measure(manifest).await?;
            }
            let mut wanted: Vec<Descriptor> = Vec::new();
            let mut seen: HashSet<&Digest> = HashSet::new();
            for child in level.iter().flat_map(manifests_of) {
                if !self.known.contains_key(&child.digest) && seen.insert(&child.digest) {
                    wanted.push(child.clone());
                }
            }
            if wanted.is_empty() {
                break;
            }
            if depth >= MAX_INDEX_DEPTH {
                return Err(TransferError::TooDeep {
                    limit: MAX_INDEX_DEPTH,
                });
            }
            level = self.fetch_all(&wanted).await?;
            for manifest in &level {
                self.known
                    .insert(manifest.digest().clone(), manifest.clone());
            }
        }
        Ok(())
    }

    async fn fetch_all(&self, wanted: &[Descriptor]) -> Result<Vec<Raw<Manifest>>, TransferError> {
        let work = wanted.iter().map(|child| self.manifests.fetch(child));
        several(work.collect(), self.concurrency).await
    }

    /// A manifest of schema 1 does not say the sizes of its layers; the source knows them.
    async fn measure(&mut self, manifest: &Raw<Manifest>) -> Result<(), TransferError> {
        let Some(old) = manifest.value().as_schema1() else {
            return Ok(());
        };
        let mut seen = HashSet::new();
        let digests = old
            .layers
            .iter()
            .rev()
            .map(|layer| &layer.digest)
            .filter(|digest| seen.insert(*digest));
        let source = self.manifests.source;
        let work = digests.map(|digest| async move {
            let size = source.blob_size(digest).await.map_err(|error| {
                TransferError::reading(format!("the size of blob {digest}"), error)
            })?;
            Ok(Descriptor::new(
                MediaType::DOCKER_LAYER_GZIP,
                digest.clone(),
                size,
            ))
        });
        let layers = several(work.collect(), self.concurrency).await?;
        self.layers.insert(manifest.digest().clone(), layers);
        Ok(())
    }

    /// Puts what a manifest consists of into order; gives back the manifests below it that were not placed before.
    fn place(&mut self, manifest: &Raw<Manifest>) -> Result<Vec<Raw<Manifest>>, TransferError> {
        self.order.visited.insert(manifest.digest().clone());
        self.order.visit(&self.known, &self.layers, manifest)?;
        Ok(std::mem::take(&mut self.order.children))
    }

    /// Finds what refers to these manifests, and what refers to that. Gives back what is listed but is not there.
    async fn add_referrers(
        &mut self,
        image: &[Digest],
        attached: &mut Vec<Attached>,
    ) -> Result<Vec<Digest>, TransferError> {
        let mut subjects = image.to_vec();
        let mut seen: HashSet<Digest> = HashSet::new();
        let mut missing = Vec::new();
        for depth in 0.. {
            let source = self.manifests.source;
            let work = subjects.iter().map(|subject| async move {
                let listed = source.referrers(subject).await;
                listed.map_err(|error| {
                    TransferError::reading(format!("the referrers of {subject}"), error)
                })
            });
            let lists: Vec<Vec<Descriptor>> = several(work.collect(), self.concurrency).await?;
            let wanted: Vec<Descriptor> = lists
                .into_iter()
                .flatten()
                .filter(|listed| seen.insert(listed.digest.clone()))
                .collect();
            if wanted.is_empty() {
                return Ok(missing);
            }
            if depth >= MAX_REFERRER_DEPTH {
                return Err(TransferError::ReferrersTooDeep {
                    limit: MAX_REFERRER_DEPTH,
                });
            }
            if seen.len() > MAX_IMAGE_REFERRERS {
                return Err(TransferError::TooManyReferrers {
                    limit: MAX_IMAGE_REFERRERS,
                });
            }
            let work = wanted.iter().map(|listed| self.fetch_listed(listed));
            let found = several(work.collect(), self.concurrency).await?;
            let mut next = Vec::new();
            for (listed, found) in wanted.into_iter().zip(found) {
                let Some(referrer) = found else {
                    missing.push(listed.digest);
                    continue;
                };
                // A list may name what does not refer to the subject; then it is no referrer.
                let refers = referrer
                    .value()
                    .subject()
                    .is_some_and(|subject| subjects.contains(&subject.digest));
                if refers && !self.order.visited.contains(referrer.digest()) {
                    next.push(referrer);
                }
            }
            self.gather(next.clone()).await?;
            subjects.clear();
            for referrer in next {
                for child in self.place(&referrer)? {
                    subjects.push(child.digest().clone());
                    attached.push(Attached::by_digest(child));
                }
                subjects.push(referrer.digest().clone());
                attached.push(Attached::by_digest(referrer));
            }
        }
        Ok(missing)
    }

    /// A list of referrers may be older than what became of them.
    async fn fetch_listed(
        &self,
        listed: &Descriptor,
    ) -> Result<Option<Raw<Manifest>>, TransferError> {
        match self.manifests.fetch(listed).await {
            Ok(manifest) => Ok(Some(manifest)),
            Err(TransferError::Source { source, .. })
                if source.kind() == ContentErrorKind::NotFound =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// What cosign keeps under tags that are named after a manifest.
    async fn add_cosign_tags(
        &mut self,
        image: &[Digest],
        attached: &mut Vec<Attached>,
    ) -> Result<(), TransferError> {
        let manifests = self.manifests;
        let work = image.iter().flat_map(cosign_tags).map(|tag| async move {
            let selector = Selector::Tag(tag.clone());
            let manifest = manifests.find(&selector).await?;
            Ok(manifest.map(|manifest| (tag, manifest)))
        });
        let found = several(work.collect(), self.concurrency).await?;
        let found: Vec<(Tag, Raw<Manifest>)> = found.into_iter().flatten().collect();
        self.gather(found.iter().map(|(_, manifest)| manifest.clone()).collect())
            .await?;
        for (tag, manifest) in found {
            let below = self.place(&manifest)?;
            attached.extend(below.into_iter().map(Attached::by_digest));
            attached.push(Attached {
                manifest,
                tag: Some(tag),
            });
        }
        Ok(())
    }
}

impl Attached {
    fn by_digest(manifest: Raw<Manifest>) -> Self {
        Self {
            manifest,
            tag: None,
        }
    }
}

/// The tags under which cosign keeps what it has to say about a manifest.
pub(crate) fn cosign_tags(digest: &Digest) -> impl Iterator<Item = Tag> + use<> {
    let base = Tag::of_referrers(digest);
    COSIGN_SUFFIXES
        .into_iter()
        .filter_map(move |suffix| format!("{}.{suffix}", base.as_ref()?).parse().ok())
}

/// What an index points to that is a manifest.
fn manifests_of(parent: &Raw<Manifest>) -> impl Iterator<Item = &Descriptor> {
    let children = if parent.value().as_index().is_some() {
        parent.value().children()
    } else {
        Vec::new()
    };
    children.into_iter().filter(|child| is_manifest(child))
}

fn is_manifest(descriptor: &Descriptor) -> bool {
    descriptor.media_type.is_manifest()
}

/// Puts manifests behind what they point to, and blobs into the order in which they are named.
#[derive(Default)]
struct Order {
    visited: HashSet<Digest>,
    children: Vec<Raw<Manifest>>,
    blobs: Vec<Descriptor>,
    /// Where in `blobs` each digest is.
    places: HashMap<Digest, usize>,
}

impl Order {
    /// As deep as the indexes are nested, which was limited when they were read.
    fn visit(
        &mut self,
        known: &HashMap<Digest, Raw<Manifest>>,
        layers: &HashMap<Digest, Vec<Descriptor>>,
        parent: &Raw<Manifest>,
    ) -> Result<(), TransferError> {
        for layer in layers.get(parent.digest()).into_iter().flatten() {
            self.add_blob(layer)?;
        }
        let is_index = parent.value().as_index().is_some();
        for child in parent.value().children() {
            if !(is_index && is_manifest(child)) {
                self.add_blob(child)?;
            } else if self.visited.insert(child.digest.clone())
                && let Some(manifest) = known.get(&child.digest)
            {
                self.visit(known, layers, manifest)?;
                self.children.push(manifest.clone());
            }
        }
        Ok(())
    }

    fn add_blob(&mut self, blob: &Descriptor) -> Result<(), TransferError> {
        let place = *self
            .places
            .entry(blob.digest.clone())
            .or_insert(self.blobs.len());
        let Some(first) = self.blobs.get_mut(place) else {
            self.blobs.push(blob.clone());
            return Ok(());
        };
        if first.size != blob.size {
            return Err(TransferError::ConflictingSizes {
                digest: blob.digest.clone(),
                first: first.size,
                second: blob.size,
            });
        }
        // It may be missing only where everybody who names it says so.
        if foreign::may_be_missing(first) && !foreign::may_be_missing(blob) {
            *first = blob.clone();
        }
        Ok(())
    }
}
