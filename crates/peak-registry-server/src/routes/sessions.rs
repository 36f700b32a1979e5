//! The uploads that are open over several requests.
//!
//! Their bytes stand in the store, where they outlast the process; here is who works on which, and
//! the state of their hashes. No file stays open from one request to the next.

use std::collections::HashMap;
use std::sync::{Arc, Mutex as StandardMutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use axum::http::{HeaderValue, StatusCode, header};
use peak_oci::{Algorithm, RepositoryName};
use tokio::sync::{Mutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::routes::blocking;
use crate::routes::failure::{Code, Failure};
use crate::store::{Repository, Store, StoreError, Upload, UploadId};

/// How long a request waits for another one of the same upload: for one whose client is gone and
/// which has yet to notice.
const WAIT_FOR_OTHER: Duration = Duration::from_secs(5);

/// How many abandoned uploads one request removes at most, so that it does not wait for long.
const REMOVED_AT_ONCE: usize = 64;

/// All open uploads.
#[derive(Debug)]
pub(crate) struct Sessions {
    table: SharedTable,
    places: Arc<Semaphore>,
    idle: Duration,
}

type SharedTable = Arc<StandardMutex<Table>>;

#[derive(Debug)]
struct Table {
    sessions: HashMap<UploadId, Arc<Session>>,
    /// Before this nothing in the table can have been idle for too long.
    sweep_at: Instant,
}

/// One upload, whose requests take turns.
#[derive(Debug)]
struct Session {
    id: UploadId,
    repository: RepositoryName,
    /// `None` once the upload was finished or given up.
    upload: Arc<Mutex<Option<Open>>>,
    touched: StandardMutex<Instant>,
}

/// An upload and the place among all open ones that it takes.
#[derive(Debug)]
struct Open {
    upload: Upload,
    /// Those of an earlier process that are beyond the limit have none.
    _place: Option<OwnedSemaphorePermit>,
}

/// The upload, for the time of one request.
///
/// It moves into the blocking work and back. If the request is dropped meanwhile, the work ends
/// first and then lets the next request in, so that nobody sees a half-done write.
#[derive(Debug)]
pub(crate) struct Held {
    table: SharedTable,
    session: Arc<Session>,
    open: OwnedMutexGuard<Option<Open>>,
}

impl Sessions {
    /// Takes over the uploads that an earlier process left, and removes those of them that have
    /// been idle for too long. This looks through the store's directory of uploads.
    pub(crate) fn new(store: &Store, limit: usize, idle: Duration) -> Self {
        let now = Instant::now();
        let sessions = Self {
            table: Arc::new(StandardMutex::new(Table {
                sessions: HashMap::new(),
                sweep_at: now,
            })),
            places: Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS))),
            idle,
        };
        if let Err(error) = sessions.take_over(store, now) {
            // The clients of those uploads start anew.
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "could not look for the uploads that an earlier process left"
            );
        }
        sessions
    }

    /// How many uploads are open between requests.
    pub(crate) fn count(&self) -> usize {
        table(&self.table).sessions.len()
    }

    fn take_over(&self, store: &Store, now: Instant) -> Result<(), StoreError> {
        let clock = SystemTime::now();
        let mut table = table(&self.table);
        for (upload, modified) in store.take_left_uploads()? {
            // One from the future was written to just now, by a clock that was put back since.
            let age = clock.duration_since(modified).unwrap_or_default();
            if age >= self.idle {
                remove(upload);
                continue;
            }
            let session = Session {
                id: upload.id(),
                repository: upload.repository().name().clone(),
                touched: StandardMutex::new(now.checked_sub(age).unwrap_or(now)),
                upload: Arc::new(Mutex::new(Some(Open {
                    upload,
                    _place: Arc::clone(&self.places).try_acquire_owned().ok(),
                }))),
            };
            table.sessions.insert(session.id, Arc::new(session));
        }
        Ok(())
    }

    /// Starts an upload for this request alone: dropping what is returned removes it.
    pub(crate) async fn open_once(
        &self,
        repository: Repository,
        algorithm: Algorithm,
    ) -> Result<Held, Failure> {
        self.open(repository, Repository::new_upload_with, algorithm)
            .await
    }

    /// Starts an upload for later requests, which name it by the returned number.
    pub(crate) async fn open_lasting(
        &self,
        repository: Repository,
        algorithm: Algorithm,
    ) -> Result<UploadId, Failure> {
        let mut held = self
            .open(repository, Repository::new_lasting_upload, algorithm)
            .await?;
        // Not earlier: if the request was dropped on the way, nobody would know of it.
        if let Some(upload) = held.upload_mut() {
            upload.keep();
        }
        let id = held.session.id;
        table(&self.table)
            .sessions
            .insert(id, Arc::clone(&held.session));
        Ok(id)
    }

    async fn open(
        &self,
        repository: Repository,
        new: impl FnOnce(&Repository, Algorithm) -> Result<Upload, StoreError> + Send + 'static,
        algorithm: Algorithm,
    ) -> Result<Held, Failure> {
        // Before the place is asked for: one of those that nobody came back for may have it.
        self.remove_stale().await?;
        let place = Arc::clone(&self.places)
            .try_acquire_owned()
            .map_err(|_| too_many())?;
        let upload = blocking(move || new(&repository, algorithm)).await?;
        let session = Session {
            id: upload.id(),
            repository: upload.repository().name().clone(),
            touched: StandardMutex::new(Instant::now()),
            upload: Arc::new(Mutex::new(Some(Open {
                upload,
                _place: Some(place),
            }))),
        };
        let open = Arc::clone(&session.upload).lock_owned().await;
        Ok(Held {
            table: Arc::clone(&self.table),
            session: Arc::new(session),
            open,
        })
    }

    /// Takes the upload for one request.
    pub(crate) async fn hold(
        &self,
        repository: &RepositoryName,
        id: UploadId,
    ) -> Result<Held, Failure> {
        let session = table(&self.table)
            .sessions
            .get(&id)
            .filter(|session| session.repository == *repository)
            .map(Arc::clone)
            .ok_or_else(Failure::upload_unknown)?;
        session.touch();
        let turn = Arc::clone(&session.upload).lock_owned();
        let open = tokio::time::timeout(WAIT_FOR_OTHER, turn)
            .await
            .map_err(|_| {
                Failure::new(
                    StatusCode::CONFLICT,
                    Code::BlobUploadInvalid,
                    "another request is sending to this upload; wait for its end",
                )
            })?;
        if open.is_none() {
            return Err(Failure::upload_unknown());
        }
        Ok(Held {
            table: Arc::clone(&self.table),
            session,
            open,
        })
    }

    /// Removes uploads that nobody came back for, some at a time. Requests of all kinds pay for it, so that
    /// there is no task that somebody would have to end. When it is not yet time, this looks at a clock.
    pub(crate) async fn remove_stale(&self) -> Result<(), Failure> {
        let stale = self.take_stale();
        if stale.is_empty() {
            return Ok(());
        }
        blocking(move || {
            stale.into_iter().for_each(remove);
            Ok(())
        })
        .await
    }

    /// Takes out of the table what has been idle for too long.
    fn take_stale(&self) -> Vec<Upload> {
        let now = Instant::now();
        let mut table = table(&self.table);
        if now < table.sweep_at {
            return Vec::new();
        }
        let mut stale = Vec::new();
        let mut oldest = now;
        table.sessions.retain(|_, session| {
            // Where it is locked, a request is at work on it.
            let Ok(mut open) = session.upload.try_lock() else {
                return true;
            };
            let touched = session.touched();
            let young = now.saturating_duration_since(touched) < self.idle;
            if young || stale.len() >= REMOVED_AT_ONCE {
                oldest = oldest.min(touched);
                return true;
            }
            stale.extend(open.take().map(|open| open.upload));
            false
        });
        table.sweep_at = oldest.checked_add(self.idle).unwrap_or(now);
        stale
    }
}

fn remove(stale: Upload) {
    let (id, repository) = (stale.id(), stale.repository().name().clone());
    match stale.cancel() {
        Ok(()) => tracing::info!(%id, %repository, "removed an upload that nobody came back for"),
        Err(error) => tracing::warn!(
            %id,
            %repository,
            error = &error as &dyn std::error::Error,
            "could not remove an upload that nobody came back for"
        ),
    }
}

fn table(table: &SharedTable) -> MutexGuard<'_, Table> {
    // Every operation on the table is a single step, so it is valid after any panic.
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Session {
    fn touch(&self) {
        *self.touched.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn touched(&self) -> Instant {
        *self.touched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    pub(crate) fn upload(&self) -> Result<&Upload, Failure> {
        self.open
            .as_ref()
            .map(|open| &open.upload)
            .ok_or_else(Failure::upload_unknown)
    }

    pub(crate) fn upload_mut(&mut self) -> Option<&mut Upload> {
        self.open.as_mut().map(|open| &mut open.upload)
    }

    /// Takes the upload out for good: later requests hear that there is none. The place among the
    /// open ones becomes free.
    pub(crate) fn take(&mut self) -> Option<Upload> {
        self.open.take().map(|open| open.upload)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // The idle time counts from the end of the last request, however long that took.
        self.session.touch();
        match &mut *self.open {
            Some(open) => open.upload.pause(),
            None => {
                table(&self.table).sessions.remove(&self.session.id);
            }
        }
    }
}

fn too_many() -> Failure {
    Failure::new(
        StatusCode::TOO_MANY_REQUESTS,
        Code::TooManyRequests,
        "too many uploads are open; finish or cancel some, or try again later",
    )
    .with_header(header::RETRY_AFTER, HeaderValue::from_static("5"))
}
