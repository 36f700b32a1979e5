//! What a registry can do, told of servers that each have ways of their own.

use std::fmt::Write as _;
use std::time::Duration;

use peak_oci::{Digest, Reference};
use peak_registry::{
    Authentication, Credentials, Deletes, DigestHeader, Mounts, NotAsked, Paging, ProbeOptions,
    ProbeReport, Probed, Ranges, ReferrersList, Registry, RegistryError,
};

use crate::script::{Request, Script, answer, with_headers};

/// How a scripted registry differs from one that can do everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quirk {
    None,
    NoRanges,
    OtherRange,
    NoReferrers,
    NoLinks,
    AllAtOnce,
    NoDigestHeader,
    NoHead,
    NoCatalog,
    NoDelete,
    NoChunks,
    NoMount,
}

const BLOB: &[u8] = b"a config of some bytes";

fn manifest() -> Vec<u8> {
    let digest = Digest::sha256_of(BLOB);
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{digest}","size":{}}},"layers":[]}}"#,
        BLOB.len()
    )
    .into_bytes()
}

/// Answers as a registry with one image `team/app:a`, and a tag `b` behind it.
#[expect(
    clippy::too_many_lines,
    reason = "one registry, and each line of it is an answer"
)]
fn registry(quirk: Quirk, request: &Request) -> Vec<u8> {
    let line = request.line();
    let (method, path) = line.split_once(' ').unwrap();
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let unknown = |code: &str| {
        let body = format!(r#"{{"errors":[{{"code":"{code}"}}]}}"#);
        answer("404 Not Found", &[], body.as_bytes())
    };
    let list = |name: &str, path: &str| {
        if quirk == Quirk::AllAtOnce {
            return answer(
                "200 OK",
                &[],
                format!(r#"{{"{name}":["a","b"]}}"#).as_bytes(),
            );
        }
        let entry = if query.contains("last=a") { "b" } else { "a" };
        let body = format!(r#"{{"{name}":["{entry}"]}}"#);
        let link = format!("<{path}?n=1&last=a>; rel=\"next\"");
        let linked = [("link", link.as_str())];
        let links = if quirk == Quirk::NoLinks || entry == "b" {
            &[][..]
        } else {
            &linked[..]
        };
        answer("200 OK", links, body.as_bytes())
    };
    match (method, path) {
        ("GET", "/v2/") => answer("200 OK", &[], b"{}"),
        ("GET", "/v2/_catalog") if quirk == Quirk::NoCatalog => {
            answer("401 Unauthorized", &[], b"")
        }
        ("GET", "/v2/_catalog") => list("repositories", path),
        ("GET", "/v2/team/app/tags/list") => list("tags", path),
        ("HEAD", _) if quirk == Quirk::NoHead => with_headers("405 Method Not Allowed", &[], b""),
        ("GET" | "HEAD", "/v2/team/app/manifests/a") => {
            let manifest = manifest();
            let digest = Digest::sha256_of(&manifest).to_string();
            let length = manifest.len().to_string();
            let mut headers = vec![
                ("content-type", "application/vnd.oci.image.manifest.v1+json"),
                ("content-length", length.as_str()),
            ];
            if quirk != Quirk::NoDigestHeader {
                headers.push(("docker-content-digest", &digest));
            }
            let body = if method == "GET" {
                manifest.as_slice()
            } else {
                b""
            };
            with_headers("200 OK", &headers, body)
        }
        ("GET", path) if path.starts_with("/v2/team/app/blobs/") => match quirk {
            Quirk::NoRanges => answer("200 OK", &[], BLOB),
            Quirk::OtherRange => {
                let range = format!("bytes 0-{}/{}", BLOB.len() - 1, BLOB.len());
                answer("206 Partial Content", &[("content-range", &range)], BLOB)
            }
            _ => {
                let range = format!("bytes 1-{}/{}", BLOB.len() - 1, BLOB.len());
                let part = &BLOB[1..];
                answer("206 Partial Content", &[("content-range", &range)], part)
            }
        },
        ("GET", path) if path.contains("/referrers/") => {
            if quirk == Quirk::NoReferrers {
                return answer("404 Not Found", &[], b"404 page not found");
            }
            let body = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
            let headers = [
                ("content-type", "application/vnd.oci.image.index.v1+json"),
                ("oci-filters-applied", "artifactType"),
            ];
            answer("200 OK", &headers, body)
        }
        ("POST", path) if query.contains("mount=") && quirk != Quirk::NoMount => {
            let location = format!("{path}mounted");
            answer("201 Created", &[("location", &location)], b"")
        }
        ("POST", path) => {
            let location = format!("{path}session?state=1");
            let headers = [
                ("location", location.as_str()),
                ("oci-chunk-min-length", "5242880"),
            ];
            answer("202 Accepted", &headers, b"")
        }
        ("PATCH", _) if quirk == Quirk::NoChunks => {
            answer("416 Requested Range Not Satisfiable", &[], b"")
        }
        ("PATCH", path) => {
            let location = format!("{path}?state=2");
            answer("202 Accepted", &[("location", &location)], b"")
        }
        ("PUT", _) => answer("201 Created", &[], b""),
        ("DELETE", path) if path.contains("/uploads/") => answer("204 No Content", &[], b""),
        ("DELETE", _) if quirk == Quirk::NoDelete => {
            let body = br#"{"errors":[{"code":"UNSUPPORTED"}]}"#;
            answer("405 Method Not Allowed", &[], body)
        }
        ("DELETE", path) if path.contains("/blobs/") => unknown("BLOB_UNKNOWN"),
        _ => unknown("MANIFEST_UNKNOWN"),
    }
}

fn options(server: &Script) -> ProbeOptions {
    let reference: Reference = format!("{}/team/app", server.address).parse().unwrap();
    ProbeOptions::new().image(&reference)
}

async fn probe(server: &Script, options: &ProbeOptions) -> ProbeReport {
    let registry = Registry::builder().build().unwrap();
    let host = server.address.to_string();
    registry.probe(&host, options).await.unwrap()
}

async fn with_quirk(quirk: Quirk) -> (ProbeReport, Script) {
    let server = Script::start(move |_, request| registry(quirk, request)).await;
    let options = options(&server)
        .write_to("team/one".parse().unwrap())
        .mount_into("team/two".parse().unwrap());
    (probe(&server, &options).await, server)
}

fn found<T>(probed: Probed<T>) -> T {
    match probed {
        Probed::Found(found) => found,
        Probed::NotAsked(why) => panic!("not asked: {why:?}"),
        Probed::Failed(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_registry_that_can_do_everything_is_found_to() {
    let (report, server) = with_quirk(Quirk::None).await;
    assert_eq!(report.authentication, Authentication::None);
    assert!(matches!(report.token, Probed::NotAsked(NotAsked::NoTokens)));
    found(report.access);
    assert_eq!(found(report.catalog), Paging::Links);
    assert_eq!(found(report.tags), Paging::Links);
    let manifests = found(report.manifests);
    assert_eq!(
        (manifests.head, manifests.digest),
        (true, DigestHeader::Right)
    );
    assert_eq!(found(report.ranges), Ranges::Honoured { from: None });
    assert_eq!(
        found(report.referrers),
        ReferrersList::Registry { filters: true }
    );
    let uploads = found(report.uploads);
    assert_eq!(
        (uploads.chunks, uploads.smallest_chunk, uploads.cancels),
        (true, Some(5_242_880), true)
    );
    let deletion = found(report.deletion);
    assert_eq!(
        (deletion.manifests, deletion.tags, deletion.blobs),
        (Deletes::Yes, Deletes::Yes, Deletes::Yes)
    );
    assert_eq!(found(report.mounts), Mounts::Yes);
    assert!(report.left_behind.is_empty());

    let lines: Vec<_> = server
        .requests()
        .iter()
        .map(|request| request.line().to_owned())
        .collect();
    // The session went on where its last answer said, and was ended there.
    assert!(lines.contains(&"DELETE /v2/team/one/blobs/uploads/session?state=2".to_owned()));
    // What was stored for the mount was deleted in both.
    for repository in ["one", "two"] {
        let deleted = lines.iter().filter(|line| {
            line.starts_with(&format!("DELETE /v2/team/{repository}/blobs/sha256:"))
        });
        assert!(deleted.count() >= 1, "{lines:#?}");
    }
}

#[tokio::test]
async fn nothing_is_written_where_nobody_says_that_it_may_be() {
    let server = Script::start(|_, request| registry(Quirk::None, request)).await;
    let report = probe(&server, &options(&server)).await;
    assert!(matches!(
        report.mounts,
        Probed::NotAsked(NotAsked::NeedsLeaveToWrite)
    ));
    for request in server.requests() {
        let line = request.line();
        assert!(
            line.starts_with("GET ") || line.starts_with("HEAD "),
            "{line}"
        );
    }
}

#[tokio::test]
async fn without_a_repository_only_the_registry_itself_is_asked() {
    let server = Script::start(|_, request| registry(Quirk::None, request)).await;
    let report = probe(&server, &ProbeOptions::new()).await;
    assert!(matches!(
        report.ranges,
        Probed::NotAsked(NotAsked::NeedsRepository)
    ));
    assert_eq!(found(report.catalog), Paging::Links);
}

#[tokio::test]
async fn each_quirk_is_found_and_nothing_else_beside_it() {
    let mut text = String::new();
    for quirk in [
        Quirk::NoRanges,
        Quirk::OtherRange,
        Quirk::NoReferrers,
        Quirk::NoLinks,
        Quirk::AllAtOnce,
        Quirk::NoDigestHeader,
        Quirk::NoHead,
        Quirk::NoCatalog,
        Quirk::NoDelete,
        Quirk::NoChunks,
        Quirk::NoMount,
    ] {
        let (usual, _) = with_quirk(Quirk::None).await;
        let (report, _) = with_quirk(quirk).await;
        let differs: Vec<String> = parts(report)
            .into_iter()
            .zip(parts(usual))
            .filter(|(ours, theirs)| ours != theirs)
            .map(|(ours, _)| ours)
            .collect();
        writeln!(text, "{quirk:?}: {}", differs.join("; ")).unwrap();
    }
    let expected = "\
NoRanges: ranges Ignored
OtherRange: ranges Wrong
NoReferrers: referrers FallbackTag
NoLinks: catalog WithoutLinks; tags WithoutLinks
AllAtOnce: catalog AllAtOnce { entries: 2 }; tags AllAtOnce { entries: 2 }
NoDigestHeader: manifests ManifestHeaders { head: true, digest: Missing }
NoHead: manifests ManifestHeaders { head: false, digest: Right }
NoCatalog: catalog Refused { status: 401 }
NoDelete: deletion Deletion { manifests: No, tags: No, blobs: No }; left behind 2
NoChunks: uploads BlobUploads { chunks: false, smallest_chunk: Some(5242880), cancels: true }
NoMount: mounts No
";
    assert_eq!(text, expected);
}

/// What was found, each as one text.
fn parts(report: ProbeReport) -> Vec<String> {
    fn part<T: std::fmt::Debug>(name: &str, probed: Probed<T>) -> String {
        format!("{name} {:?}", found(probed))
    }
    vec![
        part("catalog", report.catalog),
        part("tags", report.tags),
        part("manifests", report.manifests),
        part("ranges", report.ranges),
        part("referrers", report.referrers),
        part("uploads", report.uploads),
        part("deletion", report.deletion),
        part("mounts", report.mounts),
        format!("left behind {}", report.left_behind.len()),
    ]
}

#[tokio::test]
async fn a_registry_with_basic_authentication_says_so_and_lets_us_in() {
    let server = Script::start(|_, request| {
        // "robot:secret"
        if request.header("authorization") == Some("Basic cm9ib3Q6c2VjcmV0") {
            return registry(Quirk::None, request);
        }
        let challenge = [("www-authenticate", "Basic realm=\"a \u{9b}2J realm\"")];
        answer("401 Unauthorized", &challenge, b"")
    })
    .await;
    let host = server.address.to_string();
    let registry = Registry::builder()
        .credentials(&host, Credentials::new("robot", "secret".into()))
        .build()
        .unwrap();
    let report = registry.probe(&host, &options(&server)).await.unwrap();
    let Authentication::Basic { realm: Some(realm) } = &report.authentication else {
        panic!("{report:?}");
    };
    assert!(!realm.contains('\u{9b}'), "{realm:?}");
    found(report.access);
    assert_eq!(found(report.ranges), Ranges::Honoured { from: None });
    assert!(!format!("{:?}", report.authentication).contains("secret"));

    let nobody = Registry::builder().build().unwrap();
    let report = nobody.probe(&host, &options(&server)).await.unwrap();
    assert!(
        matches!(
            report.access,
            Probed::Failed(RegistryError::Unauthorized { .. })
        ),
        "{report:?}"
    );
    let Probed::Found(Paging::Refused { status }) = report.tags else {
        panic!("{report:?}");
    };
    assert_eq!(status, 401);
}

#[tokio::test]
async fn the_lifetime_of_tokens_is_what_their_server_says() {
    for (said, seconds) in [(r#","expires_in":60"#, Some(60)), ("", None)] {
        let body = format!(r#"{{"token":"t0ken-s3cret"{said}}}"#);
        let server = Script::start(move |_, request| {
            if request.line().starts_with("GET /token?") {
                return answer("200 OK", &[], body.as_bytes());
            }
            if request.header("authorization") == Some("Bearer t0ken-s3cret") {
                return registry(Quirk::None, request);
            }
            let challenge = "Bearer realm=\"/token?hidden=s3cret\",service=\"one\"";
            answer("401 Unauthorized", &[("www-authenticate", challenge)], b"")
        })
        .await;
        let report = probe(&server, &options(&server)).await;
        let shown = format!("{report:?}");
        assert!(!shown.contains("s3cret"), "{shown}");
        let Authentication::Bearer { realm, service } = &report.authentication else {
            panic!("{report:?}");
        };
        assert_eq!(*realm, format!("http://{}/token", server.address));
        assert_eq!(service.as_deref(), Some("one"));
        let lifetime = found(report.token);
        assert_eq!(lifetime.said, seconds.map(Duration::from_secs));
        assert_eq!(found(report.tags), Paging::Links);
        let asked = server.requests().into_iter().any(|request| {
            request
                .line()
                .contains("scope=repository%3Ateam%2Fapp%3Apull")
        });
        assert!(asked, "{:?}", server.requests());
    }
}

#[tokio::test]
async fn what_is_no_registry_is_not_asked_further() {
    for (status, content_type) in [
        ("200 OK", "text/html; charset=utf-8"),
        ("404 Not Found", "text/plain"),
    ] {
        let server =
            Script::start(move |_, _| answer(status, &[("content-type", content_type)], b"hello"))
                .await;
        let registry = Registry::builder().build().unwrap();
        let host = server.address.to_string();
        let error = registry.probe(&host, &ProbeOptions::new()).await;
        assert!(
            matches!(error, Err(RegistryError::InvalidResponse { .. })),
            "{error:?}"
        );
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_registry_that_says_nothing_is_given_up_in_time() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let registry = Registry::builder().build().unwrap();
    let options = ProbeOptions::new().time_limit(Duration::from_millis(50));
    let error = registry.probe(&host, &options).await.unwrap_err();
    let RegistryError::Transport { source, .. } = &error else {
        panic!("{error:?}");
    };
    assert!(source.is_timeout(), "{source:?}");
    drop(listener);
}
