//! File trees in memory: what an artifact or the layers of an image add up to.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::contents::ContentNumber;
use super::error::Problem;
use super::path;

/// What an entry takes in memory beside its path, roughly, in bytes.
pub(crate) const NODE_WEIGHT: usize = 128;

/// The longest path, or target of a link, that an image has here, in bytes; as on Linux.
pub(crate) const MAX_PATH: usize = 4096;

/// How many symbolic links are followed for one path, as Linux does.
const MAX_LINKS: usize = 40;

/// The mode of directories that nobody described.
pub(crate) const DIRECTORY_MODE: u32 = 0o755;

/// One entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub kind: Kind,
    /// The permission bits, with those for set-user-id, set-group-id and sticky.
    pub mode: u32,
    pub owner: Owner,
}

/// Who an entry belongs to, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Owner {
    pub user: u32,
    pub group: u32,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Directory,
    File {
        size: u64,
        content: Content,
    },
    Symlink {
        target: String,
    },
    /// A device, a pipe, a socket or another thing without content.
    Special,
}

/// Where the content of a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// On disk, for this build.
    Disk(ContentNumber),
    /// In a layer of an image in the registry, under this path.
    Layer { layer: usize, path: String },
}

impl Node {
    /// A directory as it is made when nobody says how.
    pub(crate) fn directory() -> Self {
        Self {
            kind: Kind::Directory,
            mode: DIRECTORY_MODE,
            owner: Owner::default(),
        }
    }

    pub(crate) fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory)
    }

    /// What it is, for messages.
    pub(crate) fn noun(&self) -> &'static str {
        match self.kind {
            Kind::Directory => "directory",
            Kind::File { .. } => "file",
            Kind::Symlink { .. } => "symbolic link",
            Kind::Special => "special file",
        }
    }
}

/// Paths and what stands there. The root is always a directory and has no entry of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tree {
    nodes: BTreeMap<String, Node>,
    /// The lengths of all paths together.
    path_bytes: usize,
}

impl Tree {
    /// What the tree takes in memory, roughly, in bytes.
    pub(crate) fn weight(&self) -> usize {
        self.path_bytes + self.nodes.len() * NODE_WEIGHT
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The entry at exactly this path, no links followed.
    pub(crate) fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// Whether a directory is at exactly this path.
    pub(crate) fn is_directory(&self, path: &str) -> bool {
        path.is_empty() || self.get(path).is_some_and(Node::is_directory)
    }

    /// All entries, sorted by the bytes of their paths.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_str(), node))
    }

    /// All entries below a directory with their paths from there, parents before children.
    pub(crate) fn below<'a>(
        &'a self,
        directory: &str,
    ) -> impl Iterator<Item = (&'a str, &'a Node)> + use<'a> {
        let prefix = if directory.is_empty() {
            String::new()
        } else {
            format!("{directory}/")
        };
        self.nodes
            .range::<str, _>((Bound::Included(prefix.as_str()), Bound::Unbounded))
            .map_while(move |(path, node)| Some((path.strip_prefix(&prefix)?, node)))
    }

    /// The part of the tree below a directory, as a tree of its own.
    pub(crate) fn subtree(&self, directory: &str) -> Self {
        let mut tree = Self::default();
        for (path, node) in self.below(directory) {
            tree.put(path, node.clone());
        }
        tree
    }

    /// Puts an entry there, over what was there. A directory over a directory keeps what is in it.
    pub(crate) fn insert(&mut self, path: &str, node: Node) {
        if path.is_empty() {
            return;
        }
        if !node.is_directory() {
            self.remove_below(path);
        }
        self.put(path, node);
    }

    /// Makes the directories above a path where nothing is.
    pub(crate) fn insert_parents(&mut self, path: &str) {
        for parent in path::ancestors(path) {
            if !self.nodes.contains_key(parent) {
                self.put(parent, Node::directory());
            }
        }
    }

    /// Removes an entry and what is below it.
    pub(crate) fn remove(&mut self, path: &str) {
        self.take(path);
        self.remove_below(path);
    }

    /// Removes what is below a directory.
    pub(crate) fn remove_below(&mut self, directory: &str) {
        let below: Vec<String> = self
            .below(directory)
            .map(|(path, _)| path::join(directory, path))
            .collect();
        for path in below {
            self.take(&path);
        }
    }

    fn put(&mut self, path: &str, node: Node) {
        if self.nodes.insert(path.to_owned(), node).is_none() {
            self.path_bytes += path.len();
        }
    }

    fn take(&mut self, path: &str) {
        if self.nodes.remove(path).is_some() {
            self.path_bytes -= path.len();
        }
    }

    /// Follows the symbolic links in a path, the last component's too, as a process would whose
    /// root is this tree. What does not exist is taken as it is written.
    pub(crate) fn follow(&self, path: &str) -> Result<String, Problem> {
        self.walk(path, true)
    }

    /// As [`follow`](Self::follow), but the last component is taken as it is.
    pub(crate) fn follow_parents(&self, path: &str) -> Result<String, Problem> {
        self.walk(path, false)
    }

    fn walk(&self, path: &str, last_too: bool) -> Result<String, Problem> {
        let mut rest: Vec<String> = path::components(path).rev().map(str::to_owned).collect();
        let mut done = String::new();
        let mut links = 0;
        while let Some(component) = rest.pop() {
            match component.as_str() {
                "." => continue,
                ".." => {
                    done = path::parent(&done).unwrap_or_default().to_owned();
                    continue;
                }
                _ => {}
            }
            let next = path::join(&done, &component);
            match self.get(&next).map(|node| &node.kind) {
                Some(Kind::Symlink { target }) if last_too || !rest.is_empty() => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Problem::LinkLoop {
                            path: path.to_owned(),
                        });
                    }
                    if target.starts_with('/') {
                        done.clear();
                    }
                    rest.extend(path::components(target).rev().map(str::to_owned));
                }
                _ => done = next,
            }
        }
        Ok(done)
    }
}

/// Trees for the builder's tests.
#[cfg(test)]
pub(crate) mod samples {
    use super::*;

    /// An empty file of a layer.
    pub(crate) fn file() -> Node {
        let content = Content::Layer {
            layer: 0,
            path: String::new(),
        };
        Node {
            kind: Kind::File { size: 0, content },
            mode: 0o644,
            owner: Owner::default(),
        }
    }

    /// A symbolic link.
    pub(crate) fn link(target: &str) -> Node {
        let kind = Kind::Symlink {
            target: target.to_owned(),
        };
        Node {
            kind,
            mode: 0o777,
            owner: Owner::default(),
        }
    }

    /// These entries, with the directories above them.
    pub(crate) fn tree(entries: &[(&str, Node)]) -> Tree {
        let mut tree = Tree::default();
        for (path, node) in entries {
            tree.insert_parents(path);
            tree.insert(path, node.clone());
        }
        tree
    }
}

#[cfg(test)]
mod tests {
    use super::samples::{link, tree};
    use super::*;

    #[test]
    fn links_are_followed_inside_the_tree_only() {
        let tree = tree(&[
            ("usr/lib", Node::directory()),
            ("lib", link("usr/lib")),
            ("up", link("../../../usr")),
            ("absolute", link("/usr/lib")),
            ("a", link("b")),
            ("b", link("a")),
        ]);
        assert_eq!(tree.follow("lib/x.so").unwrap(), "usr/lib/x.so");
        assert_eq!(tree.follow("up/lib").unwrap(), "usr/lib");
        assert_eq!(tree.follow("absolute/x").unwrap(), "usr/lib/x");
        assert_eq!(tree.follow_parents("lib").unwrap(), "lib");
        assert_eq!(tree.follow("new/path").unwrap(), "new/path");
        assert!(matches!(tree.follow("a/x"), Err(Problem::LinkLoop { .. })));
    }

    #[test]
    fn what_is_below_does_not_take_in_neighbours() {
        let tree = tree(&[
            ("a/x", Node::directory()),
            ("a-b", Node::directory()),
            ("a/x/y", Node::directory()),
            ("ab", Node::directory()),
        ]);
        assert_eq!(
            tree.below("a").map(|(path, _)| path).collect::<Vec<_>>(),
            ["x", "x/y"]
        );
        assert_eq!(tree.subtree("a").len(), 2);
    }

    #[test]
    fn a_file_over_a_directory_takes_its_content_away() {
        let mut tree = tree(&[("a/b/c", Node::directory())]);
        tree.insert("a", link("x"));
        assert_eq!(tree.len(), 1);
        assert_eq!(tree.weight(), NODE_WEIGHT + 1);
        tree.insert("a", Node::directory());
        assert!(tree.is_directory("a"));
    }
}
