//! Paths inside trees: `/` between components, no leading or trailing `/`, the root is empty.
//!
//! These never touch the file system of the machine; see [`Contents`](super::contents::Contents).

/// The path climbs above the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeavesRoot;

/// Brings a path, read from `base` unless it starts with `/`, into the form of a tree path.
pub(crate) fn resolve(base: &str, path: &str) -> Result<String, LeavesRoot> {
    walk(base, path, |components| {
        components.pop().map(|_| ()).ok_or(LeavesRoot)
    })
}

/// As [`resolve`], but `..` at the root stays there, as it does in a running container.
pub(crate) fn resolve_clamped(base: &str, path: &str) -> String {
    walk(base, path, |components| {
        components.pop();
        Ok(())
    })
    .unwrap_or_default()
}

fn walk<'a>(
    base: &'a str,
    path: &'a str,
    mut up: impl FnMut(&mut Vec<&'a str>) -> Result<(), LeavesRoot>,
) -> Result<String, LeavesRoot> {
    let mut components: Vec<&str> = if path.starts_with('/') {
        Vec::new()
    } else {
        components(base).collect()
    };
    for component in path.split('/') {
        match component {
            "" | "." => {}
            ".." => up(&mut components)?,
            name => components.push(name),
        }
    }
    Ok(components.join("/"))
}

/// The components of a tree path; the root has none.
pub(crate) fn components(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    path.split('/').filter(|component| !component.is_empty())
}

/// Puts a path below a directory.
pub(crate) fn join(directory: &str, below: &str) -> String {
    match (directory, below) {
        ("", path) | (path, "") => path.to_owned(),
        _ => format!("{directory}/{below}"),
    }
}

/// The directory that a path stands in; `None` for the root.
pub(crate) fn parent(path: &str) -> Option<&str> {
    if path.is_empty() {
        return None;
    }
    Some(path.rsplit_once('/').map_or("", |(parent, _)| parent))
}

/// The last component; empty for the root.
pub(crate) fn name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// All directories above a path, outermost first, without the root.
pub(crate) fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/')
        .filter_map(|(index, _)| path.get(..index))
}

/// The path as it is called in an image.
pub(crate) fn absolute(path: &str) -> String {
    format!("/{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolves_from_a_base() {
        assert_eq!(resolve("", "./a//b/"), Ok("a/b".to_owned()));
        assert_eq!(resolve("a/b", "../c"), Ok("a/c".to_owned()));
        assert_eq!(resolve("a/b", "/c"), Ok("c".to_owned()));
        assert_eq!(resolve("a", ".."), Ok(String::new()));
        assert_eq!(resolve("a", "../.."), Err(LeavesRoot));
        assert_eq!(resolve("", "a/../../b"), Err(LeavesRoot));
        assert_eq!(resolve_clamped("a", "../../../b"), "b");
    }

    #[test]
    fn takes_paths_apart() {
        assert_eq!(parent(""), None);
        assert_eq!(parent("a"), Some(""));
        assert_eq!(parent("a/b/c"), Some("a/b"));
        assert_eq!(name("a/b"), "b");
        assert_eq!(ancestors("a/b/c").collect::<Vec<_>>(), ["a", "a/b"]);
        assert_eq!(join("", "a"), "a");
        assert_eq!(join("a", ""), "a");
    }
}
