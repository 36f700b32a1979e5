//! A tunnel through a proxy: `CONNECT`.

use std::pin::pin;

use futures_util::future::{Either, select};
use http::header::{HOST, PROXY_AUTHORIZATION};
use http::{HeaderValue, Request, StatusCode, Uri};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use crate::error::{BoxError, Error, ErrorKind};
use crate::proxy::Proxy;

use super::stream::Link;

/// Most bytes of the head of the proxy's answer.
const ANSWER: usize = 16 * 1024;

/// Asks the proxy at the other end of `link` for a tunnel to the server of `uri`, which then is what `link` leads to.
pub(super) async fn open(link: Link, proxy: &Proxy, uri: &Uri) -> Result<Link, Error> {
    let request = request(proxy, uri)?;
    let broken = |source: hyper::Error| {
        let kind = if source.is_parse() {
            ErrorKind::Proxy
        } else {
            ErrorKind::Connect
        };
        Error::new(
            kind,
            format!("the proxy {proxy} gave no valid answer when asked for a tunnel"),
        )
        .with_source(source)
    };
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(ANSWER)
        .handshake::<_, Empty<&'static [u8]>>(TokioIo::new(link))
        .await
        .map_err(broken)?;
    let mut connection = pin!(connection.without_shutdown());
    // The connection moves only while it is polled, and it may be done before or after the answer is seen.
    let (response, done) =
        match select(pin!(sender.send_request(request)), connection.as_mut()).await {
            Either::Left((response, _)) => (response, None),
            Either::Right((parts, response)) => (response.await, Some(parts)),
        };
    let response = response.map_err(broken)?;
    // Any of these opens the tunnel (RFC 9110, section 9.3.6).
    if !response.status().is_success() {
        return Err(refused(response.status(), proxy));
    }
    let parts = match done {
        Some(parts) => parts,
        None => connection.await,
    }
    .map_err(broken)?;
    if !parts.read_buf.is_empty() {
        // In TLS the server waits for us, so nobody but the proxy can have said this.
        return Err(Error::new(
            ErrorKind::Proxy,
            format!("the proxy {proxy} sent something through the tunnel before the server could"),
        ));
    }
    Ok(parts.io.into_inner())
}

fn request(proxy: &Proxy, uri: &Uri) -> Result<Request<Empty<&'static [u8]>>, Error> {
    let failed = |source: BoxError| {
        Error::new(
            ErrorKind::InvalidRequest,
            "the URL cannot stand in a request to a proxy",
        )
        .with_source(source)
    };
    let host = uri.host().unwrap_or_default();
    let authority = format!("{host}:{}", uri.port_u16().unwrap_or(443));
    let mut request = Request::connect(&authority)
        .body(Empty::new())
        .map_err(|source| failed(source.into()))?;
    let headers = request.headers_mut();
    headers.insert(
        HOST,
        HeaderValue::try_from(authority).map_err(|source| failed(source.into()))?,
    );
    if let Some(authorization) = proxy.authorization() {
        headers.insert(PROXY_AUTHORIZATION, authorization.clone());
    }
    Ok(request)
}

fn refused(status: StatusCode, proxy: &Proxy) -> Error {
    if status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
        return proxy.wants_credentials();
    }
    // What a proxy answers while the server cannot be reached passes as the same does without a proxy.
    let kind = if status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS
        ) {
        ErrorKind::Connect
    } else {
        ErrorKind::Proxy
    };
    Error::new(
        kind,
        format!("the proxy {proxy} opens no tunnel to the server: it answered {status}"),
    )
}
