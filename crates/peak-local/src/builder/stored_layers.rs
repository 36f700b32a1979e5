//! The files in the layers of images of the embedded registry.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead as _, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use peak_oci::{Digest, RepositoryName};
use peak_registry_server::Store;

use super::contents::Contents;
use super::error::{BuildError, Fault, Problem};
use super::limits::Limits;
use super::path;
use super::stop::Stop;
use super::tarball::{self, Member, MemberKind, TarError};
use super::tree::{Content, Kind, MAX_PATH, NODE_WEIGHT, Node, Tree};

/// The beginnings of compressed layers.
pub(crate) const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];
pub(crate) const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// What is wrong with layers that would fill the memory.
const TOO_LARGE: &str = "it has too many files or too much in them";

/// The start of names that mark deletions in layers, and the name that empties a directory.
pub(crate) const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";

/// A layer that files may still have to be read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredLayer {
    pub repository: RepositoryName,
    pub digest: Digest,
}

/// The layers of stored images that trees of this build refer to by number.
#[derive(Debug)]
pub(crate) struct StoredLayers<'a> {
    store: &'a Store,
    limits: &'a Limits,
    layers: Vec<StoredLayer>,
}

impl<'a> StoredLayers<'a> {
    pub(crate) fn new(store: &'a Store, limits: &'a Limits) -> Self {
        Self {
            store,
            limits,
            layers: Vec::new(),
        }
    }

    /// What the layers add up to, the base first. Reads all of them.
    pub(crate) fn tree(
        &mut self,
        layers: &[StoredLayer],
        stop: Stop<'_>,
    ) -> Result<Tree, BuildError> {
        let mut tree = Tree::default();
        let mut bytes = 0;
        for layer in layers {
            let number = self.number(layer);
            let mut changes = LayerChanges::default();
            let limits = self.limits;
            let weight = tree.weight();
            self.read(layer, stop, |member, _| {
                if let MemberKind::File { size } = member.kind {
                    bytes += size;
                }
                changes.add(member, number, &tree)?;
                if weight + changes.weight > limits.tree_bytes || bytes > limits.base_bytes {
                    return Err(TarError::Malformed(TOO_LARGE.to_owned()));
                }
                Ok(())
            })?;
            changes
                .apply(&mut tree, limits.tree_bytes, stop)
                .map_err(|fault| match fault {
                    Fault::Problem(problem) => unreadable(layer, &problem.to_string()),
                    Fault::Build(error) => error,
                })?;
        }
        Ok(tree)
    }

    /// Brings the contents that are still in layers to disk.
    pub(crate) fn fetch(
        &self,
        entries: &mut BTreeMap<String, Node>,
        contents: &mut Contents,
        stop: Stop<'_>,
    ) -> Result<(), BuildError> {
        let mut wanted: BTreeMap<usize, HashMap<String, Content>> = BTreeMap::new();
        for node in entries.values() {
            if let Kind::File {
                content: content @ Content::Layer { layer, path },
                ..
            } = &node.kind
            {
                wanted
                    .entry(*layer)
                    .or_default()
                    .insert(path.clone(), content.clone());
            }
        }
        for (number, files) in &mut wanted {
            let Some(layer) = self.layers.get(*number) else {
                continue;
            };
            self.read(layer, stop, |member, reader| {
                if matches!(member.kind, MemberKind::File { .. })
                    && let Some(content) = files.get_mut(&member.path)
                {
                    *content = tarball::save(reader, contents)?;
                }
                Ok(())
            })?;
        }
        for (path, node) in entries {
            if let Kind::File { content, .. } = &mut node.kind
                && let Content::Layer {
                    layer,
                    path: inside,
                } = content
            {
                let fetched = wanted.get(layer).and_then(|files| files.get(inside));
                let Some(disk @ Content::Disk(_)) = fetched else {
                    let source = std::io::Error::other(format!("{path:?} is not there"));
                    let action = "read a file of a layer";
                    return Err(BuildError::Disk { action, source });
                };
                *content = disk.clone();
            }
        }
        Ok(())
    }

    fn number(&mut self, layer: &StoredLayer) -> usize {
        self.layers
            .iter()
            .position(|known| known == layer)
            .unwrap_or_else(|| {
                self.layers.push(layer.clone());
                self.layers.len() - 1
            })
    }

    fn read(
        &self,
        layer: &StoredLayer,
        stop: Stop<'_>,
        visit: impl FnMut(Member, &mut dyn Read) -> Result<(), TarError>,
    ) -> Result<(), BuildError> {
        let blob = self
            .store
            .repository(&layer.repository)
            .blob(&layer.digest)
            .map_err(BuildError::store("read a layer from"))?;
        let mut reader = BufReader::with_capacity(64 * 1024, stop.watch(blob.content));
        let read = match decoder(&mut reader) {
            Ok(Some(decoder)) => tarball::read(decoder, visit),
            Ok(None) => Err(TarError::Malformed(
                "it is compressed with zstd, which the embedded builder does not read".to_owned(),
            )),
            Err(error) => Err(TarError::Read(error)),
        };
        stop.check()?;
        read.map_err(|error| match error {
            TarError::Visit(error) => error,
            TarError::Malformed(reason) => unreadable(layer, &reason),
            TarError::Read(error) => unreadable(layer, &error.to_string()),
        })
    }
}

/// Looks at how a layer begins; what it is called does not always tell. `None`: cannot be read.
fn decoder<'r>(
    reader: &'r mut BufReader<impl Read>,
) -> std::io::Result<Option<Box<dyn Read + 'r>>> {
    let head = reader.fill_buf()?;
    if head.starts_with(ZSTD_MAGIC) {
        return Ok(None);
    }
    let compressed = head.starts_with(GZIP_MAGIC);
    Ok(Some(if compressed {
        Box::new(MultiGzDecoder::new(reader))
    } else {
        Box::new(reader)
    }))
}

fn unreadable(layer: &StoredLayer, reason: &str) -> BuildError {
    let source = std::io::Error::other(format!(
        "{} of {}: {reason}",
        layer.digest, layer.repository
    ));
    BuildError::Disk {
        action: "read a layer",
        source,
    }
}

/// What one layer changes. Deletions are of what lower layers have, wherever in the layer they
/// stand.
#[derive(Default)]
struct LayerChanges {
    added: BTreeMap<String, Node>,
    deleted: Vec<String>,
    emptied: Vec<String>,
    /// What all of this takes in memory, roughly, in bytes.
    weight: usize,
}

impl LayerChanges {
    fn add(&mut self, member: Member, layer: usize, lower: &Tree) -> Result<(), TarError> {
        let Member {
            path,
            kind,
            mode,
            owner,
        } = member;
        // A path stands in a file's content as well, a target in a link or its copy.
        let link = match &kind {
            MemberKind::Symlink { target } | MemberKind::HardLink { target } => target.len(),
            _ => path.len(),
        };
        if path.len().max(link) > MAX_PATH {
            return Err(TarError::Malformed(
                "it has a path that is too long".to_owned(),
            ));
        }
        self.weight += path.len() + link + NODE_WEIGHT;
        let directory = path::parent(&path).unwrap_or_default();
        let name = path::name(&path);
        if name == OPAQUE {
            self.emptied.push(directory.to_owned());
            return Ok(());
        }
        if let Some(deleted) = name.strip_prefix(WHITEOUT) {
            // Names that start with two of the prefix are for the storage's own use.
            if !deleted.starts_with(WHITEOUT) {
                self.deleted.push(path::join(directory, deleted));
            }
            return Ok(());
        }
        let kind = match kind {
            MemberKind::Directory => Kind::Directory,
            MemberKind::File { size } => Kind::File {
                size,
                content: Content::Layer {
                    layer,
                    path: path.clone(),
                },
            },
            MemberKind::Symlink { target } => Kind::Symlink { target },
            MemberKind::Special => Kind::Special,
            MemberKind::HardLink { target } => {
                let node = self.added.get(&target).or_else(|| lower.get(&target));
                let node = node
                    .cloned()
                    .ok_or_else(|| TarError::Malformed(format!("{path:?} is a link to nothing")))?;
                self.added.insert(path, node);
                return Ok(());
            }
        };
        self.added.insert(path, Node { kind, mode, owner });
        Ok(())
    }

    fn apply(self, tree: &mut Tree, limit: usize, stop: Stop<'_>) -> Result<(), Fault> {
        for directory in &self.emptied {
            let directory = tree.follow(directory)?;
            tree.remove_below(&directory);
        }
        for path in &self.deleted {
            let path = tree.follow_parents(path)?;
            tree.remove(&path);
        }
        for (path, node) in self.added {
            let path = tree.follow_parents(&path)?;
            tree.insert_parents(&path);
            tree.insert(&path, node);
            stop.check()?;
            // Directories that no entry describes come in here.
            if tree.weight() > limit {
                return Err(Problem::malformed(TOO_LARGE).into());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::super::tree::Owner;
    use super::*;

    fn member(path: &str, kind: MemberKind) -> Member {
        Member {
            path: path.to_owned(),
            kind,
            mode: 0o644,
            owner: Owner::default(),
        }
    }

    fn apply(tree: &mut Tree, layer: usize, members: Vec<Member>) {
        let mut changes = LayerChanges::default();
        for member in members {
            changes.add(member, layer, tree).unwrap();
        }
        let stop = AtomicBool::new(false);
        changes.apply(tree, usize::MAX, Stop::new(&stop)).unwrap();
    }

    fn names(tree: &Tree) -> Vec<&str> {
        tree.iter().map(|(path, _)| path).collect()
    }

    fn file(path: &str) -> Member {
        member(path, MemberKind::File { size: 1 })
    }

    #[test]
    fn layers_delete_what_is_below_them_only() {
        let mut tree = Tree::default();
        apply(
            &mut tree,
            0,
            vec![file("a/x"), file("a/y"), file("b/x"), file("b/y")],
        );
        // A marker counts for lower layers, even where it follows what its own layer adds.
        apply(
            &mut tree,
            1,
            vec![
                file("a/new"),
                file("a/.wh.x"),
                file("b/new"),
                file("b/.wh..wh..opq"),
            ],
        );
        assert_eq!(names(&tree), ["a", "a/new", "a/y", "b", "b/new"]);
    }

    #[test]
    fn hard_links_share_the_content_of_their_target() {
        let mut tree = Tree::default();
        apply(&mut tree, 0, vec![file("bin/a")]);
        let link = MemberKind::HardLink {
            target: "bin/a".to_owned(),
        };
        apply(&mut tree, 1, vec![member("bin/b", link)]);
        assert_eq!(tree.get("bin/a"), tree.get("bin/b"));
    }

    #[test]
    fn upper_layers_write_through_links_of_lower_ones() {
        let mut tree = Tree::default();
        let link = MemberKind::Symlink {
            target: "usr/lib".to_owned(),
        };
        apply(
            &mut tree,
            0,
            vec![
                member("lib", link),
                member("usr/lib", MemberKind::Directory),
            ],
        );
        apply(&mut tree, 1, vec![file("lib/x")]);
        assert_eq!(names(&tree), ["lib", "usr", "usr/lib", "usr/lib/x"]);
    }
}
