//! Requests that were meant for another host, or that a web page makes behind its reader's back.
//!
//! Everything on this machine can reach a loopback address, the pages in its browser included. A page
//! can send a form anywhere, and can give its own host name a loopback address. Both show in the
//! headers `Origin` and `Host`, which a browser does not let pages choose.

use std::net::{IpAddr, Ipv6Addr};

use axum::extract::Request;
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::ApiError;

/// Lets requests through that name this machine.
pub(super) async fn require_local(request: Request, next: Next) -> Response {
    match check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

fn check(headers: &HeaderMap) -> Result<(), ApiError> {
    if let Some(host) = text(headers, &HOST)
        && !is_local(host)
    {
        return Err(ApiError::new(
            StatusCode::MISDIRECTED_REQUEST,
            "the embedded platform answers only for 127.0.0.1, [::1] and localhost",
        ));
    }
    if let Some(origin) = text(headers, &ORIGIN)
        && !origin
            .split_once("://")
            .is_some_and(|(_, authority)| is_local(authority))
    {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "the embedded platform takes no requests from pages of other sites",
        ));
    }
    Ok(())
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

    fn status(name: HeaderName, value: &str) -> Option<StatusCode> {
        check(&HeaderMap::from_iter([(name, value.parse().unwrap())]))
            .err()
            .map(|error| error.status)
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
            assert_eq!(status(HOST, host), None, "{host}");
            assert_eq!(status(ORIGIN, &format!("http://{host}")), None, "{host}");
        }
        assert!(check(&HeaderMap::new()).is_ok());
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
            assert_eq!(
                status(HOST, host),
                Some(StatusCode::MISDIRECTED_REQUEST),
                "{host}"
            );
            assert_eq!(
                status(ORIGIN, &format!("http://{host}")),
                Some(StatusCode::FORBIDDEN),
                "{host}"
            );
        }
        assert_eq!(status(ORIGIN, "null"), Some(StatusCode::FORBIDDEN));
    }
}
