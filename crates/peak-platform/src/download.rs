//! Downloads into files: whole or not at all, and going on where they were cut off.

use std::path::{Path, PathBuf};

use futures_util::StreamExt as _;
use http::header::{ACCEPT, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, RANGE};
use http::{Request, StatusCode};
use peak_http::resume::{ContentRange, Patience};
use peak_http::{Body, ErrorKind, Response};
use url::Url;

use crate::error::{Error, StatusError};
use crate::message;
use crate::partial::{Partial, blocking};
use crate::request::Endpoint;
use crate::session::Session;

/// A file that a service gives, with all the parameters of asking for it; what
/// [`Operation`](crate::Operation) is for answers in JSON.
pub trait Download {
    /// What logs call it, such as `download_artifact`.
    const NAME: &'static str;

    /// Whether the file may have no bytes at all. Unless it may, an empty answer is an error: an archive is never empty,
    /// and what stands between us and the server now and then answers with nothing.
    const MAY_BE_EMPTY: bool = false;

    /// The request, against this endpoint and without credentials. It is made anew each time the
    /// download is cut off.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] if the parameters cannot be sent.
    fn request(&self, endpoint: &Endpoint) -> Result<Request<Body>, Error>;
}

/// A file that was saved.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SavedFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
}

/// Downloads into the file `target`. See [`Session::download`].
pub(crate) async fn save<D: Download>(
    session: &Session,
    download: &D,
    target: &Path,
) -> Result<SavedFile, Error> {
    let path = target.to_owned();
    let mut partial = blocking(target, move || Partial::begin(path)).await?;
    let mut patience = Patience::new();
    let mut original = None;
    loop {
        let (next, ended) = attempt(session, download, partial, &mut original).await?;
        partial = next;
        if let (Ended::Whole { url }, 0, false) = (&ended, partial.received, D::MAY_BE_EMPTY) {
            return Err(Error::UnexpectedContent {
                url: peak_http::redact::url(url),
                what: "empty".to_owned(),
            });
        }
        let Ended::Early(interruption) = ended else {
            let (path, size) = (partial.target.clone(), partial.received);
            blocking(target, move || partial.publish()).await?;
            return Ok(SavedFile { path, size });
        };
        let Some(wait) = patience.interrupted(partial.received) else {
            return Err(Error::DownloadInterrupted {
                received: partial.received,
                source: interruption.map(Box::new),
            });
        };
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }
}

/// How one request for the file, or for the rest of it, ended.
enum Ended {
    Whole {
        /// Where it came from.
        url: Url,
    },
    Early(Option<Error>),
}

/// What the first answer said of the whole file; further ones have to be about the same.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Original {
    total: Option<u64>,
    entity_tag: Option<HeaderValue>,
}

impl Original {
    /// What a complete answer says.
    fn of(response: &Response) -> Self {
        Self {
            total: response.content_length(),
            entity_tag: response.headers().get(ETAG).cloned(),
        }
    }

    /// Whether a partial answer gives exactly the rest of this file from `start`.
    fn goes_on(&self, start: u64, headers: &HeaderMap) -> bool {
        ContentRange::of(headers)
            .zip(self.total)
            .is_some_and(|(range, total)| range.is_rest_of(total, start))
            && headers.get(ETAG) == self.entity_tag.as_ref()
    }
}

/// Asks for the file, or for the rest of it, once.
async fn attempt<D: Download>(
    session: &Session,
    download: &D,
    mut partial: Partial,
    original: &mut Option<Original>,
) -> Result<(Partial, Ended), Error> {
    let mut request = download.request(session.endpoint())?;
    request
        .extensions_mut()
        .insert(peak_http::Operation(D::NAME));
    let headers = request.headers_mut();
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    let known = original.as_ref().filter(|known| known.total.is_some());
    let start = if known.is_some() { partial.received } else { 0 };
    if start > 0 {
        let range = HeaderValue::from_str(&format!("bytes={start}-"));
        headers.insert(RANGE, range.map_err(|_| invalid("the range"))?);
    }
    let method = request.method().clone();
    let response = match session.send(request).await {
        Ok(response) => response,
        // The transport has tried more than once already.
        Err(error) if original.is_none() => return Err(error),
        Err(error) if error.status() == Some(StatusCode::RANGE_NOT_SATISFIABLE) => {
            return Ok((partial.restart().await?, Ended::Early(Some(error))));
        }
        Err(error) if may_pass(&error) => return Ok((partial, Ended::Early(Some(error)))),
        Err(error) => return Err(error),
    };
    let url = response.url().clone();
    let unusable = |message: &'static str| Error::Http {
        method: method.clone(),
        url: peak_http::redact::url(&url),
        source: peak_http::Error::new(ErrorKind::Decode, message),
    };
    let total = match response.status() {
        StatusCode::OK => {
            if is_web_page(response.headers()) {
                return Err(web_page(response).await);
            }
            if partial.received > 0 {
                partial = partial.restart().await?;
            }
            original.insert(Original::of(&response)).total
        }
        StatusCode::PARTIAL_CONTENT if start > 0 => {
            match known.filter(|known| known.goes_on(start, response.headers())) {
                Some(known) => known.total,
                // Part of something else: all of it is asked for again.
                None => return Ok((partial.restart().await?, Ended::Early(None))),
            }
        }
        StatusCode::PARTIAL_CONTENT => {
            return Err(unusable("a partial answer where the whole was asked for"));
        }
        _ => return Err(unusable("an answer that is not the file")),
    };
    let mut body = response.into_body();
    loop {
        let frame = body.next().await;
        let is_all = total.is_some_and(|total| partial.received == total);
        match frame {
            Some(Ok(frame)) => partial = partial.accept(frame).await?,
            // However the connection ends, there is nothing left to ask for.
            _ if is_all => return Ok((partial, Ended::Whole { url })),
            None if total.is_none() => return Ok((partial, Ended::Whole { url })),
            // Ended before its time, though in good form: some proxies do so.
            None => return Ok((partial, Ended::Early(None))),
            Some(Err(source)) => {
                let error = Error::Http {
                    method,
                    url: peak_http::redact::url(&url),
                    source,
                };
                return Ok((partial, Ended::Early(Some(error))));
            }
        }
        if total.is_some_and(|total| partial.received > total) {
            return Err(unusable("an answer that is longer than it said"));
        }
    }
}

fn invalid(what: &str) -> Error {
    Error::InvalidRequest {
        message: format!("{what} cannot stand in a header"),
    }
}

/// Whether it is something for a browser, such as the sign-in page of a proxy. No file of the platform is.
fn is_web_page(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let kind = kind.and_then(|kind| kind.split(|byte| *byte == b';').next());
    kind.is_some_and(|kind| {
        let kind = kind.trim_ascii();
        kind.eq_ignore_ascii_case(b"text/html")
            || kind.eq_ignore_ascii_case(b"application/xhtml+xml")
    })
}

/// The error for a page in the place of the file, with the page's title.
async fn web_page(response: Response) -> Error {
    let url = peak_http::redact::url(response.url());
    let body = response.beginning(StatusError::MAX_BODY_SIZE).await;
    Error::UnexpectedContent {
        url,
        what: message::web_page(&String::from_utf8_lossy(&body)),
    }
}

/// Whether the same request may well succeed a little later.
fn may_pass(error: &Error) -> bool {
    match error {
        Error::Http { source, .. } => source.is_transient() || source.is_timeout(),
        Error::TooManyRequests(_) => true,
        other => other
            .status()
            .is_some_and(|status| status.is_server_error()),
    }
}

#[cfg(test)]
mod tests {
    use http::header::CONTENT_RANGE;

    use super::*;

    fn headers(range: &str, entity_tag: Option<&'static str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_RANGE, range.parse().unwrap());
        if let Some(tag) = entity_tag {
            headers.insert(ETAG, HeaderValue::from_static(tag));
        }
        headers
    }

    #[test]
    fn what_is_for_a_browser_is_told_by_its_type() {
        for (kind, expected) in [
            ("text/html", true),
            ("Text/HTML ; charset=utf-8", true),
            ("application/xhtml+xml", true),
            ("application/zip", false),
            ("text/plain", false),
            ("text/html-file", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, kind.parse().unwrap())]);
            assert_eq!(is_web_page(&headers), expected, "{kind}");
        }
        assert!(!is_web_page(&HeaderMap::new()));
    }

    #[test]
    fn only_exactly_the_rest_of_the_same_file_goes_on() {
        let original = Original {
            total: Some(10),
            entity_tag: Some(HeaderValue::from_static("\"a\"")),
        };
        let tag = Some("\"a\"");
        assert!(original.goes_on(5, &headers("bytes 5-9/10", tag)));
        for (range, tag) in [
            ("bytes 4-9/10", tag),
            ("bytes 6-9/10", tag),
            ("bytes 5-8/10", tag),
            ("bytes 5-10/11", tag),
            ("bytes 5-9/*", tag),
            ("bytes 9-5/10", tag),
            ("items 5-9/10", tag),
            ("bytes -5-9/10", tag),
            ("", tag),
            ("bytes 5-9/10", Some("\"b\"")),
            ("bytes 5-9/10", None),
        ] {
            assert!(
                !original.goes_on(5, &headers(range, tag)),
                "{range} {tag:?}"
            );
        }
        assert!(!original.goes_on(5, &HeaderMap::new()));
        let unknown = Original {
            total: None,
            entity_tag: None,
        };
        assert!(!unknown.goes_on(5, &headers("bytes 5-9/10", None)));
    }
}
