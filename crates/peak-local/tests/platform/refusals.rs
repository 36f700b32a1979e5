//! What is refused, and why.

use serde_json::json;

use crate::support::*;

#[tokio::test]
async fn names_and_versions_are_taken_once() {
    let state = tempfile::tempdir().unwrap();
    let (platform, made) = with_one_image(state.path()).await;
    let taken = submit(
        &platform,
        "POST",
        "/images/",
        from_text("web", "FROM scratch\n"),
    )
    .await;
    assert!(taken.refused(409).contains("web"));
    let versions = format!("/images/{}/versions", made["imageId"]);
    let again = from_text("web", "FROM scratch\n").text("version", "0.0.1");
    assert!(
        submit(&platform, "POST", &versions, again)
            .await
            .refused(409)
            .contains("0.0.1")
    );
    // Known only once the archive is kept.
    let upload = Form::default()
        .text("name", "web")
        .text("type", "api")
        .artifact(&archive([("Dockerfile", b"FROM scratch\n".as_slice())]));
    submit(&platform, "POST", "/images/", upload)
        .await
        .refused(409);
    assert_nothing_left(platform, state.path()).await;
}

#[tokio::test]
async fn bad_bodies_are_refused_with_what_is_wrong() {
    let state = tempfile::tempdir().unwrap();
    let (platform, _) = with_one_image(state.path()).await;
    let fine = || Form::default().text("name", "fine").text("type", "api");
    let github = json!({"source": "github", "repository": "r", "branch": "main"});
    for (form, status, words) in [
        (Form::default().text("type", "api"), 400, "`name`"),
        (Form::default().text("name", "fine"), 400, "`type`"),
        (
            Form::default().text("name", "fine").text("type", "moon"),
            400,
            "workspace-r",
        ),
        (from_text("Bad Name", "FROM scratch\n"), 422, "lower-case"),
        (
            from_text("fine", "FROM scratch\n").text("version", "no spaces"),
            422,
            "`version`",
        ),
        (
            from_text("fine", "FROM scratch\n").text("name", "twice"),
            400,
            "twice",
        ),
        (
            from_text("fine", "FROM scratch\n").text("colour", "red"),
            400,
            "`colour`",
        ),
        (fine().text("buildDetails", "{oops"), 400, "buildDetails"),
        (
            fine().json("buildDetails", &json!({"useCache": "yes"})),
            400,
            "`useCache`",
        ),
        (
            fine().json("buildDetails", &json!({"novelty": [1, 2]})),
            400,
            "`novelty`",
        ),
        (fine(), 400, "artifact"),
        (fine().text("artifact", "zip"), 400, "application/zip"),
        (fine().artifact(b"one").artifact(b"two"), 400, "twice"),
        (fine().artifact(b""), 422, "empty"),
        (fine().json("buildDetails", &github), 422, "GitHub"),
    ] {
        let detail = submit(&platform, "POST", "/images/", form)
            .await
            .refused(status);
        assert!(detail.contains(words), "{detail}");
    }
    let images = format!("{API}/images/");
    let plain = send(
        platform.address(),
        "POST",
        &images,
        &[("Content-Length", "2")],
        b"{}",
    )
    .await;
    assert!(plain.refused(400).contains("multipart"));
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    let malformed = [("Content-Type", kind.as_str()), ("Content-Length", "20")];
    send(
        platform.address(),
        "POST",
        &images,
        &malformed,
        b"--not the boundary--",
    )
    .await
    .refused(400);
    let no_boundary = [
        ("Content-Type", "multipart/form-data"),
        ("Content-Length", "2"),
    ];
    send(platform.address(), "POST", &images, &no_boundary, b"{}")
        .await
        .refused(400);
    submit(
        &platform,
        "POST",
        "/images/?dryRun=true",
        from_text("fine", "FROM scratch\n"),
    )
    .await
    .refused(400);
    assert_nothing_left(platform, state.path()).await;
}

#[tokio::test]
async fn bodies_have_a_length_and_a_limit() {
    let state = tempfile::tempdir().unwrap();
    let (platform, _) = with_one_image(state.path()).await;
    // Over the limit only once it is read, and by what the head says.
    for size in [64 * 1024 + 1, 8 * 1024 * 1024] {
        let form = from_text("fine", "FROM scratch\n").artifact(&vec![7; size]);
        let detail = submit(&platform, "POST", "/images/", form)
            .await
            .refused(413);
        assert!(detail.contains(&LIMIT.to_string()), "{detail}");
    }
    let long =
        from_text("fine", "FROM scratch\n").text("description", &"x".repeat(1024 * 1024 + 1));
    assert!(
        submit(&platform, "POST", "/images/", long)
            .await
            .refused(413)
            .contains("description")
    );
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    let chunked = [
        ("Content-Type", kind.as_str()),
        ("Transfer-Encoding", "chunked"),
    ];
    let chunked = send(
        platform.address(),
        "POST",
        &format!("{API}/images/"),
        &chunked,
        b"0\r\n\r\n",
    )
    .await;
    assert!(chunked.refused(411).contains("Content-Length"));
    assert_nothing_left(platform, state.path()).await;
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let state = tempfile::tempdir().unwrap();
    let (platform, made) = with_one_image(state.path()).await;
    let (image, version) = (&made["imageId"], &made["versionId"]);
    for path in [
        "/images/99".to_owned(),
        "/images/none".to_owned(),
        "/images/99/versions".to_owned(),
        format!("/images/{image}/versions/99"),
        format!("/images/99/versions/{version}"),
        format!("/images/{image}/builds/99/logs"),
        "/images/99/builds".to_owned(),
        "/nothing".to_owned(),
    ] {
        get(&platform, &path).await.refused(404);
    }
    let form = || from_text("web", "FROM scratch\n").artifact(&[7; 1024]);
    submit(&platform, "POST", "/images/99/versions", form())
        .await
        .refused(404);
    submit(
        &platform,
        "PATCH",
        &format!("/images/{image}/versions/99"),
        form(),
    )
    .await
    .refused(404);
    send(
        platform.address(),
        "PUT",
        &format!("{API}/images/{image}"),
        &[],
        b"",
    )
    .await
    .refused(405);
    send(platform.address(), "GET", "/elsewhere", &[], b"")
        .await
        .refused(404);
    assert_nothing_left(platform, state.path()).await;
}

#[tokio::test]
async fn questions_that_make_no_sense_are_refused() {
    let state = tempfile::tempdir().unwrap();
    let (platform, made) = with_one_image(state.path()).await;
    assert!(
        get(&platform, "/images/?status=purple")
            .await
            .refused(400)
            .contains("in-use")
    );
    for question in [
        "pageNumber=0",
        "colour=red",
        "searchTerm=a&searchTerm=b",
        "pageSize=many",
    ] {
        get(&platform, &format!("/images/?{question}"))
            .await
            .refused(400);
    }
    let image = &made["imageId"];
    for path in [
        format!("/images/{image}?verbose=true"),
        format!("/images/{image}/builds?dateFrom=2026-02-01&dateTo=2026-01-01"),
        format!("/images/{image}/builds?count=-7"),
    ] {
        get(&platform, &path).await.refused(400);
    }
    get(
        &platform,
        &format!("/images/{}/builds/1/logs?nextToken=abc", made["imageId"]),
    )
    .await
    .refused(400);
    let foreign = [("Host", "evil.example")];
    send(
        platform.address(),
        "GET",
        &format!("{API}/images/"),
        &foreign,
        b"",
    )
    .await
    .refused(421);
    let page = [("Origin", "https://evil.example")];
    send(platform.address(), "GET", "/v2/", &page, b"")
        .await
        .refused(403);
    assert_nothing_left(platform, state.path()).await;
}
