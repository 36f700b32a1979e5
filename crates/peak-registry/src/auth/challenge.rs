//! Reads `WWW-Authenticate` (RFC 7235): several challenges in one header or in several, in any case, quoted or not.

use http::header::{HeaderMap, WWW_AUTHENTICATE};

/// Longest header value that is looked at.
pub(crate) const MAX_LENGTH: usize = 8 * 1024;
/// Most headers that are looked at, challenges that are kept, and parameters of one.
const MAX_HEADERS: usize = 8;
pub(crate) const MAX_CHALLENGES: usize = 16;
pub(crate) const MAX_PARAMETERS: usize = 16;

/// One way to authenticate that a server offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Challenge {
    /// Lower case.
    pub(crate) scheme: String,
    pub(crate) parameters: Vec<(String, String)>,
}

impl Challenge {
    /// A parameter's value; names are compared without case, and the first of a name counts.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// The challenge that is answered: Bearer wherever it stands, else Basic.
pub(crate) fn choose(headers: &HeaderMap) -> Option<Challenge> {
    let mut challenges: Vec<Challenge> = offered(headers).collect();
    let position = |scheme: &str| challenges.iter().position(|one| one.scheme == scheme);
    let chosen = position("bearer").or_else(|| position("basic"))?;
    Some(challenges.swap_remove(chosen))
}

/// What the ways are called that are offered, to say which none of ours is among.
pub(crate) fn schemes(headers: &HeaderMap) -> Vec<String> {
    offered(headers).map(|one| one.scheme).collect()
}

fn offered(headers: &HeaderMap) -> impl Iterator<Item = Challenge> + '_ {
    headers
        .get_all(WWW_AUTHENTICATE)
        .iter()
        .take(MAX_HEADERS)
        .flat_map(|value| parse(&String::from_utf8_lossy(value.as_bytes())))
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
        if input.parameter_follows() {
            // A value that belongs to no scheme is stepped over.
            let Some(value) = input.value(word) else {
                return challenges;
            };
            if let Some(challenge) = challenges.last_mut()
                && challenge.parameters.len() < MAX_PARAMETERS
            {
                challenge.parameters.push((word.to_owned(), value));
            }
        } else if challenges.len() < MAX_CHALLENGES {
            input.skip_credentials();
            challenges.push(Challenge {
                scheme: word.to_ascii_lowercase(),
                parameters: Vec::new(),
            });
        } else {
            return challenges;
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
    fn value(&mut self, name: &str) -> Option<String> {
        let Some(quoted) = self.rest.strip_prefix('"') else {
            // More than RFC 7235 allows: some registries leave the quotes away from URLs and scopes.
            let ends = |character| character == ',' || is_space(character);
            let mut value = self.take(|character| !ends(character)).to_owned();
            if name.eq_ignore_ascii_case("scope") {
                while let Some(action) = self.further_action() {
                    value.push(',');
                    value.push_str(action);
                }
            }
            return Some(value);
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

    /// The next action of a scope without quotes: `push` in `scope=repository:a:pull,push`.
    fn further_action(&mut self) -> Option<&'static str> {
        let rest = self.rest.strip_prefix(',')?;
        let (action, rest) = ["pull", "push", "delete", "*"]
            .into_iter()
            .find_map(|action| Some((action, rest.strip_prefix(action)?)))?;
        let ended = rest
            .chars()
            .next()
            .is_none_or(|next| next == ',' || is_space(next));
        if !ended {
            return None;
        }
        self.rest = rest;
        Some(action)
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
    use std::fmt::Write as _;

    use http::HeaderValue;
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

    #[test]
    fn a_scope_without_quotes_keeps_its_actions() {
        let challenges = parse(
            "Bearer realm=https://a/t,scope=repository:a/b:pull,push,service=s, pushy realm=x",
        );
        assert_eq!(
            challenges[0].parameter("scope"),
            Some("repository:a/b:pull,push")
        );
        assert_eq!(challenges[0].parameter("service"), Some("s"));
        assert_eq!(challenges[1].scheme, "pushy");
    }

    #[test]
    fn values_without_a_scheme_are_no_challenge() {
        assert!(schemes(r#"realm="https://a/t", service=x"#).is_empty());
    }

    fn headers(values: &[&[u8]]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for value in values {
            map.append(WWW_AUTHENTICATE, HeaderValue::from_bytes(value).unwrap());
        }
        map
    }

    #[test]
    fn bearer_is_chosen_before_basic_in_any_order_and_from_any_header() {
        for values in [
            &[&b"Negotiate"[..], b"BASIC realm=b", b"bEaReR realm=t"][..],
            &[b"Bearer realm=t, Basic realm=b"],
            &[b"Basic realm=\"\xe9\"", b"Negotiate YII=, Bearer realm=t"],
        ] {
            let chosen = choose(&headers(values)).unwrap();
            assert_eq!(chosen.scheme, "bearer");
            assert_eq!(chosen.parameter("realm"), Some("t"));
        }
        let basic = headers(&[b"Digest realm=d, nonce=\"a,b\", Basic realm=b"]);
        assert_eq!(choose(&basic).unwrap().scheme, "basic");
        assert_eq!(choose(&headers(&[b"Negotiate, NTLM"])), None);
        assert_eq!(choose(&HeaderMap::new()), None);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        assert_eq!(schemes(&"a,".repeat(1000)).len(), MAX_CHALLENGES);
        let many = format!("Bearer {}", "k=v,".repeat(1000));
        assert_eq!(parse(&many)[0].parameters.len(), MAX_PARAMETERS);
        let mut map = HeaderMap::new();
        for _ in 0..=MAX_HEADERS {
            map.append(WWW_AUTHENTICATE, HeaderValue::from_static("Negotiate"));
        }
        map.append(WWW_AUTHENTICATE, HeaderValue::from_static("Basic"));
        assert_eq!(choose(&map), None);
    }

    /// A challenge, and how it may be written.
    fn written() -> impl Strategy<Value = (Challenge, String)> {
        let space = "[ \t]{0,2}";
        let parameter = ("[a-z][a-z0-9_]{0,6}", "[ -~]{0,12}", space, any::<bool>());
        let parameters = proptest::collection::vec(parameter, 1..4);
        ("[A-Za-z][A-Za-z0-9]{0,8}", parameters).prop_map(|(scheme, parameters)| {
            let mut text = format!("{scheme} ");
            let mut kept = Vec::new();
            for (position, (name, value, space, quote)) in parameters.into_iter().enumerate() {
                if position > 0 {
                    write!(text, "{space},{space}").unwrap();
                }
                let plain = !value.is_empty() && value.chars().all(is_token) && name != "scope";
                if plain && !quote {
                    write!(text, "{name}{space}={space}{value}").unwrap();
                } else {
                    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
                    write!(text, "{name}{space}={space}\"{escaped}\"").unwrap();
                }
                kept.push((name, value));
            }
            let challenge = Challenge {
                scheme: scheme.to_ascii_lowercase(),
                parameters: kept,
            };
            (challenge, text)
        })
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(header in ".{0,200}") {
            let found = parse(&header);
            prop_assert!(found.len() <= MAX_CHALLENGES);
        }

        #[test]
        fn any_pieces_of_challenges_are_read_without_a_panic(
            pieces in proptest::collection::vec(
                proptest::sample::select(vec![
                    "Bearer", "basic", " ", "\t", ",", "=", "\"", "\\", "realm", "scope", "é",
                    "https://a/t?x=1", "repository:a:pull", "pull", "push", "*", "YII==", "/", "\u{0}",
                ]),
                0..60,
            )
        ) {
            let text = pieces.concat();
            let mut map = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_bytes(text.as_bytes()) {
                map.append(WWW_AUTHENTICATE, value);
            }
            if let Some(chosen) = choose(&map) {
                prop_assert!(["bearer", "basic"].contains(&chosen.scheme.as_str()));
            }
        }

        #[test]
        fn what_is_written_is_read_back(all in proptest::collection::vec(written(), 1..4)) {
            let header = all.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join(", ");
            let expected: Vec<Challenge> = all.into_iter().map(|(challenge, _)| challenge).collect();
            prop_assert_eq!(parse(&header), expected);
        }
    }
}
