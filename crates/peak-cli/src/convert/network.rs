//! What to tell of a request that did not get through: to which machine, why, and what to look at.

use std::error::Error as StdError;

use peak_sdk::http::{Error, ErrorKind as HttpErrorKind};
use url::Url;

use crate::error::{CliError, ErrorKind, causes, tidy};

const UNKNOWN_NAME: &str = "this name is not known";

/// What happened to the request in the error's causes that is the deepest: it says most.
pub(super) fn request_in<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Error> {
    causes(error)
        .filter_map(|cause| cause.downcast_ref())
        .last()
}

/// The failure of a request. `place` is what it was about, where that is not known better.
pub(super) fn told(error: &Error, place: &str) -> CliError {
    let host = host_of(error).unwrap_or_else(|| place.to_owned());
    let reason = reason(error);
    let own = own_words(error);
    let (kind, message, hint) = match error.kind() {
        // It is the proxy that was not reached, and nobody knows of the host.
        HttpErrorKind::Connect if own.contains("proxy") => (
            ErrorKind::Unavailable,
            if reason == own {
                format!("{host} cannot be reached: {own}")
            } else {
                format!("{host} cannot be reached: {own}: {reason}")
            },
            Some(about_proxies(&host)),
        ),
        HttpErrorKind::Connect => (
            ErrorKind::Unavailable,
            format!("{host} cannot be reached: {reason}"),
            Some(format!("{}; {}", advice(&reason), doctor(&host))),
        ),
        HttpErrorKind::Tls => (
            ErrorKind::Unavailable,
            format!("the TLS connection to {host} failed: {reason}"),
            Some(format!("{}; {}", advice_on_tls(&reason), doctor(&host))),
        ),
        HttpErrorKind::Proxy => (
            ErrorKind::Unavailable,
            format!("{host} cannot be reached through the proxy: {reason}"),
            Some(about_proxies(&host)),
        ),
        HttpErrorKind::Timeout | HttpErrorKind::Idle => (
            ErrorKind::Unavailable,
            format!("{host} did not answer in time: {reason}"),
            Some(format!("try again later; {}", doctor(&host))),
        ),
        HttpErrorKind::Decode => (
            ErrorKind::Unavailable,
            format!("what {host} answers cannot be understood: {reason}"),
            Some(format!(
                "see that host and port are right; {}",
                doctor(&host)
            )),
        ),
        HttpErrorKind::Configuration => {
            let (what, advice) = match own.split_once("; ") {
                Some((what, advice)) => (what.to_owned(), Some(advice.to_owned())),
                None => (own, None),
            };
            let message = if what == reason {
                what
            } else {
                format!("{what}: {reason}")
            };
            (ErrorKind::Usage, message, advice)
        }
        _ => (
            ErrorKind::Unavailable,
            format!("the request to {host} failed: {reason}"),
            Some(doctor(&host)),
        ),
    };
    let failure = CliError::new(kind, message).with_url(error.url().map(str::to_owned));
    match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}

/// Whether what was to be done has no part in the failure: nothing was sent.
pub(super) fn is_told_alone(error: &Error) -> bool {
    matches!(
        error.kind(),
        HttpErrorKind::Connect
            | HttpErrorKind::Tls
            | HttpErrorKind::Proxy
            | HttpErrorKind::Configuration
    )
}

/// The command that looks closer.
pub(super) fn doctor(host: &str) -> String {
    format!("`peak doctor {host}` looks closer")
}

fn about_proxies(host: &str) -> String {
    format!(
        "HTTPS_PROXY, HTTP_PROXY and NO_PROXY say which proxy is used; {}",
        doctor(host)
    )
}

fn host_of(error: &Error) -> Option<String> {
    let url = Url::parse(error.url()?).ok()?;
    let host = url.host_str()?;
    Some(match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    })
}

/// The cause that says most, in words for a person.
fn reason(error: &Error) -> String {
    let deepest = causes(error)
        .skip(1)
        .last()
        .map(|cause| tidy(&cause.to_string()));
    let own = own_words(error);
    match deepest {
        Some(text) if text.contains("Temporary failure in name resolution") => {
            "the DNS does not answer".to_owned()
        }
        Some(text) if is_unknown_name(&text) => UNKNOWN_NAME.to_owned(),
        Some(text) if text.contains("InvalidContentType") => {
            "it does not speak TLS on this port".to_owned()
        }
        Some(text) if text.is_empty() => own,
        Some(text) => in_a_sentence(&text),
        None => own,
    }
}

/// With a small letter first, but for names and abbreviations.
fn in_a_sentence(text: &str) -> String {
    let mut letters = text.chars();
    match (letters.next(), letters.next()) {
        (Some(first), Some(second)) if first.is_uppercase() && second.is_lowercase() => first
            .to_lowercase()
            .chain([second])
            .chain(letters)
            .collect(),
        _ => text.to_owned(),
    }
}

/// What the error itself says, without the URL that it puts behind.
fn own_words(error: &Error) -> String {
    let text = error.to_string();
    match error
        .url()
        .and_then(|url| text.strip_suffix(&format!(" ({url})")))
    {
        Some(words) => words.to_owned(),
        None => text,
    }
}

fn is_unknown_name(reason: &str) -> bool {
    reason.contains("failed to lookup address") || reason.contains("Name or service not known")
}

fn advice(reason: &str) -> &'static str {
    if reason == UNKNOWN_NAME {
        "check how it is written"
    } else if reason.to_lowercase().contains("refused") {
        "check the host and the port, and that the server runs"
    } else {
        "check the host, the port and the network"
    }
}

fn advice_on_tls(reason: &str) -> &'static str {
    if reason.contains("does not speak TLS") {
        "`--insecure HOST` of `peak registry` speaks plain HTTP to it"
    } else {
        "to trust a CA of your own, name its PEM file in PEAK_CA_FILE, or with --ca-file of `peak registry`"
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn failed(kind: HttpErrorKind, message: &'static str, cause: &'static str) -> Error {
        let url = Url::parse("https://registry.example:5000/v2/?token=secret").unwrap();
        Error::new(kind, message)
            .with_source(io::Error::other(cause))
            .with_url(&url)
    }

    #[test]
    fn what_is_told_names_the_machine_and_the_reason_once() {
        for (kind, message, cause, expected) in [
            (
                HttpErrorKind::Connect,
                "no connection to the server",
                "Connection refused (os error 111)",
                "registry.example:5000 cannot be reached: connection refused",
            ),
            (
                HttpErrorKind::Connect,
                "no connection to the server",
                "failed to lookup address information: Name or service not known",
                "registry.example:5000 cannot be reached: this name is not known",
            ),
            (
                HttpErrorKind::Connect,
                "no connection to the server",
                "failed to lookup address information: Temporary failure in name resolution",
                "registry.example:5000 cannot be reached: the DNS does not answer",
            ),
            (
                HttpErrorKind::Connect,
                "no connection to the proxy http://proxy:3128/",
                "Connection refused (os error 111)",
                "registry.example:5000 cannot be reached: no connection to the proxy http://proxy:3128/: connection refused",
            ),
            (
                HttpErrorKind::Tls,
                "the TLS connection to the server could not be set up",
                "received corrupt message of type InvalidContentType",
                "the TLS connection to registry.example:5000 failed: it does not speak TLS on this port",
            ),
        ] {
            let told = told(&failed(kind, message, cause), "registry.example:5000/app");
            assert_eq!(told.message, expected);
            assert_eq!(told.kind, ErrorKind::Unavailable);
            let hint = told.hint.unwrap();
            assert!(
                hint.contains("`peak doctor registry.example:5000`"),
                "{hint}"
            );
            assert!(!told.url.unwrap().contains("secret"));
        }
    }

    #[test]
    fn settings_that_cannot_work_are_errors_of_usage() {
        let error = failed(
            HttpErrorKind::Configuration,
            "HTTPS_PROXY names a proxy that cannot be used; correct or unset it",
            "its address is wrong",
        );
        let told = told(&error, "registry.example");
        assert_eq!(
            told.message,
            "HTTPS_PROXY names a proxy that cannot be used: its address is wrong"
        );
        assert_eq!(told.hint.as_deref(), Some("correct or unset it"));
        assert_eq!(told.kind, ErrorKind::Usage);
    }
}
