//! The platform over real loopback connections, spoken to by hand: no client of ours stands between
//! the tests and the server.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "the helpers stand outside of the test functions, and a broken answer is a failed test"
)]

#[path = "platform/engine.rs"]
mod engine;

use std::fmt::Write as _;
use std::io::{Cursor, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use peak_local::{LocalError, Platform};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const API: &str = "/image-management/api/v2";
const BOUNDARY: &str = "------boundary7f3a";

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!(
                "{error}: {}\n{}",
                self.head,
                String::from_utf8_lossy(&self.body)
            )
        })
    }

    /// Checks that this is a refusal with this status, and gives its detail.
    fn refused(&self, status: u16) -> String {
        assert_eq!(
            self.status,
            status,
            "{}\n{}",
            self.head,
            String::from_utf8_lossy(&self.body)
        );
        self.json()["detail"].as_str().unwrap().to_owned()
    }
}

/// Sends a request on a connection of its own; the connection is closed behind the answer.
async fn send(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut head = format!("{method} {target} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "Host") {
        head.push_str("Host: localhost\r\n");
    }
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut received = Vec::new();
    stream.read_to_end(&mut received).await.unwrap();
    let end = received
        .windows(4)
        .position(|bytes| bytes == b"\r\n\r\n")
        .expect("no end of the head");
    let head = String::from_utf8(received[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer {
        status,
        head,
        body: received[end + 4..].to_vec(),
    }
}

async fn get(platform: &Platform, path: &str) -> Answer {
    send(platform.address(), "GET", &format!("{API}{path}"), &[], b"").await
}

/// A form, part by part.
#[derive(Default)]
struct Form(Vec<u8>);

impl Form {
    fn text(mut self, name: &str, value: &str) -> Self {
        let part = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
        );
        self.0.extend_from_slice(part.as_bytes());
        self
    }

    fn json(self, name: &str, value: &Value) -> Self {
        self.text(name, &value.to_string())
    }

    fn artifact(mut self, content: &[u8]) -> Self {
        let head = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"artifact\"; filename=\"artifact.zip\"\r\n\
             Content-Type: application/zip\r\n\r\n"
        );
        self.0.extend_from_slice(head.as_bytes());
        self.0.extend_from_slice(content);
        self.0.extend_from_slice(b"\r\n");
        self
    }

    fn finish(mut self) -> Vec<u8> {
        self.0
            .extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
        self.0
    }
}

async fn submit(platform: &Platform, method: &str, path: &str, form: Form) -> Answer {
    submit_to(platform, method, &format!("{API}{path}"), form).await
}

/// The same, with the whole path.
async fn submit_to(platform: &Platform, method: &str, path: &str, form: Form) -> Answer {
    let body = form.finish();
    let length = body.len().to_string();
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    let headers = [("Content-Type", kind.as_str()), ("Content-Length", &length)];
    send(platform.address(), method, path, &headers, &body).await
}

fn archive<const N: usize>(files: [(&str, &[u8]); N]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        writer
            .start_file(name, zip::write::SimpleFileOptions::default())
            .unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// A form for a new image that is built from the text of a Dockerfile.
fn from_text(name: &str, dockerfile: &str) -> Form {
    Form::default()
        .text("name", name)
        .text("type", "workflow")
        .json(
            "buildDetails",
            &json!({"source": "dockerfile", "dockerfile": dockerfile}),
        )
}

async fn start(state: &Path) -> Platform {
    Platform::builder().state_dir(state).start().await.unwrap()
}

/// Follows a build's log to its end: the last page's answer and all lines.
async fn follow(platform: &Platform, image: &Value, build: &Value) -> (Value, Vec<String>) {
    let mut lines = Vec::new();
    let mut token = String::new();
    loop {
        let page = get(
            platform,
            &format!("/images/{image}/builds/{build}/logs?nextToken={token}"),
        )
        .await
        .json();
        lines.extend(
            page["logs"]
                .as_array()
                .unwrap()
                .iter()
                .map(|line| line["message"].as_str().unwrap().to_owned()),
        );
        // As the public client does it: there is always a token, and the end is where nothing comes any more.
        let is_over = page["buildStatus"] != "building";
        if is_over && page["logs"].as_array().unwrap().is_empty() {
            return (page, lines);
        }
        page["nextToken"].as_str().unwrap().clone_into(&mut token);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn files_in(directory: &Path) -> usize {
    std::fs::read_dir(directory).unwrap().count()
}

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

/// A platform with a small limit of artifacts and one image, named `web`.
async fn with_one_image(state: &Path) -> (Platform, Value) {
    let platform = Platform::builder()
        .state_dir(state)
        .artifact_limit(LIMIT)
        .start()
        .await
        .unwrap();
    let made = submit(
        &platform,
        "POST",
        "/images/",
        from_text("web", "FROM scratch\n"),
    )
    .await
    .json();
    follow(&platform, &made["imageId"], &made["buildId"]).await;
    (platform, made)
}

const LIMIT: u64 = 64 * 1024;

/// Ends the platform of refused requests: none of them left anything.
async fn assert_nothing_left(platform: Platform, state: &Path) {
    assert_eq!(get(&platform, "/images/").await.json()["imageCount"], 1);
    platform.shutdown().await;
    assert_eq!(files_in(&state.join("artifacts")), 0);
    assert_eq!(files_in(&state.join("builds")), 0);
}

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

async fn delete(platform: &Platform, path: &str) -> Answer {
    send(
        platform.address(),
        "DELETE",
        &format!("{API}{path}"),
        &[],
        b"",
    )
    .await
}

/// Waits until what is being deleted is gone; until then it must say that it goes.
async fn gone(platform: &Platform, path: &str) {
    eventually(async || {
        let answer = get(platform, path).await;
        if answer.status == 200 {
            let answer = answer.json();
            assert_eq!(answer["status"], "deleting", "{answer}");
            return None;
        }
        answer.refused(404);
        Some(())
    })
    .await;
}

/// The status of a manifest in the registry.
async fn manifest_status(platform: &Platform, name: &str, reference: &str) -> u16 {
    let target = format!("/v2/{name}/manifests/{reference}");
    send(platform.address(), "GET", &target, &[], b"")
        .await
        .status
}

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

#[tokio::test]
async fn a_restart_keeps_everything_but_the_port() {
    let state = tempfile::tempdir().unwrap();
    let platform = start(state.path()).await;
    let form = Form::default()
        .text("name", "web")
        .text("type", "api")
        .artifact(&archive([(
            "Dockerfile",
            b"FROM scratch\nCOPY Dockerfile /\n",
        )]));
    let made = submit(&platform, "POST", "/images/", form).await.json();
    let (image, build) = (&made["imageId"], &made["buildId"]);
    let (_, lines) = follow(&platform, image, build).await;
    let mut before = get(&platform, &format!("/images/{image}")).await.json();
    platform.shutdown().await;
    assert_eq!(files_in(&state.path().join("artifacts")), 1);

    let platform = start(state.path()).await;
    let (_, same_lines) = follow(&platform, image, build).await;
    assert_eq!(lines, same_lines);
    let mut after = get(&platform, &format!("/images/{image}")).await.json();
    let url = |image: &mut Value| image["latestVersion"]["pullUrl"].take();
    assert_eq!(url(&mut after), format!("{}/web:0.0.1", platform.address()));
    url(&mut before);
    assert_eq!(before, after);
    let manifest = send(
        platform.address(),
        "GET",
        "/v2/web/manifests/0.0.1",
        &[],
        b"",
    )
    .await;
    assert_eq!(manifest.status, 200);
    platform.shutdown().await;
    assert_eq!(
        files_in(&state.path().join("artifacts")),
        1,
        "the archive of the latest build stays"
    );
}

#[tokio::test]
async fn what_cannot_start_says_why() {
    let state = tempfile::tempdir().unwrap();
    let platform = start(state.path()).await;
    let error = Platform::builder()
        .state_dir(state.path())
        .start()
        .await
        .unwrap_err();
    assert!(matches!(error, LocalError::StateInUse { .. }), "{error}");
    let path = std::fs::canonicalize(state.path()).unwrap();
    assert!(
        error.to_string().contains(path.to_str().unwrap()),
        "{error}"
    );

    let other = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let listener = std::net::TcpListener::bind(taken).unwrap();
    let start = || Platform::builder().state_dir(other.path().join("state"));
    let error = start().listen(taken).start().await.unwrap_err();
    assert!(
        matches!(&error, LocalError::AddressInUse { address } if *address == taken),
        "{error}"
    );
    assert!(error.to_string().contains("in use"));
    drop(listener);
    let error = start()
        .listen("0.0.0.0:0".parse().unwrap())
        .start()
        .await
        .unwrap_err();
    assert!(
        matches!(error, LocalError::NotLoopback { .. }) && error.to_string().contains("loopback"),
        "{error}"
    );
    let error = start().token(Some("".into())).start().await.unwrap_err();
    assert!(matches!(error, LocalError::Token), "{error}");
    let error = Platform::builder().start().await.unwrap_err();
    assert!(matches!(error, LocalError::NoStateDirectory), "{error}");
    assert!(
        !other.path().join("state").exists(),
        "a refused start makes nothing"
    );
    platform.shutdown().await;
}

#[tokio::test]
async fn a_token_is_wanted_where_one_is_set() {
    let state = tempfile::tempdir().unwrap();
    let platform = Platform::builder()
        .state_dir(state.path())
        .token(Some("open-sesame".into()))
        .start()
        .await
        .unwrap();
    let ask = async |target: &str, authorization: Option<&str>| {
        let headers: Vec<_> = authorization
            .map(|value| ("Authorization", value))
            .into_iter()
            .collect();
        send(platform.address(), "GET", target, &headers, b"").await
    };
    let images = format!("{API}/images/");
    assert_eq!(ask(&images, Some("open-sesame")).await.status, 200);
    for wrong in [
        None,
        Some("open-sesam"),
        Some("Bearer open-sesame"),
        Some("Basic YWxpOm9wZW4tc2VzYW1l"),
    ] {
        let detail = ask(&images, wrong).await.refused(401);
        assert!(!detail.contains("sesame"));
    }
    assert_eq!(ask(&format!("{API}/nothing"), None).await.status, 401);
    assert_eq!(ask(ARTIFACTS, None).await.status, 401);
    assert_eq!(ask(ARTIFACTS, Some("open-sesame")).await.status, 200);
    assert_eq!(
        ask("/v2/", Some("Basic YWxpOm9wZW4tc2VzYW1l")).await.status,
        200
    );
    let scope = "/token?service=peak-registry&scope=repository:a:pull";
    assert_eq!(ask(scope, None).await.status, 401);
    let granted = ask(scope, Some("Basic YWxpOm9wZW4tc2VzYW1l")).await;
    let granted = format!("Bearer {}", granted.json()["token"].as_str().unwrap());
    assert_eq!(ask("/v2/a/tags/list", Some(&granted)).await.status, 404);
    assert_eq!(ask("/v2/b/tags/list", Some(&granted)).await.status, 401);
    assert_eq!(ask(&images, Some(&granted)).await.status, 401);
    let refused = ask("/v2/", Some("open-sesame")).await;
    assert_eq!(refused.status, 401);
    assert!(
        refused
            .head
            .to_ascii_lowercase()
            .contains("www-authenticate: basic realm="),
        "{}",
        refused.head
    );
    assert_eq!(refused.json()["errors"][0]["code"], "UNAUTHORIZED");
    assert!(!format!("{platform:?}").contains("sesame"));
    platform.shutdown().await;
}

#[tokio::test]
async fn a_log_is_downloaded_without_credentials_by_a_signed_url() {
    let state = tempfile::tempdir().unwrap();
    let platform = Platform::builder()
        .state_dir(state.path())
        .token(Some("open-sesame".into()))
        .start()
        .await
        .unwrap();
    let address = platform.address();
    let token = ("Authorization", "open-sesame");
    let ask = async |path: &str| send(address, "GET", &format!("{API}{path}"), &[token], b"").await;
    // More lines than a page of the log has.
    let dockerfile = format!("FROM scratch\n{}", "ENV A=b\n".repeat(600));
    let body = from_text("web", &dockerfile).finish();
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    let length = body.len().to_string();
    let headers = [
        token,
        ("Content-Type", kind.as_str()),
        ("Content-Length", &length),
    ];
    let made = send(address, "POST", &format!("{API}/images/"), &headers, &body)
        .await
        .json();
    let logs = format!(
        "/images/{}/builds/{}/logs",
        made["imageId"], made["buildId"]
    );
    let mut lines = Vec::new();
    let mut next = "0".to_owned();
    loop {
        let page = ask(&format!("{logs}?nextToken={next}")).await.json();
        let page_lines = page["logs"].as_array().unwrap();
        if page_lines.is_empty() && page["buildStatus"] != "building" {
            break;
        }
        for line in page_lines {
            lines.push(line["message"].as_str().unwrap().to_owned());
        }
        page["nextToken"].as_str().unwrap().clone_into(&mut next);
    }
    assert!(lines.len() > 500, "{}", lines.len());

    let url = ask(&format!("{logs}/download")).await.json();
    let url = url["downloadUrl"].as_str().unwrap().to_owned();
    let target = url
        .strip_prefix(&format!("http://{address}"))
        .expect("a URL on the same listener");
    let answer = send(address, "GET", target, &[], b"").await;
    assert_eq!(answer.status, 200, "{}", answer.head);
    assert!(
        answer
            .head
            .to_ascii_lowercase()
            .contains("content-type: text/plain")
    );
    let expected: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
    assert_eq!(unchunked(&answer), expected.as_bytes());
    let other = ask(&format!("{logs}/download")).await.json();
    assert_ne!(other["downloadUrl"], url);

    let (path, signature) = target.split_once("?signature=").unwrap();
    let turned: String = signature
        .chars()
        .map(|digit| match digit {
            '-' => '-',
            '0' => '1',
            _ => '0',
        })
        .collect();
    for wrong in [
        path.to_owned(),
        format!("{path}?signature="),
        format!("{path}?signature={turned}"),
    ] {
        send(address, "GET", &wrong, &[], b"").await.refused(403);
    }
    send(address, "POST", target, &[], b"").await.refused(405);
    let foreign = [("Host", "evil.example")];
    send(address, "GET", target, &foreign, b"")
        .await
        .refused(421);
    send(address, "GET", &format!("{API}{logs}/download"), &[], b"")
        .await
        .refused(401);
    ask("/images/1/builds/99/logs/download").await.refused(404);
    platform.shutdown().await;
    let platform = start(state.path()).await;
    send(platform.address(), "GET", target, &[], b"")
        .await
        .refused(403);
    platform.shutdown().await;
}

/// The body of an answer that may have come in chunks.
fn unchunked(answer: &Answer) -> Vec<u8> {
    if !answer
        .head
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked")
    {
        return answer.body.clone();
    }
    let mut body = Vec::new();
    let mut rest = answer.body.as_slice();
    loop {
        let end = rest.windows(2).position(|bytes| bytes == b"\r\n").unwrap();
        let size = std::str::from_utf8(&rest[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 2 + size + 2..];
    }
}

const ARTIFACTS: &str = "/artifacts/api/v1/artifacts/";

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

/// Waits for something that happens soon after, in a test that hangs where it never does.
async fn eventually<T>(mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    loop {
        if let Some(value) = attempt().await {
            return value;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Begins an upload that never goes on, and gives its connection once the server receives it.
async fn stalled_upload(platform: &Platform, state: &Path) -> TcpStream {
    let mut stream = TcpStream::connect(platform.address()).await.unwrap();
    let begun = from_text("web", "FROM scratch\n").artifact(&[7; 512]).0;
    let head = format!(
        "POST {API}/images/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\
         Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&begun).await.unwrap();
    let artifacts = state.join("artifacts");
    eventually(async || (files_in(&artifacts) == 1).then_some(())).await;
    stream
}

#[tokio::test]
async fn shutdown_cuts_what_does_not_end_and_frees_everything() {
    let state = tempfile::tempdir().unwrap();
    let builder = Platform::builder()
        .state_dir(state.path())
        .drain_timeout(Duration::from_millis(50));
    let platform = builder.start().await.unwrap();
    let address = platform.address();
    let idle = TcpStream::connect(address).await.unwrap();
    let stalled = stalled_upload(&platform, state.path()).await;
    platform.shutdown().await;
    assert_eq!(
        files_in(&state.path().join("artifacts")),
        0,
        "the half of an archive is gone"
    );
    assert!(TcpStream::connect(address).await.is_err());
    drop((idle, stalled));
    let platform = Platform::builder()
        .state_dir(state.path())
        .listen(address)
        .start()
        .await
        .unwrap();
    assert_eq!(platform.address(), address);
    platform.shutdown().await;
}

#[tokio::test]
async fn dropping_the_platform_ends_it_too() {
    let state = tempfile::tempdir().unwrap();
    let platform = start(state.path()).await;
    let address = platform.address();
    let stalled = stalled_upload(&platform, state.path()).await;
    drop(platform);
    eventually(async || TcpStream::connect(address).await.is_err().then_some(())).await;
    let artifacts = state.path().join("artifacts");
    eventually(async || (files_in(&artifacts) == 0).then_some(())).await;
    drop(stalled);
    let again = eventually(async || {
        Platform::builder()
            .state_dir(state.path())
            .start()
            .await
            .ok()
    })
    .await;
    again.shutdown().await;
}

/// Uploads are written to the disk on threads that the end of their connection does not stop.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_state_directory_is_free_as_soon_as_the_platform_has_ended() {
    let state = tempfile::tempdir().unwrap();
    for _ in 0..10 {
        let builder = Platform::builder()
            .state_dir(state.path())
            .drain_timeout(Duration::ZERO);
        let platform = builder.start().await.unwrap();
        let unfinished = state.path().join("registry/temporary");
        let pushes: Vec<_> = (0..8)
            .map(|_| {
                let address = platform.address();
                tokio::spawn(async move {
                    let mut stream = TcpStream::connect(address).await.unwrap();
                    let digest = "0".repeat(64);
                    let head = format!(
                        "POST /v2/a/blobs/uploads/?digest=sha256:{digest} HTTP/1.1\r\nHost: localhost\r\n\
                         Content-Length: 100000000000\r\n\r\n"
                    );
                    stream.write_all(head.as_bytes()).await.unwrap();
                    let bytes = vec![7; 1024 * 1024];
                    while stream.write_all(&bytes).await.is_ok() {}
                })
            })
            .collect();
        eventually(async || (files_in(&unfinished) == pushes.len()).then_some(())).await;
        platform.shutdown().await;
        for push in pushes {
            push.abort();
        }
        assert_eq!(files_in(&unfinished), 0, "no upload is left");
    }
}
