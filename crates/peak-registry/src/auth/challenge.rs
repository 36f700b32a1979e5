//! Reads `WWW-Authenticate` (RFC 7235): several challenges in one header or in several, in any case, quoted or not.

/// Longest header value that is looked at.
const MAX_LENGTH: usize = 8 * 1024;

/// One way to authenticate that a server offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Challenge {
    /// Lower case.
    pub(crate) scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    /// A parameter's value; names are compared without case.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// Reads one header value. What cannot be understood ends the reading; what came before it counts.
pub(crate) fn parse(header: &str) -> Vec<Challenge> {
    let mut challenges: Vec<Challenge> = Vec::new();
    let mut input = Input {
        rest: if header.len() > MAX_LENGTH {
            ""
        } else {
            header
        },
    };
    loop {
        input.skip(|character| character == ',' || is_space(character));
        let word = input.take(is_token);
        if word.is_empty() {
            return challenges;
        }
        if input.parameter_follows()
            && let Some(challenge) = challenges.last_mut()
        {
            let Some(value) = input.value() else {
                return challenges;
            };
            challenge.parameters.push((word.to_owned(), value));
        } else {
            input.skip_credentials();
            challenges.push(Challenge {
                scheme: word.to_ascii_lowercase(),
                parameters: Vec::new(),
            });
        }
    }
}

struct Input<'a> {
    rest: &'a str,
}

impl<'a> Input<'a> {
    fn take(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let end = self
            .rest
            .find(|character| !wanted(character))
            .unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    fn skip(&mut self, unwanted: impl Fn(char) -> bool) {
        self.take(unwanted);
    }

    /// Steps over `=` with optional space around it.
    fn parameter_follows(&mut self) -> bool {
        match self.rest.trim_start_matches(is_space).strip_prefix('=') {
            Some(rest) => {
                self.rest = rest.trim_start_matches(is_space);
                true
            }
            None => false,
        }
    }

    /// A token, or a quoted string with its escapes resolved. `None` where the quote is never closed.
    fn value(&mut self) -> Option<String> {
        let Some(quoted) = self.rest.strip_prefix('"') else {
            // More than RFC 7235 allows: some registries leave the quotes away from URLs.
            return Some(
                self.take(|character| character != ',' && !is_space(character))
                    .to_owned(),
            );
        };
        let mut value = String::new();
        let mut characters = quoted.chars();
        loop {
            match characters.next()? {
                '"' => break,
                '\\' => value.push(characters.next()?),
                character => value.push(character),
            }
        }
        self.rest = characters.as_str();
        Some(value)
    }

    /// Steps over `token68`, as in `Negotiate YII=`, which is no parameter.
    fn skip_credentials(&mut self) {
        let mut ahead = Input {
            rest: self.rest.trim_start_matches(is_space),
        };
        let word = ahead.take(|character| is_token(character) || character == '/');
        ahead.skip(|character| character == '=');
        ahead.skip(is_space);
        if !word.is_empty() && (ahead.rest.is_empty() || ahead.rest.starts_with(',')) {
            self.rest = ahead.rest;
        }
    }
}

fn is_space(character: char) -> bool {
    character == ' ' || character == '\t'
}

fn is_token(character: char) -> bool {
    character.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(character)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn schemes(header: &str) -> Vec<String> {
        parse(header)
            .into_iter()
            .map(|challenge| challenge.scheme)
            .collect()
    }

    #[test]
    fn reads_what_registries_send() {
        let header = r#"Bearer realm="https://auth.example/token?x=1",service="registry.example",scope="repository:a/b:pull,push""#;
        let challenges = parse(header);
        assert_eq!(challenges.len(), 1);
        let bearer = &challenges[0];
        assert_eq!(bearer.scheme, "bearer");
        assert_eq!(
            bearer.parameter("realm"),
            Some("https://auth.example/token?x=1")
        );
        assert_eq!(bearer.parameter("SCOPE"), Some("repository:a/b:pull,push"));
        assert_eq!(bearer.parameter("error"), None);
    }

    #[test]
    fn several_challenges_stand_in_one_header() {
        assert_eq!(
            schemes(
                r#"Negotiate, Negotiate YII==, bAsIc Realm="a, b=\"c\"", Bearer realm=https://auth.example/t , service = x"#
            ),
            ["negotiate", "negotiate", "basic", "bearer"]
        );
        let challenges =
            parse(r#"bAsIc Realm="a, b=\"c\"", Bearer realm=https://auth.example/t , service = x"#);
        assert_eq!(challenges[0].parameter("realm"), Some(r#"a, b="c""#));
        assert_eq!(
            challenges[1].parameter("realm"),
            Some("https://auth.example/t")
        );
        assert_eq!(challenges[1].parameter("service"), Some("x"));
    }

    #[test]
    fn what_is_broken_ends_the_reading() {
        assert!(schemes("").is_empty());
        assert!(schemes("=,\"").is_empty());
        assert_eq!(schemes(r#"Bearer realm="never closed"#), ["bearer"]);
        assert_eq!(schemes(r#"Basic realm="x" é Bearer"#), ["basic"]);
        assert!(schemes(&"a ".repeat(MAX_LENGTH)).is_empty());
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(header in ".{0,200}") {
            let found = parse(&header);
            prop_assert!(found.len() <= header.len());
        }

        #[test]
        fn a_quoted_value_comes_back(value in "[ -~]{0,40}") {
            let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
            let found = parse(&format!("Bearer realm=\"{escaped}\", service=s"));
            prop_assert_eq!(found[0].parameter("realm"), Some(value.as_str()));
            prop_assert_eq!(found[0].parameter("service"), Some("s"));
        }
    }
}
