//! The types of OCI and Docker as a program uses them.

mod documents;
mod indexes;
mod manifests;
mod platforms;
mod references;
