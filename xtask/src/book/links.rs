//! Relative links lead to files that are there, and to anchors that these have.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use super::page::Page;
use super::{PAGES, Problem};

/// The table of contents, relative to the workspace.
const SUMMARY: &str = "docs/SUMMARY.md";

/// Checks the links of all pages. `root` is the workspace, to which the pages' paths are relative.
pub(super) fn check(root: &Path, pages: &BTreeMap<PathBuf, Page>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (path, page) in pages {
        for link in &page.links {
            if let Err(message) = lead(root, pages, path, &link.to) {
                problems.push(Problem {
                    page: path.clone(),
                    line: link.line,
                    message,
                });
            }
        }
    }
    problems
}

/// Checks that the table of contents has every page.
pub(super) fn check_summary(pages: &BTreeMap<PathBuf, Page>) -> Vec<Problem> {
    let summary = Path::new(SUMMARY);
    let listed: BTreeSet<PathBuf> = pages
        .get(summary)
        .into_iter()
        .flat_map(|page| &page.links)
        .filter_map(|link| resolve(summary, &link.to))
        .collect();
    pages
        .keys()
        .filter(|path| path.starts_with(PAGES) && *path != summary && !listed.contains(*path))
        .map(|path| Problem {
            page: path.clone(),
            line: 1,
            message: format!("{SUMMARY} does not list this page"),
        })
        .collect()
}

/// Follows one link of a page.
fn lead(root: &Path, pages: &BTreeMap<PathBuf, Page>, from: &Path, to: &str) -> Result<(), String> {
    if to.contains("://") || to.starts_with("mailto:") {
        return Ok(());
    }
    let (file, anchor) = match to.split_once('#') {
        Some((file, anchor)) => (file, Some(anchor)),
        None => (to, None),
    };
    let target = if file.is_empty() {
        from.to_owned()
    } else {
        resolve(from, file).ok_or_else(|| format!("the link `{to}` leads out of the project"))?
    };
    if from.starts_with(PAGES) && !target.starts_with(PAGES) {
        return Err(format!("the link `{to}` leads out of the book"));
    }
    if !root.join(&target).exists() {
        return Err(format!(
            "the link `{to}` leads to `{}`, which is not there",
            target.display()
        ));
    }
    match (anchor, pages.get(&target)) {
        (Some(anchor), Some(page)) if !page.anchors.contains(anchor) => Err(format!(
            "the link `{to}` leads to a heading that `{}` does not have",
            target.display()
        )),
        _ => Ok(()),
    }
}

/// The path that a relative link means, or nothing where it leads above the workspace.
fn resolve(from: &Path, to: &str) -> Option<PathBuf> {
    let mut path = from.parent()?.to_owned();
    for component in Path::new(to).components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            Component::ParentDir => {
                if !path.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::PathBuf;

    use super::super::page::Page;
    use super::{check, check_summary};

    #[test]
    fn links_that_lead_nowhere_are_found() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("docs")).unwrap();
        let mut pages = BTreeMap::new();
        for (path, text) in [
            (
                "README.md",
                "[a](docs/a.md#first) [gone](docs/gone.md) [up](../x)",
            ),
            (
                "docs/a.md",
                "# First\n[self](#first) [no](#second) [out](../README.md) [web](https://example.com/#x)",
            ),
            ("docs/SUMMARY.md", "- [a](a.md)"),
            ("docs/lost.md", "nothing"),
        ] {
            fs::write(root.path().join(path), text).unwrap();
            pages.insert(PathBuf::from(path), Page::read(text));
        }
        let found: Vec<String> = check(root.path(), &pages)
            .iter()
            .chain(&check_summary(&pages))
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            found,
            [
                "README.md:1: the link `docs/gone.md` leads to `docs/gone.md`, which is not there",
                "README.md:1: the link `../x` leads out of the project",
                "docs/a.md:2: the link `#second` leads to a heading that `docs/a.md` does not have",
                "docs/a.md:2: the link `../README.md` leads out of the book",
                "docs/lost.md:1: docs/SUMMARY.md does not list this page",
            ]
        );
    }
}
