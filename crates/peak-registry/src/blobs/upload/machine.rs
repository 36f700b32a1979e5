//! The upload of one blob as a state machine: what is asked next, after what was answered. It does no I/O.
//!
//! ```text
//! probe ─→ mount ─→ start ─→ put ───────────────→ done
//!   ↑        (there is a       │ 413, too large
//!   │         repository       ↓        ┌──┐
//!   │         to mount from)  patch ←───┤  │ next chunk
//!   │                          │  ↑     └──┘
//!   │     lost, 416: the       ↓  │ it is there up to N
//!   └──── registry is asked: status ─→ commit ─→ done
//!  it may be stored
//! ```
//!
//! One request for the whole blob is preferred. What it learns about the registry is in its [`Capability`].

use std::time::Duration;

use http::StatusCode;
use peak_http::resume::Patience;
use peak_oci::{BlobOutcome, Digest, RepositoryName};
use url::Url;

use super::reply::Reply;
use crate::capabilities::Capability;

/// Smallest chunk that is tried, in bytes.
const LEAST_CHUNK: u64 = 64 * 1024;

/// Bytes of a chunk that is tried where the registry is not known to refuse it: enough that a request for each costs
/// nothing, little enough to send once more.
const LARGE_CHUNK: u64 = 64 * 1024 * 1024;

/// After so many chunks in a row larger ones are tried again, where smaller ones are sent because some were lost.
const CHUNKS_BEFORE_LARGER: u32 = 16;

/// Sessions of one upload at most, however much progress is made in each.
const MOST_SESSIONS: u32 = 20;

/// How often all is sent once more because the registry refuses what it got.
const MOST_REMAKES: u32 = 2;

/// How often the whole is sent in one request that is lost, before a new session begins with chunks.
const LOST_WHOLES: u32 = 2;

/// How long a registry is given to read what it was sent before the connection broke. The question how much it has comes
/// on another connection, and can overtake those bytes.
const TIME_TO_ARRIVE: Duration = Duration::from_millis(200);

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Ask whether the repository has the blob.
    Probe,
    /// Ask to have it mounted from another repository of the registry.
    Mount(RepositoryName),
    /// Begin a session.
    Start,
    /// Send all of it, which ends the session.
    Put(Url),
    /// Send a part.
    Patch {
        /// Where to.
        location: Url,
        /// The first byte.
        offset: u64,
        /// How many.
        length: u64,
    },
    /// Ask how much of it is there.
    Status(Url),
    /// End the session: all is there.
    Commit(Url),
    /// Tell the registry that a session is not needed any more. Nothing is made of the answer.
    Cancel(Url),
    /// The blob is there.
    Done(BlobOutcome),
    /// It cannot be brought there.
    Failed(Failure),
}

/// Why a blob cannot be brought there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// What the last answer or the last failure says.
    Refused,
    /// It went wrong again and again.
    Exhausted,
    /// The registry says that it stored something else.
    Stored(Digest),
    /// The registry's answer cannot be used.
    Unusable(&'static str),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Probe,
    Mount,
    Start,
    Send,
    Status,
    Done(BlobOutcome),
    Failed(Failure),
}

/// How the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Whole,
    Chunks,
}

/// A session at the registry.
#[derive(Clone, Debug)]
struct Session {
    /// The last that the registry said.
    location: Url,
    way: Way,
    /// How much of the blob the registry has.
    acknowledged: u64,
    /// How much of it the registry can have at most.
    sent: u64,
    /// A request with bytes broke off, and the registry may not have read all that reached it.
    may_arrive: bool,
    /// An offset at which it did not want to go on.
    rejected: Option<u64>,
    /// Whether it went on in this session after something went wrong, so that its bytes may be wrong.
    recovered: bool,
}

/// The state of one upload.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    digest: Digest,
    size: u64,
    phase: Phase,
    wait: Duration,
    mount_from: Option<RepositoryName>,
    session: Option<Session>,
    abandoned: Option<Url>,
    sessions: u32,
    /// The blob may have been stored by a request whose answer was lost.
    may_be_stored: bool,
    lost_wholes: u32,
    remakes: u32,
    chunks_refused: bool,
    /// Bytes of the next chunk: fewer than the registry takes, after chunks were lost.
    chunk: u64,
    /// Chunks since the last one that was lost.
    chunks_in_row: u32,
    /// The least that the registry takes as a chunk.
    min_chunk: u64,
    patience: Patience,
    setbacks: u32,
    /// How often the registry has lost a session, by its own account.
    lost_sessions: u32,
    resumed: Resumed,
    capability: Capability,
}

/// What has become of the session of an earlier process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resumed {
    /// There was none, or it is given up.
    No,
    /// The registry has not said yet whether it knows it.
    Asked,
    /// The registry had so much of the blob.
    At(u64),
}

impl Machine {
    /// A blob that may be there already, or in another repository of the same registry.
    pub(super) fn new(
        digest: Digest,
        size: u64,
        mount_from: Option<RepositoryName>,
        capability: Capability,
    ) -> Self {
        Self {
            digest,
            size,
            phase: Phase::Probe,
            wait: Duration::ZERO,
            mount_from: mount_from.filter(|_| capability.mounts),
            session: None,
            abandoned: None,
            sessions: 0,
            may_be_stored: false,
            lost_wholes: 0,
            remakes: 0,
            chunks_refused: false,
            // What goes on in the middle goes on with all of the rest, unless that is known to be too much.
            chunk: if size <= capability.whole {
                u64::MAX
            } else {
                largest_chunk(&capability)
            },
            chunks_in_row: 0,
            min_chunk: 0,
            patience: Patience::new(),
            setbacks: 0,
            lost_sessions: 0,
            resumed: Resumed::No,
            capability,
        }
    }

    /// The same, going on with a session of which an earlier process knew so much.
    pub(super) fn resumed(mut self, location: Url, acknowledged: u64) -> Self {
        self.session = Some(Session {
            location,
            way: Way::Chunks,
            acknowledged: acknowledged.min(self.size),
            sent: self.size,
            may_arrive: false,
            rejected: None,
            recovered: true,
        });
        self.sessions = 1;
        self.may_be_stored = true;
        self.resumed = Resumed::Asked;
        self.phase = Phase::Status;
        self
    }

    /// What is to be done next, and after which wait.
    pub(super) fn next(&mut self) -> (Duration, Step) {
        if let Some(location) = self.abandoned.take() {
            return (Duration::ZERO, Step::Cancel(location));
        }
        (std::mem::take(&mut self.wait), self.step())
    }

    fn step(&mut self) -> Step {
        match (&self.phase, &self.session) {
            (Phase::Probe, _) => Step::Probe,
            (Phase::Done(outcome), _) => Step::Done(*outcome),
            (Phase::Failed(failure), _) => Step::Failed(failure.clone()),
            (Phase::Mount, _) => self.mount_from.clone().map_or(Step::Start, Step::Mount),
            (Phase::Start, _) | (_, None) => Step::Start,
            (Phase::Status, Some(session)) => Step::Status(session.location.clone()),
            (Phase::Send, Some(session)) => {
                let location = session.location.clone();
                let left = self.size.saturating_sub(session.acknowledged);
                match session.way {
                    Way::Whole => Step::Put(location),
                    Way::Chunks if left == 0 => Step::Commit(location),
                    Way::Chunks => Step::Patch {
                        location,
                        offset: session.acknowledged,
                        length: left.min(self.chunk.max(self.min_chunk)),
                    },
                }
            }
        }
    }

    /// The session that is open, and how much the registry has of the blob.
    pub(super) fn session(&self) -> Option<(&Url, u64)> {
        let session = self.session.as_ref()?;
        Some((&session.location, session.acknowledged))
    }

    /// Whether it goes on with the session of an earlier process and has got nowhere: the next one is better off without.
    pub(super) fn is_stuck(&self) -> bool {
        match (self.resumed, &self.session) {
            (Resumed::At(there), Some(session)) => session.acknowledged <= there,
            _ => false,
        }
    }

    /// How often something went wrong.
    pub(super) fn setbacks(&self) -> u32 {
        self.setbacks
    }

    /// How often the registry said that it knows nothing of a session, or failed over what it got in one.
    pub(super) fn lost_sessions(&self) -> u32 {
        self.lost_sessions
    }

    /// What is known of the registry by now.
    pub(super) fn capability(&self) -> Capability {
        self.capability
    }

    /// The answer to [`Step::Probe`]: the size that the registry says, where it has the blob; 0 where it has it and
    /// does not say. A probe that was refused is answered with `None`: the upload will show why.
    pub(super) fn probed(&mut self, size: Option<u64>) {
        let is_there = size.is_some_and(|size| size == self.size || size == 0);
        if is_there {
            self.phase = Phase::Done(if self.may_be_stored {
                BlobOutcome::Copied
            } else {
                BlobOutcome::Present
            });
        } else if self.mount_from.is_some() && self.sessions == 0 {
            self.phase = Phase::Mount;
        } else {
            self.may_be_stored = false;
            self.phase = Phase::Start;
        }
    }

    /// A request was lost: not sent at all (`was_sent` is false), or cut off, or not answered in time.
    pub(super) fn lost(&mut self, was_sent: bool) {
        let step = self.step();
        if was_sent
            && matches!(step, Step::Put(_) | Step::Patch { .. })
            && let Some(session) = &mut self.session
        {
            session.may_arrive = true;
        }
        self.failed(&step, was_sent);
    }

    /// A request led to nothing that can be relied on.
    fn failed(&mut self, step: &Step, was_sent: bool) {
        match *step {
            // Requests without a body were repeated below already. While nothing has begun that is enough.
            Step::Probe | Step::Start if self.sessions == 0 => self.fail(Failure::Refused),
            Step::Mount(_) => {
                self.mount_from = None;
                self.phase = Phase::Start;
            }
            // Where nobody answers for a session of an earlier process it is as good as gone: the registry itself may
            // well be there.
            Step::Status(_) if self.resumed == Resumed::Asked => self.begin_anew(false),
            Step::Put(_) if was_sent => {
                self.lost_wholes += 1;
                self.may_be_stored = true;
                if let Some(session) = &mut self.session {
                    session.way = Way::Chunks;
                    session.sent = self.size;
                }
                self.interrupted(Phase::Status);
            }
            Step::Patch { offset, length, .. } if was_sent => {
                if let Some(session) = &mut self.session {
                    session.sent = session.sent.max(offset.saturating_add(length));
                }
                self.chunk = match length {
                    _ if length > LARGE_CHUNK => LARGE_CHUNK,
                    _ if length > self.capability.chunk => self.capability.chunk,
                    _ => (self.chunk.min(self.capability.chunk) / 2).max(LEAST_CHUNK),
                };
                self.chunks_in_row = 0;
                self.interrupted(Phase::Status);
            }
            Step::Commit(_) if was_sent => {
                self.may_be_stored = true;
                self.interrupted(Phase::Status);
            }
            _ => self.interrupted(self.phase.clone()),
        }
    }

    /// The answer to any request but [`Step::Probe`] and [`Step::Cancel`].
    pub(super) fn answered(&mut self, reply: &Reply) {
        self.min_chunk = self.min_chunk.max(reply.min_chunk);
        let step = self.step();
        if let (Step::Patch { .. } | Step::Status(_) | Step::Put(_) | Step::Commit(_), Some(said)) =
            (&step, &reply.location)
            && let Some(session) = &mut self.session
        {
            match said {
                // What a finished upload says is where the blob is.
                Ok(_) if is_stored(&step, reply.status) => {}
                Ok(location) => session.location = location.clone(),
                Err(reason) => return self.fail(Failure::Unusable(reason)),
            }
        }
        match step {
            Step::Mount(_) => self.after_mount(reply),
            Step::Start => self.after_start(reply),
            Step::Put(_) | Step::Commit(_) if is_stored(&step, reply.status) => {
                self.after_last(reply);
            }
            Step::Patch { offset, length, .. } if reply.status.is_success() => {
                self.after_chunk(offset, length, reply.range);
            }
            Step::Status(_) => self.after_status(reply),
            _ => self.setback(&step, reply),
        }
    }

    fn after_mount(&mut self, reply: &Reply) {
        self.mount_from = None;
        match reply.status {
            StatusCode::CREATED => match self.other_digest(reply) {
                Some(said) => self.fail(Failure::Stored(said)),
                None => self.phase = Phase::Done(BlobOutcome::Mounted),
            },
            StatusCode::ACCEPTED if reply.location.is_some() => self.after_start(reply),
            status => {
                // Not to be allowed to read the other repository, or that it is not there, says nothing of the registry.
                let about_itself = matches!(status.as_u16(), 400 | 405 | 415 | 501);
                self.capability.mounts &= !about_itself;
                self.phase = Phase::Start;
            }
        }
    }

    fn after_start(&mut self, reply: &Reply) {
        let begun = matches!(
            reply.status,
            StatusCode::ACCEPTED | StatusCode::CREATED | StatusCode::OK
        );
        if !begun {
            // What may pass was repeated below already.
            if reply.is_transient && self.sessions > 0 {
                self.interrupted(Phase::Start);
            } else {
                self.fail(Failure::Refused);
            }
            return;
        }
        let location = match &reply.location {
            Some(Ok(location)) => location.clone(),
            Some(Err(reason)) => return self.fail(Failure::Unusable(reason)),
            None => {
                return self.fail(Failure::Unusable(
                    "the answer to an upload does not say where it goes on",
                ));
            }
        };
        self.sessions += 1;
        if self.sessions > MOST_SESSIONS {
            self.abandoned = Some(location);
            return self.fail(Failure::Exhausted);
        }
        let needs_chunks = self.size > self.capability.whole;
        if needs_chunks && self.chunks_refused {
            self.abandoned = Some(location);
            return self.fail(Failure::Refused);
        }
        let wants_chunks = self.lost_wholes >= LOST_WHOLES && !self.chunks_refused;
        if wants_chunks {
            // It was lost as a whole, so it is begun with what is sure to get through.
            self.chunk = self.chunk.min(self.capability.chunk);
        }
        self.session = Some(Session {
            location,
            way: if needs_chunks || wants_chunks {
                Way::Chunks
            } else {
                Way::Whole
            },
            acknowledged: 0,
            sent: 0,
            may_arrive: false,
            rejected: None,
            recovered: false,
        });
        self.phase = Phase::Send;
    }

    /// The registry says that it has stored the blob.
    fn after_last(&mut self, reply: &Reply) {
        if let Some(said) = self.other_digest(reply) {
            self.session = None;
            return self.fail(Failure::Stored(said));
        }
        self.session = None;
        let is_usual = matches!(reply.status, StatusCode::CREATED | StatusCode::NO_CONTENT);
        if reply.digest.is_none() && !is_usual {
            // Something before the registry may say "OK" to anything; the registry itself would have said 201.
            self.may_be_stored = true;
            self.interrupted(Phase::Probe);
        } else {
            self.phase = Phase::Done(BlobOutcome::Copied);
        }
    }

    fn other_digest(&self, reply: &Reply) -> Option<Digest> {
        let said = reply.digest.as_ref()?;
        let comparable = said.algorithm() == self.digest.algorithm();
        (comparable && *said != self.digest).then(|| said.clone())
    }

    /// The registry took a chunk, and may say how much it has.
    fn after_chunk(&mut self, offset: u64, length: u64, range: Option<(u64, u64)>) {
        let Some(session) = &mut self.session else {
            return;
        };
        let end = offset.saturating_add(length);
        session.sent = session.sent.max(end);
        session.rejected = None;
        // Success means all of it, whatever the range says: the end of this chunk alone, one too much, or what was true
        // before. The one other thing that makes sense is that a part of it was taken.
        let part = range
            .filter(|said| *said != (0, 0))
            .and_then(|(_, last)| last.checked_add(1))
            .filter(|there| offset < *there && *there < end)
            .filter(|there| *there != length);
        if let Some(there) = part {
            session.acknowledged = there;
            session.recovered = true;
            return self.interrupted(Phase::Send);
        }
        session.acknowledged = end;
        self.chunks_in_row += 1;
        if self.chunks_in_row >= CHUNKS_BEFORE_LARGER {
            self.chunks_in_row = 0;
            let largest = largest_chunk(&self.capability);
            self.chunk = self.chunk.saturating_mul(2).min(largest.max(self.chunk));
        }
        self.phase = Phase::Send;
    }

    fn after_status(&mut self, reply: &Reply) {
        if reply.status.is_success() {
            // "0-0" is said by most when they have nothing, and is true when they have one byte. Either way there is
            // nothing to go on with, and a new session leaves no doubt.
            let said = reply.range.filter(|said| *said != (0, 0));
            match said.and_then(|said| self.position(said)) {
                Some(there) if there > 0 => return self.go_on_at(there),
                _ => {}
            }
            if let Some(session) = &mut self.session
                && std::mem::take(&mut session.may_arrive)
            {
                self.wait = TIME_TO_ARRIVE;
                return;
            }
        } else if reply.is_transient {
            return self.interrupted(Phase::Status);
        }
        self.begin_anew(reply.status != StatusCode::NOT_FOUND && !reply.is_about_session);
    }

    /// How much the registry has, by the range that it says.
    fn position(&self, said: (u64, u64)) -> Option<u64> {
        let session = self.session.as_ref()?;
        // "0-0" is what most say when they have nothing, and can be the first byte only where byte 0 was not wanted.
        let has_nothing = said == (0, 0) && session.rejected != Some(0);
        let counted = if has_nothing {
            Some(0)
        } else {
            said.1.checked_add(1)
        };
        // Some say the number of bytes in the place of the last one.
        [counted, Some(said.1)]
            .into_iter()
            .flatten()
            .find(|there| *there <= session.sent && session.rejected != Some(*there))
    }

    /// The registry wants to go on from there.
    fn go_on_at(&mut self, there: u64) {
        let refused = self.chunks_refused;
        let Some(session) = &mut self.session else {
            return;
        };
        if self.resumed == Resumed::Asked {
            self.resumed = Resumed::At(there);
        }
        session.acknowledged = there;
        session.may_arrive = false;
        session.recovered = true;
        session.way = Way::Chunks;
        if refused {
            return self.begin_anew(true);
        }
        self.phase = Phase::Send;
    }

    /// Anything but success.
    fn setback(&mut self, step: &Step, reply: &Reply) {
        let recovered = self
            .session
            .as_ref()
            .is_some_and(|session| session.recovered);
        let is_patch = matches!(step, Step::Patch { .. });
        let is_gone = reply.is_about_session
            || matches!(reply.status, StatusCode::NOT_FOUND | StatusCode::GONE);
        let has_failed = reply.status.is_server_error() && !matches!(step, Step::Start);
        self.lost_sessions += u32::from(is_gone || has_failed);
        match reply.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => self.fail(Failure::Refused),
            StatusCode::PAYLOAD_TOO_LARGE => self.too_large(step),
            StatusCode::RANGE_NOT_SATISFIABLE => self.mismatch(step, reply),
            _ if reply.is_about_session => self.anew_after_setback(false),
            StatusCode::NOT_FOUND | StatusCode::GONE => self.anew_after_setback(false),
            _ if reply.is_transient => self.failed(step, true),
            // It has got other bytes than it was sent, as can be where something went wrong or chunks were lost unseen.
            _ if self.remakes < MOST_REMAKES
                && (matches!(step, Step::Commit(_)) || (recovered && !is_patch)) =>
            {
                self.remakes += 1;
                self.anew_after_setback(true);
            }
            _ if is_patch && self.size <= self.capability.whole && !self.chunks_refused => {
                self.chunks_refused = true;
                self.anew_after_setback(true);
            }
            _ => self.fail(Failure::Refused),
        }
    }

    /// The registry, or a proxy before it, does not take so much at once.
    fn too_large(&mut self, step: &Step) {
        let refused = match step {
            Step::Put(_) => self.size,
            Step::Patch { length, .. } => *length,
            _ => return self.fail(Failure::Refused),
        };
        // The usual size is tried before smaller ones.
        let most = if refused > self.capability.chunk {
            self.capability.chunk
        } else {
            (refused / 2).max(LEAST_CHUNK)
        };
        let too_small = matches!(step, Step::Patch { .. }) && most < self.min_chunk;
        if refused <= LEAST_CHUNK || too_small || self.chunks_refused {
            return self.fail(Failure::Refused);
        }
        self.capability.chunk = most;
        self.capability.whole = self.capability.whole.min(most);
        self.chunk = most;
        if let Some(session) = &mut self.session {
            session.way = Way::Chunks;
            // A proxy has let nothing through; a registry may have kept a part and will then say so.
            session.sent = session
                .sent
                .max(session.acknowledged.saturating_add(refused));
        }
        self.phase = Phase::Send;
    }

    /// The registry has not as much as was thought (416).
    fn mismatch(&mut self, step: &Step, reply: &Reply) {
        let size = self.size;
        let Some(session) = &mut self.session else {
            return self.fail(Failure::Refused);
        };
        let (offset, end) = match step {
            Step::Patch { offset, length, .. } => (*offset, offset.saturating_add(*length)),
            Step::Put(_) => (0, size),
            _ => (session.acknowledged, session.acknowledged),
        };
        session.rejected = Some(offset);
        session.sent = session.sent.max(end);
        if reply.is_about_session && reply.range.is_none() {
            return self.anew_after_setback(false);
        }
        match reply.range.and_then(|said| self.position(said)) {
            Some(there) => {
                self.interrupted(Phase::Send);
                if self.phase == Phase::Send {
                    self.go_on_at(there);
                }
            }
            None => self.interrupted(Phase::Status),
        }
    }

    /// Goes on with a new session after an answer that made the present one useless.
    fn anew_after_setback(&mut self, may_live: bool) {
        self.interrupted(Phase::Start);
        if self.phase == Phase::Start {
            self.begin_anew(may_live);
        }
    }

    /// Gives the session up. `may_live`: the registry may still know it.
    fn begin_anew(&mut self, may_live: bool) {
        let session = self.session.take();
        self.resumed = Resumed::No;
        self.abandoned = session.filter(|_| may_live).map(|session| session.location);
        self.phase = if self.may_be_stored {
            Phase::Probe
        } else {
            Phase::Start
        };
    }

    /// Something went wrong that may go better: next is `then`, after a wait, unless it was enough.
    fn interrupted(&mut self, then: Phase) {
        let position = self
            .session
            .as_ref()
            .map_or(0, |session| session.acknowledged);
        self.setbacks += 1;
        match self.patience.interrupted(position) {
            Some(wait) => {
                self.wait = wait;
                self.phase = then;
            }
            None => self.fail(Failure::Exhausted),
        }
    }

    fn fail(&mut self, failure: Failure) {
        self.phase = Phase::Failed(failure);
    }
}

/// How many bytes a chunk has at most, where chunks are sent at all.
fn largest_chunk(capability: &Capability) -> u64 {
    if capability.whole > capability.chunk {
        capability.whole.min(LARGE_CHUNK)
    } else {
        capability.chunk
    }
}

/// Whether an answer with this status means that the blob is stored.
fn is_stored(step: &Step, status: StatusCode) -> bool {
    matches!(step, Step::Put(_) | Step::Commit(_)) && status.is_success()
}
