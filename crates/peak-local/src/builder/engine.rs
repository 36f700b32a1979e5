//! Builds on a Docker Engine: what goes there, how long it may take, and the image that comes back.
//!
//! A build is a thread here, and an Engine is spoken to by futures. They run on the platform's runtime while the thread
//! waits for them and writes the log.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use peak_oci::content::{
    ContentError, ContentErrorKind, MAX_INDEX_DEPTH, Source, open_blob, read_verified,
};
use peak_oci::{
    Descriptor, ImageConfig, ImageManifest, MAX_CONFIG_SIZE, Manifest, Platform, Raw, Selector, Tag,
};
use peak_registry_server::{Repository, Store, Upload};
use secrecy::SecretString;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::context::Files;
use super::error::BuildError;
use super::stop::Stop;
use super::target::{platform_arguments, target_platform};
use super::{BuildRequest, BuiltImage, human_size};
use crate::engine::{EngineBuild, EngineBuilder, EngineFailure, EngineLog, EngineRun, EngineUse};
use crate::error::chain;

/// How long an Engine may take to answer at all.
const CONNECT_LIMIT: Duration = Duration::from_secs(20);

/// How long it may take to remove what a build has left there.
const CLEAN_UP_LIMIT: Duration = Duration::from_secs(20);

/// The way to a Docker Engine.
#[derive(Clone)]
pub(crate) struct EngineLink {
    pub builder: Arc<dyn EngineBuilder>,
    pub when: EngineUse,
    /// Where the Engine is spoken to from.
    pub runtime: Handle,
    /// Cancelled when the build is to stop.
    pub stop: CancellationToken,
    /// How long a build on the Engine may take, from its beginning until the image is here.
    pub time_limit: Duration,
    /// The password of any user of the embedded registry, where it asks for one.
    pub registry_password: Option<SecretString>,
}

/// Why a future was not waited for to its end.
enum Ended {
    Stopped,
    TooLate,
}

impl EngineLink {
    /// Waits for a future on this thread, until the build is to stop or the time is over.
    fn wait<T>(&self, until: Instant, future: impl Future<Output = T>) -> Result<T, Ended> {
        self.runtime.block_on(self.bounded(until, future))
    }

    async fn bounded<T>(
        &self,
        until: Instant,
        future: impl Future<Output = T>,
    ) -> Result<T, Ended> {
        let future = pin!(future);
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(Ended::Stopped),
            result = future => Ok(result),
            () = tokio::time::sleep_until(until) => Err(Ended::TooLate),
        }
    }

    /// Finds the Engine. `refusal` is why one is needed.
    pub(crate) fn connect(
        &self,
        refusal: BuildError,
        stop: Stop<'_>,
        log: &mut dyn FnMut(&str),
    ) -> Result<Box<dyn EngineRun>, BuildError> {
        stop.check()?;
        let source = match self.wait(Instant::now() + CONNECT_LIMIT, self.builder.connect()) {
            Ok(Ok(run)) => {
                if !matches!(refusal, BuildError::EngineWanted) {
                    log(&refusal.to_string());
                }
                log(&format!("building with {}", run.engine()));
                return Ok(run);
            }
            Ok(Err(failure)) => failure,
            Err(Ended::Stopped) => return Err(BuildError::Cancelled),
            Err(Ended::TooLate) => EngineFailure::new(format!(
                "it did not answer within {} s",
                CONNECT_LIMIT.as_secs()
            )),
        };
        let refusal = Box::new(refusal);
        Err(BuildError::NoEngine { refusal, source })
    }

    /// Builds on the Engine, takes the image into the registry, and leaves nothing of it in the Engine.
    pub(crate) fn build(
        &self,
        mut run: Box<dyn EngineRun>,
        files: Files,
        request: &BuildRequest,
        store: &Store,
        stop: Stop<'_>,
        log: &mut dyn FnMut(&str),
    ) -> Result<BuiltImage, BuildError> {
        let engine = run.engine().to_owned();
        let until = Instant::now() + self.time_limit;
        let too_late = || BuildError::EngineTime {
            engine: engine.clone(),
            limit: self.time_limit,
        };

        let (engine_log, mut lines) = EngineLog::new(files.shown.clone());
        let arguments = arguments(request, &files.declared, &run.platform());
        let dockerfile = files.dockerfile.clone();
        let images = files.images.clone();
        let other_images = files.other_images.clone();
        let (context, packing) = files.into_tar(&self.runtime);
        let build = EngineBuild {
            context,
            dockerfile,
            arguments,
            images,
            other_images,
            registry_password: self.registry_password.clone(),
        };
        let link = self.clone();
        let building = self.runtime.spawn(async move {
            let end = EndOfLog(engine_log.clone());
            let built = link.bounded(until, run.build(build, engine_log)).await;
            drop(end);
            (run, built)
        });
        while let Some(line) = lines.blocking_recv() {
            log(&line);
        }
        let joined = self.runtime.block_on(building);
        // The tar is read or dropped by now.
        if let Err(error) = self.runtime.block_on(packing) {
            tracing::error!(%error, "packing the files for an Engine broke down");
        }
        let (mut run, built) = joined.map_err(|error| {
            tracing::error!(%error, "the client of the Docker Engine broke down");
            BuildError::Engine {
                engine: engine.clone(),
                source: EngineFailure::new("the client of the Docker Engine broke down"),
            }
        })?;

        let taken = match built {
            Err(Ended::Stopped) => Err(BuildError::Cancelled),
            Err(Ended::TooLate) => Err(too_late()),
            Ok(Err(source)) => Err(BuildError::Engine {
                engine: engine.clone(),
                source,
            }),
            Ok(Ok(image)) => {
                log(&format!("taking the image from {engine}"));
                let taking = Taking {
                    source: image.as_ref(),
                    link: self,
                    until,
                    stop,
                };
                taking
                    .take(&store.repository(&request.repository), &request.tag, log)
                    .map_err(|error| match error {
                        TakeError::Build(error) => error,
                        TakeError::Ended(Ended::Stopped) => BuildError::Cancelled,
                        TakeError::Ended(Ended::TooLate) => too_late(),
                        TakeError::Content(source) => BuildError::EngineImage {
                            engine: engine.clone(),
                            source,
                        },
                    })
            }
        };
        self.clean_up(run.as_mut(), log);
        taken
    }

    /// However the build ended: stopping it is no reason to leave things behind.
    fn clean_up(&self, run: &mut dyn EngineRun, log: &mut dyn FnMut(&str)) {
        let cleaned = self
            .runtime
            .block_on(async { tokio::time::timeout(CLEAN_UP_LIMIT, run.clean_up()).await });
        let problem = match cleaned {
            Ok(Ok(())) => return,
            Ok(Err(failure)) => chain(&failure),
            Err(_) => format!("it did not answer within {} s", CLEAN_UP_LIMIT.as_secs()),
        };
        log(&format!(
            "warning: what the build left in {} could not be removed: {problem}",
            run.engine()
        ));
    }
}

/// Ends the log when the build ends, in whatever way.
struct EndOfLog(EngineLog);

impl Drop for EndOfLog {
    fn drop(&mut self) {
        self.0.finish();
    }
}

/// The values of `ARG`: those that were given, of several for one name the last; and what the Engine is, where the
/// Dockerfile asks for it, as the embedded builder has it.
fn arguments(
    request: &BuildRequest,
    declared: &BTreeSet<String>,
    platform: &Platform,
) -> Vec<(String, SecretString)> {
    let given: BTreeMap<&str, &str> = request
        .build_arguments
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let known = platform_arguments(platform)
        .into_iter()
        .filter(|(name, _)| declared.contains(name) && !given.contains_key(name.as_str()));
    let given = given
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    given
        .chain(known)
        .map(|(name, value)| (name, SecretString::from(value)))
        .collect()
}

/// Why an image could not be taken.
enum TakeError {
    Build(BuildError),
    Ended(Ended),
    Content(ContentError),
}

impl From<BuildError> for TakeError {
    fn from(error: BuildError) -> Self {
        Self::Build(error)
    }
}

impl From<Ended> for TakeError {
    fn from(ended: Ended) -> Self {
        Self::Ended(ended)
    }
}

impl From<ContentError> for TakeError {
    fn from(error: ContentError) -> Self {
        Self::Content(error)
    }
}

/// Taking an image into the registry.
struct Taking<'a> {
    source: &'a dyn Source,
    link: &'a EngineLink,
    until: Instant,
    stop: Stop<'a>,
}

impl Taking<'_> {
    /// Blobs first, then the manifest with the tag.
    fn take(
        &self,
        repository: &Repository,
        tag: &Tag,
        log: &mut dyn FnMut(&str),
    ) -> Result<BuiltImage, TakeError> {
        let (manifest, image) = self.manifest()?;
        let config = self.wait(read_verified(self.source, &image.config, MAX_CONFIG_SIZE))?;
        let parsed = ImageConfig::parse(config.clone()).map_err(|error| {
            ContentError::new(ContentErrorKind::Invalid, "its config cannot be used")
                .with_source(error)
        })?;
        if parsed.value().rootfs.diff_ids.len() != image.layers.len() {
            return Err(invalid("its config and its manifest disagree about its layers").into());
        }
        // Each once, in the order in which the source has them at hand.
        let order = self.source.blob_order().unwrap_or_default();
        let mut layers: Vec<&Descriptor> = image.layers.iter().collect();
        layers.sort_by_key(|layer| {
            let place = order.iter().position(|digest| *digest == layer.digest);
            (place, layer.digest.to_string())
        });
        layers.dedup_by_key(|layer| &layer.digest);
        let mut uploads = Vec::new();
        for layer in layers {
            uploads.extend(self.layer(layer, repository)?);
            log(&format!(
                "layer {} {}",
                layer.digest,
                human_size(layer.size)
            ));
        }
        let store = BuildError::store;
        let mut upload = repository
            .new_upload()
            .map_err(store("write the config to"))?;
        upload
            .write(&config)
            .map_err(store("write the config to"))?;
        uploads.push((upload, &image.config));
        self.stop.check()?;
        for (upload, descriptor) in uploads {
            upload
                .finish(&descriptor.digest)
                .map_err(store("write a layer to"))?;
        }
        let content_type = manifest.media_type().to_string();
        let stored = repository
            .put_manifest(
                &Selector::Tag(tag.clone()),
                Some(&content_type),
                manifest.bytes().clone(),
            )
            .map_err(store("write the manifest to"))?;
        let layers: u64 = image.layers.iter().map(|layer| layer.size).sum();
        Ok(BuiltImage {
            digest: stored.digest().clone(),
            size: layers + image.config.size + manifest.size(),
        })
    }

    /// The image's manifest, through as many indexes as there may be.
    fn manifest(&self) -> Result<(Raw<Manifest>, ImageManifest), TakeError> {
        let mut manifest = self.wait(self.source.manifest(None))?;
        for _ in 0..=MAX_INDEX_DEPTH {
            let child = match manifest.value() {
                Manifest::Image(image) => {
                    let image = image.clone();
                    return Ok((manifest, image));
                }
                Manifest::Index(index) => match index.manifests.as_slice() {
                    [only] => only.clone(),
                    _ => index
                        .best_match(&target_platform())
                        .cloned()
                        .ok_or_else(|| invalid("it is there for other platforms only"))?,
                },
                _ => break,
            };
            let selector = Selector::Digest(child.digest);
            manifest = self.wait(self.source.manifest(Some(&selector)))?;
        }
        Err(invalid("its manifest is of a kind that the embedded platform does not keep").into())
    }

    /// Brings a layer here, unless the registry has it already. It is not part of the repository yet.
    fn layer<'d>(
        &self,
        layer: &'d Descriptor,
        repository: &Repository,
    ) -> Result<Option<(Upload, &'d Descriptor)>, TakeError> {
        let store = || BuildError::store("write a layer to");
        // Images that are built upon the same one share its layers.
        if repository.has_blob(&layer.digest).map_err(store())?
            || repository
                .link_blob_from_any(&layer.digest, |_| true)
                .map_err(store())?
        {
            return Ok(None);
        }
        let mut upload = repository
            .new_upload_with(layer.digest.algorithm())
            .map_err(store())?;
        let mut read = self.wait(open_blob(self.source, layer, 0))?;
        if read.offset != 0 {
            return Err(invalid("a layer does not begin at its beginning").into());
        }
        while let Some(piece) = self.bounded(read.stream.next())? {
            let piece = piece?;
            if upload.received() + piece.len() as u64 > layer.size {
                return Err(wrong_size(layer).into());
            }
            upload.write(&piece).map_err(store())?;
        }
        if upload.received() != layer.size {
            return Err(wrong_size(layer).into());
        }
        upload.pause();
        Ok(Some((upload, layer)))
    }

    fn wait<T>(
        &self,
        future: impl Future<Output = Result<T, ContentError>>,
    ) -> Result<T, TakeError> {
        Ok(self.bounded(future)??)
    }

    fn bounded<T>(&self, future: impl Future<Output = T>) -> Result<T, TakeError> {
        self.stop.check()?;
        Ok(self.link.wait(self.until, future)?)
    }
}

fn invalid(message: &str) -> ContentError {
    ContentError::new(ContentErrorKind::Invalid, message)
}

fn wrong_size(layer: &Descriptor) -> ContentError {
    ContentError::new(
        ContentErrorKind::Integrity,
        format!(
            "{} does not have the {} bytes of its descriptor",
            layer.digest, layer.size
        ),
    )
}
