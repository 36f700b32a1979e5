//! Parts of a blob that come at the same time and are given on in order.

use std::collections::VecDeque;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use peak_oci::Descriptor;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::part::{Broken, Frames, Part, Version};
use super::ranges::{self, ParallelRanges};
use crate::{RegistryError, Repository};

/// How much is asked for in one piece first while there is nothing beside it, and at most; each stretch is twice as long
/// as the one before. Enough that requests cost nothing, little enough that what comes beside it is soon of use.
const FIRST_STRETCH: u64 = 32 * 1024 * 1024;
const LONGEST_STRETCH: u64 = 256 * 1024 * 1024;

/// A blob whose parts come side by side.
///
/// The front part is given on as it comes; those behind it are loaded into memory meanwhile. They are no tasks: they
/// come while somebody waits for the front.
///
/// A registry whose answer to a range is something else, after it has sent ranges, is asked for everything behind what was
/// given on in one piece. What came from behind that is let go of.
pub(super) struct SideBySide {
    repository: Repository,
    descriptor: Descriptor,
    ranges: ParallelRanges,
    lanes: Arc<Semaphore>,
    front: Frames,
    behind: VecDeque<Behind>,
    /// Where what nobody has asked for yet begins.
    next: u64,
    /// How long the next stretch is.
    stretch: u64,
    begun: Instant,
    /// The offset of the next byte to be given on.
    position: u64,
    /// Bytes given on so far.
    given: u64,
    /// What the registry calls the bytes that the first part was of.
    version: Option<Version>,
    /// The registry is not asked for ranges any more.
    is_in_one_piece: bool,
    is_over: bool,
    lane: Option<OwnedSemaphorePermit>,
}

/// A part that is loaded before its turn.
struct Behind {
    frames: Option<Frames>,
    loaded: VecDeque<Result<Bytes, Broken>>,
    lane: Option<OwnedSemaphorePermit>,
}

/// How much is asked for first: not more than is of use before it is known whether the registry knows ranges.
pub(super) fn first(descriptor: &Descriptor, offset: u64) -> Range<u64> {
    offset..offset.saturating_add(FIRST_STRETCH).min(descriptor.size)
}

impl SideBySide {
    /// Goes on behind `front`, a part that the registry sent as asked for.
    pub(super) fn new(
        repository: Repository,
        descriptor: Descriptor,
        front: Part,
        ranges: ParallelRanges,
        lanes: Arc<Semaphore>,
        lane: Option<OwnedSemaphorePermit>,
    ) -> Self {
        Self {
            repository,
            descriptor,
            ranges,
            lanes,
            next: front.end(),
            stretch: FIRST_STRETCH * 2,
            begun: Instant::now(),
            position: front.start(),
            given: 0,
            version: front.version().cloned(),
            is_in_one_piece: false,
            front: front.frames(),
            behind: VecDeque::new(),
            is_over: false,
            lane,
        }
    }

    fn later(&self, range: Range<u64>) -> Frames {
        let version = self.version.clone();
        Part::later(
            self.repository.clone(),
            self.descriptor.clone(),
            range,
            version,
        )
    }

    /// Lets go of everything that was asked for, and asks for what is behind the last byte given on.
    fn go_on_in_one_piece(&mut self) {
        self.is_in_one_piece = true;
        self.behind.clear();
        self.next = self.descriptor.size;
        self.front = Part::rest(
            self.repository.clone(),
            self.descriptor.clone(),
            self.position,
        );
    }

    /// Whether more could be asked for beside the front, and would be of use.
    fn has_room(&self) -> bool {
        !self.is_in_one_piece
            && self.behind.len() + 1 < self.ranges.at_once
            && self.next < self.descriptor.size
            && self.ranges.are_for_speed(self.given, self.begun.elapsed())
    }

    /// Asks for more, as far as lanes are free, and loads what has come.
    fn load(&mut self, context: &mut Context<'_>) {
        // A part that has failed ends the whole, or all that comes side by side: nothing more is asked for behind it.
        while self.has_room() && !self.behind.iter().any(Behind::has_failed) {
            let Some(lane) = ranges::take(&self.lanes) else {
                break;
            };
            let end = self
                .next
                .saturating_add(self.ranges.length)
                .min(self.descriptor.size);
            self.behind.push_back(Behind {
                frames: Some(self.later(self.next..end)),
                loaded: VecDeque::new(),
                lane: Some(lane),
            });
            self.next = end;
        }
        for part in &mut self.behind {
            part.load(context);
            if part.has_failed() {
                // What is behind it would come in vain.
                break;
            }
        }
    }

    /// Moves on to the next part. Whether there is one.
    fn advance(&mut self) -> bool {
        if let Some(part) = self.behind.pop_front() {
            // The front has a lane of its own where there was one for it; another is free again.
            self.lane = self.lane.take().or(part.lane);
            self.front = match part.frames {
                None => Box::pin(stream::iter(part.loaded)),
                Some(rest) => Box::pin(stream::iter(part.loaded).chain(rest)),
            };
            true
        } else if self.next < self.descriptor.size {
            let end = self.next.saturating_add(self.stretch);
            let range = self.next..end.min(self.descriptor.size);
            self.next = range.end;
            self.stretch = (self.stretch * 2).min(LONGEST_STRETCH);
            self.front = self.later(range);
            true
        } else {
            false
        }
    }
}

impl Stream for SideBySide {
    type Item = Result<Bytes, RegistryError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.is_over {
            return Poll::Ready(None);
        }
        loop {
            this.load(context);
            match this.front.as_mut().poll_next(context) {
                Poll::Ready(None) if this.advance() => {}
                Poll::Ready(Some(Ok(frame))) => {
                    let count = frame.len() as u64;
                    this.given = this.given.saturating_add(count);
                    this.position = this.position.saturating_add(count);
                    return Poll::Ready(Some(Ok(frame)));
                }
                Poll::Ready(Some(Err(Broken::NoRanges(error)))) if !this.is_in_one_piece => {
                    tracing::debug!(
                        digest = %this.descriptor.digest, position = this.position, %error,
                        "a blob goes on in one piece"
                    );
                    this.go_on_in_one_piece();
                }
                Poll::Ready(end) => {
                    this.is_over = true;
                    this.behind.clear();
                    return Poll::Ready(end.map(|frame| frame.map_err(Broken::into_error)));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl Behind {
    fn has_failed(&self) -> bool {
        self.loaded.back().is_some_and(Result::is_err)
    }

    /// Takes in what has come. Its range bounds how much that can be.
    fn load(&mut self, context: &mut Context<'_>) {
        while let Some(frames) = &mut self.frames {
            match frames.as_mut().poll_next(context) {
                Poll::Ready(Some(frame)) => {
                    let failed = frame.is_err();
                    self.loaded.push_back(frame);
                    if failed {
                        self.end();
                    }
                }
                Poll::Ready(None) => self.end(),
                Poll::Pending => break,
            }
        }
    }

    fn end(&mut self) {
        self.frames = None;
        self.lane = None;
    }
}
