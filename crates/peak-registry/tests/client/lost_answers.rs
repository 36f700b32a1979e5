//! Manifests and lists whose answer is lost on its way.

use futures_util::TryStreamExt as _;

use crate::script::{Script, answer, tag, with_headers};

/// The beginning of an answer with this body.
fn cut_off(kind: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len().to_string();
    let headers = [("content-length", &*length), ("content-type", kind)];
    with_headers("200 OK", &headers, body.split_at(body.len() / 2).0)
}

#[tokio::test]
async fn a_manifest_that_is_cut_off_is_asked_for_again() {
    let kind = "application/vnd.oci.image.index.v1+json";
    let body = br#"{"schemaVersion":2,"manifests":[]}"#;
    let server = Script::start(move |number, _| match number {
        0 => cut_off(kind, body),
        _ => answer("200 OK", &[("content-type", kind)], body),
    })
    .await;
    let manifest = server.repository().get_manifest(&tag("v1")).await.unwrap();
    assert_eq!(manifest.bytes().as_ref(), body);
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn a_page_of_a_list_that_is_cut_off_is_asked_for_again() {
    let body = br#"{"name":"team/app","tags":["v1","v2"]}"#;
    let server = Script::start(move |number, _| match number {
        0 => cut_off("application/json", body),
        _ => answer("200 OK", &[], body),
    })
    .await;
    let tags: Vec<_> = server
        .repository()
        .get_repository_tags()
        .try_collect()
        .await
        .unwrap();
    let tags: Vec<_> = tags.iter().map(ToString::to_string).collect();
    assert_eq!(tags, ["v1", "v2"]);
    assert_eq!(server.requests().len(), 2);
}
