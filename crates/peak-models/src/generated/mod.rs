// Generated from schemas/ by `cargo xtask codegen`. Do not edit: change the schema and run it again.

//! The generated types.

#[cfg(test)]
pub(crate) mod catalog;

mod artifacts;
mod build_logs;
mod builds;
mod images;
mod versions;

pub use artifacts::{
    ArtifactVersion, Artifact, ListArtifactsResponse, CreateArtifactBody,
    CreateArtifactResponse, CreateArtifactVersionBody, CreateArtifactVersionResponse,
    UpdateArtifactBody,
};

pub use build_logs::{LogLine, BuildLogs, BuildLogsDownload};

pub use builds::{
    BuildStatus, BuildSourceKind, EntityType, BuildArgument, AutodeployResource,
    BuildDetails, Build, ListImageBuildsResponse,
};

pub use images::{
    ImageType, Scope, Image, ListImagesResponse, CreateImageBody, CreateImageResponse,
};

pub use versions::{
    ImageStatus, Tag, ImageVersion, ListImageVersionsResponse, CreateVersionBody,
    CreateVersionResponse, UpdateVersionBody, UpdateVersionResponse,
};
