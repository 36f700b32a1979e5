//! Manifests from registries that are not quite right.

use bytes::Bytes;
use peak_http::{Proxies, Proxy};
use peak_oci::{Descriptor, Digest, ImageManifest, MediaType, Reference, Selector};
use peak_registry::{Registry, RegistryError};

use crate::script::{Script, answer, tag};

fn manifest() -> Bytes {
    let config = Descriptor::of(MediaType::OCI_EMPTY, b"{}");
    let manifest = ImageManifest::new(config, Vec::new()).to_raw().unwrap();
    manifest.bytes().clone()
}

fn digest() -> Digest {
    Digest::sha256_of(&manifest())
}

fn typed(body: &[u8], digest: Option<&str>) -> Vec<u8> {
    let media_type = MediaType::OCI_MANIFEST;
    let mut headers = vec![("content-type", media_type.as_str())];
    headers.extend(digest.map(|digest| ("docker-content-digest", digest)));
    answer("200 OK", &headers, body)
}

#[tokio::test]
async fn one_request_asks_for_every_type_and_keeps_the_bytes() {
    // No type, no digest: the manifest says what it is.
    let server = Script::start(|_, _| answer("200 OK", &[], &manifest())).await;
    let found = server.repository().get_manifest(&tag("v1")).await.unwrap();
    assert_eq!(*found.bytes(), manifest());
    assert_eq!(*found.digest(), digest());
    let requests = server.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].line(), "GET /v2/team/app/manifests/v1");
    let accept = requests[0].header("accept").unwrap();
    assert_eq!(accept.split(',').count(), 6);
    assert!(accept.starts_with(MediaType::DOCKER_MANIFEST_LIST.as_str()));
}

#[tokio::test]
async fn by_digest_the_bytes_must_be_those_by_tag_the_computed_digest_counts() {
    let wrong = Digest::sha256_of(b"wrong").to_string();
    let server = Script::start(move |_, _| typed(&manifest(), Some(&wrong))).await;
    let found = server.repository().get_manifest(&tag("v1")).await.unwrap();
    assert_eq!(*found.digest(), digest());

    let asked = Selector::Digest(Digest::sha256_of(b"asked"));
    let error = server.repository().get_manifest(&asked).await.unwrap_err();
    assert!(error.is_integrity(), "{error}");
    let found = server.repository().get_manifest(&digest().into()).await;
    assert_eq!(*found.unwrap().digest(), digest());
}

#[tokio::test]
async fn one_type_is_asked_for_and_no_other_taken() {
    let server = Script::start(|_, _| typed(&manifest(), None)).await;
    let repository = server.repository();
    let index = MediaType::OCI_INDEX;
    let error = repository
        .get_manifest_as(&tag("v1"), &index)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, RegistryError::ManifestType { expected, actual }
            if *expected == index && *actual == MediaType::OCI_MANIFEST),
        "{error}"
    );
    assert_eq!(server.requests()[0].header("accept"), Some(index.as_str()));
    let wanted = MediaType::OCI_MANIFEST;
    repository
        .get_manifest_as(&tag("v1"), &wanted)
        .await
        .unwrap();
}

#[tokio::test]
async fn the_digest_is_asked_for_without_the_manifest_where_the_registry_says_it() {
    let server = Script::start(|_, _| typed(b"", Some(digest().as_ref()))).await;
    let found = server.repository().get_manifest_digest(&tag("v1")).await;
    assert_eq!(found.unwrap(), digest());
    assert_eq!(
        server.requests()[0].line(),
        "HEAD /v2/team/app/manifests/v1"
    );

    for head in ["200 OK", "405 Method Not Allowed", "403 Forbidden"] {
        let server = Script::start(move |_, request| {
            if request.line().starts_with("HEAD") {
                answer(head, &[], b"")
            } else {
                answer("200 OK", &[], &manifest())
            }
        })
        .await;
        let found = server.repository().get_manifest_digest(&tag("v1")).await;
        assert_eq!(found.unwrap(), digest(), "{head}");
    }

    let server = Script::start(|_, _| answer("404 Not Found", &[], b"")).await;
    let error = server.repository().get_manifest_digest(&tag("v1")).await;
    assert!(error.unwrap_err().is_not_found());
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn refusals_are_told_apart_with_what_the_registry_says() {
    let body = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"no such tag"}]}"#;
    let server = Script::start(|_, _| answer("404 Not Found", &[], body)).await;
    let error = server
        .repository()
        .get_manifest(&tag("v1"))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{}/team/app has no manifest `v1`: MANIFEST_UNKNOWN (no such tag)",
            server.address
        )
    );
    assert_eq!(error.codes(), ["MANIFEST_UNKNOWN"]);

    let html = b"<html>proxy</html>".repeat(10_000);
    let server = Script::start(move |_, _| answer("403 Forbidden", &[], &html)).await;
    let error = server
        .repository()
        .get_manifest(&tag("v1"))
        .await
        .unwrap_err();
    assert!(matches!(error, RegistryError::Denied { .. }), "{error}");
    assert!(error.codes().is_empty());

    let server = Script::start(|_, _| answer("401 Unauthorized", &[], b"")).await;
    let error = server
        .repository()
        .get_manifest(&tag("v1"))
        .await
        .unwrap_err();
    assert!(
        matches!(error, RegistryError::Unauthorized { .. }),
        "{error}"
    );
    // The API's root was asked how the registry wants it, since the answer did not say.
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn a_registry_that_says_later_is_asked_later() {
    let wait = ("retry-after", "0");
    let server = Script::start(move |number, _| match number {
        0 => answer("429 Too Many Requests", &[wait], b"slow down"),
        1 => answer("503 Service Unavailable", &[wait], b""),
        _ => typed(&manifest(), None),
    })
    .await;
    server.repository().get_manifest(&tag("v1")).await.unwrap();
    assert_eq!(server.requests().len(), 3);

    let server = Script::start(move |_, _| {
        let body = br#"{"errors":[{"code":"TOOMANYREQUESTS"}]}"#;
        answer("429 Too Many Requests", &[wait], body)
    })
    .await;
    let error = server
        .repository()
        .get_manifest(&tag("v1"))
        .await
        .unwrap_err();
    assert!(
        matches!(error, RegistryError::RateLimited { .. }),
        "{error}"
    );
    assert_eq!(error.codes(), ["TOOMANYREQUESTS"]);
}

#[tokio::test]
async fn what_is_no_manifest_is_refused() {
    for body in [
        "",
        "{}",
        "<html></html>",
        r#"{"schemaVersion":2,"schemaVersion":2}"#,
    ] {
        let server = Script::start(move |_, _| typed(body.as_bytes(), None)).await;
        let error = server
            .repository()
            .get_manifest(&tag("v1"))
            .await
            .unwrap_err();
        assert!(
            matches!(error, RegistryError::InvalidManifest { .. }),
            "{body}: {error}"
        );
    }
    let server = Script::start(|_, _| typed(&vec![b' '; 5 * 1024 * 1024], None)).await;
    let error = server
        .repository()
        .get_manifest(&tag("v1"))
        .await
        .unwrap_err();
    assert!(matches!(error, RegistryError::Transport { .. }), "{error}");
}

#[tokio::test]
async fn a_registry_is_asked_through_the_proxy_that_was_given() {
    let proxy = Script::start(|_, _| answer("404 Not Found", &[], b"")).await;
    let address = format!("http://{}", proxy.address);
    let registry = Registry::builder()
        .insecure("registry.test:5000")
        .proxies(Proxies::all(Proxy::new(&address).unwrap()))
        .build()
        .unwrap();
    let reference: Reference = "registry.test:5000/team/app:v1".parse().unwrap();
    let repository = registry.repository(&reference);
    assert!(repository.get_manifest(&tag("v1")).await.is_err());
    assert_eq!(
        proxy.requests()[0].line(),
        "GET http://registry.test:5000/v2/team/app/manifests/v1"
    );
}
