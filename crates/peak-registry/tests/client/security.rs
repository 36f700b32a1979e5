//! Servers that are after credentials, or after memory. Both ends are ours, so both can be looked at.

use std::fmt::Write as _;

use peak_registry::{Credentials, Keychain, Registry, RegistryError};

use crate::script::{Request, Script, answer, tag, with_headers};

// "robot:secret"
const BASIC: &str = "Basic cm9ib3Q6c2VjcmV0";

fn seen_credentials(server: &Script) -> bool {
    let requests = server.requests();
    requests.iter().any(|request| {
        let shown = format!("{request:?}");
        shown.contains("secret") || shown.contains(BASIC)
    })
}

/// An error with all its causes, in both forms.
fn all_of(error: &RegistryError) -> String {
    let mut text = format!("{error} {error:?}");
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        write!(text, "\n{cause}").unwrap();
        source = cause.source();
    }
    text
}

fn bearer(realm: &str) -> Vec<u8> {
    let header = format!("Bearer realm=\"{realm}\",service=s");
    answer("401 Unauthorized", &[("www-authenticate", &header)], b"")
}

#[tokio::test]
async fn a_token_of_ten_megabytes_is_not_read() {
    // Once with the length told, once without.
    for told in [true, false] {
        let server = Script::start(move |_, request| {
            if !request.line().starts_with("GET /token") {
                return bearer("/token");
            }
            let body = format!(r#"{{"token":"{}"}}"#, "secret".repeat(1_700_000));
            if told {
                answer("200 OK", &[], body.as_bytes())
            } else {
                with_headers("200 OK", &[], body.as_bytes())
            }
        })
        .await;
        let repository = server.repository_as("robot", "secret");
        let error = repository.get_manifest(&tag("v1")).await.unwrap_err();
        assert!(
            matches!(error, RegistryError::NoCredential { .. }),
            "{error}"
        );
        let shown = all_of(&error);
        assert!(shown.contains("larger than"), "{shown}");
        assert!(!shown.contains("secret"), "{}", shown.len());
        assert_eq!(server.requests().len(), 2);
    }
}

#[tokio::test]
async fn a_token_that_no_header_can_hold_is_not_sent() {
    let long = "x".repeat(100_000);
    for token in [long.as_str(), "a\\r\\nX-Evil: 1", ""] {
        let body = format!(r#"{{"token":"{token}"}}"#);
        let server = Script::start(move |_, request| {
            if request.line().starts_with("GET /token") {
                return answer("200 OK", &[], body.as_bytes());
            }
            bearer("/token")
        })
        .await;
        let error = server.manifest_error().await;
        assert!(
            matches!(error, RegistryError::NoCredential { .. }),
            "{error}"
        );
        assert_eq!(server.requests().len(), 2);
    }
}

#[tokio::test]
async fn a_redirect_to_another_host_takes_no_credentials_along_and_none_to_unprotected_http() {
    let elsewhere = Script::start(|_, _| answer("200 OK", &[], b"{}")).await;
    let there = format!("http://localhost:{}/signed", elsewhere.address.port());
    let server = Script::start(move |_, request| {
        if request.header("authorization") == Some(BASIC) {
            return answer("307 Temporary Redirect", &[("location", &there)], b"");
        }
        let header = ("www-authenticate", "Basic realm=x");
        answer("401 Unauthorized", &[header], b"")
    })
    .await;
    let repository = server.repository_as("robot", "secret");
    // What comes from there is no manifest; that is not the question.
    assert!(repository.get_manifest(&tag("v1")).await.is_err());
    assert_eq!(elsewhere.requests().len(), 1);
    assert!(!seen_credentials(&elsewhere));
    assert!(seen_credentials(&server));
}

#[tokio::test]
async fn credentials_of_one_registry_are_not_sent_to_another() {
    let server = Script::start(|_, _| {
        let header = ("www-authenticate", "Basic realm=x");
        answer("401 Unauthorized", &[header], b"")
    })
    .await;
    let other = format!("127.0.0.1:{}", server.address.port() - 1);
    let config = format!(
        r#"{{"auths":{{
            "{other}":{{"username":"robot","password":"secret"}},
            "127.0.0.1":{{"username":"robot","password":"secret"}},
            "localhost:{port}":{{"username":"robot","password":"secret"}},
            "127.0.0.1:{port}/other":{{"username":"robot","password":"secret"}}
        }}}}"#,
        port = server.address.port()
    );
    let keychain = Keychain::builder().inline(config.into()).build();
    let registry = Registry::builder()
        .credentials(&other, Credentials::new("robot", "secret".into()))
        .keychain(keychain)
        .build()
        .unwrap();
    let error = registry
        .repository(&server.reference())
        .get_manifest(&tag("v1"))
        .await
        .unwrap_err();
    assert!(
        matches!(error, RegistryError::Unauthorized { .. }),
        "{error}"
    );
    assert!(!seen_credentials(&server));
}

#[tokio::test]
async fn a_401_without_end_ends() {
    let server = Script::start(|number, request: &Request| {
        if request.line().contains("/token") {
            return answer(
                "200 OK",
                &[],
                format!(r#"{{"token":"t{number}"}}"#).as_bytes(),
            );
        }
        bearer("/token")
    })
    .await;
    let repository = server.repository_as("robot", "secret");
    let error = repository.get_manifest(&tag("v1")).await.unwrap_err();
    assert!(
        matches!(error, RegistryError::Unauthorized { .. }),
        "{error}"
    );
    let host = server.address.to_string();
    assert!(
        error
            .to_string()
            .contains(&format!("peak registry login {host}")),
        "{error}"
    );
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn what_holds_a_secret_does_not_show_it() {
    let config = r#"{"auths":{"reg.example":{"auth":"cm9ib3Q6c2VjcmV0"}}}"#;
    let builder = Keychain::builder().inline(config.into());
    let mut shown = format!("{builder:?}");
    let keychain = builder.build();
    let credentials = keychain.credentials("reg.example", None).await.unwrap();
    assert_eq!(credentials.user(), "robot");
    write!(shown, "{keychain:?} {credentials:?}").unwrap();
    let explanation = keychain.explain("reg.example", None).await;
    write!(shown, "{explanation:?} {explanation}").unwrap();
    let builder = Registry::builder()
        .credentials("reg.example", credentials)
        .keychain(keychain);
    write!(shown, "{builder:?}").unwrap();
    let registry = builder.build().unwrap();
    write!(shown, "{registry:?}").unwrap();
    let reference = "reg.example/team/app".parse().unwrap();
    let repository = registry.repository(&reference);
    write!(shown, "{repository:?} {repository}").unwrap();
    let explanation = registry.explain_credentials(&reference).await.unwrap();
    write!(shown, "{explanation:?} {explanation}").unwrap();
    assert!(shown.contains("robot"), "{shown}");
    for secret in ["secret", "cm9ib3Q6"] {
        // The word stands in names of types and in what is said about them, but never as a value.
        let values = shown
            .replace("SecretBox", "")
            .replace("without a secret", "");
        assert!(!values.contains(secret), "{shown}");
    }
}
