//! Lines from the output of an Engine, and not too many of them.

use std::collections::VecDeque;

/// How much of an Engine's output a log has from its beginning, in lines and in bytes.
const FIRST_LINES: usize = 20_000;
const FIRST_BYTES: usize = 8 * 1024 * 1024;

/// How many lines it has from the end, where that was not enough.
const LAST_LINES: usize = 200;

/// A longer line is cut, in bytes. The log's own limit, in its characters, may be lower.
const LINE_BYTES: usize = 16 * 1024;

/// Makes lines of pieces.
#[derive(Debug)]
pub(crate) struct Lines {
    /// What is shown as something else, and as what.
    shown: Vec<(String, String)>,
    /// The line that has no end yet.
    open: String,
    /// The open line ended with a carriage return: what comes is written over it.
    overwrite: bool,
    lines: usize,
    bytes: usize,
    /// The last lines of those that were too many.
    last: VecDeque<String>,
    left_out: usize,
}

impl Lines {
    pub(crate) fn new(shown: Vec<(String, String)>) -> Self {
        Self {
            shown,
            open: String::new(),
            overwrite: false,
            lines: 0,
            bytes: 0,
            last: VecDeque::new(),
            left_out: 0,
        }
    }

    /// Takes the next piece. A line of which parts were written over, as progress is, has what was written last.
    pub(crate) fn write(&mut self, text: &str, emit: &mut dyn FnMut(String)) {
        for part in text.split_inclusive(['\n', '\r']) {
            let content = part.trim_end_matches(['\n', '\r']);
            if !content.is_empty() {
                if self.overwrite {
                    self.open.clear();
                }
                self.overwrite = false;
                let room = LINE_BYTES.saturating_sub(self.open.len());
                let end = (0..=room.min(content.len()))
                    .rev()
                    .find(|end| content.is_char_boundary(*end))
                    .unwrap_or_default();
                self.open.push_str(content.get(..end).unwrap_or_default());
            }
            if part.ends_with('\n') {
                self.end(emit);
            } else if part.ends_with('\r') {
                self.overwrite = true;
            }
        }
    }

    /// Ends the line that has no end yet, if there is one.
    pub(crate) fn end_line(&mut self, emit: &mut dyn FnMut(String)) {
        if !self.open.is_empty() {
            self.end(emit);
        }
    }

    /// Gives what was kept of the end.
    pub(crate) fn finish(&mut self, emit: &mut dyn FnMut(String)) {
        self.end_line(emit);
        if self.left_out > 0 {
            emit(format!("… {} lines are left out …", self.left_out));
            self.left_out = 0;
        }
        self.last.drain(..).for_each(emit);
    }

    fn end(&mut self, emit: &mut dyn FnMut(String)) {
        self.overwrite = false;
        let mut line = std::mem::take(&mut self.open);
        for (text, shown) in &self.shown {
            if line.contains(text.as_str()) {
                line = line.replace(text.as_str(), shown);
            }
        }
        self.lines += 1;
        self.bytes = self.bytes.saturating_add(line.len());
        if self.lines <= FIRST_LINES && self.bytes <= FIRST_BYTES {
            emit(line);
            return;
        }
        // From here on nothing is emitted, however short, so that no line stands after one that is left out.
        self.lines = FIRST_LINES;
        if self.last.len() == LAST_LINES {
            self.last.pop_front();
            self.left_out += 1;
        }
        self.last.push_back(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(pieces: &[&str]) -> Vec<String> {
        let mut lines = Lines::new(vec![("host/base@1".to_owned(), "base".to_owned())]);
        let mut given = Vec::new();
        for piece in pieces {
            lines.write(piece, &mut |line| given.push(line));
        }
        lines.finish(&mut |line| given.push(line));
        given
    }

    #[test]
    fn pieces_become_lines() {
        assert_eq!(
            lines_of(&["Step 1/2 : FROM x", "\n", " ---> 12", "34\n\nend"]),
            ["Step 1/2 : FROM x", " ---> 1234", "", "end"]
        );
        assert_eq!(
            lines_of(&["one\r\ntwo\r", "\nthree"]),
            ["one", "two", "three"]
        );
    }

    #[test]
    fn of_progress_the_last_state_is_kept() {
        assert_eq!(
            lines_of(&["10 %\r50 %\r", "100 %", "\ndone\n"]),
            ["100 %", "done"]
        );
    }

    #[test]
    fn the_name_that_was_put_in_is_shown_as_it_was() {
        assert_eq!(
            lines_of(&["Step 1/2 : FROM host/ba", "se@1\n"]),
            ["Step 1/2 : FROM base"]
        );
    }

    #[test]
    fn lines_are_cut_at_characters() {
        let line = "é".repeat(LINE_BYTES);
        assert_eq!(lines_of(&[&line, &line]), ["é".repeat(LINE_BYTES / 2)]);
    }

    #[test]
    fn of_too_many_lines_the_middle_is_left_out() {
        let mut lines = Lines::new(Vec::new());
        let mut given = Vec::new();
        let count = FIRST_LINES + 1000;
        for number in 0..count {
            lines.write(&format!("{number}\n"), &mut |line| given.push(line));
        }
        assert_eq!(given.len(), FIRST_LINES);
        lines.finish(&mut |line| given.push(line));
        assert_eq!(given.len(), FIRST_LINES + 1 + LAST_LINES);
        assert_eq!(given[FIRST_LINES], "… 800 lines are left out …");
        assert_eq!(*given.last().unwrap(), (count - 1).to_string());
    }

    #[test]
    fn too_many_bytes_are_too_much_as_well() {
        let mut lines = Lines::new(Vec::new());
        let mut bytes = 0;
        let long = format!("{}\n", "x".repeat(LINE_BYTES));
        for _ in 0..FIRST_BYTES / LINE_BYTES + 1000 {
            lines.write(&long, &mut |line| bytes += line.len());
        }
        lines.write("short\n", &mut |_| {
            panic!("a line behind those that are left out")
        });
        assert!(bytes <= FIRST_BYTES && bytes > FIRST_BYTES / 2);
    }
}
