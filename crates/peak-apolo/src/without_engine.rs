//! Push and pull straight between the registry and a place on disk, with no Docker Engine.

use std::sync::Arc;

use peak_oci::{Placement, Selector, Sink, Source};
use peak_registry::RegistryError;
use peak_transfer::{CopyOptions, CopyReport, Event, Target, TransferError, copy};

use crate::progress::{ImageProgress, ImageProgressPull, ImageProgressPush, Steps, Way};
use crate::{ApoloError, Images, LocalImage, RemoteImage};

impl Images {
    /// Pushes an image from a place on disk to the platform, where it becomes visible when all of it is there. The image
    /// keeps its digest where the place has manifests.
    ///
    /// What the options say about progress counts where `progress` is `None`.
    ///
    /// # Errors
    /// [`ApoloError::Target`] and [`Transfer`](ApoloError::Transfer), [`AccessDenied`](ApoloError::AccessDenied),
    /// [`Unauthorized`](ApoloError::Unauthorized), [`TimedOut`](ApoloError::TimedOut) as for [`push`](Self::push),
    /// [`NotPlatformImage`](ApoloError::NotPlatformImage), [`NoTag`](ApoloError::NoTag).
    pub async fn push_from(
        &self,
        source: &Target,
        remote: &RemoteImage,
        options: CopyOptions,
        progress: Option<Arc<dyn ImageProgress>>,
    ) -> Result<CopyReport, ApoloError> {
        let ends = self.ends(source, &self.target(remote)?)?;
        if let Some(listener) = &progress {
            listener.push(&ImageProgressPush {
                src: place(source),
                dst: remote.clone(),
            });
        }
        self.transfer(Way::Push, remote, ends, options, progress)
            .await
    }

    /// Pulls an image of the platform into a place on disk, where it becomes visible when all of it is there.
    ///
    /// What the options say about progress counts where `progress` is `None`. A Docker archive holds one platform, so the
    /// options have to say which one where the image has several.
    ///
    /// # Errors
    /// [`ApoloError::NotFoundInRegistry`], [`Target`](ApoloError::Target) and [`Transfer`](ApoloError::Transfer),
    /// [`AccessDenied`](ApoloError::AccessDenied), [`Unauthorized`](ApoloError::Unauthorized),
    /// [`NotPlatformImage`](ApoloError::NotPlatformImage), [`NoTag`](ApoloError::NoTag).
    pub async fn pull_into(
        &self,
        remote: &RemoteImage,
        destination: &Target,
        options: CopyOptions,
        progress: Option<Arc<dyn ImageProgress>>,
    ) -> Result<CopyReport, ApoloError> {
        let ends = self.ends(&self.target(remote)?, destination)?;
        if let Some(listener) = &progress {
            listener.pull(&ImageProgressPull {
                src: remote.clone(),
                dst: place(destination),
            });
        }
        self.transfer(Way::Pull, remote, ends, options, progress)
            .await
    }

    /// Opens both ends, so that what cannot be read or written is known before anybody is told of a push or pull.
    fn ends(&self, source: &Target, destination: &Target) -> Result<Ends, ApoloError> {
        let registry = &self.inner.registry;
        let (source, selector) = source.open_source(registry).map_err(ApoloError::Target)?;
        let (sink, placement) = destination
            .open_sink(registry)
            .map_err(ApoloError::Target)?;
        Ok(Ends {
            source,
            selector,
            sink,
            placement,
        })
    }

    async fn transfer(
        &self,
        way: Way,
        remote: &RemoteImage,
        ends: Ends,
        options: CopyOptions,
        progress: Option<Arc<dyn ImageProgress>>,
    ) -> Result<CopyReport, ApoloError> {
        let options = listened(options, way, progress);
        let work = async {
            let copied = copy(
                ends.source.as_ref(),
                ends.selector.as_ref(),
                ends.sink.as_ref(),
                ends.placement,
                &options,
            );
            Box::pin(copied)
                .await
                .map_err(|error| of_transfer(remote, error))
        };
        self.within_limit(way, remote, work).await
    }

    /// The image's place in the registry.
    fn target(&self, remote: &RemoteImage) -> Result<Target, ApoloError> {
        let reference = self.reference(remote)?;
        if reference.tag().is_none() {
            let image = Box::new(remote.clone());
            return Err(ApoloError::NoTag { image });
        }
        Ok(Target::Registry(reference))
    }
}

/// Where an image comes from and goes to.
struct Ends {
    source: Box<dyn Source>,
    selector: Option<Selector>,
    sink: Box<dyn Sink>,
    placement: Placement,
}

/// A place on disk in the stead of a local image.
fn place(target: &Target) -> LocalImage {
    LocalImage::new(target.to_string(), None)
}

fn listened(
    options: CopyOptions,
    way: Way,
    progress: Option<Arc<dyn ImageProgress>>,
) -> CopyOptions {
    let Some(listener) = progress else {
        return options;
    };
    let steps = Steps::new(way);
    options.progress(move |event: Event| {
        if let Some(step) = steps.step(&event) {
            listener.step(&step);
        }
    })
}

/// What stopped a transfer, by the same names as elsewhere where the registry did.
fn of_transfer(remote: &RemoteImage, error: TransferError) -> ApoloError {
    let first: &(dyn std::error::Error + 'static) = &error;
    let refusal = std::iter::successors(Some(first), |error| error.source())
        .find_map(|cause| cause.downcast_ref::<RegistryError>());
    let place = remote.to_string();
    match refusal {
        Some(RegistryError::Denied { reasons, .. }) => ApoloError::AccessDenied {
            place,
            said: reasons.to_string(),
        },
        Some(RegistryError::Unauthorized { reasons, .. }) => ApoloError::Unauthorized {
            place,
            said: reasons.to_string(),
            source: None,
        },
        Some(RegistryError::NoCredential { source, .. }) => ApoloError::Unauthorized {
            place,
            said: format!(" ({source})"),
            source: None,
        },
        Some(RegistryError::ManifestNotFound { .. } | RegistryError::RepositoryNotFound { .. }) => {
            ApoloError::NotFoundInRegistry {
                image: Box::new(remote.clone()),
                source: Box::new(error),
            }
        }
        _ => ApoloError::Transfer(error),
    }
}
