//! What can be measured. A job is a file here and a line in [`ALL`].

mod copy;
mod floors;
mod memory;
mod pack;
mod pull;
mod push;
mod registry;
mod small_requests;
mod startup;
mod tags;

use crate::bench::Job;

/// All jobs, in the order of the report.
pub(super) const ALL: [&Job; 11] = [
    &pull::PLAIN,
    &pull::TLS,
    &pull::LINK,
    &push::JOB,
    &copy::JOB,
    &tags::JOB,
    &memory::JOB,
    &pack::JOB,
    &registry::JOB,
    &small_requests::JOB,
    &startup::JOB,
];
