//! The bodies of answers, field for field as the API has them. What is not known is left out.

use std::net::SocketAddr;

use serde::Serialize;
use uuid::Uuid;

use crate::model::{BuildDetails, BuildStatus, ImageType, Scope, VersionStatus};
use crate::state::{
    ArtifactRecord, ArtifactVersionView, BuildView, Changed, Deletion, ImageView, Listing, LogPage,
    VersionView,
};
use crate::timestamp::Timestamp;

/// The one user of the embedded platform.
const USER: &str = "local";

/// An image with its latest version.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Image {
    id: u64,
    name: String,
    #[serde(rename = "type")]
    kind: ImageType,
    scope: Scope,
    /// How its versions stand is said of each; the image itself has a status only while it is being deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<VersionStatus>,
    created_at: Timestamp,
    created_by: &'static str,
    updated_at: Timestamp,
    updated_by: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    latest_version: Option<Version>,
}

impl Image {
    pub(super) fn new(view: ImageView, address: SocketAddr) -> Self {
        Self {
            id: view.id,
            name: view.record.name.to_string(),
            kind: view.record.kind,
            scope: Scope::Custom,
            status: view.record.deletion.map(Deletion::status),
            created_at: view.record.created_at,
            created_by: USER,
            updated_at: view.record.updated_at,
            updated_by: USER,
            latest_version: view.latest.map(|latest| Version::new(latest, address)),
        }
    }
}

/// A version of an image.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Version {
    id: u64,
    version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    status: VersionStatus,
    last_build_status: BuildStatus,
    last_build_at: Timestamp,
    created_at: Timestamp,
    created_by: &'static str,
    updated_at: Timestamp,
    updated_by: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pull_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    tags: [Tag; 0],
    is_latest: bool,
    image_name: String,
    image_type: ImageType,
    build_details: BuildDetails,
}

/// A label of a version, of which the embedded platform has none.
#[derive(Serialize)]
struct Tag {}

impl Version {
    pub(super) fn new(view: VersionView, address: SocketAddr) -> Self {
        let VersionView {
            id,
            record,
            latest_build,
            image,
            is_latest,
        } = view;
        let status = record.status();
        Self {
            id,
            status,
            last_build_status: latest_build.status,
            last_build_at: latest_build.created_at,
            created_at: record.created_at,
            created_by: USER,
            updated_at: record.updated_at,
            updated_by: USER,
            // The port can be another one after a restart, so this is not kept.
            pull_url: record
                .built
                .as_ref()
                .map(|_| format!("{address}/{}:{}", image.name, record.version)),
            size: record.built.map(|built| built.size),
            version: record.version.to_string(),
            description: record.description,
            tags: [],
            is_latest,
            image_name: image.name.to_string(),
            image_type: image.kind,
            build_details: record.details,
        }
    }
}

/// One build of a version.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Build {
    build_id: u64,
    version_id: u64,
    version: String,
    status: BuildStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<Timestamp>,
    use_cache: bool,
}

impl Build {
    pub(super) fn new(view: BuildView) -> Self {
        let BuildView { id, record } = view;
        Self {
            build_id: id,
            version_id: record.version_id,
            version: record.version.to_string(),
            status: record.status,
            started_at: record.started_at,
            finished_at: record.finished_at,
            use_cache: record.use_cache,
        }
    }
}

/// An artifact, with a page of its versions where it is described on its own.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Artifact {
    id: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<VersionStatus>,
    created_at: Timestamp,
    created_by: &'static str,
    updated_at: Timestamp,
    updated_by: &'static str,
    #[serde(flatten)]
    versions: Option<ArtifactVersions>,
}

impl Artifact {
    fn new(record: ArtifactRecord, versions: Option<ArtifactVersions>) -> Self {
        Self {
            id: record.id,
            name: record.name,
            description: record.description,
            status: record.deletion.map(Deletion::status),
            created_at: record.created_at,
            created_by: USER,
            updated_at: record.updated_at,
            updated_by: USER,
            versions,
        }
    }

    pub(super) fn described(
        record: ArtifactRecord,
        listing: &Listing<ArtifactVersionView>,
    ) -> Self {
        let versions = ArtifactVersions {
            version_count: listing.count,
            pages: Pages::new(listing),
            versions: listing.items.iter().map(ArtifactVersion::new).collect(),
        };
        Self::new(record, Some(versions))
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ArtifactVersions {
    version_count: u64,
    versions: Vec<ArtifactVersion>,
    #[serde(flatten)]
    pages: Pages,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ArtifactVersion {
    version: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<VersionStatus>,
    created_at: Timestamp,
    created_by: &'static str,
}

impl ArtifactVersion {
    fn new(view: &ArtifactVersionView) -> Self {
        Self {
            version: view.number,
            status: view.record.deletion.map(Deletion::status),
            created_at: view.record.created_at,
            created_by: USER,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListArtifacts {
    artifact_count: u64,
    artifacts: Vec<Artifact>,
    #[serde(flatten)]
    pages: Pages,
}

impl ListArtifacts {
    pub(super) fn new(listing: Listing<ArtifactRecord>) -> Self {
        Self {
            artifact_count: listing.count,
            pages: Pages::new(&listing),
            artifacts: listing
                .items
                .into_iter()
                .map(|record| Artifact::new(record, None))
                .collect(),
        }
    }
}

/// A new artifact with its first version.
#[derive(Serialize)]
pub(super) struct NewArtifact {
    id: String,
    version: u64,
}

impl NewArtifact {
    pub(super) fn new(id: Uuid) -> Self {
        Self {
            id: id.to_string(),
            version: 1,
        }
    }
}

/// A new version of an artifact.
#[derive(Serialize)]
pub(super) struct NewArtifactVersion {
    version: u64,
}

impl NewArtifactVersion {
    pub(super) fn new(version: u64) -> Self {
        Self { version }
    }
}

/// Where a page stands among the others.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Pages {
    page_count: u64,
    page_number: u64,
    page_size: u64,
}

impl Pages {
    fn new<T>(listing: &Listing<T>) -> Self {
        Self {
            page_count: listing.page_count(),
            page_number: listing.page.number,
            page_size: listing.page.size,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListImages {
    image_count: u64,
    images: Vec<Image>,
    #[serde(flatten)]
    pages: Pages,
}

impl ListImages {
    pub(super) fn new(listing: Listing<ImageView>, address: SocketAddr) -> Self {
        Self {
            image_count: listing.count,
            pages: Pages::new(&listing),
            images: listing
                .items
                .into_iter()
                .map(|view| Image::new(view, address))
                .collect(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListVersions {
    version_count: u64,
    versions: Vec<Version>,
    #[serde(flatten)]
    pages: Pages,
}

impl ListVersions {
    pub(super) fn new(listing: Listing<VersionView>, address: SocketAddr) -> Self {
        Self {
            version_count: listing.count,
            pages: Pages::new(&listing),
            versions: listing
                .items
                .into_iter()
                .map(|view| Version::new(view, address))
                .collect(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListBuilds {
    build_count: u64,
    builds: Vec<Build>,
    #[serde(flatten)]
    pages: Pages,
}

impl ListBuilds {
    pub(super) fn new(listing: Listing<BuildView>) -> Self {
        Self {
            build_count: listing.count,
            pages: Pages::new(&listing),
            builds: listing.items.into_iter().map(Build::new).collect(),
        }
    }
}

/// What creating or updating made. `autodeploymentId` is never there: nothing is deployed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Made {
    image_id: u64,
    version_id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    build_id: Option<u64>,
}

impl Made {
    pub(super) fn new(changed: &Changed) -> Self {
        Self {
            image_id: changed.image,
            version_id: changed.version,
            build_id: changed.build,
        }
    }
}

/// What answers that have nothing to say consist of.
#[derive(Serialize)]
pub(super) struct Done {}

/// Where the whole log of a build can be read.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LogDownload {
    download_url: String,
}

impl LogDownload {
    pub(super) fn new(download_url: String) -> Self {
        Self { download_url }
    }
}

/// A page of a build's log.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Logs {
    build_status: BuildStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finish_time: Option<Timestamp>,
    logs: Vec<Line>,
    next_token: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    ingestion_time: Timestamp,
    message: String,
    timestamp: Timestamp,
}

impl Logs {
    pub(super) fn new(page: LogPage) -> Self {
        let line = |line: crate::state::LogLine| Line {
            ingestion_time: line.timestamp,
            message: line.message,
            timestamp: line.timestamp,
        };
        Self {
            build_status: page.status,
            start_time: page.started_at,
            finish_time: page.finished_at,
            logs: page.lines.into_iter().map(line).collect(),
            // Also at the end: a client that asks on without a token would begin anew.
            next_token: page.position.to_string(),
        }
    }
}
