//! Blobs: reading them, also when the connection does not last. (Uploads come later.)

mod part;
pub(crate) mod ranges;
pub(crate) mod read;
mod side_by_side;
mod whole;
