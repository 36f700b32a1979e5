//! The rules of `COPY` and `ADD`: which files are meant, and where they go.

use std::collections::BTreeMap;

use super::error::{Fault, Problem};
use super::expand::Word;
use super::path;
use super::pattern::{self, Pattern};
use super::stop::Stop;
use super::stored_layers::WHITEOUT;
use super::tree::{Kind, MAX_PATH, Node, Owner, Tree};

/// How many files and directories the sources of one instruction may name.
const MAX_ITEMS: usize = 200_000;

/// How deep a destination may be nested.
const MAX_DEPTH: usize = 64;

/// One file or directory to be copied.
#[derive(Debug)]
pub(crate) struct Item<'a> {
    pub tree: &'a Tree,
    pub path: String,
    /// What it is called in a destination directory.
    pub name: String,
    /// The path that a person may see.
    pub shown: String,
}

impl Item<'_> {
    /// `None` for the root, which is a directory.
    pub(crate) fn node(&self) -> Option<&Node> {
        self.tree.get(&self.path)
    }

    fn is_directory(&self) -> bool {
        self.tree.is_directory(&self.path)
    }
}

/// Where the items go, and as whose.
#[derive(Debug)]
pub(crate) struct Placement<'a> {
    pub destination: &'a Word,
    pub working_directory: &'a str,
    pub owner: Option<Owner>,
    pub mode: Option<u32>,
}

/// What a layer has: paths and what stands there, with the directories above.
pub(crate) type Changes = BTreeMap<String, Node>;

/// Finds what the sources mean. `place` names the tree in errors.
pub(crate) fn select<'a>(
    tree: &'a Tree,
    sources: &[Word],
    place: &'static str,
    stop: Stop<'_>,
) -> Result<Vec<Item<'a>>, Fault> {
    let mut items = Vec::new();
    for source in sources {
        stop.check()?;
        let relative = source.text.trim_start_matches('/');
        let path = path::resolve("", relative).map_err(|_| Problem::LeavesContext {
            path: source.shown().to_owned(),
        })?;
        if pattern::is_pattern(&path) {
            let pattern = Pattern::parse(&path).map_err(|_| Problem::Pattern {
                pattern: source.shown().to_owned(),
            })?;
            for (path, _) in tree.iter().filter(|(path, _)| pattern.matches(path)) {
                items.push(item(tree, path, path, place)?);
            }
        } else {
            items.push(item(tree, &path, source.shown(), place)?);
        }
        if items.len() > MAX_ITEMS {
            return Err(Problem::malformed("the sources name too many files").into());
        }
    }
    if items.is_empty() {
        let patterns: Vec<&str> = sources.iter().map(Word::shown).collect();
        return Err(Problem::NothingMatches {
            patterns: patterns.join(" "),
            place,
        }
        .into());
    }
    Ok(items)
}

fn item<'a>(
    tree: &'a Tree,
    path: &str,
    shown: &str,
    place: &'static str,
) -> Result<Item<'a>, Problem> {
    let followed = tree.follow(path)?;
    if !followed.is_empty() && tree.get(&followed).is_none() {
        return Err(Problem::NotFound {
            path: shown.to_owned(),
            place,
        });
    }
    let name = path::name(path).to_owned();
    Ok(Item {
        tree,
        path: followed,
        name,
        shown: shown.to_owned(),
    })
}

/// Puts the items into the target and says what a layer must have for it.
pub(crate) fn place(
    items: &[Item<'_>],
    target: &mut Tree,
    placement: &Placement<'_>,
    stop: Stop<'_>,
) -> Result<Changes, Fault> {
    let text = placement.destination.text.as_str();
    let wants_directory = matches!(text.rsplit('/').next(), None | Some("" | "." | ".."));
    let path = target.follow(&path::resolve_clamped(placement.working_directory, text))?;
    if items.len() > 1 && !wants_directory && !target.is_directory(&path) {
        let path = placement.destination.shown().to_owned();
        return Err(Problem::DestinationNotDirectory { path }.into());
    }
    let mut placing = Placing {
        target,
        placement,
        changed: Changes::new(),
    };
    if wants_directory {
        placing.make_directory(&path)?;
    }
    for item in items {
        stop.check()?;
        placing.item(item, &path)?;
    }
    Ok(placing.finish())
}

/// Makes a directory, if it is not there, and says what a layer must have for it.
pub(crate) fn make_directory(target: &mut Tree, path: &str) -> Result<Changes, Problem> {
    let path = target.follow(path)?;
    if target.is_directory(&path) {
        return Ok(Changes::new());
    }
    let destination = Word::plain("");
    let placement = Placement {
        destination: &destination,
        working_directory: "",
        owner: None,
        mode: None,
    };
    let mut placing = Placing {
        target,
        placement: &placement,
        changed: Changes::new(),
    };
    placing.make_directory(&path)?;
    Ok(placing.finish())
}

struct Placing<'a> {
    target: &'a mut Tree,
    placement: &'a Placement<'a>,
    changed: Changes,
}

impl Placing<'_> {
    fn item(&mut self, item: &Item<'_>, destination: &str) -> Result<(), Problem> {
        if !item.is_directory() {
            let Some(node) = item.node() else {
                return Ok(());
            };
            let path = if self.target.is_directory(destination) {
                self.target
                    .follow_parents(&path::join(destination, &item.name))?
            } else {
                destination.to_owned()
            };
            self.make_parents(&path)?;
            return self.put(&path, node);
        }
        if self.target.is_directory(destination) {
            self.note(destination);
        } else {
            self.make_parents(destination)?;
            let node = item.node().cloned().unwrap_or_else(Node::directory);
            self.put(destination, &node)?;
        }
        for (below, node) in item.tree.below(&item.path) {
            self.put(&path::join(destination, below), node)?;
        }
        Ok(())
    }

    /// Puts an entry there with the owner and mode that were asked for.
    fn put(&mut self, path: &str, node: &Node) -> Result<(), Problem> {
        if path::name(path).starts_with(WHITEOUT) {
            return Err(Problem::WhiteoutName {
                path: path.to_owned(),
            });
        }
        if path.len() > MAX_PATH {
            return Err(Problem::malformed("a path in the image would be too long"));
        }
        if matches!(node.kind, Kind::Special) {
            return Err(Problem::SpecialFile {
                path: path.to_owned(),
            });
        }
        if let Some(old) = self.target.get(path)
            && old.is_directory() != node.is_directory()
        {
            return Err(in_the_way(path, old, node.noun()));
        }
        let mut node = node.clone();
        if let Some(owner) = self.placement.owner {
            node.owner = owner;
        }
        if let Some(mode) = self.placement.mode
            && !matches!(node.kind, Kind::Symlink { .. })
        {
            node.mode = mode;
        }
        self.target.insert(path, node.clone());
        self.changed.insert(path.to_owned(), node);
        Ok(())
    }

    fn make_parents(&mut self, path: &str) -> Result<(), Problem> {
        path::parent(path).map_or(Ok(()), |parent| self.make_directory(parent))
    }

    /// Makes a directory and those above it where they are missing.
    fn make_directory(&mut self, path: &str) -> Result<(), Problem> {
        if path.len() > MAX_PATH || path::components(path).count() > MAX_DEPTH {
            return Err(Problem::malformed("a directory would be nested too deeply"));
        }
        for directory in path::ancestors(path).chain([path]) {
            match self.target.get(directory) {
                _ if directory.is_empty() => {}
                Some(node) if node.is_directory() => {}
                Some(node) => return Err(in_the_way(directory, node, "directory")),
                None => {
                    if path::name(directory).starts_with(WHITEOUT) {
                        return Err(Problem::WhiteoutName {
                            path: directory.to_owned(),
                        });
                    }
                    let owner = self.placement.owner.unwrap_or_default();
                    let node = Node {
                        owner,
                        ..Node::directory()
                    };
                    self.target.insert(directory, node.clone());
                    self.changed.insert(directory.to_owned(), node);
                }
            }
        }
        Ok(())
    }

    /// Takes what is there already into the layer.
    fn note(&mut self, path: &str) {
        if let Some(node) = self.target.get(path) {
            self.changed
                .entry(path.to_owned())
                .or_insert_with(|| node.clone());
        }
    }

    /// Adds the directories above, as they are.
    fn finish(mut self) -> Changes {
        let parents: Vec<String> = self
            .changed
            .keys()
            .flat_map(|path| path::ancestors(path))
            .map(str::to_owned)
            .collect();
        for parent in parents {
            self.note(&parent);
        }
        self.changed
    }
}

fn in_the_way(path: &str, old: &Node, wanted: &'static str) -> Problem {
    Problem::InTheWay {
        path: path::absolute(path),
        is: old.noun(),
        wanted,
    }
}

/// Reads `--chown`: numbers only. A user alone is the group as well.
pub(crate) fn owner(word: &Word) -> Result<Owner, Problem> {
    let refused = || Problem::Owner {
        owner: word.shown().to_owned(),
    };
    let number = |text: &str| text.parse::<u32>().map_err(|_| refused());
    let (user, group) = word
        .text
        .split_once(':')
        .unwrap_or((word.text.as_str(), word.text.as_str()));
    Ok(Owner {
        user: number(user)?,
        group: number(group)?,
    })
}

/// Reads `--chmod`: octal digits.
pub(crate) fn mode(word: &Word) -> Result<u32, Problem> {
    u32::from_str_radix(&word.text, 8)
        .ok()
        .filter(|mode| *mode <= 0o7777 && word.text.bytes().all(|byte| byte.is_ascii_digit()))
        .ok_or_else(|| Problem::Mode {
            mode: word.shown().to_owned(),
        })
}

/// Whether a source of `ADD` is an address rather than a path.
pub(crate) fn is_remote(source: &str) -> bool {
    let lower = source.to_ascii_lowercase();
    ["http://", "https://", "ftp://", "git://", "ssh://", "git@"]
        .iter()
        .any(|scheme| lower.starts_with(scheme))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::super::tree::samples::{file, link, tree};
    use super::*;

    fn context() -> Tree {
        tree(&[
            ("a.txt", file()),
            ("b.txt", file()),
            ("dir/x/one", file()),
            ("dir/two", file()),
            ("to-a", link("a.txt")),
            ("broken", link("nowhere")),
        ])
    }

    fn problem(fault: Fault) -> Problem {
        match fault {
            Fault::Problem(problem) => problem,
            Fault::Build(error) => panic!("{error}"),
        }
    }

    fn select<'a>(
        tree: &'a Tree,
        sources: &[Word],
        place: &'static str,
    ) -> Result<Vec<Item<'a>>, Problem> {
        super::select(tree, sources, place, Stop::new(&AtomicBool::new(false))).map_err(problem)
    }

    fn place(
        items: &[Item<'_>],
        target: &mut Tree,
        placement: &Placement<'_>,
    ) -> Result<Changes, Problem> {
        super::place(items, target, placement, Stop::new(&AtomicBool::new(false))).map_err(problem)
    }

    fn copy(
        sources: &[&str],
        destination: &str,
        target: &mut Tree,
    ) -> Result<Vec<String>, Problem> {
        let context = context();
        let sources: Vec<Word> = sources.iter().map(|source| Word::plain(source)).collect();
        let items = select(&context, &sources, "artifact")?;
        let destination = Word::plain(destination);
        let placement = Placement {
            destination: &destination,
            working_directory: "work",
            owner: None,
            mode: None,
        };
        Ok(place(&items, target, &placement)?.into_keys().collect())
    }

    fn fresh(sources: &[&str], destination: &str) -> Result<Vec<String>, Problem> {
        copy(sources, destination, &mut Tree::default())
    }

    #[test]
    fn destinations() {
        for (sources, destination, expected) in [
            (&["a.txt"][..], "/x", &["x"][..]),
            (&["a.txt"], "/x/", &["x", "x/a.txt"]),
            (&["a.txt"], "x", &["work", "work/x"]),
            (&["a.txt"], ".", &["work", "work/a.txt"]),
            (&["a.txt"], "./", &["work", "work/a.txt"]),
            (&["a.txt"], "../y", &["y"]),
            (&["/a.txt"], "/x", &["x"]),
            (&["a.txt", "b.txt"], "/x/", &["x", "x/a.txt", "x/b.txt"]),
            (&["*.txt"], "/x/", &["x", "x/a.txt", "x/b.txt"]),
            (&["a.txt", "none*"], "/x/", &["x", "x/a.txt"]),
            (&["dir"], "/x", &["x", "x/two", "x/x", "x/x/one"]),
            (&["dir/"], "/", &["two", "x", "x/one"]),
            (
                &["dir", "a.txt"],
                "/x/",
                &["x", "x/a.txt", "x/two", "x/x", "x/x/one"],
            ),
            (&["to-a"], "/x/", &["x", "x/to-a"]),
            (&["dir/./x/../two"], "/x", &["x"]),
        ] {
            assert_eq!(
                fresh(sources, destination).unwrap(),
                expected,
                "{sources:?} {destination}"
            );
        }
    }

    #[test]
    fn sources_that_are_not_there() {
        assert!(matches!(
            fresh(&["none"], "/x"),
            Err(Problem::NotFound { .. })
        ));
        assert!(matches!(
            fresh(&["broken"], "/x"),
            Err(Problem::NotFound { .. })
        ));
        assert!(matches!(
            fresh(&["a.txt/x"], "/x"),
            Err(Problem::NotFound { .. })
        ));
        assert!(matches!(
            fresh(&["none*"], "/x"),
            Err(Problem::NothingMatches { .. })
        ));
        for path in ["../x", "dir/../../x", "/../x", "*/../../x"] {
            assert!(
                matches!(fresh(&[path], "/x"), Err(Problem::LeavesContext { .. })),
                "{path}"
            );
        }
        assert!(matches!(fresh(&["[a"], "/x"), Err(Problem::Pattern { .. })));
    }

    #[test]
    fn several_files_need_a_directory() {
        let refused = fresh(&["a.txt", "b.txt"], "/x");
        assert!(matches!(
            refused,
            Err(Problem::DestinationNotDirectory { .. })
        ));
        let mut target = tree(&[("x", Node::directory())]);
        assert!(copy(&["*.txt"], "/x", &mut target).is_ok());
    }

    #[test]
    fn an_existing_directory_takes_files_in() {
        let mut target = tree(&[(
            "x",
            Node {
                mode: 0o700,
                ..Node::directory()
            },
        )]);
        let changed = copy(&["a.txt"], "/x", &mut target).unwrap();
        assert_eq!(changed, ["x", "x/a.txt"]);
        assert_eq!(target.get("x").unwrap().mode, 0o700);
    }

    #[test]
    fn links_of_the_image_are_followed_for_the_destination() {
        let mut target = tree(&[("usr/lib", Node::directory()), ("lib", link("usr/lib"))]);
        let changed = copy(&["a.txt"], "/lib/", &mut target).unwrap();
        assert_eq!(changed, ["usr", "usr/lib", "usr/lib/a.txt"]);
        assert!(matches!(
            target.get("lib").unwrap().kind,
            Kind::Symlink { .. }
        ));
    }

    #[test]
    fn kinds_do_not_replace_each_other() {
        let mut target = tree(&[("x", file())]);
        assert!(matches!(
            copy(&["dir"], "/x", &mut target),
            Err(Problem::InTheWay { .. })
        ));
        assert!(matches!(
            copy(&["a.txt"], "/x/y", &mut target),
            Err(Problem::InTheWay { .. })
        ));
        let mut target = tree(&[("x/a.txt", Node::directory())]);
        assert!(matches!(
            copy(&["a.txt"], "/x/", &mut target),
            Err(Problem::InTheWay { .. })
        ));
        let mut target = tree(&[("x", file())]);
        assert_eq!(copy(&["a.txt"], "/x", &mut target).unwrap(), ["x"]);
    }

    #[test]
    fn endless_destinations_are_refused() {
        for destination in [
            "/a".repeat(MAX_DEPTH + 1),
            format!("/{}/", "a".repeat(MAX_PATH)),
        ] {
            assert!(matches!(
                fresh(&["dir"], &format!("{destination}/x")),
                Err(Problem::Malformed { .. })
            ));
        }
    }

    #[test]
    fn owner_and_mode() {
        assert_eq!(owner(&Word::plain("5")), Ok(Owner { user: 5, group: 5 }));
        assert_eq!(owner(&Word::plain("5:6")), Ok(Owner { user: 5, group: 6 }));
        for text in ["app", "5:app", "", "5:", "-1"] {
            assert!(owner(&Word::plain(text)).is_err(), "{text}");
        }
        assert_eq!(mode(&Word::plain("0755")), Ok(0o755));
        for text in ["", "u+x", "8", "17777", "+644"] {
            assert!(mode(&Word::plain(text)).is_err(), "{text}");
        }
        let context = context();
        let items = select(&context, &[Word::plain("dir")], "artifact").unwrap();
        let destination = Word::plain("/new/x");
        let placement = Placement {
            destination: &destination,
            working_directory: "",
            owner: Some(Owner { user: 1, group: 2 }),
            mode: Some(0o600),
        };
        let changed = place(&items, &mut Tree::default(), &placement).unwrap();
        assert!(
            changed
                .values()
                .all(|node| node.owner == Owner { user: 1, group: 2 })
        );
        assert_eq!(
            (changed["new"].mode, changed["new/x/two"].mode),
            (0o755, 0o600)
        );
    }

    #[test]
    fn names_that_mean_deletions_are_refused() {
        let source = tree(&[("d/.wh.x", file())]);
        let items = select(&source, &[Word::plain("d")], "artifact").unwrap();
        let destination = Word::plain("/");
        let placement = Placement {
            destination: &destination,
            working_directory: "",
            owner: None,
            mode: None,
        };
        let refused = place(&items, &mut Tree::default(), &placement);
        assert!(matches!(refused, Err(Problem::WhiteoutName { .. })));
    }
}
