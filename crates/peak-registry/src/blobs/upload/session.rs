//! Sessions that are open at registries, and how they end when their upload does not.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use http::{Method, StatusCode};
use peak_http::Origin;
use peak_oci::RepositoryName;
use url::Url;

use super::UploadState;
use super::kept::Place;
use crate::auth::Scope;
use crate::connection::Call;
use crate::{Registry, RegistryError, Repository};

/// For how long a registry is asked to forget an upload, with all repetitions.
const CANCEL_DEADLINE: Duration = Duration::from_secs(5);

/// Most sessions that are remembered to be cancelled.
const MOST: usize = 256;

/// A request about a session, whose URL may be anywhere.
pub(crate) async fn call(
    repository: &Repository,
    operation: &'static str,
    method: Method,
    url: Url,
) -> Result<Call, RegistryError> {
    let root = repository.connection().root().await?;
    // A signed URL at another server holds what it needs; credentials are not for that server.
    let elsewhere = Origin::of(&url) != Origin::of(&root);
    Ok(Call::new(operation, method, url)
        .scope(Scope::push(repository.name()))
        .anonymous(elsewhere))
}

/// Asks a registry to forget an upload; whether it has. It will do so by itself after some days, so whatever it answers
/// is good.
pub(crate) async fn cancel(repository: &Repository, location: &Url) -> bool {
    let capabilities = repository.connection().capabilities();
    if !capabilities.of(repository.registry()).cancels {
        return false;
    }
    let Ok(call) = call(
        repository,
        "cancel_upload",
        Method::DELETE,
        location.clone(),
    )
    .await
    else {
        return false;
    };
    // With what was needed to send it: distribution wants the right to delete, which others give no token for.
    match repository.call(call.deadline(CANCEL_DEADLINE)).await {
        Ok(response)
            if matches!(
                response.status(),
                StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED
            ) =>
        {
            capabilities.learn(repository.registry(), |known| known.cancels = false);
            false
        }
        Ok(response) => {
            let status = response.status();
            tracing::debug!(%repository, %status, "an upload was cancelled");
            status.is_success() || status == StatusCode::NOT_FOUND
        }
        Err(error) => {
            tracing::debug!(%repository, %error, "an upload could not be cancelled");
            false
        }
    }
}

/// How an upload ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The blob is there.
    Stored,
    /// What went wrong may pass, and the next run may go on.
    MayPass,
    /// It would go wrong again.
    Refused,
    /// The registry may have got wrong bytes.
    Useless,
}

/// The session of one upload. Dropped while there is one, it is remembered to be cancelled.
pub(crate) struct OpenSession {
    repository: Repository,
    location: Option<Url>,
    /// Somebody wants to go on with it later.
    is_kept: bool,
    /// Where its state is kept for the next process.
    place: Option<Place>,
}

impl OpenSession {
    /// One that nobody goes on with, whatever becomes of it.
    pub(crate) fn passing(repository: &Repository) -> Self {
        Self::new(repository, false, None)
    }

    pub(super) fn new(repository: &Repository, is_kept: bool, place: Option<Place>) -> Self {
        Self {
            repository: repository.clone(),
            location: None,
            is_kept,
            place,
        }
    }

    /// Where it is now, if there is one.
    pub(crate) fn set(&mut self, location: Option<&Url>) {
        if self.location.as_ref() != location {
            self.location = location.cloned();
        }
    }

    /// Keeps its state, in case that this process ends without a word.
    pub(super) fn keep(&mut self, state: &UploadState) {
        if let Some(place) = &mut self.place {
            place.keep(state);
        }
    }

    /// Ends it at the registry, unless somebody wants to go on with it and that can make sense.
    pub(super) async fn end(&mut self, end: End) {
        let has_place = self.place.as_ref().is_some_and(Place::is_kept);
        let stays = match end {
            End::Stored | End::Useless => false,
            End::MayPass => self.is_kept || has_place,
            End::Refused => self.is_kept,
        };
        if stays || end == End::Stored {
            self.location = None;
        }
        if let Some(location) = &self.location {
            // Dropped here, it is still remembered.
            let _ = cancel(&self.repository, location).await;
            self.location = None;
        }
        if let Some(mut place) = self.place.take()
            && !stays
        {
            place.remove();
        }
    }
}

impl Drop for OpenSession {
    fn drop(&mut self) {
        if let Some(location) = self.location.take().filter(|_| !self.is_kept) {
            let connection = self.repository.connection();
            connection.abandoned().add(One {
                registry: self.repository.registry().to_owned(),
                repository: self.repository.name().clone(),
                location,
                place: self.place.take(),
            });
        }
    }
}

/// The sessions of uploads that were dropped.
#[derive(Default)]
pub(crate) struct Abandoned(Mutex<Vec<One>>);

struct One {
    registry: String,
    repository: RepositoryName,
    location: Url,
    /// What is kept of it, until it is cancelled.
    place: Option<Place>,
}

impl Abandoned {
    fn add(&self, one: One) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() < MOST {
            all.push(one);
        }
    }

    fn take(&self) -> Vec<One> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Registry {
    /// Asks the registries to forget the uploads whose futures were dropped before they were done: what a program does
    /// last when it is interrupted. Takes a few seconds at most; dropped earlier it has done as much as it could.
    ///
    /// Nothing does so by itself, since that would be a task that nobody waits for. What is not cancelled the registry
    /// removes in its own time.
    pub async fn cancel_abandoned_uploads(&self) {
        let all = self.abandoned().take();
        join_all(all.into_iter().map(|one| async move {
            let connection = self.connection(&one.registry);
            let repository = Repository::new(connection, one.repository, None);
            if cancel(&repository, &one.location).await
                && let Some(mut place) = one.place
            {
                place.remove();
            }
        }))
        .await;
    }
}
