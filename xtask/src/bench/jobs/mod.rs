//! What can be measured. A job is a file here and a line in [`ALL`].

mod pack;
mod registry;
mod small_requests;
mod startup;

use crate::bench::Job;

/// All jobs, in the order of the report.
pub(super) const ALL: [&Job; 4] = [
    &pack::JOB,
    &registry::JOB,
    &small_requests::JOB,
    &startup::JOB,
];
