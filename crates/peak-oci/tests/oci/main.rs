//! The types of OCI and Docker as a program uses them.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests may fail the test; the exemption in clippy.toml sees only test functions"
)]

mod documents;
mod indexes;
mod manifests;
mod platforms;
mod references;
