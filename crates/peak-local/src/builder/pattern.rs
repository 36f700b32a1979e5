//! Wildcards in the sources of `COPY` and `ADD`: `*`, `?`, `[a-z]`, `[^a-z]` and `\` before a
//! character that is meant as it is. None of them matches a `/`.

/// A pattern is not well formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Whether the text has any character that makes it a pattern.
pub(crate) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// One step of a pattern.
#[derive(Debug)]
enum Step {
    Any,
    One,
    Literal(char),
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Step {
    fn matches(&self, character: char) -> bool {
        match self {
            Self::Any | Self::One => true,
            Self::Literal(literal) => *literal == character,
            Self::Class { negated, ranges } => {
                ranges
                    .iter()
                    .any(|(low, high)| (*low..=*high).contains(&character))
                    != *negated
            }
        }
    }
}

/// A pattern for whole paths.
#[derive(Debug)]
pub(crate) struct Pattern {
    components: Vec<Vec<Step>>,
}

impl Pattern {
    /// Reads a pattern; `.` components are left out.
    pub(crate) fn parse(text: &str) -> Result<Self, Malformed> {
        let components = text
            .split('/')
            .filter(|component| !matches!(*component, "" | "."))
            .map(parse_component)
            .collect::<Result<_, _>>()?;
        Ok(Self { components })
    }

    /// Whether a tree path matches.
    pub(crate) fn matches(&self, path: &str) -> bool {
        let mut names = path.split('/');
        self.components
            .iter()
            .all(|steps| names.next().is_some_and(|name| fits(steps, name)))
            && names.next().is_none()
    }
}

fn parse_component(text: &str) -> Result<Vec<Step>, Malformed> {
    let mut steps = Vec::new();
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        steps.push(match character {
            '*' => Step::Any,
            '?' => Step::One,
            '\\' => Step::Literal(rest.next().ok_or(Malformed)?),
            '[' => parse_class(&mut rest)?,
            literal => Step::Literal(literal),
        });
    }
    Ok(steps)
}

fn parse_class(rest: &mut std::str::Chars<'_>) -> Result<Step, Malformed> {
    let mut negated = false;
    let mut ranges = Vec::new();
    let mut next = rest.next().ok_or(Malformed)?;
    if next == '^' {
        negated = true;
        next = rest.next().ok_or(Malformed)?;
    }
    loop {
        if next == ']' {
            return if ranges.is_empty() {
                Err(Malformed)
            } else {
                Ok(Step::Class { negated, ranges })
            };
        }
        let low = member(next, rest)?;
        next = rest.next().ok_or(Malformed)?;
        let mut high = low;
        if next == '-' {
            let end = rest.next().ok_or(Malformed)?;
            high = member(end, rest)?;
            next = rest.next().ok_or(Malformed)?;
        }
        if high < low {
            return Err(Malformed);
        }
        ranges.push((low, high));
    }
}

fn member(character: char, rest: &mut std::str::Chars<'_>) -> Result<char, Malformed> {
    match character {
        '\\' => rest.next().ok_or(Malformed),
        '-' | ']' => Err(Malformed),
        plain => Ok(plain),
    }
}

/// Whether the steps take in the whole name. Only the last `*` is ever tried again, so the work is
/// at most the product of both lengths.
fn fits(steps: &[Step], name: &str) -> bool {
    let mut step = 0;
    let mut rest = name.chars();
    let mut retry = None;
    loop {
        let here = rest.clone();
        match (steps.get(step), rest.next()) {
            (None, None) => return true,
            (Some(Step::Any), _) => {
                step += 1;
                retry = Some((step, here.clone()));
                rest = here;
            }
            (Some(wanted), Some(character)) if wanted.matches(character) => step += 1,
            _ => {
                // Let the last `*` take one character more.
                let Some((after, mut from)) = retry.take() else {
                    return false;
                };
                if from.next().is_none() {
                    return false;
                }
                step = after;
                rest = from.clone();
                retry = Some((after, from));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        Pattern::parse(pattern).unwrap().matches(path)
    }

    #[test]
    fn wildcards_stay_in_their_component() {
        for (pattern, path, expected) in [
            ("*.html", "index.html", true),
            ("*.html", "a/index.html", false),
            ("a/*/c", "a/b/c", true),
            ("a/*", "a/b/c", false),
            ("./a*", "abc", true),
            ("*a*b*", "xaybz", true),
            ("*a*b", "xaybz", false),
            ("?", "ä", true),
            ("?", "", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("*", ".hidden", true),
            ("a*", "a", true),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn malformed_patterns_are_refused() {
        for pattern in ["[", "[]", "[a", "a\\", "[z-a]", "[a-]", "[-a]"] {
            assert!(Pattern::parse(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn many_stars_end_quickly() {
        assert!(!matches(&"*a".repeat(200), &"a".repeat(199)));
        assert!(!matches(
            &format!("{}b", "*a".repeat(100)),
            &"a".repeat(2000)
        ));
    }

    proptest! {
        #[test]
        fn never_panics(pattern in "[a-c*?\\[\\]^\\\\/-]{0,20}", path in "[a-c/]{0,20}") {
            if let Ok(pattern) = Pattern::parse(&pattern) {
                pattern.matches(&path);
            }
        }
    }
}
