//! The checks as a person reads them.

use std::fmt::Write as _;

use super::check::Check;

/// As wide as it gets where standard output is no terminal, or a wider one: longer lines are hard to read.
const WIDTH: usize = 80;

/// The columns before the findings: `  warn  `, the name, and two spaces.
const MARK: usize = 8;

/// All checks below the headings of their groups; what to do stands below what was found.
pub(super) fn table(checks: &[Check]) -> String {
    let names = checks.iter().map(|check| check.name.len()).max();
    let names = names.unwrap_or(0);
    let margin = MARK + names + 2;
    let width = WIDTH.saturating_sub(margin);
    let mut text = String::new();
    let mut group = None;
    for check in checks {
        if group != Some(check.group) {
            let gap = if group.is_some() { "\n" } else { "" };
            group = Some(check.group);
            // Writing to a string does not fail.
            let _ = writeln!(text, "{gap}{}", check.group.heading());
        }
        let (mark, name) = (check.status.mark(), check.name);
        let _ = write!(text, "  {mark:<4}  {name:<names$}  ");
        paragraph(&mut text, &check.finding, width, margin);
        if let Some(hint) = &check.hint {
            let _ = write!(text, "{:margin$}> ", "");
            paragraph(&mut text, hint, width.saturating_sub(2), margin + 2);
        }
    }
    text
}

/// Words in lines of this width, those behind the first one indented. A word that is longer stands whole: a path that is
/// broken cannot be copied.
fn paragraph(text: &mut String, words: &str, width: usize, margin: usize) {
    let mut length = 0;
    for word in words.split(' ') {
        let word_length = word.chars().count();
        if length > 0 && length + 1 + word_length > width {
            let _ = write!(text, "\n{:margin$}", "");
            length = 0;
        }
        if length > 0 {
            text.push(' ');
            length += 1;
        }
        text.push_str(word);
        length += word_length;
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::check::Group;

    #[test]
    fn lines_are_at_most_80_columns_wide_and_no_word_is_broken() {
        let finding = "eleven chars ".repeat(20);
        let checks = [
            Check::ok(Group::Configuration, "settings", "short"),
            Check::failed(Group::Registry, "digest-header", &finding).hint(&finding),
        ];
        let text = table(&checks);
        assert!(text.starts_with("Configuration\n  ok    settings       short\n\nRegistry\n"));
        for line in text.lines() {
            assert!(line.len() <= 80, "{line}");
            assert_eq!(line.trim_end(), line);
        }
        assert_eq!(text.matches("eleven").count(), 40);
        let word = "x".repeat(200);
        assert!(table(&[Check::ok(Group::Engine, "engine", &word)]).contains(&word));
    }
}
