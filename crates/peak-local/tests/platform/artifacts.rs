//! Artifacts and their archives.

use peak_local::Platform;
use serde_json::json;

use crate::support::*;

/// Asks the artifacts API, with what comes behind `artifacts/`.
async fn ask_artifacts(platform: &Platform, method: &str, path: &str, body: &[u8]) -> Answer {
    let length = body.len().to_string();
    let headers = [
        ("Content-Type", "application/json"),
        ("Content-Length", length.as_str()),
    ];
    let target = format!("{ARTIFACTS}{path}");
    send(platform.address(), method, &target, &headers, body).await
}

/// Creates an artifact and gives its id.
async fn create_artifact(platform: &Platform, name: &str, content: &[u8]) -> String {
    let form = Form::default()
        .text("name", name)
        .text("description", "first")
        .text("scan", "true")
        .artifact(content);
    let made = submit_to(platform, "POST", ARTIFACTS, form).await;
    assert_eq!(made.status, 201, "{}", made.head);
    let made = made.json();
    assert_eq!(made["version"], 1);
    made["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_artifact_lives_from_its_creation_to_its_end() {
    let state = tempfile::tempdir().unwrap();
    let platform = start(state.path()).await;
    let (one, two) = (
        archive([("a.txt", b"one".as_slice())]),
        archive([("a.txt", b"two".as_slice())]),
    );
    let id = create_artifact(&platform, "Greeting page", &one).await;
    assert_eq!(id.len(), 36);
    let path = format!("{ARTIFACTS}{id}");
    let form = Form::default().text("validate", "false").artifact(&two);
    let added = submit_to(&platform, "PUT", &path, form).await;
    assert_eq!((added.status, added.json()), (200, json!({"version": 2})));

    let update = br#"{"name": "Greeting", "description": null}"#;
    let updated = ask_artifacts(&platform, "PATCH", &id, update).await;
    assert_eq!((updated.status, updated.json()), (200, json!({})));
    let described = ask_artifacts(&platform, "GET", &format!("{id}?pageSize=1"), b"")
        .await
        .json();
    assert_eq!(described["id"], id);
    assert_eq!(
        (&described["name"], &described["description"]),
        (&json!("Greeting"), &json!("first"))
    );
    assert_eq!(
        (&described["versionCount"], &described["pageCount"]),
        (&json!(2), &json!(2))
    );
    assert_eq!(described["versions"].as_array().unwrap().len(), 1);
    assert_eq!(described["versions"][0]["version"], 2);

    platform.shutdown().await;
    let platform = start(state.path()).await;
    let content = async |path: &str| {
        let answer = ask_artifacts(&platform, "GET", path, b"").await;
        assert_eq!(answer.status, 200, "{}", answer.head);
        assert!(answer.head.to_ascii_lowercase().contains("application/zip"));
        answer.body
    };
    assert_eq!(content(&format!("{id}/download")).await, two);
    assert_eq!(content(&format!("{id}/1/download")).await, one);

    // The number of a deleted version is not given out again, and the one before is the latest.
    let deleted = ask_artifacts(&platform, "DELETE", &format!("{id}/2"), b"").await;
    assert_eq!((deleted.status, deleted.json()), (200, json!({})));
    assert_eq!(content(&format!("{id}/download")).await, one);
    let again = submit_to(&platform, "PUT", &path, Form::default().artifact(&two)).await;
    assert_eq!(again.json()["version"], 3);
    for version in ["1", "3"] {
        let path = format!("{id}/{version}");
        assert_eq!(
            ask_artifacts(&platform, "DELETE", &path, b"").await.status,
            200
        );
        eventually(async || {
            let again = ask_artifacts(&platform, "DELETE", &path, b"").await;
            (again.status == 404).then_some(())
        })
        .await;
    }
    ask_artifacts(&platform, "GET", &format!("{id}/download"), b"")
        .await
        .refused(404);
    let other = create_artifact(&platform, "Other", &one).await;
    let list = ask_artifacts(&platform, "GET", "?pageSize=1&pageNumber=2", b"")
        .await
        .json();
    assert_eq!(
        (&list["artifactCount"], &list["pageCount"]),
        (&json!(2), &json!(2))
    );
    assert_eq!(list["artifacts"][0]["id"], id, "the newest comes first");
    let deleted = ask_artifacts(&platform, "DELETE", &id, b"").await;
    assert_eq!((deleted.status, deleted.json()), (200, json!({})));
    eventually(async || {
        let answer = ask_artifacts(&platform, "GET", &id, b"").await;
        (answer.status == 404).then_some(())
    })
    .await;
    assert_eq!(
        files_in(&state.path().join("artifacts")),
        1,
        "the archive that is still pointed to stays, the other is gone"
    );
    for (method, path) in [("GET", id.clone()), ("DELETE", id.clone()), ("PATCH", id)] {
        ask_artifacts(&platform, method, &path, b"{}")
            .await
            .refused(404);
    }
    platform.shutdown().await;

    let platform = start(state.path()).await;
    let list = ask_artifacts(&platform, "GET", "", b"").await.json();
    assert_eq!(list["artifactCount"], 1);
    assert_eq!(
        files_in(&state.path().join("artifacts")),
        1,
        "the archive that is still pointed to stays, the other is gone"
    );
    let kept = ask_artifacts(&platform, "GET", &format!("{other}/download"), b"").await;
    assert_eq!(kept.body, one);
    platform.shutdown().await;
}

#[tokio::test]
async fn an_artifact_is_downloaded_in_parts() {
    let state = tempfile::tempdir().unwrap();
    let platform = start(state.path()).await;
    let content = archive([("a.txt", [7; 1000].as_slice())]);
    let id = create_artifact(&platform, "parts", &content).await;
    let size = content.len();
    let target = format!("{ARTIFACTS}{id}/1/download");
    let part = async |headers: &[(&str, &str)]| {
        send(platform.address(), "GET", &target, headers, b"").await
    };
    let rest = part(&[("Range", "bytes=10-")]).await;
    assert_eq!((rest.status, rest.body.as_slice()), (206, &content[10..]));
    let head = rest.head.to_ascii_lowercase();
    assert!(
        head.contains(&format!("content-range: bytes 10-{}/{size}", size - 1)),
        "{head}"
    );
    assert!(head.contains(&format!("content-length: {}", size - 10)));
    let etag = head
        .lines()
        .find_map(|line| line.strip_prefix("etag: "))
        .unwrap();
    let middle = part(&[("Range", "bytes=2-5"), ("If-Range", etag)]).await;
    assert_eq!(
        (middle.status, middle.body.as_slice()),
        (206, &content[2..6])
    );
    let changed = part(&[("Range", "bytes=2-5"), ("If-Range", "\"other\"")]).await;
    assert_eq!((changed.status, changed.body), (200, content.clone()));
    let beyond = part(&[("Range", &format!("bytes={size}-"))]).await;
    beyond.refused(416);
    assert!(
        beyond
            .head
            .to_ascii_lowercase()
            .contains(&format!("content-range: bytes */{size}"))
    );
    platform.shutdown().await;
}

#[tokio::test]
async fn what_is_no_artifact_is_refused_and_leaves_nothing() {
    let state = tempfile::tempdir().unwrap();
    let (platform, _) = with_one_image(state.path()).await;
    let zip = archive([("a.txt", b"one".as_slice())]);
    let named = || Form::default().text("name", "fine");
    for (form, status, words) in [
        (Form::default().artifact(&zip), 400, "`name`"),
        (named().text("description", "x"), 400, "`artifact`"),
        (named().artifact(b"no zip at all"), 422, "zip"),
        (
            named().text("scan", "perhaps").artifact(&zip),
            400,
            "`scan`",
        ),
        (named().text("type", "api").artifact(&zip), 400, "`type`"),
        (
            Form::default()
                .text("name", &"x".repeat(5000))
                .artifact(&zip),
            400,
            "`name`",
        ),
    ] {
        let detail = submit_to(&platform, "POST", ARTIFACTS, form)
            .await
            .refused(status);
        assert!(detail.contains(words), "{detail}");
    }
    let large = named().artifact(&vec![7; 64 * 1024 + 1]);
    submit_to(&platform, "POST", ARTIFACTS, large)
        .await
        .refused(413);
    let unknown = "c7575459-e265-4944-a539-1fbb3336799e";
    for id in [unknown, "none"] {
        let path = format!("{ARTIFACTS}{id}");
        submit_to(&platform, "PUT", &path, Form::default().artifact(&zip))
            .await
            .refused(404);
        for path in [
            id.to_owned(),
            format!("{id}/download"),
            format!("{id}/1/download"),
            format!("{id}/one/download"),
        ] {
            ask_artifacts(&platform, "GET", &path, b"")
                .await
                .refused(404);
        }
    }
    for body in [
        b"".as_slice(),
        b"[]",
        br#"{"name": 7}"#,
        br#"{"name": ""}"#,
        br#"{"colour": "red"}"#,
        br#"{"name": "a", "name": "b"}"#,
    ] {
        ask_artifacts(&platform, "PATCH", unknown, body)
            .await
            .refused(400);
    }
    let target = format!("{ARTIFACTS}{unknown}");
    let no_json = [("Content-Type", "text/plain"), ("Content-Length", "2")];
    send(platform.address(), "PATCH", &target, &no_json, b"{}")
        .await
        .refused(400);
    for question in ["pageSize=0", "searchTerm=a"] {
        ask_artifacts(&platform, "GET", &format!("?{question}"), b"")
            .await
            .refused(400);
    }
    let long = vec![b' '; 300 * 1024];
    ask_artifacts(&platform, "PATCH", unknown, &long)
        .await
        .refused(413);
    ask_artifacts(&platform, "POST", unknown, b"")
        .await
        .refused(405);
    let list = ask_artifacts(&platform, "GET", "", b"").await.json();
    assert_eq!(
        (&list["artifactCount"], &list["artifacts"]),
        (&json!(0), &json!([]))
    );
    assert_nothing_left(platform, state.path()).await;
}
