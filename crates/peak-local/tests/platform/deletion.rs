//! What goes, and what goes with it.

use std::path::Path;

use peak_local::Platform;
use serde_json::{Value, json};

use crate::support::*;

/// Adds a version to an image and waits until it is built; gives its id.
async fn add_version(platform: &Platform, image: &Value) -> Value {
    let path = format!("/images/{image}/versions");
    let made = submit(platform, "POST", &path, from_text("x", "FROM scratch\n"))
        .await
        .json();
    follow(platform, image, &made["buildId"]).await;
    made["versionId"].clone()
}

#[tokio::test]
async fn deleted_versions_take_their_tag_and_their_builds_with_them() {
    let state = tempfile::tempdir().unwrap();
    let (platform, made) = with_one_image(state.path()).await;
    let (image, first) = (&made["imageId"], &made["versionId"]);
    let second = add_version(&platform, image).await;
    let third = add_version(&platform, image).await;
    let manifest = send(
        platform.address(),
        "GET",
        "/v2/web/manifests/0.0.3",
        &[],
        b"",
    )
    .await;
    let digest = manifest
        .head
        .to_ascii_lowercase()
        .lines()
        .find_map(|line| {
            line.strip_prefix("docker-content-digest: ")
                .map(str::to_owned)
        })
        .unwrap();

    let path = format!("/images/{image}/versions/{third}");
    let deleted = delete(&platform, &path).await;
    assert_eq!((deleted.status, deleted.json()), (200, json!({})));
    gone(&platform, &path).await;
    delete(&platform, &path).await.refused(404);
    assert_eq!(manifest_status(&platform, "web", "0.0.3").await, 404);
    assert_eq!(manifest_status(&platform, "web", &digest).await, 200);
    assert_eq!(manifest_status(&platform, "web", "0.0.2").await, 200);
    let described = get(&platform, &format!("/images/{image}")).await.json();
    assert_eq!(described["latestVersion"]["id"], second);
    assert_eq!(described["latestVersion"]["isLatest"], true);
    let builds = get(&platform, &format!("/images/{image}/builds"))
        .await
        .json();
    assert_eq!(builds["buildCount"], 2);

    // All or nothing, and then both, one of them named twice.
    let versions = format!("/images/{image}/versions");
    delete(
        &platform,
        &format!("{versions}?versionIds={first}&versionIds=99"),
    )
    .await
    .refused(404);
    for wrong in ["", "?versionIds=one", "?versionIds=1&force=true"] {
        delete(&platform, &format!("{versions}{wrong}"))
            .await
            .refused(400);
    }
    assert_eq!(get(&platform, &versions).await.json()["versionCount"], 2);
    let both = format!("{versions}?versionIds={first}&versionIds={second}&versionIds={first}");
    assert_eq!(delete(&platform, &both).await.json(), json!({}));
    platform.shutdown().await;

    // What was not carried out before the end is now.
    let platform = start(state.path()).await;
    gone(&platform, &format!("{versions}/{first}")).await;
    assert_eq!(get(&platform, &versions).await.json()["versionCount"], 0);
    assert_eq!(manifest_status(&platform, "web", "0.0.1").await, 404);
    let list = get(&platform, "/images/").await.json();
    assert_eq!(list["imageCount"], 1);
    assert!(list["images"][0].get("latestVersion").is_none());
    assert_eq!(
        get(&platform, "/images/?status=ready").await.json()["imageCount"],
        0
    );
    let again = add_version(&platform, image).await;
    let again = get(&platform, &format!("{versions}/{again}")).await.json();
    assert_eq!(
        (&again["version"], &again["isLatest"]),
        (&json!("0.0.1"), &json!(true))
    );
    assert_eq!(manifest_status(&platform, "web", "0.0.1").await, 200);
    platform.shutdown().await;
}

#[tokio::test]
async fn a_deleted_image_is_gone_and_its_name_free() {
    let state = tempfile::tempdir().unwrap();
    let (platform, made) = with_one_image(state.path()).await;
    let image = &made["imageId"];
    add_version(&platform, image).await;
    for path in ["/images/99", "/images/none", "/images/99/versions/1"] {
        delete(&platform, path).await.refused(404);
    }
    let path = format!("/images/{image}");
    assert_eq!(delete(&platform, &path).await.json(), json!({}));
    gone(&platform, &path).await;
    delete(&platform, &path).await.refused(404);
    get(
        &platform,
        &format!("{path}/builds/{}/logs", made["buildId"]),
    )
    .await
    .refused(404);
    for tag in ["0.0.1", "0.0.2"] {
        assert_eq!(manifest_status(&platform, "web", tag).await, 404);
    }
    platform.shutdown().await;
    let platform = start(state.path()).await;
    assert_eq!(get(&platform, "/images/").await.json()["imageCount"], 0);
    let again = submit(
        &platform,
        "POST",
        "/images/",
        from_text("web", "FROM scratch\n"),
    )
    .await;
    assert_eq!(again.status, 201);
    assert_ne!(&again.json()["imageId"], image);
    platform.shutdown().await;
}

/// The file of this name somewhere below a directory.
fn find(directory: &Path, name: &str) -> Option<std::path::PathBuf> {
    std::fs::read_dir(directory).unwrap().find_map(|entry| {
        let entry = entry.unwrap();
        if entry.file_name() == name {
            return Some(entry.path());
        }
        let is_directory = entry.file_type().unwrap().is_dir();
        is_directory.then(|| find(&entry.path(), name)).flatten()
    })
}

#[tokio::test]
async fn a_deletion_that_fails_is_seen_and_can_be_asked_for_again() {
    let state = tempfile::tempdir().unwrap();
    let (platform, made) = with_one_image(state.path()).await;
    let image = format!("/images/{}", made["imageId"]);
    let version = format!("{image}/versions/{}", made["versionId"]);
    // Something in the place of the tag that cannot be removed as a file.
    let tag = find(&state.path().join("registry"), "0.0.1").unwrap();
    let content = std::fs::read(&tag).unwrap();
    std::fs::remove_file(&tag).unwrap();
    std::fs::create_dir(&tag).unwrap();
    assert_eq!(delete(&platform, &image).await.json(), json!({}));
    eventually(async || {
        let answer = get(&platform, &version).await.json();
        (answer["status"] == "delete-failed").then_some(())
    })
    .await;
    assert_eq!(
        get(&platform, &image).await.json()["status"],
        "delete-failed"
    );
    let form = from_text("web", "FROM scratch\n");
    let refused = submit(&platform, "POST", &format!("{image}/versions"), form).await;
    assert!(refused.refused(422).contains("delete it again"));
    let list = get(&platform, "/images/?status=delete-failed").await.json();
    assert_eq!(list["imageCount"], 1);

    std::fs::remove_dir(&tag).unwrap();
    std::fs::write(&tag, content).unwrap();
    assert_eq!(delete(&platform, &image).await.json(), json!({}));
    gone(&platform, &image).await;
    assert_eq!(manifest_status(&platform, "web", "0.0.1").await, 404);
    platform.shutdown().await;
}
