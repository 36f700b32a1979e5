//! Credentials, challenges and renewal.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::stream;
use http::header::AUTHORIZATION;
use http::{Request, request, response};
use peak_http::{
    Authenticator, Beginning, Body, BoxError, BoxFuture, ChallengedBefore, Client, Error,
    ErrorKind, RequestBuilderExt as _, RequestExt as _, RetryPolicy, StaticToken,
};

use crate::server::{Server, Step, quick};

/// Gives out `token-0`, and after each challenge the next one.
#[derive(Default)]
struct Renewing {
    challenges: AtomicUsize,
    refuse: bool,
}

impl Authenticator for Renewing {
    fn authorize<'a>(
        &'a self,
        request: &'a mut request::Parts,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            if self.refuse {
                return Err(Error::new(ErrorKind::Authentication, "not today"));
            }
            let token = format!("token-{}", self.challenges.load(Ordering::SeqCst));
            request
                .headers
                .insert(AUTHORIZATION, token.parse().unwrap());
            Ok(())
        })
    }

    fn challenged<'a>(
        &'a self,
        request: &'a request::Parts,
        response: &'a response::Parts,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            assert!(request.headers.contains_key(AUTHORIZATION));
            assert_eq!(response.status, 401);
            self.challenges.fetch_add(1, Ordering::SeqCst);
            Ok(true)
        })
    }
}

fn client(authenticator: &Arc<Renewing>) -> Client {
    let authenticator: Arc<dyn Authenticator> = Arc::<Renewing>::clone(authenticator);
    // No retries: the one more try after a 401 is not counted as one.
    quick()
        .retry(RetryPolicy::never())
        .authenticator(authenticator)
        .build()
        .unwrap()
}

fn denied() -> Step {
    Step::status(401, &["WWW-Authenticate: Bearer realm=\"r\""], "denied")
}

#[tokio::test]
async fn a_401_renews_the_credential_and_sends_the_whole_body_once_more() {
    let authenticator = Arc::new(Renewing::default());
    let server = Server::play([denied(), Step::ok("done")]).await;
    let request = Request::post(server.url("/")).with_body("content").unwrap();
    let response = client(&authenticator).send(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let recorded = server.recorded();
    let tokens: Vec<_> = recorded
        .iter()
        .map(|request| request.header("authorization"))
        .collect();
    assert_eq!(tokens, [Some("token-0"), Some("token-1")]);
    assert!(recorded.iter().all(|request| request.body == b"content"));
}

#[tokio::test]
async fn a_second_401_is_the_answer() {
    let authenticator = Arc::new(Renewing::default());
    let server = Server::play([denied(), denied(), Step::ok("")]).await;
    let request = Request::get(server.url("/")).without_body().unwrap();
    let response = client(&authenticator).send(request).await.unwrap();
    assert_eq!(response.status(), 401);
    assert_eq!(response.text(10).await.unwrap(), "denied");
    assert_eq!(server.recorded().len(), 2);
    assert_eq!(authenticator.challenges.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_body_that_is_sent_once_gets_its_401_and_the_credential_is_forgotten() {
    let authenticator = Arc::new(Renewing::default());
    let server = Server::play([denied(), Step::ok("")]).await;
    let once = stream::iter([Ok::<_, BoxError>(Bytes::from("x"))]);
    let request = Request::put(server.url("/"))
        .with_body(Body::stream(once))
        .unwrap();
    let response = client(&authenticator).send(request).await.unwrap();
    assert_eq!(response.status(), 401);
    assert_eq!(authenticator.challenges.load(Ordering::SeqCst), 1);
    assert_eq!(server.recorded().len(), 1);
}

#[tokio::test]
async fn each_retry_has_a_fresh_credential() {
    let authenticator = Arc::new(Renewing::default());
    let server = Server::play([
        denied(),
        Step::status(503, &["Retry-After: 0"], ""),
        Step::ok(""),
    ])
    .await;
    let request = Request::get(server.url("/")).without_body().unwrap();
    let client = quick()
        .authenticator(Arc::<Renewing>::clone(&authenticator))
        .build()
        .unwrap();
    assert_eq!(client.send(request).await.unwrap().status(), 200);
    let recorded = server.recorded();
    let tokens: Vec<_> = recorded
        .iter()
        .map(|request| request.header("authorization"))
        .collect();
    assert_eq!(tokens, [Some("token-0"), Some("token-1"), Some("token-1")]);
}

#[tokio::test]
async fn a_challenge_of_another_origin_is_not_for_our_authenticator() {
    let authenticator = Arc::new(Renewing::default());
    let elsewhere = Server::play([denied()]).await;
    let location = format!("Location: {}", elsewhere.url("/signed"));
    let server = Server::play([Step::status(307, &[&location], "")]).await;
    let request = Request::get(server.url("/")).without_body().unwrap();
    let response = client(&authenticator).send(request).await.unwrap();
    assert_eq!(response.status(), 401);
    assert_eq!(authenticator.challenges.load(Ordering::SeqCst), 0);
    assert_eq!(elsewhere.recorded()[0].header("authorization"), None);
    assert_eq!(
        server.recorded()[0].header("authorization"),
        Some("token-0")
    );
}

#[tokio::test]
async fn an_anonymous_request_goes_without() {
    let authenticator = Arc::new(Renewing::default());
    let server = Server::play([denied()]).await;
    let request = Request::get(server.url("/"))
        .anonymous()
        .without_body()
        .unwrap();
    let response = client(&authenticator).send(request).await.unwrap();
    assert_eq!(response.status(), 401);
    assert_eq!(server.recorded()[0].header("authorization"), None);
    assert_eq!(authenticator.challenges.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn without_a_credential_nothing_is_sent() {
    let authenticator = Arc::new(Renewing {
        refuse: true,
        ..Renewing::default()
    });
    let server = Server::play([Step::ok("")]).await;
    let request = Request::get(server.url("/")).without_body().unwrap();
    let error = client(&authenticator).send(request).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Authentication);
    assert!(!error.may_have_been_sent());
    assert!(server.recorded().is_empty());
}

#[tokio::test]
async fn a_static_token_goes_verbatim_and_only_home() {
    let elsewhere = Server::play([Step::ok(""), Step::ok("")]).await;
    let location = format!("Location: {}", elsewhere.url("/"));
    let home = Server::play([Step::status(302, &[&location], "")]).await;
    let token = StaticToken::new(&home.url("/api").parse().unwrap(), "abc def".into()).unwrap();
    let client = quick().authenticator(Arc::new(token)).build().unwrap();
    for url in [home.url("/"), elsewhere.url("/")] {
        let request = Request::get(url).without_body().unwrap();
        client.send(request).await.unwrap();
    }
    assert_eq!(home.recorded()[0].header("authorization"), Some("abc def"));
    let recorded = elsewhere.recorded();
    assert_eq!(recorded.len(), 2);
    assert!(
        recorded
            .iter()
            .all(|request| request.header("authorization").is_none())
    );
}

/// Sends nothing first, then `first`, then `second`; takes a 403 that says "expired" for a challenge; and has a
/// credential for servers elsewhere.
#[derive(Default)]
struct Stepwise {
    challenges: AtomicUsize,
    marked: AtomicUsize,
}

impl Authenticator for Stepwise {
    fn authorize<'a>(
        &'a self,
        request: &'a mut request::Parts,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let credential = match self.challenges.load(Ordering::SeqCst) {
                0 => return Ok(()),
                1 => "first",
                _ => "second",
            };
            request
                .headers
                .insert(AUTHORIZATION, credential.parse().unwrap());
            Ok(())
        })
    }

    fn challenged<'a>(
        &'a self,
        request: &'a request::Parts,
        response: &'a response::Parts,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            if request.extensions.get::<ChallengedBefore>().is_some() {
                self.marked.fetch_add(1, Ordering::SeqCst);
            }
            if let Some(Beginning(body)) = response.extensions.get()
                && !body.starts_with(b"expired")
            {
                return Ok(false);
            }
            self.challenges.fetch_add(1, Ordering::SeqCst);
            Ok(true)
        })
    }

    fn may_be_refusal(&self, _: &request::Parts, response: &response::Parts) -> bool {
        response.status == 403
    }

    fn challenged_elsewhere<'a>(
        &'a self,
        url: &'a url::Url,
        _: &'a response::Parts,
    ) -> BoxFuture<'a, Result<Option<http::HeaderValue>, Error>> {
        Box::pin(async move {
            assert_eq!(url.path(), "/signed");
            Ok(Some(http::HeaderValue::from_static("for elsewhere")))
        })
    }
}

fn stepwise() -> (Arc<Stepwise>, Client) {
    let authenticator = Arc::new(Stepwise::default());
    let client = quick()
        .retry(RetryPolicy::never())
        .authenticator(Arc::<Stepwise>::clone(&authenticator))
        .build()
        .unwrap();
    (authenticator, client)
}

fn credentials(server: &Server) -> Vec<Option<String>> {
    let recorded = server.recorded();
    let of = |request: &crate::server::Recorded| request.header("authorization").map(str::to_owned);
    recorded.iter().map(of).collect()
}

#[tokio::test]
async fn a_first_credential_that_is_refused_may_be_renewed_too_but_no_further() {
    let (authenticator, client) = stepwise();
    let server = Server::play([denied(), denied(), denied(), Step::ok("")]).await;
    let request = Request::get(server.url("/")).without_body().unwrap();
    assert_eq!(client.send(request).await.unwrap().status(), 401);
    let sent = [None, Some("first".to_owned()), Some("second".to_owned())];
    assert_eq!(credentials(&server), sent);
    assert_eq!(authenticator.marked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_answer_that_says_so_in_its_body_counts_as_a_challenge_and_others_come_back_whole() {
    let (_, client) = stepwise();
    let server = Server::play([Step::status(403, &[], "expired"), Step::ok("")]).await;
    let request = Request::get(server.url("/")).without_body().unwrap();
    assert_eq!(client.send(request).await.unwrap().status(), 200);
    assert_eq!(server.recorded().len(), 2);

    let server = Server::play([Step::status(403, &[], "never")]).await;
    let request = Request::get(server.url("/")).without_body().unwrap();
    let response = client.send(request).await.unwrap();
    assert_eq!(response.status(), 403);
    assert_eq!(response.text(10).await.unwrap(), "never");
}

#[tokio::test]
async fn a_server_that_we_are_redirected_to_may_be_asked_again_with_what_is_for_it() {
    let (_, client) = stepwise();
    let elsewhere = Server::play([denied(), Step::ok("there")]).await;
    let location = format!("Location: {}", elsewhere.url("/signed"));
    let server = Server::play([Step::status(307, &[&location], "")]).await;
    let request = Request::get(server.url("/"))
        .header("range", "bytes=1-")
        .header("cookie", "secret")
        .without_body()
        .unwrap();
    let response = client.send(request).await.unwrap();
    assert_eq!(response.url().as_str(), elsewhere.url("/signed"));
    assert_eq!(response.text(10).await.unwrap(), "there");
    assert_eq!(
        credentials(&elsewhere),
        [None, Some("for elsewhere".to_owned())]
    );
    for request in elsewhere.recorded() {
        assert_eq!(request.header("range"), Some("bytes=1-"));
        assert_eq!(request.header("cookie"), None);
    }
    assert_eq!(server.recorded().len(), 1);
}
