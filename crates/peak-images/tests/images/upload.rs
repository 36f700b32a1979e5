//! An upload over a real connection.

use std::io::Write;

use peak_images::models::{Id, ImageType};
use peak_images::{Artifact, CreateImage, Images, Upload};
use peak_platform::{Error, Session};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Reads one request: its head, and how long its body is.
async fn read_request(stream: &mut TcpStream) -> (String, usize) {
    let mut read = Vec::new();
    let head = loop {
        if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            break String::from_utf8(read.drain(..end + 4).collect()).unwrap();
        }
        assert_ne!(
            stream.read_buf(&mut read).await.unwrap(),
            0,
            "the request has no end"
        );
    };
    let head = head.to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().unwrap());
    let mut received = read.len();
    let mut buffer = vec![0; 64 * 1024];
    while received < length {
        let count = stream.read(&mut buffer).await.unwrap();
        assert_ne!(count, 0, "the body ends early");
        received += count;
    }
    (head, received)
}

/// Answers one request so; gives what it was.
pub(crate) async fn serve_one(listener: &TcpListener, answer: String) -> (String, usize) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let request = read_request(&mut stream).await;
    stream.write_all(answer.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    request
}

pub(crate) fn answer(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nX-Request-Id: r-1\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

pub(crate) async fn listen() -> (TcpListener, Images) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let session = Session::builder()
        .endpoint(endpoint.parse().unwrap())
        .environment(|name| (name == "PEAK_AUTH_TOKEN").then(|| "Bearer t0ken".to_owned()))
        .build()
        .unwrap();
    (listener, Images::new(session))
}

const ARTIFACT_SIZE: usize = 8 * 1024 * 1024;

fn artifact() -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for _ in 0..ARTIFACT_SIZE / 1024 {
        file.write_all(&[b'z'; 1024]).unwrap();
    }
    file
}

fn image(file: &tempfile::NamedTempFile) -> CreateImage {
    let upload = Upload::new(Artifact::file(file.path()).unwrap());
    CreateImage::new("hello", ImageType::Webapp, upload)
}

#[tokio::test]
async fn an_artifact_goes_with_its_length_and_the_token_as_it_is() {
    let (listener, images) = listen().await;
    let file = artifact();
    let created = answer(
        "200 OK",
        r#"{"imageId": 17, "versionId": 101, "buildId": "b:1"}"#,
    );
    let image = image(&file);
    let (made, (head, received)) =
        tokio::join!(images.create_image(&image), serve_one(&listener, created));
    assert_eq!(made.unwrap().build_id, Some(Id::from("b:1")));
    assert!(
        received > ARTIFACT_SIZE && received < ARTIFACT_SIZE + 2000,
        "{received}"
    );
    for line in [
        "post /image-management/api/v2/images/ http/1.1\r\n",
        &format!("content-length: {received}\r\n"),
        "content-type: multipart/form-data; boundary=",
        "authorization: bearer t0ken\r\n",
        concat!(
            "user-agent: peak-sdk-rust/",
            env!("CARGO_PKG_VERSION"),
            "\r\n"
        ),
    ] {
        assert!(head.contains(line), "{line} is not in {head}");
    }
    assert!(!head.contains("transfer-encoding"));
}

#[tokio::test]
async fn too_large_an_artifact_says_how_to_look_into_it() {
    let (listener, images) = listen().await;
    let file = artifact();
    let refused = answer(
        "413 Payload Too Large",
        "<html><title>too big</title></html>",
    );
    let image = image(&file);
    let (made, _) = tokio::join!(images.create_image(&image), serve_one(&listener, refused));
    let error = made.unwrap_err();
    let Some(Error::PayloadTooLarge(status)) = error.platform() else {
        panic!("{error:?}");
    };
    assert_eq!(status.request_id(), Some("r-1"));
    assert_eq!(status.message(), "a web page: too big");
    assert!(error.to_string().contains("dry run"));
    assert!(!format!("{error:?}").contains("t0ken"));
}

#[tokio::test]
async fn a_create_that_may_have_been_done_is_not_done_again() {
    let (listener, images) = listen().await;
    let file = artifact();
    let image = image(&file);
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await;
        drop(stream);
        // Whoever comes again would be here when the client is done.
        listener
    };
    let (made, listener) = tokio::join!(images.create_image(&image), serve);
    let error = made.unwrap_err();
    assert!(
        matches!(error.platform(), Some(Error::Http { .. })),
        "{error:?}"
    );
    let again = futures_util::FutureExt::now_or_never(listener.accept());
    assert!(again.is_none());
}

#[tokio::test]
async fn an_artifact_that_changed_meanwhile_is_not_sent_short() {
    let (listener, images) = listen().await;
    let file = artifact();
    let image = image(&file);
    file.as_file().set_len(1000).unwrap();
    let serve = async {
        let accepted = listener.accept().await;
        let mut sent = Vec::new();
        if let Ok((mut stream, _)) = accepted {
            let _ = stream.read_to_end(&mut sent).await;
        }
        sent.len()
    };
    tokio::select! {
        made = images.create_image(&image) => assert!(made.is_err()),
        sent = serve => assert!(sent < ARTIFACT_SIZE),
    }
}
