//! One module for each command: its arguments, and what it does.

pub(crate) mod apolo;
pub(crate) mod artifacts;
pub(crate) mod completions;
pub(crate) mod doctor;
pub(crate) mod images;
pub(crate) mod local;
pub(crate) mod man;
pub(crate) mod pack;
pub(crate) mod registry;
pub(crate) mod serving;
pub(crate) mod ship;
pub(crate) mod transfer;
