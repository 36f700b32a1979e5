//! Uploads and deletes, on registries that each have their own way.

use std::sync::Mutex;

use bytes::Bytes;
use peak_oci::{
    ContentErrorKind, Descriptor, Digest, ImageManifest, Manifest, MediaType, Raw, Selector,
    Source as _, Tag,
};
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
async fn deletes_name_what_goes_and_a_manifest_is_read_before() {
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
            // It could have a subject; that it cannot be read here is no reason to keep it.
            format!("GET /v2/team/app/manifests/{digest}"),
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
    // A descriptor says the size, so only the blob itself is asked for.
    let asked = server.requests().len();
    let descriptor = Descriptor::of(MediaType::OCI_LAYER, b"content");
    assert_eq!(
        repository.read_blob(&descriptor, 7).await.unwrap(),
        "content"
    );
    assert_eq!(server.requests().len(), asked + 1);
    let error = repository.read_blob(&descriptor, 6).await.unwrap_err();
    assert!(
        matches!(error, RegistryError::BlobTooLarge { .. }),
        "{error}"
    );
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

#[tokio::test]
async fn a_manifest_is_put_by_a_registry_that_says_nothing_about_it() {
    // No Location, no digest (ECR): 201 is enough.
    let server = Script::start(|_, _| answer("201 Created", &[], b"")).await;
    let repository = server.repository();
    repository.upload_manifest(&manifest(), &[]).await.unwrap();
    assert_eq!(server.requests().len(), 1);

    // "OK" may be said by anything, so what is there is looked at.
    for (status, is_registry) in [("200 OK", true), ("202 Accepted", true), ("200 OK", false)] {
        let server = Script::start(move |_, request| {
            let digest = manifest().digest().to_string();
            if is_registry && request.line().starts_with("HEAD") {
                return answer("200 OK", &[("docker-content-digest", &digest)], b"");
            }
            let page: &[u8] = if request.line().starts_with("HEAD") {
                b""
            } else {
                b"<html>"
            };
            answer(status, &[("content-type", "text/html")], page)
        })
        .await;
        let result = server.repository().upload_manifest(&manifest(), &[]).await;
        assert_eq!(result.is_ok(), is_registry, "{result:?}");
        assert!(server.requests().len() > 1);
    }
}

#[tokio::test]
async fn a_website_has_no_blobs() {
    for (kind, digest) in [
        ("text/html; charset=utf-8", None),
        (
            "application/octet-stream",
            Some(Digest::sha256_of(b"other").to_string()),
        ),
    ] {
        let server = Script::start(move |_, _| {
            let mut headers = vec![("content-type", kind)];
            headers.extend(
                digest
                    .as_deref()
                    .map(|digest| ("docker-content-digest", digest)),
            );
            answer("200 OK", &headers, b"")
        })
        .await;
        let error = server
            .repository()
            .put_blob(Bytes::from_static(b"content"))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("something else"), "{error}");
    }
}

#[tokio::test]
async fn the_size_of_a_blob_is_asked_for_by_get_where_head_does_not_tell() {
    let digest = Digest::sha256_of(b"content");
    for head in [
        "401 Unauthorized",
        "403 Forbidden",
        "501 Not Implemented",
        "200 OK",
    ] {
        let server = Script::start(move |_, request| {
            if request.line().starts_with("HEAD") {
                crate::script::with_headers(head, &[], b"")
            } else {
                answer("200 OK", &[], b"content")
            }
        })
        .await;
        let repository = server.repository();
        let size = repository.get_blob_size(&digest).await.unwrap();
        assert_eq!(size, Some(7), "{head}");
        assert_eq!(repository.blob_size(&digest).await.unwrap(), 7);
    }
    let server = Script::start(|_, _| answer("404 Not Found", &[], b"")).await;
    let error = server.repository().blob_size(&digest).await.unwrap_err();
    assert_eq!(error.kind(), ContentErrorKind::NotFound);
}

/// A registry that admits for the first `late` times only that it does not know of a manifest that was put.
async fn late_registry(late: usize) -> Script {
    let left = Mutex::new(late);
    Script::start(move |_, request| match request.line() {
        line if line.starts_with("PUT") => answer("201 Created", &[], b""),
        line if line.starts_with("DELETE") => answer("202 Accepted", &[], b""),
        _ => {
            let mut left = left.lock().unwrap();
            if *left > 0 {
                *left -= 1;
                return answer("404 Not Found", &[], b"");
            }
            answer("200 OK", &[], manifest().bytes())
        }
    })
    .await
}

#[tokio::test]
async fn what_we_have_just_put_is_asked_for_again_where_the_registry_is_late() {
    let tag = tags(&["v1"]);
    let by_tag = Selector::Tag(tag[0].clone());
    let by_digest = Selector::Digest(manifest().digest().clone());
    let server = late_registry(2).await;
    let repository = server.repository();
    repository.upload_manifest(&manifest(), &tag).await.unwrap();
    repository.get_manifest(&by_tag).await.unwrap();
    assert_eq!(server.requests().len(), 4);

    let server = late_registry(1).await;
    let repository = server.repository();
    repository.upload_manifest(&manifest(), &tag).await.unwrap();
    repository.get_manifest(&by_digest).await.unwrap();
    assert_eq!(server.requests().len(), 3);

    // What we have not put, or have deleted since, is not there when the registry says so.
    let server = late_registry(3).await;
    let repository = server.repository();
    assert!(!repository.has_manifest(&by_tag).await.unwrap());
    assert_eq!(server.requests().len(), 1);
    repository.upload_manifest(&manifest(), &tag).await.unwrap();
    repository.delete_tag(&tag[0]).await.unwrap();
    assert!(!repository.has_manifest(&by_tag).await.unwrap());
    assert_eq!(server.requests().len(), 4);

    // And for ever nobody waits.
    let server = late_registry(100).await;
    let repository = server.repository();
    repository.upload_manifest(&manifest(), &tag).await.unwrap();
    assert!(!repository.has_manifest(&by_tag).await.unwrap());
    assert!(server.requests().len() < 10);
}

#[tokio::test]
async fn created_manifests_say_their_type_themselves() {
    // ECR refuses those that do not.
    let server = Script::start(|_, request| match request.line() {
        line if line.starts_with("HEAD") => answer("200 OK", &[], b""),
        line if line.starts_with("PUT") => answer("201 Created", &[], b""),
        _ => answer("202 Accepted", &[], b""),
    })
    .await;
    server
        .repository()
        .replace_tag(&tags(&["v1"])[0])
        .await
        .unwrap();
    let requests = server.requests();
    let put = requests
        .iter()
        .find(|request| request.line().starts_with("PUT"));
    let sent: serde_json::Value = serde_json::from_slice(put.unwrap().body()).unwrap();
    assert_eq!(sent["mediaType"], MediaType::OCI_MANIFEST.as_str());
}
