//! Blobs: reading and sending them, also when the connection does not last.

mod part;
pub(crate) mod ranges;
pub(crate) mod read;
mod side_by_side;
pub(crate) mod upload;
mod whole;
