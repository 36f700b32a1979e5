//! Redirects, followed only where that loses nothing and gives nothing away.

use std::sync::Arc;

use http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_LOCATION,
    CONTENT_TYPE, COOKIE, HOST, LOCATION, PROXY_AUTHORIZATION, TRANSFER_ENCODING,
};
use http::{HeaderMap, Method, Request, StatusCode};
use url::Url;

use super::{HttpResult, HttpService, layer_service};
use crate::address;
use crate::body::Body;
use crate::error::{Error, ErrorKind};
use crate::origin::Origin;
use crate::request;
use crate::response::FinalUrl;

/// Marks the answer to a GET that a 303 asked for: it says nothing about the request that was answered so, which has
/// been done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SawOther;

#[derive(Clone)]
pub(crate) struct Redirect<S> {
    inner: S,
    most: usize,
}

impl<S: HttpService> Redirect<S> {
    pub(crate) fn new(inner: S, most: usize) -> Self {
        Self { inner, most }
    }

    fn is_idle(&self, _: &Request<Body>) -> bool {
        self.most == 0
    }

    async fn run(mut self, request: Request<Body>) -> HttpResult {
        let mut url = request::target(request.extensions())?;
        let (mut parts, mut body) = request.into_parts();
        let mut followed = 0;
        let mut saw_other = false;
        loop {
            let spare = body.try_clone();
            let hop = Request::from_parts(parts.clone(), body);
            let mut response = self.inner.call(hop).await.map_err(|error| {
                // Who sent us here has seen the request, whatever became of it here.
                let seen = followed > 0 || error.may_have_been_sent();
                error.or_url(&url).with_may_have_been_sent(seen)
            })?;
            if followed > 0 {
                response.extensions_mut().insert(FinalUrl(Arc::clone(&url)));
            }
            if saw_other {
                response.extensions_mut().insert(SawOther);
            }
            let status = response.status();
            let Some(location) = response.headers().get(LOCATION) else {
                return Ok(response);
            };
            let refused = |message: String| Error::new(ErrorKind::Redirect, message).with_url(&url);
            let next_method = match method_after(status, &parts.method) {
                Follow::No => return Ok(response),
                Follow::Refuse => {
                    return Err(refused(format!(
                        "the server answered {} to a redirect with {status}, which does not say whether to send the body again; ask for the final URL",
                        parts.method
                    )));
                }
                Follow::With(method) => method,
            };
            if followed == self.most {
                return Err(refused(format!(
                    "more than {} redirects in a row",
                    self.most
                )));
            }
            let next =
                target(&url, location.as_bytes()).map_err(|message| refused(message.into()))?;
            body = if next_method == parts.method {
                spare.ok_or_else(|| {
                    refused(
                        "the redirect needs the request body again, which can be sent only once"
                            .into(),
                    )
                })?
            } else {
                saw_other = true;
                drop_content_headers(&mut parts.headers);
                Body::empty()
            };
            parts.method = next_method;
            parts.headers.remove(HOST);
            if Origin::of(&next) != Origin::of(&url) {
                // From the one set of headers that all further hops are made of, so for good.
                drop_credentials(&mut parts.headers);
            }
            parts.uri = request::to_uri(&next)?;
            url = Arc::new(next);
            followed += 1;
        }
    }
}

layer_service!(Redirect, passed_by_if is_idle);

#[derive(Debug, PartialEq, Eq)]
enum Follow {
    /// It is not a redirect that is followed by itself.
    No,
    /// It would change what is asked for.
    Refuse,
    With(Method),
}

/// How a redirect with `status` is followed. Nothing but a GET or HEAD ever silently becomes a GET, save by 303, which
/// asks for that.
fn method_after(status: StatusCode, method: &Method) -> Follow {
    match status {
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => {
            if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
                Follow::With(method.clone())
            } else {
                Follow::Refuse
            }
        }
        StatusCode::SEE_OTHER if *method == Method::HEAD => Follow::With(Method::HEAD),
        StatusCode::SEE_OTHER => Follow::With(Method::GET),
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => {
            Follow::With(method.clone())
        }
        _ => Follow::No,
    }
}

/// Where `location` leads from `base`, if we go there.
fn target(base: &Url, location: &[u8]) -> Result<Url, &'static str> {
    let location =
        std::str::from_utf8(location).map_err(|_| "the redirect's Location is not text")?;
    let mut next = base
        .join(location)
        .map_err(|_| "the redirect's Location is not a URL")?;
    next.set_fragment(None);
    request::check_url(&next)?;
    if base.scheme() == "https" && next.scheme() == "http" {
        return Err("the redirect leads from https to unprotected http, which is refused");
    }
    if address::is_internal(&next) && !address::is_internal(base) && base.host() != next.host() {
        return Err(
            "the redirect leads to an address of this machine or a private network, where no server outside may send us",
        );
    }
    Ok(next)
}

fn drop_content_headers(headers: &mut HeaderMap) {
    for name in [
        CONTENT_ENCODING,
        CONTENT_LANGUAGE,
        CONTENT_LENGTH,
        CONTENT_LOCATION,
        CONTENT_TYPE,
        TRANSFER_ENCODING,
    ] {
        headers.remove(name);
    }
}

/// Removes what proves who we are: the well-known headers, and whatever is marked sensitive.
pub(super) fn drop_credentials(headers: &mut HeaderMap) {
    for name in [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION] {
        headers.remove(name);
    }
    let sensitive: Vec<_> = headers
        .iter()
        .filter(|(_, value)| value.is_sensitive())
        .map(|(name, _)| name.clone())
        .collect();
    for name in sensitive {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn what_each_redirect_does_to_each_method() {
        for status in [301, 302] {
            for (method, expected) in [
                (Method::GET, Follow::With(Method::GET)),
                (Method::HEAD, Follow::With(Method::HEAD)),
                (Method::POST, Follow::Refuse),
                (Method::PUT, Follow::Refuse),
                (Method::PATCH, Follow::Refuse),
                (Method::DELETE, Follow::Refuse),
            ] {
                let status = StatusCode::from_u16(status).unwrap();
                assert_eq!(method_after(status, &method), expected, "{status} {method}");
            }
        }
        for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE] {
            assert_eq!(
                method_after(StatusCode::SEE_OTHER, &method),
                Follow::With(Method::GET)
            );
            for status in [
                StatusCode::TEMPORARY_REDIRECT,
                StatusCode::PERMANENT_REDIRECT,
            ] {
                assert_eq!(method_after(status, &method), Follow::With(method.clone()));
            }
            for status in [200, 201, 202, 300, 304, 305, 404, 500] {
                let status = StatusCode::from_u16(status).unwrap();
                assert_eq!(method_after(status, &method), Follow::No, "{status}");
            }
        }
        assert_eq!(
            method_after(StatusCode::SEE_OTHER, &Method::HEAD),
            Follow::With(Method::HEAD)
        );
    }

    #[test]
    fn where_a_location_leads() {
        let base = Url::parse("https://h/a/b?c=d").unwrap();
        for (location, expected) in [
            ("/x", Ok("https://h/x")),
            ("x?y", Ok("https://h/a/x?y")),
            ("//other/x", Ok("https://other/x")),
            ("https://other:444/x#part", Ok("https://other:444/x")),
            ("http://h/x", Err(())),
            ("ftp://h/x", Err(())),
            ("file:///etc/passwd", Err(())),
            ("https://user:pass@h/x", Err(())),
            ("https://", Err(())),
            ("https://127.0.0.1/x", Err(())),
            ("https://169.254.169.254/latest", Err(())),
        ] {
            let got = target(&base, location.as_bytes());
            assert_eq!(
                got.as_ref().map(Url::as_str).map_err(|_| ()),
                expected,
                "{location}"
            );
        }
        assert!(target(&base, b"/\xff").is_err());
        let plain = Url::parse("http://h/").unwrap();
        assert!(target(&plain, b"https://h/").is_ok());
        let inside = Url::parse("http://10.0.0.1/").unwrap();
        assert!(target(&inside, b"http://10.0.0.2/").is_ok());
    }

    #[test]
    fn all_credentials_are_dropped() {
        let mut headers = HeaderMap::new();
        for name in ["authorization", "cookie", "proxy-authorization", "accept"] {
            headers.append(name, HeaderValue::from_static("x"));
            headers.append(name, HeaderValue::from_static("y"));
        }
        let mut secret = HeaderValue::from_static("z");
        secret.set_sensitive(true);
        headers.insert("x-api-key", secret);
        drop_credentials(&mut headers);
        assert_eq!(headers.keys().collect::<Vec<_>>(), ["accept"]);
    }
}
