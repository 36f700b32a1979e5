//! What holds for the progress of any Docker Engine: the bodies of fuzz targets (docs/fuzzing.md). No part of the
//! interface.

use std::collections::VecDeque;

use crate::DaemonImage;
use crate::progress::{Message, ProgressError, ProgressParser};

/// A stream of progress: what it says does not depend on how it is cut.
pub fn engine_progress(data: &[u8]) {
    let whole = read([data]);
    assert!(
        whole.0.len() <= data.len() / 2,
        "each has at least its braces"
    );
    assert_eq!(read(data.chunks(1)), whole, "byte by byte");
    let step = (data.len() / 16).max(1);
    for middle in (0..data.len()).step_by(step) {
        let (one, other) = data.split_at(middle);
        assert_eq!(read([one, other]), whole, "cut at {middle}");
    }
    if whole.1.is_ok() {
        let twice = read([data, data]);
        let expected: VecDeque<_> = whole.0.iter().chain(&whole.0).cloned().collect();
        assert_eq!(twice, (expected, Ok(())), "twice over");
    }
}

fn read<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (VecDeque<Message>, Result<(), ProgressError>) {
    let mut parser = ProgressParser::default();
    let mut messages = VecDeque::new();
    let result = pieces
        .into_iter()
        .try_for_each(|piece| parser.read(piece, &mut messages))
        .and_then(|()| parser.finish());
    (messages, result)
}

/// Names of images in the Engine.
pub fn daemon_image(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(image) = text.parse::<DaemonImage>() {
        assert_eq!(image.to_string(), text);
        let reference = image.reference();
        assert!(reference.tag().is_some() || reference.digest().is_some());
        if image.check_writable().is_ok() {
            assert!(reference.digest().is_none() && image.id().is_none());
        }
    }
}

#[cfg(test)]
mod tests {
    include!("../../../fuzz/seeds.rs");

    #[test]
    fn the_seeds_hold() {
        hold("engine_progress", super::engine_progress);
        hold("daemon_image", super::daemon_image);
    }
}
