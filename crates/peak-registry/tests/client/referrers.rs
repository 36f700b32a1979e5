//! Referrers: from the registry, from the fallback tag, and written there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures_util::TryStreamExt;
use peak_oci::{Descriptor, Digest, ImageManifest, Index, Manifest, MediaType, Raw};
use peak_registry::{RegistryError, Repository};

use crate::script::{Script, answer};

fn media_type(text: &str) -> MediaType {
    text.parse().unwrap()
}

fn entry(name: &str, artifact_type: &str) -> Descriptor {
    let mut entry = Descriptor::of(MediaType::OCI_MANIFEST, name.as_bytes());
    entry.artifact_type = Some(media_type(artifact_type));
    entry
}

fn index(entries: Vec<Descriptor>) -> Raw<Manifest> {
    Index::new(entries).to_raw().unwrap()
}

fn list(entries: Vec<Descriptor>, more: &[(&str, &str)]) -> Vec<u8> {
    let mut headers = vec![("content-type", "application/vnd.oci.image.index.v1+json")];
    headers.extend_from_slice(more);
    answer("200 OK", &headers, index(entries).bytes())
}

fn subject() -> Digest {
    Digest::sha256_of(b"subject")
}

async fn found(
    repository: &Repository,
    artifact_type: Option<&str>,
) -> Result<Vec<Descriptor>, RegistryError> {
    let wanted = artifact_type.map(media_type);
    repository
        .referrers(&subject(), wanted.as_ref())
        .try_collect()
        .await
}

#[tokio::test]
async fn the_registrys_list_is_filtered_here_unless_it_was_there() {
    let entries = || vec![entry("a", "text/a"), entry("b", "text/b")];
    let server = Script::start(move |_, _| list(entries(), &[])).await;
    let repository = server.repository();
    assert_eq!(found(&repository, None).await.unwrap(), entries());
    assert_eq!(
        found(&repository, Some("text/b")).await.unwrap(),
        [entry("b", "text/b")]
    );
    assert_eq!(
        server.requests()[1].line(),
        format!(
            "GET /v2/team/app/referrers/{}?artifactType=text%2Fb",
            subject()
        )
    );
    // It says that it has filtered: then it is believed.
    let applied = ("oci-filters-applied", "artifactType");
    let server = Script::start(move |_, _| list(entries(), &[applied])).await;
    assert_eq!(
        found(&server.repository(), Some("text/b"))
            .await
            .unwrap()
            .len(),
        2
    );
}

#[tokio::test]
async fn pages_of_referrers_are_followed() {
    let server = Script::start(|number, _| match number {
        0 => list(
            vec![entry("a", "text/a")],
            &[("link", "<?page=2>; rel=next")],
        ),
        _ => list(vec![entry("b", "text/a")], &[]),
    })
    .await;
    assert_eq!(found(&server.repository(), None).await.unwrap().len(), 2);
}

#[tokio::test]
async fn registries_without_the_list_are_asked_for_the_fallback_tag() {
    for refusal in [
        answer("404 Not Found", &[], b""),
        answer("400 Bad Request", &[], b""),
        answer("405 Method Not Allowed", &[], b""),
        answer("406 Not Acceptable", &[], b""),
        answer("200 OK", &[("content-type", "text/html")], b"<html></html>"),
    ] {
        let server = Script::start(move |_, request| {
            if request.line().contains("/referrers/") {
                refusal.clone()
            } else {
                list(vec![entry("a", "text/a"), entry("b", "text/b")], &[])
            }
        })
        .await;
        let entries = found(&server.repository(), Some("text/a")).await.unwrap();
        assert_eq!(entries, [entry("a", "text/a")]);
        let tag = subject().to_string().replace(':', "-");
        assert_eq!(
            server.requests()[1].line(),
            format!("GET /v2/team/app/manifests/{tag}")
        );
    }
    let server = Script::start(|_, _| answer("404 Not Found", &[], b"")).await;
    assert!(found(&server.repository(), None).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_unknown_repository_is_not_taken_for_a_registry_without_the_list() {
    let body = br#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#;
    let server = Script::start(|_, _| answer("404 Not Found", &[], body)).await;
    let error = found(&server.repository(), None).await.unwrap_err();
    assert!(
        matches!(error, RegistryError::RepositoryNotFound { .. }),
        "{error}"
    );
    assert_eq!(server.requests().len(), 1);
    let server = Script::start(|_, _| answer("403 Forbidden", &[], b"")).await;
    assert!(
        found(&server.repository(), None)
            .await
            .unwrap_err()
            .is_authentication()
    );
}

fn signature() -> Raw<Manifest> {
    let config = Descriptor::of(media_type("application/vnd.test.signature"), b"{}");
    let mut manifest = ImageManifest::new(config, Vec::new());
    manifest.subject = Some(Descriptor::new(MediaType::OCI_MANIFEST, subject(), 7));
    manifest
        .annotations
        .insert("made-by".to_owned(), "test".to_owned());
    manifest.to_raw().unwrap()
}

#[tokio::test]
async fn a_registry_that_keeps_the_list_is_left_to_it() {
    let server = Script::start(|_, _| {
        let subject = subject().to_string();
        answer("201 Created", &[("oci-subject", &subject)], b"")
    })
    .await;
    server
        .repository()
        .upload_manifest(&signature(), &[])
        .await
        .unwrap();
    assert_eq!(server.requests().len(), 1);
}

/// A registry that knows nothing of subjects. `others` says what others write into the list between our reading and
/// our writing, the first so many times.
async fn old_registry(others: usize) -> (Script, Arc<Mutex<Vec<Descriptor>>>) {
    let stored: Arc<Mutex<Vec<Descriptor>>> = Arc::default();
    let kept = Arc::clone(&stored);
    let left = Mutex::new(others);
    let server = Script::start(move |_, request| {
        let is_list = request.line().contains("/manifests/sha256-");
        let mut kept = kept.lock().unwrap();
        match request.line().split(' ').next().unwrap() {
            "PUT" if is_list => {
                let sent = Manifest::parse(request.body().to_vec().into(), None).unwrap();
                kept.clone_from(&sent.value().as_index().unwrap().manifests);
                let mut left = left.lock().unwrap();
                if *left > 0 {
                    // Another client read the same as we did and writes after us: ours is lost.
                    *left -= 1;
                    *kept = vec![entry(&format!("other {left}"), "text/other")];
                }
                answer("201 Created", &[], b"")
            }
            "PUT" => answer("201 Created", &[], b""),
            _ if is_list && kept.is_empty() => answer("404 Not Found", &[], b""),
            _ => list(kept.clone(), &[]),
        }
    })
    .await;
    (server, stored)
}

#[tokio::test]
async fn the_list_under_the_fallback_tag_is_written_until_ours_is_in_it() {
    let (server, stored) = old_registry(2).await;
    server
        .repository()
        .upload_manifest(&signature(), &[])
        .await
        .unwrap();
    let stored = stored.lock().unwrap().clone();
    let ours = stored.last().unwrap();
    assert_eq!(ours.digest, *signature().digest());
    assert_eq!(
        ours.artifact_type,
        Some(media_type("application/vnd.test.signature"))
    );
    assert_eq!(ours.annotation("made-by"), Some("test"));
    // What another client wrote last is still there.
    assert_eq!(stored.len(), 2);

    // The same again changes nothing.
    let before = server.requests().len();
    server
        .repository()
        .upload_manifest(&signature(), &[])
        .await
        .unwrap();
    assert_eq!(server.requests().len(), before + 2);
}

#[tokio::test]
async fn a_list_that_others_always_overwrite_ends_in_an_error() {
    let (server, _) = old_registry(100).await;
    let error = server
        .repository()
        .upload_manifest(&signature(), &[])
        .await
        .unwrap_err();
    assert!(
        matches!(error, RegistryError::ReferrersChanged { .. }),
        "{error}"
    );
    assert!(server.requests().len() < 20);
}

/// A registry that knows nothing of subjects and keeps what it is given. With `lists` it does know, for reading.
async fn keeping_registry(
    lists: bool,
    deletes_lists: bool,
) -> (Script, Arc<Mutex<BTreeMap<String, Vec<u8>>>>) {
    let stored: Arc<Mutex<BTreeMap<String, Vec<u8>>>> = Arc::default();
    let kept = Arc::clone(&stored);
    let server = Script::start(move |_, request| {
        let mut kept = kept.lock().unwrap();
        let (method, path) = request.line().split_once(' ').unwrap();
        let name = path.rsplit('/').next().unwrap().to_owned();
        let found = kept.get(&name).cloned();
        match (method, found) {
            ("GET", _) if path.contains("/referrers/") && lists => list(Vec::new(), &[]),
            ("PUT", _) => {
                kept.insert(
                    Digest::sha256_of(request.body()).to_string(),
                    request.body().to_vec(),
                );
                kept.insert(name, request.body().to_vec());
                answer("201 Created", &[], b"")
            }
            ("GET", Some(body)) => answer("200 OK", &[], &body),
            ("DELETE", Some(body)) => {
                let is_list = body.windows(11).any(|part| part == b"\"manifests\"");
                if is_list && !deletes_lists {
                    return answer("405 Method Not Allowed", &[], b"");
                }
                kept.retain(|_, other| *other != body);
                answer("202 Accepted", &[], b"")
            }
            _ => answer("404 Not Found", &[], b""),
        }
    })
    .await;
    (server, stored)
}

fn other_signature() -> Raw<Manifest> {
    let mut manifest = signature().value().clone();
    manifest
        .annotations_mut()
        .unwrap()
        .insert("made-by".to_owned(), "another".to_owned());
    manifest.to_raw().unwrap()
}

#[tokio::test]
async fn a_deleted_manifest_leaves_the_list_under_its_subjects_fallback_tag() {
    for deletes_lists in [true, false] {
        let (server, stored) = keeping_registry(false, deletes_lists).await;
        let repository = server.repository();
        for manifest in [signature(), other_signature()] {
            repository.upload_manifest(&manifest, &[]).await.unwrap();
        }
        assert_eq!(found(&repository, None).await.unwrap().len(), 2);

        repository
            .delete_manifest(signature().digest())
            .await
            .unwrap();
        let left = found(&repository, None).await.unwrap();
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].digest, *other_signature().digest());

        repository
            .delete_manifest(other_signature().digest())
            .await
            .unwrap();
        let tag = subject().to_string().replace(':', "-");
        let list = stored.lock().unwrap().get(&tag).cloned();
        if deletes_lists {
            assert_eq!(list, None, "an empty list is not left behind");
        } else {
            let list = Manifest::parse(list.unwrap().into(), None).unwrap();
            assert!(list.value().as_index().unwrap().manifests.is_empty());
        }
        assert!(found(&repository, None).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_registry_that_keeps_the_list_is_left_to_it_when_something_is_deleted() {
    let (server, stored) = keeping_registry(true, true).await;
    stored.lock().unwrap().insert(
        signature().digest().to_string(),
        signature().bytes().to_vec(),
    );
    server
        .repository()
        .delete_manifest(signature().digest())
        .await
        .unwrap();
    assert!(stored.lock().unwrap().is_empty());
    let requests = server.requests();
    assert_eq!(requests.len(), 3);
    assert!(requests[2].line().contains("/referrers/"));
}

#[tokio::test]
async fn an_entry_has_the_type_of_the_config_where_the_manifest_says_none() {
    let (server, _) = keeping_registry(false, true).await;
    let repository = server.repository();
    assert!(
        signature()
            .value()
            .as_image()
            .unwrap()
            .artifact_type
            .is_none()
    );
    repository.upload_manifest(&signature(), &[]).await.unwrap();
    let wanted = Some("application/vnd.test.signature");
    assert_eq!(found(&repository, wanted).await.unwrap().len(), 1);
    assert!(
        found(&repository, Some("text/other"))
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn an_unknown_repository_is_asked_for_its_referrers_again_the_next_time() {
    let unknown = br#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#;
    let server = Script::start(move |number, _| match number {
        0 => answer("404 Not Found", &[], unknown),
        _ => list(vec![entry("a", "text/a")], &[]),
    })
    .await;
    let repository = server.repository();
    assert!(found(&repository, None).await.is_err());
    assert_eq!(found(&repository, None).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_list_of_referrers_that_leads_in_a_circle_ends_in_an_error() {
    let server = Script::start(|number, _| {
        let link = format!("</v2/team/app/referrers/x?page={}>; rel=next", number % 3);
        list(vec![entry("a", "text/a")], &[("link", &link)])
    })
    .await;
    let error = found(&server.repository(), None).await.unwrap_err();
    assert!(error.to_string().contains("there before"), "{error}");
    assert!(server.requests().len() < 20);
}
