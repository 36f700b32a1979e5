//! What a registry can do, found out by asking it.
//!
//! | module | what |
//! |---|---|
//! | `report` | what is found |
//! | `read` | questions that change nothing |
//! | `write` | questions for which something is begun and taken back |

mod read;
mod report;
mod write;

use std::time::Duration;

use peak_http::ErrorKind;
use peak_oci::{Reference, RepositoryName, Selector};

pub use self::report::{
    Authentication, BlobUploads, Deletes, Deletion, DigestHeader, ManifestHeaders, Mounts,
    NotAsked, Paging, ProbeReport, Probed, Ranges, ReferrersList, TokenLifetime,
};
use crate::connection::transport;
use crate::{Registry, RegistryError};

/// How long the answer to one question may take unless something else is wanted.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// What a registry is asked by [`Registry::probe`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ProbeOptions {
    repository: Option<RepositoryName>,
    selector: Option<Selector>,
    write_to: Option<RepositoryName>,
    mount_into: Option<RepositoryName>,
    time_limit: Duration,
}

impl Default for ProbeOptions {
    fn default() -> Self {
        Self {
            repository: None,
            selector: None,
            write_to: None,
            mount_into: None,
            time_limit: TIME_LIMIT,
        }
    }
}

impl ProbeOptions {
    /// Only what can be asked of a registry as a whole.
    pub fn new() -> Self {
        Self::default()
    }

    /// Also what can be asked of the repository of this reference, and of its image. Without a tag or digest some image
    /// of the repository is taken.
    pub fn image(mut self, reference: &Reference) -> Self {
        self.repository = Some(reference.repository().clone());
        self.selector = reference.selector();
        self
    }

    /// Also what only a writer can find out, in this repository: an upload is begun with a few bytes and ended again, and
    /// the registry is asked to delete a manifest, a tag and a blob that nobody can have. Nothing is stored.
    pub fn write_to(mut self, repository: RepositoryName) -> Self {
        self.write_to = Some(repository);
        self
    }

    /// Also whether blobs are mounted from the repository of [`write_to`](Self::write_to) into this other one: a blob of a
    /// few bytes is stored there, mounted here and deleted in both. Says nothing without that.
    pub fn mount_into(mut self, repository: RepositoryName) -> Self {
        self.mount_into = Some(repository);
        self
    }

    /// How long the answer to one question may take, with all repetitions; 10 seconds by default.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }
}

impl Registry {
    /// The URL of a registry's API. Where it may speak plain HTTP it is asked whether it speaks TLS, unless that is known.
    ///
    /// # Errors
    /// [`RegistryError::InvalidRegistry`]; [`RegistryError::Transport`] where it is not clear what it speaks.
    pub async fn endpoint(&self, registry: &str) -> Result<url::Url, RegistryError> {
        self.connection(registry).root().await
    }

    /// Asks a registry what it can do. Each question has a [limit in time](ProbeOptions::time_limit), and an answer of its
    /// own: one that fails does not keep the others from being asked.
    ///
    /// It only reads, unless [`write_to`](ProbeOptions::write_to) says where something may be written. Dropped in the
    /// middle of that, an upload is remembered for [`cancel_abandoned_uploads`](Self::cancel_abandoned_uploads); a blob of a
    /// few bytes may stay that nothing points to.
    ///
    /// # Errors
    /// [`RegistryError::InvalidRegistry`], [`InvalidResponse`](RegistryError::InvalidResponse) where it is no registry, and
    /// whatever the first request can meet: then nothing else is asked.
    pub async fn probe(
        &self,
        registry: &str,
        options: &ProbeOptions,
    ) -> Result<ProbeReport, RegistryError> {
        // Boxed: so many questions at once are a large future.
        Box::pin(self.ask_everything(registry, options)).await
    }

    async fn ask_everything(
        &self,
        registry: &str,
        options: &ProbeOptions,
    ) -> Result<ProbeReport, RegistryError> {
        let connection = self.connection(registry);
        let limit = options.time_limit;
        let place = connection.host.name().to_owned();
        let repository =
            |name: &RepositoryName| crate::Repository::new(connection.clone(), name.clone(), None);
        let read = options.repository.as_ref().map(repository);
        let beginning = bounded(
            limit,
            &place,
            read::beginning(&connection, read.as_ref(), limit),
        );
        let beginning = beginning.await?;

        let token = async {
            match beginning.bearer() {
                None => Probed::NotAsked(NotAsked::NoTokens),
                Some(challenge) => {
                    let name = options.repository.as_ref();
                    let asked = read::token(self, &place, &beginning.url, challenge, name);
                    answered(limit, &place, asked).await
                }
            }
        };
        let access = answered(limit, &place, self.ping(registry));
        let catalog = answered(limit, &place, read::catalog(&connection, limit));
        let content = async {
            match &read {
                None => read::Content::not_asked(NotAsked::NeedsRepository),
                Some(repository) => {
                    let selector = options.selector.as_ref();
                    Box::pin(read::content(repository, selector, limit)).await
                }
            }
        };
        let (token, access, catalog, content) = tokio::join!(token, access, catalog, content);

        let write = options.write_to.as_ref().map(repository);
        let mount = options.mount_into.as_ref().map(repository);
        let mut left_behind = Vec::new();
        let unasked = |why| {
            (
                Probed::NotAsked(why),
                Probed::NotAsked(why),
                Probed::NotAsked(why),
            )
        };
        let (uploads, deletion, mounts) = match &write {
            None => unasked(NotAsked::NeedsLeaveToWrite),
            Some(_) if matches!(access, Probed::Failed(_)) => unasked(NotAsked::NeedsAccess),
            Some(write) => {
                let name = write.to_string();
                let uploads = answered(limit, &name, write::uploads(write, limit)).await;
                let deletion = answered(limit, &name, write::deletion(write)).await;
                let mounts = match &mount {
                    None => Probed::NotAsked(NotAsked::NeedsTwoRepositories),
                    // What cannot be begun there cannot be stored either, nor be left behind.
                    Some(_) if matches!(uploads, Probed::Failed(_)) => {
                        Probed::NotAsked(NotAsked::NeedsUploads)
                    }
                    Some(into) => {
                        let asked = write::mounts(write, into, limit, &mut left_behind);
                        answered(limit.saturating_mul(3), &name, asked).await
                    }
                };
                (uploads, deletion, mounts)
            }
        };
        Ok(ProbeReport {
            registry: place,
            url: beginning.url,
            authentication: beginning.authentication,
            token,
            access,
            catalog,
            tags: content.tags,
            manifests: content.manifests,
            ranges: content.ranges,
            referrers: content.referrers,
            uploads,
            deletion,
            mounts,
            left_behind,
        })
    }
}

/// The answer to a question, if it comes in time.
async fn bounded<T>(
    limit: Duration,
    place: &str,
    question: impl Future<Output = Result<T, RegistryError>>,
) -> Result<T, RegistryError> {
    // Boxed: there are many of them in one future.
    let answer = tokio::time::timeout(limit, Box::pin(question)).await;
    answer.unwrap_or_else(|_| {
        let message = format!("there was no answer within {} seconds", limit.as_secs_f32());
        let error = peak_http::Error::new(ErrorKind::Timeout, message);
        Err(transport(place, error))
    })
}

/// The same as a part of the report.
async fn answered<T>(
    limit: Duration,
    place: &str,
    question: impl Future<Output = Result<T, RegistryError>>,
) -> Probed<T> {
    match bounded(limit, place, question).await {
        Ok(found) => Probed::Found(found),
        Err(error) => Probed::Failed(error),
    }
}
