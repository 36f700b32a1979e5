//! The tar format, as far as archives of images need it: found by name, read at an offset, written in any order.
//!
//! The `tar` crate knows the fields of a header. Walking over an archive is ours: it comes from anywhere, so that names,
//! extensions and the number of entries have limits, and nothing but headers is read.

mod read;
mod write;

pub(crate) use read::{Extent, TarIndex};
pub(crate) use write::{END_SIZE, padded, reserve};

/// The bytes of a header.
pub(crate) const BLOCK_SIZE: usize = 512;
/// Everything in a tar stands at a multiple of this.
pub(crate) const BLOCK: u64 = BLOCK_SIZE as u64;
