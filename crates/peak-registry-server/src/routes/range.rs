//! Ranges of bytes, in both of their uses: reading a blob (RFC 9110, section 14) and sending a
//! chunk of one (the distribution specification's `Content-Range`).

/// What a `Range` header asks of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Requested {
    /// The whole: no range, several, or none that is understood; all three may be answered so.
    Whole,
    /// Bytes `first` to `last`, both included, all of which exist.
    Part { first: u64, last: u64 },
    /// A range that lies outside of the blob, or ends before it begins.
    Unsatisfiable,
}

/// Reads a `Range` header for content of `size` bytes.
pub(crate) fn requested(header: &str, size: u64) -> Requested {
    let Some((unit, set)) = header.split_once('=') else {
        return Requested::Whole;
    };
    let Some((first, last)) = set.trim().split_once('-') else {
        return Requested::Whole;
    };
    if !unit.trim().eq_ignore_ascii_case("bytes") || set.contains(',') {
        return Requested::Whole;
    }
    match (number(first), number(last)) {
        // RFC 9110, section 14.2, leaves it open whether such a range is ignored; the conformance
        // suite counts ignoring it as a feature that is missing.
        (Some(first), Some(last)) if first > last => Requested::Unsatisfiable,
        (Some(first), Some(last)) if first < size => Requested::Part {
            first,
            last: last.min(size - 1),
        },
        (Some(first), None) if last.is_empty() && first < size => Requested::Part {
            first,
            last: size - 1,
        },
        (None, Some(count)) if first.is_empty() && count > 0 && size > 0 => Requested::Part {
            first: size.saturating_sub(count),
            last: size - 1,
        },
        (Some(_), Some(_)) => Requested::Unsatisfiable,
        (Some(_), None) if last.is_empty() => Requested::Unsatisfiable,
        (None, Some(_)) if first.is_empty() => Requested::Unsatisfiable,
        _ => Requested::Whole,
    }
}

/// Where a chunk of an upload belongs: its first byte, and how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) start: u64,
    pub(crate) length: u64,
}

/// Reads the `Content-Range` of a chunk: `<first>-<last>`, or as HTTP writes it,
/// `bytes <first>-<last>/<total or *>`.
pub(crate) fn chunk(header: &str) -> Option<Chunk> {
    let text = header.trim();
    let text = text
        .strip_prefix("bytes")
        .map_or(text, |rest| rest.trim_start_matches([' ', '=']));
    let text = text.split_once('/').map_or(text, |(range, _)| range);
    let (first, last) = text.split_once('-')?;
    let (start, last) = (number(first)?, number(last)?);
    let length = last.checked_sub(start)?.checked_add(1)?;
    Some(Chunk { start, length })
}

/// Digits only: no sign, no space inside.
fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_of_a_blob() {
        use Requested::{Part, Unsatisfiable, Whole};
        for (header, expected) in [
            ("bytes=0-3", Part { first: 0, last: 3 }),
            ("bytes=2-", Part { first: 2, last: 9 }),
            ("bytes=9-9", Part { first: 9, last: 9 }),
            ("bytes=5-500", Part { first: 5, last: 9 }),
            ("bytes=-3", Part { first: 7, last: 9 }),
            ("bytes=-30", Part { first: 0, last: 9 }),
            ("Bytes= 1-2", Part { first: 1, last: 2 }),
            ("bytes=10-", Unsatisfiable),
            ("bytes=10-12", Unsatisfiable),
            ("bytes=-0", Unsatisfiable),
            ("bytes=3-2", Unsatisfiable),
            ("bytes=0-1,3-4", Whole),
            ("bytes=-", Whole),
            ("bytes=a-b", Whole),
            ("bytes=+1-2", Whole),
            ("items=0-3", Whole),
            ("0-3", Whole),
            ("bytes=99999999999999999999-", Whole),
        ] {
            assert_eq!(requested(header, 10), expected, "{header}");
        }
        assert_eq!(requested("bytes=0-", 0), Unsatisfiable);
        assert_eq!(requested("bytes=-1", 0), Unsatisfiable);
    }

    #[test]
    fn ranges_of_a_chunk() {
        assert_eq!(
            chunk("0-9"),
            Some(Chunk {
                start: 0,
                length: 10
            })
        );
        assert_eq!(
            chunk("10-10"),
            Some(Chunk {
                start: 10,
                length: 1
            })
        );
        assert_eq!(
            chunk("bytes 5-9/*"),
            Some(Chunk {
                start: 5,
                length: 5
            })
        );
        assert_eq!(
            chunk("bytes=5-9"),
            Some(Chunk {
                start: 5,
                length: 5
            })
        );
        for bad in [
            "",
            "-",
            "5",
            "9-5",
            "a-b",
            "-5",
            "5-",
            "0-18446744073709551615",
            "0--1",
        ] {
            assert_eq!(chunk(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_part_lies_inside(header in "bytes=[0-9]{0,4}-[0-9]{0,4}|\\PC{0,20}", size in 0_u64..2000) {
            if let Requested::Part { first, last } = requested(&header, size) {
                prop_assert!(first <= last && last < size);
            }
        }

        #[test]
        fn any_text_is_no_chunk_or_one(header in "\\PC{0,30}") {
            if let Some(Chunk { start, length }) = chunk(&header) {
                prop_assert!(length > 0 && start.checked_add(length - 1).is_some());
            }
        }
    }
}
