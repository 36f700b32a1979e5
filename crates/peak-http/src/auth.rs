//! Who proves to a server who we are.

use std::fmt;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderValue};
use http::{request, response};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::BoxFuture;
use crate::error::{Error, ErrorKind};
use crate::origin::Origin;

/// Puts credentials on requests.
///
/// It sees requests before redirects: what it sets as `Authorization`, `Cookie` or `Proxy-Authorization`, or marks
/// sensitive, never goes to another origin than that of the request.
pub trait Authenticator: Send + Sync + 'static {
    /// Called before each attempt; sets the credential of the request, if there is one for its URI.
    fn authorize<'a>(&'a self, request: &'a mut request::Parts)
    -> BoxFuture<'a, Result<(), Error>>;

    /// Called with the request as it was sent and the answer, when the origin of the request answered 401, or what
    /// [`may_be_refusal`](Self::may_be_refusal) says.
    /// `true` says that the credential was renewed and that the request is worth sending once more; that is done at
    /// most once per attempt, and only if the body can be sent again. Where the first request carried no
    /// `Authorization`, it is done at most twice: the second answer is the first about a credential. The request then
    /// carries [`ChallengedBefore`].
    fn challenged<'a>(
        &'a self,
        request: &'a request::Parts,
        response: &'a response::Parts,
    ) -> BoxFuture<'a, Result<bool, Error>>;

    /// Whether an answer other than 401 may be about the credential of the request. If so the beginning of its body is
    /// read, and [`challenged`](Self::challenged) finds it in the extensions of the answer as [`Beginning`].
    /// Default: no.
    fn may_be_refusal(&self, _request: &request::Parts, _response: &response::Parts) -> bool {
        false
    }

    /// Called with the URL of a server of another origin that the request was redirected to, and its answer 401.
    /// Gives the credential to ask that server once more with, for this request only. Default: none.
    fn challenged_elsewhere<'a>(
        &'a self,
        _url: &'a Url,
        _response: &'a response::Parts,
    ) -> BoxFuture<'a, Result<Option<HeaderValue>, Error>> {
        Box::pin(async { Ok(None) })
    }
}

/// Marks a request, in its extensions, that follows upon a challenge to the same request without a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChallengedBefore;

/// The first bytes of the body of an answer (at most 64 KiB), in its extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beginning(pub Bytes);

/// A fixed token, sent verbatim as `Authorization: <token>` to the one origin it was made for.
pub struct StaticToken {
    origin: Origin,
    token: SecretString,
}

impl StaticToken {
    /// A token for the origin of `url`.
    ///
    /// Errors: [`ErrorKind::Configuration`] if the URL has no origin, or the token cannot stand in a header.
    pub fn new(url: &Url, token: SecretString) -> Result<Self, Error> {
        let origin = Origin::of(url).ok_or_else(|| {
            Error::new(
                ErrorKind::Configuration,
                "a token can only be bound to an http or https URL",
            )
            .with_url(url)
        })?;
        let made = Self { origin, token };
        made.header()?;
        Ok(made)
    }

    fn header(&self) -> Result<HeaderValue, Error> {
        let text = self.token.expose_secret();
        let mut value = HeaderValue::from_str(text)
            .ok()
            .filter(|_| !text.trim().is_empty())
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::Configuration,
                    "the token is empty or has characters that cannot stand in a header; was it copied whole and without line ends?",
                )
            })?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl fmt::Debug for StaticToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("StaticToken")
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

impl Authenticator for StaticToken {
    fn authorize<'a>(
        &'a self,
        request: &'a mut request::Parts,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            if Origin::of_uri(&request.uri).as_ref() == Some(&self.origin) {
                request.headers.insert(AUTHORIZATION, self.header()?);
            }
            Ok(())
        })
    }

    fn challenged<'a>(
        &'a self,
        _request: &'a request::Parts,
        _response: &'a response::Parts,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async { Ok(false) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str) -> Result<StaticToken, Error> {
        StaticToken::new(&Url::parse("http://h:80/api").unwrap(), text.into())
    }

    async fn header_for(uri: &str) -> Option<HeaderValue> {
        let (mut parts, ()) = http::Request::get(uri).body(()).unwrap().into_parts();
        token("Bearer abc")
            .unwrap()
            .authorize(&mut parts)
            .await
            .unwrap();
        parts.headers.get(AUTHORIZATION).cloned()
    }

    #[tokio::test]
    async fn the_token_goes_verbatim_to_its_origin_only() {
        let sent = header_for("http://h/other?x=1").await.unwrap();
        assert_eq!(sent, "Bearer abc");
        assert!(sent.is_sensitive());
        for other in [
            "https://h/",
            "http://h:8080/",
            "http://evil/",
            "http://h.evil/",
        ] {
            assert_eq!(header_for(other).await, None, "{other}");
        }
    }

    #[test]
    fn a_token_that_cannot_be_sent_is_refused_without_showing_it() {
        for bad in ["", "  ", "abc\n", "abc\r\nX: y"] {
            let error = token(bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(!format!("{error:?}").contains("abc"));
        }
        assert!(!format!("{:?}", token("abc").unwrap()).contains("abc"));
    }
}
