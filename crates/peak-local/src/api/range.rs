//! Which part of a file a request wants (RFC 9110, section 14). Pure.

use axum::http::HeaderMap;
use axum::http::header::{IF_RANGE, RANGE};

/// What is to be sent of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    Whole,
    /// `length` bytes from `start` on; at least one.
    Some {
        start: u64,
        length: u64,
    },
    /// What is asked for lies behind the end, or ends before it begins. Section 14.2 leaves it open whether the latter
    /// is ignored; the registry refuses it too.
    Unsatisfiable,
}

/// The part of a file of `size` bytes. Several ranges, and headers that cannot be read, ask for the whole,
/// as does a range of another state of the file than that which `etag` names.
pub(super) fn part(headers: &HeaderMap, etag: &str, size: u64) -> Part {
    let Some(range) = headers.get(RANGE).and_then(|value| value.to_str().ok()) else {
        return Part::Whole;
    };
    if headers
        .get(IF_RANGE)
        .is_some_and(|value| value.as_bytes() != etag.as_bytes())
    {
        return Part::Whole;
    }
    parse(range, size).unwrap_or(Part::Whole)
}

fn parse(range: &str, size: u64) -> Option<Part> {
    let (unit, range) = range.split_once('=')?;
    let (first, last) = range.trim().split_once('-')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (start, end) = if first.is_empty() {
        (size.saturating_sub(number(last)?), size)
    } else {
        let first = number(first)?;
        let end = if last.is_empty() {
            size
        } else {
            // Where it ends before it begins, nothing is left of it below.
            number(last)?.saturating_add(1).min(size)
        };
        (first, end)
    };
    Some(match end.checked_sub(start) {
        Some(length) if length > 0 => Part::Some { start, length },
        _ => Part::Unsatisfiable,
    })
}

/// Digits alone: `u64::from_str` would take a sign too.
fn number(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of_ten(range: &str) -> Part {
        let headers = HeaderMap::from_iter([(RANGE, range.parse().unwrap())]);
        part(&headers, "\"a\"", 10)
    }

    #[test]
    fn ranges_mean_what_they_mean_elsewhere() {
        let some = |start, length| Part::Some { start, length };
        for (range, expected) in [
            ("bytes=0-0", some(0, 1)),
            ("bytes=2-5", some(2, 4)),
            ("Bytes=7-", some(7, 3)),
            ("bytes=7-99", some(7, 3)),
            ("bytes=-3", some(7, 3)),
            ("bytes=-99", some(0, 10)),
            ("bytes=10-", Part::Unsatisfiable),
            ("bytes=-0", Part::Unsatisfiable),
            ("bytes=5-2", Part::Unsatisfiable),
            ("bytes=5-4", Part::Unsatisfiable),
            ("bytes=0-1,3-4", Part::Whole),
            ("bytes=+1-2", Part::Whole),
            ("bytes=-", Part::Whole),
            ("lines=1-2", Part::Whole),
            ("bytes", Part::Whole),
        ] {
            assert_eq!(of_ten(range), expected, "{range}");
        }
        assert_eq!(part(&HeaderMap::new(), "\"a\"", 10), Part::Whole);
    }

    #[test]
    fn a_range_of_another_state_is_the_whole() {
        for (state, expected) in [
            (
                "\"a\"",
                Part::Some {
                    start: 4,
                    length: 6,
                },
            ),
            ("\"b\"", Part::Whole),
        ] {
            let headers = HeaderMap::from_iter([
                (RANGE, "bytes=4-".parse().unwrap()),
                (IF_RANGE, state.parse().unwrap()),
            ]);
            assert_eq!(part(&headers, "\"a\"", 10), expected);
        }
    }

    proptest! {
        #[test]
        fn a_part_lies_in_the_file(range in "bytes=[0-9]{0,20}-[0-9]{0,20}", size: u64) {
            if let Some(Part::Some { start, length }) = parse(&range, size) {
                prop_assert!(length > 0 && start.checked_add(length).unwrap() <= size);
            }
        }
    }
}
