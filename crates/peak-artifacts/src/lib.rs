//! Client of the Peak Artifacts service: versioned archives of files (`spec/peak-api.md`,
//! "Artifacts").
//!
//! ```no_run
//! use peak_artifacts::{Artifact, Artifacts, CreateArtifact};
//! use peak_platform::Session;
//!
//! # async fn upload() -> Result<(), Box<dyn std::error::Error>> {
//! let artifacts = Artifacts::new(Session::from_environment()?);
//!
//! // A zip as `peak-pack` makes it.
//! let artifact = CreateArtifact::new("hello-web", Artifact::file("artifact.zip")?)
//!     .description("The sources of the greeting page");
//! let made = artifacts.create_artifact(&artifact).await?;
//! # let _ = made;
//! # Ok(())
//! # }
//! ```
//!
//! Every operation is a value first: what would be sent can be seen without sending it.
//!
//! ```
//! use peak_artifacts::operations::DescribeArtifact;
//! use peak_platform::{Endpoint, Operation};
//!
//! let id = "c7575459-e265-4944-a539-1fbb3336799e".into();
//! let request = DescribeArtifact::new(&id)
//!     .page_number(2)
//!     .request(&Endpoint::parse("https://service.peak.ai")?)?;
//! assert_eq!(
//!     request.uri().path_and_query().map(|path| path.as_str()),
//!     Some("/artifacts/api/v1/artifacts/c7575459-e265-4944-a539-1fbb3336799e?pageNumber=2")
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What this crate is not: it does not pack directories (`peak-pack`) or unpack what it downloads, and does
//! not retry (`peak-http`).

mod client;
mod requests;

// The service.
pub use client::Artifacts;
pub use peak_models as models;
pub use peak_platform::{Artifact, Error, SavedFile};

// What is asked of it.
pub use requests::artifacts::{CreateArtifact, ListArtifacts, UpdateArtifact};
pub use requests::versions::CreateArtifactVersion;

pub mod operations {
    //! The operations as values that turn into requests.

    pub use crate::requests::artifacts::{
        ArtifactsPage, CreateArtifact, CreateArtifactFrom, DeleteArtifact, DescribeArtifact,
        UpdateArtifactFrom, UpdateArtifactOf,
    };
    pub use crate::requests::versions::{
        CreateArtifactVersionFrom, CreateArtifactVersionOf, DeleteArtifactVersion, DownloadArtifact,
    };
}
