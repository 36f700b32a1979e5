//! Going on with a transfer where it was cut off: how often, after which wait, and with which part.
//!
//! A client never does so by itself, since only its user knows whether the rest belongs to the same thing. The loop is
//! always this one:
//!
//! ```
//! use peak_http::resume::{ContentRange, Patience};
//!
//! # async fn ask_from(position: u64) -> Result<(u64, Option<u64>), &'static str> { Ok((position, Some(10))) }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), &'static str> {
//! # let mut position = 3;
//! let mut patience = Patience::new();
//! // … each time the body ends early:
//! let wait = patience.interrupted(position).ok_or("given up")?;
//! tokio::time::sleep(wait).await;
//! let (start, total) = ask_from(position).await?;
//! # assert_eq!((start, total), (3, Some(10)));
//! # Ok(())
//! # }
//! ```

use std::time::Duration;

use http::HeaderMap;
use http::header::CONTENT_RANGE;

/// How much patience is left with interruptions of one transfer.
///
/// Five in a row without progress are enough, and a thousand altogether: a server that drips a little each time does
/// not keep us for ever. Progress is 64 KiB beyond the furthest point so far; to get the same beginning again and again
/// is none.
#[derive(Debug, Clone, Default)]
pub struct Patience {
    since_progress: u32,
    altogether: u32,
    /// How far the transfer had come when it last made progress.
    reached: u64,
}

impl Patience {
    /// Interruptions without progress before a transfer is given up.
    pub const WITHOUT_PROGRESS: u32 = 5;
    /// Interruptions of one transfer at all.
    pub const ALTOGETHER: u32 = 1000;
    /// What counts as progress, in bytes.
    pub const PROGRESS: u64 = 64 * 1024;

    /// Longest wait before the second try without progress; doubled with each further one.
    const FIRST_WAIT: Duration = Duration::from_millis(100);
    const LONGEST_WAIT: Duration = Duration::from_secs(5);

    /// All of it.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long to wait before asking for the rest, when the transfer was cut off with so many bytes there; `None` when
    /// it is enough.
    ///
    /// The first time after progress at once; then longer and longer, up to five seconds, each wait drawn from the
    /// whole range below its limit, so that the clients of one server do not come back together.
    pub fn interrupted(&mut self, position: u64) -> Option<Duration> {
        if position >= self.reached.saturating_add(Self::PROGRESS) {
            self.reached = position;
            self.since_progress = 0;
        }
        if self.since_progress >= Self::WITHOUT_PROGRESS || self.altogether >= Self::ALTOGETHER {
            return None;
        }
        let limit = match self.since_progress {
            0 => Duration::ZERO,
            before => Self::FIRST_WAIT
                .saturating_mul(1 << (before - 1))
                .min(Self::LONGEST_WAIT),
        };
        self.since_progress += 1;
        self.altogether += 1;
        Some(limit.mul_f64(rand::random::<f64>()))
    }
}

/// Which part of something a partial answer (206) gives: `Content-Range: bytes START-END/TOTAL` (RFC 9110, section
/// 14.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentRange {
    start: u64,
    end: u64,
    total: Option<u64>,
}

impl ContentRange {
    /// That of an answer; `None` if it has none, or one that makes no sense.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        Self::parse(headers.get(CONTENT_RANGE)?.to_str().ok()?)
    }

    /// Reads the header's value; `None` if it is not of that form, or its numbers are not in order.
    pub fn parse(text: &str) -> Option<Self> {
        let (unit, rest) = text.trim().split_once(' ')?;
        let (range, total) = rest.trim().split_once('/')?;
        let (start, end) = range.split_once('-')?;
        let total = match total {
            "*" => None,
            digits => Some(number(digits)?),
        };
        let range = Self {
            start: number(start)?,
            end: number(end)?,
            total,
        };
        let is_sound = unit.eq_ignore_ascii_case("bytes")
            && range.start <= range.end
            && range.total.unwrap_or(u64::MAX) > range.end;
        is_sound.then_some(range)
    }

    /// The offset of its first byte.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// The offset of its last byte, which is part of it.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// How many bytes the whole has, if the server knows.
    pub fn total(&self) -> Option<u64> {
        self.total
    }

    /// Whether it is all of something with `total` bytes from `start` on.
    pub fn is_rest_of(&self, total: u64, start: u64) -> bool {
        self.start == start && self.total == Some(total) && self.end.checked_add(1) == Some(total)
    }
}

/// Digits only: `parse` would also take a sign.
fn number(text: &str) -> Option<u64> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_are_read_strictly() {
        for (text, start, end, total) in [
            ("bytes 5-9/10", 5, 9, Some(10)),
            (" Bytes  0-0/* ", 0, 0, None),
            ("bytes 0-9/18446744073709551615", 0, 9, Some(u64::MAX)),
        ] {
            let range = ContentRange::parse(text).unwrap();
            assert_eq!(
                (range.start(), range.end(), range.total()),
                (start, end, total),
                "{text}"
            );
        }
        for text in [
            "",
            "bytes",
            "bytes */10",
            "bytes 9-5/10",
            "bytes 5-10/10",
            "items 5-9/10",
            "5-9/10",
            "bytes 5-/10",
            "bytes -5-9/10",
            "bytes +5-9/10",
            "bytes 5-9/x",
            "bytes 5-9/",
            "bytes 5-9/99999999999999999999",
        ] {
            assert_eq!(ContentRange::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_rest_is_exactly_the_rest() {
        let range = |text| ContentRange::parse(text).unwrap();
        assert!(range("bytes 5-9/10").is_rest_of(10, 5));
        for other in [
            "bytes 4-9/10",
            "bytes 5-8/10",
            "bytes 5-9/11",
            "bytes 5-9/*",
        ] {
            assert!(!range(other).is_rest_of(10, 5), "{other}");
        }
    }

    #[test]
    fn patience_ends_without_progress_and_is_refilled_by_it() {
        let mut patience = Patience::new();
        assert_eq!(patience.interrupted(0), Some(Duration::ZERO));
        for _ in 1..Patience::WITHOUT_PROGRESS {
            assert!(patience.interrupted(Patience::PROGRESS - 1).is_some());
        }
        assert_eq!(patience.interrupted(Patience::PROGRESS - 1), None);
        assert_eq!(
            patience.interrupted(Patience::PROGRESS),
            Some(Duration::ZERO)
        );
        // The same again is no progress.
        for _ in 1..Patience::WITHOUT_PROGRESS {
            let wait = patience.interrupted(Patience::PROGRESS).unwrap();
            assert!(wait <= Patience::LONGEST_WAIT);
        }
        assert_eq!(patience.interrupted(Patience::PROGRESS), None);
    }

    #[test]
    fn a_dripping_server_is_left_in_the_end() {
        let mut patience = Patience::new();
        let mut spent = 0;
        while patience
            .interrupted(Patience::PROGRESS * (1 + u64::from(spent)))
            .is_some()
        {
            spent += 1;
        }
        assert_eq!(spent, Patience::ALTOGETHER);
    }

    proptest! {
        #[test]
        fn any_range_text_is_read_without_a_panic(text in "(bytes )?[0-9*/ -]{0,30}") {
            if let Some(range) = ContentRange::parse(&text) {
                prop_assert!(range.start() <= range.end());
                prop_assert!(range.total().is_none_or(|total| range.end() < total));
            }
        }
    }
}
