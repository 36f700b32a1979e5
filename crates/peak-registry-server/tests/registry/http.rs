//! The endpoints, each with what it is for and what it refuses.

use std::time::Duration;

use axum::body::Body;
use peak_oci::{Algorithm, Digest};
use peak_registry_server::{RouterOptions, Store, router};
use serde_json::json;

use crate::support::{INDEX, Kind, MANIFEST, Registry, descriptor, image};

/// Runs every test against a store on disk and against one in memory. One that is not listed is
/// dead code, which is not let through.
macro_rules! on_disk_and_in_memory {
    ($($test:ident),* $(,)?) => {
        mod on_disk {
            $(#[tokio::test] async fn $test() { super::$test(super::Kind::Disk).await; })*
        }
        mod in_memory {
            $(#[tokio::test] async fn $test() { super::$test(super::Kind::Memory).await; })*
        }
    };
}

on_disk_and_in_memory! {
    the_base_says_that_this_is_a_registry,
    an_image_is_pushed_and_pulled,
    white_space_and_unknown_members_of_a_manifest_stay,
    a_blob_comes_in_chunks,
    a_chunk_of_another_length_than_announced_is_refused,
    a_blob_comes_in_a_single_request,
    a_wrong_digest_leaves_nothing,
    a_digest_that_is_none_is_refused_and_the_upload_stays,
    both_algorithms_are_taken,
    parts_of_a_blob_are_sent,
    what_the_client_has_is_not_sent_again,
    chunks_without_bytes_change_nothing,
    a_full_store_says_so,
    a_blob_belongs_to_the_repositories_that_got_it,
    a_blob_is_mounted_from_wherever_it_is_if_the_client_names_no_repository,
    a_sparse_manifest_is_taken_where_that_was_chosen,
    a_manifest_needs_what_it_points_to,
    an_index_needs_its_manifests,
    a_schema_1_manifest_needs_its_layers,
    signed_schema_1_is_known_by_the_digest_of_what_was_signed,
    a_manifest_that_is_none_is_refused,
    sizes_are_limited,
    open_uploads_are_bounded,
    uploads_that_stand_idle_go_with_the_next_request_of_any_kind,
    whoever_comes_back_late_still_finds_the_upload_if_nobody_else_came,
    uploads_that_stand_idle_give_their_place_to_a_new_one,
    a_body_that_stands_still_is_given_up,
    tags_and_repositories_come_in_pages,
    a_tag_is_deleted_alone_and_a_manifest_with_its_tags,
    a_manifest_by_digest_gets_the_tags_of_the_query,
    referrers_are_listed_with_what_they_are,
    methods_that_an_endpoint_does_not_have_are_405,
    no_path_leads_out_of_the_directory,
}

async fn the_base_says_that_this_is_a_registry(kind: Kind) {
    let registry = Registry::new(kind);
    let answer = registry.get("/v2/").await.expect(200);
    assert_eq!(answer.body, "{}");
    registry.get("/v2").await.expect(200);
}

async fn an_image_is_pushed_and_pulled(kind: Kind) {
    let registry = Registry::new(kind);
    let (manifest, digest) = registry
        .push_image("team/app/web", "v1", b"layer one")
        .await;

    for reference in ["v1".to_owned(), digest.to_string()] {
        let path = format!("/v2/team/app/web/manifests/{reference}");
        let answer = registry.get(&path).await.expect(200);
        assert_eq!(answer.body, manifest, "the manifest is kept byte for byte");
        assert_eq!(answer.header("content-type"), MANIFEST);
        assert_eq!(answer.header("docker-content-digest"), digest.to_string());
        let answer = registry.head(&path).await.expect(200);
        assert_eq!(answer.header("content-length"), manifest.len().to_string());
        assert_eq!(answer.header("content-type"), MANIFEST);
        assert!(answer.body.is_empty());
    }

    let layer = Digest::sha256_of(b"layer one");
    let path = format!("/v2/team/app/web/blobs/{layer}");
    let answer = registry.get(&path).await.expect(200);
    assert_eq!(answer.body, "layer one");
    assert_eq!(answer.header("docker-content-digest"), layer.to_string());
    assert_eq!(answer.header("content-length"), "9");
    let answer = registry.head(&path).await.expect(200);
    assert_eq!(answer.header("content-length"), "9");

    assert_eq!(
        registry.get("/v2/_catalog").await.json()["repositories"],
        json!(["team/app/web"])
    );
    let tags = registry
        .get("/v2/team/app/web/tags/list")
        .await
        .expect(200)
        .json();
    assert_eq!(tags, json!({ "name": "team/app/web", "tags": ["v1"] }));
    registry.assert_unfinished(0);
}

async fn white_space_and_unknown_members_of_a_manifest_stay(kind: Kind) {
    let registry = Registry::new(kind);
    registry.push_blob("a", b"{}").await;
    let mut value = image(b"{}", &[]);
    value["org.example.unknown"] = json!({ "b": 1, "a": [null] });
    let manifest = serde_json::to_vec_pretty(&value).unwrap();
    registry
        .put_manifest("a", "latest", MANIFEST, &manifest)
        .await
        .expect(201);
    assert_eq!(
        registry
            .get("/v2/a/manifests/latest")
            .await
            .expect(200)
            .body,
        manifest
    );
}

async fn a_blob_comes_in_chunks(kind: Kind) {
    let registry = Registry::new(kind);
    let location = registry.start("a").await;
    let answer = registry
        .send("PATCH", &location, &[("content-range", "0-4")], "hello")
        .await
        .expect(202);
    assert_eq!(answer.header("range"), "0-4");
    let location = answer.header("location").to_owned();

    for (range, body) in [
        ("0-4", "hello"),
        ("6-10", " worl"),
        ("4-3", ""),
        ("x", "hello"),
    ] {
        let answer = registry
            .send("PATCH", &location, &[("content-range", range)], body)
            .await;
        let answer = answer.expect_error(416, "BLOB_UPLOAD_INVALID");
        assert_eq!(answer.header("range"), "0-4");
        assert_eq!(answer.header("location"), location);
    }

    let answer = registry.get(&location).await.expect(204);
    assert_eq!(answer.header("range"), "0-4");
    registry
        .send("PATCH", &location, &[], " world")
        .await
        .expect(202);
    let digest = Digest::sha256_of(b"hello world!");
    let path = format!("{location}?digest={digest}");
    registry
        .send("PUT", &path, &[("content-range", "5-5")], "!")
        .await
        .expect(416);
    registry
        .send("PUT", &path, &[("content-range", "11-11")], "!")
        .await
        .expect(201);
    assert_eq!(
        registry.get(&format!("/v2/a/blobs/{digest}")).await.body,
        "hello world!"
    );
    registry
        .get(&location)
        .await
        .expect_error(404, "BLOB_UPLOAD_UNKNOWN");
}

async fn a_chunk_of_another_length_than_announced_is_refused(kind: Kind) {
    let registry = Registry::new(kind);
    let location = registry.start("a").await;
    let headers = [("content-range", "0-4")];
    // Too much: none of the frame that goes beyond is taken. Too little: what came stays.
    for (body, received) in [("abcdefgh", "0-0"), ("abc", "0-2")] {
        let body = Body::from_stream(futures_body(body));
        let answer = registry.send("PATCH", &location, &headers, body).await;
        answer.expect_error(400, "SIZE_INVALID");
        let status = registry.get(&location).await.expect(204);
        assert_eq!(status.header("range"), received);
    }
    let headers = [("content-range", "3-4"), ("content-length", "1")];
    let answer = registry.send("PATCH", &location, &headers, "d").await;
    answer.expect_error(400, "SIZE_INVALID");
    let digest = Digest::sha256_of(b"abcd");
    let path = format!("{location}?digest={digest}");
    registry
        .send("PUT", &path, &[("content-range", "3-3")], "d")
        .await
        .expect(201);
}

/// A body whose length is not known beforehand.
fn futures_body(
    text: &'static str,
) -> impl futures_util::Stream<Item = Result<&'static str, std::io::Error>> {
    futures_util::stream::iter([Ok(text)])
}

async fn a_blob_comes_in_a_single_request(kind: Kind) {
    let registry = Registry::new(kind);
    let digest = Digest::sha256_of(b"all at once");
    let path = format!("/v2/a/blobs/uploads/?digest={digest}");
    registry
        .send("POST", &path, &[], "all at once")
        .await
        .expect(201);
    assert_eq!(
        registry.get(&format!("/v2/a/blobs/{digest}")).await.body,
        "all at once"
    );

    let empty = Digest::sha256_of(b"");
    registry
        .send(
            "POST",
            &format!("/v2/a/blobs/uploads/?digest={empty}"),
            &[],
            "",
        )
        .await
        .expect(201);
    let answer = registry
        .get(&format!("/v2/a/blobs/{empty}"))
        .await
        .expect(200);
    assert_eq!(answer.header("content-length"), "0");
}

async fn a_wrong_digest_leaves_nothing(kind: Kind) {
    let registry = Registry::new(kind);
    let digest = Digest::sha256_of(b"something else");
    let location = registry.start("a").await;
    let path = format!("{location}?digest={digest}");
    registry
        .send("PUT", &path, &[], "content")
        .await
        .expect_error(400, "DIGEST_INVALID");
    registry
        .get(&location)
        .await
        .expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    let path = format!("/v2/a/blobs/uploads/?digest={digest}");
    registry
        .send("POST", &path, &[], "content")
        .await
        .expect_error(400, "DIGEST_INVALID");
    for content in [&b"something else"[..], b"content"] {
        let digest = Digest::sha256_of(content);
        registry
            .get(&format!("/v2/a/blobs/{digest}"))
            .await
            .expect_error(404, "BLOB_UNKNOWN");
    }
    registry.assert_unfinished(0);
    registry
        .get("/v2/a/tags/list")
        .await
        .expect_error(404, "NAME_UNKNOWN");
}

async fn a_digest_that_is_none_is_refused_and_the_upload_stays(kind: Kind) {
    let registry = Registry::new(kind);
    let location = registry.start("a").await;
    for query in [
        "",
        "?digest=",
        "?digest=md5:00",
        "?digest=sha256:ABC",
        "?digest=../../x",
    ] {
        let answer = registry
            .send("PUT", &format!("{location}{query}"), &[], "x")
            .await;
        answer.expect_error(400, "DIGEST_INVALID");
    }
    registry.get(&location).await.expect(204);
    registry.delete(&location).await.expect(204);
    registry
        .delete(&location)
        .await
        .expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    registry.assert_unfinished(0);
    if let Kind::Disk = kind {
        assert!(!registry.directory().join("uploads/a").exists());
    }
    let location = registry.start("a").await;
    registry.get(&location).await.expect(204);
}

async fn both_algorithms_are_taken(kind: Kind) {
    let registry = Registry::new(kind);
    let digest = Digest::of(Algorithm::Sha512, b"long digest");
    // Announced by the digest, announced at the start, and found out only at the end.
    let path = format!("/v2/one/blobs/uploads/?digest={digest}");
    registry
        .send("POST", &path, &[], "long digest")
        .await
        .expect(201);
    for (name, start) in [("two", "?digest-algorithm=sha512"), ("three", "")] {
        let path = format!("/v2/{name}/blobs/uploads/{start}");
        let answer = registry.send("POST", &path, &[], "").await.expect(202);
        let location = answer.header("location").to_owned();
        registry
            .send("PATCH", &location, &[], "long ")
            .await
            .expect(202);
        let path = format!("{location}?digest={digest}");
        registry.send("PUT", &path, &[], "digest").await.expect(201);
        assert_eq!(
            registry
                .get(&format!("/v2/{name}/blobs/{digest}"))
                .await
                .body,
            "long digest"
        );
    }
    registry
        .send("POST", "/v2/a/blobs/uploads/?digest-algorithm=md5", &[], "")
        .await
        .expect_error(400, "DIGEST_INVALID");

    registry.push_blob("one", b"{}").await;
    let manifest = image(b"{}", &[]).to_string().into_bytes();
    let digest = Digest::of(Algorithm::Sha512, &manifest);
    let answer = registry
        .put_manifest("one", digest.as_str(), MANIFEST, &manifest)
        .await;
    assert_eq!(
        answer.expect(201).header("docker-content-digest"),
        digest.to_string()
    );
    let answer = registry
        .get(&format!("/v2/one/manifests/{digest}"))
        .await
        .expect(200);
    assert_eq!(answer.header("docker-content-digest"), digest.to_string());
    assert_eq!(answer.body, manifest);
}

async fn parts_of_a_blob_are_sent(kind: Kind) {
    let registry = Registry::new(kind);
    let content: Vec<u8> = (0..1_000_000_u32)
        .map(|number| u8::try_from(number % 251).unwrap())
        .collect();
    let digest = registry.push_blob("a", &content).await;
    let path = format!("/v2/a/blobs/{digest}");

    let whole = registry.get(&path).await.expect(200);
    assert_eq!(whole.body, content);
    assert_eq!(whole.header("accept-ranges"), "bytes");
    let tag = whole.header("etag").to_owned();

    for (range, first, last) in [
        ("bytes=0-0", 0, 0),
        ("bytes=1000-699999", 1000, 699_999),
        ("bytes=999990-", 999_990, 999_999),
        ("bytes=-10", 999_990, 999_999),
        ("bytes=5-99999999", 5, 999_999),
    ] {
        let answer = registry
            .send("GET", &path, &[("range", range)], "")
            .await
            .expect(206);
        assert_eq!(
            answer.header("content-range"),
            format!("bytes {first}-{last}/1000000")
        );
        assert_eq!(
            answer.header("content-length"),
            (last - first + 1).to_string()
        );
        assert_eq!(answer.body, content[first..=last], "{range}");
    }
    for range in ["bytes=1000000-", "bytes=500-0"] {
        let headers = [("range", range)];
        let answer = registry.send("GET", &path, &headers, "").await.expect(416);
        assert_eq!(answer.header("content-range"), "bytes */1000000");
    }
    registry
        .send("GET", &path, &[("range", "bytes=0-1,5-6")], "")
        .await
        .expect(200);
    let headers = [("range", "bytes=0-1"), ("if-range", tag.as_str())];
    registry.send("GET", &path, &headers, "").await.expect(206);
    let headers = [("range", "bytes=0-1"), ("if-range", "\"other\"")];
    registry.send("GET", &path, &headers, "").await.expect(200);
}

async fn what_the_client_has_is_not_sent_again(kind: Kind) {
    let registry = Registry::new(kind);
    let (_, digest) = registry.push_image("a", "v1", b"layer").await;
    let layer = Digest::sha256_of(b"layer");
    for (path, digest) in [
        (format!("/v2/a/blobs/{layer}"), &layer),
        (format!("/v2/a/manifests/{digest}"), &digest),
        ("/v2/a/manifests/v1".to_owned(), &digest),
    ] {
        for method in ["GET", "HEAD"] {
            let tag = registry.send(method, &path, &[], "").await.expect(200);
            let tag = tag.header("etag").to_owned();
            assert_eq!(tag, format!("\"{digest}\""));
            let headers = [("if-none-match", tag.as_str())];
            let answer = registry.send(method, &path, &headers, "").await.expect(304);
            assert_eq!(answer.header("etag"), tag);
            assert_eq!(answer.header("docker-content-digest"), digest.to_string());
            assert!(answer.body.is_empty());
            // The range is not looked at then.
            let headers = [("if-none-match", "*"), ("range", "bytes=99999-")];
            registry.send(method, &path, &headers, "").await.expect(304);
            for (name, value, status) in [
                ("if-none-match", "\"other\"", 200),
                ("if-match", tag.as_str(), 200),
                ("if-match", "\"other\"", 412),
            ] {
                let answer = registry.send(method, &path, &[(name, value)], "").await;
                answer.expect(status);
            }
        }
    }
    let none = format!("/v2/a/blobs/{}", Digest::sha256_of(b"none"));
    for name in ["if-none-match", "if-match"] {
        for value in ["*", "\"other\""] {
            let answer = registry.send("GET", &none, &[(name, value)], "").await;
            answer.expect_error(404, "BLOB_UNKNOWN");
        }
    }
}

async fn chunks_without_bytes_change_nothing(kind: Kind) {
    let registry = Registry::new(kind);
    let digest = Digest::sha256_of(b"hello");
    let location = registry.start("a").await;
    let patch = async |headers: &[(&str, &str)], body: &'static str| {
        registry.send("PATCH", &location, headers, body).await
    };
    let empty = [("content-length", "0")];
    assert_eq!(patch(&empty, "").await.expect(202).header("range"), "0-0");
    patch(&[], "hello").await.expect(202);
    for headers in [&empty[..], &[]] {
        let answer = patch(headers, "").await.expect(202);
        assert_eq!(answer.header("range"), "0-4");
        assert_eq!(answer.header("location"), location);
    }
    // A range has at least one byte, so one with none of them is not right.
    let answer = patch(&[("content-range", "5-5"), ("content-length", "0")], "").await;
    answer.expect_error(400, "SIZE_INVALID");
    // One that overlaps, one that starts over, one that leaves a gap.
    for range in ["4-5", "0-1", "6-7", "bytes 4-5/*", "5-4"] {
        let answer = patch(&[("content-range", range)], "xx").await;
        let answer = answer.expect_error(416, "BLOB_UPLOAD_INVALID");
        assert_eq!(answer.header("range"), "0-4");
        assert_eq!(answer.header("location"), location);
    }
    let path = format!("{location}?digest={digest}");
    registry.send("PUT", &path, &empty, "").await.expect(201);
    let answer = registry.get(&format!("/v2/a/blobs/{digest}")).await;
    assert_eq!(answer.expect(200).body, "hello");
}

async fn a_full_store_says_so(kind: Kind) {
    // Only memory can be limited.
    let Kind::Memory = kind else {
        let store = tempfile::tempdir().unwrap();
        assert!(Store::open(store.path()).unwrap().directory().is_some());
        return;
    };
    let store = Store::in_memory_up_to(10_000);
    let registry = Registry::of(router(store.clone()));
    let digest = registry.push_blob("a", &[1; 6000]).await;
    let location = registry.start("a").await;
    let path = format!("{location}?digest={}", Digest::sha256_of(&[2; 6000]));
    let answer = registry.send("PUT", &path, &[], vec![2; 6000]).await;
    answer.expect_error(507, "UNKNOWN");
    // What did not fit is gone, and its room is free.
    registry.get(&location).await.expect(404);
    registry.push_blob("a", &[3; 2500]).await;
    registry
        .get(&format!("/v2/a/blobs/{digest}"))
        .await
        .expect(200);

    let mut upload = store
        .repository(&"b".parse().unwrap())
        .new_upload()
        .unwrap();
    let error = upload.write(&[0; 6000]).unwrap_err();
    assert!(error.is_storage_full(), "{error}");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("10000 bytes"), "{source}");
}

async fn a_blob_belongs_to_the_repositories_that_got_it(kind: Kind) {
    let registry = Registry::new(kind);
    let digest = registry.push_blob("one", b"shared").await;
    let at_two = format!("/v2/two/blobs/{digest}");
    registry
        .get(&at_two)
        .await
        .expect_error(404, "BLOB_UNKNOWN");
    registry.head(&at_two).await.expect(404);

    // A repository that has it not, and one that is none: an upload starts.
    for from in ["&from=three", "&from=../one"] {
        let path = format!("/v2/two/blobs/uploads/?mount={digest}{from}");
        let answer = registry.send("POST", &path, &[], "").await.expect(202);
        registry.delete(answer.header("location")).await.expect(204);
    }
    registry.get(&at_two).await.expect(404);

    let path = format!("/v2/two/blobs/uploads/?mount={digest}&from=one");
    let answer = registry.send("POST", &path, &[], "").await.expect(201);
    assert_eq!(answer.header("location"), at_two);
    assert_eq!(registry.get(&at_two).await.expect(200).body, "shared");

    registry
        .delete(&format!("/v2/one/blobs/{digest}"))
        .await
        .expect(202);
    registry
        .delete(&format!("/v2/one/blobs/{digest}"))
        .await
        .expect_error(404, "BLOB_UNKNOWN");
    registry
        .get(&format!("/v2/one/blobs/{digest}"))
        .await
        .expect(404);
    registry.get(&at_two).await.expect(200);

    // An upload's number opens nothing through another repository.
    let location = registry.start("one").await.replace("/v2/one/", "/v2/two/");
    registry
        .send("PATCH", &location, &[], "x")
        .await
        .expect_error(404, "BLOB_UPLOAD_UNKNOWN");
}

async fn a_blob_is_mounted_from_wherever_it_is_if_the_client_names_no_repository(kind: Kind) {
    let registry = Registry::new(kind);
    registry.push_blob("one/of/many", b"other").await;
    let digest = registry.push_blob("two", b"shared").await;
    let mount = |digest: &Digest| format!("/v2/three/blobs/uploads/?mount={digest}");
    let answer = registry.send("POST", &mount(&digest), &[], "").await;
    let blob = format!("/v2/three/blobs/{digest}");
    assert_eq!(answer.expect(201).header("location"), blob);
    assert_eq!(registry.get(&blob).await.expect(200).body, "shared");

    // What no repository has any more is not found, although its bytes are still on the disk.
    for name in ["two", "three"] {
        let blob = format!("/v2/{name}/blobs/{digest}");
        registry.delete(&blob).await.expect(202);
    }
    for digest in [digest, Digest::sha256_of(b"never sent")] {
        let answer = registry.send("POST", &mount(&digest), &[], "").await;
        registry
            .delete(answer.expect(202).header("location"))
            .await
            .expect(204);
    }
}

#[test]
fn a_blob_is_not_mounted_from_where_it_may_not_be_read() {
    let store = peak_registry_server::Store::in_memory();
    let digest = Digest::sha256_of(b"secret");
    let mut upload = store
        .repository(&"private/a".parse().unwrap())
        .new_upload()
        .unwrap();
    upload.write(b"secret").unwrap();
    upload.finish(&digest).unwrap();

    let target = store.repository(&"public".parse().unwrap());
    let mount = |private: bool| {
        target
            .link_blob_from_any(&digest, |name| {
                private || !name.as_str().starts_with("private/")
            })
            .unwrap()
    };
    assert!(!mount(false));
    assert!(!target.has_blob(&digest).unwrap());
    assert!(mount(true));
    assert!(target.has_blob(&digest).unwrap());
}

async fn a_sparse_manifest_is_taken_where_that_was_chosen(kind: Kind) {
    let registry = Registry::with(kind, &RouterOptions::new().sparse_manifests(true));
    registry.push_blob("a", b"{}").await;
    let sparse = image(b"{}", &[b"not here"]).to_string().into_bytes();
    let index = json!({
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [descriptor(MANIFEST, &sparse), descriptor(MANIFEST, b"nowhere")],
    });
    let index = index.to_string().into_bytes();
    for (tag, media_type, manifest) in [("image", MANIFEST, &sparse), ("all", INDEX, &index)] {
        registry
            .put_manifest("a", tag, media_type, manifest)
            .await
            .expect(201);
        let path = format!("/v2/a/manifests/{tag}");
        assert_eq!(registry.get(&path).await.expect(200).body, *manifest);
    }

    // What is there is still looked at.
    let mut wrong_size = image(b"{}", &[b"not here"]);
    wrong_size["config"]["size"] = json!(3);
    registry
        .put_manifest("a", "wrong", MANIFEST, wrong_size.to_string().as_bytes())
        .await
        .expect_error(400, "MANIFEST_INVALID");
}

async fn a_manifest_needs_what_it_points_to(kind: Kind) {
    let registry = Registry::new(kind);
    registry.push_blob("other", b"layer").await;
    registry.push_blob("a", b"{}").await;
    let manifest = image(b"{}", &[b"layer", b"another"])
        .to_string()
        .into_bytes();
    let answer = registry
        .put_manifest("a", "v1", MANIFEST, &manifest)
        .await
        .expect(400);
    assert_eq!(
        answer.codes(),
        ["MANIFEST_BLOB_UNKNOWN", "MANIFEST_BLOB_UNKNOWN"]
    );
    let missing = Digest::sha256_of(b"layer").to_string();
    assert_eq!(
        answer.json()["errors"][0]["detail"]["digest"],
        json!(missing)
    );
    registry
        .get("/v2/a/manifests/v1")
        .await
        .expect_error(404, "MANIFEST_UNKNOWN");

    let mut wrong_size = image(b"{}", &[]);
    wrong_size["config"]["size"] = json!(3);
    let answer = registry
        .put_manifest("a", "v1", MANIFEST, wrong_size.to_string().as_bytes())
        .await;
    answer.expect_error(400, "MANIFEST_INVALID");

    // Layers that are somewhere else are not asked for.
    let mut foreign = image(b"{}", &[b"far away"]);
    foreign["layers"][0]["urls"] = json!(["https://example.com/layer"]);
    registry
        .put_manifest("a", "v1", MANIFEST, foreign.to_string().as_bytes())
        .await
        .expect(201);
}

async fn an_index_needs_its_manifests(kind: Kind) {
    let registry = Registry::new(kind);
    let child = image(b"{}", &[]).to_string().into_bytes();
    let index = json!({
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [descriptor(MANIFEST, &child)],
    });
    let index = index.to_string().into_bytes();
    registry.push_blob("a", b"{}").await;
    // The same bytes as a blob are not the manifest.
    registry.push_blob("a", &child).await;
    let answer = registry.put_manifest("a", "all", INDEX, &index).await;
    answer.expect_error(400, "MANIFEST_BLOB_UNKNOWN");
    let digest = Digest::sha256_of(&child).to_string();
    registry
        .put_manifest("a", &digest, MANIFEST, &child)
        .await
        .expect(201);
    registry
        .put_manifest("a", "all", INDEX, &index)
        .await
        .expect(201);
    let answer = registry.get("/v2/a/manifests/all").await.expect(200);
    assert_eq!(answer.header("content-type"), INDEX);
}

async fn a_schema_1_manifest_needs_its_layers(kind: Kind) {
    const V1: &str = "application/vnd.docker.distribution.manifest.v1+json";
    let registry = Registry::new(kind);
    let manifest = json!({
        "schemaVersion": 1,
        "fsLayers": [{"blobSum": Digest::sha256_of(b"layer").to_string()}],
        "history": [{"v1Compatibility": "{}"}],
    });
    let manifest = manifest.to_string().into_bytes();
    let answer = registry.put_manifest("a", "v1", V1, &manifest).await;
    answer.expect_error(400, "MANIFEST_BLOB_UNKNOWN");
    registry.push_blob("a", b"layer").await;
    let answer = registry.put_manifest("a", "v1", V1, &manifest).await;
    answer.expect(201);
    let answer = registry.get("/v2/a/manifests/v1").await.expect(200);
    assert_eq!(answer.header("content-type"), V1);
    assert_eq!(
        answer.header("docker-content-digest"),
        Digest::sha256_of(&manifest).to_string()
    );
}

async fn signed_schema_1_is_known_by_the_digest_of_what_was_signed(kind: Kind) {
    const TYPE: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    const PLAIN: &str = "application/vnd.docker.distribution.manifest.v1+json";
    let signed = br#"{"schemaVersion":1,"fsLayers":[],"history":[],"signatures":[{"protected":"eyJmb3JtYXRMZW5ndGgiOjQ1LCJmb3JtYXRUYWlsIjoiZlEifQ","signature":"c2ln"}]}"#;
    let registry = Registry::new(kind);
    let known = peak_oci::Manifest::parse(signed.to_vec().into(), None).unwrap();
    let known = known.digest().to_string();
    assert_ne!(known, Digest::sha256_of(signed).to_string());
    for (name, media_type) in [("signed", TYPE), (known.as_str(), TYPE), ("plain", PLAIN)] {
        let answer = registry.put_manifest("a", name, media_type, signed).await;
        assert_eq!(answer.expect(201).header("docker-content-digest"), known);
    }
    for name in ["signed", "plain", &known] {
        let answer = registry
            .get(&format!("/v2/a/manifests/{name}"))
            .await
            .expect(200);
        assert_eq!(answer.body[..], signed[..]);
        assert_eq!(answer.header("content-type"), TYPE);
        assert_eq!(answer.header("docker-content-digest"), known);
        assert_eq!(answer.header("content-length"), signed.len().to_string());
    }
    // In a list it has the size of all its bytes.
    let list = |size: usize| {
        let child = json!({"mediaType": TYPE, "digest": known, "size": size});
        json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [child]}).to_string()
    };
    let answer = registry
        .put_manifest("a", "list", INDEX, list(signed.len()).as_bytes())
        .await;
    answer.expect(201);
    let answer = registry
        .put_manifest("a", "list", INDEX, list(7).as_bytes())
        .await;
    answer.expect_error(400, "MANIFEST_INVALID");
    registry
        .delete(&format!("/v2/a/manifests/{known}"))
        .await
        .expect(202);
    registry
        .get("/v2/a/manifests/signed")
        .await
        .expect_error(404, "MANIFEST_UNKNOWN");
}

async fn a_manifest_that_is_none_is_refused(kind: Kind) {
    let registry = Registry::new(kind);
    registry.push_blob("a", b"{}").await;
    let manifest = image(b"{}", &[]).to_string().into_bytes();
    for (media_type, body) in [
        (MANIFEST, &b""[..]),
        (MANIFEST, b"not json"),
        (MANIFEST, b"[]"),
        (INDEX, &manifest),
        ("text/html", b"<html></html>"),
    ] {
        let answer = registry.put_manifest("a", "v1", media_type, body).await;
        answer.expect_error(400, "MANIFEST_INVALID");
    }
    let other = Digest::sha256_of(b"other").to_string();
    let answer = registry
        .put_manifest("a", &other, MANIFEST, &manifest)
        .await;
    answer.expect_error(400, "DIGEST_INVALID");
    registry
        .put_manifest("a", ".bad", MANIFEST, &manifest)
        .await
        .expect_error(400, "TAG_INVALID");
    let tags = registry.get("/v2/a/tags/list").await.expect(200).json();
    assert_eq!(tags["tags"], json!([]));
}

async fn sizes_are_limited(kind: Kind) {
    let options = RouterOptions::new()
        .max_blob_size(10)
        .max_manifest_size(1000);
    let registry = Registry::with(kind, &options);
    let digest = Digest::sha256_of(b"12345678901");
    let path = format!("/v2/a/blobs/uploads/?digest={digest}");
    registry
        .send("POST", &path, &[], "12345678901")
        .await
        .expect_error(413, "SIZE_INVALID");
    let location = registry.start("a").await;
    registry
        .send("PATCH", &location, &[], "1234567890")
        .await
        .expect(202);
    let body = Body::from_stream(futures_body("1"));
    registry
        .send("PATCH", &location, &[], body)
        .await
        .expect_error(413, "SIZE_INVALID");
    registry
        .get(&format!("/v2/a/blobs/{digest}"))
        .await
        .expect(404);

    let large = vec![b' '; 1001];
    registry
        .put_manifest("a", "v1", MANIFEST, &large)
        .await
        .expect_error(413, "SIZE_INVALID");
    let registry = Registry::new(kind);
    let large = vec![b' '; 4 * 1024 * 1024 + 1];
    registry
        .put_manifest("a", "v1", MANIFEST, &large)
        .await
        .expect_error(413, "SIZE_INVALID");
}

async fn open_uploads_are_bounded(kind: Kind) {
    let registry = Registry::with(kind, &RouterOptions::new().max_open_uploads(2));
    let first = registry.start("a").await;
    let second = registry.start("a").await;
    let answer = registry.send("POST", "/v2/a/blobs/uploads/", &[], "").await;
    let answer = answer.expect_error(429, "TOOMANYREQUESTS");
    assert!(!answer.header("retry-after").is_empty());
    registry.delete(&first).await.expect(204);
    let digest = Digest::sha256_of(b"x");
    registry
        .send("PUT", &format!("{second}?digest={digest}"), &[], "x")
        .await
        .expect(201);
    registry.start("a").await;
    registry.start("a").await;
}

/// Lets time pass for the registry, and for it alone.
async fn hours_later(hours: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(hours * 60 * 60)).await;
    tokio::time::resume();
}

async fn uploads_that_stand_idle_go_with_the_next_request_of_any_kind(kind: Kind) {
    let registry = Registry::new(kind);
    registry.start("a").await;
    registry.get("/v2/").await.expect(200);
    registry.assert_unfinished(1);
    hours_later(2).await;
    registry.get("/v2/_catalog").await.expect(200);
    registry.assert_unfinished(0);
    // No request waits while a great many of them go.
    for _ in 0..70 {
        registry.start("a").await;
    }
    hours_later(2).await;
    registry.get("/v2/").await.expect(200);
    registry.assert_unfinished(6);
    registry.get("/v2/").await.expect(200);
    registry.assert_unfinished(0);
}

async fn whoever_comes_back_late_still_finds_the_upload_if_nobody_else_came(kind: Kind) {
    let registry = Registry::new(kind);
    let upload = registry.start("a").await;
    hours_later(2).await;
    registry
        .send("PATCH", &upload, &[], "some")
        .await
        .expect(202);
    registry.get("/v2/").await.expect(200);
    registry.get(&upload).await.expect(204);
}

async fn uploads_that_stand_idle_give_their_place_to_a_new_one(kind: Kind) {
    let registry = Registry::with(kind, &RouterOptions::new().max_open_uploads(1));
    let first = registry.start("a").await;
    registry
        .send("PATCH", &first, &[], "some")
        .await
        .expect(202);
    hours_later(2).await;
    let second = registry.start("a").await;
    registry
        .get(&first)
        .await
        .expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    registry.get(&second).await.expect(204);
    registry.assert_unfinished(1);
}

async fn a_body_that_stands_still_is_given_up(kind: Kind) {
    let registry = Registry::with(
        kind,
        &RouterOptions::new().body_idle(Duration::from_millis(20)),
    );
    let digest = Digest::sha256_of(b"never");
    let path = format!("/v2/a/blobs/uploads/?digest={digest}");
    let body = Body::from_stream(futures_util::stream::pending::<
        Result<String, std::io::Error>,
    >());
    registry
        .send("POST", &path, &[], body)
        .await
        .expect_error(408, "BLOB_UPLOAD_INVALID");
    registry.assert_unfinished(0);
}

async fn tags_and_repositories_come_in_pages(kind: Kind) {
    let registry = Registry::new(kind);
    for tag in ["v3", "v1", "latest", "V2"] {
        registry.push_image("b/x", tag, b"layer").await;
    }
    for name in ["c", "a", "b"] {
        registry.push_blob(name, b"x").await;
    }
    let mut path = "/v2/b/x/tags/list?n=3".to_owned();
    let answer = registry.get(&path).await.expect(200);
    assert_eq!(answer.json()["tags"], json!(["V2", "latest", "v1"]));
    let link = answer.header("link");
    assert_eq!(link, "</v2/b/x/tags/list?n=3&last=v1>; rel=\"next\"");
    path = link[1..link.find('>').unwrap()].to_owned();
    let answer = registry.get(&path).await.expect(200);
    assert_eq!(answer.json()["tags"], json!(["v3"]));
    assert_eq!(answer.header("link"), "");

    let answer = registry.get("/v2/b/x/tags/list?n=0").await.expect(200);
    assert_eq!(answer.json()["tags"], json!([]));
    assert_eq!(answer.header("link"), "");
    let answer = registry.get("/v2/b/x/tags/list?last=m").await.expect(200);
    assert_eq!(answer.json()["tags"], json!(["v1", "v3"]));
    for number in ["-1", "x", ""] {
        let answer = registry.get(&format!("/v2/b/x/tags/list?n={number}")).await;
        answer.expect_error(400, "PAGINATION_NUMBER_INVALID");
    }

    let answer = registry.get("/v2/_catalog?n=2").await.expect(200);
    assert_eq!(answer.json()["repositories"], json!(["a", "b"]));
    let answer = registry.get("/v2/_catalog?n=2&last=b").await.expect(200);
    assert_eq!(answer.json()["repositories"], json!(["b/x", "c"]));
    assert_eq!(answer.header("link"), "");
    registry
        .get("/v2/none/tags/list")
        .await
        .expect_error(404, "NAME_UNKNOWN");
}

async fn a_tag_is_deleted_alone_and_a_manifest_with_its_tags(kind: Kind) {
    let registry = Registry::new(kind);
    let (manifest, digest) = registry.push_image("a", "v1", b"layer").await;
    for tag in ["v2", "v3"] {
        registry
            .put_manifest("a", tag, MANIFEST, &manifest)
            .await
            .expect(201);
    }
    let (_, kept) = registry.push_image("a", "other", b"another").await;
    registry.delete("/v2/a/manifests/v1").await.expect(202);
    registry
        .delete("/v2/a/manifests/v1")
        .await
        .expect_error(404, "MANIFEST_UNKNOWN");
    registry.get("/v2/a/manifests/v2").await.expect(200);
    registry
        .delete(&format!("/v2/a/manifests/{digest}"))
        .await
        .expect(202);
    for reference in ["v2", "v3", digest.as_str()] {
        let path = format!("/v2/a/manifests/{reference}");
        registry
            .get(&path)
            .await
            .expect_error(404, "MANIFEST_UNKNOWN");
        registry
            .delete(&path)
            .await
            .expect_error(404, "MANIFEST_UNKNOWN");
    }
    assert_eq!(
        registry.get("/v2/a/tags/list").await.json()["tags"],
        json!(["other"])
    );
    registry
        .get(&format!("/v2/a/manifests/{kept}"))
        .await
        .expect(200);

    // It can come back, without its old tags.
    registry
        .put_manifest("a", "again", MANIFEST, &manifest)
        .await
        .expect(201);
    assert_eq!(
        registry.get("/v2/a/tags/list").await.json()["tags"],
        json!(["again", "other"])
    );
}

async fn a_manifest_by_digest_gets_the_tags_of_the_query(kind: Kind) {
    let registry = Registry::new(kind);
    registry.push_blob("a", b"{}").await;
    let manifest = image(b"{}", &[]).to_string().into_bytes();
    let digest = Digest::sha256_of(&manifest);
    let answer = registry
        .put_manifest(
            "a",
            &format!("{digest}?tag=v1&tag=v1.0"),
            MANIFEST,
            &manifest,
        )
        .await;
    let answer = answer.expect(201);
    let tags: Vec<_> = answer.headers.get_all("oci-tag").iter().collect();
    assert_eq!(tags, ["v1", "v1.0"]);
    assert_eq!(
        registry.get("/v2/a/manifests/v1.0").await.expect(200).body,
        manifest
    );
    let answer = registry
        .put_manifest("a", &format!("{digest}?tag=../x"), MANIFEST, &manifest)
        .await;
    answer.expect_error(400, "TAG_INVALID");
}

async fn referrers_are_listed_with_what_they_are(kind: Kind) {
    let registry = Registry::new(kind);
    let (subject_bytes, subject) = registry.push_image("a", "v1", b"layer").await;
    let mut digests = Vec::new();
    for kind in [
        "application/vnd.example.sbom+json",
        "application/vnd.example.signature",
    ] {
        let mut manifest = image(b"{}", &[]);
        manifest["subject"] = descriptor(MANIFEST, &subject_bytes);
        manifest["artifactType"] = json!(kind);
        manifest["annotations"] = json!({ "made.by": "test" });
        let manifest = manifest.to_string().into_bytes();
        let digest = Digest::sha256_of(&manifest).to_string();
        let answer = registry
            .put_manifest("a", &digest, MANIFEST, &manifest)
            .await
            .expect(201);
        assert_eq!(answer.header("oci-subject"), subject.to_string());
        digests.push(digest);
    }
    let path = format!("/v2/a/referrers/{subject}");
    let answer = registry.get(&path).await.expect(200);
    assert_eq!(answer.header("content-type"), INDEX);
    let mut listed: Vec<String> = answer.json()["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["digest"].as_str().unwrap().to_owned())
        .collect();
    listed.sort();
    let mut expected = digests.clone();
    expected.sort();
    assert_eq!(listed, expected);

    let filter = "?artifactType=application/vnd.example.sbom%2Bjson";
    let answer = registry.get(&format!("{path}{filter}")).await.expect(200);
    assert_eq!(answer.header("oci-filters-applied"), "artifactType");
    let manifests = answer.json()["manifests"].clone();
    assert_eq!(manifests.as_array().unwrap().len(), 1);
    assert_eq!(manifests[0]["digest"], json!(digests[0]));
    assert_eq!(
        manifests[0]["artifactType"],
        json!("application/vnd.example.sbom+json")
    );
    assert_eq!(manifests[0]["annotations"]["made.by"], json!("test"));

    registry
        .delete(&format!("/v2/a/manifests/{}", digests[0]))
        .await
        .expect(202);
    let answer = registry.get(&path).await.expect(200).json();
    assert_eq!(answer["manifests"].as_array().unwrap().len(), 1);
    let nobody = Digest::sha256_of(b"nobody");
    let answer = registry
        .get(&format!("/v2/unknown/referrers/{nobody}"))
        .await
        .expect(200);
    assert_eq!(answer.json()["manifests"], json!([]));
    registry
        .get("/v2/a/referrers/none")
        .await
        .expect_error(400, "DIGEST_INVALID");
}

async fn methods_that_an_endpoint_does_not_have_are_405(kind: Kind) {
    let registry = Registry::new(kind);
    let digest = Digest::sha256_of(b"");
    for (method, path, allowed) in [
        ("POST", "/v2/".to_owned(), "GET, HEAD"),
        ("DELETE", "/v2/_catalog".to_owned(), "GET, HEAD"),
        ("PUT", "/v2/a/tags/list".to_owned(), "GET, HEAD"),
        (
            "POST",
            "/v2/a/manifests/x".to_owned(),
            "GET, HEAD, PUT, DELETE",
        ),
        ("PUT", format!("/v2/a/blobs/{digest}"), "GET, HEAD, DELETE"),
        ("GET", "/v2/a/blobs/uploads/".to_owned(), "POST"),
        ("PUT", format!("/v2/a/referrers/{digest}"), "GET, HEAD"),
        (
            "OPTIONS",
            "/v2/a/manifests/x".to_owned(),
            "GET, HEAD, PUT, DELETE",
        ),
    ] {
        let answer = registry
            .send(method, &path, &[], "")
            .await
            .expect_error(405, "UNSUPPORTED");
        assert_eq!(answer.header("allow"), allowed, "{method} {path}");
    }
}

async fn no_path_leads_out_of_the_directory(kind: Kind) {
    let registry = Registry::new(kind);
    for path in [
        "/v2/../peak-registry-escape/blobs/uploads/",
        "/v2/a/../../peak-registry-escape/blobs/uploads/",
        "/v2/a%2f..%2f..%2fpeak-registry-escape/blobs/uploads/",
        "/v2/%2e%2e/blobs/uploads/",
        "/v2//a/blobs/uploads/",
        "/v2/a//blobs/uploads/",
        "/v2/a%00/blobs/uploads/",
    ] {
        registry
            .send("POST", path, &[], "")
            .await
            .expect_error(400, "NAME_INVALID");
    }
    for path in [
        "/v2/a/manifests/..%2f..%2fregistry.json",
        "/v2/a/manifests/..",
        "/v2/a/blobs/uploads/..%2f..%2fregistry.json",
        "/v2/a/blobs/uploads/..",
    ] {
        registry.get(path).await.expect(404);
    }
    for path in [
        "/v2/a/blobs/sha256:..%2f..%2fregistry.json",
        "/v2/a/blobs/..%2fregistry.json",
    ] {
        registry.get(path).await.expect_error(400, "DIGEST_INVALID");
    }
    registry.push_blob("a", b"{}").await;
    let manifest = image(b"{}", &[]).to_string();
    for tag in ["..", "..%2f..%2fescape", "%2fetc", "a%00"] {
        let answer = registry
            .put_manifest("a", tag, MANIFEST, manifest.as_bytes())
            .await;
        answer.expect_error(400, "TAG_INVALID");
    }
    if let Kind::Disk = kind {
        let parent = registry.directory().parent().unwrap();
        assert!(!parent.join("peak-registry-escape").exists());
    }
    assert!(
        registry.get("/v2/a/tags/list").await.json()["tags"]
            .as_array()
            .unwrap()
            .is_empty()
    );
}
