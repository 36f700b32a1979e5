//! What the clients of the Peak services share: where the platform is and who calls it
//! ([`Session`]), requests as values ([`Endpoint`], [`Operation`]), the named errors of its statuses
//! ([`Error`]), its pages ([`pages`]), its multipart forms ([`Form`]) and its
//! files ([`Download`]).
//!
//! ```
//! use peak_platform::{Endpoint, Error, Operation};
//! # use peak_http::Body;
//!
//! /// `GET artifacts/api/v1/artifacts/{id}`
//! struct DescribeArtifact<'a> {
//!     id: &'a str,
//! }
//!
//! impl Operation for DescribeArtifact<'_> {
//!     const NAME: &'static str = "describe_artifact";
//!     type Answer = peak_models::Artifact;
//!
//!     fn request(&self, endpoint: &Endpoint) -> Result<http::Request<Body>, Error> {
//!         endpoint
//!             .get(&["artifacts", "api", "v1", "artifacts", self.id])?
//!             .query("pageSize", 25)
//!             .build()
//!     }
//! }
//!
//! // No server is needed to see what would be sent.
//! let endpoint = Endpoint::parse("https://service.peak.ai")?;
//! let request = DescribeArtifact { id: "a/b" }.request(&endpoint)?;
//! assert_eq!(
//!     request.uri(),
//!     "https://service.peak.ai/artifacts/api/v1/artifacts/a%2Fb?pageSize=25"
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A [`Session`] sends it:
//!
//! ```no_run
//! # async fn run(operation: impl peak_platform::Operation) -> Result<(), Box<dyn std::error::Error>> {
//! use peak_platform::Session;
//!
//! let session = Session::from_environment()?;
//! let answer = session.call(&operation).await?;
//! # Ok(())
//! # }
//! ```
//!
//! What this crate is not: it knows no service's operations (see `peak-images`, `peak-artifacts`)
//! and it does not retry; `peak-http` does.

mod answer;
mod config;
mod download;
mod error;
mod form;
mod message;
pub mod pages;
mod partial;
mod request;
mod session;
mod stage;

// Where the platform is, and who asks.
pub use config::{SessionBuilder, SessionError};
pub use session::Session;
pub use stage::Stage;

// What is asked.
pub use download::{Download, SavedFile};
pub use form::{Artifact, Form};
pub use request::{Done, Endpoint, Operation, RequestBuilder};

// What can go wrong.
pub use error::{Error, StatusError};
