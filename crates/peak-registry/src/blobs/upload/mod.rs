//! Uploads of blobs: the one loop that drives them.

mod body;
mod kept;
mod machine;
#[cfg(test)]
mod model;
mod reply;
mod session;
mod state;

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::Method;
use http::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue};
use peak_http::{Idempotency, Origin, Response};
use peak_oci::{
    BlobEvent, BlobListener, BlobOutcome, BlobRead, BoxFuture, ContentError, Descriptor, Digest,
    MediaType, RepositoryName, Source,
};
use url::Url;

use self::body::{Check, Open, Reader};
pub(crate) use self::kept::States;
use self::machine::{Failure, Machine, Step};
pub(crate) use self::reply::Reply;
use self::reply::{may_follow, with_digest};
use self::session::End;
pub(crate) use self::session::{Abandoned, OpenSession, call as about_session, cancel};
pub use self::state::UploadState;
use crate::auth::Scope;
use crate::connection::Call;
use crate::pace::UploadTurn;
use crate::{RegistryError, Repository};

/// For how long a registry may be silent after it has got the last byte of a blob or of a part: it has to hash it, and
/// to put it where it keeps blobs.
const PATIENCE: Duration = Duration::from_secs(5 * 60);

/// How a blob is uploaded.
#[derive(Clone, Default)]
#[must_use]
pub struct UploadOptions<'a> {
    listener: Option<&'a BlobListener<'a>>,
    keep: Option<&'a (dyn Fn(&UploadState) + Send + Sync + 'a)>,
    mount_from: Option<RepositoryName>,
}

impl<'a> UploadOptions<'a> {
    /// Nobody listens, and nothing is known of where else the blob is.
    pub fn new() -> Self {
        Self::default()
    }

    /// Is told what happens, from within the upload: it should be quick and must not block.
    pub fn progress(mut self, listener: &'a BlobListener<'a>) -> Self {
        self.listener = Some(listener);
        self
    }

    /// Is given the state of the upload whenever it has changed, to be kept for
    /// [`Repository::resume_upload`]. The session is then left open when the upload fails or is dropped.
    pub fn keep_state(mut self, keep: &'a (dyn Fn(&UploadState) + Send + Sync + 'a)) -> Self {
        self.keep = Some(keep);
        self
    }

    /// A repository **of the same registry** that is known to have the blob. It is mounted from there where the registry
    /// does that. Without one, what this client has seen so far decides.
    pub fn mount_from(mut self, repository: RepositoryName) -> Self {
        self.mount_from = Some(repository);
        self
    }
}

impl fmt::Debug for UploadOptions<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("UploadOptions")
            .field("mount_from", &self.mount_from)
            .finish_non_exhaustive()
    }
}

impl Repository {
    /// Brings a blob into the repository, unless it is there: mounted from another repository of the registry where
    /// that is known to have it, else sent.
    ///
    /// It is sent in one request where the registry takes it so, else in chunks. When something goes wrong the
    /// registry is asked how much it has, and the source opened again there. The bytes stream, and are hashed on their
    /// way; wrong ones never reach the registry whole.
    ///
    /// When it fails the session is cancelled, where the registry does that. Dropping the future sends nothing more; the
    /// session is then remembered for [`Registry::cancel_abandoned_uploads`](crate::Registry::cancel_abandoned_uploads).
    /// Where [states are kept](crate::RegistryBuilder::upload_states), an upload goes on in the session that an earlier
    /// process has left, and a failure that may pass leaves the session for the next one.
    ///
    /// # Errors
    /// [`RegistryError::SourceIntegrity`] where the source has other bytes than the descriptor says,
    /// [`Content`](RegistryError::Content) where it fails, [`UploadInterrupted`](RegistryError::UploadInterrupted),
    /// [`Stored`](RegistryError::Stored), and whatever a request can meet.
    pub async fn upload_blob(
        &self,
        descriptor: &Descriptor,
        source: &dyn Source,
        options: &UploadOptions<'_>,
    ) -> Result<BlobOutcome, RegistryError> {
        let open = |offset| peak_oci_open(source, descriptor, offset);
        self.upload(descriptor, &open, None, options).await
    }

    /// As [`upload_blob`](Self::upload_blob), going on with the session of an earlier process.
    ///
    /// The registry is asked what it has. A session that it does not know any more, a state of another blob, and one
    /// that leads where this registry cannot lead us, are passed over, and a new session begins.
    ///
    /// # Errors
    /// As [`upload_blob`](Self::upload_blob).
    pub async fn resume_upload(
        &self,
        descriptor: &Descriptor,
        source: &dyn Source,
        state: &UploadState,
        options: &UploadOptions<'_>,
    ) -> Result<BlobOutcome, RegistryError> {
        let open = |offset| peak_oci_open(source, descriptor, offset);
        self.upload(descriptor, &open, Some(state), options).await
    }

    /// Brings a small blob into the repository, unless it is there.
    ///
    /// # Errors
    /// As [`upload_blob`](Self::upload_blob).
    pub async fn put_blob(&self, bytes: Bytes) -> Result<Digest, RegistryError> {
        let descriptor = Descriptor::of(MediaType::OCI_EMPTY, &bytes);
        let size = descriptor.size;
        let open = move |offset: u64| -> BoxFuture<'_, Result<BlobRead, ContentError>> {
            let start = usize::try_from(offset)
                .unwrap_or(usize::MAX)
                .min(bytes.len());
            let rest = stream::iter([Ok(bytes.slice(start..))]);
            Box::pin(async move { Ok(BlobRead::new(offset, Some(size), Box::pin(rest))) })
        };
        self.upload(&descriptor, &open, None, &UploadOptions::new())
            .await?;
        Ok(descriptor.digest)
    }

    async fn upload(
        &self,
        descriptor: &Descriptor,
        open: &Open<'_>,
        state: Option<&UploadState>,
        options: &UploadOptions<'_>,
    ) -> Result<BlobOutcome, RegistryError> {
        let root = self.connection().root().await?;
        let mount_from = options
            .mount_from
            .clone()
            .or_else(|| {
                self.connection()
                    .known_blobs()
                    .find(self, &descriptor.digest)
            })
            .filter(|other| other != self.name());
        let capability = self.connection().capabilities().of(self.registry());
        // Whoever keeps states in another way does not want two of them.
        let (place, found) = match (self.connection().upload_states(), state) {
            (Some(states), None) if options.keep.is_none() => {
                states.place(self, descriptor).unzip()
            }
            _ => (None, None),
        };
        let found = found.flatten();
        let state = state.or(found.as_ref());
        let mut machine = Machine::new(
            descriptor.digest.clone(),
            descriptor.size,
            mount_from,
            capability,
        );
        if let Some(state) = state
            .filter(|state| state.digest == descriptor.digest && may_follow(&root, &state.location))
        {
            machine = machine.resumed(state.location.clone(), state.acknowledged);
        }
        let check = Check::new(descriptor);
        let upload = Upload {
            repository: self,
            descriptor,
            reader: Reader::new(open, descriptor.size, check.clone(), options.listener),
            check,
            open: OpenSession::new(self, options.keep.is_some(), place),
            options,
            has_started: false,
            kept: None,
            failure: None,
        };
        // Boxed, since it is large and there are many of them.
        Box::pin(upload.run(machine)).await
    }
}

/// As `peak_oci::open_blob`, boxed.
fn peak_oci_open<'a>(
    source: &'a dyn Source,
    descriptor: &'a Descriptor,
    offset: u64,
) -> BoxFuture<'a, Result<BlobRead, ContentError>> {
    Box::pin(peak_oci::open_blob(source, descriptor, offset))
}

/// One upload under way.
struct Upload<'a, 's> {
    repository: &'a Repository,
    descriptor: &'a Descriptor,
    reader: Reader<'a, 's>,
    check: Check,
    open: OpenSession,
    options: &'a UploadOptions<'a>,
    has_started: bool,
    /// What was last kept of it.
    kept: Option<UploadState>,
    /// What went wrong last.
    failure: Option<RegistryError>,
}

impl Upload<'_, '_> {
    async fn run(mut self, mut machine: Machine) -> Result<BlobOutcome, RegistryError> {
        let result = self.drive(&mut machine).await;
        match &result {
            Ok(_) => {
                self.open.end(End::Stored).await;
                self.repository
                    .connection()
                    .known_blobs()
                    .add(self.repository, &self.descriptor.digest);
            }
            Err(error) => {
                let end = if error.is_integrity() {
                    End::Useless
                } else if may_pass(error) && !machine.is_stuck() {
                    End::MayPass
                } else {
                    End::Refused
                };
                self.open.end(end).await;
            }
        }
        result
    }

    async fn drive(&mut self, machine: &mut Machine) -> Result<BlobOutcome, RegistryError> {
        let connection = self.repository.connection();
        let server = Origin::of(&connection.root().await?);
        let mut turn = None;
        let mut lost_sessions = 0;
        let mut setbacks = 0;
        loop {
            let (wait, step) = machine.next();
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            match &step {
                Step::Done(outcome) => {
                    if let Some(turn) = turn {
                        UploadTurn::done(turn);
                    }
                    return Ok(*outcome);
                }
                Step::Failed(failure) => return Err(self.error(failure.clone(), machine)),
                Step::Cancel(location) => {
                    let _ = session::cancel(self.repository, location).await;
                    continue;
                }
                Step::Probe => self.probe(machine).await?,
                step => {
                    if turn.is_none() && !matches!(step, Step::Mount(_)) {
                        turn = connection.paces().upload(server.as_ref()).await;
                    }
                    if let Some(reply) = self.ask(step, machine).await? {
                        machine.answered(&reply);
                    } else {
                        let sent = self.failure.as_ref().is_none_or(may_have_been_sent);
                        machine.lost(sent);
                    }
                }
            }
            self.keep(machine);
            if machine.lost_sessions() > lost_sessions {
                lost_sessions = machine.lost_sessions();
                // It waits with the others before it goes on.
                if let Some(turn) = turn.take() {
                    UploadTurn::lost(turn);
                }
            }
            if machine.setbacks() > setbacks {
                setbacks = machine.setbacks();
                let offset = machine.session().map_or(0, |(_, offset)| offset);
                tracing::debug!(
                    repository = %self.repository, digest = %self.descriptor.digest, offset,
                    "an upload goes on after something went wrong"
                );
                self.tell(BlobEvent::Retried { offset });
            }
        }
    }

    fn tell(&self, event: BlobEvent) {
        if let Some(listener) = self.options.listener {
            listener(event);
        }
    }

    /// Keeps what others have to know when this ends early.
    fn keep(&mut self, machine: &Machine) {
        let before = self
            .repository
            .connection()
            .capabilities()
            .of(self.repository.registry());
        let now = machine.capability();
        if now != before {
            self.repository.connection().capabilities().learn(
                self.repository.registry(),
                |known| {
                    known.whole = known.whole.min(now.whole);
                    known.chunk = known.chunk.min(now.chunk);
                    known.mounts &= now.mounts;
                },
            );
        }
        self.open
            .set(machine.session().map(|(location, _)| location));
        let Some((location, acknowledged)) = machine.session() else {
            return;
        };
        let state = UploadState {
            digest: self.descriptor.digest.clone(),
            acknowledged,
            location: location.clone(),
        };
        if self.kept.as_ref() != Some(&state) {
            if let Some(keep) = self.options.keep {
                keep(&state);
            }
            self.open.keep(&state);
            self.kept = Some(state);
        }
    }

    async fn probe(&mut self, machine: &mut Machine) -> Result<(), RegistryError> {
        // With what will be needed to send it, so that one token does for all.
        let scope = Scope::push(self.repository.name());
        let found = self
            .repository
            .find_blob(&self.descriptor.digest, Some(scope));
        match found.await {
            Ok(found) => machine.probed(found.map(|size| size.unwrap_or(0))),
            Err(error) if error.is_transient() => {
                self.failure = Some(error);
                machine.lost(true);
            }
            // Who may write and not read is refused here only.
            Err(
                error @ (RegistryError::Status { .. }
                | RegistryError::Denied { .. }
                | RegistryError::Unauthorized { .. }),
            ) => {
                self.failure = Some(error);
                machine.probed(None);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Sends the request of a step. `None` where its answer is lost, which is then in `failure`.
    async fn ask(
        &mut self,
        step: &Step,
        machine: &Machine,
    ) -> Result<Option<Reply>, RegistryError> {
        let repository = self.repository;
        let (url, part) = match step {
            Step::Put(location) => (
                with_digest(location.clone(), &self.descriptor.digest),
                Some((0, self.descriptor.size)),
            ),
            Step::Patch {
                location,
                offset,
                length,
            } => (location.clone(), Some((*offset, *length))),
            Step::Commit(location) => {
                (with_digest(location.clone(), &self.descriptor.digest), None)
            }
            Step::Status(location) | Step::Cancel(location) => (location.clone(), None),
            Step::Mount(from) => {
                let mut url = repository.url("blobs", &"uploads/").await?;
                url.query_pairs_mut()
                    .append_pair("mount", self.descriptor.digest.as_ref())
                    .append_pair("from", from.as_str());
                (url, None)
            }
            _ => (repository.url("blobs", &"uploads/").await?, None),
        };
        let result = match (part, step) {
            (Some((offset, length)), _) => self.send(step, url, offset, length, machine).await?,
            (None, Step::Commit(_)) => {
                // What a registry had from an earlier run has to be what we would have sent.
                self.check_before(self.descriptor.size).await?;
                let call = session::call(repository, "commit_upload", Method::PUT, url).await?;
                let call = call.headers(octets()).attempt_timeout(PATIENCE);
                repository.call(call).await
            }
            (None, Step::Status(_)) => {
                let call = session::call(repository, "get_upload", Method::GET, url).await?;
                repository.call(call).await
            }
            (None, Step::Mount(_)) => {
                // A session that nobody ends does no harm, so the request may be repeated.
                let call = Call::new("mount_blob", Method::POST, url);
                repository
                    .call(call.idempotency(Idempotency::Idempotent))
                    .await
            }
            _ => {
                let call = session::call(repository, "start_upload", Method::POST, url).await?;
                repository
                    .call(call.idempotency(Idempotency::Idempotent))
                    .await
            }
        };
        // A token may be refused for another repository, which is no reason not to send the blob.
        let may_fail = matches!(step, Step::Mount(_));
        self.judge(result, may_fail).await
    }

    /// Sends a part of the blob, or all of it.
    async fn send(
        &mut self,
        step: &Step,
        url: Url,
        offset: u64,
        length: u64,
        machine: &Machine,
    ) -> Result<Result<Response, RegistryError>, RegistryError> {
        let mut headers = octets();
        let is_whole = matches!(step, Step::Put(_));
        if !is_whole {
            let last = offset.saturating_add(length).saturating_sub(1);
            let range = HeaderValue::from_str(&format!("{offset}-{last}")).map_err(|_| {
                self.repository
                    .unusable("the range cannot stand in a header")
            })?;
            headers.insert(CONTENT_RANGE, range);
        }
        if !self.has_started {
            self.has_started = true;
            let offset = machine.session().map_or(0, |(_, offset)| offset);
            self.reader.begin(offset);
            self.tell(BlobEvent::Started { offset });
        }
        self.check_before(offset).await?;
        let (body, mut wishes) = body::body(&self.check, offset, length);
        let (operation, method) = if is_whole {
            ("upload_blob", Method::PUT)
        } else {
            ("upload_chunk", Method::PATCH)
        };
        let call = session::call(self.repository, operation, method, url)
            .await?
            .headers(headers)
            .body(body)
            .attempt_timeout(PATIENCE)
            // What a registry has of it when the connection breaks is known only to itself.
            .idempotency(Idempotency::NotIdempotent);
        let end = offset.saturating_add(length);
        tokio::select! {
            biased;
            result = self.repository.call(call) => Ok(result),
            source = self.reader.serve(&mut wishes, end) => Err(self.unreadable(source)),
        }
    }

    /// Sees to it that everything before `offset` is checked.
    async fn check_before(&mut self, offset: u64) -> Result<(), RegistryError> {
        let caught_up = self.reader.catch_up(offset).await;
        caught_up.map_err(|source| self.unreadable(source))?;
        self.wrong()
    }

    fn wrong(&self) -> Result<(), RegistryError> {
        match self.check.wrong() {
            Some(source) => Err(RegistryError::SourceIntegrity {
                digest: self.descriptor.digest.clone(),
                source,
            }),
            None => Ok(()),
        }
    }

    fn unreadable(&self, source: ContentError) -> RegistryError {
        match self.wrong() {
            Err(error) => error,
            Ok(()) => RegistryError::Content { source },
        }
    }

    /// What an exchange says. An error where nothing can be done about it.
    async fn judge(
        &mut self,
        result: Result<Response, RegistryError>,
        may_fail: bool,
    ) -> Result<Option<Reply>, RegistryError> {
        self.wrong()?;
        match result {
            Ok(response) => {
                let (status, headers) = (response.status(), response.headers().clone());
                let asked = response.url().clone();
                let error = if status.is_success() {
                    None
                } else {
                    Some(self.repository.refused(response).await)
                };
                let reply = Reply::new(&asked, status, &headers, error.as_ref());
                if error.is_some() {
                    self.failure = error;
                }
                Ok(Some(reply))
            }
            Err(error) if error.is_transient() || may_fail => {
                self.failure = Some(error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The error that the upload ends with.
    fn error(&mut self, failure: Failure, machine: &Machine) -> RegistryError {
        let repository = self.repository;
        match (failure, self.failure.take()) {
            (Failure::Refused, Some(error)) => error,
            (Failure::Refused | Failure::Exhausted, source) => RegistryError::UploadInterrupted {
                repository: repository.to_string(),
                digest: self.descriptor.digest.clone(),
                acknowledged: machine.session().map_or(0, |(_, offset)| offset),
                source: source.map(Box::new),
            },
            (Failure::Stored(actual), _) => RegistryError::Stored {
                repository: repository.to_string(),
                expected: self.descriptor.digest.clone(),
                actual,
            },
            (Failure::Unusable(reason), _) => repository.unusable(reason),
        }
    }
}

/// Whether the next run may get further, so that the session is of use to it.
fn may_pass(error: &RegistryError) -> bool {
    matches!(error, RegistryError::Content { .. }) || error.is_transient()
}

/// Whether the registry can have seen anything of a request that failed so.
fn may_have_been_sent(error: &RegistryError) -> bool {
    match error {
        RegistryError::Transport { source, .. } => source.may_have_been_sent(),
        _ => true,
    }
}

fn octets() -> HeaderMap {
    HeaderMap::from_iter([(
        CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    )])
}
