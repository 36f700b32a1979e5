//! Images from one end to another.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::stream::FuturesUnordered;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use peak_oci::{
    BlobOutcome, Descriptor, Digest, Manifest, MediaType, Placement, Raw, Selector, Sink, Source,
    Tag,
};
use tokio::sync::Semaphore;

use crate::flights::Flights;
use crate::lanes::Lanes;
use crate::manifests::Manifests;
use crate::plan::{Plan, Scope};
use crate::progress::{Event, Listener};
use crate::several::several;
use crate::{Platforms, TransferError, blob, plan, select};

/// Blobs at once where nothing else is asked for: what public registries put up with.
const DEFAULT_CONCURRENCY: usize = 4;

/// How images are moved.
#[derive(Clone, Debug)]
#[must_use]
pub struct CopyOptions {
    concurrency: usize,
    platforms: Platforms,
    referrers: bool,
    listener: Listener,
}

impl CopyOptions {
    /// Four blobs at once, all platforms, no referrers, and nobody listens.
    pub fn new() -> Self {
        Self {
            concurrency: DEFAULT_CONCURRENCY,
            platforms: Platforms::all(),
            referrers: false,
            listener: Listener::default(),
        }
    }

    /// How many blobs (and manifests, and images of a repository) move at once; at least 1.
    pub fn concurrency(mut self, concurrency: usize) -> Self {
        self.concurrency = concurrency.max(1);
        self
    }

    /// Which platforms are moved. Where some of an index are left out, the image gets another digest.
    pub fn platforms(mut self, platforms: Platforms) -> Self {
        self.platforms = platforms;
        self
    }

    /// Takes along what refers to the image and to the images in its index: what the source lists as their
    /// [referrers](Source::referrers), referrers of those, and what cosign keeps under the tags `sha256-<hex>.sig`,
    /// `.att` and `.sbom`.
    pub fn referrers(mut self, yes: bool) -> Self {
        self.referrers = yes;
        self
    }

    /// Is told what happens, from within the transfer: it should be quick and must not block.
    pub fn progress(mut self, listen: impl Fn(Event) + Send + Sync + 'static) -> Self {
        self.listener = Listener::new(listen);
        self
    }

    fn scope(&self) -> Scope {
        Scope {
            platforms: self.platforms.clone(),
            referrers: self.referrers,
            concurrency: self.concurrency,
        }
    }
}

impl Default for CopyOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// What was moved of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyReport {
    /// The digest of the image at the destination: of its index or manifest.
    pub digest: Digest,
    /// The type of that index or manifest.
    pub media_type: MediaType,
    /// Whether it is the image of the source, with its digest, or what was left of it for some platforms.
    pub is_whole: bool,
    /// All bytes of the image: its manifests, its referrers, and each blob once, but for missing foreign layers.
    pub size: u64,
    /// Blobs that were moved.
    pub blobs_copied: usize,
    /// Blobs that the destination had, or got with another image of the same run.
    pub blobs_skipped: usize,
    /// Blobs that the destination took over from another place of its own.
    pub blobs_mounted: usize,
    /// Bytes of the blobs that were moved.
    pub bytes_copied: u64,
    /// Bytes of the blobs that the destination had.
    pub bytes_skipped: u64,
    /// Bytes of the blobs that the destination took over.
    pub bytes_mounted: u64,
    /// Manifests that refer to the image and were taken along, with what those consist of.
    pub referrers: usize,
    /// Referrers that the source lists but does not have.
    pub missing_referrers: Vec<Digest>,
    /// Layers that stay where their `urls` point: their licence allows that, and neither end has them.
    pub missing_foreign_layers: Vec<Digest>,
}

/// What would happen to a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BlobAction {
    /// Its bytes would be moved.
    Copy,
    /// The destination has it.
    Skip,
    /// The destination would be asked to take it over from another place of its own. It may still have to be moved.
    Mount,
    /// It would stay where its `urls` point: its licence allows that, and neither end has it.
    Omit,
}

/// What would be moved of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyPreview {
    /// The digest that the image would have at the destination.
    pub digest: Digest,
    /// The type of its index or manifest.
    pub media_type: MediaType,
    /// Whether it is the image of the source, or what is left of it for some platforms.
    pub is_whole: bool,
    /// Its manifests, those of referrers among them; the order in which they would be put.
    pub manifests: Vec<Descriptor>,
    /// How many of them refer to the image, or belong to what does.
    pub referrers: usize,
    /// Its blobs, and what would happen to each; those that stay out come last. One that an earlier image of the same run brings counts as there.
    pub blobs: Vec<(Descriptor, BlobAction)>,
}

impl CopyPreview {
    /// How many blobs this would happen to, and how many bytes they have.
    pub fn sum(&self, action: BlobAction) -> (usize, u64) {
        self.blobs
            .iter()
            .filter(|(_, planned)| *planned == action)
            .fold((0, 0), |(count, bytes), (blob, _)| {
                (count + 1, bytes.saturating_add(blob.size))
            })
    }
}

/// A run that moves images from one end to another, each digest once.
///
/// ```
/// # use peak_oci::{Placement, Selector, Sink, Source, Tag};
/// # use peak_transfer::{CopyOptions, Transfer, TransferError};
/// # async fn example(source: &dyn Source, sink: &dyn Sink) -> Result<(), TransferError> {
/// let run = Transfer::new(source, sink, CopyOptions::new());
/// for tag in ["v1", "v2"].iter().filter_map(|tag| tag.parse::<Tag>().ok()) {
///     let placement = Placement::Root { tag: Some(tag.clone()) };
///     run.image(Some(&Selector::Tag(tag)), placement).await?;
/// }
/// # Ok(())
/// # }
/// ```
pub struct Transfer<'a> {
    source: &'a dyn Source,
    sink: &'a dyn Sink,
    options: CopyOptions,
    scope: Scope,
    /// Places for blobs on their way, of all images together.
    places: Arc<Semaphore>,
    flights: Flights,
    /// What previews have counted.
    previewed: Flights,
    /// What the destination said to previews: whether it has a blob.
    present: Mutex<HashMap<Digest, bool>>,
}

/// An image as it was read, and which of its blobs the destination has.
struct Looked {
    plan: Plan,
    there: Vec<bool>,
}

impl<'a> Transfer<'a> {
    /// A run. Nothing is moved yet.
    pub fn new(source: &'a dyn Source, sink: &'a dyn Sink, options: CopyOptions) -> Self {
        Self {
            source,
            sink,
            scope: options.scope(),
            places: Arc::new(Semaphore::new(options.concurrency)),
            options,
            flights: Flights::default(),
            previewed: Flights::default(),
            present: Mutex::default(),
        }
    }

    /// The same with places for blobs that other runs take up, too.
    pub(crate) fn sharing(mut self, places: Arc<Semaphore>) -> Self {
        self.places = places;
        self
    }

    /// Moves an image: all platforms of an index, the same manifest bytes, the same digest, unless the options say to
    /// leave platforms out.
    ///
    /// `selector` says which image of the source; `None` means its only or default one. `placement` says under which
    /// name the image becomes visible at the destination; that happens last, after every blob, every other manifest
    /// and every referrer. Several images may be moved at the same time.
    ///
    /// Dropping the future ends the transfer: blobs that are complete stay for the next run, nothing else is visible.
    ///
    /// # Errors
    /// The first failure, by the end that is to blame. Content that is not what its digest says is
    /// [an integrity error](TransferError::is_integrity). What the destination cannot hold is known before anything
    /// is moved.
    pub async fn image(
        &self,
        selector: Option<&Selector>,
        placement: Placement,
    ) -> Result<CopyReport, TransferError> {
        let plan = plan::make(self.source, selector, self.sink, &self.scope).await?;
        let listener = &self.options.listener;
        listener.tell(|| Event::Planned {
            manifests: plan.manifests().count(),
            blobs: plan.blobs.len(),
            bytes: plan.bytes(),
        });
        let mut report = CopyReport {
            digest: plan.root.digest().clone(),
            media_type: plan.root.media_type().clone(),
            is_whole: plan.is_whole,
            size: plan
                .manifests()
                .fold(plan.bytes(), |sum, one| sum.saturating_add(one.size())),
            blobs_copied: 0,
            blobs_skipped: 0,
            blobs_mounted: 0,
            bytes_copied: 0,
            bytes_skipped: 0,
            bytes_mounted: 0,
            referrers: plan.attached.len(),
            missing_referrers: plan.missing_referrers.clone(),
            missing_foreign_layers: plan.omitted.iter().map(|it| it.digest.clone()).collect(),
        };
        for layer in &plan.omitted {
            listener.tell(|| Event::Omitted {
                digest: layer.digest.clone(),
                size: layer.size,
            });
        }
        self.sink
            .prepare(&plan.root, &plan.blobs)
            .await
            .map_err(|error| {
                TransferError::writing(format!("image {}", plan.root.digest()), error)
            })?;
        self.blobs(&plan.blobs, &mut report).await?;
        self.manifests(&plan, &placement).await?;
        listener.tell(|| Event::Image {
            digest: report.digest.clone(),
        });
        Ok(report)
    }

    /// What [`image`](Self::image) would move. Nothing is written; what the previews of this run have counted, later
    /// ones count as there.
    ///
    /// # Errors
    /// Those of reading the manifests, and what the destination says when it is asked for a blob.
    pub async fn preview(&self, selector: Option<&Selector>) -> Result<CopyPreview, TransferError> {
        Ok(self.count(self.look(selector).await?))
    }

    /// What [`all_tags`](Self::all_tags) would move, image by image in the order of the tags; several are looked at at the
    /// same time.
    ///
    /// The stream ends after the first error, one of [`all_tags`](Self::all_tags) or [`preview`](Self::preview).
    pub fn all_previews(
        &self,
    ) -> impl stream::Stream<Item = Result<(Tag, CopyPreview), TransferError>> + Send + '_ {
        self.tags()
            .map_ok(move |tag| async move {
                let looked = self.look(Some(&Selector::Tag(tag.clone()))).await?;
                Ok((tag, looked))
            })
            .try_buffered(self.options.concurrency)
            .map_ok(move |(tag, looked)| (tag, self.count(looked)))
    }

    /// Reads an image, and asks the destination for each of its blobs that no other image had.
    async fn look(&self, selector: Option<&Selector>) -> Result<Looked, TransferError> {
        let plan = plan::make(self.source, selector, self.sink, &self.scope).await?;
        let work = plan.blobs.iter().map(|blob| self.is_there(blob));
        let there = several(work.collect(), self.options.concurrency).await?;
        Ok(Looked { plan, there })
    }

    /// Whether the destination has a blob; it is asked once in the run.
    async fn is_there(&self, blob: &Descriptor) -> Result<bool, TransferError> {
        let known = self.present().get(&blob.digest).copied();
        if let Some(known) = known {
            return Ok(known);
        }
        let is_there = self
            .sink
            .has_blob(blob)
            .await
            .map_err(|error| TransferError::writing(format!("blob {}", blob.digest), error))?;
        self.present().insert(blob.digest.clone(), is_there);
        Ok(is_there)
    }

    fn present(&self) -> MutexGuard<'_, HashMap<Digest, bool>> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what would happen to each blob, where images are counted in order.
    fn count(&self, Looked { plan, there }: Looked) -> CopyPreview {
        let unseen = if self.sink.mounts_from(self.source) {
            BlobAction::Mount
        } else {
            BlobAction::Copy
        };
        let moved = plan.blobs.iter().zip(there).map(|(blob, is_there)| {
            let is_first = self.previewed.note(&blob.digest);
            let action = if is_there || !is_first {
                BlobAction::Skip
            } else {
                unseen
            };
            (blob.clone(), action)
        });
        let omitted = plan.omitted.iter().cloned();
        let omitted = omitted.map(|layer| (layer, BlobAction::Omit));
        CopyPreview {
            digest: plan.root.digest().clone(),
            media_type: plan.root.media_type().clone(),
            is_whole: plan.is_whole,
            manifests: plan.manifests().map(Raw::descriptor).collect(),
            referrers: plan.attached.len(),
            blobs: moved.chain(omitted).collect(),
        }
    }

    /// Moves the images under all tags of the source, to the same tags, several at once. `done` is told of each.
    ///
    /// Where referrers are taken along, the tags under which registries without a list of referrers keep one
    /// (`sha256-<hex>`) are left out: the destination keeps its own.
    ///
    /// # Errors
    /// [`TransferError::Source`] where the source cannot list its tags. The first image that fails ends the run; those
    /// that are done stay.
    pub async fn all_tags(
        &self,
        mut done: impl FnMut(Tag, CopyReport) + Send,
    ) -> Result<usize, TransferError> {
        let mut reports = self
            .tags()
            .map_ok(|tag| async move {
                let placement = Placement::Root {
                    tag: Some(tag.clone()),
                };
                let selector = Selector::Tag(tag.clone());
                let report = self.image(Some(&selector), placement).await?;
                Ok((tag, report))
            })
            .try_buffer_unordered(self.options.concurrency)
            .boxed();
        let mut count = 0;
        while let Some((tag, report)) = reports.try_next().await? {
            done(tag, report);
            count += 1;
        }
        Ok(count)
    }

    /// The tags whose images [`all_tags`](Self::all_tags) moves.
    ///
    /// The stream ends after the first error.
    pub fn tags(&self) -> impl stream::Stream<Item = Result<Tag, TransferError>> + Send + '_ {
        let left_out = |tag: &Tag| self.options.referrers && tag.is_of_referrers();
        self.source
            .tags()
            .map_err(|error| TransferError::reading("the list of tags".to_owned(), error))
            .try_filter(move |tag| std::future::ready(!left_out(tag)))
    }

    /// The digest of an image at the source, and the one it has at the destination after it was moved; `None` where the
    /// source has no such image. Costs one question for headers, unless platforms are left out.
    pub(crate) async fn digests(
        &self,
        selector: &Selector,
    ) -> Result<Option<(Digest, Digest)>, TransferError> {
        if self.options.platforms.is_all() {
            let found = self.source.manifest_digest(selector).await;
            let found = found
                .map_err(|error| TransferError::reading(format!("image `{selector}`"), error))?;
            return Ok(found.map(|digest| (digest.clone(), digest)));
        }
        let manifests = Manifests::new(self.source, self.sink);
        let Some(root) = manifests.tagged(selector).await? else {
            return Ok(None);
        };
        let digest = root.digest().clone();
        let chosen = select::choose(&manifests, root, &self.options.platforms).await?;
        Ok(Some((digest, chosen.digest().clone())))
    }

    /// Whether a place has all that refers to an image at the source.
    pub(crate) async fn referrers_are_at(
        &self,
        selector: &Selector,
        place: &dyn Source,
    ) -> Result<bool, TransferError> {
        let plan = plan::make(self.source, Some(selector), self.sink, &self.scope).await?;
        let work = plan.attached.iter().map(|attached| async move {
            let digest = attached.manifest.digest();
            let selector = match &attached.tag {
                Some(tag) => Selector::Tag(tag.clone()),
                None => Selector::Digest(digest.clone()),
            };
            let found = place
                .manifest_digest(&selector)
                .await
                .map_err(|error| TransferError::writing(format!("manifest {digest}"), error))?;
            Ok(found.as_ref() == Some(digest))
        });
        let found = several(work.collect(), self.options.concurrency).await?;
        Ok(found.into_iter().all(|is_there| is_there))
    }

    /// Moves all blobs of an image; the first failure ends all of them.
    ///
    /// They are futures within this one and no tasks, so that dropping it drops them: nothing works on unobserved.
    async fn blobs(
        &self,
        blobs: &[Descriptor],
        report: &mut CopyReport,
    ) -> Result<(), TransferError> {
        let mut lanes = match self.source.blob_order() {
            Some(order) => Lanes::in_order(blobs, &order),
            None => Lanes::new(blobs, self.options.concurrency),
        };
        let mut under_way = FuturesUnordered::new();
        loop {
            while let Some(blob) = lanes.next() {
                under_way.push(async move { (blob, self.blob(blob).await) });
            }
            let Some((blob, outcome)) = under_way.next().await else {
                return Ok(());
            };
            lanes.ended(blob);
            let (count, bytes) = match outcome? {
                BlobOutcome::Present => (&mut report.blobs_skipped, &mut report.bytes_skipped),
                BlobOutcome::Mounted => (&mut report.blobs_mounted, &mut report.bytes_mounted),
                BlobOutcome::Copied => (&mut report.blobs_copied, &mut report.bytes_copied),
            };
            *count += 1;
            *bytes = bytes.saturating_add(blob.size);
        }
    }

    async fn blob(&self, blob: &Descriptor) -> Result<BlobOutcome, TransferError> {
        let listener = &self.options.listener;
        // Who waits for another image's transfer of the same blob takes up no place.
        let Some(flight) = self.flights.begin(&blob.digest).await else {
            listener.tell(|| Event::Skipped {
                digest: blob.digest.clone(),
                size: blob.size,
            });
            return Ok(BlobOutcome::Present);
        };
        let place = self.places.acquire().await;
        let outcome = blob::copy(self.source, self.sink, blob, listener).await?;
        drop(place);
        flight.done();
        Ok(outcome)
    }

    /// Writes all manifests, each after what it points to or refers to, and the name of the image last.
    async fn manifests(&self, plan: &Plan, placement: &Placement) -> Result<(), TransferError> {
        let (indexes, leaves): (Vec<_>, Vec<_>) = plan
            .children
            .iter()
            .partition(|child| child.value().as_index().is_some());
        let work = leaves.into_iter().map(|leaf| self.child(leaf));
        several(work.collect(), self.options.concurrency).await?;
        for index in indexes {
            self.child(index).await?;
        }
        if !plan.attached.is_empty() {
            // What refers to the image comes before its name, so that nobody finds it without its signature.
            self.child(&plan.root).await?;
        }
        // One after the other: some registries keep one list of them, which is written anew for each.
        for attached in &plan.attached {
            match &attached.tag {
                None => self.child(&attached.manifest).await?,
                Some(tag) => {
                    let tag = Some(tag.clone());
                    self.put(&attached.manifest, &Placement::Root { tag })
                        .await?;
                }
            }
        }
        self.put(&plan.root, placement).await
    }

    /// Writes a manifest by its digest, once in the run.
    async fn child(&self, manifest: &Raw<Manifest>) -> Result<(), TransferError> {
        let Some(flight) = self.flights.begin(manifest.digest()).await else {
            return Ok(());
        };
        self.put(manifest, &Placement::Child).await?;
        flight.done();
        Ok(())
    }

    async fn put(
        &self,
        manifest: &Raw<Manifest>,
        placement: &Placement,
    ) -> Result<(), TransferError> {
        let writing =
            |error| TransferError::writing(format!("manifest {}", manifest.digest()), error);
        self.sink
            .put_manifest(manifest, placement)
            .await
            .map_err(writing)
    }
}

/// Moves one image; see [`Transfer::image`].
///
/// # Errors
/// As [`Transfer::image`].
pub async fn copy(
    source: &dyn Source,
    selector: Option<&Selector>,
    sink: &dyn Sink,
    placement: Placement,
    options: &CopyOptions,
) -> Result<CopyReport, TransferError> {
    Transfer::new(source, sink, options.clone())
        .image(selector, placement)
        .await
}
