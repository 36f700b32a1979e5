//! What holds for the headers of any registry: the bodies of fuzz targets (docs/fuzzing.md). No part of the interface.

use std::fmt::Write as _;

use http::header::{HeaderMap, HeaderName, HeaderValue, LINK, WWW_AUTHENTICATE};
use peak_http::Origin;
use url::Url;

use crate::auth::challenge::{self, Challenge};
use crate::links;

/// `WWW-Authenticate`, one header a line.
pub fn challenge(data: &[u8]) {
    if let Some(chosen) = challenge::choose(&headers(&WWW_AUTHENTICATE, data)) {
        assert!(["bearer", "basic"].contains(&chosen.scheme.as_str()));
    }
    let challenges = challenge::parse(&String::from_utf8_lossy(data));
    assert!(challenges.len() <= challenge::MAX_CHALLENGES);
    for challenge in &challenges {
        assert!(!challenge.scheme.is_empty());
        assert_eq!(challenge.scheme, challenge.scheme.to_ascii_lowercase());
        assert!(challenge.parameters.len() <= challenge::MAX_PARAMETERS);
        for (name, _) in &challenge.parameters {
            assert!(challenge.parameter(&name.to_ascii_uppercase()).is_some());
        }
    }
    let written = write_challenges(&challenges);
    if written.len() <= challenge::MAX_LENGTH {
        assert_eq!(challenge::parse(&written), challenges, "{written:?}");
    }
}

/// As RFC 7235 writes them, every value in quotes.
fn write_challenges(challenges: &[Challenge]) -> String {
    let mut text = String::new();
    for challenge in challenges {
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(&challenge.scheme);
        for (index, (name, value)) in challenge.parameters.iter().enumerate() {
            let separator = if index == 0 { " " } else { ", " };
            let _ = write!(text, "{separator}{name}={}", quoted(value));
        }
    }
    text
}

/// `Link`, one header a line.
pub fn link(data: &[u8]) {
    let Ok(page) = Url::parse("https://registry.example/v2/a/tags/list?n=2") else {
        return;
    };
    if let Ok(Some(next)) = links::next(&page, &headers(&LINK, data)) {
        assert_eq!(Origin::of(&next), Origin::of(&page));
        assert!(next.username().is_empty() && next.password().is_none());
        let written = format!("<{next}>; rel=\"next\"");
        let again = links::next(&page, &headers(&LINK, written.as_bytes()));
        assert_eq!(again, Ok(Some(next)), "{written:?}");
    }
    let read = links::parse(&String::from_utf8_lossy(data));
    let written: Vec<String> = read
        .iter()
        .map(|link| match &link.relations {
            Some(relations) => format!("<{}>; rel={}", link.target, quoted(relations)),
            None => format!("<{}>", link.target),
        })
        .collect();
    let written = written.join(", ");
    assert_eq!(links::parse(&written), read, "{written:?}");
}

fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

fn headers(name: &HeaderName, data: &[u8]) -> HeaderMap {
    data.split(|byte| *byte == b'\n')
        .filter_map(|line| Some((name.clone(), HeaderValue::from_bytes(line).ok()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    include!("../../../fuzz/seeds.rs");

    #[test]
    fn the_seeds_hold() {
        hold("challenge", super::challenge);
        hold("link", super::link);
    }
}
