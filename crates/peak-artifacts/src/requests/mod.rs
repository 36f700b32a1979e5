//! The parameters of each operation, and the requests they turn into. All of it pure.

pub(crate) mod artifacts;
#[cfg(test)]
mod tests;
pub(crate) mod versions;

/// Where the service is below the endpoint.
const SERVICE: [&str; 4] = ["artifacts", "api", "v1", "artifacts"];

/// A path below the service's.
fn path<'a>(rest: &[&'a str]) -> Vec<&'a str> {
    SERVICE.iter().chain(rest).copied().collect()
}
