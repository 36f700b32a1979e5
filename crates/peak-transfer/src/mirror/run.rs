//! A run of a mirror: finds out what changed, and does that.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::{Either, join, join_all, select};
use futures_util::stream::FuturesUnordered;
use futures_util::{StreamExt as _, TryStreamExt as _};
use peak_oci::{
    BoxFuture, ContentError, ContentErrorKind, Digest, Placement, Reference, Selector, Sink,
    Source, Tag,
};
use tokio::sync::Semaphore;

use super::plan::{MirrorDestination, MirrorPlan, MirrorRepository};
use super::report::{CopiedTag, DestinationReport, MirrorFailure, MirrorReport, RepositoryReport};
use super::shard::Shard;
use crate::progress::{Event, Listener};
use crate::{BlobAction, CopyOptions, Transfer, TransferError};

/// Repositories at once: most of them need two questions and their answers, and nothing else.
const REPOSITORIES_AT_ONCE: usize = 4;

/// Tags of a repository that are compared at once; each is a question for headers at either end.
const TAGS_AT_ONCE: usize = 16;

/// Most tags of a repository that are kept in memory.
const MAX_TAGS: usize = 200_000;

/// Where the repositories of a mirror are: registries, or what stands in for them in a test.
pub trait Repositories: Send + Sync {
    /// A repository that images are copied from. Nothing is sent.
    fn source(&self, name: &Reference) -> Box<dyn Source>;

    /// A repository that images are copied to. Nothing is sent.
    fn destination(&self, name: &Reference) -> Box<dyn Destination>;
}

/// A repository that images are copied to.
pub trait Destination: Source + Sink {
    /// Deletes a tag; the manifest stays.
    fn delete_tag<'a>(&'a self, tag: &'a Tag) -> BoxFuture<'a, Result<(), ContentError>>;
}

/// How a mirror is run.
#[derive(Clone, Debug)]
#[must_use]
pub struct MirrorOptions {
    is_dry_run: bool,
    keeps_going: bool,
    shard: Option<Shard>,
    concurrency: usize,
    listener: Listener,
}

impl MirrorOptions {
    /// Everything is done, up to the first failure, four blobs at once, and nobody listens.
    pub fn new() -> Self {
        Self {
            is_dry_run: false,
            keeps_going: false,
            shard: None,
            concurrency: 4,
            listener: Listener::default(),
        }
    }

    /// Only finds out what would be done.
    pub fn dry_run(mut self, yes: bool) -> Self {
        self.is_dry_run = yes;
        self
    }

    /// Goes on with the rest after a failure.
    pub fn keep_going(mut self, yes: bool) -> Self {
        self.keeps_going = yes;
        self
    }

    /// Only the repositories of this part.
    pub fn shard(mut self, shard: Option<Shard>) -> Self {
        self.shard = shard;
        self
    }

    /// How many blobs move at once, over all repositories; at least 1.
    pub fn concurrency(mut self, concurrency: usize) -> Self {
        self.concurrency = concurrency.max(1);
        self
    }

    /// Is told what happens, from within the transfers: it should be quick and must not block.
    pub fn progress(mut self, listen: impl Fn(Event) + Send + Sync + 'static) -> Self {
        self.listener = Listener::new(listen);
        self
    }
}

impl Default for MirrorOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Makes the destinations of a plan the same as its sources: copies the tags that stand for something else there, or
/// are not there, and where the plan says so deletes those that the source no longer has.
///
/// A tag that is the same costs one question for headers at either end (and where referrers are taken along, reading
/// the manifests at the source). So a run that was cut off is simply begun again. Nothing is deleted in a repository of
/// which something could not be copied, or of which the source has none of the tags that are meant.
///
/// Failures are in the report. Without [`keep_going`](MirrorOptions::keep_going) the first one ends the run.
/// Dropping the future ends it, too: what is visible then is whole. [`mirror_until`] does so and reports.
pub async fn mirror(
    plan: &MirrorPlan,
    repositories: &dyn Repositories,
    options: &MirrorOptions,
) -> MirrorReport {
    mirror_until(plan, repositories, options, std::future::pending()).await
}

/// As [`mirror`], until `stop` is ready: then the run ends at once, and the report has what was done by then.
pub async fn mirror_until(
    plan: &MirrorPlan,
    repositories: &dyn Repositories,
    options: &MirrorOptions,
    stop: impl Future<Output = ()>,
) -> MirrorReport {
    let places = Arc::new(Semaphore::new(options.concurrency));
    let works: Vec<Work<'_>> = plan
        .repositories()
        .filter(|repository| {
            let name = repository.from().name();
            options.shard.is_none_or(|shard| shard.owns(&name))
        })
        .map(|plan| Work::new(plan, repositories, options, &places))
        .collect();
    let mut stop = pin!(stop);
    let mut waiting = works.iter();
    let mut running = FuturesUnordered::new();
    let (mut is_stopped, mut is_interrupted) = (false, false);
    loop {
        // As many as there are places, since each that is made takes memory.
        while running.len() < REPOSITORIES_AT_ONCE
            && let Some(work) = waiting.next()
        {
            running.push(work.run());
        }
        match select(stop.as_mut(), running.next()).await {
            Either::Left(((), _)) => {
                is_interrupted = true;
                break;
            }
            Either::Right((None, _)) => break,
            Either::Right((Some(has_failed), _)) => {
                if has_failed && !options.keeps_going {
                    is_stopped = true;
                    break;
                }
            }
        }
    }
    drop(running);
    MirrorReport {
        repositories: works.into_iter().map(Work::into_report).collect(),
        is_stopped,
        is_interrupted,
    }
}

/// One repository of the plan.
struct Work<'a> {
    plan: &'a MirrorRepository,
    repositories: &'a dyn Repositories,
    options: &'a MirrorOptions,
    places: &'a Arc<Semaphore>,
    /// Filled while the work goes on, so that what was done is told also of work that was dropped.
    report: Mutex<RepositoryReport>,
}

/// One destination of a repository, and the run that fills it.
struct Way<'a> {
    plan: &'a MirrorDestination,
    /// Its place in the report.
    index: usize,
    destination: &'a dyn Destination,
    transfer: Transfer<'a>,
}

impl Way<'_> {
    /// What a tag stands for at the destination.
    fn digest<'b>(
        &'b self,
        selector: &'b Selector,
    ) -> BoxFuture<'b, Result<Option<Digest>, ContentError>> {
        self.destination.manifest_digest(selector)
    }
}

impl<'a> Work<'a> {
    fn new(
        plan: &'a MirrorRepository,
        repositories: &'a dyn Repositories,
        options: &'a MirrorOptions,
        places: &'a Arc<Semaphore>,
    ) -> Self {
        let destinations = plan
            .destinations()
            .iter()
            .map(|destination| DestinationReport {
                to: destination.to().clone(),
                copied: Vec::new(),
                unchanged: 0,
                deleted: Vec::new(),
            });
        Self {
            plan,
            repositories,
            options,
            places,
            report: Mutex::new(RepositoryReport {
                from: plan.from().clone(),
                tags: 0,
                destinations: destinations.collect(),
                failures: Vec::new(),
            }),
        }
    }

    fn into_report(self) -> RepositoryReport {
        let mut report = self
            .report
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        for destination in &mut report.destinations {
            destination
                .copied
                .sort_by(|left, right| left.tag.cmp(&right.tag));
            destination.deleted.sort();
        }
        report
    }

    /// Does the work; whether something failed.
    async fn run(&self) -> bool {
        let source = self.repositories.source(self.plan.from());
        let destinations: Vec<Box<dyn Destination>> = self
            .plan
            .destinations()
            .iter()
            .map(|destination| self.repositories.destination(destination.to()))
            .collect();
        let ways: Vec<Way<'_>> = self
            .plan
            .destinations()
            .iter()
            .zip(&destinations)
            .enumerate()
            .map(|(index, (plan, destination))| Way {
                plan,
                index,
                destination: destination.as_ref(),
                transfer: self.transfer(source.as_ref(), destination.as_ref()),
            })
            .collect();
        let tags = match self.wanted_tags(source.as_ref()).await {
            Ok(tags) => tags,
            Err(error) => {
                self.fail(None, None, error);
                return true;
            }
        };
        self.with(|report| report.tags = tags.len());
        let mut waiting = tags.iter();
        let mut running = FuturesUnordered::new();
        loop {
            // As many as there are places: what one tag takes times the number of tags would be most of the memory.
            while running.len() < TAGS_AT_ONCE
                && let Some(tag) = waiting.next()
            {
                running.push(self.tag(tag, &ways));
            }
            if running.next().await.is_none() {
                break;
            }
            if self.has_failed() && !self.options.keeps_going {
                return true;
            }
        }
        drop(running);
        let kept: HashSet<&Tag> = tags.iter().collect();
        for way in ways.iter().filter(|way| way.plan.deletes()) {
            // What is not known to be copied is no reason to delete anything.
            if self.has_failed() {
                break;
            }
            if let Err(error) = self.delete_others(way, &kept).await {
                self.fail(Some(way), None, error);
            }
        }
        self.has_failed()
    }

    fn transfer<'b>(
        &self,
        source: &'b dyn Source,
        destination: &'b dyn Destination,
    ) -> Transfer<'b> {
        let listener = self.options.listener.clone();
        let options = CopyOptions::new()
            .concurrency(self.options.concurrency)
            .platforms(self.plan.platforms.clone())
            .referrers(self.plan.referrers)
            .progress(move |event| listener.tell(|| event));
        Transfer::new(source, destination, options).sharing(Arc::clone(self.places))
    }

    /// The tags of the source that the plan means.
    async fn wanted_tags(&self, source: &dyn Source) -> Result<Vec<Tag>, TransferError> {
        let filter = &self.plan.tags;
        let mut tags: Vec<Tag> = Vec::new();
        if filter.needs_list() {
            let mut listed = pin!(source.tags().map_err(|error| {
                TransferError::reading(format!("the tags of {}", self.plan.from()), error)
            }));
            while let Some(tag) = listed.try_next().await? {
                // What is no image of its own goes with its image, where the plan says so.
                if !filter.is_in_scope(&tag) || tag.is_about_a_manifest() {
                    continue;
                }
                if tags.len() >= MAX_TAGS {
                    return Err(TransferError::TooManyTags { limit: MAX_TAGS });
                }
                tags.push(tag);
            }
        }
        let mut wanted = filter.select(tags);
        // What is meant by its name is wanted also where it is not listed; that it is not there is then an error.
        let listed: HashSet<Tag> = wanted.iter().cloned().collect();
        wanted.extend(
            filter
                .names()
                .filter(|name| !listed.contains(name))
                .cloned(),
        );
        Ok(wanted)
    }

    /// Makes one tag the same at all destinations.
    async fn tag(&self, tag: &Tag, ways: &[Way<'_>]) {
        let selector = Selector::Tag(tag.clone());
        let Some(first) = ways.first() else {
            return;
        };
        // Both ends are asked at the same time: where nothing changed, this is all.
        let asked: Vec<_> = ways.iter().map(|way| way.digest(&selector)).collect();
        let (found, there) = join(first.transfer.digests(&selector), join_all(asked)).await;
        let (source, wanted) = match found {
            Ok(Some(digests)) => digests,
            Ok(None) => {
                let tag = tag.clone();
                return self.fail(None, Some(&tag.clone()), TransferError::NoTag { tag });
            }
            Err(error) => return self.fail(None, Some(tag), error),
        };
        let work: Vec<_> = ways
            .iter()
            .zip(there)
            .map(|(way, there)| self.update(tag, &source, &wanted, way, there))
            .collect();
        for (way, outcome) in ways.iter().zip(join_all(work).await) {
            let outcome = match outcome {
                Ok(outcome) => outcome,
                Err(error) => {
                    self.fail(Some(way), Some(tag), error);
                    continue;
                }
            };
            self.with(|report| {
                let Some(destination) = report.destinations.get_mut(way.index) else {
                    return;
                };
                match outcome {
                    Some(copied) => destination.copied.push(copied),
                    None => destination.unchanged += 1,
                }
            });
        }
    }

    /// Makes one tag the same at one destination; `None` where it was.
    async fn update(
        &self,
        tag: &Tag,
        source: &Digest,
        wanted: &Digest,
        way: &Way<'_>,
        there: Result<Option<Digest>, ContentError>,
    ) -> Result<Option<CopiedTag>, TransferError> {
        let there = match there {
            Ok(there) => there,
            // Some registries say so of repositories that nothing was ever copied to. Whether it is true, copying shows.
            Err(error) if error.kind() == ContentErrorKind::Denied => None,
            Err(error) => return Err(TransferError::writing(format!("tag `{tag}`"), error)),
        };
        // By its digest: every destination gets the same image, even if the tag moves on meanwhile.
        let image = Selector::Digest(source.clone());
        if there.as_ref() == Some(wanted)
            && (!self.plan.referrers
                || way
                    .transfer
                    .referrers_are_at(&image, way.destination)
                    .await?)
        {
            return Ok(None);
        }
        if self.options.is_dry_run {
            let preview = way.transfer.preview(Some(&image)).await?;
            return Ok(Some(CopiedTag {
                tag: tag.clone(),
                digest: preview.digest.clone(),
                bytes: preview.sum(BlobAction::Copy).1,
                missing_foreign_layers: preview
                    .blobs
                    .into_iter()
                    .filter(|(_, action)| *action == BlobAction::Omit)
                    .map(|(layer, _)| layer.digest)
                    .collect(),
            }));
        }
        let placement = Placement::Root {
            tag: Some(tag.clone()),
        };
        let report = way.transfer.image(Some(&image), placement).await?;
        Ok(Some(CopiedTag {
            tag: tag.clone(),
            digest: report.digest,
            bytes: report.bytes_copied,
            missing_foreign_layers: report.missing_foreign_layers,
        }))
    }

    /// Deletes the tags of a destination that the plan is about and that are not wanted.
    async fn delete_others(
        &self,
        way: &Way<'_>,
        kept: &HashSet<&Tag>,
    ) -> Result<(), TransferError> {
        let mut unwanted = Vec::new();
        let mut listed = pin!(way.destination.tags());
        loop {
            match listed.try_next().await {
                Ok(None) => break,
                Ok(Some(tag)) => {
                    if self.plan.tags.is_in_scope(&tag)
                        && !tag.is_about_a_manifest()
                        && !kept.contains(&tag)
                    {
                        unwanted.push(tag);
                    }
                }
                // Nothing was ever copied there.
                Err(error) if error.kind() == ContentErrorKind::NotFound => break,
                Err(error) => {
                    let what = format!("the tags of {}", way.plan.to());
                    return Err(TransferError::writing(what, error));
                }
            }
            if unwanted.len() > MAX_TAGS {
                return Err(TransferError::TooManyTags { limit: MAX_TAGS });
            }
        }
        if unwanted.is_empty() {
            return Ok(());
        }
        if kept.is_empty() {
            return Err(TransferError::NothingToKeep);
        }
        for tag in unwanted {
            if !self.options.is_dry_run {
                match way.destination.delete_tag(&tag).await {
                    Ok(()) => {}
                    // Somebody else was faster, or two tags led to what a registry deleted as one.
                    Err(error) if error.kind() == ContentErrorKind::NotFound => {}
                    Err(source) => return Err(TransferError::Deletion { tag, source }),
                }
            }
            self.with(|report| {
                if let Some(destination) = report.destinations.get_mut(way.index) {
                    destination.deleted.push(tag);
                }
            });
        }
        Ok(())
    }

    fn fail(&self, way: Option<&Way<'_>>, tag: Option<&Tag>, error: TransferError) {
        let failure = MirrorFailure {
            to: way.map(|way| way.plan.to().clone()),
            tag: tag.cloned(),
            error,
        };
        self.with(|report| report.failures.push(failure));
    }

    fn has_failed(&self) -> bool {
        self.with(|report| !report.failures.is_empty())
    }

    fn with<T>(&self, look: impl FnOnce(&mut RepositoryReport) -> T) -> T {
        look(&mut self.report.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
