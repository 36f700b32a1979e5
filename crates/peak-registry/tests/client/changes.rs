//! Uploads and deletes, on registries that each have their own way.

use bytes::Bytes;
use peak_oci::{Descriptor, Digest, ImageManifest, Manifest, MediaType, Raw, Selector, Tag};
use peak_registry::RegistryError;

use crate::script::{Request, Script, answer};

fn manifest() -> Raw<Manifest> {
    let config = Descriptor::of(MediaType::OCI_EMPTY, b"{}");
    ImageManifest::new(config, Vec::new()).to_raw().unwrap()
}

fn tags(names: &[&str]) -> Vec<Tag> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

#[tokio::test]
async fn a_manifest_goes_up_unchanged_under_each_tag_or_its_digest() {
    let server = Script::start(|_, _| answer("201 Created", &[], b"")).await;
    let repository = server.repository();
    repository
        .upload_manifest(&manifest(), &tags(&["v1", "latest"]))
        .await
        .unwrap();
    repository.upload_manifest(&manifest(), &[]).await.unwrap();
    let requests = server.requests();
    let lines: Vec<_> = requests.iter().map(Request::line).collect();
    assert_eq!(
        lines,
        [
            "PUT /v2/team/app/manifests/v1".to_owned(),
            "PUT /v2/team/app/manifests/latest".to_owned(),
            format!("PUT /v2/team/app/manifests/{}", manifest().digest()),
        ]
    );
    for request in &requests {
        assert_eq!(request.body(), manifest().bytes());
        assert_eq!(
            request.header("content-type"),
            Some(MediaType::OCI_MANIFEST.as_str())
        );
    }
}

#[tokio::test]
async fn what_the_registry_says_it_stored_must_be_what_was_sent() {
    for status in ["200 OK", "201 Created", "202 Accepted"] {
        let other = Digest::sha256_of(b"other").to_string();
        let server =
            Script::start(move |_, _| answer(status, &[("docker-content-digest", &other)], b""))
                .await;
        let error = server
            .repository()
            .upload_manifest(&manifest(), &[])
            .await
            .unwrap_err();
        assert!(matches!(error, RegistryError::Stored { .. }), "{error}");
        assert!(error.is_integrity());
    }
    let body = br#"{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN"}]}"#;
    let server = Script::start(|_, _| answer("400 Bad Request", &[], body)).await;
    let error = server
        .repository()
        .upload_manifest(&manifest(), &[])
        .await
        .unwrap_err();
    assert_eq!(error.codes(), ["MANIFEST_BLOB_UNKNOWN"]);
}

#[tokio::test]
async fn a_blob_that_is_there_is_not_sent() {
    let server = Script::start(|_, _| answer("200 OK", &[], b"")).await;
    let digest = server
        .repository()
        .put_blob(Bytes::from_static(b"content"))
        .await
        .unwrap();
    assert_eq!(digest, Digest::sha256_of(b"content"));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_blob_goes_where_the_registry_says_with_its_query_kept() {
    for final_status in ["201 Created", "204 No Content"] {
        let server = Script::start(move |_, request| match request.line() {
            line if line.starts_with("HEAD") => answer("404 Not Found", &[], b""),
            line if line.starts_with("POST") => {
                let to = ("location", "uploads/1?_state=a%2Fb%3D&x=+");
                answer("202 Accepted", &[to], b"")
            }
            _ => answer(final_status, &[], b""),
        })
        .await;
        let digest = server
            .repository()
            .put_blob(Bytes::from_static(b"content"))
            .await
            .unwrap();
        let requests = server.requests();
        assert_eq!(requests[1].line(), "POST /v2/team/app/blobs/uploads/");
        assert_eq!(requests[1].header("content-length"), Some("0"));
        assert_eq!(
            requests[2].line(),
            format!("PUT /v2/team/app/blobs/uploads/uploads/1?_state=a%2Fb%3D&x=+&digest={digest}")
        );
        assert_eq!(requests[2].body(), b"content");
    }
}

#[tokio::test]
async fn credentials_do_not_go_with_an_upload_to_another_server() {
    let other = Script::start(|_, _| answer("201 Created", &[], b"")).await;
    let elsewhere = format!("http://{}/signed?sig=1", other.address);
    let server = Script::start(move |_, request| {
        if request.header("authorization").is_none() {
            let challenge = ("www-authenticate", "Basic realm=\"x\"");
            return answer("401 Unauthorized", &[challenge], b"");
        }
        match request.line() {
            line if line.starts_with("HEAD") => answer("404 Not Found", &[], b""),
            _ => answer("202 Accepted", &[("location", &elsewhere)], b""),
        }
    })
    .await;
    server
        .repository_as("robot", "secret")
        .put_blob(Bytes::from_static(b"content"))
        .await
        .unwrap();
    let requests = other.requests();
    assert_eq!(requests.len(), 1);
    assert!(requests[0].header("authorization").is_none());
    assert!(requests[0].line().starts_with("PUT /signed?sig=1&digest="));
}

#[tokio::test]
async fn deletes_name_what_goes_and_nothing_is_looked_up() {
    let server = Script::start(|_, _| answer("202 Accepted", &[], b"")).await;
    let repository = server.repository();
    let digest = manifest().digest().clone();
    repository.delete_manifest(&digest).await.unwrap();
    repository.delete_tag(&tags(&["v1"])[0]).await.unwrap();
    repository.delete_blob(&digest).await.unwrap();
    let requests = server.requests();
    let lines: Vec<_> = requests.iter().map(Request::line).collect();
    assert_eq!(
        lines,
        [
            format!("DELETE /v2/team/app/manifests/{digest}"),
            "DELETE /v2/team/app/manifests/v1".to_owned(),
            format!("DELETE /v2/team/app/blobs/{digest}"),
        ]
    );
}

#[tokio::test]
async fn a_registry_that_cannot_delete_just_a_tag_says_so_with_the_alternative() {
    for (status, body) in [
        ("405 Method Not Allowed", ""),
        ("400 Bad Request", r#"{"errors":[{"code":"UNSUPPORTED"}]}"#),
        (
            "400 Bad Request",
            r#"{"errors":[{"code":"DIGEST_INVALID"}]}"#,
        ),
    ] {
        let server = Script::start(move |_, _| answer(status, &[], body.as_bytes())).await;
        let error = server
            .repository()
            .delete_tag(&tags(&["v1"])[0])
            .await
            .unwrap_err();
        assert!(
            matches!(error, RegistryError::DeleteUnsupported { .. }),
            "{error}"
        );
        assert!(error.to_string().contains("by its digest"), "{error}");
    }
    let server = Script::start(|_, _| answer("404 Not Found", &[], b"")).await;
    let repository = server.repository();
    assert!(
        repository
            .delete_tag(&tags(&["v1"])[0])
            .await
            .unwrap_err()
            .is_not_found()
    );
    let digest = Digest::sha256_of(b"");
    assert!(
        repository
            .delete_manifest(&digest)
            .await
            .unwrap_err()
            .is_not_found()
    );
    assert!(
        repository
            .delete_blob(&digest)
            .await
            .unwrap_err()
            .is_not_found()
    );
}

#[tokio::test]
async fn a_tag_can_be_replaced_by_an_empty_manifest_that_is_deleted() {
    let server = Script::start(|_, request| match request.line() {
        line if line.starts_with("HEAD") => answer("200 OK", &[], b""),
        line if line.starts_with("PUT") => answer("201 Created", &[], b""),
        _ => answer("202 Accepted", &[], b""),
    })
    .await;
    let repository = server.repository();
    repository.replace_tag(&tags(&["v1"])[0]).await.unwrap();
    repository.replace_tag(&tags(&["v1"])[0]).await.unwrap();
    let requests = server.requests();
    let put: Vec<_> = requests
        .iter()
        .filter(|request| request.line().starts_with("PUT /v2/team/app/manifests/v1"))
        .map(|request| Digest::sha256_of(request.body()))
        .collect();
    assert_ne!(put[0], put[1], "another tag could go with it");
    let last = requests.last().unwrap().line();
    assert_eq!(last, format!("DELETE /v2/team/app/manifests/{}", put[1]));
}

#[tokio::test]
async fn blobs_are_read_whole_only_when_small_and_right() {
    let digest = Digest::sha256_of(b"content");
    let server = Script::start(|_, request| {
        let body: &[u8] = if request.line().starts_with("HEAD") {
            b""
        } else {
            b"content"
        };
        let length = [("content-length", "7")];
        crate::script::with_headers("200 OK", &length, body)
    })
    .await;
    let repository = server.repository();
    assert_eq!(repository.get_blob_size(&digest).await.unwrap(), Some(7));
    assert_eq!(repository.get_blob(&digest, 7).await.unwrap(), "content");
    let error = repository.get_blob(&digest, 6).await.unwrap_err();
    assert!(
        matches!(error, RegistryError::BlobTooLarge { .. }),
        "{error}"
    );
    let other = Digest::sha256_of(b"another");
    let error = repository.get_blob(&other, 7).await.unwrap_err();
    assert!(error.is_integrity(), "{error}");

    let server = Script::start(|_, request| {
        if request.line().starts_with("HEAD") {
            answer("405 Method Not Allowed", &[], b"")
        } else {
            answer("200 OK", &[], b"content")
        }
    })
    .await;
    let size = server.repository().get_blob_size(&digest).await.unwrap();
    assert_eq!(size, Some(7));
    let server = Script::start(|_, _| answer("404 Not Found", &[], b"")).await;
    assert_eq!(
        server.repository().get_blob_size(&digest).await.unwrap(),
        None
    );
    let selector = Selector::Digest(digest);
    assert!(server.repository().get_manifest(&selector).await.is_err());
}
