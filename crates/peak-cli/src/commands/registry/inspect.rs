//! `peak registry inspect`: all that an image or an index consists of, as a tree or as one document.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use peak_sdk::oci::annotations::{DOCKER_REFERENCE_DIGEST, DOCKER_REFERENCE_TYPE};
use peak_sdk::oci::{
    BoxFuture, ContentErrorKind, Descriptor, Digest, ImageConfig, MAX_CONFIG_SIZE, MAX_INDEX_DEPTH,
    Manifest, MediaType, Raw, Selector, Source, read_verified,
};
use peak_sdk::registry::Registry;
use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr as _;

use super::opened::Opened;
use crate::application::Application;
use crate::error::CliError;
use crate::output::{human_size, printable};
use crate::table::{beginning, screen_width};

/// How many manifests of an index are asked for at once.
const CONCURRENCY: usize = 6;

/// How many manifests are shown at most, in all indexes together: each is a request.
const MANIFEST_LIMIT: usize = 1000;

/// How much of a command is shown, in characters.
const COMMAND_WIDTH: usize = 60;

pub(crate) async fn inspect(
    application: &Application,
    registry: &Registry,
    reference: &str,
) -> Result<(), CliError> {
    let opened = Opened::open(registry, reference)?;
    let manifest = opened.manifest().await?;
    let root = Node::of(
        opened.source.as_ref(),
        manifest,
        None,
        0,
        &AtomicUsize::new(0),
    )
    .await?;
    let reference = &opened.name;
    let mut layers = Layers::default();
    layers.count(&root);
    let document = json!({
        "reference": reference,
        "manifest": root.to_json(&layers),
        "blobs": layers.uses.len(),
        "totalSize": layers.total(),
        "sharedSize": layers.shared(),
    });
    application.output.value(&document, || {
        let mut text = format!("{}\n{}\n", printable(reference), root.title());
        root.draw("", &layers, screen_width(), &mut text);
        text.extend([format!(
            "{} in {} blobs",
            human_size(layers.total()),
            layers.uses.len()
        )]);
        if layers.shared() > 0 {
            text.extend([format!(
                ", {} of it shared between images",
                human_size(layers.shared())
            )]);
        }
        text.push('\n');
        Ok(text)
    })
}

/// A manifest with what it leads to.
struct Node {
    digest: Digest,
    size: u64,
    media_type: MediaType,
    /// What the index says about it.
    listed: Option<Descriptor>,
    artifact_type: Option<MediaType>,
    subject: Option<Digest>,
    annotations: BTreeMap<String, String>,
    content: Content,
}

enum Content {
    Index(Vec<Child>),
    Image {
        config: Box<Descriptor>,
        /// What the config says, where it is one of a runnable image.
        details: Option<Box<ImageConfig>>,
        layers: Vec<Layer>,
    },
    Artifact(Vec<Descriptor>),
    /// The digests of the layers, the base first. Schema 1 says no sizes.
    Schema1(Vec<Digest>),
    Other,
}

enum Child {
    Here(Box<Node>),
    /// It is listed, but the registry does not have it.
    Absent(Box<Descriptor>),
}

struct Layer {
    descriptor: Descriptor,
    created_by: Option<String>,
}

impl Node {
    /// Reads what the manifest leads to: manifests and configs, no layers.
    fn of<'a>(
        source: &'a dyn Source,
        manifest: Raw<Manifest>,
        listed: Option<Descriptor>,
        depth: usize,
        count: &'a AtomicUsize,
    ) -> BoxFuture<'a, Result<Self, CliError>> {
        Box::pin(async move {
            let (digest, size) = (manifest.digest().clone(), manifest.size());
            let media_type = manifest.media_type().clone();
            let value = manifest.into_value();
            let artifact_type = value.artifact_type().cloned();
            let subject = value.subject().map(|subject| subject.digest.clone());
            let annotations = value.annotations().clone();
            let content = match value {
                Manifest::Index(index) => {
                    if depth >= MAX_INDEX_DEPTH {
                        return Err(CliError::other(format!(
                            "indexes stand in indexes more than {MAX_INDEX_DEPTH} deep"
                        )));
                    }
                    let more = index.manifests.len();
                    let all = count
                        .fetch_add(more, Ordering::Relaxed)
                        .saturating_add(more);
                    if all > MANIFEST_LIMIT {
                        return Err(CliError::other(format!(
                            "there are {all} manifests with those of {digest}; at most {MANIFEST_LIMIT} are shown"
                        )));
                    }
                    let children = stream::iter(index.manifests)
                        .map(|listed| Child::of(source, listed, depth + 1, count))
                        .buffered(CONCURRENCY)
                        .try_collect()
                        .await?;
                    Content::Index(children)
                }
                Manifest::Image(image) => {
                    let details = details(source, &image.config).await?;
                    let commands = commands(details.as_deref(), image.layers.len());
                    let layers = image
                        .layers
                        .into_iter()
                        .zip(commands)
                        .map(|(descriptor, created_by)| Layer {
                            descriptor,
                            created_by,
                        })
                        .collect();
                    Content::Image {
                        config: Box::new(image.config),
                        details,
                        layers,
                    }
                }
                Manifest::Artifact(artifact) => Content::Artifact(artifact.blobs),
                Manifest::Schema1(schema1) => {
                    let layers = schema1.layers.into_iter().rev();
                    Content::Schema1(layers.map(|layer| layer.digest).collect())
                }
                _ => Content::Other,
            };
            Ok(Self {
                digest,
                size,
                media_type,
                listed,
                artifact_type,
                subject,
                annotations,
                content,
            })
        })
    }

    /// What it is for: a platform, or what it says about another.
    fn purpose(&self) -> Option<String> {
        let listed = self.listed.as_ref();
        if let Some(about) = listed.and_then(described) {
            return Some(format!("attestation of {}", short(&about)));
        }
        if let Some(platform) = listed
            .and_then(|listed| listed.platform.as_ref())
            .filter(|platform| platform.is_known())
        {
            return Some(platform.to_string());
        }
        match &self.content {
            Content::Image {
                details: Some(config),
                ..
            } => Some(config.platform().to_string()),
            Content::Image { .. } | Content::Artifact(_) => {
                self.artifact_type.as_ref().map(ToString::to_string)
            }
            _ => None,
        }
    }

    /// The lines of a manifest that stands alone: its digest fills one.
    fn title(&self) -> String {
        let kind = kind(&self.media_type);
        let purpose = self.purpose().map(|text| format!(", {}", printable(&text)));
        format!(
            "{}\n{kind}, {}{}",
            self.digest,
            human_size(self.size),
            purpose.unwrap_or_default()
        )
    }

    /// The line of a manifest in an index.
    fn line(&self) -> String {
        let purpose = self.purpose();
        let purpose = purpose.unwrap_or_else(|| kind(&self.media_type).to_owned());
        let content = match &self.content {
            Content::Image { layers, .. } => {
                let size = sum(layers.iter().map(|layer| layer.descriptor.size));
                format!("{} in {}", human_size(size), counted(layers.len(), "layer"))
            }
            Content::Index(children) => counted(children.len(), "manifest"),
            Content::Artifact(blobs) => counted(blobs.len(), "blob"),
            Content::Schema1(layers) => counted(layers.len(), "layer"),
            Content::Other => human_size(self.size),
        };
        format!(
            "{}  {}  {content}",
            printable(&purpose),
            short(&self.digest)
        )
    }

    /// What is below it, as branches.
    fn draw(&self, indent: &str, layers: &Layers, width: Option<usize>, text: &mut String) {
        let mut branches: Vec<(String, Option<&Node>)> = Vec::new();
        if let Some(subject) = &self.subject {
            branches.push((format!("refers to {}", short(subject)), None));
        }
        match &self.content {
            Content::Index(children) => {
                for child in children {
                    branches.push(match child {
                        Child::Here(node) => (node.line(), Some(node)),
                        Child::Absent(listed) => {
                            let platform = listed.platform.as_ref().map(ToString::to_string);
                            let name =
                                platform.unwrap_or_else(|| kind(&listed.media_type).to_owned());
                            let line = format!(
                                "{}  {}  not in the registry",
                                printable(&name),
                                short(&listed.digest)
                            );
                            (line, None)
                        }
                    });
                }
            }
            Content::Image {
                config,
                layers: own,
                ..
            } => {
                branches.push((layers.row("config", config, None), None));
                for (number, layer) in own.iter().enumerate() {
                    let name = format!("layer {}", number + 1);
                    let row = layers.row(&name, &layer.descriptor, layer.created_by.as_deref());
                    branches.push((row, None));
                }
            }
            Content::Artifact(blobs) => {
                for blob in blobs {
                    branches.push((layers.row("blob", blob, None), None));
                }
            }
            Content::Schema1(own) => {
                for (number, digest) in own.iter().enumerate() {
                    branches.push((format!("layer {}  {}", number + 1, short(digest)), None));
                }
            }
            Content::Other => {}
        }
        let last = branches.len().saturating_sub(1);
        for (number, (line, below)) in branches.into_iter().enumerate() {
            let (branch, more) = if number == last {
                ("└── ", "    ")
            } else {
                ("├── ", "│   ")
            };
            let line = line.trim_end();
            text.extend([indent, branch]);
            // A command goes as far as the line does; what stands before it is short.
            text.push_str(&match width {
                Some(width) => {
                    beginning(line, width.saturating_sub(indent.width() + branch.width()))
                }
                None => line.to_owned(),
            });
            text.push('\n');
            if let Some(node) = below {
                node.draw(&format!("{indent}{more}"), layers, width, text);
            }
        }
    }

    fn to_json(&self, layers: &Layers) -> Value {
        let listed = self.listed.as_ref();
        let mut object = json!({
            "digest": self.digest.to_string(),
            "mediaType": self.media_type.to_string(),
            "size": self.size,
        });
        let mut set = |name: &str, value: Value| {
            if let Some(object) = object.as_object_mut() {
                object.insert(name.to_owned(), value);
            }
        };
        if let Some(about) = listed.and_then(described) {
            set("attestationOf", json!(about.to_string()));
        }
        let runnable = [MediaType::OCI_CONFIG, MediaType::DOCKER_CONFIG];
        let artifact_type = self.artifact_type.as_ref();
        // Of a runnable image it is only the type of its config again.
        if let Some(artifact_type) = artifact_type.filter(|one| !runnable.contains(one)) {
            set("artifactType", json!(artifact_type.to_string()));
        }
        if let Some(subject) = &self.subject {
            set("subject", json!(subject.to_string()));
        }
        if !self.annotations.is_empty() {
            set("annotations", json!(self.annotations));
        }
        if let Some(platform) = listed.and_then(|listed| listed.platform.as_ref()) {
            set("platform", json!(platform.to_string()));
        }
        match &self.content {
            Content::Index(children) => {
                let children = children.iter().map(|child| match child {
                    Child::Here(node) => node.to_json(layers),
                    Child::Absent(listed) => json!({
                        "digest": listed.digest.to_string(),
                        "mediaType": listed.media_type.to_string(),
                        "size": listed.size,
                        "absent": true,
                    }),
                });
                set("manifests", children.collect());
            }
            Content::Image {
                config,
                details,
                layers: own,
            } => {
                if let Some(details) = details {
                    set("platform", json!(details.platform().to_string()));
                    set("created", json!(details.created));
                    let history = details.history.iter().map(|step| {
                        json!({
                            "created": step.created,
                            "createdBy": step.created_by,
                            "emptyLayer": step.empty_layer,
                        })
                    });
                    set("history", history.collect());
                }
                set("config", layers.to_json(config, None));
                let own = own
                    .iter()
                    .map(|layer| layers.to_json(&layer.descriptor, layer.created_by.as_deref()));
                set("layers", own.collect());
            }
            Content::Artifact(blobs) => {
                set(
                    "blobs",
                    blobs
                        .iter()
                        .map(|blob| layers.to_json(blob, None))
                        .collect(),
                );
            }
            Content::Schema1(own) => {
                let own = own
                    .iter()
                    .map(|digest| json!({"digest": digest.to_string()}));
                set("layers", own.collect());
            }
            Content::Other => {}
        }
        object
    }
}

impl Child {
    async fn of(
        source: &dyn Source,
        listed: Descriptor,
        depth: usize,
        count: &AtomicUsize,
    ) -> Result<Self, CliError> {
        if !listed.media_type.is_manifest() {
            return Ok(Self::Absent(Box::new(listed)));
        }
        let selector = Selector::Digest(listed.digest.clone());
        match source.manifest(Some(&selector)).await {
            Ok(manifest) => Node::of(source, manifest, Some(listed), depth, count)
                .await
                .map(|node| Self::Here(Box::new(node))),
            Err(error) if error.kind() == ContentErrorKind::NotFound => {
                Ok(Self::Absent(Box::new(listed)))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// The config of a runnable image; other artifacts have something of their own there.
async fn details(
    source: &dyn Source,
    config: &Descriptor,
) -> Result<Option<Box<ImageConfig>>, CliError> {
    if ![MediaType::OCI_CONFIG, MediaType::DOCKER_CONFIG].contains(&config.media_type) {
        return Ok(None);
    }
    let bytes = read_verified(source, config, MAX_CONFIG_SIZE).await?;
    // A config that cannot be read leaves the rest of the image to be seen.
    Ok(ImageConfig::parse(bytes)
        .ok()
        .map(|config| Box::new(config.into_value())))
}

/// For each layer the command that made it, where the history tells.
fn commands(config: Option<&ImageConfig>, count: usize) -> Vec<Option<String>> {
    let mut commands = vec![None; count];
    for step in config.and_then(ImageConfig::steps).unwrap_or_default() {
        let slot = step.layer.and_then(|layer| commands.get_mut(layer));
        if let Some(slot) = slot {
            slot.clone_from(&step.history.created_by);
        }
    }
    commands
}

/// Which blobs there are, and in how many images each is.
#[derive(Default)]
struct Layers {
    uses: BTreeMap<Digest, (u64, usize)>,
}

impl Layers {
    fn count(&mut self, node: &Node) {
        let own: Vec<&Descriptor> = match &node.content {
            Content::Index(children) => {
                for child in children {
                    if let Child::Here(node) = child {
                        self.count(node);
                    }
                }
                Vec::new()
            }
            Content::Image { config, layers, .. } => std::iter::once(config.as_ref())
                .chain(layers.iter().map(|layer| &layer.descriptor))
                .collect(),
            Content::Artifact(blobs) => blobs.iter().collect(),
            Content::Schema1(_) | Content::Other => Vec::new(),
        };
        let mut seen = BTreeSet::new();
        for descriptor in own {
            // A layer that is in one image twice is not shared with another.
            if seen.insert(&descriptor.digest) {
                let entry = self
                    .uses
                    .entry(descriptor.digest.clone())
                    .or_insert((descriptor.size, 0));
                entry.1 += 1;
            }
        }
    }

    fn users(&self, digest: &Digest) -> usize {
        self.uses.get(digest).map_or(0, |(_, users)| *users)
    }

    /// The bytes of all blobs, each once.
    fn total(&self) -> u64 {
        sum(self.uses.values().map(|(size, _)| *size))
    }

    /// The bytes of those that more than one image has.
    fn shared(&self) -> u64 {
        let shared = self.uses.values().filter(|(_, users)| *users > 1);
        sum(shared.map(|(size, _)| *size))
    }

    fn row(&self, name: &str, descriptor: &Descriptor, command: Option<&str>) -> String {
        let users = self.users(&descriptor.digest);
        let shared = if users > 1 {
            format!("  shared by {users}")
        } else {
            String::new()
        };
        let size = human_size(descriptor.size);
        let command = command.map(one_line).unwrap_or_default();
        format!(
            "{name:<8} {}  {size:>9}{shared}  {command}",
            short(&descriptor.digest)
        )
    }

    fn to_json(&self, descriptor: &Descriptor, command: Option<&str>) -> Value {
        let mut value = json!({
            "digest": descriptor.digest.to_string(),
            "mediaType": descriptor.media_type.to_string(),
            "size": descriptor.size,
            "sharedBy": self.users(&descriptor.digest),
        });
        if let (Some(command), Some(value)) = (command, value.as_object_mut()) {
            value.insert("createdBy".to_owned(), json!(command));
        }
        value
    }
}

/// All sizes together. A manifest may say any, so it can be more than there are numbers for.
fn sum(sizes: impl Iterator<Item = u64>) -> u64 {
    sizes.fold(0, u64::saturating_add)
}

/// The manifest that an attestation is about.
fn described(listed: &Descriptor) -> Option<Digest> {
    listed.annotation(DOCKER_REFERENCE_TYPE)?;
    listed.annotation(DOCKER_REFERENCE_DIGEST)?.parse().ok()
}

fn kind(media_type: &MediaType) -> &'static str {
    match media_type.as_str() {
        "application/vnd.oci.image.index.v1+json" => "OCI index",
        "application/vnd.docker.distribution.manifest.list.v2+json" => "Docker manifest list",
        "application/vnd.oci.image.manifest.v1+json" => "OCI manifest",
        "application/vnd.docker.distribution.manifest.v2+json" => "Docker manifest",
        "application/vnd.oci.artifact.manifest.v1+json" => "OCI artifact manifest",
        _ if media_type.as_str().contains(".manifest.v1+") => "Docker schema 1 manifest",
        _ => "manifest",
    }
}

/// Enough of a digest to tell it from others.
fn short(digest: &Digest) -> String {
    let text = digest.to_string();
    match text.split_once(':') {
        Some((algorithm, hex)) => format!("{algorithm}:{}", hex.get(..12).unwrap_or(hex)),
        None => text,
    }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// A command on one line, cut to a readable length.
fn one_line(command: &str) -> String {
    let words: Vec<_> = command.split_whitespace().collect();
    beginning(&printable(&words.join(" ")), COMMAND_WIDTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_fit_a_line() {
        assert_eq!(one_line("RUN a \\\n\t b"), "RUN a \\ b");
        assert_eq!(one_line(&"x".repeat(100)).chars().count(), COMMAND_WIDTH);
        assert_eq!(one_line("a\u{1b}[2J"), "a\u{fffd}[2J");
    }

    #[test]
    fn sizes_that_nobody_can_have_are_summed_up_without_a_panic() {
        assert_eq!(sum([u64::MAX, 1].into_iter()), u64::MAX);
    }

    #[test]
    fn digests_are_cut() {
        let digest = Digest::sha256_of(b"");
        assert_eq!(short(&digest), "sha256:e3b0c44298fc");
    }
}
