// Generated from schemas/ by `cargo xtask codegen`. Do not edit: change the schema and run it again.

//! Every type and the schema it is generated from.

use crate::conformance::Subject;

/// Every type of the schemas, in their order.
pub(crate) fn subjects() -> Vec<Subject> {
    vec![
        Subject::of:: < crate ::ArtifactVersion > ("artifacts.json", "ArtifactVersion"),
        Subject::of:: < crate ::Artifact > ("artifacts.json", "Artifact"), Subject::of::
        < crate ::ListArtifactsResponse > ("artifacts.json", "ListArtifactsResponse"),
        Subject::of:: < crate ::CreateArtifactBody > ("artifacts.json",
        "CreateArtifactBody"), Subject::of:: < crate ::CreateArtifactResponse >
        ("artifacts.json", "CreateArtifactResponse"), Subject::of:: < crate
        ::CreateArtifactVersionBody > ("artifacts.json", "CreateArtifactVersionBody"),
        Subject::of:: < crate ::CreateArtifactVersionResponse > ("artifacts.json",
        "CreateArtifactVersionResponse"), Subject::of:: < crate ::UpdateArtifactBody >
        ("artifacts.json", "UpdateArtifactBody"), Subject::of:: < crate ::LogLine >
        ("build_logs.json", "LogLine"), Subject::of:: < crate ::BuildLogs >
        ("build_logs.json", "BuildLogs"), Subject::of:: < crate ::BuildLogsDownload >
        ("build_logs.json", "BuildLogsDownload"), Subject::of:: < crate ::BuildStatus >
        ("builds.json", "BuildStatus"), Subject::of:: < crate ::BuildSourceKind >
        ("builds.json", "BuildSourceKind"), Subject::of:: < crate ::EntityType >
        ("builds.json", "EntityType"), Subject::of:: < crate ::BuildArgument >
        ("builds.json", "BuildArgument"), Subject::of:: < crate ::AutodeployResource >
        ("builds.json", "AutodeployResource"), Subject::of:: < crate ::BuildDetails >
        ("builds.json", "BuildDetails"), Subject::of:: < crate ::Build > ("builds.json",
        "Build"), Subject::of:: < crate ::ListImageBuildsResponse > ("builds.json",
        "ListImageBuildsResponse"), Subject::of:: < crate ::Id > ("common.json", "Id"),
        Subject::of:: < crate ::Timestamp > ("common.json", "Timestamp"), Subject::of:: <
        crate ::ImageType > ("images.json", "ImageType"), Subject::of:: < crate ::Scope >
        ("images.json", "Scope"), Subject::of:: < crate ::Image > ("images.json",
        "Image"), Subject::of:: < crate ::ListImagesResponse > ("images.json",
        "ListImagesResponse"), Subject::of:: < crate ::CreateImageBody > ("images.json",
        "CreateImageBody"), Subject::of:: < crate ::CreateImageResponse > ("images.json",
        "CreateImageResponse"), Subject::of:: < crate ::ImageStatus > ("versions.json",
        "ImageStatus"), Subject::of:: < crate ::Tag > ("versions.json", "Tag"),
        Subject::of:: < crate ::ImageVersion > ("versions.json", "ImageVersion"),
        Subject::of:: < crate ::ListImageVersionsResponse > ("versions.json",
        "ListImageVersionsResponse"), Subject::of:: < crate ::CreateVersionBody >
        ("versions.json", "CreateVersionBody"), Subject::of:: < crate
        ::CreateVersionResponse > ("versions.json", "CreateVersionResponse"),
        Subject::of:: < crate ::UpdateVersionBody > ("versions.json",
        "UpdateVersionBody"), Subject::of:: < crate ::UpdateVersionResponse >
        ("versions.json", "UpdateVersionResponse")
    ]
}
