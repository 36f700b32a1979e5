//! What to tell of a request that did not get through: to which machine, why, and what to look at.

use std::error::Error as StdError;

use peak_sdk::http::{Error, ErrorKind as HttpErrorKind, TlsProblem};
use url::Url;

use crate::error::{CliError, ErrorKind, causes, tidy};

const PROXIES: &str = "HTTPS_PROXY, HTTP_PROXY and NO_PROXY say which proxy is used";

const UNKNOWN_NAME: &str = "this name is not known";

/// What happened to the request in the error's causes that is the deepest: it says most.
pub(super) fn request_in<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Error> {
    causes(error)
        .filter_map(|cause| cause.downcast_ref())
        .last()
}

/// The failure of a request to a registry. `place` is what it was about, where that is not known better.
pub(super) fn told(error: &Error, place: &str) -> CliError {
    let host = host_of(error).unwrap_or_else(|| place.to_owned());
    let failure = bare(error, &host);
    match failure.kind {
        ErrorKind::Unavailable => failure.with_doctor(doctor(&host)),
        _ => failure,
    }
}

/// The failure of a request to the platform. Which command looks closer depends on who has named the platform.
pub(super) fn told_of_platform(error: &Error) -> CliError {
    let host = host_of(error).unwrap_or_else(|| "the platform".to_owned());
    let failure = bare(error, &host);
    match failure.kind {
        ErrorKind::Unavailable => failure
            .with_more_hint("--endpoint-url and --stage say where the platform is")
            .of_platform(),
        _ => failure,
    }
}

fn bare(error: &Error, host: &str) -> CliError {
    let reason = reason(error);
    let own = own_words(error);
    let (message, hint) = match error.kind() {
        // It is the proxy that was not reached, and nobody knows of the host.
        HttpErrorKind::Connect if own.contains("proxy") => (
            if reason == own {
                format!("{host} cannot be reached: {own}")
            } else {
                format!("{host} cannot be reached: {own}: {reason}")
            },
            Some(PROXIES),
        ),
        HttpErrorKind::Connect => (
            format!("{host} cannot be reached: {reason}"),
            Some(advice(&reason)),
        ),
        HttpErrorKind::Tls => (
            format!("the TLS connection to {host} failed: {reason}"),
            Some(advice_on_tls(error).unwrap_or(OWN_CA)),
        ),
        HttpErrorKind::Proxy => (
            format!("{host} cannot be reached through the proxy: {reason}"),
            Some(PROXIES),
        ),
        HttpErrorKind::Timeout | HttpErrorKind::Idle => (
            format!("{host} did not answer in time: {reason}"),
            Some("try again later"),
        ),
        HttpErrorKind::Decode => (
            format!("what {host} answers cannot be understood: {reason}"),
            Some("see that host and port are right"),
        ),
        HttpErrorKind::Configuration => return of_settings(&own, &reason),
        _ => (format!("the request to {host} failed: {reason}"), None),
    };
    let failure =
        CliError::new(ErrorKind::Unavailable, message).with_url(error.url().map(str::to_owned));
    match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}

/// Settings that cannot work: what they say, and behind a semicolon what to do.
fn of_settings(own: &str, reason: &str) -> CliError {
    let (what, advice) = match own.split_once("; ") {
        Some((what, advice)) => (what, Some(advice)),
        None => (own, None),
    };
    let failure = if own == reason {
        CliError::usage(what)
    } else {
        CliError::usage(format!("{what}: {reason}"))
    };
    match advice {
        Some(advice) => failure.with_hint(advice),
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
pub(crate) fn doctor(host: &str) -> String {
    format!("peak doctor {host}")
}

fn host_of(error: &Error) -> Option<String> {
    authority(&Url::parse(error.url()?).ok()?)
}

/// Host and port as they are written.
pub(crate) fn authority(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    Some(match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    })
}

/// What is said of a server that answers TLS with something else.
pub(crate) const NOT_TLS: &str = "it does not speak TLS on this port";

/// The cause that says most, in words for a person.
fn reason(error: &Error) -> String {
    let deepest = causes(error)
        .skip(1)
        .last()
        .map(|cause| tidy(&cause.to_string()));
    let own = own_words(error);
    if error.tls_problem() == Some(TlsProblem::NotTls) {
        return NOT_TLS.to_owned();
    }
    match deepest {
        Some(text) if text.contains("Temporary failure in name resolution") => {
            "the DNS does not answer".to_owned()
        }
        Some(text) if is_unknown_name(&text) => UNKNOWN_NAME.to_owned(),
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

const OWN_CA: &str = "to trust a CA of your own, name its PEM file in PEAK_CA_FILE, or with --ca-file of `peak registry`";

/// What to do about TLS, where trusting another CA would not help.
pub(crate) fn advice_on_tls(error: &Error) -> Option<&'static str> {
    match error.tls_problem()? {
        TlsProblem::NotTls => Some("`--insecure HOST` of `peak registry` speaks plain HTTP to it"),
        TlsProblem::WrongName => Some(
            "another server may have answered; see that the host is written as its certificate says it",
        ),
        TlsProblem::OutOfDate => Some(
            "see that the clock of this machine is right; else the server needs another certificate",
        ),
        _ => None,
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
        ] {
            let told = told(&failed(kind, message, cause), "registry.example:5000/app");
            assert_eq!(told.message, expected);
            assert_eq!(told.kind, ErrorKind::Unavailable);
            let doctor = told.doctor.unwrap();
            assert_eq!(&*doctor, "peak doctor registry.example:5000");
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
