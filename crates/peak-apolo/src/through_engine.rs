//! Push and pull through the Docker Engine, which speaks with the registry itself.

use std::collections::BTreeSet;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use peak_docker::{Engine, RemoveOptions};
use peak_oci::Reference;

use crate::progress::{ImageProgress, ImageProgressPull, ImageProgressPush, ImageProgressStep};
use crate::{ApoloError, Images, LocalImage, RemoteImage};

impl Images {
    /// Pushes an image of the Engine to the platform: as `remote`, or by default under
    /// [what it is called there](crate::Clusters::to_platform). The Engine keeps it under that name, too.
    ///
    /// # Errors
    /// [`ApoloError::NotFoundLocally`], [`AccessDenied`](ApoloError::AccessDenied),
    /// [`Unauthorized`](ApoloError::Unauthorized), [`TimedOut`](ApoloError::TimedOut) (after 20 minutes unless told
    /// otherwise), [`NotPlatformImage`](ApoloError::NotPlatformImage), [`NoTag`](ApoloError::NoTag), and whatever else the
    /// [`Engine`](ApoloError::Engine) says, also in the middle.
    pub async fn push(
        &self,
        local: &LocalImage,
        remote: Option<&RemoteImage>,
        progress: Option<Arc<dyn ImageProgress>>,
    ) -> Result<RemoteImage, ApoloError> {
        let remote = match remote {
            Some(remote) => remote.clone(),
            None => self.clusters().to_platform(local)?,
        };
        let (engine, reference, tag) = self.for_engine(&remote)?;
        let listener = progress.as_deref();
        if let Some(listener) = listener {
            listener.push(&ImageProgressPush {
                src: local.clone(),
                dst: remote.clone(),
            });
        }
        let work = async {
            let name = local.to_string();
            engine.tag(&name, &reference).await.map_err(|error| {
                if error.is_not_found() {
                    let image = local.clone();
                    let source = error;
                    ApoloError::NotFoundLocally { image, source }
                } else {
                    ApoloError::Engine(error)
                }
            })?;
            let credentials = self.inner.engine_credentials.as_ref();
            let told = |event| tell(listener, event, &tag);
            let pushed = engine.push(&reference, credentials, told).await;
            pushed.map_err(|error| ApoloError::of_engine(&remote, error))
        };
        within(Some(self.inner.push_limit), "push", &remote, work).await?;
        Ok(remote)
    }

    /// Pulls an image of the platform into the Engine: as `local`, or by default under its name and tag. The name under
    /// which the Engine pulls it is removed afterwards, unless the Engine had it before.
    ///
    /// Where this future is dropped, that name may stay; [`remove_temporary_tags`](Self::remove_temporary_tags) removes it.
    ///
    /// # Errors
    /// [`ApoloError::NotFoundInRegistry`], [`AccessDenied`](ApoloError::AccessDenied),
    /// [`Unauthorized`](ApoloError::Unauthorized), [`NotPlatformImage`](ApoloError::NotPlatformImage),
    /// [`NoTag`](ApoloError::NoTag), and whatever else the [`Engine`](ApoloError::Engine) says, also in the middle.
    pub async fn pull(
        &self,
        remote: &RemoteImage,
        local: Option<&LocalImage>,
        progress: Option<Arc<dyn ImageProgress>>,
    ) -> Result<LocalImage, ApoloError> {
        let local = local.map_or_else(|| remote.to_local(), LocalImage::clone);
        let (engine, reference, tag) = self.for_engine(remote)?;
        let name = local.to_string();
        let target = Reference::parse(&name).map_err(|source| ApoloError::Unusable {
            image: name,
            source,
        })?;
        let listener = progress.as_deref();
        if let Some(listener) = listener {
            listener.pull(&ImageProgressPull {
                src: remote.clone(),
                dst: local.clone(),
            });
        }
        let work = async {
            let url = reference.to_string();
            match engine.inspect(&url).await {
                // Somebody calls an image so on purpose.
                Ok(_) => {}
                Err(error) if error.is_not_found() => drop(self.temporary().insert(url)),
                Err(error) => return Err(ApoloError::Engine(error)),
            }
            let credentials = self.inner.engine_credentials.as_ref();
            let told = |event| tell(listener, event, &tag);
            let pulled = engine.pull(&reference, credentials, told).await;
            pulled.map_err(|error| ApoloError::of_engine(remote, error))?;
            let tagged = engine.tag(&reference.to_string(), &target).await;
            tagged.map_err(ApoloError::Engine)
        };
        let pulled = within(self.inner.pull_limit, "pull", remote, work).await;
        if same_image(&target, &reference) {
            self.temporary().remove(&reference.to_string());
        }
        self.remove_temporary(engine, &reference.to_string()).await;
        pulled?;
        Ok(local)
    }

    /// Removes the names that pulls which were given up, or dropped, have left in the Engine. The images stay where they
    /// have other names. For the end of a program that was interrupted; pulls that end by themselves leave none.
    pub async fn remove_temporary_tags(&self) {
        let Some(engine) = &self.inner.engine else {
            return;
        };
        let names = self.temporary().clone();
        for name in names {
            self.remove_temporary(engine, &name).await;
        }
    }

    /// Removes a name from the Engine if it is a temporary one.
    async fn remove_temporary(&self, engine: &Engine, name: &str) {
        if !self.temporary().contains(name) {
            return;
        }
        match engine.remove(name, RemoveOptions::new()).await {
            Ok(_) => {}
            Err(error) if error.is_not_found() => {}
            Err(error) => tracing::warn!(%error, name, "a name in the Docker Engine stays"),
        }
        self.temporary().remove(name);
    }

    fn temporary(&self) -> MutexGuard<'_, BTreeSet<String>> {
        let temporary = self.inner.temporary.lock();
        temporary.unwrap_or_else(PoisonError::into_inner)
    }

    /// The Engine, and what it calls an image of the platform.
    fn for_engine(&self, remote: &RemoteImage) -> Result<(&Engine, Reference, String), ApoloError> {
        let reference = self.reference(remote)?;
        let tag = remote.tag.clone().ok_or_else(|| ApoloError::NoTag {
            image: remote.clone(),
        })?;
        let engine = self.inner.engine.as_ref().ok_or(ApoloError::NoEngine)?;
        Ok((engine, reference, tag))
    }
}

/// Whether two names are names of the same image in the Engine.
fn same_image(one: &Reference, other: &Reference) -> bool {
    one.canonical() == other.canonical()
}

fn tell(listener: Option<&dyn ImageProgress>, event: peak_docker::EngineEvent, tag: &str) {
    if let Some(listener) = listener
        && let Some(step) = ImageProgressStep::of_engine(event, tag)
    {
        listener.step(&step);
    }
}

/// Does something for at most so long.
pub(crate) async fn within<T>(
    limit: Option<Duration>,
    operation: &'static str,
    image: &RemoteImage,
    work: impl Future<Output = Result<T, ApoloError>>,
) -> Result<T, ApoloError> {
    let Some(limit) = limit else {
        return Box::pin(work).await;
    };
    let done = tokio::time::timeout(limit, Box::pin(work)).await;
    done.unwrap_or_else(|_| {
        Err(ApoloError::TimedOut {
            operation,
            image: image.clone(),
            limit,
        })
    })
}
