//! The checks as a person reads them.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthStr as _;

use super::check::{Check, Status};
use crate::color::{self, Paint};
use crate::table::screen_width;

/// How wide it is where standard output is no terminal.
const WIDTH: usize = 80;

/// As narrow and as wide as it gets on a terminal: longer lines are hard to read.
const WIDTHS: std::ops::RangeInclusive<usize> = 50..=100;

/// The columns before the findings: `  warn  `, the name, and two spaces.
const MARK: usize = 8;

/// All checks below the headings of their groups; what to do stands below what was found.
pub(super) fn table(checks: &[Check]) -> String {
    let screen = screen_width().map(|width| width.clamp(*WIDTHS.start(), *WIDTHS.end()));
    render(
        checks,
        screen.unwrap_or(WIDTH),
        color::is_on(&std::io::stdout()),
    )
}

fn render(checks: &[Check], width: usize, is_colored: bool) -> String {
    let names = checks.iter().map(|check| check.name.len()).max();
    let names = names.unwrap_or(0);
    let margin = MARK + names + 2;
    let width = width.saturating_sub(margin);
    let mut text = String::new();
    let mut group = None;
    for check in checks {
        if group != Some(check.group) {
            let gap = if group.is_some() { "\n" } else { "" };
            group = Some(check.group);
            // Writing to a string does not fail.
            let heading = color::painted(check.group.heading(), Paint::Heading, is_colored);
            let _ = writeln!(text, "{gap}{heading}");
        }
        let mark = format!("{:<4}", check.status.mark());
        let mark = match check.status {
            Status::Failed => color::painted(&mark, Paint::Error, is_colored),
            Status::Warning => color::painted(&mark, Paint::Warning, is_colored),
            Status::Ok | Status::Skipped => mark,
        };
        let name = check.name;
        let _ = write!(text, "  {mark}  {name:<names$}  ");
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
        let word_length = word.width();
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
        let text = render(&checks, WIDTH, false);
        assert!(text.starts_with("Configuration\n  ok    settings       short\n\nRegistry\n"));
        for line in text.lines() {
            assert!(line.len() <= 80, "{line}");
            assert_eq!(line.trim_end(), line);
        }
        assert_eq!(text.matches("eleven").count(), 40);
        let word = "x".repeat(200);
        assert!(render(&[Check::ok(Group::Engine, "engine", &word)], WIDTH, false).contains(&word));
    }

    #[test]
    fn what_needs_a_look_is_coloured_and_the_words_stay() {
        let checks = [
            Check::ok(Group::Engine, "engine", "there"),
            Check::warning(Group::Engine, "engine", "old"),
            Check::failed(Group::Engine, "engine", "gone"),
        ];
        let colored = render(&checks, WIDTH, true);
        let plain = ["\u{1b}[1;31m", "\u{1b}[1;35m", "\u{1b}[1m", "\u{1b}[0m"]
            .into_iter()
            .fold(colored.clone(), |text, code| text.replace(code, ""));
        assert_eq!(plain, render(&checks, WIDTH, false));
        assert!(colored.contains("\u{1b}[1;31mFAIL\u{1b}[0m"), "{colored}");
        assert!(!colored.contains("mok"), "{colored}");
    }
}
