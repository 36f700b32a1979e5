//! The parameters of each operation, and the requests they turn into. All of it pure.

pub(crate) mod build;
pub(crate) mod builds;
pub(crate) mod images;
pub(crate) mod logs;
pub(crate) mod versions;

/// Where the service is below the endpoint.
const SERVICE: [&str; 4] = ["image-management", "api", "v2", "images"];

/// A path below the service's.
fn path<'a>(rest: &[&'a str]) -> Vec<&'a str> {
    SERVICE.iter().chain(rest).copied().collect()
}
