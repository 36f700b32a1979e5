//! Sessions that are open at registries, and how they end when their upload does not.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use http::{Method, StatusCode};
use peak_http::Origin;
use peak_oci::RepositoryName;
use url::Url;

use crate::auth::Scope;
use crate::connection::Call;
use crate::{Registry, RegistryError, Repository};

/// For how long a registry is asked to forget an upload, with all repetitions.
const CANCEL_DEADLINE: Duration = Duration::from_secs(5);

/// Most sessions that are remembered to be cancelled.
const MOST: usize = 256;

/// A request about a session, whose URL may be anywhere.
pub(super) async fn call(
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

/// Asks a registry to forget an upload. It will do so by itself after some days, so whatever it answers is good.
pub(super) async fn cancel(repository: &Repository, location: &Url) {
    let capabilities = repository.connection().capabilities();
    if !capabilities.of(repository.registry()).cancels {
        return;
    }
    let Ok(call) = call(
        repository,
        "cancel_upload",
        Method::DELETE,
        location.clone(),
    )
    .await
    else {
        return;
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
        }
        Ok(response) => {
            tracing::debug!(%repository, status = %response.status(), "an upload was cancelled");
        }
        Err(error) => tracing::debug!(%repository, %error, "an upload could not be cancelled"),
    }
}

/// The session of one upload. Dropped while there is one, it is remembered to be cancelled.
pub(super) struct OpenSession {
    repository: Repository,
    location: Option<Url>,
    /// Somebody wants to go on with it later.
    is_kept: bool,
}

impl OpenSession {
    pub(super) fn new(repository: &Repository, is_kept: bool) -> Self {
        Self {
            repository: repository.clone(),
            location: None,
            is_kept,
        }
    }

    /// Where it is now, if there is one.
    pub(super) fn set(&mut self, location: Option<&Url>) {
        if self.location.as_ref() != location {
            self.location = location.cloned();
        }
    }

    /// Ends it at the registry, unless somebody wants to go on with it and that can make sense.
    pub(super) async fn end(&mut self, repository: &Repository, is_useless: bool) {
        if self.is_kept && !is_useless {
            self.location = None;
        } else if let Some(location) = &self.location {
            // Dropped here, it is still remembered.
            cancel(repository, location).await;
            self.location = None;
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
            cancel(&repository, &one.location).await;
        }))
        .await;
    }
}
