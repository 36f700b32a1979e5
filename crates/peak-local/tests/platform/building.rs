//! Images, their versions and their builds.

use serde_json::json;

use crate::support::*;

#[tokio::test]
async fn an_image_is_created_built_and_described() {
    let state = tempfile::tempdir().unwrap();
    let platform = start(state.path()).await;
    let zip = archive([
        (
            "web/Dockerfile.web",
            b"FROM scratch\nARG WHO\nCOPY page.html /\n",
        ),
        ("web/page.html", b"hello"),
    ]);
    // The artifact first: the order of the parts means nothing.
    let form = Form::default()
        .artifact(&zip)
        .json(
            "buildDetails",
            &json!({
                "dockerfilePath": "web/Dockerfile.web", "context": "web", "useCache": false,
                "buildArguments": [{"name": "WHO", "value": "s3cret-value"}],
            }),
        )
        .text("description", "The greeting page")
        .text("type", "webapp")
        .text("name", "hello-web");
    let made = submit(&platform, "POST", "/images/", form).await;
    assert_eq!(made.status, 201, "{}", made.json());
    let made = made.json();
    let (image, version, build) = (&made["imageId"], &made["versionId"], &made["buildId"]);

    let (end, lines) = follow(&platform, image, build).await;
    assert_eq!(end["buildStatus"], "success", "{lines:?}");
    assert!(end["startTime"].as_str().unwrap() <= end["finishTime"].as_str().unwrap());
    assert!(
        lines.iter().all(|line| !line.contains("s3cret-value")),
        "{lines:?}"
    );

    let described = get(&platform, &format!("/images/{image}")).await.json();
    assert_eq!(described["name"], "hello-web");
    assert_eq!(
        (&described["type"], &described["scope"]),
        (&json!("webapp"), &json!("custom"))
    );
    let latest = &described["latestVersion"];
    assert_eq!(&latest["id"], version);

    let described = get(&platform, &format!("/images/{image}/versions/{version}"))
        .await
        .json();
    assert_eq!(&described, latest);
    assert_eq!(described["version"], "0.0.1");
    assert_eq!(described["status"], "ready");
    assert_eq!(described["lastBuildStatus"], "success");
    assert_eq!(
        described["pullUrl"],
        format!("{}/hello-web:0.0.1", platform.address())
    );
    assert_eq!(
        (&described["imageName"], &described["imageType"]),
        (&json!("hello-web"), &json!("webapp"))
    );
    assert_eq!(described["isLatest"], true);
    assert_eq!(described["buildDetails"]["source"], "upload");
    assert_eq!(described["buildDetails"]["useCache"], false);
    assert!(described["size"].as_u64().unwrap() > 0);
    let created = described["createdAt"].as_str().unwrap();
    assert!(created.len() == 24 && created.ends_with('Z'), "{created}");

    // The registry on the same address has it, and without a token nobody is asked for one.
    let manifest = send(
        platform.address(),
        "GET",
        "/v2/hello-web/manifests/0.0.1",
        &[],
        b"",
    )
    .await;
    assert_eq!(manifest.status, 200, "{}", manifest.head);

    let builds = get(&platform, &format!("/images/{image}/builds"))
        .await
        .json();
    assert_eq!(builds["buildCount"], 1);
    assert_eq!(&builds["builds"][0]["buildId"], build);
    assert_eq!(builds["builds"][0]["useCache"], false);
    platform.shutdown().await;
}

#[tokio::test]
async fn versions_are_added_rebuilt_and_listed() {
    let state = tempfile::tempdir().unwrap();
    let platform = start(state.path()).await;
    let image = submit(
        &platform,
        "POST",
        "/images/",
        from_text("web", "FROM scratch\n"),
    )
    .await
    .json()["imageId"]
        .clone();
    let next = submit(
        &platform,
        "POST",
        &format!("/images/{image}/versions"),
        from_text("x", "FROM scratch\n"),
    )
    .await;
    assert_eq!(next.status, 201);
    let next = next.json();
    follow(&platform, &image, &next["buildId"]).await;
    let path = format!("/images/{image}/versions/{}", next["versionId"]);
    let version = get(&platform, &path).await.json();
    assert_eq!(version["version"], "0.0.2");

    // A build that fails, and the version stays what it was.
    let form = Form::default()
        .text("description", "broken")
        .text("version", "0.0.2")
        .json(
            "buildDetails",
            &json!({"source": "dockerfile", "dockerfile": "FROM scratch\nFETCH things\n"}),
        );
    let updated = submit(&platform, "PATCH", &path, form).await;
    assert_eq!(updated.status, 200);
    let updated = updated.json();
    assert_eq!(updated["versionId"], next["versionId"]);
    let (end, lines) = follow(&platform, &image, &updated["buildId"]).await;
    assert_eq!(end["buildStatus"], "failed");
    assert!(lines.last().unwrap().contains("FETCH"), "{lines:?}");
    let version = get(&platform, &path).await.json();
    assert_eq!(
        (&version["status"], &version["lastBuildStatus"]),
        (&json!("ready"), &json!("failed"))
    );
    assert_eq!(version["description"], "broken");
    platform.shutdown().await;
}

#[tokio::test]
async fn lists_have_pages_and_filters() {
    let state = tempfile::tempdir().unwrap();
    let (platform, made) = with_one_image(state.path()).await;
    let image = &made["imageId"];
    let broken = submit(
        &platform,
        "POST",
        &format!("/images/{image}/versions"),
        from_text("x", "FETCH\n"),
    )
    .await
    .json();
    follow(&platform, image, &broken["buildId"]).await;
    let path = format!("/images/{image}/versions/{}", broken["versionId"]);
    let renamed = submit(
        &platform,
        "PATCH",
        &path,
        Form::default().text("version", "9.9.9"),
    )
    .await;
    assert!(renamed.refused(422).contains("0.0.2"));
    let described = submit(
        &platform,
        "PATCH",
        &path,
        Form::default().text("description", "known"),
    )
    .await
    .json();
    assert!(
        described.get("buildId").is_none(),
        "nothing was built: {described}"
    );

    let list = get(
        &platform,
        &format!("/images/{image}/versions?pageSize=1&pageNumber=2&searchTerm=0.0"),
    )
    .await
    .json();
    assert_eq!(
        (&list["versionCount"], &list["pageCount"]),
        (&json!(2), &json!(2))
    );
    assert_eq!(
        (&list["pageNumber"], &list["pageSize"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(list["versions"].as_array().unwrap().len(), 1);
    assert_eq!(list["versions"][0]["version"], "0.0.1");
    let failed = get(
        &platform,
        &format!("/images/{image}/versions?lastBuildStatus=failed&lastBuildStatus=stopped"),
    )
    .await;
    assert_eq!(failed.json()["versions"][0]["version"], "0.0.2");
    let list = get(
        &platform,
        "/images/?status=not-ready&status=in-use&searchTerm=eb",
    )
    .await
    .json();
    assert_eq!(
        (&list["imageCount"], &list["images"][0]["name"]),
        (&json!(1), &json!("web"))
    );
    assert_eq!(
        get(&platform, "/images/?scope=global").await.json()["imageCount"],
        0
    );
    platform.shutdown().await;
}
