//! Words, pairs and continued lines: the syntax below the instructions of a Dockerfile.

/// Joins the physical lines of the instruction that `text` starts with: the escape character at the
/// end of a line continues it, comments and empty lines between are left out.
pub(crate) fn logical_line(text: &str, escape: char) -> String {
    let mut joined = String::new();
    let mut first = true;
    for line in text.split('\n') {
        let line = line.strip_suffix('\r').unwrap_or(line);
        if !first {
            let start = line.trim_start();
            if start.is_empty() || start.starts_with('#') {
                continue;
            }
        }
        first = false;
        let Some(continued) = line.trim_end_matches([' ', '\t']).strip_suffix(escape) else {
            joined.push_str(line);
            return joined;
        };
        joined.push_str(continued);
    }
    joined
}

/// How long an instruction may get in logs and histories, in characters.
const MAX_SHOWN: usize = 300;

/// An instruction on one line, for people: runs of white space become one space, control
/// characters vanish, what is too long is cut.
pub(crate) fn for_people(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let line = words.join(" ");
    let mut shown: String = line
        .chars()
        .filter(|character| !character.is_control())
        .take(MAX_SHOWN + 1)
        .collect();
    if let Some((end, _)) = shown.char_indices().nth(MAX_SHOWN) {
        shown.truncate(end);
        shown.push('…');
    }
    shown
}

/// Splits at white space outside quotes. Quotes and escapes stay as they are.
pub(crate) fn split(text: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        match quote {
            None if character.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            None if matches!(character, '"' | '\'') => quote = Some(character),
            Some(open) if open == character => quote = None,
            _ => {}
        }
        word.push(character);
        if character == escape && quote != Some('\'') {
            word.extend(rest.next());
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// The pairs of `ENV` and `LABEL`: `key=value ..`, or one `key value with spaces`.
pub(crate) fn pairs(text: &str, escape: char) -> Result<Vec<(String, String)>, String> {
    let text = text.trim();
    let words = split(text, escape);
    let Some(first) = words.first() else {
        return Err("it needs a name and a value".to_owned());
    };
    if !first.contains('=') {
        let value = text.strip_prefix(first.as_str()).unwrap_or_default().trim();
        if value.is_empty() {
            return Err(format!("{first:?} has no value; write NAME=VALUE"));
        }
        return Ok(vec![(first.clone(), value.to_owned())]);
    }
    words
        .iter()
        .map(|word| {
            let (name, value) = word
                .split_once('=')
                .ok_or_else(|| format!("{word:?} has no '='; write NAME=VALUE"))?;
            if name.is_empty() {
                return Err(format!("{word:?} has no name before the '='"));
            }
            Ok((name.to_owned(), value.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_continued_over_comments() {
        let text = "CMD a \\\n# comment\n\n  b \\  \n  c\nUSER x";
        assert_eq!(logical_line(text, '\\'), "CMD a   b   c");
        assert_eq!(for_people(&logical_line(text, '\\')), "CMD a b c");
        assert_eq!(logical_line("CMD a `\r\nb\r\n", '`'), "CMD a b");
        assert_eq!(logical_line("CMD a \\", '\\'), "CMD a ");
    }

    #[test]
    fn long_instructions_are_cut() {
        let shown = for_people(&"ä".repeat(MAX_SHOWN + 1));
        assert_eq!(shown.chars().count(), MAX_SHOWN + 1);
        assert!(shown.ends_with('…'));
    }

    #[test]
    fn words_keep_their_quotes() {
        assert_eq!(
            split(" a \"b c\"  d\\ e 'f\\' ", '\\'),
            ["a", "\"b c\"", "d\\ e", "'f\\'"]
        );
    }

    #[test]
    fn pairs_in_both_forms() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            pairs("A=1 B=\"x y\" C=", '\\').unwrap(),
            [pair("A", "1"), pair("B", "\"x y\""), pair("C", "")]
        );
        assert_eq!(pairs("A 1 2 = 3", '\\').unwrap(), [pair("A", "1 2 = 3")]);
        assert!(pairs("A", '\\').is_err());
        assert!(pairs("A=1 B", '\\').is_err());
        assert!(pairs("=1", '\\').is_err());
    }
}
