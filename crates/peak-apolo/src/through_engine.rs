//! Push and pull through the Docker Engine, which speaks with the registry itself.

use std::collections::BTreeSet;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use peak_docker::{Engine, RemoveOptions};
use peak_oci::Reference;

use crate::progress::{
    ImageProgress, ImageProgressPull, ImageProgressPush, ImageProgressStep, Way,
};
use crate::{ApoloError, Images, LocalImage, RemoteImage};

/// How long it may take to remove the name that a failure leaves: an Engine that hangs is not waited for twice.
const CLEAN_UP_LIMIT: Duration = Duration::from_secs(5);

impl Images {
    /// Pushes an image of the Engine to the platform: as `remote`, or by default under
    /// [what it is called there](crate::Clusters::to_platform). The Engine then has it under that name, too; where the push
    /// fails, only if it had before. Where this future is dropped that name may stay;
    /// [`remove_temporary_tags`](Self::remove_temporary_tags) removes it.
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
        let url = reference.to_string();
        let work = async {
            let name = local.to_string();
            self.begin_temporary(engine, &url).await?;
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
        let pushed = self.within_limit(Way::Push, &remote, work).await;
        if pushed.is_ok() {
            self.temporary().remove(&url);
        }
        self.clean_up(engine, &url, pushed.is_err()).await;
        pushed?;
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
        let url = reference.to_string();
        let work = async {
            self.begin_temporary(engine, &url).await?;
            let credentials = self.inner.engine_credentials.as_ref();
            let told = |event| tell(listener, event, &tag);
            let pulled = engine.pull(&reference, credentials, told).await;
            pulled.map_err(|error| ApoloError::of_engine(remote, error))?;
            let tagged = engine.tag(&url, &target).await;
            tagged.map_err(ApoloError::Engine)
        };
        let pulled = self.within_limit(Way::Pull, remote, work).await;
        if pulled.is_ok() && target.canonical() == reference.canonical() {
            self.temporary().remove(&url);
        }
        self.clean_up(engine, &url, pulled.is_err()).await;
        pulled?;
        Ok(local)
    }

    /// Removes the names that pushes and pulls which were dropped have left in the Engine. The images stay where they have
    /// other names. For the end of a program that was interrupted; what ends by itself leaves none.
    pub async fn remove_temporary_tags(&self) {
        let Some(engine) = &self.inner.engine else {
            return;
        };
        let names = self.temporary().clone();
        for name in names {
            self.remove_temporary(engine, &name).await;
        }
    }

    /// A name that comes into being from here on is to go again, unless the Engine has it already: then somebody calls an
    /// image so on purpose.
    async fn begin_temporary(&self, engine: &Engine, name: &str) -> Result<(), ApoloError> {
        match engine.inspect(name).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => {
                self.temporary().insert(name.to_owned());
                Ok(())
            }
            Err(error) => Err(ApoloError::Engine(error)),
        }
    }

    /// Removes the name that a push or pull has made for a while.
    async fn clean_up(&self, engine: &Engine, name: &str, failed: bool) {
        let removal = self.remove_temporary(engine, name);
        if !failed {
            return removal.await;
        }
        if tokio::time::timeout(CLEAN_UP_LIMIT, removal).await.is_err() {
            tracing::warn!(
                name,
                "a name in the Docker Engine may stay: it does not answer"
            );
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
            image: Box::new(remote.clone()),
        })?;
        let engine = self.inner.engine.as_ref().ok_or(ApoloError::NoEngine)?;
        Ok((engine, reference, tag))
    }
}

fn tell(listener: Option<&dyn ImageProgress>, event: peak_docker::EngineEvent, tag: &str) {
    if let Some(listener) = listener
        && let Some(step) = ImageProgressStep::of_engine(event, tag)
    {
        listener.step(&step);
    }
}
