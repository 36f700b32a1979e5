//! What a request brings along to say who it comes from.

use std::fmt;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The header `Authorization`, read.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Presented {
    /// No header. Basic without user and password is the same: some clients say so that they have
    /// none.
    Nothing,
    Basic {
        user: String,
        password: Vec<u8>,
    },
    Bearer(String),
    /// A header that is none of these, or more than one.
    Unknown,
}

impl Presented {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return if headers.contains_key(AUTHORIZATION) {
                Self::Unknown
            } else {
                Self::Nothing
            };
        };
        let parts = value.to_str().ok().and_then(|text| text.split_once(' '));
        match parts {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("basic") => {
                basic(rest.trim()).unwrap_or(Self::Unknown)
            }
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("bearer") => {
                Self::Bearer(rest.trim().to_owned())
            }
            _ => Self::Unknown,
        }
    }
}

fn basic(text: &str) -> Option<Presented> {
    let decoded = STANDARD.decode(text).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let user = std::str::from_utf8(decoded.get(..colon)?).ok()?;
    let password = decoded.get(colon.checked_add(1)?..)?;
    if user.is_empty() && password.is_empty() {
        return Some(Presented::Nothing);
    }
    Some(Presented::Basic {
        user: user.to_owned(),
        password: password.to_vec(),
    })
}

impl fmt::Debug for Presented {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Nothing => "Nothing",
            Self::Basic { .. } => "Basic(..)",
            Self::Bearer(_) => "Bearer(..)",
            Self::Unknown => "Unknown",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn presented(values: &[&str]) -> Presented {
        let headers = values
            .iter()
            .map(|value| (AUTHORIZATION, value.parse().unwrap()));
        Presented::of(&headers.collect())
    }

    fn user(user: &str, password: &str) -> Presented {
        Presented::Basic {
            user: user.to_owned(),
            password: password.as_bytes().to_vec(),
        }
    }

    #[test]
    fn both_schemes_are_read_in_any_case() {
        assert_eq!(presented(&[]), Presented::Nothing);
        // alice:open:sesame
        let text = "YWxpY2U6b3BlbjpzZXNhbWU=";
        for scheme in ["Basic", "basic", "BASIC", "Basic "] {
            assert_eq!(
                presented(&[&format!("{scheme} {text}")]),
                user("alice", "open:sesame")
            );
        }
        assert_eq!(presented(&["Basic OnNlY3JldA=="]), user("", "secret"));
        assert_eq!(presented(&["Basic Og=="]), Presented::Nothing);
        assert_eq!(
            presented(&["bearer abc.def"]),
            Presented::Bearer("abc.def".to_owned())
        );
    }

    #[test]
    fn what_cannot_be_read_is_not_taken_for_nothing() {
        for values in [
            &["open-sesame"][..],
            &["Basic"],
            &["Basic %%%"],
            &["Basic YWxpY2U="],
            &["Basic /zpzZWNyZXQ="],
            &["Negotiate abc"],
            &[""],
            &["Basic Og==", "Basic Og=="],
        ] {
            assert_eq!(presented(values), Presented::Unknown, "{values:?}");
        }
        assert!(!format!("{:?}", user("alice", "secret")).contains("alice"));
    }

    proptest! {
        #[test]
        fn what_clients_send_comes_back(name in "[^:]{1,12}", password in proptest::collection::vec(any::<u8>(), 0..24)) {
            let text = STANDARD.encode([name.as_bytes(), b":", &password].concat());
            let expected = Presented::Basic { user: name, password };
            prop_assert_eq!(presented(&[&format!("Basic {text}")]), expected);
        }

        #[test]
        fn any_header_is_read_without_panic(text in "(Basic |Bearer )?[ -~]{0,40}") {
            let _ = presented(&[&text]);
        }
    }
}
