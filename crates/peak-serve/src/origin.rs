//! Requests that were meant for another host, or that a web page makes behind its reader's back.
//!
//! Everything on this machine can reach a loopback address, the pages in its browser included. A page
//! can send a form anywhere, and can give its own host name a loopback address. Both show in the
//! headers `Origin` and `Host`, which a browser does not let pages choose.
//!
//! ```
//! use axum::http::{HeaderMap, HeaderValue, header};
//! use peak_serve::origin::{Foreign, foreign};
//!
//! let mut headers = HeaderMap::new();
//! headers.insert(header::HOST, HeaderValue::from_static("localhost:5000"));
//! assert_eq!(foreign(&headers), None);
//! headers.insert(header::ORIGIN, HeaderValue::from_static("https://evil.example"));
//! assert_eq!(foreign(&headers), Some(Foreign::Origin));
//! ```

use std::net::{IpAddr, Ipv6Addr};

use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName};

/// What shows that a request was not meant for a server on a loopback address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreign {
    /// `Host` names another machine: 421 is the answer.
    Host,
    /// `Origin` names another site: 403 is the answer.
    Origin,
}

/// What shows that a request was meant for somebody else than a server on a loopback address of this machine.
pub fn foreign(headers: &HeaderMap) -> Option<Foreign> {
    if text(headers, &HOST).is_some_and(|host| !is_local(host)) {
        return Some(Foreign::Host);
    }
    let origin = text(headers, &ORIGIN)?;
    let local = origin
        .split_once("://")
        .is_some_and(|(_, authority)| is_local(authority));
    (!local).then_some(Foreign::Origin)
}

/// A header's text; one that is not text matches no local name.
fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers
        .get(name)
        .map(|value| value.to_str().unwrap_or_default())
}
/// Whether `host[:port]` is a name of this machine.
fn is_local(authority: &str) -> bool {
    if let Some(bracketed) = authority.strip_prefix('[') {
        return bracketed
            .split_once(']')
            .and_then(|(address, _)| address.parse::<Ipv6Addr>().ok())
            .is_some_and(|address| address.is_loopback());
    }
    let host = authority.split(':').next().unwrap_or_default();
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: HeaderName, value: &str) -> Option<Foreign> {
        foreign(&HeaderMap::from_iter([(name, value.parse().unwrap())]))
    }

    #[test]
    fn names_of_this_machine_are_answered() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:4000",
            "[::1]:4000",
            "localhost",
            "LOCALHOST:4000",
        ] {
            assert_eq!(with(HOST, host), None, "{host}");
            assert_eq!(with(ORIGIN, &format!("http://{host}")), None, "{host}");
        }
        assert_eq!(foreign(&HeaderMap::new()), None);
    }

    #[test]
    fn other_hosts_and_pages_are_not() {
        for host in [
            "",
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example:80",
            "10.0.0.1",
            "[::2]",
        ] {
            assert_eq!(with(HOST, host), Some(Foreign::Host), "{host}");
            assert_eq!(
                with(ORIGIN, &format!("http://{host}")),
                Some(Foreign::Origin),
                "{host}"
            );
        }
        assert_eq!(with(ORIGIN, "null"), Some(Foreign::Origin));
    }
}
