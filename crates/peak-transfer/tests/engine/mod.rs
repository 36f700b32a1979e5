//! The engine between ends in memory: which platforms, what refers to them, and each digest once.

mod foreign;
mod platforms;
mod referrers;
mod runs;

use peak_oci::{Placement, Selector};

pub(crate) fn by_tag(name: &str) -> Selector {
    Selector::Tag(name.parse().unwrap())
}

pub(crate) fn under(name: &str) -> Placement {
    Placement::Root {
        tag: Some(name.parse().unwrap()),
    }
}
