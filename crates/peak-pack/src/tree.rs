//! A list of files drawn as a tree.

use std::fmt::{self, Write as _};

use crate::scan::{FileEntry, FileList};
use crate::size::Size;

/// Draws the files as a tree, with sizes and a line of totals; the last line has no line end.
///
/// Control characters in names are escaped, so the text is safe to show on a terminal.
pub fn tree(list: &FileList) -> String {
    let mut text = String::from(".\n");
    draw(&list.files, 0, &mut String::new(), &mut text);
    let count = list.files.len();
    let plural = if count == 1 { "" } else { "s" };
    // Writing to a string cannot fail.
    let _ = write!(text, "\n{count} file{plural}, {}", Size(list.total()));
    text
}

/// Draws files that share the first `offset` bytes of their paths. They are sorted, so what belongs
/// to one directory stands together.
fn draw(files: &[FileEntry], offset: usize, indent: &mut String, text: &mut String) {
    let mut rest = files;
    while let Some(first) = rest.first() {
        let (name, is_directory) = next_part(first, offset);
        let count = rest
            .iter()
            .take_while(|file| next_part(file, offset).0 == name)
            .count();
        let (group, others) = rest.split_at(count);
        rest = others;
        let (branch, below) = if rest.is_empty() {
            ("└── ", "    ")
        } else {
            ("├── ", "│   ")
        };
        // Writing to a string cannot fail.
        if is_directory {
            let _ = writeln!(text, "{indent}{branch}{}/", Shown(name));
            let length = indent.len();
            indent.push_str(below);
            draw(group, offset + name.len() + 1, indent, text);
            indent.truncate(length);
        } else {
            let _ = writeln!(
                text,
                "{indent}{branch}{} ({})",
                Shown(name),
                Size(first.size)
            );
        }
    }
}

/// The part of the path at `offset`, and whether more follows it.
fn next_part(file: &FileEntry, offset: usize) -> (&str, bool) {
    let rest = file.path.get(offset..).unwrap_or_default();
    match rest.split_once('/') {
        Some((name, _)) => (name, true),
        None => (rest, false),
    }
}

/// A name without its control characters.
struct Shown<'a>(&'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            if character.is_control() {
                write!(formatter, "{}", character.escape_default())?;
            } else {
                formatter.write_char(character)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(paths: &[(&str, u64)]) -> FileList {
        let files = paths.iter().map(|(path, size)| FileEntry {
            path: (*path).to_owned(),
            size: *size,
            executable: false,
            modified: None,
            source: path.into(),
        });
        FileList {
            files: files.collect(),
        }
    }

    #[test]
    fn draws_directories_files_sizes_and_totals() {
        let drawn = tree(&list(&[
            ("Dockerfile", 12),
            ("src-old.txt", 1),
            ("src/a/x.py", 2048),
            ("src/b.py", 3),
        ]));
        assert_eq!(
            drawn,
            "\
.
├── Dockerfile (12 B)
├── src-old.txt (1 B)
└── src/
    ├── a/
    │   └── x.py (2.0 kB)
    └── b.py (3 B)

4 files, 2.0 kB"
        );
    }

    #[test]
    fn draws_nothing_for_nothing() {
        assert_eq!(tree(&list(&[])), ".\n\n0 files, 0 B");
    }

    #[test]
    fn names_cannot_steer_the_terminal() {
        let drawn = tree(&list(&[("a\u{1b}[2J\nb", 1)]));
        assert_eq!(drawn, ".\n└── a\\u{1b}[2J\\nb (1 B)\n\n1 file, 1 B");
    }
}
