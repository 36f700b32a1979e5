//! What holds for any ignore file: the bodies of fuzz targets (docs/fuzzing.md). No part of the interface.

use std::path::Path;

use crate::ignore_rules::{Decision, IgnoreRules, PatternList};

/// Ignore rules: a line with a path, and the ignore file.
pub fn ignore_rules(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (path, text) = text.split_once('\n').unwrap_or(("a/b", text));
    let is_relative = path
        .split('/')
        .all(|part| !matches!(part, "" | "." | "..") && !part.contains('\0'));
    if !is_relative || path.len() > 256 {
        return;
    }
    let Some(rules) = read(text) else {
        return;
    };
    let excluded = walk(&rules, path);
    for (more, expected) in [
        ("\n# comment\n  \t\n", excluded),
        // The last pattern that matches decides, whatever came before.
        ("\n*", true),
        ("\n*\n!*", false),
    ] {
        let more = read(&format!("{text}{more}"));
        let more = more.map(|rules| walk(&rules, path));
        assert_eq!(more, Some(expected), "{path:?} of {text:?}");
    }
    let with_returns = read(&text.replace('\n', "\r\n")).map(|rules| walk(&rules, path));
    assert!(
        text.contains('\r') || with_returns == Some(excluded),
        "line ends of {text:?}"
    );
}

fn read(text: &str) -> Option<IgnoreRules> {
    let mut patterns = PatternList::default();
    patterns.add_text("ignore", text).ok()?;
    patterns.build().ok()
}

/// Whether the path is excluded. A directory that need not be looked at has nothing that is not.
fn walk(rules: &IgnoreRules, path: &str) -> bool {
    let mut decision = Decision::NONE;
    let mut nothing_below = false;
    let ends = path.match_indices('/').map(|(end, _)| end);
    for end in ends.chain([path.len()]) {
        let is_directory = end < path.len();
        let part = Path::new(path.get(..end).unwrap_or(path));
        decision = rules.decide(decision, part, is_directory);
        assert!(
            !nothing_below || rules.excludes(decision),
            "{}",
            part.display()
        );
        nothing_below |= is_directory && rules.excludes_all_below(decision);
    }
    rules.excludes(decision)
}

#[cfg(test)]
mod tests {
    include!("../../../fuzz/seeds.rs");

    #[test]
    fn the_seeds_hold() {
        hold("ignore_rules", super::ignore_rules);
    }
}
