//! Domain types of the Peak platform: images, versions, builds, build logs and artifacts, as they are on the wire.
//!
//! The structs and enumerations are generated from the JSON Schemas in `schemas/` by `cargo xtask codegen`; a few
//! types that JSON has no word for are written by hand: [`Id`], [`Timestamp`] and [`Secret`].
//!
//! The platform grows, and its answers are not always consistent, so decoding takes what comes:
//!
//! - a field may be absent or `null`; fields that nobody knows yet are ignored;
//! - an enumeration keeps a value it does not know as `Unknown`, and takes known ones in any letter case;
//! - ids come as numbers and as text, and keep their form when they are sent back;
//! - a timestamp that cannot be read keeps its text.
//!
//! What is sent holds only what was set:
//!
//! ```
//! use peak_models::{
//!     BuildArgument, BuildDetails, BuildSourceKind, CreateImageBody, ImageType, ImageVersion,
//! };
//!
//! # fn main() -> Result<(), serde_json::Error> {
//! let body = CreateImageBody::new("hello-web", ImageType::Webapp).build_details(
//!     BuildDetails::new()
//!         .source(BuildSourceKind::Upload)
//!         .build_arguments([BuildArgument::new("GREETING", "hello")]),
//! );
//! assert_eq!(
//!     serde_json::to_string(&body)?,
//!     concat!(
//!         r#"{"name":"hello-web","type":"webapp","buildDetails":{"source":"upload","#,
//!         r#""buildArguments":[{"name":"GREETING","value":"hello"}]}}"#,
//!     ),
//! );
//!
//! let version: ImageVersion = serde_json::from_str(
//!     r#"{"id": "101", "imageType": "Workflow", "lastBuildStatus": "queued", "nobodyKnows": 1}"#,
//! )?;
//! assert_eq!(version.id, Some(101.into()));
//! assert_eq!(version.image_type, Some(ImageType::Workflow));
//! assert_eq!(version.last_build_status.map(|status| status.is_terminal()), Some(false));
//! # Ok(())
//! # }
//! ```
//!
//! The feature `schema` derives `schemars::JsonSchema` for every type.
//!
//! What this is not: a client. There are no requests, no paths and no I/O here; the clients of the services are
//! `peak-images` and `peak-artifacts`.

mod ext;
// Formatted by the generator, so that its bytes do not depend on which rustfmt is installed.
#[rustfmt::skip]
mod generated;
mod support;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod tolerance;

pub use self::generated::*;
pub use self::support::id::Id;
pub use self::support::secret::Secret;
pub use self::support::timestamp::{Timestamp, TimestampError};
