//! Images in memory, archives by hand, and a copy between any two ends.

use std::collections::HashMap;
use std::io::Write;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use peak_oci::{
    Algorithm, ArtifactManifest, BlobRead, BoxFuture, ContentError, ContentErrorKind, Descriptor,
    Digest, ImageConfig, ImageManifest, Index, Manifest, MediaType, Placement, Platform, Raw,
    Selector, Sink, Source, Tag,
};

/// A source in memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    pub(crate) blobs: HashMap<Digest, Bytes>,
    pub(crate) manifests: HashMap<Digest, Raw<Manifest>>,
    pub(crate) root: Option<Digest>,
}

/// How a layer is wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrap {
    Plain,
    Gzip,
    Zstd,
}

pub(crate) fn wrap(content: &[u8], how: Wrap) -> Vec<u8> {
    match how {
        Wrap::Plain => content.to_vec(),
        Wrap::Gzip => {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(content).unwrap();
            encoder.finish().unwrap()
        }
        Wrap::Zstd => zstd::encode_all(content, 1).unwrap(),
    }
}

impl Memory {
    pub(crate) fn add(
        &mut self,
        media_type: MediaType,
        content: &[u8],
        algorithm: Algorithm,
    ) -> Descriptor {
        let digest = Digest::of(algorithm, content);
        self.blobs
            .insert(digest.clone(), Bytes::copy_from_slice(content));
        Descriptor::new(media_type, digest, content.len() as u64)
    }

    /// Adds a manifest, which becomes the root until the next one comes.
    pub(crate) fn put(&mut self, manifest: Raw<Manifest>, algorithm: Algorithm) -> Descriptor {
        let digest = Digest::of(algorithm, manifest.bytes());
        let manifest = manifest.verify(&digest).unwrap();
        let descriptor = manifest.descriptor();
        self.root = Some(digest.clone());
        self.manifests.insert(digest, manifest);
        descriptor
    }

    /// An image of Docker's or OCI's form; its layers are what is given, whatever that is.
    pub(crate) fn image(
        &mut self,
        layers: &[(Vec<u8>, Wrap)],
        algorithm: Algorithm,
        is_docker: bool,
    ) -> Descriptor {
        let diff_ids = layers
            .iter()
            .map(|(content, _)| Digest::sha256_of(content))
            .collect();
        let config = ImageConfig::new(&Platform::new("linux", "amd64"), diff_ids)
            .to_raw()
            .unwrap();
        let config_type = if is_docker {
            MediaType::DOCKER_CONFIG
        } else {
            MediaType::OCI_CONFIG
        };
        let config = self.add(config_type, config.bytes(), algorithm);
        let layers = layers
            .iter()
            .map(|(content, how)| {
                let media_type = match (how, is_docker) {
                    (Wrap::Plain, true) => MediaType::DOCKER_LAYER,
                    (Wrap::Plain, false) => MediaType::OCI_LAYER,
                    (Wrap::Gzip, true) => MediaType::DOCKER_LAYER_GZIP,
                    (Wrap::Gzip, false) => MediaType::OCI_LAYER_GZIP,
                    (Wrap::Zstd, _) => MediaType::OCI_LAYER_ZSTD,
                };
                self.add(media_type, &wrap(content, *how), algorithm)
            })
            .collect();
        self.put(
            ImageManifest::new(config, layers).to_raw().unwrap(),
            algorithm,
        )
    }

    /// An artifact of some blobs that says something about `subject`.
    pub(crate) fn artifact(
        &mut self,
        blobs: &[Vec<u8>],
        subject: Option<Descriptor>,
        algorithm: Algorithm,
    ) -> Descriptor {
        let kind: MediaType = "application/x.y".parse().unwrap();
        let blobs = blobs
            .iter()
            .map(|content| self.add("text/plain".parse().unwrap(), content, algorithm))
            .collect();
        let mut artifact = ArtifactManifest::new(kind, blobs);
        artifact.subject = subject;
        self.put(artifact.to_raw().unwrap(), algorithm)
    }

    pub(crate) fn index(&mut self, children: Vec<Descriptor>, algorithm: Algorithm) -> Descriptor {
        self.put(Index::new(children).to_raw().unwrap(), algorithm)
    }
}

fn missing() -> ContentError {
    ContentError::new(ContentErrorKind::NotFound, "not here")
}

impl Source for Memory {
    fn manifest<'a>(
        &'a self,
        selector: Option<&'a Selector>,
    ) -> BoxFuture<'a, Result<Raw<Manifest>, ContentError>> {
        let digest = match selector {
            Some(Selector::Digest(digest)) => Some(digest),
            _ => self.root.as_ref(),
        };
        let found = digest
            .and_then(|digest| self.manifests.get(digest))
            .cloned()
            .ok_or_else(missing);
        Box::pin(async move { found })
    }

    fn blob<'a>(
        &'a self,
        descriptor: &'a Descriptor,
        offset: u64,
    ) -> BoxFuture<'a, Result<BlobRead, ContentError>> {
        let found = self
            .blobs
            .get(&descriptor.digest)
            .cloned()
            .ok_or_else(missing);
        Box::pin(async move {
            let bytes = found?;
            let size = bytes.len() as u64;
            let rest = bytes.slice(usize::try_from(offset).unwrap()..);
            let pieces: Vec<_> = rest
                .chunks(40_000)
                .map(|piece| Ok(Bytes::copy_from_slice(piece)))
                .collect();
            Ok(BlobRead::new(
                offset,
                Some(size),
                Box::pin(stream::iter(pieces)),
            ))
        })
    }
}

/// Everything below a manifest: the manifests, each behind those that it points to, and the blobs.
async fn plan(
    source: &dyn Source,
    root: &Raw<Manifest>,
) -> Result<(Vec<Raw<Manifest>>, Vec<Descriptor>), ContentError> {
    let (mut manifests, mut blobs) = (Vec::<Raw<Manifest>>::new(), Vec::<Descriptor>::new());
    let mut open = vec![root.clone()];
    while let Some(manifest) = open.pop() {
        let is_index = manifest.value().as_index().is_some();
        for child in manifest.value().children() {
            if is_index && child.media_type.is_manifest() {
                let selector = Selector::Digest(child.digest.clone());
                open.push(source.manifest(Some(&selector)).await?);
            } else if blobs.iter().all(|known| known.digest != child.digest) {
                blobs.push(child.clone());
            }
        }
        manifests.retain(|known| known.digest() != manifest.digest());
        manifests.insert(0, manifest);
    }
    Ok((manifests, blobs))
}

pub(crate) async fn write_blob(
    source: &dyn Source,
    sink: &dyn Sink,
    blob: &Descriptor,
) -> Result<(), ContentError> {
    if sink.has_blob(blob).await? {
        return Ok(());
    }
    let mut writer = sink.blob_writer(blob).await?;
    let mut read = source.blob(blob, writer.offset()).await?;
    while let Some(frame) = read.stream.try_next().await? {
        writer.write(frame).await?;
    }
    writer.commit().await
}

/// Moves an image, the last blobs first and several at once.
pub(crate) async fn transfer(
    source: &dyn Source,
    sink: &dyn Sink,
    tag: Option<&str>,
) -> Result<Raw<Manifest>, ContentError> {
    let root = source.manifest(None).await?;
    let (manifests, mut blobs) = plan(source, &root).await?;
    sink.prepare(&root, &blobs).await?;
    blobs.reverse();
    stream::iter(blobs)
        .map(|blob| async move { write_blob(source, sink, &blob).await })
        .buffer_unordered(4)
        .try_collect::<Vec<()>>()
        .await?;
    for manifest in &manifests {
        let placement = if manifest.digest() == root.digest() {
            let tag = tag.map(|tag| tag.parse::<Tag>().unwrap());
            Placement::Root { tag }
        } else {
            Placement::Child
        };
        sink.put_manifest(manifest, &placement).await?;
    }
    Ok(root)
}

/// All of a blob.
pub(crate) async fn read_blob(source: &dyn Source, blob: &Descriptor, offset: u64) -> Vec<u8> {
    let read = source.blob(blob, offset).await.unwrap();
    assert_eq!((read.offset, read.size), (offset, Some(blob.size)));
    let frames: Vec<Bytes> = read.stream.try_collect().await.unwrap();
    frames.concat()
}

/// The errors of a chain, one after the other.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Puts archives together, also such as no tool writes.
pub(crate) struct Tar {
    pub(crate) bytes: Vec<u8>,
}

impl Tar {
    pub(crate) fn new() -> Self {
        Self { bytes: Vec::new() }
    }

    pub(crate) fn header(name: &str, kind: u8, size: u64) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        for (place, byte) in header.as_old_mut().name.iter_mut().zip(name.bytes()) {
            *place = byte;
        }
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_size(size);
        header.set_mode(0o644);
        header.set_cksum();
        header
    }

    pub(crate) fn raw(mut self, header: &tar::Header, content: &[u8]) -> Self {
        self.bytes.extend_from_slice(header.as_bytes());
        self.bytes.extend_from_slice(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn entry(self, name: &str, kind: u8, content: &[u8]) -> Self {
        let header = Self::header(name, kind, content.len() as u64);
        self.raw(&header, content)
    }

    pub(crate) fn file(self, name: &str, content: &[u8]) -> Self {
        self.entry(name, b'0', content)
    }

    pub(crate) fn link(self, name: &str, target: &str) -> Self {
        let mut header = Self::header(name, b'2', 0);
        header.set_link_name_literal(target).unwrap();
        header.set_cksum();
        self.raw(&header, b"")
    }

    pub(crate) fn end(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len() + 1024, 0);
        self.bytes
    }
}
