//! Variables and quotes in the words of a Dockerfile.
//!
//! What Docker does with `$A`, `${A}`, `${A:-x}`, `${A:+x}`, `${A:?x}` (and the forms without
//! colon), with single and double quotes and with the escape character.

use std::cell::Cell;
use std::iter::Peekable;
use std::str::Chars;

/// How deep `${A:-${B:-..}}` may be nested.
const MAX_DEPTH: usize = 32;

/// How many bytes all expansions of one build may give: a short Dockerfile can ask for a value that
/// doubles with every line.
const MAX_EXPANDED: usize = 16 * 1024 * 1024;

/// How many bytes one word may become.
const MAX_WORD: usize = 128 * 1024;

/// Why a word cannot be expanded. Variables are named, their values are not shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ExpandError {
    #[error("a {quote} has no closing one")]
    OpenQuote { quote: char },
    #[error("a \"${{\" has no closing \"}}\"")]
    OpenBrace,
    #[error("\"${{\" wants the name of a variable")]
    NoName,
    #[error(
        "\"${{{name}\" is followed by {found:?}, which the embedded builder does not know; it does :-, :+ and :?"
    )]
    Modifier { name: String, found: char },
    #[error("the variable {name} is needed: {message}")]
    Required { name: String, message: String },
    #[error("variables are nested more than {MAX_DEPTH} deep")]
    TooDeep,
    #[error("the variables expand to more text than the embedded builder takes")]
    TooLong,
}

/// The value of a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Value {
    pub text: String,
    /// Whether something of it came from a build argument, so that it must not be shown.
    pub private: bool,
}

/// A word of the Dockerfile and what it became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    written: String,
    pub text: String,
    pub private: bool,
}

impl Word {
    /// A word that has no variables in it.
    pub(crate) fn plain(text: &str) -> Self {
        Self {
            written: text.to_owned(),
            text: text.to_owned(),
            private: false,
        }
    }

    /// The text that a person may see.
    pub(crate) fn shown(&self) -> &str {
        if self.private {
            &self.written
        } else {
            &self.text
        }
    }

    /// As a variable's value.
    pub(crate) fn into_value(self) -> Value {
        Value {
            text: self.text,
            private: self.private,
        }
    }
}

/// Where variables are looked up.
pub(crate) trait Variables {
    /// The value of a variable; `None` if it is not set.
    fn variable(&self, name: &str) -> Option<&Value>;
}

/// How much text the expansions of one build may still give.
#[derive(Debug)]
pub(crate) struct Budget {
    left: Cell<usize>,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            left: Cell::new(MAX_EXPANDED),
        }
    }
}

impl Budget {
    /// Counts text that an expansion gives.
    pub(crate) fn take(&self, bytes: usize) -> Result<(), ExpandError> {
        let left = self
            .left
            .get()
            .checked_sub(bytes)
            .ok_or(ExpandError::TooLong)?;
        self.left.set(left);
        Ok(())
    }
}

/// Expands words as one Dockerfile wants it.
#[derive(Clone, Copy)]
pub(crate) struct Expander<'a> {
    pub escape: char,
    pub variables: &'a dyn Variables,
    pub budget: &'a Budget,
}

impl Expander<'_> {
    /// Expands to one word, whatever spaces come out of variables.
    pub(crate) fn word(&self, written: &str) -> Result<Word, ExpandError> {
        let mut output = Output::new(self.budget, false);
        self.parser(written).run(None, &mut output)?;
        Ok(output.finish().pop().map_or_else(
            || Word {
                written: written.to_owned(),
                text: String::new(),
                private: false,
            },
            |value| Word {
                written: written.to_owned(),
                text: value.text,
                private: value.private,
            },
        ))
    }

    /// Expands to as many words as spaces outside quotes make.
    pub(crate) fn words(&self, written: &str) -> Result<Vec<Word>, ExpandError> {
        let mut output = Output::new(self.budget, true);
        self.parser(written).run(None, &mut output)?;
        let word = |value: Value| Word {
            written: written.to_owned(),
            text: value.text,
            private: value.private,
        };
        Ok(output.finish().into_iter().map(word).collect())
    }

    fn parser<'t>(&'t self, text: &'t str) -> Parser<'t> {
        Parser {
            expander: self,
            rest: text.chars().peekable(),
            depth: 0,
        }
    }
}

/// Collects what comes out.
struct Output<'a> {
    budget: &'a Budget,
    splits: bool,
    words: Vec<Value>,
    current: Option<Value>,
}

impl<'a> Output<'a> {
    fn new(budget: &'a Budget, splits: bool) -> Self {
        Self {
            budget,
            splits,
            words: Vec::new(),
            current: None,
        }
    }

    /// The word being collected; even `""` makes one.
    fn current(&mut self) -> &mut Value {
        self.current.get_or_insert_with(|| Value {
            text: String::new(),
            private: false,
        })
    }

    fn push(&mut self, character: char) -> Result<(), ExpandError> {
        self.budget.take(character.len_utf8())?;
        let current = self.current();
        if current.text.len() >= MAX_WORD {
            return Err(ExpandError::TooLong);
        }
        current.text.push(character);
        Ok(())
    }

    /// A character outside quotes and variables.
    fn bare(&mut self, character: char) -> Result<(), ExpandError> {
        if self.splits && character.is_whitespace() {
            self.words.extend(self.current.take());
            return Ok(());
        }
        self.push(character)
    }

    fn value(&mut self, value: &Value, quoted: bool) -> Result<(), ExpandError> {
        for character in value.text.chars() {
            if quoted {
                self.push(character)?;
            } else {
                self.bare(character)?;
            }
            if value.private {
                self.mark_private();
            }
        }
        Ok(())
    }

    fn mark_private(&mut self) {
        if let Some(current) = &mut self.current {
            current.private = true;
        }
    }

    fn finish(mut self) -> Vec<Value> {
        self.words.extend(self.current.take());
        self.words
    }
}

struct Parser<'a> {
    expander: &'a Expander<'a>,
    rest: Peekable<Chars<'a>>,
    depth: usize,
}

impl Parser<'_> {
    /// Reads up to `stop`, or to the end if there is none.
    fn run(&mut self, stop: Option<char>, output: &mut Output<'_>) -> Result<(), ExpandError> {
        loop {
            let Some(character) = self.rest.next() else {
                return if stop.is_some() {
                    Err(ExpandError::OpenBrace)
                } else {
                    Ok(())
                };
            };
            match character {
                _ if Some(character) == stop => return Ok(()),
                '\'' => self.single_quoted(output)?,
                '"' => self.double_quoted(output)?,
                '$' => {
                    let value = self.dollar()?;
                    output.value(&value, false)?;
                }
                _ if character == self.expander.escape => {
                    if let Some(escaped) = self.rest.next() {
                        output.push(escaped)?;
                    }
                }
                _ => output.bare(character)?,
            }
        }
    }

    fn single_quoted(&mut self, output: &mut Output<'_>) -> Result<(), ExpandError> {
        output.current();
        loop {
            match self.rest.next() {
                None => return Err(ExpandError::OpenQuote { quote: '\'' }),
                Some('\'') => return Ok(()),
                Some(character) => output.push(character)?,
            }
        }
    }

    fn double_quoted(&mut self, output: &mut Output<'_>) -> Result<(), ExpandError> {
        output.current();
        let escape = self.expander.escape;
        loop {
            match self.rest.next() {
                None => return Err(ExpandError::OpenQuote { quote: '"' }),
                Some('"') => return Ok(()),
                Some('$') => {
                    let value = self.dollar()?;
                    output.value(&value, true)?;
                }
                Some(character) if character == escape => match self.rest.next() {
                    None => return Err(ExpandError::OpenQuote { quote: '"' }),
                    Some(escaped) => {
                        // The escape character means something before these only.
                        if escaped != '"' && escaped != '$' && escaped != escape {
                            output.push(escape)?;
                        }
                        output.push(escaped)?;
                    }
                },
                Some(character) => output.push(character)?,
            }
        }
    }

    /// What a `$` that was just read stands for.
    fn dollar(&mut self) -> Result<Value, ExpandError> {
        if self.rest.next_if_eq(&'{').is_some() {
            return self.braces();
        }
        let name = self.name();
        if name.is_empty() {
            return Ok(Value {
                text: "$".to_owned(),
                private: false,
            });
        }
        Ok(self.lookup(&name).unwrap_or_else(empty))
    }

    fn braces(&mut self) -> Result<Value, ExpandError> {
        if self.rest.peek().is_none() {
            return Err(ExpandError::OpenBrace);
        }
        let name = self.name();
        if name.is_empty() {
            return Err(ExpandError::NoName);
        }
        let mut found = self.rest.next().ok_or(ExpandError::OpenBrace)?;
        if found == '}' {
            return Ok(self.lookup(&name).unwrap_or_else(empty));
        }
        // With a colon an empty value counts as none.
        let colon = found == ':';
        if colon {
            found = self.rest.next().ok_or(ExpandError::OpenBrace)?;
        }
        if !matches!(found, '-' | '+' | '?') {
            return Err(ExpandError::Modifier { name, found });
        }
        let word = self.nested_word()?;
        let value = self
            .lookup(&name)
            .filter(|value| !(colon && value.text.is_empty()));
        match (found, value) {
            ('+', Some(_)) | ('-', None) => Ok(word),
            ('+', None) => Ok(empty()),
            (_, Some(value)) => Ok(value),
            (_, None) => {
                let message = match word {
                    Value { private: true, .. } => "it is not set".to_owned(),
                    Value { text, .. } if text.is_empty() => "it is not set".to_owned(),
                    Value { text, .. } => text,
                };
                Err(ExpandError::Required { name, message })
            }
        }
    }

    fn nested_word(&mut self) -> Result<Value, ExpandError> {
        if self.depth >= MAX_DEPTH {
            return Err(ExpandError::TooDeep);
        }
        self.depth += 1;
        let mut output = Output::new(self.expander.budget, false);
        self.run(Some('}'), &mut output)?;
        self.depth -= 1;
        Ok(output.finish().pop().unwrap_or_else(empty))
    }

    /// The name of a variable, empty if none is here.
    fn name(&mut self) -> String {
        let mut name = String::new();
        match self.rest.peek() {
            Some(first) if first.is_ascii_alphabetic() || *first == '_' => {
                while let Some(next) = self
                    .rest
                    .next_if(|next| next.is_ascii_alphanumeric() || *next == '_')
                {
                    name.push(next);
                }
            }
            Some(first) if first.is_ascii_digit() => {
                while let Some(next) = self.rest.next_if(char::is_ascii_digit) {
                    name.push(next);
                }
            }
            // The special parameters of a shell; none of them is ever set here.
            Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => name.extend(self.rest.next()),
            _ => {}
        }
        name
    }

    fn lookup(&self, name: &str) -> Option<Value> {
        self.expander.variables.variable(name).cloned()
    }
}

fn empty() -> Value {
    Value {
        text: String::new(),
        private: false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    struct Map(BTreeMap<&'static str, Value>);

    impl Variables for Map {
        fn variable(&self, name: &str) -> Option<&Value> {
            self.0.get(name)
        }
    }

    fn variables() -> Map {
        let value = |text: &str, private| Value {
            text: text.to_owned(),
            private,
        };
        Map(BTreeMap::from([
            ("A", value("one", false)),
            ("EMPTY", value("", false)),
            ("TWO", value("x y", false)),
            ("SECRET", value("hush", true)),
        ]))
    }

    fn expand(text: &str) -> Result<String, ExpandError> {
        let (variables, budget) = (variables(), Budget::default());
        Expander {
            escape: '\\',
            variables: &variables,
            budget: &budget,
        }
        .word(text)
        .map(|word| word.text)
    }

    fn words(text: &str) -> Vec<String> {
        let (variables, budget) = (variables(), Budget::default());
        Expander {
            escape: '\\',
            variables: &variables,
            budget: &budget,
        }
        .words(text)
        .unwrap()
        .into_iter()
        .map(|word| word.text)
        .collect()
    }

    #[test]
    fn variables_and_their_modifiers() {
        for (text, expected) in [
            ("$A/b", "one/b"),
            ("${A}b", "oneb"),
            ("$Ab", ""),
            ("$NONE", ""),
            ("${NONE:-x$A}", "xone"),
            ("${EMPTY:-x}", "x"),
            ("${EMPTY-x}", ""),
            ("${A:-x}", "one"),
            ("${A:+x}", "x"),
            ("${EMPTY:+x}", ""),
            ("${EMPTY+x}", "x"),
            ("${NONE:+x}", ""),
            ("${A:?x}", "one"),
            ("${NONE:-${OTHER:-deep}}", "deep"),
            ("$", "$"),
            ("a$/b", "a$/b"),
            ("$$A", "A"),
            ("\\$A", "$A"),
            ("'$A'", "$A"),
            ("\"$A\"", "one"),
            ("\"\\$A \\\" \\n\"", "$A \" \\n"),
            ("a\\ b", "a b"),
            ("", ""),
        ] {
            assert_eq!(expand(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn malformed_words_are_refused() {
        assert_eq!(expand("${A"), Err(ExpandError::OpenBrace));
        assert_eq!(expand("${"), Err(ExpandError::OpenBrace));
        assert_eq!(expand("${A:-x"), Err(ExpandError::OpenBrace));
        assert_eq!(expand("${}"), Err(ExpandError::NoName));
        assert_eq!(expand("'a"), Err(ExpandError::OpenQuote { quote: '\'' }));
        assert_eq!(expand("\"a"), Err(ExpandError::OpenQuote { quote: '"' }));
        assert!(matches!(
            expand("${A%x}"),
            Err(ExpandError::Modifier { found: '%', .. })
        ));
        let required = expand("${NONE:?say which}").unwrap_err();
        assert_eq!(
            required.to_string(),
            "the variable NONE is needed: say which"
        );
        let deep = "${N:-".repeat(MAX_DEPTH + 1);
        assert_eq!(expand(&deep), Err(ExpandError::TooDeep));
    }

    #[test]
    fn spaces_split_words_outside_quotes() {
        assert_eq!(words("a  b"), ["a", "b"]);
        assert_eq!(words("$TWO"), ["x", "y"]);
        assert_eq!(words("\"$TWO\" ''"), ["x y", ""]);
        assert_eq!(words("$NONE"), Vec::<String>::new());
    }

    #[test]
    fn what_came_from_a_build_argument_is_not_shown() {
        let (variables, budget) = (variables(), Budget::default());
        let expander = Expander {
            escape: '\\',
            variables: &variables,
            budget: &budget,
        };
        let word = expander.word("x/$SECRET").unwrap();
        assert_eq!((word.text.as_str(), word.shown()), ("x/hush", "x/$SECRET"));
        assert!(expander.word("${NONE:-$SECRET}").unwrap().private);
        assert!(!expander.word("$A").unwrap().private);
    }

    #[test]
    fn growth_is_bounded() {
        let budget = Budget {
            left: Cell::new(10),
        };
        let variables = variables();
        let expander = Expander {
            escape: '\\',
            variables: &variables,
            budget: &budget,
        };
        assert_eq!(expander.word("$A$A$A$A").unwrap_err(), ExpandError::TooLong);
    }

    proptest! {
        #[test]
        fn never_panics(text in "[$a-zA{}:+?'\"\\\\ \\-\\PC]{0,60}", splits: bool) {
            let (variables, budget) = (variables(), Budget::default());
            let expander = Expander { escape: '\\', variables: &variables, budget: &budget };
            if splits {
                let _ = expander.words(&text);
            } else {
                let _ = expander.word(&text);
            }
        }

        #[test]
        fn plain_text_stays(text in "[a-zA-Z0-9_/.:=-]{0,60}") {
            prop_assert_eq!(expand(&text), Ok(text));
        }
    }
}
