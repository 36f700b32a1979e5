//! Keeps repositories the same as others: a plan says which, a run does what changed, a report says what that was.

mod plan;
mod registries;
mod report;
mod run;
mod shard;
mod tags;

pub use plan::{MirrorDestination, MirrorPlan, MirrorRepository, PlanError};
pub use report::{CopiedTag, DestinationReport, MirrorFailure, MirrorReport, RepositoryReport};
pub use run::{Destination, MirrorOptions, Repositories, mirror, mirror_until};
pub use shard::{Shard, ShardError};
pub use tags::{TagFilter, TagFilterError};
