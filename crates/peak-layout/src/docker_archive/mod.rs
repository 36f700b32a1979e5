//! What `docker save` writes and `docker load` reads: configs and uncompressed layers in a tar, and a `manifest.json`
//! that says what belongs together. It does not hold manifests, so the digest of an image is not kept; its config is,
//! and with it what Docker calls the image's id.

mod arrived;
mod contents;
mod decode;
mod options;
mod read;
mod stream_read;
mod stream_write;
mod write;

use serde::{Deserialize, Serialize};

pub use options::DockerArchiveOptions;
pub use read::DockerArchive;
pub use stream_read::DockerArchiveStream;
pub use stream_write::DockerArchiveSender;
pub use write::DockerArchiveWriter;

const MANIFEST: &str = "manifest.json";

/// An image in `manifest.json`.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Listed {
    #[serde(rename = "Config")]
    config: String,
    #[serde(rename = "RepoTags", default)]
    names: Option<Vec<String>>,
    #[serde(rename = "Layers", default)]
    layers: Option<Vec<String>>,
}
