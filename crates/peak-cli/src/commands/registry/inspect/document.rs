//! The tree of an image or an index as one document, for a program.

use peak_sdk::oci::{Descriptor, MediaType};
use serde_json::{Value, json};

use super::blobs::Blobs;
use super::node::{Child, Content, Node};

/// All of it.
pub(super) fn document(reference: &str, root: &Node, blobs: &Blobs) -> Value {
    json!({
        "reference": reference,
        "manifest": manifest(root, blobs),
        "blobs": blobs.len(),
        "totalSize": blobs.total(),
        "sharedSize": blobs.shared(),
    })
}

/// A manifest, and what it leads to.
fn manifest(node: &Node, blobs: &Blobs) -> Value {
    let mut object = json!({
        "digest": node.digest.to_string(),
        "mediaType": node.media_type.to_string(),
        "size": node.size,
    });
    let mut set = |name: &str, value: Value| {
        if let Some(object) = object.as_object_mut() {
            object.insert(name.to_owned(), value);
        }
    };
    if let Some(about) = node.attested() {
        set("attestationOf", json!(about.to_string()));
    }
    let runnable = [MediaType::OCI_CONFIG, MediaType::DOCKER_CONFIG];
    let artifact_type = node.artifact_type.as_ref();
    // Of a runnable image it is only the type of its config again.
    if let Some(artifact_type) = artifact_type.filter(|one| !runnable.contains(one)) {
        set("artifactType", json!(artifact_type.to_string()));
    }
    if let Some(subject) = &node.subject {
        set("subject", json!(subject.to_string()));
    }
    if !node.annotations.is_empty() {
        set("annotations", json!(node.annotations));
    }
    if let Some(platform) = node
        .listed
        .as_ref()
        .and_then(|listed| listed.platform.as_ref())
    {
        set("platform", json!(platform.to_string()));
    }
    match &node.content {
        Content::Index(children) => {
            let children = children.iter().map(|child| match child {
                Child::Here(node) => manifest(node, blobs),
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
            layers,
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
            set("config", blob(blobs, config, None));
            let layers = layers
                .iter()
                .map(|layer| blob(blobs, &layer.descriptor, layer.created_by.as_deref()));
            set("layers", layers.collect());
        }
        Content::Artifact(own) => {
            set(
                "blobs",
                own.iter().map(|own| blob(blobs, own, None)).collect(),
            );
        }
        Content::Schema1(layers) => {
            let layers = layers
                .iter()
                .map(|digest| json!({"digest": digest.to_string()}));
            set("layers", layers.collect());
        }
        Content::Other => {}
    }
    object
}

/// A config, a layer or another blob.
fn blob(blobs: &Blobs, descriptor: &Descriptor, command: Option<&str>) -> Value {
    let mut value = json!({
        "digest": descriptor.digest.to_string(),
        "mediaType": descriptor.media_type.to_string(),
        "size": descriptor.size,
        "sharedBy": blobs.users(&descriptor.digest),
    });
    if let (Some(command), Some(value)) = (command, value.as_object_mut()) {
        value.insert("createdBy".to_owned(), json!(command));
    }
    value
}
