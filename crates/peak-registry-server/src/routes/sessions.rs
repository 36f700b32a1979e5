//! The uploads that are open over several requests.
//!
//! They live in memory with their bytes in the store's directory of unfinished files, so they end
//! with the process; a client that finds its upload gone starts a new one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex as StandardMutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use peak_oci::{Algorithm, RepositoryName};
use tokio::sync::{Mutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::routes::blocking;
use crate::routes::failure::{Code, Failure};
use crate::store::{Repository, Upload, UploadId};

/// How long a request waits for another one of the same upload: for one whose client is gone and
/// which has yet to notice.
const WAIT_FOR_OTHER: Duration = Duration::from_secs(5);

/// All open uploads.
#[derive(Debug)]
pub(crate) struct Sessions {
    table: StandardMutex<HashMap<UploadId, Arc<Session>>>,
    places: Arc<Semaphore>,
    idle: Duration,
}

/// One upload, whose requests take turns.
#[derive(Debug)]
struct Session {
    repository: RepositoryName,
    /// `None` once the upload was finished or given up.
    upload: Arc<Mutex<Option<Open>>>,
    touched: StandardMutex<Instant>,
}

/// An upload and the place among all open ones that it takes.
#[derive(Debug)]
struct Open {
    upload: Upload,
    _place: OwnedSemaphorePermit,
}

/// The upload, for the time of one request.
///
/// It moves into the blocking work and back. If the request is dropped meanwhile, the work ends
/// first and then lets the next request in, so that nobody sees a half-done write.
#[derive(Debug)]
pub(crate) struct Held {
    session: Arc<Session>,
    open: OwnedMutexGuard<Option<Open>>,
}

impl Sessions {
    pub(crate) fn new(limit: usize, idle: Duration) -> Self {
        Self {
            table: StandardMutex::default(),
            places: Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS))),
            idle,
        }
    }

    /// Starts an upload for this request alone: dropping what is returned removes it.
    pub(crate) async fn open(
        &self,
        repository: Repository,
        algorithm: Algorithm,
    ) -> Result<Held, Failure> {
        // Each new upload pays for removing those that nobody came back for.
        let stale = self.take_stale();
        if !stale.is_empty() {
            blocking(move || {
                drop(stale);
                Ok(())
            })
            .await?;
        }
        let place = Arc::clone(&self.places)
            .try_acquire_owned()
            .map_err(|_| too_many())?;
        let name = repository.name().clone();
        let upload = blocking(move || repository.new_upload_with(algorithm)).await?;
        let upload = Arc::new(Mutex::new(Some(Open {
            upload,
            _place: place,
        })));
        let open = Arc::clone(&upload).lock_owned().await;
        let session = Session {
            repository: name,
            upload,
            touched: StandardMutex::new(Instant::now()),
        };
        Ok(Held {
            session: Arc::new(session),
            open,
        })
    }

    /// Keeps the upload for later requests, which name it by the returned number.
    pub(crate) fn keep(&self, held: &Held) -> Result<UploadId, Failure> {
        let id = held.upload()?.id();
        self.table().insert(id, Arc::clone(&held.session));
        Ok(id)
    }

    /// Takes the upload for one request.
    pub(crate) async fn hold(
        &self,
        repository: &RepositoryName,
        id: UploadId,
    ) -> Result<Held, Failure> {
        let session = self
            .table()
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
        Ok(Held { session, open })
    }

    /// Takes out of the table what is over or has been idle for too long.
    fn take_stale(&self) -> Vec<Arc<Session>> {
        self.table()
            .extract_if(|_, session| match session.upload.try_lock() {
                Ok(open) => open.is_none() || session.idle_time() >= self.idle,
                // A request is at work on it.
                Err(_) => false,
            })
            .map(|(_, session)| session)
            .collect()
    }

    fn table(&self) -> MutexGuard<'_, HashMap<UploadId, Arc<Session>>> {
        // Every operation on the table is a single step, so it is valid after any panic.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    fn touch(&self) {
        *self.touched.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn idle_time(&self) -> Duration {
        self.touched
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .elapsed()
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
