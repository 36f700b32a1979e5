//! The tree of an image or an index as text, for a person.

use peak_sdk::oci::{Descriptor, Digest, MediaType};
use unicode_width::UnicodeWidthStr as _;

use super::blobs::{Blobs, sum};
use super::node::{Child, Content, Node};
use crate::output::{counted, human_size, printable};
use crate::table::beginning;

/// How much of a command is shown, in characters.
const COMMAND_WIDTH: usize = 60;

/// All of it: what it is, a branch for each thing below it, and what there is altogether. Lines end at the width.
pub(super) fn text(reference: &str, root: &Node, blobs: &Blobs, width: Option<usize>) -> String {
    let mut text = format!("{}\n{}\n", printable(reference), title(root));
    draw(root, blobs, "", width, &mut text);
    text.extend([format!(
        "{} in {} blobs",
        human_size(blobs.total()),
        blobs.len()
    )]);
    if blobs.shared() > 0 {
        text.extend([format!(
            ", {} of it shared between images",
            human_size(blobs.shared())
        )]);
    }
    text.push('\n');
    text
}

/// The lines of a manifest that stands alone: its digest fills one.
fn title(node: &Node) -> String {
    let kind = kind(&node.media_type);
    let purpose = purpose(node).map(|text| format!(", {}", printable(&text)));
    format!(
        "{}\n{kind}, {}{}",
        node.digest,
        human_size(node.size),
        purpose.unwrap_or_default()
    )
}

/// The line of a manifest in an index.
fn line(node: &Node) -> String {
    let purpose = purpose(node);
    let purpose = purpose.unwrap_or_else(|| kind(&node.media_type).to_owned());
    let content = match &node.content {
        Content::Image { layers, .. } => {
            let size = sum(layers.iter().map(|layer| layer.descriptor.size));
            format!("{} in {}", human_size(size), counted(layers.len(), "layer"))
        }
        Content::Index(children) => counted(children.len(), "manifest"),
        Content::Artifact(blobs) => counted(blobs.len(), "blob"),
        Content::Schema1(layers) => counted(layers.len(), "layer"),
        Content::Other => human_size(node.size),
    };
    format!(
        "{}  {}  {content}",
        printable(&purpose),
        short(&node.digest)
    )
}

/// What is below it, as branches.
fn draw(node: &Node, blobs: &Blobs, indent: &str, width: Option<usize>, text: &mut String) {
    let mut branches: Vec<(String, Option<&Node>)> = Vec::new();
    if let Some(subject) = &node.subject {
        branches.push((format!("refers to {}", short(subject)), None));
    }
    match &node.content {
        Content::Index(children) => {
            for child in children {
                branches.push(match child {
                    Child::Here(node) => (line(node), Some(node)),
                    Child::Absent(listed) => {
                        let platform = listed.platform.as_ref().map(ToString::to_string);
                        let name = platform.unwrap_or_else(|| kind(&listed.media_type).to_owned());
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
        Content::Image { config, layers, .. } => {
            branches.push((row(blobs, "config", config, None), None));
            for (number, layer) in layers.iter().enumerate() {
                let name = format!("layer {}", number + 1);
                let row = row(blobs, &name, &layer.descriptor, layer.created_by.as_deref());
                branches.push((row, None));
            }
        }
        Content::Artifact(own) => {
            for blob in own {
                branches.push((row(blobs, "blob", blob, None), None));
            }
        }
        Content::Schema1(layers) => {
            for (number, digest) in layers.iter().enumerate() {
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
            Some(width) => beginning(line, width.saturating_sub(indent.width() + branch.width())),
            None => line.to_owned(),
        });
        text.push('\n');
        if let Some(node) = below {
            draw(node, blobs, &format!("{indent}{more}"), width, text);
        }
    }
}

/// The branch of a blob.
fn row(blobs: &Blobs, name: &str, descriptor: &Descriptor, command: Option<&str>) -> String {
    let users = blobs.users(&descriptor.digest);
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

/// What it is for: a platform, or what it says about another.
fn purpose(node: &Node) -> Option<String> {
    if let Some(about) = node.attested() {
        return Some(format!("attestation of {}", short(&about)));
    }
    if let Some(platform) = node
        .listed
        .as_ref()
        .and_then(|listed| listed.platform.as_ref())
        .filter(|platform| platform.is_known())
    {
        return Some(platform.to_string());
    }
    match &node.content {
        Content::Image {
            details: Some(config),
            ..
        } => Some(config.platform().to_string()),
        Content::Image { .. } | Content::Artifact(_) => {
            node.artifact_type.as_ref().map(ToString::to_string)
        }
        _ => None,
    }
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
    fn digests_are_cut() {
        let digest = Digest::sha256_of(b"");
        assert_eq!(short(&digest), "sha256:e3b0c44298fc");
    }
}
