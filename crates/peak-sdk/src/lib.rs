//! Everything for container images and Peak artifacts behind one dependency.
//!
//! This facade has no logic of its own: each crate of the family stands here as a module, switched on by a
//! feature. Who needs one part depends on that crate alone and compiles nothing else.
//!
//! | feature | module | what it is |
//! |---|---|---|
//! | `artifacts` (default) | [`artifacts`] | client of Peak Artifacts |
//! | `images` (default) | [`images`] | client of Peak Images: images, versions, builds, logs |
//! | `registry` (default) | [`registry`] | client of OCI and Docker registries |
//! | `transfer` (default) | [`transfer`] | any source to any destination, streamed and verified |
//! | `layout` | [`layout`] | OCI layouts on disk |
//! | `oci` | [`oci`] | references, digests, manifests; pure |
//! | `pack` | [`pack`] | directory to reproducible zip |
//! | `models`, `platform`, `http` | [`models`], [`platform`], [`http`] | what the service clients stand on |
//! | `apolo`, `docker` | [`apolo`], [`docker`] | Apolo images, the Docker Engine |
//! | `local`, `registry-server` | [`local`], [`registry_server`] | the embedded platform and registry |
//! | `full` | all of them | |
//! | `fast-digests` (default) | | digests by AWS-LC, which needs a C compiler to build; without it by pure Rust |
//!
//! # Example
//!
//! Reading a reference and naming its parts needs no network:
//!
//! ```
//! use peak_sdk::oci::Reference;
//!
//! let reference: Reference = "ubuntu:24.04".parse()?;
//! assert_eq!(reference.registry(), "docker.io");
//! assert_eq!(reference.repository().as_str(), "library/ubuntu");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Shipping a directory with the `peak` command line is the other way in; see the README of the workspace.

#[cfg(feature = "apolo")]
pub use peak_apolo as apolo;
#[cfg(feature = "artifacts")]
pub use peak_artifacts as artifacts;
#[cfg(feature = "docker")]
pub use peak_docker as docker;
#[cfg(feature = "http")]
pub use peak_http as http;
#[cfg(feature = "images")]
pub use peak_images as images;
#[cfg(feature = "layout")]
pub use peak_layout as layout;
#[cfg(feature = "local")]
pub use peak_local as local;
#[cfg(feature = "models")]
pub use peak_models as models;
#[cfg(feature = "oci")]
pub use peak_oci as oci;
#[cfg(feature = "pack")]
pub use peak_pack as pack;
#[cfg(feature = "platform")]
pub use peak_platform as platform;
#[cfg(feature = "registry")]
pub use peak_registry as registry;
#[cfg(feature = "registry-server")]
pub use peak_registry_server as registry_server;
#[cfg(feature = "transfer")]
pub use peak_transfer as transfer;
