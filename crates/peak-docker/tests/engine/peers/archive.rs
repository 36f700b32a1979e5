//! Images made by hand, as `docker load` takes them.

use bytes::Bytes;
use peak_oci::Digest;

/// An archive with one image of one layer.
pub(super) struct Archive {
    pub(super) bytes: Bytes,
    /// The image's identifier.
    pub(super) id: String,
    /// The layer's digest.
    pub(super) layer: String,
}

impl Archive {
    /// An image by the name `name` with a file of so many bytes that cannot be compressed.
    pub(super) fn new(name: &str, size: usize) -> Self {
        let mut state = 1_u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            // Numerical Recipes' generator; the high bits are the good ones.
            state = state
                .wrapping_mul(1_664_525)
                .wrapping_add(1_013_904_223 + size as u64);
            state.to_be_bytes()[3]
        })
        .take(size)
        .collect();
        let layer = tar_of(&[("srv/noise", &noise)]);
        let layer_digest = Digest::sha256_of(&layer);
        let config = format!(
            r#"{{"architecture":"amd64","os":"linux","config":{{"Env":["A=1"],"Cmd":["/serve"]}},"rootfs":{{"type":"layers","diff_ids":["{layer_digest}"]}},"history":[{{"created":"2026-01-01T00:00:00Z"}}]}}"#
        );
        let id = Digest::sha256_of(config.as_bytes());
        let config_name = format!("{}.json", id.hex());
        let manifest = format!(
            r#"[{{"Config":"{config_name}","RepoTags":["{name}"],"Layers":["layer/layer.tar"]}}]"#
        );
        let bytes = tar_of(&[
            (&config_name, config.as_bytes()),
            ("layer/layer.tar", &layer),
            ("manifest.json", manifest.as_bytes()),
        ]);
        Self {
            bytes: bytes.into(),
            id: id.to_string(),
            layer: layer_digest.to_string(),
        }
    }

    /// In pieces of 64 KiB.
    pub(super) fn stream(
        &self,
    ) -> impl futures_util::Stream<Item = Result<Bytes, std::io::Error>> + Send + use<> {
        let bytes = self.bytes.clone();
        let starts = (0..bytes.len()).step_by(64 * 1024);
        futures_util::stream::iter(starts.map(move |start| {
            let end = bytes.len().min(start + 64 * 1024);
            Ok(bytes.slice(start..end))
        }))
    }
}

/// A tar with these files.
pub(super) fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        archive.append_data(&mut header, name, *content).unwrap();
    }
    archive.into_inner().unwrap()
}
