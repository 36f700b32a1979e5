//! Ignore files: which patterns there are, and which of them decides about a path.
//!
//! The pattern language is gitignore's and is matched by the `ignore` crate. What is ours is the
//! order of decision: gitignore lets the nearest directory win and never looks into an ignored one,
//! here the last pattern that matches the path or any of its parents wins, wherever it matched.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path};

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::error::PackError;
use crate::options::{DEFAULT_IGNORE_FILE, PackOptions};

/// Largest ignore file in bytes; real ones have a few hundred.
const MAX_IGNORE_FILE_SIZE: u64 = 256 * 1024;

/// The joined patterns of all ignore files.
pub(crate) struct IgnoreRules {
    matcher: Gitignore,
    /// Where each pattern last occurs. Its text is all that matching looks at, so of equal patterns
    /// the last one is the one that counts.
    positions: HashMap<String, usize>,
    /// Whether the pattern at each position starts with `!`.
    negated: Vec<bool>,
}

/// The pattern that decides about a path so far, if any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Decision(Option<usize>);

impl Decision {
    /// What holds for the packed directory itself.
    pub(crate) const NONE: Self = Self(None);
}

impl IgnoreRules {
    /// Reads the ignore files that the options name, or the default one if it is there.
    pub(crate) fn read(directory: &Path, options: &PackOptions) -> Result<Self, PackError> {
        let mut patterns = PatternList::default();
        if options.ignore_files.is_empty()
            && let Some(text) = read_ignore_file(directory, DEFAULT_IGNORE_FILE)?
        {
            patterns.add_text(DEFAULT_IGNORE_FILE, &text)?;
        }
        for name in &options.ignore_files {
            let text = read_ignore_file(directory, direct_child(name)?)?
                .ok_or_else(|| PackError::IgnoreFileNotFound { name: name.clone() })?;
            patterns.add_text(name, &text)?;
        }
        patterns.build()
    }

    /// What decides about `path`, given what decided about its parent directory.
    pub(crate) fn decide(&self, parent: Decision, path: &Path, is_directory: bool) -> Decision {
        let own = match self.matcher.matched(path, is_directory) {
            Match::None => None,
            Match::Ignore(glob) | Match::Whitelist(glob) => {
                self.positions.get(glob.original()).copied()
            }
        };
        parent.max(Decision(own))
    }

    /// Whether a path with this decision stays out of the archive.
    pub(crate) fn excludes(&self, decision: Decision) -> bool {
        decision
            .0
            .is_some_and(|position| self.negated.get(position) == Some(&false))
    }

    /// Whether nothing below a directory with this decision can be included, so that there is no
    /// need to look: no later `!` pattern could bring a file back.
    pub(crate) fn excludes_all_below(&self, decision: Decision) -> bool {
        self.excludes(decision)
            && decision
                .0
                .is_some_and(|position| !self.negated.iter().skip(position).any(|negated| *negated))
    }
}

/// Patterns while they are collected.
pub(crate) struct PatternList {
    builder: GitignoreBuilder,
    positions: HashMap<String, usize>,
    negated: Vec<bool>,
}

impl Default for PatternList {
    fn default() -> Self {
        Self {
            // Paths are given relative to the packed directory, so there is no root to strip.
            builder: GitignoreBuilder::new(""),
            positions: HashMap::new(),
            negated: Vec::new(),
        }
    }
}

impl PatternList {
    pub(crate) fn add_text(&mut self, name: &str, text: &str) -> Result<(), PackError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (index, line) in text.lines().enumerate() {
            let Some(pattern) = pattern_of_line(line) else {
                continue;
            };
            let pattern = escape_braces(pattern);
            self.builder
                .add_line(None, &pattern)
                .map_err(|source| PackError::IgnorePattern {
                    name: name.to_owned(),
                    line: index + 1,
                    pattern: line.to_owned(),
                    source: Box::new(source),
                })?;
            self.negated.push(pattern.starts_with('!'));
            self.positions.insert(pattern, self.negated.len() - 1);
        }
        Ok(())
    }

    pub(crate) fn build(self) -> Result<IgnoreRules, PackError> {
        let matcher = self
            .builder
            .build()
            .map_err(|source| PackError::IgnorePatterns {
                source: Box::new(source),
            })?;
        Ok(IgnoreRules {
            matcher,
            positions: self.positions,
            negated: self.negated,
        })
    }
}

/// The pattern on a line: nothing for blanks and comments, else the line without its trailing
/// spaces; a space after a backslash is part of the pattern.
fn pattern_of_line(line: &str) -> Option<&str> {
    if line.starts_with('#') {
        return None;
    }
    let mut pattern = line;
    while let Some(shorter) = pattern.strip_suffix([' ', '\t']) {
        if ends_with_escape(shorter) {
            break;
        }
        pattern = shorter;
    }
    (!pattern.is_empty()).then_some(pattern)
}

/// Whether the text ends in a backslash that is not itself escaped.
fn ends_with_escape(text: &str) -> bool {
    text.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

/// The matcher reads `{a,b}` as a choice; in gitignore's language braces are ordinary characters.
fn escape_braces(pattern: &str) -> String {
    let mut escaped = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some(character) = rest.chars().next() {
        let taken = match character {
            '\\' => 1 + rest.chars().nth(1).map_or(0, char::len_utf8),
            '[' => class_length(rest).unwrap_or(1),
            '{' | '}' => {
                escaped.push('\\');
                1
            }
            other => other.len_utf8(),
        };
        let (head, tail) = rest.split_at(taken);
        escaped.push_str(head);
        rest = tail;
    }
    escaped
}

/// Length of the character class that `text` starts with; none if it is never closed.
fn class_length(text: &str) -> Option<usize> {
    let inside = text.strip_prefix('[')?;
    let inside = inside.strip_prefix(['!', '^']).unwrap_or(inside);
    // A `]` that comes first is a member of the class.
    let members = inside.strip_prefix(']').unwrap_or(inside);
    let end = members.find(']')?;
    Some(text.len() - members.len() + end + 1)
}

/// The name itself, if it is one that lies directly in the directory.
fn direct_child(name: &str) -> Result<&str, PackError> {
    let mut parts = Path::new(name)
        .components()
        .filter(|part| !matches!(part, Component::CurDir));
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(part)), None) => part.to_str(),
        _ => None,
    }
    .ok_or_else(|| PackError::IgnoreFileOutside {
        name: name.to_owned(),
    })
}

/// The text of an ignore file; none if there is no such file.
fn read_ignore_file(directory: &Path, name: &str) -> Result<Option<String>, PackError> {
    let unreadable = |source| PackError::IgnoreFileUnreadable {
        name: name.to_owned(),
        source,
    };
    let path = directory.join(name);
    match fs::metadata(&path) {
        Ok(metadata) if metadata.is_file() => {}
        // Opening a pipe would wait for a writer for ever.
        Ok(_) => {
            return Err(unreadable(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not a regular file",
            )));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    }
    let mut text = String::new();
    File::open(&path)
        .map_err(unreadable)?
        .take(MAX_IGNORE_FILE_SIZE + 1)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    if text.len() as u64 > MAX_IGNORE_FILE_SIZE {
        return Err(PackError::IgnoreFileTooLarge {
            name: name.to_owned(),
            limit: MAX_IGNORE_FILE_SIZE,
        });
    }
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> IgnoreRules {
        let mut patterns = PatternList::default();
        patterns.add_text("test", text).unwrap();
        patterns.build().unwrap()
    }

    fn excluded(text: &str, path: &str) -> bool {
        let rules = rules(text);
        let mut decision = Decision::NONE;
        let slashes = path.match_indices('/').map(|(index, _)| index);
        for end in slashes {
            decision = rules.decide(decision, Path::new(&path[..end]), true);
        }
        rules.excludes(rules.decide(decision, Path::new(path), false))
    }

    #[test]
    fn the_last_match_over_a_path_and_its_parents_decides() {
        assert!(excluded("!a/b.txt\na", "a/b.txt"));
        assert!(!excluded("a\n!a/b.txt", "a/b.txt"));
        assert!(excluded("a\n!a/b.txt", "a/c.txt"));
        assert!(!excluded("*.txt\n!a/", "a/b.txt"));
        assert!(excluded("!a/\n*.txt", "a/b.txt"));
    }

    #[test]
    fn of_equal_patterns_the_last_counts() {
        assert!(excluded("*.log\n!keep.log\n*.log", "keep.log"));
        assert!(!excluded("!keep.log\n*.log\n!keep.log", "keep.log"));
    }

    #[test]
    fn a_directory_is_skipped_only_if_nothing_below_can_come_back() {
        let closed = rules("!x\nnode_modules");
        let decision = closed.decide(Decision::NONE, Path::new("node_modules"), true);
        assert!(closed.excludes_all_below(decision));
        let open = rules("node_modules\n!x");
        let decision = open.decide(Decision::NONE, Path::new("node_modules"), true);
        assert!(open.excludes(decision) && !open.excludes_all_below(decision));
    }

    #[test]
    fn trailing_spaces_count_only_when_escaped() {
        assert_eq!(pattern_of_line("a \t "), Some("a"));
        assert_eq!(pattern_of_line("a\\  "), Some("a\\ "));
        assert_eq!(pattern_of_line("a\\\\ "), Some("a\\\\"));
        assert_eq!(pattern_of_line("   "), None);
        assert_eq!(pattern_of_line("# a"), None);
        assert!(excluded("trail\\ ", "trail "));
        assert!(!excluded("trail ", "trail "));
    }

    #[test]
    fn braces_are_ordinary_characters() {
        assert!(excluded("{a,b}", "{a,b}"));
        assert!(!excluded("{a,b}", "a"));
        assert!(excluded("[{]x", "{x"));
        assert!(!excluded("[{]x", "\\x"));
        assert!(excluded("\\{x", "{x"));
        assert!(excluded("[{x", "[{x"));
        assert!(excluded("{", "{"));
    }

    #[test]
    fn line_ends_and_a_byte_order_mark_are_not_part_of_patterns() {
        assert!(excluded("\u{feff}a\r\nb\r\n", "a"));
        assert!(excluded("a\r\nb\r\n", "b"));
    }

    #[test]
    fn a_bad_pattern_is_named_with_its_line() {
        let error = PatternList::default()
            .add_text("rules", "ok\n[z-a]")
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "line 2 of the ignore file `rules` is not a valid pattern: `[z-a]`"
        );
    }

    #[test]
    fn ignore_files_lie_directly_in_the_directory() {
        assert_eq!(direct_child(".dockerignore").unwrap(), ".dockerignore");
        assert_eq!(direct_child("./rules").unwrap(), "rules");
        for name in [
            "",
            ".",
            "..",
            "../rules",
            "a/rules",
            "a/../rules",
            "/etc/passwd",
        ] {
            assert!(
                matches!(direct_child(name), Err(PackError::IgnoreFileOutside { .. })),
                "{name}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_gives_rules_or_an_error(text in "[ab!#/*?\\[\\]{}\\\\^ -]{0,40}") {
            let mut patterns = PatternList::default();
            if patterns.add_text("test", &text).is_ok() {
                let rules = patterns.build().unwrap();
                // Every match must be found again by its text, or it would silently not count.
                for path in ["a", "b", "a/b", "ab", "[a]", "{a}", "!", "#"] {
                    let matched = !rules.matcher.matched(path, false).is_none();
                    let decided = rules.decide(Decision::NONE, Path::new(path), false) != Decision::NONE;
                    proptest::prop_assert_eq!(matched, decided);
                }
            }
        }
    }
}
