//! `peak registry inspect`: all that an image or an index consists of, as a tree or as one document.

mod blobs;
mod document;
mod node;
mod tree;

use peak_sdk::registry::Registry;

use self::blobs::Blobs;
use self::document::document;
use self::node::Node;
use super::opened::Opened;
use crate::application::Application;
use crate::error::CliError;
use crate::table::screen_width;

pub(super) async fn inspect(
    application: &Application,
    registry: &Registry,
    reference: &str,
) -> Result<(), CliError> {
    let opened = Opened::open(registry, reference)?;
    let manifest = opened.manifest().await?;
    let root = Node::read(opened.source.as_ref(), manifest).await?;
    let blobs = Blobs::of(&root);
    let reference = &opened.name;
    application
        .output
        .value(&document(reference, &root, &blobs), || {
            Ok(tree::text(reference, &root, &blobs, screen_width()))
        })
}
