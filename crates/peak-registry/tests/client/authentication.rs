//! Challenges, and who gets to see credentials.

use futures_util::future::join_all;
use peak_registry::RegistryError;

use crate::script::{Request, Script, answer, tag};

const MANIFEST: &[u8] =
    br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
// "robot:secret"
const BASIC: &str = "Basic cm9ib3Q6c2VjcmV0";

/// A registry that takes `Bearer token-N` for the newest N that its token server has given out.
fn with_tokens(request: &Request, newest: usize, token: impl Fn() -> String) -> Vec<u8> {
    if request.line().starts_with("GET /token") {
        return answer("200 OK", &[], token().as_bytes());
    }
    if request.header("authorization") == Some(&format!("Bearer token-{newest}")) {
        return answer("200 OK", &[], MANIFEST);
    }
    let challenge = (
        "www-authenticate",
        r#"Bearer realm="/token?account=x",service="the registry""#,
    );
    answer("401 Unauthorized", &[challenge], b"")
}

fn lines(server: &Script, prefix: &str) -> Vec<Request> {
    let requests = server.requests().into_iter();
    requests
        .filter(|request| request.line().starts_with(prefix))
        .collect()
}

#[tokio::test]
async fn basic_credentials_are_sent_when_asked_for_and_from_then_on() {
    let server = Script::start(|_, request| {
        if request.header("authorization") == Some(BASIC) {
            return answer("200 OK", &[], MANIFEST);
        }
        let challenge = ("www-authenticate", "Negotiate, basic realm=\"x\"");
        answer("401 Unauthorized", &[challenge], b"")
    })
    .await;
    let repository = server.repository_as("robot", "secret");
    repository.get_manifest(&tag("v1")).await.unwrap();
    repository.get_manifest(&tag("v1")).await.unwrap();
    let sent: Vec<bool> = server
        .requests()
        .iter()
        .map(|request| request.header("authorization").is_some())
        .collect();
    assert_eq!(sent, [false, true, true]);

    // Wrong ones are not tried again and again.
    let other = server.repository_as("robot", "wrong");
    let error = other.get_manifest(&tag("v1")).await.unwrap_err();
    assert!(
        matches!(error, RegistryError::Unauthorized { .. }),
        "{error}"
    );
    assert!(!format!("{error:?}").contains("wrong"));
    assert_eq!(server.requests().len(), 5);

    let anonymous = server.repository();
    assert!(anonymous.get_manifest(&tag("v1")).await.is_err());
    assert_eq!(server.requests().len(), 6);
}

#[tokio::test]
async fn a_token_is_fetched_once_for_all_who_need_it() {
    let server = Script::start(|_, request| {
        with_tokens(request, 1, || {
            r#"{"token":"token-1","expires_in":300}"#.into()
        })
    })
    .await;
    let repository = server.repository_as("robot", "secret");
    let selector = tag("v1");
    let all = (0..4).map(|_| repository.get_manifest(&selector));
    for outcome in join_all(all).await {
        outcome.unwrap();
    }
    let fetched = lines(&server, "GET /token");
    assert_eq!(fetched.len(), 1);
    assert_eq!(
        fetched[0].line(),
        "GET /token?account=x&service=the+registry&scope=repository%3Ateam%2Fapp%3Apull"
    );
    assert_eq!(fetched[0].header("authorization"), Some(BASIC));
    // The registry itself never saw the credentials.
    for request in lines(&server, "GET /v2/") {
        assert_ne!(request.header("authorization"), Some(BASIC));
    }
}

#[tokio::test]
async fn a_token_that_is_no_longer_taken_is_renewed_once() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    let newest = Arc::new(AtomicUsize::new(0));
    let issued = Arc::clone(&newest);
    let server = Script::start(move |number, request| {
        // After the third request the old token is worth nothing.
        if number == 3 {
            issued.fetch_add(10, Ordering::SeqCst);
        }
        with_tokens(request, issued.load(Ordering::SeqCst), || {
            let next = issued.fetch_add(1, Ordering::SeqCst) + 1;
            format!(r#"{{"access_token":"token-{next}"}}"#)
        })
    })
    .await;
    let repository = server.repository();
    repository.get_manifest(&tag("v1")).await.unwrap();
    assert_eq!(server.requests().len(), 3);
    repository.get_manifest(&tag("v1")).await.unwrap();
    assert_eq!(server.requests().len(), 6);
    assert_eq!(newest.load(Ordering::SeqCst), 12);
    // Nobody had credentials, so none were sent.
    let anonymous = lines(&server, "GET /token");
    assert!(
        anonymous
            .iter()
            .all(|request| request.header("authorization").is_none())
    );
}

#[tokio::test]
async fn refused_credentials_and_forbidden_token_servers_say_so() {
    let server = Script::start(|_, request| {
        if request.line().starts_with("GET /token") {
            return answer("401 Unauthorized", &[], b"");
        }
        let challenge = ("www-authenticate", "Bearer realm=\"/token\"");
        answer("401 Unauthorized", &[challenge], b"")
    })
    .await;
    let repository = server.repository_as("robot", "secret");
    let error = repository.get_manifest(&tag("v1")).await.unwrap_err();
    assert!(
        matches!(error, RegistryError::NoCredential { .. }),
        "{error}"
    );
    assert!(error.is_authentication());
    assert_eq!(server.requests().len(), 2);
    assert!(!format!("{error:?}").contains("cm9ib3Q6c2VjcmV0"));

    let server = Script::start(|_, _| {
        let challenge = (
            "www-authenticate",
            "Bearer realm=\"http://169.254.169.254/\"",
        );
        answer("401 Unauthorized", &[challenge], b"")
    })
    .await;
    let repository = server.repository_as("robot", "secret");
    let error = repository.get_manifest(&tag("v1")).await.unwrap_err();
    assert!(
        matches!(error, RegistryError::NoCredential { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn an_answer_of_a_token_server_that_cannot_be_read_is_not_shown() {
    let server =
        Script::start(|_, request| with_tokens(request, 1, || r#""token-secret""#.into())).await;
    let error = server.manifest_error().await;
    assert!(
        matches!(error, RegistryError::NoCredential { .. }),
        "{error:?}"
    );
    assert!(!format!("{error:?}").contains("token-secret"), "{error:?}");
}

#[tokio::test]
async fn where_a_blob_is_redirected_to_no_credentials_go() {
    use futures_util::TryStreamExt;
    use peak_oci::{Descriptor, MediaType};
    let elsewhere = Script::start(|_, _| answer("200 OK", &[], b"layer")).await;
    let location = format!("http://{}/signed?secret=1", elsewhere.address);
    let server = Script::start(move |_, request| {
        if request.header("authorization") == Some(BASIC) {
            return answer("307 Temporary Redirect", &[("location", &location)], b"");
        }
        let challenge = ("www-authenticate", "Basic realm=\"x\"");
        answer("401 Unauthorized", &[challenge], b"")
    })
    .await;
    let layer = Descriptor::of(MediaType::OCI_LAYER, b"layer");
    let repository = server.repository_as("robot", "secret");
    let read = repository.open_blob(&layer, 0).await.unwrap();
    let frames: Vec<bytes::Bytes> = read.stream.try_collect().await.unwrap();
    assert_eq!(frames.concat(), b"layer");
    let asked = elsewhere.requests();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].header("authorization"), None);
}

#[tokio::test]
async fn challenges_in_any_form_and_order_are_understood() {
    // Several headers and several in one, Negotiate first, mixed case, without quotes, with escaped ones and commas.
    for headers in [
        &[
            "Negotiate",
            "NTLM",
            "bAsIc Realm=\"x\"",
            "bEARER ReAlM=\"/token\", SERVICE=s",
        ][..],
        &["Negotiate YII=, Basic realm=\"a, \\\"b\\\"\", Bearer realm=/token , service = s"],
        &["Bearer realm=\"/token\",service=s,scope=repository:team/app:pull"],
        &["Bearer error=\"not \\\"yet\\\", sorry\",realm=\"/tok\\en\",service=\"s\", Basic"],
    ] {
        let server = Script::start(move |_, request| {
            if request.line().starts_with("GET /token") {
                return answer("200 OK", &[], br#"{"token":"good"}"#);
            }
            if request.header("authorization") == Some("Bearer good") {
                return answer("200 OK", &[], MANIFEST);
            }
            let all: Vec<_> = headers
                .iter()
                .map(|value| ("www-authenticate", *value))
                .collect();
            answer("401 Unauthorized", &all, b"")
        })
        .await;
        let repository = server.repository_as("robot", "secret");
        repository.get_manifest(&tag("v1")).await.unwrap();
        assert_eq!(
            server.requests()[1].line(),
            "GET /token?service=s&scope=repository%3Ateam%2Fapp%3Apull"
        );
    }
}

#[tokio::test]
async fn a_token_is_opaque_and_lives_for_a_minute_at_least() {
    // Looks like one that ran out in 1970; what counts is that the registry takes it.
    let jwt = "eyJhbGciOiJub25lIn0.eyJleHAiOjF9.";
    let server = Script::start(move |_, request| {
        if request.line().starts_with("GET /token") {
            let body =
                format!(r#"{{"token":"{jwt}","expires_in":1,"issued_at":"0001-01-01T00:00:00Z"}}"#);
            return answer("200 OK", &[], body.as_bytes());
        }
        if request.header("authorization") == Some(&format!("Bearer {jwt}")) {
            return answer("200 OK", &[], MANIFEST);
        }
        let challenge = ("www-authenticate", "Bearer realm=\"/token\"");
        answer("401 Unauthorized", &[challenge], b"")
    })
    .await;
    let repository = server.repository();
    for _ in 0..3 {
        repository.get_manifest(&tag("v1")).await.unwrap();
    }
    assert_eq!(lines(&server, "GET /token").len(), 1);
}
