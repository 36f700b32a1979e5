//! Columns for a person, that fit the terminal they are shown on.
//!
//! A row is one line, so that lines can be counted, searched and compared. Where the columns are wider than the terminal,
//! the widest are made narrower: a digest is then cut behind its first digits, anything else in its middle, and an ellipsis
//! stands where something is left out, so that nobody takes a part for the whole. What goes to a file or a pipe is never
//! cut, nor is what `--output json` and `yaml` print.

use std::io::IsTerminal as _;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::color::{self, Paint};
use crate::output::printable;

/// Between two columns.
const GAP: usize = 2;

/// No column is made narrower than this: versions, sizes, dates and short ids stay whole.
const NARROWEST: usize = 10;

/// A digest that is cut: the algorithm, and digits enough to tell it from others.
const DIGITS: usize = 12;

/// Columns with a heading, no wider than the terminal if standard output is one.
pub(crate) fn table(heading: &[&str], rows: Vec<Vec<String>>) -> String {
    let stdout = std::io::stdout();
    render(heading, rows, screen_width(), color::is_on(&stdout))
}

/// How many columns there are to write on; `None` where nothing limits them. `COLUMNS` wins over what the terminal says.
pub(crate) fn screen_width() -> Option<usize> {
    if !std::io::stdout().is_terminal() {
        return None;
    }
    let said = std::env::var("COLUMNS").ok();
    let said = said.and_then(|text| text.parse().ok());
    said.or_else(terminal_width).filter(|width| *width > 0)
}

#[cfg(unix)]
fn terminal_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    Some(usize::from(size.ws_col))
}

#[cfg(not(unix))]
fn terminal_width() -> Option<usize> {
    None
}

fn render(
    heading: &[&str],
    rows: Vec<Vec<String>>,
    limit: Option<usize>,
    is_colored: bool,
) -> String {
    let heading: Vec<String> = heading.iter().map(|name| name.to_uppercase()).collect();
    let rows: Vec<Vec<String>> = rows
        .into_iter()
        .map(|row| {
            row.iter()
                .map(|cell| printable(&cell.replace('\t', " ")))
                .collect()
        })
        .collect();
    let mut widths: Vec<usize> = heading.iter().map(|name| name.width()).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.width());
        }
    }
    if let Some(limit) = limit {
        let whole = |column: usize| heading.get(column).is_some_and(|name| is_whole(name));
        let digests = |column: usize| {
            let mut cells = rows.iter().filter_map(|row| row.get(column));
            cells.any(|cell| digest_parts(cell).is_some())
        };
        fit(&mut widths, limit, whole, digests);
    }
    let mut text = String::new();
    let first = heading.iter().map(String::as_str).collect::<Vec<_>>();
    line(
        &mut text,
        &first,
        &widths,
        is_colored.then_some(Paint::Heading),
    );
    for row in &rows {
        let cells: Vec<&str> = row.iter().map(String::as_str).collect();
        line(&mut text, &cells, &widths, None);
    }
    text
}

/// Columns of what one copies into the next command. They are cut last of all, which is never.
fn is_whole(heading: &str) -> bool {
    heading == "ID" || heading.ends_with(" ID")
}

/// Makes columns narrower until the row fits, as far as that goes: digests first, then whichever is widest.
fn fit(
    widths: &mut [usize],
    limit: usize,
    whole: impl Fn(usize) -> bool,
    digests: impl Fn(usize) -> bool,
) {
    let total =
        |widths: &[usize]| 1 + widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1);
    if total(widths) <= limit {
        return;
    }
    for (column, width) in widths.iter_mut().enumerate() {
        let cut = "sha256:".len() + DIGITS + 1;
        if digests(column) && *width > cut {
            *width = cut;
        }
    }
    while total(widths) > limit {
        let widest = widths
            .iter_mut()
            .enumerate()
            .filter(|(column, width)| **width > NARROWEST && !whole(*column) && !digests(*column))
            .max_by_key(|(_, width)| **width);
        match widest {
            Some((_, width)) => *width -= 1,
            None => return,
        }
    }
}

/// One line: the cells below the headings, nothing behind the last.
fn line(text: &mut String, cells: &[&str], widths: &[usize], paint: Option<Paint>) {
    let start = text.len();
    text.push(' ');
    for (number, (cell, width)) in cells.iter().zip(widths).enumerate() {
        if number > 0 {
            text.extend([" "; GAP]);
        }
        let cell = cut(cell, *width);
        let padding = width.saturating_sub(cell.width());
        text.push_str(&color::painted(
            &cell,
            paint.unwrap_or(Paint::Heading),
            paint.is_some(),
        ));
        text.extend(std::iter::repeat_n(' ', padding));
    }
    let end = text.trim_end().len().max(start);
    text.truncate(end);
    text.push('\n');
}

/// The text, no wider than that; an ellipsis stands for what is left out.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let room = width.saturating_sub(1);
    if let Some((algorithm, digits)) = digest_parts(text) {
        let digits = prefix(digits, room.saturating_sub(algorithm.width() + 1));
        return format!("{algorithm}:{digits}…");
    }
    let front = prefix(text, room.div_ceil(2));
    let rest = room - front.width();
    let mut back = 0;
    let from = text
        .char_indices()
        .rev()
        .take_while(|(_, c)| {
            back += c.width().unwrap_or(0);
            back <= rest
        })
        .last();
    let back = from
        .and_then(|(start, _)| text.get(start..))
        .unwrap_or_default();
    format!("{front}…{back}")
}

/// The beginning of the text, no wider than that; an ellipsis stands for the rest.
pub(crate) fn beginning(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    format!("{}…", prefix(text, width.saturating_sub(1)))
}

/// As much of the text as is no wider than that.
fn prefix(text: &str, width: usize) -> &str {
    let mut used = 0;
    let end = text.char_indices().find(|(_, c)| {
        used += c.width().unwrap_or(0);
        used > width
    });
    end.and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

/// The algorithm and the digits of what is a digest and nothing else.
fn digest_parts(text: &str) -> Option<(&str, &str)> {
    let (algorithm, digits) = text.split_once(':')?;
    let is_hex = digits.len() >= 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_hex && ["sha256", "sha384", "sha512"].contains(&algorithm)).then_some((algorithm, digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn row(cells: &[&str]) -> Vec<String> {
        cells.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn nothing_is_cut_where_there_is_room_or_no_limit() {
        let rows = || vec![row(&["1.0", DIGEST, "1.2 kB"])];
        let all = render(&["tag", "digest", "size"], rows(), None, false);
        assert_eq!(
            all,
            render(&["tag", "digest", "size"], rows(), Some(200), false)
        );
        assert!(all.contains(DIGEST), "{all}");
        assert_eq!(
            all.lines().next(),
            Some(format!(" TAG  DIGEST{}  SIZE", " ".repeat(65)).as_str())
        );
    }

    #[test]
    fn a_digest_is_cut_so_that_it_is_none_any_more() {
        let rows = vec![row(&["1.0", DIGEST, "1.2 kB"])];
        let text = render(&["tag", "digest", "size"], rows, Some(80), false);
        assert_eq!(
            text,
            " TAG  DIGEST                SIZE\n 1.0  sha256:e3b0c44298fc…  1.2 kB\n"
        );
    }

    #[test]
    fn the_widest_columns_give_way_and_ids_do_not() {
        let id = "0f8fad5b-d9cb-469f-a165-70867728950e";
        let name = "a-rather-long-name-of-an-image-that-goes-on";
        let url = "registry.example.com/team/a-rather-long-name-of-an-image-that-goes-on:1.0.0";
        let rows = vec![row(&[id, name, "ready", url])];
        let text = render(&["id", "name", "status", "pull url"], rows, Some(80), false);
        for line in text.lines() {
            assert!(line.width() <= 80, "{line}");
        }
        assert!(text.contains(id), "{text}");
        assert!(text.contains("ready"), "{text}");
        assert_eq!(text.matches('…').count(), 2, "{text}");
    }

    #[test]
    fn wide_letters_count_double_and_control_characters_are_not_written() {
        let rows = vec![row(&["模型模型模型模型模型模型模型", "a\u{1b}[2J\n"])];
        let text = render(&["name", "b"], rows, Some(24), false);
        for line in text.lines() {
            assert!(line.width() <= 24, "{line}");
        }
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn texts_are_cut_in_their_middle() {
        assert_eq!(cut("registry.example/team/app", 11), "regis…m/app");
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("shorter", 1), "…");
        assert_eq!(cut(DIGEST, 20), "sha256:e3b0c44298fc…");
    }
}
