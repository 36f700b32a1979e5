//! The state machine against a model of registries that misbehave: it always ends, and says that a blob is there only
//! where it is.

use http::StatusCode;
use peak_oci::{BlobOutcome, Digest};
use proptest::prelude::*;
use url::Url;

use super::machine::{Failure, Machine, Step};
use super::reply::Reply;
use crate::capabilities::Capability;

/// Something that goes wrong with one request.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// It does not reach the registry.
    NotSent,
    /// It breaks off after so many thousandths of its body; the registry keeps what it got.
    CutOff(u64),
    /// The registry does what it should, and its answer is lost.
    AnswerLost,
    /// A status, without anything having been done.
    Status(u16),
    /// The session is gone.
    SessionLost,
    /// The registry forgets a part of what it has acknowledged.
    Forgets,
    /// It takes a part of what is sent, and says so with a status of success.
    TakesHalf,
}

/// How a registry says what it has.
#[derive(Clone, Copy, Debug)]
enum Says {
    LastByte,
    NumberOfBytes,
    LastChunk,
    Nothing,
    ZeroZero,
    WhatWasBefore,
}

/// What a registry is like, as long as nothing goes wrong.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a way of its own")]
struct Manner {
    after_chunk: Says,
    in_status: Says,
    has_status: bool,
    takes_chunks: bool,
    /// Whether a chunk that does not begin where the last one ended is refused; some append it.
    checks_offsets: bool,
    says_where_after_416: bool,
    forgets_sessions_when_lost: bool,
    /// Whether what came of a request that broke off is there only after the next request.
    reads_late: bool,
    mounts: u16,
    most: u64,
    min_chunk: u64,
}

/// A registry with one blob that is sent to it. Bytes are told apart by where they belong.
struct Model {
    manner: Manner,
    size: u64,
    stored: bool,
    session: Option<Vec<(u64, u64)>>,
    sessions: u32,
    before: u64,
    /// What came and has not been read: of which session, from which byte on, and how many.
    unread: Option<(u32, u64, u64)>,
}

enum Told {
    Lost { sent: bool },
    Answer(Reply),
}

fn reply(status: u16) -> Reply {
    Reply {
        status: StatusCode::from_u16(status).unwrap(),
        location: None,
        range: None,
        min_chunk: 0,
        digest: None,
        is_transient: matches!(status, 408 | 429 | 500 | 502 | 503 | 504),
        is_about_session: false,
    }
}

impl Model {
    /// How much it has, whether right or wrong.
    fn length(&self) -> u64 {
        self.session
            .iter()
            .flatten()
            .map(|(_, length)| length)
            .sum()
    }

    fn is_right(&self) -> bool {
        let mut position = 0;
        for (offset, length) in self.session.iter().flatten() {
            if *offset != position {
                return false;
            }
            position += length;
        }
        position == self.size
    }

    fn said(&self, how: Says, length: u64) -> Option<(u64, u64)> {
        let has = self.length();
        match how {
            Says::LastByte => Some((0, has.saturating_sub(1))),
            Says::NumberOfBytes => Some((0, has)),
            Says::LastChunk => Some((0, length.saturating_sub(1))),
            Says::Nothing => None,
            Says::ZeroZero => Some((0, 0)),
            Says::WhatWasBefore => Some((0, self.before.saturating_sub(1))),
        }
    }

    fn location(&self) -> Url {
        let text = format!("https://r.example/u/{}", self.sessions);
        Url::parse(&text).unwrap()
    }

    fn begin(&mut self) -> Reply {
        self.sessions += 1;
        self.session = Some(Vec::new());
        Reply {
            location: Some(Ok(self.location())),
            range: Some((0, 0)),
            min_chunk: self.manner.min_chunk,
            ..reply(202)
        }
    }

    fn commit(&mut self) -> Reply {
        let right = self.is_right();
        self.session = None;
        if right {
            self.stored = true;
            reply(201)
        } else {
            reply(400)
        }
    }

    /// Takes in bytes, or a part of them.
    fn append(&mut self, offset: u64, length: u64) {
        self.before = self.length();
        if let Some(session) = &mut self.session {
            session.push((offset, length));
        }
    }

    /// Takes in what came of a request that broke off.
    fn read(&mut self, offset: u64, length: u64) {
        if length > 0 && (!self.manner.checks_offsets || offset == self.length()) {
            self.append(offset, length);
        }
    }

    fn answer(&mut self, step: &Step, fault: Option<Fault>) -> Told {
        let unread = self.unread.take();
        let told = self.told(step, fault);
        if let Some((session, offset, length)) = unread
            && session == self.sessions
        {
            self.read(offset, length);
        }
        told
    }

    fn told(&mut self, step: &Step, fault: Option<Fault>) -> Told {
        let has_body = matches!(step, Step::Put(_) | Step::Patch { .. });
        match fault {
            None | Some(Fault::TakesHalf) => {}
            Some(Fault::NotSent) => return Told::Lost { sent: false },
            Some(Fault::CutOff(share)) if has_body => {
                let (offset, length) = match step {
                    Step::Patch { offset, length, .. } => (*offset, *length),
                    _ => (0, self.size),
                };
                let got = length * share.min(999) / 1000;
                if self.manner.reads_late {
                    self.unread = Some((self.sessions, offset, got));
                } else {
                    self.read(offset, got);
                }
                if self.manner.forgets_sessions_when_lost {
                    self.session = None;
                }
                return Told::Lost { sent: true };
            }
            Some(Fault::CutOff(_) | Fault::AnswerLost) => {
                self.honest(step, false);
                return Told::Lost { sent: true };
            }
            Some(Fault::Status(status)) => return Told::Answer(reply(status)),
            Some(Fault::SessionLost) => self.session = None,
            Some(Fault::Forgets) => {
                if let Some(session) = &mut self.session {
                    session.pop();
                }
            }
        }
        Told::Answer(self.honest(step, matches!(fault, Some(Fault::TakesHalf))))
    }

    fn honest(&mut self, step: &Step, takes_half: bool) -> Reply {
        match step {
            Step::Probe => unreachable!("asked by `probed`"),
            Step::Mount(_) if self.manner.mounts == 201 => {
                self.stored = true;
                reply(201)
            }
            Step::Mount(_) if self.manner.mounts == 202 => self.begin(),
            Step::Mount(_) => reply(self.manner.mounts),
            Step::Start => self.begin(),
            _ if self.session.is_none() => reply(404),
            Step::Put(_) => {
                if self.size > self.manner.most {
                    return reply(413);
                }
                self.append(0, self.size);
                self.commit()
            }
            Step::Patch { offset, length, .. } => self.chunk(*offset, *length, takes_half),
            Step::Status(_) if self.manner.has_status => Reply {
                range: self.said(self.manner.in_status, 0),
                location: Some(Ok(self.location())),
                ..reply(204)
            },
            Step::Status(_) => reply(405),
            Step::Commit(_) => self.commit(),
            Step::Cancel(_) | Step::Done(_) | Step::Failed(_) => unreachable!(),
        }
    }

    fn chunk(&mut self, offset: u64, length: u64, takes_half: bool) -> Reply {
        if !self.manner.takes_chunks {
            return reply(405);
        }
        if length > self.manner.most {
            return reply(413);
        }
        if length < self.manner.min_chunk && offset + length < self.size {
            return reply(400);
        }
        if self.manner.checks_offsets && offset != self.length() {
            let range = self.said(Says::LastByte, 0);
            return Reply {
                range: range.filter(|_| self.manner.says_where_after_416),
                ..reply(416)
            };
        }
        let half = takes_half && length > 1;
        self.append(offset, if half { length / 2 } else { length });
        let says = if half {
            Says::LastByte
        } else {
            self.manner.after_chunk
        };
        Reply {
            range: self.said(says, length),
            location: Some(Ok(self.location())),
            ..reply(202)
        }
    }
}

/// What became of an upload.
struct Course {
    end: Step,
    steps: usize,
    stored: bool,
}

fn run(manner: Manner, size: u64, faults: &[Option<Fault>], then: Option<Fault>) -> Course {
    let digest = Digest::sha256_of(b"");
    let mut model = Model {
        manner,
        size,
        stored: false,
        session: None,
        sessions: 0,
        before: 0,
        unread: None,
    };
    let mut machine = Machine::new(
        digest,
        size,
        Some("other/place".parse().unwrap()),
        Capability::default(),
    );
    let mut faults = faults.iter().copied();
    for steps in 0.. {
        // More than any upload of these sizes needs: each piece is at least 64 KiB, and patience has an end.
        assert!(steps < 5000, "it goes on for ever");
        let (_, step) = machine.next();
        match step {
            Step::Done(_) | Step::Failed(_) => {
                return Course {
                    end: step,
                    steps,
                    stored: model.stored,
                };
            }
            Step::Cancel(_) => continue,
            Step::Probe => {
                match faults.next().unwrap_or(then) {
                    Some(Fault::NotSent) => machine.lost(false),
                    Some(Fault::CutOff(_) | Fault::AnswerLost) => machine.lost(true),
                    Some(Fault::Status(_)) => machine.probed(None),
                    _ => machine.probed(model.stored.then_some(size)),
                }
                continue;
            }
            _ => {}
        }
        match model.answer(&step, faults.next().unwrap_or(then)) {
            Told::Lost { sent } => machine.lost(sent),
            Told::Answer(reply) => machine.answered(&reply),
        }
    }
    unreachable!()
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        Just(Fault::NotSent),
        (0_u64..1000).prop_map(Fault::CutOff),
        Just(Fault::AnswerLost),
        prop::sample::select(vec![408, 416, 429, 500, 502, 503]).prop_map(Fault::Status),
        Just(Fault::SessionLost),
        Just(Fault::Forgets),
        Just(Fault::TakesHalf),
    ]
}

fn any_fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        4 => fault(),
        1 => (400_u16..=599).prop_map(Fault::Status),
        1 => (200_u16..=299).prop_map(Fault::Status),
    ]
}

fn says() -> impl Strategy<Value = Says> {
    prop::sample::select(vec![
        Says::LastByte,
        Says::NumberOfBytes,
        Says::LastChunk,
        Says::Nothing,
        Says::ZeroZero,
        Says::WhatWasBefore,
    ])
}

fn size() -> impl Strategy<Value = u64> {
    prop_oneof![0_u64..3, 0_u64..200_000, 0_u64..40_000_000]
}

prop_compose! {
    /// A registry that is odd in its ways and can nevertheless be used.
    fn manner()(
        after_chunk in says(),
        in_status in prop::sample::select(vec![Says::LastByte, Says::NumberOfBytes, Says::Nothing]),
        has_status: bool,
        checks_offsets: bool,
        says_where_after_416: bool,
        forgets_sessions_when_lost: bool,
        reads_late: bool,
        mounts in prop::sample::select(vec![201, 202, 400, 401, 404, 500]),
        (takes_chunks, most, min_chunk) in prop_oneof![
            Just((true, u64::MAX, 0)),
            Just((false, u64::MAX, 0)),
            (70_000_u64..10_000_000).prop_map(|most| (true, most, 0)),
            (5_000_000_u64..30_000_000).prop_map(|least| (true, u64::MAX, least)),
        ],
    ) -> Manner {
        Manner {
            after_chunk, in_status, has_status, takes_chunks, checks_offsets, says_where_after_416,
            forgets_sessions_when_lost, reads_late, mounts, most, min_chunk,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn a_registry_with_odd_ways_gets_the_blob_when_nothing_goes_wrong(
        manner in manner(), size in size(),
    ) {
        let course = run(manner.clone(), size, &[], None);
        let outcome = if manner.mounts == 201 { BlobOutcome::Mounted } else { BlobOutcome::Copied };
        prop_assert_eq!(course.end, Step::Done(outcome));
        prop_assert!(course.stored);
    }

    #[test]
    fn a_few_faults_are_overcome(
        manner in manner(), size in size(), before in 0..40_usize, faults in prop::collection::vec(fault(), 1..=2),
    ) {
        // A blob whose beginning no request reaches is given up at once, so the faults come later.
        let schedule: Vec<_> = std::iter::repeat_n(None, before + 3)
            .chain(faults.into_iter().map(Some))
            .collect();
        let course = run(manner, size, &schedule, None);
        prop_assert!(matches!(course.end, Step::Done(_)), "{:?} after {} steps", course.end, course.steps);
        prop_assert!(course.stored);
    }

    #[test]
    fn whatever_happens_it_ends_and_what_is_said_to_be_there_is_there(
        manner in manner(),
        size in size(),
        faults in prop::collection::vec(prop::option::weighted(0.5, any_fault()), 0..200),
        then in prop::option::of(any_fault()),
    ) {
        let course = run(manner, size, &faults, then);
        let lies = faults.iter().chain([&then]).any(|fault| {
            matches!(fault, Some(Fault::Status(200..=299)))
        });
        let done = matches!(course.end, Step::Done(_));
        prop_assert!(!done || course.stored || lies, "{:?}", course.end);
    }
}

#[test]
fn a_registry_that_has_read_nothing_yet_is_asked_once_more_and_no_more() {
    let location = Url::parse("https://r.example/u/1").unwrap();
    let begun = || Reply {
        location: Some(Ok(location.clone())),
        ..reply(202)
    };
    let nothing = || Reply {
        range: Some((0, 0)),
        ..reply(204)
    };
    let mut machine = Machine::new(
        Digest::sha256_of(b""),
        1_000_000,
        None,
        Capability::default(),
    );
    machine.probed(None);
    machine.answered(&begun());
    machine.lost(true);
    let status = Step::Status(location.clone());
    assert_eq!(machine.next().1, status);
    machine.answered(&nothing());
    let setbacks = machine.setbacks();
    let (wait, step) = machine.next();
    assert_eq!((step, wait.is_zero()), (status.clone(), false));
    assert_eq!(machine.setbacks(), setbacks);
    machine.answered(&nothing());
    assert_eq!(machine.next().1, Step::Cancel(location.clone()));

    // An answer, whatever it says, is no request that broke off.
    let mut machine = Machine::new(
        Digest::sha256_of(b""),
        1_000_000,
        None,
        Capability::default(),
    );
    machine.probed(None);
    machine.answered(&begun());
    machine.answered(&reply(503));
    assert_eq!(machine.next().1, status);
    machine.answered(&nothing());
    assert_eq!(machine.next().1, Step::Cancel(location));
}

#[test]
fn what_cannot_be_is_given_up() {
    let manner = Manner {
        after_chunk: Says::LastByte,
        in_status: Says::LastByte,
        has_status: true,
        takes_chunks: true,
        checks_offsets: true,
        says_where_after_416: true,
        forgets_sessions_when_lost: false,
        reads_late: false,
        mounts: 202,
        most: 1000,
        min_chunk: 0,
    };
    let course = run(manner.clone(), 1_000_000, &[], None);
    assert_eq!(course.end, Step::Failed(Failure::Refused));
    // Every chunk is lost, whatever its size.
    let most = u64::MAX;
    let lost = Some(Fault::CutOff(0));
    let begin = [None; 2];
    let course = run(Manner { most, ..manner }, 1_000_000, &begin, lost);
    assert_eq!(course.end, Step::Failed(Failure::Exhausted));
    assert!(course.steps < 40, "{}", course.steps);
}
