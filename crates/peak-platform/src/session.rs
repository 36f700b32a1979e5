//! Sending operations to one installation of the platform.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use http::{Method, Request, StatusCode};
use peak_http::{Body, Client, ErrorKind, RequestExt as _, Response};
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use url::Url;

use crate::answer;
use crate::config::{SessionBuilder, SessionError};
use crate::download::{self, Download, SavedFile};
use crate::error::{Error, StatusError};
use crate::request::{Endpoint, Operation};

/// Most bytes of an answer: far more than the largest page.
const MAX_ANSWER_SIZE: u64 = 32 * 1024 * 1024;

/// A caller's way to one installation of the platform. Cheap to clone.
#[derive(Clone)]
pub struct Session(Arc<Parts>);

struct Parts {
    endpoint: Endpoint,
    token: Option<SecretString>,
    client: Client,
}

impl fmt::Debug for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Session")
            .field("endpoint", &self.0.endpoint)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// A session as the environment says: `PEAK__STAGE` or `STAGE`, `PEAK_AUTH_TOKEN` or `API_KEY`,
    /// `PEAK_ENDPOINT_URL`, and the proxies of [`Proxies::from_variables`](peak_http::Proxies::from_variables).
    ///
    /// # Errors
    /// As [`SessionBuilder::build`].
    pub fn from_environment() -> Result<Self, SessionError> {
        Self::builder().build()
    }

    pub(crate) fn of(endpoint: Endpoint, token: Option<SecretString>, client: Client) -> Self {
        Self(Arc::new(Parts {
            endpoint,
            token,
            client,
        }))
    }

    /// A session of which the caller says something; the environment says the rest.
    pub fn builder() -> SessionBuilder {
        SessionBuilder::new()
    }

    /// Where the platform is.
    pub fn endpoint(&self) -> &Endpoint {
        &self.0.endpoint
    }

    /// The token that requests carry, for services of the same platform that take it in another way (its image
    /// registry takes it as a password). Only for the same origin as [`endpoint`](Self::endpoint).
    pub fn token(&self) -> Option<&SecretString> {
        self.0.token.as_ref()
    }

    /// Does an operation and gives its answer.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn call<O: Operation>(&self, operation: &O) -> Result<O::Answer, Error> {
        self.call_as(operation).await
    }

    /// Does an operation and gives its answer as another type than the operation's own, such as
    /// `serde_json::Value` for a program that passes on all that the platform said.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn call_as<T, O>(&self, operation: &O) -> Result<T, Error>
    where
        T: DeserializeOwned,
        O: Operation,
    {
        let mut request = operation.request(&self.0.endpoint)?;
        request
            .extensions_mut()
            .insert(peak_http::Operation(O::NAME));
        self.execute(request).await
    }

    /// Sends a request and decodes its JSON answer, which is part of the attempt: where the answer is lost on its way,
    /// the request is repeated if it may be. An answer without content (204)
    /// counts as `null`, which answers such as [`Done`](crate::Done) take.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn execute<T: DeserializeOwned>(&self, request: Request<Body>) -> Result<T, Error> {
        let asked = Asked::of(&request);
        let request = request.whole_body(MAX_ANSWER_SIZE);
        let response = self.send_as(&asked, request).await?;
        let (empty, url) = (
            response.status() == StatusCode::NO_CONTENT,
            response.url().clone(),
        );
        let body = response
            .bytes(MAX_ANSWER_SIZE)
            .await
            .map_err(|source| asked.failed(source))?;
        let (json, message): (&[u8], _) = if empty {
            (b"null", "the response has no content")
        } else {
            (&body, "the response is not the expected JSON")
        };
        answer::decode(json).map_err(|source| {
            let error = peak_http::Error::new(ErrorKind::Decode, message).with_url(&url);
            asked.failed(error.with_source(source))
        })
    }

    /// Downloads into the file `target`, whose directory must be there. What was in the file is
    /// replaced when all is here and on the disk, in one step; until then the file is as it was.
    ///
    /// A download that is cut off goes on where it stopped if the server can do that for the same
    /// file, and else starts again; both only so often without progress. Needs a Tokio runtime.
    ///
    /// # Errors
    /// [`Error`]; [`Error::TargetIsDirectory`] before anything is asked for.
    pub async fn download<D: Download>(
        &self,
        download: &D,
        target: &Path,
    ) -> Result<SavedFile, Error> {
        download::save(self, download, target).await
    }

    /// Sends a request and gives its answer with the body still to be read, once its status is a
    /// success.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn send(&self, request: Request<Body>) -> Result<Response, Error> {
        self.send_as(&Asked::of(&request), request).await
    }

    async fn send_as(&self, asked: &Asked, request: Request<Body>) -> Result<Response, Error> {
        let response = self
            .0
            .client
            .send(request)
            .await
            .map_err(|source| asked.failed(source))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let headers = response.headers().clone();
        let url = peak_http::redact::url(response.url());
        let body = response.beginning(StatusError::MAX_BODY_SIZE).await;
        let refusal = StatusError::new(status, asked.method.clone(), url, &headers, &body);
        let has_token = self.0.token.is_some();
        Err(Error::of_status(refusal.with_token(has_token)))
    }
}

/// What errors say about a request that is gone.
struct Asked {
    method: Method,
    url: String,
}

impl Asked {
    fn of(request: &Request<Body>) -> Self {
        let url = Url::parse(&request.uri().to_string());
        Self {
            method: request.method().clone(),
            url: url.map_or_else(
                |_| request.uri().path().to_owned(),
                |url| peak_http::redact::url(&url),
            ),
        }
    }

    fn failed(&self, source: peak_http::Error) -> Error {
        Error::Http {
            method: self.method.clone(),
            url: self.url.clone(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use peak_http::test_util::{Answer, MockService};
    use serde_json::{Value, json};

    use super::*;

    /// A session with a platform that always answers so.
    fn session(status: u16, body: impl Into<Bytes>) -> (Session, MockService) {
        let answer = Answer::status(status.try_into().unwrap()).body(body);
        let mock = MockService::answering(move |_| answer.clone());
        let session = Session::builder()
            .endpoint(Url::parse("http://platform.test").unwrap())
            .client(mock.client())
            .build();
        (session.unwrap(), mock)
    }

    struct Describe;

    impl Operation for Describe {
        const NAME: &'static str = "describe_thing";
        type Answer = Value;

        fn request(&self, endpoint: &Endpoint) -> Result<Request<Body>, Error> {
            endpoint
                .get(&["things", "1"])?
                .query("token", "s3cret")
                .build()
        }
    }

    #[tokio::test]
    async fn an_operation_is_sent_and_its_answer_decoded() {
        let (session, mock) = session(200, r#"{"a": 1}"#);
        assert_eq!(session.call(&Describe).await.unwrap(), json!({ "a": 1 }));
        let seen = mock.requests();
        assert_eq!(seen[0].uri, "http://platform.test/things/1?token=s3cret");
        assert_eq!(seen[0].header("accept"), Some("application/json"));
        assert_eq!(seen[0].operation, Some("describe_thing"));
    }

    #[tokio::test]
    async fn a_refusal_is_an_error_with_its_name() {
        let (session, _) = session(422, r#"{"detail": "no such thing"}"#);
        let error = session.call(&Describe).await.unwrap_err();
        assert!(matches!(error, Error::UnprocessableEntity(_)), "{error:?}");
        let status = error.status_error().unwrap();
        assert_eq!(status.message(), "no such thing");
        assert_eq!(status.method(), Method::GET);
        assert_eq!(status.url(), "http://platform.test/things/1?token=REDACTED");
        assert!(!format!("{error} {error:?}").contains("s3cret"));
    }

    #[tokio::test]
    async fn a_refusal_with_an_endless_body_is_cut() {
        let (session, _) = session(403, vec![b'x'; 1024 * 1024]);
        let error = session.call(&Describe).await.unwrap_err();
        assert!(error.is_auth());
        assert!(error.to_string().len() < 3000);
    }

    #[tokio::test]
    async fn an_answer_that_is_not_the_json_it_should_be_is_an_error() {
        for body in ["<html>sign in</html>", ""] {
            let (session, _) = session(200, body);
            let error = session.call(&Describe).await.unwrap_err();
            assert!(matches!(error, Error::Http { .. }), "{error:?}");
            assert!(!format!("{error} {error:?}").contains("s3cret"));
        }
    }

    #[tokio::test]
    async fn an_answer_that_is_lost_is_asked_for_again() {
        let whole = Answer::json(&json!({ "a": 1 }));
        let mock = MockService::playing([whole.clone().cut_off_after(4), whole]);
        let session = Session::builder()
            .endpoint(Url::parse("http://platform.test").unwrap())
            .client(mock.client())
            .build()
            .unwrap();
        assert_eq!(session.call(&Describe).await.unwrap(), json!({ "a": 1 }));
        assert_eq!(mock.requests().len(), 2);
    }

    #[tokio::test]
    async fn an_array_is_no_answer_with_fields() {
        let (session, _) = session(200, "[]");
        let request = Describe.request(session.endpoint()).unwrap();
        let list: Result<peak_models::ListArtifactsResponse, _> = session.execute(request).await;
        let error = list.unwrap_err();
        assert!(
            matches!(&error, Error::Http { source, .. } if source.kind() == ErrorKind::Decode),
            "{error:?}"
        );
        // Whoever wants what the platform said as it is gets it.
        assert_eq!(session.call(&Describe).await.unwrap(), json!([]));
    }

    #[tokio::test]
    async fn an_answer_without_content_is_done_but_no_description() {
        let (session, _) = session(204, "");
        let request = || Describe.request(session.endpoint()).unwrap();
        let done: Result<crate::Done, _> = session.execute(request()).await;
        assert_eq!(done.unwrap(), crate::Done);
        let described: Result<Vec<String>, _> = session.execute(request()).await;
        assert!(matches!(described, Err(Error::Http { .. })));
    }
}
