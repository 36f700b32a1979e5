//! Uploads of blobs to registries of every kind.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use peak_oci::{
    BlobEvent, BlobOutcome, BlobRead, BoxFuture, ContentError, ContentErrorKind, Descriptor,
    Digest, Manifest, MediaType, Raw, Selector, Sink as _, Source,
};
use peak_registry::{Registry, RegistryError, Repository, UploadOptions, UploadState};

use crate::script::{Request, Script, answer};

const MIB: usize = 1024 * 1024;
const SIZE: usize = 10 * MIB;

/// A blob of which no part is like another.
pub(crate) fn content(size: usize) -> Bytes {
    let numbers =
        (0_u64..).flat_map(|number| number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
    numbers.take(size).collect()
}

pub(crate) fn layer(content: &[u8]) -> Descriptor {
    Descriptor::of(MediaType::OCI_LAYER, content)
}

/// A source with one blob, that says where it was opened.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) content: Bytes,
    /// After so many bytes of the first reading nothing more comes.
    stalls_at: Option<usize>,
    pub(crate) opened: Mutex<Vec<u64>>,
}

impl Memory {
    pub(crate) fn new(content: Bytes) -> Self {
        Self {
            content,
            ..Self::default()
        }
    }
}

impl Source for Memory {
    fn manifest<'a>(
        &'a self,
        _: Option<&'a Selector>,
    ) -> BoxFuture<'a, Result<Raw<Manifest>, ContentError>> {
        Box::pin(async { Err(ContentError::new(ContentErrorKind::NotFound, "only a blob")) })
    }

    fn blob<'a>(
        &'a self,
        _: &'a Descriptor,
        offset: u64,
    ) -> BoxFuture<'a, Result<BlobRead, ContentError>> {
        self.opened.lock().unwrap().push(offset);
        let start = usize::try_from(offset).unwrap();
        let end = self.stalls_at.unwrap_or(self.content.len());
        let rest = self.content.slice(start..end.max(start));
        let pieces: Vec<Bytes> = (0..rest.len())
            .step_by(100_000)
            .map(|at| rest.slice(at..rest.len().min(at + 100_000)))
            .collect();
        let size = Some(self.content.len() as u64);
        let pieces = stream::iter(pieces.into_iter().map(Ok));
        Box::pin(async move {
            Ok(if self.stalls_at.is_some() {
                BlobRead::new(offset, size, Box::pin(pieces.chain(stream::pending())))
            } else {
                BlobRead::new(offset, size, Box::pin(pieces))
            })
        })
    }
}

/// What a registry does as it should. It checks that each request goes where it said last.
#[derive(Clone, Default)]
struct Honest(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    requests: usize,
    sessions: usize,
    last: String,
    bytes: Vec<u8>,
    stored: Option<Vec<u8>>,
    min_chunk: usize,
}

impl Honest {
    fn with_bytes(bytes: &[u8]) -> Self {
        let site = Self::default();
        site.0.lock().unwrap().bytes = bytes.to_vec();
        site
    }

    fn stored(&self) -> Option<Vec<u8>> {
        self.0.lock().unwrap().stored.clone()
    }

    fn begin(&self) -> Vec<u8> {
        let mut kept = self.0.lock().unwrap();
        kept.sessions += 1;
        kept.bytes.clear();
        kept.accepted("202 Accepted")
    }

    fn answer(&self, request: &Request) -> Vec<u8> {
        let (method, target) = request.line().split_once(' ').unwrap();
        if method == "POST" {
            return self.begin();
        }
        let mut kept = self.0.lock().unwrap();
        if method == "HEAD" {
            return match &kept.stored {
                Some(bytes) => answer(
                    "200 OK",
                    &[("content-length", &bytes.len().to_string())],
                    b"",
                ),
                None => answer("404 Not Found", &[], b""),
            };
        }
        if !kept.last.is_empty() {
            let asked = target
                .split_once("&digest=")
                .map_or(target, |(place, _)| place);
            assert_eq!(asked, kept.last);
        }
        match method {
            "GET" => kept.accepted("204 No Content"),
            "PATCH" => {
                let range = request.header("content-range").unwrap();
                let (start, end) = range.split_once('-').unwrap();
                let (start, end): (usize, usize) = (start.parse().unwrap(), end.parse().unwrap());
                assert_eq!(end + 1 - start, request.body().len());
                if start != kept.bytes.len() {
                    return kept.accepted("416 Range Not Satisfiable");
                }
                kept.bytes.extend_from_slice(request.body());
                kept.accepted("202 Accepted")
            }
            "PUT" => {
                kept.bytes.extend_from_slice(request.body());
                let digest = Digest::sha256_of(&kept.bytes).to_string();
                let (_, said) = target.split_once("digest=").unwrap();
                if said != digest {
                    return answer("400 Bad Request", &[], &error_body("DIGEST_INVALID"));
                }
                kept.stored = Some(std::mem::take(&mut kept.bytes));
                answer("201 Created", &[("docker-content-digest", &digest)], b"")
            }
            "DELETE" => answer("204 No Content", &[], b""),
            other => panic!("{other}"),
        }
    }
}

impl Kept {
    fn accepted(&mut self, status: &str) -> Vec<u8> {
        self.requests += 1;
        self.last = format!("/upload/{}?_state=a%2Fb{}", self.sessions, self.requests);
        let range = format!("0-{}", self.bytes.len().saturating_sub(1));
        let least = self.min_chunk.to_string();
        let mut headers = vec![("location", self.last.as_str()), ("range", &range)];
        if self.min_chunk > 0 {
            headers.push(("oci-chunk-min-length", &least));
        }
        answer(status, &headers, b"")
    }
}

fn error_body(code: &str) -> Vec<u8> {
    format!(r#"{{"errors":[{{"code":"{code}"}}]}}"#).into_bytes()
}

/// Method and `Content-Range` or length of the body of each request.
fn course(server: &Script) -> Vec<String> {
    server
        .requests()
        .iter()
        .map(|request| {
            let (method, _) = request.line().split_once(' ').unwrap();
            match (method, request.header("content-range")) {
                ("PATCH", Some(range)) => format!("PATCH {range}"),
                ("PUT", _) => format!("PUT {}", request.body().len()),
                _ => method.to_owned(),
            }
        })
        .collect()
}

fn is(request: &Request, method: &str) -> bool {
    request.line().starts_with(method)
}

async fn upload(repository: &Repository, content: &Bytes) -> Result<BlobOutcome, RegistryError> {
    let source = Memory::new(content.clone());
    repository
        .upload_blob(&layer(content), &source, &UploadOptions::new())
        .await
}

/// Answers one kind of request, by how many of them there were before; `None` is an honest answer.
async fn odd(
    method: &'static str,
    site: &Honest,
    how: impl Fn(usize, &Request) -> Option<Vec<u8>> + Send + Sync + 'static,
) -> Script {
    let site = site.clone();
    let seen = Mutex::new(0);
    Script::start(move |_, request| {
        if is(request, method) {
            let number = {
                let mut seen = seen.lock().unwrap();
                *seen += 1;
                *seen - 1
            };
            if let Some(odd) = how(number, request) {
                return odd;
            }
        }
        site.answer(request)
    })
    .await
}

/// Does not take more than so much at once.
async fn limited(site: &Honest, most: usize) -> Script {
    let site = site.clone();
    Script::start(move |_, request| {
        if request.body().len() > most {
            return answer("413 Payload Too Large", &[], b"<html>");
        }
        site.answer(request)
    })
    .await
}

#[tokio::test]
async fn a_blob_goes_in_one_request_where_the_registry_takes_it() {
    let site = Honest::default();
    let server = odd("-", &site, |_, _| None).await;
    let content = content(SIZE);
    let events = Mutex::new(Vec::new());
    let listener = |event| events.lock().unwrap().push(event);
    let source = Memory::new(content.clone());
    let outcome = server
        .repository()
        .upload_blob(
            &layer(&content),
            &source,
            &UploadOptions::new().progress(&listener),
        )
        .await
        .unwrap();
    assert_eq!(outcome, BlobOutcome::Copied);
    assert_eq!(site.stored().unwrap(), content);
    assert_eq!(course(&server), ["HEAD", "POST", &format!("PUT {SIZE}")]);
    let events = events.into_inner().unwrap();
    assert_eq!(events.first(), Some(&BlobEvent::Started { offset: 0 }));
    let told: u64 = events
        .iter()
        .map(|event| match event {
            BlobEvent::Bytes { count } => *count,
            _ => 0,
        })
        .sum();
    assert_eq!(told, SIZE as u64);
    // The next time it is there.
    let again = upload(&server.repository(), &content).await.unwrap();
    assert_eq!(again, BlobOutcome::Present);
}

#[tokio::test]
async fn a_registry_that_takes_less_at_once_gets_chunks_from_then_on() {
    let site = Honest::default();
    let server = limited(&site, 4 * MIB).await;
    let repository = server.repository();
    let first = content(SIZE);
    upload(&repository, &first).await.unwrap();
    assert_eq!(site.stored().unwrap(), first);
    let chunks = [
        "PATCH 0-4194303",
        "PATCH 4194304-8388607",
        "PATCH 8388608-10485759",
        "PUT 0",
    ];
    let asked = course(&server);
    assert_eq!(asked[..3], ["HEAD", "POST", "PUT 10485760"]);
    assert_eq!(asked[3..], chunks);

    // Another blob of the same registry is not sent in vain; a small one goes in one piece.
    site.0.lock().unwrap().stored = None;
    let second = content(SIZE - 1);
    upload(&repository, &second).await.unwrap();
    assert_eq!(course(&server)[asked.len()..][2], chunks[0]);
    site.0.lock().unwrap().stored = None;
    upload(&repository, &content(1000)).await.unwrap();
    assert_eq!(course(&server).last().unwrap(), "PUT 1000");
}

#[tokio::test]
async fn chunks_become_smaller_until_a_proxy_lets_them_through() {
    let site = Honest::default();
    let server = limited(&site, MIB).await;
    let content = content(3 * MIB);
    upload(&server.repository(), &content).await.unwrap();
    assert_eq!(site.stored().unwrap(), content);
    assert_eq!(course(&server)[4], "PATCH 0-786431");

    let server = limited(&Honest::default(), 1000).await;
    let error = upload(&server.repository(), &content).await.unwrap_err();
    assert!(error.to_string().contains("413"), "{error}");
    assert!(course(&server).len() < 20, "{:?}", course(&server));
}

#[tokio::test]
async fn a_registry_that_wants_larger_chunks_gets_them() {
    let site = Honest::default();
    site.0.lock().unwrap().min_chunk = 5 * MIB;
    let server = limited(&site, 6 * MIB).await;
    let content = content(SIZE + 1);
    upload(&server.repository(), &content).await.unwrap();
    assert_eq!(site.stored().unwrap(), content);
    assert_eq!(
        course(&server)[3..],
        [
            "PATCH 0-5242879",
            "PATCH 5242880-10485759",
            "PATCH 10485760-10485760",
            "PUT 0"
        ]
    );
}

#[tokio::test]
async fn a_limit_that_is_known_beforehand_is_kept() {
    let site = Honest::default();
    let server = odd("-", &site, |_, _| None).await;
    let registry = Registry::builder()
        .single_put_limit(&server.address.to_string(), 1000)
        .build()
        .unwrap();
    let repository = registry.repository(&server.reference());
    let content = content(5 * MIB);
    upload(&repository, &content).await.unwrap();
    assert_eq!(site.stored().unwrap(), content);
    assert_eq!(
        course(&server)[2..],
        ["PATCH 0-4194303", "PATCH 4194304-5242879", "PUT 0"]
    );
}

#[tokio::test]
async fn whatever_a_registry_says_of_what_it_has_the_next_chunk_is_the_next() {
    for how in ["bytes=0-N", "0-N+1", "none", "0-0", "last", "before"] {
        let site = Honest::default();
        let honest = site.clone();
        let server = Script::start(move |_, request| {
            if is(request, "PUT") && request.body().len() > 4 * MIB {
                return answer("413 Payload Too Large", &[], b"");
            }
            let said = honest.answer(request);
            if !is(request, "PATCH") {
                return said;
            }
            let kept = honest.0.lock().unwrap();
            let (has, last) = (kept.bytes.len(), request.body().len());
            let range = match how {
                "bytes=0-N" => format!("bytes=0-{}", has - 1),
                "0-N+1" => format!("0-{has}"),
                "0-0" => "0-0".to_owned(),
                "last" => format!("0-{}", last - 1),
                _ => format!("0-{}", (has - last).saturating_sub(1)),
            };
            let mut headers = vec![("location", kept.last.as_str())];
            if how != "none" {
                headers.push(("range", &range));
            }
            // ECR says "created".
            answer("201 Created", &headers, b"")
        })
        .await;
        let content = content(SIZE);
        upload(&server.repository(), &content).await.unwrap();
        assert_eq!(site.stored().unwrap(), content, "{how}");
        let asked = course(&server);
        assert_eq!(
            asked[5..],
            ["PATCH 8388608-10485759", "PUT 0"],
            "{how}: {asked:?}"
        );
    }
}

#[tokio::test]
async fn after_a_lost_connection_the_registry_is_asked_how_much_it_has() {
    let site = Honest::default();
    let honest = site.clone();
    let server = odd("PUT", &site, move |number, request| {
        // A part arrived, and then the connection broke.
        (number == 0).then(|| {
            honest.0.lock().unwrap().bytes = request.body()[..MIB].to_vec();
            Vec::new()
        })
    })
    .await;
    let content = content(3 * MIB);
    let source = Memory::new(content.clone());
    let events = Mutex::new(Vec::new());
    let listener = |event| events.lock().unwrap().push(event);
    server
        .repository()
        .upload_blob(
            &layer(&content),
            &source,
            &UploadOptions::new().progress(&listener),
        )
        .await
        .unwrap();
    assert_eq!(site.stored().unwrap(), content);
    assert_eq!(
        course(&server)[2..],
        ["PUT 3145728", "GET", "PATCH 1048576-3145727", "PUT 0"]
    );
    assert_eq!(*source.opened.lock().unwrap(), [0, MIB as u64]);
    let events = events.into_inner().unwrap();
    assert!(
        events.contains(&BlobEvent::Retried { offset: 0 }),
        "{events:?}"
    );
}

#[tokio::test]
async fn a_registry_that_has_not_read_yet_what_came_is_asked_once_more() {
    let site = Honest::default();
    let honest = site.clone();
    let arrived = Mutex::new(None);
    let server = Script::start(move |_, request| {
        if is(request, "PUT") && request.body().len() == 3 * MIB {
            *arrived.lock().unwrap() = Some(request.body()[..MIB].to_vec());
            return Vec::new();
        }
        let said = honest.answer(request);
        if is(request, "GET")
            && let Some(bytes) = arrived.lock().unwrap().take()
        {
            honest.0.lock().unwrap().bytes = bytes;
        }
        said
    })
    .await;
    let content = content(3 * MIB);
    let source = Memory::new(content.clone());
    server
        .repository()
        .upload_blob(&layer(&content), &source, &UploadOptions::new())
        .await
        .unwrap();
    assert_eq!(site.stored().unwrap(), content);
    assert_eq!(
        course(&server)[2..],
        [
            "PUT 3145728",
            "GET",
            "GET",
            "PATCH 1048576-3145727",
            "PUT 0"
        ]
    );
    assert_eq!(*source.opened.lock().unwrap(), [0, MIB as u64]);
}

#[tokio::test]
async fn a_blob_whose_last_answer_is_lost_is_found_to_be_there() {
    let site = Honest::default();
    let honest = site.clone();
    let server = Script::start(move |_, request| {
        let stored = honest.stored().is_some();
        if is(request, "GET") && stored {
            return answer("404 Not Found", &[], b"");
        }
        let said = honest.answer(request);
        if is(request, "PUT") { Vec::new() } else { said }
    })
    .await;
    let content = content(MIB);
    let outcome = upload(&server.repository(), &content).await.unwrap();
    assert_eq!(outcome, BlobOutcome::Copied);
    assert_eq!(
        course(&server),
        ["HEAD", "POST", "PUT 1048576", "GET", "HEAD"]
    );
}

#[tokio::test]
async fn a_registry_that_wants_to_go_on_elsewhere_is_followed() {
    for says_where in [true, false] {
        let site = Honest::default();
        let honest = site.clone();
        let server = Script::start(move |_, request| {
            if is(request, "PUT") && request.body().len() > 4 * MIB {
                return answer("413 Payload Too Large", &[], b"");
            }
            if request.header("content-range") == Some("4194304-8388607") {
                let mut kept = honest.0.lock().unwrap();
                if kept.bytes.len() == 4 * MIB {
                    // It has lost a part.
                    kept.bytes.truncate(3 * MIB);
                    if !says_where {
                        return answer("416 Range Not Satisfiable", &[], b"");
                    }
                }
            }
            honest.answer(request)
        })
        .await;
        let content = content(SIZE);
        upload(&server.repository(), &content).await.unwrap();
        assert_eq!(site.stored().unwrap(), content);
        let asked = course(&server);
        assert!(
            asked.contains(&"PATCH 3145728-7340031".to_owned()),
            "{asked:?}"
        );
        assert_eq!(asked.contains(&"GET".to_owned()), !says_where, "{asked:?}");
    }
}

#[tokio::test]
async fn a_session_that_is_lost_is_followed_by_a_new_one() {
    for (status, code) in [
        ("404 Not Found", "BLOB_UPLOAD_INVALID"),
        ("404 Not Found", "BLOB_UPLOAD_UNKNOWN"),
        ("416 Range Not Satisfiable", "BLOB_UPLOAD_INVALID"),
    ] {
        let site = Honest::default();
        let server = odd("PUT", &site, move |number, _| {
            (number == 0).then(|| answer(status, &[], &error_body(code)))
        })
        .await;
        let content = content(MIB);
        upload(&server.repository(), &content).await.unwrap();
        assert_eq!(site.stored().unwrap(), content);
        assert_eq!(
            course(&server),
            ["HEAD", "POST", "PUT 1048576", "POST", "PUT 1048576"]
        );
    }
}

#[tokio::test]
async fn a_registry_without_status_and_without_chunks_gets_the_whole_once_more() {
    // As Google's Artifact Registry, when the connection broke.
    let site = Honest::default();
    let honest = site.clone();
    let first = Mutex::new(true);
    let server = Script::start(move |_, request| {
        if is(request, "PATCH") {
            return answer("400 Bad Request", &[], &error_body("UNSUPPORTED"));
        }
        if is(request, "PUT") && std::mem::take(&mut *first.lock().unwrap()) {
            honest.0.lock().unwrap().bytes = request.body()[..1000].to_vec();
            return Vec::new();
        }
        honest.answer(request)
    })
    .await;
    let content = content(MIB);
    upload(&server.repository(), &content).await.unwrap();
    assert_eq!(site.stored().unwrap(), content);
    assert_eq!(
        course(&server)[3..],
        [
            "GET",
            "PATCH 1000-1048575",
            "DELETE",
            "HEAD",
            "POST",
            "PUT 1048576"
        ]
    );
}

#[tokio::test]
async fn a_blob_of_another_repository_is_mounted_or_sent() {
    for (status, expected) in [
        ("201 Created", BlobOutcome::Mounted),
        ("202 Accepted", BlobOutcome::Copied),
        ("400 Bad Request", BlobOutcome::Copied),
        ("403 Forbidden", BlobOutcome::Copied),
        ("500 Internal Server Error", BlobOutcome::Copied),
    ] {
        let site = Honest::default();
        let blob = content(MIB);
        let (honest, sent) = (site.clone(), blob.clone());
        let server = Script::start(move |_, request| {
            if is(request, "GET /v2/other/place/blobs/") {
                return answer("200 OK", &[], &sent);
            }
            if request.line().contains("mount=") {
                return match status {
                    "202 Accepted" => honest.begin(),
                    status => answer(status, &[], b""),
                };
            }
            honest.answer(request)
        })
        .await;
        let registry = Registry::builder().build().unwrap();
        let place = |name: &str| {
            registry.repository(&format!("{}/{name}", server.address).parse().unwrap())
        };
        let from = place("other/place");
        let outcome = place("team/app")
            .take_blob(&layer(&blob), &from, &|_| {})
            .await;
        assert_eq!(outcome.unwrap(), expected, "{status}");
        let digest = Digest::sha256_of(&blob).to_string().replace(':', "%3A");
        let asked: Vec<_> = server
            .requests()
            .iter()
            .map(|one| one.line().to_owned())
            .collect();
        assert_eq!(
            asked[1],
            format!("POST /v2/team/app/blobs/uploads/?mount={digest}&from=other%2Fplace")
        );
        let mut kinds = course(&server);
        kinds.retain(|kind| kind == "POST");
        let posts = match status {
            "201 Created" | "202 Accepted" => 1,
            // Asked again, as with any trouble of the server's.
            "500 Internal Server Error" => 5,
            _ => 2,
        };
        assert_eq!(kinds.len(), posts, "{status}: {asked:?}");
    }
}

#[tokio::test]
async fn a_blob_that_was_seen_in_a_repository_is_mounted_from_there() {
    let site = Honest::default();
    let honest = site.clone();
    let server = Script::start(move |_, request| {
        if request.line().contains("mount=") {
            return answer("201 Created", &[], b"");
        }
        honest.answer(request)
    })
    .await;
    let registry = Registry::builder().build().unwrap();
    let blob = content(1000);
    for (name, expected) in [
        ("first", BlobOutcome::Copied),
        ("second", BlobOutcome::Mounted),
    ] {
        let repository =
            registry.repository(&format!("{}/{name}", server.address).parse().unwrap());
        assert_eq!(upload(&repository, &blob).await.unwrap(), expected);
        site.0.lock().unwrap().stored = None;
    }
    let last = server.requests().pop().unwrap();
    assert!(last.line().ends_with("&from=first"), "{}", last.line());
}

#[tokio::test]
async fn a_blob_of_another_registry_is_not_mounted() {
    let blob = content(MIB);
    let sent = blob.clone();
    let other = Script::start(move |_, _| answer("200 OK", &[], &sent)).await;
    let site = Honest::default();
    let server = odd("-", &site, |_, _| None).await;
    let outcome = server
        .repository()
        .take_blob(&layer(&blob), &other.repository(), &|_| {})
        .await;
    assert_eq!(outcome.unwrap(), BlobOutcome::Copied);
    assert_eq!(site.stored().unwrap(), blob);
    assert_eq!(course(&server), ["HEAD", "POST", "PUT 1048576"]);
}

#[tokio::test]
async fn wrong_bytes_never_arrive_whole_and_the_session_is_cancelled() {
    for wrong in ["changed", "short", "long"] {
        let right = content(MIB);
        let mut other = right.to_vec();
        match wrong {
            "changed" => other[MIB - 1] ^= 1,
            "short" => other.truncate(MIB - 1),
            _ => {
                other[0] ^= 1;
                other.push(0);
            }
        }
        let site = Honest::default();
        let server = odd("-", &site, |_, _| None).await;
        let source = Memory::new(other.into());
        let error = server
            .repository()
            .upload_blob(&layer(&right), &source, &UploadOptions::new())
            .await
            .unwrap_err();
        let kind = ContentError::from(error).kind();
        assert_eq!(kind, ContentErrorKind::Integrity, "{wrong}");
        assert_eq!(site.stored(), None);
        // The request with the blob never became one.
        assert_eq!(course(&server), ["HEAD", "POST", "DELETE"], "{wrong}");
    }
}

#[tokio::test]
async fn a_refusal_ends_the_upload_with_its_reason() {
    let server = odd("PUT", &Honest::default(), |_, _| {
        Some(answer("403 Forbidden", &[], &error_body("DENIED")))
    })
    .await;
    let error = upload(&server.repository(), &content(MIB))
        .await
        .unwrap_err();
    assert!(matches!(error, RegistryError::Denied { .. }), "{error}");
    assert_eq!(course(&server).last().unwrap(), "DELETE");

    let other = Digest::sha256_of(b"other").to_string();
    let server = odd("PUT", &Honest::default(), move |_, _| {
        Some(answer(
            "201 Created",
            &[("docker-content-digest", &other)],
            b"",
        ))
    })
    .await;
    let error = upload(&server.repository(), &content(MIB))
        .await
        .unwrap_err();
    assert!(matches!(error, RegistryError::Stored { .. }), "{error}");
}

#[tokio::test]
async fn a_registry_that_never_gets_further_is_given_up() {
    let server = odd("PUT", &Honest::default(), |_, _| Some(Vec::new())).await;
    let refuses = odd("PATCH", &Honest::default(), |_, _| Some(Vec::new())).await;
    let _ = upload(&server.repository(), &content(MIB)).await;
    // Four times each, since a request without a body may be repeated.
    assert!(course(&server).len() < 80, "{:?}", course(&server));
    let registry = Registry::builder()
        .single_put_limit(&refuses.address.to_string(), 1)
        .build()
        .unwrap();
    let repository = registry.repository(&refuses.reference());
    let error = upload(&repository, &content(MIB)).await.unwrap_err();
    assert!(
        matches!(
            error,
            RegistryError::UploadInterrupted {
                acknowledged: 0,
                ..
            }
        ),
        "{error}"
    );
    assert!(error.is_transient());
    assert!(course(&refuses).len() < 40, "{:?}", course(&refuses));
}

#[tokio::test]
async fn an_upload_that_is_dropped_can_be_cancelled() {
    let server = odd("-", &Honest::default(), |_, _| None).await;
    let registry = Registry::builder().build().unwrap();
    let repository = registry.repository(&server.reference());
    let blob = content(MIB);
    let source = Memory {
        content: blob.clone(),
        stalls_at: Some(MIB / 2),
        ..Memory::default()
    };
    let descriptor = layer(&blob);
    let begun = tokio::sync::Notify::new();
    let listener = |event| {
        if matches!(event, BlobEvent::Bytes { .. }) {
            begun.notify_one();
        }
    };
    {
        let options = UploadOptions::new().progress(&listener);
        let uploading = repository.upload_blob(&descriptor, &source, &options);
        tokio::select! {
            outcome = uploading => panic!("{outcome:?}"),
            () = begun.notified() => {}
        }
    }
    registry.cancel_abandoned_uploads().await;
    assert_eq!(course(&server), ["HEAD", "POST", "DELETE"]);
    // Once is enough.
    registry.cancel_abandoned_uploads().await;
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn an_upload_goes_on_in_another_process() {
    let blob = content(SIZE);
    let descriptor = layer(&blob);
    let site = Honest::default();
    let kept = Mutex::new(None);
    {
        // The registry is gone for good after the first chunk.
        let honest = site.clone();
        let server = Script::start(move |_, request| match request.header("content-range") {
            Some(range) if !range.starts_with("0-") => Vec::new(),
            _ if is(request, "GET") || is(request, "DELETE") => Vec::new(),
            _ => honest.answer(request),
        })
        .await;
        let registry = Registry::builder()
            .single_put_limit(&server.address.to_string(), 1)
            .build()
            .unwrap();
        let keep = |state: &UploadState| *kept.lock().unwrap() = Some(state.clone());
        let error = registry
            .repository(&server.reference())
            .upload_blob(
                &descriptor,
                &Memory::new(blob.clone()),
                &UploadOptions::new().keep_state(&keep),
            )
            .await
            .unwrap_err();
        assert!(error.is_transient(), "{error}");
        assert!(!course(&server).contains(&"DELETE".to_owned()));
    }
    let state = kept.into_inner().unwrap().unwrap();
    assert_eq!(state.acknowledged, 4 * MIB as u64);
    let text = serde_json::to_string(&state).unwrap();

    let server = odd("-", &site, |_, _| None).await;
    // The same registry on another port.
    let place = text.split("\"location\":\"").nth(1).unwrap();
    let place = place
        .strip_prefix("http://")
        .unwrap()
        .split('/')
        .next()
        .unwrap();
    let text = text.replace(place, &server.address.to_string());
    let state: UploadState = serde_json::from_str(&text).unwrap();
    let events = Mutex::new(Vec::new());
    let listener = |event| events.lock().unwrap().push(event);
    let outcome = server
        .repository()
        .resume_upload(
            &descriptor,
            &Memory::new(blob.clone()),
            &state,
            &UploadOptions::new().progress(&listener),
        )
        .await
        .unwrap();
    assert_eq!(outcome, BlobOutcome::Copied);
    assert_eq!(site.stored().unwrap(), blob);
    assert_eq!(course(&server), ["GET", "PATCH 4194304-10485759", "PUT 0"]);
    assert_eq!(
        events.lock().unwrap().first(),
        Some(&BlobEvent::Started {
            offset: 4 * MIB as u64
        })
    );
}

/// A client that keeps the states of uploads, as each process makes one.
fn process(states: &std::path::Path, server: &Script) -> Registry {
    Registry::builder()
        .upload_states(states)
        .single_put_limit(&server.address.to_string(), 1)
        .build()
        .unwrap()
}

fn kept(states: &std::path::Path) -> usize {
    std::fs::read_dir(states).map_or(0, Iterator::count)
}

#[tokio::test]
async fn the_next_process_finds_the_state_that_was_kept() {
    let folder = tempfile::tempdir().unwrap();
    let states = folder.path().join("uploads");
    let blob = content(SIZE);
    let site = Honest::default();
    let is_lost = Arc::new(Mutex::new(true));
    let (honest, lost) = (site.clone(), Arc::clone(&is_lost));
    let server = Script::start(move |_, request| {
        let is_later = |range: &str| !range.starts_with("0-");
        if *lost.lock().unwrap()
            && (request.header("content-range").is_some_and(is_later)
                || is(request, "GET")
                || is(request, "DELETE"))
        {
            return Vec::new();
        }
        honest.answer(request)
    })
    .await;
    let first = process(&states, &server);
    let error = upload(&first.repository(&server.reference()), &blob)
        .await
        .unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert_eq!(kept(&states), 1);
    // What ends with the process is not cancelled either.
    first.cancel_abandoned_uploads().await;
    assert!(!course(&server).contains(&"DELETE".to_owned()));

    *is_lost.lock().unwrap() = false;
    let before = server.requests().len();
    let second = process(&states, &server);
    let outcome = upload(&second.repository(&server.reference()), &blob)
        .await
        .unwrap();
    assert_eq!(outcome, BlobOutcome::Copied);
    assert_eq!(site.stored().unwrap(), blob);
    assert_eq!(
        course(&server)[before..],
        [
            "GET",
            "PATCH 4194304-8388607",
            "PATCH 8388608-10485759",
            "PUT 0"
        ]
    );
    assert_eq!(kept(&states), 0);
}

#[tokio::test]
async fn a_session_that_the_registry_has_forgotten_is_followed_by_a_new_one_in_the_next_process() {
    let folder = tempfile::tempdir().unwrap();
    let blob = content(2 * MIB);
    for way in ["404", "nobody answers"] {
        let site = Honest::default();
        let is_first = Arc::new(Mutex::new(true));
        let (honest, first) = (site.clone(), Arc::clone(&is_first));
        let server = Script::start(move |_, request| {
            let is_first = *first.lock().unwrap();
            match request.line().split(' ').next() {
                Some("PATCH") if is_first => Vec::new(),
                Some("GET") if is_first || way == "nobody answers" => Vec::new(),
                Some("GET") => answer("404 Not Found", &[], &error_body("BLOB_UPLOAD_UNKNOWN")),
                _ => honest.answer(request),
            }
        })
        .await;
        let registry = process(folder.path(), &server);
        upload(&registry.repository(&server.reference()), &blob)
            .await
            .unwrap_err();
        assert_eq!(kept(folder.path()), 1, "{way}");

        *is_first.lock().unwrap() = false;
        let registry = process(folder.path(), &server);
        let outcome = upload(&registry.repository(&server.reference()), &blob).await;
        assert_eq!(outcome.unwrap(), BlobOutcome::Copied, "{way}");
        assert_eq!(site.stored().unwrap(), blob, "{way}");
        assert_eq!(kept(folder.path()), 0, "{way}");
    }
}

#[tokio::test]
async fn a_session_in_which_nothing_goes_on_is_not_kept_twice() {
    let folder = tempfile::tempdir().unwrap();
    let blob = content(2 * MIB);
    let site = Honest::with_bytes(&blob[..MIB]);
    let server = odd("PATCH", &site, |_, _| {
        Some(answer("500 Internal Server Error", &[], b""))
    })
    .await;
    // The state is that of an earlier process that had sent a half.
    let text = |name: &str| {
        format!(
            r#"{{"registry":"{}","repository":"{name}","state":{{"digest":"{}","acknowledged":{MIB},"location":"http://{}/upload/0"}}}}"#,
            server.address,
            Digest::sha256_of(&blob),
            server.address
        )
    };
    let registry = process(folder.path(), &server);
    let repository = registry.repository(&server.reference());
    let key = format!(
        "{}\n{}\n{}",
        server.address,
        repository.name(),
        Digest::sha256_of(&blob)
    );
    let file = format!("{}.json", Digest::sha256_of(key.as_bytes()).hex());
    let file = folder.path().join(file);
    std::fs::write(&file, text(repository.name().as_str())).unwrap();
    let error = upload(&repository, &blob).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert_eq!(course(&server)[0], "GET");
    assert!(!file.exists());
}

#[tokio::test]
async fn what_is_cancelled_or_refused_leaves_no_state() {
    let folder = tempfile::tempdir().unwrap();
    let blob = content(MIB);
    let server = odd("-", &Honest::default(), |_, _| None).await;
    let registry = process(folder.path(), &server);
    let source = Memory {
        content: blob.clone(),
        stalls_at: Some(MIB / 2),
        ..Memory::default()
    };
    let begun = tokio::sync::Notify::new();
    let listener = |event| {
        if matches!(event, BlobEvent::Bytes { .. }) {
            begun.notify_one();
        }
    };
    {
        let repository = registry.repository(&server.reference());
        let descriptor = layer(&blob);
        let options = UploadOptions::new().progress(&listener);
        tokio::select! {
            outcome = repository.upload_blob(&descriptor, &source, &options) => panic!("{outcome:?}"),
            () = begun.notified() => {}
        }
    }
    assert_eq!(kept(folder.path()), 1);
    registry.cancel_abandoned_uploads().await;
    assert_eq!(kept(folder.path()), 0);
    assert_eq!(course(&server).last().unwrap(), "DELETE");

    let server = odd("PATCH", &Honest::default(), |_, _| {
        Some(answer("403 Forbidden", &[], &error_body("DENIED")))
    })
    .await;
    let registry = process(folder.path(), &server);
    let error = upload(&registry.repository(&server.reference()), &blob)
        .await
        .unwrap_err();
    assert!(!error.is_transient(), "{error}");
    assert_eq!(kept(folder.path()), 0);
    assert_eq!(course(&server).last().unwrap(), "DELETE");
}

#[tokio::test]
async fn what_an_earlier_process_sent_is_checked_before_the_rest() {
    let right = content(2 * MIB);
    let mut wrong = right.to_vec();
    wrong[0] ^= 1;
    let site = Honest::with_bytes(&wrong[..MIB]);
    let server = odd("-", &site, |_, _| None).await;
    let location = format!("http://{}/upload/0", server.address);
    let state = format!(
        r#"{{"digest":"{}","acknowledged":1048576,"location":"{location}"}}"#,
        Digest::sha256_of(&right)
    );
    let state: UploadState = serde_json::from_str(&state).unwrap();
    let source = Memory::new(wrong.into());
    let error = server
        .repository()
        .resume_upload(&layer(&right), &source, &state, &UploadOptions::new())
        .await
        .unwrap_err();
    assert!(
        matches!(error, RegistryError::SourceIntegrity { .. }),
        "{error}"
    );
    assert_eq!(site.stored(), None);

    // A state of another blob, and one that leads where nothing must be sent, are no states.
    for state in [
        format!(
            r#"{{"digest":"{}","acknowledged":1,"location":"{location}"}}"#,
            Digest::sha256_of(b"")
        ),
        format!(
            r#"{{"digest":"{}","acknowledged":1,"location":"ftp://x/"}}"#,
            Digest::sha256_of(&right)
        ),
    ] {
        let site = Honest::default();
        let server = odd("-", &site, |_, _| None).await;
        let state: UploadState = serde_json::from_str(&state).unwrap();
        let source = Memory::new(right.clone());
        server
            .repository()
            .resume_upload(&layer(&right), &source, &state, &UploadOptions::new())
            .await
            .unwrap();
        assert_eq!(site.stored().unwrap(), right);
    }
}

#[tokio::test]
async fn a_token_that_runs_out_in_the_middle_is_renewed_and_the_chunk_sent_again() {
    let site = Honest::default();
    let honest = site.clone();
    let tokens = Mutex::new(0);
    let server = Script::start(move |_, request| {
        let mut given = tokens.lock().unwrap();
        if is(request, "GET /token") {
            *given += 1;
            let body = format!(r#"{{"token":"t{given}","expires_in":300}}"#);
            return answer(
                "200 OK",
                &[("content-type", "application/json")],
                body.as_bytes(),
            );
        }
        let host = request.header("host").unwrap();
        let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"x\"");
        let refusal = answer("401 Unauthorized", &[("www-authenticate", &challenge)], b"");
        let is_middle = request.header("content-range") == Some("4194304-8388607");
        // One for all; another one is wanted in the middle.
        let valid = match request.header("authorization") {
            None => false,
            Some(_) if is_middle => *given >= 2,
            Some(_) => true,
        };
        if !valid {
            return refusal;
        }
        honest.answer(request)
    })
    .await;
    let credentials = peak_registry::Credentials::new("robot", "secret".into());
    let registry = Registry::builder()
        .credentials(&server.address.to_string(), credentials)
        .single_put_limit(&server.address.to_string(), 1)
        .build()
        .unwrap();
    let content = content(SIZE);
    upload(&registry.repository(&server.reference()), &content)
        .await
        .unwrap();
    assert_eq!(site.stored().unwrap(), content);
    let mut middle = course(&server);
    middle.retain(|one| one == "PATCH 4194304-8388607");
    assert_eq!(middle.len(), 2);
    let requests = server.requests();
    let tokens: Vec<_> = requests
        .iter()
        .filter(|request| is(request, "GET /token"))
        .map(Request::line)
        .collect();
    assert_eq!(tokens.len(), 2, "{tokens:?}");
    assert!(
        tokens.iter().all(|one| one.ends_with("%3Apull%2Cpush")),
        "{tokens:?}"
    );
}

/// A registry that loses each session in which something is sent while there is another one.
#[derive(Default)]
struct OneAtATime {
    sessions: usize,
    open: std::collections::BTreeSet<usize>,
    stored: usize,
    lost: usize,
}

impl OneAtATime {
    fn answer(&mut self, request: &Request) -> Vec<u8> {
        let (method, target) = request.line().split_once(' ').unwrap();
        let session = target.strip_prefix("/upload/").map(|rest| {
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            digits.parse::<usize>().unwrap()
        });
        let place = |number: usize| {
            answer(
                "202 Accepted",
                &[("location", &format!("/upload/{number}"))],
                b"",
            )
        };
        match (method, session) {
            ("POST", _) => {
                self.sessions += 1;
                self.open.insert(self.sessions);
                place(self.sessions)
            }
            ("PUT" | "PATCH", Some(session)) if self.open.remove(&session) => {
                if !self.open.is_empty() {
                    self.lost += 1;
                    let body =
                        br#"{"errors":[{"code":"UNKNOWN","message":"s3aws: Path not found"}]}"#;
                    return answer("500 Internal Server Error", &[], body);
                }
                if method == "PATCH" {
                    self.open.insert(session);
                    return place(session);
                }
                self.stored += 1;
                answer("201 Created", &[], b"")
            }
            ("DELETE", Some(session)) => {
                self.open.remove(&session);
                answer("204 No Content", &[], b"")
            }
            _ => answer("404 Not Found", &[], &error_body("BLOB_UPLOAD_UNKNOWN")),
        }
    }
}

#[tokio::test]
async fn a_registry_that_loses_sessions_beside_others_gets_fewer_uploads_at_once() {
    const BLOBS: usize = 16;
    let site = Arc::new(Mutex::new(OneAtATime::default()));
    let served = Arc::clone(&site);
    let server = Script::start(move |_, request| served.lock().unwrap().answer(request)).await;
    let repository = server.repository();
    let blobs: Vec<_> = (0..BLOBS).map(|number| content(1000 + number)).collect();
    let all = blobs.iter().map(|blob| upload(&repository, blob));
    for outcome in futures_util::future::join_all(all).await {
        outcome.unwrap();
    }
    assert_eq!(site.lock().unwrap().stored, BLOBS);

    // Who is told so beforehand loses nothing.
    let site = Arc::new(Mutex::new(OneAtATime::default()));
    let served = Arc::clone(&site);
    let server = Script::start(move |_, request| served.lock().unwrap().answer(request)).await;
    let registry = Registry::builder().uploads_at_once(1).build().unwrap();
    let repository = registry.repository(&server.reference());
    let all = blobs.iter().map(|blob| upload(&repository, blob));
    for outcome in futures_util::future::join_all(all).await {
        outcome.unwrap();
    }
    let site = site.lock().unwrap();
    assert_eq!((site.stored, site.lost), (BLOBS, 0));
}
