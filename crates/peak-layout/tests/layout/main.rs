//! Images on disk seen from outside: directories and archives, written and read, whole and broken.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of these tests may fail them, too"
)]

mod archive;
mod directory;
mod docker_archive;
mod hostile;
mod resume;
mod round_trip;
mod skopeo;
mod streamed;
mod support;
