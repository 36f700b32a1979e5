//! The blobs that the images of a tree consist of, each counted once, and what they share.

use std::collections::{BTreeMap, BTreeSet};

use peak_sdk::oci::{Descriptor, Digest};

use super::node::{Child, Content, Node};

/// Which blobs there are, and in how many images each is.
#[derive(Default)]
pub(super) struct Blobs {
    /// The size of each, and the number of its images.
    uses: BTreeMap<Digest, (u64, usize)>,
}

impl Blobs {
    pub(super) fn of(root: &Node) -> Self {
        let mut blobs = Self::default();
        blobs.count(root);
        blobs
    }

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

    /// How many images have the blob.
    pub(super) fn users(&self, digest: &Digest) -> usize {
        self.uses.get(digest).map_or(0, |(_, users)| *users)
    }

    /// How many blobs there are.
    pub(super) fn len(&self) -> usize {
        self.uses.len()
    }

    /// The bytes of all blobs, each once.
    pub(super) fn total(&self) -> u64 {
        sum(self.uses.values().map(|(size, _)| *size))
    }

    /// The bytes of those that more than one image has.
    pub(super) fn shared(&self) -> u64 {
        let shared = self.uses.values().filter(|(_, users)| *users > 1);
        sum(shared.map(|(size, _)| *size))
    }
}

/// All sizes together. A manifest may say any, so it can be more than there are numbers for.
pub(super) fn sum(sizes: impl Iterator<Item = u64>) -> u64 {
    sizes.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_nobody_can_have_are_summed_up_without_a_panic() {
        assert_eq!(sum([u64::MAX, 1].into_iter()), u64::MAX);
    }
}
