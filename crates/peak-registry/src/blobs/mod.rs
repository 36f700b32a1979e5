//! Blobs: reading them, also when the connection does not last. (Uploads come later.)

pub(crate) mod read;
mod whole;
