//! Blobs: reading and sending them, also when the connection does not last.

pub(crate) mod read;
pub(crate) mod upload;
mod whole;
