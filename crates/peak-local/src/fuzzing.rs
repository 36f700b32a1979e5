//! What holds for whatever clients send: the bodies of fuzz targets (docs/fuzzing.md). No part of the interface.

pub use crate::api::fuzzing::file_range;
pub use crate::builder::fuzzing::{copy_pattern, dockerfile, layer_intake, zip_intake};

#[cfg(test)]
mod tests {
    include!("../../../fuzz/seeds.rs");

    #[test]
    fn the_seeds_hold() {
        hold("file_range", super::file_range);
        hold("dockerfile", super::dockerfile);
        hold("copy_pattern", super::copy_pattern);
        hold("zip_intake", super::zip_intake);
        hold("layer_intake", super::layer_intake);
    }
}
