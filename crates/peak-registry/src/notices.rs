//! What a registry says beside its answers: warnings, and how much one may still ask.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use http::HeaderMap;
use http::header::{HeaderValue, WARNING};

/// How many different warnings are kept; more are not worth anybody's time.
const MAX_WARNINGS: usize = 64;

/// How much of a warning is kept, in characters. The specification allows 4096 bytes.
const MAX_WARNING: usize = 300;

/// How much one may ask of a registry, as it last said it in `RateLimit-Limit` and `RateLimit-Remaining`
/// (`100;w=21600`, as Docker Hub has it).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RateLimit {
    /// How many requests are allowed in a window.
    pub limit: Option<u64>,
    /// How many of them are left.
    pub remaining: Option<u64>,
    /// How long a window is, in seconds.
    pub window: Option<u64>,
}

impl RateLimit {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let (limit, limit_window) = parse(headers.get("ratelimit-limit"));
        let (remaining, remaining_window) = parse(headers.get("ratelimit-remaining"));
        (limit.is_some() || remaining.is_some()).then_some(Self {
            limit,
            remaining,
            window: limit_window.or(remaining_window),
        })
    }
}

/// The number, and the seconds of its window.
fn parse(value: Option<&HeaderValue>) -> (Option<u64>, Option<u64>) {
    let text = value
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let mut parts = text.split(';').map(str::trim);
    let number = parts.next().and_then(|number| number.parse().ok());
    let window = parts
        .find_map(|part| part.strip_prefix("w="))
        .and_then(|window| window.parse().ok());
    (number, window)
}

/// What was said so far, of all registries.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    said: Mutex<Said>,
}

#[derive(Debug, Default)]
struct Said {
    /// Registry and text.
    warnings: BTreeSet<(String, String)>,
    limits: BTreeMap<String, RateLimit>,
}

impl Notices {
    /// Keeps what the headers of an answer say; a warning is logged the first time.
    pub(crate) fn read(&self, registry: &str, headers: &HeaderMap) {
        if let Some(limit) = RateLimit::of(headers) {
            self.lock().limits.insert(registry.to_owned(), limit);
        }
        for text in headers.get_all(WARNING).iter().filter_map(warning) {
            let mut said = self.lock();
            let known = said.warnings.len() >= MAX_WARNINGS
                || !said.warnings.insert((registry.to_owned(), text.clone()));
            drop(said);
            if !known {
                tracing::warn!(registry, warning = %text, "the registry warns");
            }
        }
    }

    pub(crate) fn warnings(&self, registry: &str) -> Vec<String> {
        let said = self.lock();
        let of_registry = said.warnings.iter().filter(|(name, _)| name == registry);
        of_registry.map(|(_, text)| text.clone()).collect()
    }

    pub(crate) fn rate_limit(&self, registry: &str) -> Option<RateLimit> {
        self.lock().limits.get(registry).copied()
    }

    fn lock(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The text of `299 - "text"`, as the distribution specification has it; other warnings are HTTP's own business.
fn warning(value: &HeaderValue) -> Option<String> {
    let rest = value.to_str().ok()?.trim().strip_prefix("299")?;
    let quoted = rest.trim_start().strip_prefix('-')?.trim_start();
    let quoted = quoted.strip_prefix('"')?;
    let mut text = String::new();
    let mut escaped = false;
    for c in quoted.chars().take(MAX_WARNING) {
        match c {
            '"' if !escaped => break,
            '\\' if !escaped => {
                escaped = true;
                continue;
            }
            c if c.is_control() => text.push(' '),
            c => text.push(c),
        }
        escaped = false;
    }
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn limits_are_read_with_their_window() {
        let hub = headers(&[
            ("ratelimit-limit", "100;w=21600"),
            ("ratelimit-remaining", "76;w=21600"),
        ]);
        assert_eq!(
            RateLimit::of(&hub),
            Some(RateLimit {
                limit: Some(100),
                remaining: Some(76),
                window: Some(21600)
            })
        );
        assert_eq!(
            RateLimit::of(&headers(&[("ratelimit-limit", "many")])),
            None
        );
        assert_eq!(RateLimit::of(&HeaderMap::new()), None);
        let plain = RateLimit::of(&headers(&[("ratelimit-remaining", "0")])).unwrap();
        assert_eq!((plain.remaining, plain.window), (Some(0), None));
    }

    #[test]
    fn each_warning_is_kept_once_and_only_those_of_the_specification() {
        let notices = Notices::default();
        for _ in 0..2 {
            let mut answer = headers(&[("warning", "299 - \"this \\\"tag\\\" goes\"")]);
            answer.append(WARNING, HeaderValue::from_static("199 - \"other\""));
            answer.append(WARNING, HeaderValue::from_static("299 - unquoted"));
            notices.read("r.example", &answer);
        }
        assert_eq!(notices.warnings("r.example"), ["this \"tag\" goes"]);
        assert!(notices.warnings("other.example").is_empty());
    }

    #[test]
    fn many_warnings_do_not_fill_the_memory() {
        let notices = Notices::default();
        for number in 0..1000 {
            let text = HeaderValue::from_str(&format!("299 - \"{number}\"")).unwrap();
            notices.read("r", &HeaderMap::from_iter([(WARNING, text)]));
        }
        assert_eq!(notices.warnings("r").len(), MAX_WARNINGS);
    }
}
