//! Manifests from registries that are not quite right.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::TryStreamExt as _;
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
    assert_eq!(accept.split(',').count(), MediaType::MANIFESTS.len());
    assert!(accept.contains(MediaType::OCI_ARTIFACT_MANIFEST.as_str()));
    // Nothing on the way is asked to compress it.
    assert_eq!(requests[0].header("accept-encoding"), None);
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

    for head in [
        "200 OK",
        "400 Bad Request",
        "401 Unauthorized",
        "403 Forbidden",
        "405 Method Not Allowed",
    ] {
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
    let error = server.manifest_error().await;
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
    let error = server.manifest_error().await;
    assert!(matches!(error, RegistryError::Denied { .. }), "{error}");
    assert!(error.codes().is_empty());

    let server = Script::start(|_, _| answer("401 Unauthorized", &[], b"")).await;
    let error = server.manifest_error().await;
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
    let error = server.manifest_error().await;
    assert!(
        matches!(error, RegistryError::RateLimited { .. }),
        "{error}"
    );
    assert_eq!(error.codes(), ["TOOMANYREQUESTS"]);

    // For how long is told to whoever has to wait. It is asked for a good while before, which makes this test a slow one.
    let server =
        Script::start(|_, _| answer("429 Too Many Requests", &[("retry-after", "1")], b"")).await;
    let error = server.manifest_error().await;
    let shown = error.to_string();
    assert!(shown.ends_with("asked; it asks to wait for 1 s"), "{shown}");
    let error = peak_oci::ContentError::from(error);
    assert!(error.to_string().contains("asks to wait"), "{error}");
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
        let error = server.manifest_error().await;
        assert!(
            matches!(error, RegistryError::InvalidManifest { .. }),
            "{body}: {error}"
        );
    }
    let server = Script::start(|_, _| typed(&vec![b' '; 5 * 1024 * 1024], None)).await;
    let error = server.manifest_error().await;
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
    // Before it, the proxy has refused a tunnel.
    assert_eq!(
        proxy.requests()[1].line(),
        "GET http://registry.test:5000/v2/team/app/manifests/v1"
    );
}

#[tokio::test]
async fn the_headers_come_with_the_manifest_for_whoever_wants_them() {
    let server = Script::start(|_, _| {
        answer(
            "200 OK",
            &[("etag", "\"one\""), ("x-own", "two")],
            &manifest(),
        )
    })
    .await;
    let fetched = server
        .repository()
        .fetch_manifest(&tag("v1"))
        .await
        .unwrap();
    assert_eq!(*fetched.manifest.digest(), digest());
    assert_eq!(fetched.headers["etag"], "\"one\"");
    assert_eq!(fetched.headers["x-own"], "two");
}

const SIGNED: &[u8] = include_bytes!("../../../peak-oci/tests/oci/fixtures/schema1-signed.json");

/// Without its signatures, as registries give it to those who ask for the unsigned type.
fn unsigned() -> Vec<u8> {
    let mut value: serde_json::Value = serde_json::from_slice(SIGNED).unwrap();
    value.as_object_mut().unwrap().remove("signatures");
    serde_json::to_vec(&value).unwrap()
}

#[tokio::test]
async fn schema_1_is_taken_signed_or_not_under_any_of_its_types() {
    let (signed, plain) = (
        MediaType::DOCKER_MANIFEST_V1_SIGNED,
        MediaType::DOCKER_MANIFEST_V1,
    );
    for body in [SIGNED.to_vec(), unsigned()] {
        for content_type in [
            Some("application/vnd.docker.distribution.manifest.v1+prettyjws"),
            Some("application/vnd.docker.distribution.manifest.v1+json; charset=utf-8"),
            Some("text/plain; charset=utf-8"),
            Some("application/json"),
            None,
        ] {
            let sent = body.clone();
            let server = Script::start(move |_, _| {
                let headers: Vec<_> = content_type
                    .map(|text| ("content-type", text))
                    .into_iter()
                    .collect();
                answer("200 OK", &headers, &sent)
            })
            .await;
            let repository = server.repository();
            for wanted in [&signed, &plain] {
                let found = repository
                    .get_manifest_as(&tag("v1"), wanted)
                    .await
                    .unwrap();
                assert_eq!(found.bytes()[..], body[..], "{content_type:?}");
            }
            let accept = server.requests()[0].header("accept").unwrap().to_owned();
            assert_eq!(accept, format!("{signed},{plain}"));
            let wanted = MediaType::DOCKER_MANIFEST;
            let other = repository.get_manifest_as(&tag("v1"), &wanted).await;
            assert!(
                matches!(other, Err(RegistryError::ManifestType { .. })),
                "{other:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_signed_manifest_is_known_by_the_digest_of_what_was_signed() {
    const KNOWN: &str = "sha256:6ae028f26fc2ed45fbad7716982af95475fe89e0cd3c3483a3cb6537e4b3fdce";
    let server = Script::start(|_, request| {
        let body = if request.line().starts_with("HEAD") {
            b""
        } else {
            SIGNED
        };
        let media_type = MediaType::DOCKER_MANIFEST_V1_SIGNED;
        let headers = [
            ("content-type", media_type.as_str()),
            ("docker-content-digest", KNOWN),
        ];
        answer("200 OK", &headers, body)
    })
    .await;
    let repository = server.repository();
    let known: Digest = KNOWN.parse().unwrap();
    let digest = repository.get_manifest_digest(&tag("v1")).await.unwrap();
    assert_eq!(digest, known);
    // By either digest; those are of different bytes, and none is weaker.
    for asked in [known.clone(), Digest::sha256_of(SIGNED)] {
        let found = repository
            .get_manifest(&asked.clone().into())
            .await
            .unwrap();
        assert_eq!((found.digest(), &found.bytes()[..]), (&asked, SIGNED));
    }
    let by_tag = repository.get_manifest(&tag("v1")).await.unwrap();
    assert_eq!(*by_tag.digest(), known);
}

#[tokio::test]
async fn parameters_of_a_type_are_passed_over() {
    let server = Script::start(|_, _| {
        let media_type = format!("{}; charset=utf-8", MediaType::OCI_MANIFEST);
        answer("200 OK", &[("content-type", &media_type)], &manifest())
    })
    .await;
    let found = server.repository().get_manifest(&tag("v1")).await.unwrap();
    assert_eq!(*found.media_type(), MediaType::OCI_MANIFEST);
}

#[tokio::test]
async fn not_found_is_told_by_the_status_whatever_the_body_is() {
    for body in [
        r#"{"errors":[{"code":"NOT_FOUND","message":"artifact not found"}]}"#,
        r#"{"errors":[{"code":"UNKNOWN","message":"Not Found"}]}"#,
        "<html><body>404</body></html>",
        "404 page not found",
        "",
    ] {
        let server = Script::start(move |_, _| answer("404 Not Found", &[], body.as_bytes())).await;
        let repository = server.repository();
        let error = repository.get_manifest(&tag("v1")).await.unwrap_err();
        assert!(error.is_not_found(), "{error}");
        assert!(!repository.has_manifest(&tag("v1")).await.unwrap());
    }
}

#[tokio::test]
async fn a_tag_that_is_denied_where_tags_may_be_listed_is_not_there() {
    let start = |list: &'static str| {
        Script::start(move |_, request| {
            if request.line().contains("/tags/list") {
                answer(list, &[], br#"{"tags":[]}"#)
            } else {
                answer("403 Forbidden", &[], b"")
            }
        })
    };
    for list in ["200 OK", "404 Not Found"] {
        let server = start(list).await;
        let repository = server.repository();
        assert!(
            !repository.has_manifest(&tag("v1")).await.unwrap(),
            "{list}"
        );
        // A digest that is denied is denied.
        let by_digest = Selector::Digest(digest());
        assert!(repository.has_manifest(&by_digest).await.is_err());
    }
    let server = start("403 Forbidden").await;
    let error = server
        .repository()
        .has_manifest(&tag("v1"))
        .await
        .unwrap_err();
    assert!(matches!(error, RegistryError::Denied { .. }), "{error}");
}

#[tokio::test]
async fn a_website_is_no_registry() {
    let other = Script::start(|_, _| {
        answer(
            "200 OK",
            &[("content-type", "text/html")],
            b"<html>welcome</html>",
        )
    })
    .await;
    let location = format!("http://{}/welcome", other.address);
    let server =
        Script::start(move |_, _| answer("302 Found", &[("location", &location)], b"")).await;
    let repository = server.repository();
    for error in [
        repository.get_manifest(&tag("v1")).await.unwrap_err(),
        repository
            .get_manifest_digest(&tag("v1"))
            .await
            .unwrap_err(),
    ] {
        assert!(
            matches!(error, RegistryError::InvalidManifest { .. }),
            "{error}"
        );
    }
}

#[tokio::test]
async fn what_proxies_say_for_a_moment_is_asked_again() {
    for status in ["499 Client Closed Request", "520 Unknown", "522 Timed Out"] {
        let server = Script::start(move |number, _| match number {
            0 => answer(status, &[("retry-after", "0")], b"<html>"),
            _ => typed(&manifest(), None),
        })
        .await;
        server.repository().get_manifest(&tag("v1")).await.unwrap();
        assert_eq!(server.requests().len(), 2, "{status}");
    }
}

#[tokio::test]
async fn trouble_of_the_registrys_own_is_told_from_a_refusal() {
    for (status, code, transient) in [
        ("500 Internal Server Error", "UNKNOWN", true),
        ("503 Service Unavailable", "UNAVAILABLE", true),
        ("520 Odd", "", true),
        ("507 Insufficient Storage", "UNKNOWN", true),
        ("507 Insufficient Storage", "UNAVAILABLE", true),
        ("507 Insufficient Storage", "DENIED", false),
        ("501 Not Implemented", "UNSUPPORTED", false),
        ("400 Bad Request", "UNKNOWN", false),
        ("403 Forbidden", "UNAVAILABLE", false),
        ("429 Too Many Requests", "TOOMANYREQUESTS", true),
    ] {
        let server = Script::start(move |_, _| {
            let body = format!("{{\"errors\":[{{\"code\":\"{code}\"}}]}}");
            answer(status, &[("retry-after", "0")], body.as_bytes())
        })
        .await;
        let error = server.manifest_error().await;
        assert_eq!(error.is_transient(), transient, "{error}");
    }
}

#[tokio::test]
async fn a_malformed_refusal_by_a_proxy_is_a_refusal() {
    // HAProxy's own 429 has neither type nor length, and another reason.
    let server = Script::start(|number, _| match number {
        0 => b"HTTP/1.0 429 HAP429\r\nRetry-After: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n<html>slow"
            .to_vec(),
        _ => typed(&manifest(), None),
    })
    .await;
    server.repository().get_manifest(&tag("v1")).await.unwrap();
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn a_pause_that_one_request_was_told_is_kept_by_all() {
    let times: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let noted = Arc::clone(&times);
    let server = Script::start(move |number, _| {
        noted.lock().unwrap().push(Instant::now());
        match number {
            0 => answer("429 Too Many Requests", &[("retry-after", "2")], b""),
            _ => typed(&manifest(), None),
        }
    })
    .await;
    let repository = server.repository();
    let first = tokio::spawn({
        let repository = repository.clone();
        async move { repository.get_manifest(&tag("v1")).await }
    });
    while server.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    // The answer is on its way to the client; what that says is known a little later.
    tokio::time::sleep(Duration::from_secs(1)).await;
    repository.get_manifest(&tag("v2")).await.unwrap();
    first.await.unwrap().unwrap();
    let times = times.lock().unwrap().clone();
    assert_eq!(times.len(), 3);
    // No request came before the pause was over.
    assert!(
        times
            .iter()
            .skip(1)
            .all(|time| *time - times[0] >= Duration::from_secs(2))
    );
}

#[tokio::test]
async fn content_in_a_descriptor_is_used_if_it_is_right() {
    let server = Script::start(|_, _| answer("200 OK", &[], b"content")).await;
    let repository = server.repository();
    let read = async |data: &'static [u8], offset: u64| {
        let mut descriptor = Descriptor::of(MediaType::OCI_LAYER, b"content");
        descriptor.data = Some(Bytes::from_static(data));
        let read = repository.open_blob(&descriptor, offset).await.unwrap();
        assert_eq!((read.offset, read.size), (offset, Some(7)));
        let frames: Vec<Bytes> = read.stream.try_collect().await.unwrap();
        frames.concat()
    };
    assert_eq!(read(b"content", 0).await, b"content");
    assert_eq!(read(b"content", 3).await, b"tent");
    assert!(server.requests().is_empty());
    assert_eq!(read(b"CONTENT", 0).await, b"content");
    assert_eq!(server.requests().len(), 1);
}
