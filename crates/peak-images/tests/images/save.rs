//! Saving the log of a build, over real connections.

use peak_images::Error;
use peak_images::models::Id;
use serde_json::json;
use tokio::net::TcpListener;

use crate::mock::platform;
use crate::upload::{answer, listen, serve_one};

#[tokio::test]
async fn the_log_is_had_from_the_signed_url_without_the_token() {
    let (platform, images) = listen().await;
    let storage = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let signed = format!(
        "http://{}/log?signature=s3cret",
        storage.local_addr().unwrap()
    );
    let place = tempfile::tempdir().unwrap();
    let target = place.path().join("build.log");
    let (image, build) = (Id::from(17), Id::from("mock:21"));
    let url = json!({ "downloadUrl": signed }).to_string();
    let (saved, (asked, _), (fetched, _)) = tokio::join!(
        images.save_build_logs(&image, &build, Some(&target)),
        serve_one(&platform, answer("200 OK", &url)),
        serve_one(&storage, answer("200 OK", "line 1\nline 2\n")),
    );
    let saved = saved.unwrap();
    assert_eq!((saved.path, saved.size), (target.clone(), 14));
    assert_eq!(std::fs::read(&target).unwrap(), b"line 1\nline 2\n");
    assert!(
        asked.starts_with("get /image-management/api/v2/images/17/builds/mock:21/logs/download ")
    );
    assert!(asked.contains("authorization: bearer t0ken\r\n"));
    assert!(fetched.starts_with("get /log?signature=s3cret "));
    assert!(!fetched.contains("authorization"));
}

#[tokio::test]
async fn the_token_stays_away_from_a_signed_url_of_the_platforms_own_host() {
    let (platform, images) = listen().await;
    let address = platform.local_addr().unwrap();
    let place = tempfile::tempdir().unwrap();
    let target = place.path().join("build.log");
    let id = Id::from(17);
    let url = json!({ "downloadUrl": format!("http://{address}/signed/log") }).to_string();
    let serve = async {
        serve_one(&platform, answer("200 OK", &url)).await;
        serve_one(&platform, answer("200 OK", "log")).await
    };
    let (saved, (fetched, _)) =
        tokio::join!(images.save_build_logs(&id, &id, Some(&target)), serve);
    assert_eq!(saved.unwrap().size, 3);
    assert!(fetched.starts_with("get /signed/log "));
    assert!(!fetched.contains("authorization"));
}

#[tokio::test]
async fn an_answer_without_a_url_or_with_an_odd_one_is_an_error() {
    let id = Id::from(17);
    let place = tempfile::tempdir().unwrap();
    let target = place.path().join("build.log");
    let (images, _) = platform(|_| (200, json!({})));
    let error = images.save_build_logs(&id, &id, Some(&target)).await;
    assert!(matches!(
        error,
        Err(Error::Incomplete {
            field: "downloadUrl",
            ..
        })
    ));
    let (images, log) = platform(|_| (200, json!({ "downloadUrl": "file:///etc/s3cret" })));
    let error = images.save_build_logs(&id, &id, Some(&target)).await;
    assert!(!format!("{:?}", error.unwrap_err()).contains("s3cret"));
    assert_eq!(log.take().len(), 1);
    let (images, _) = platform(|_| (200, json!({ "downloadUrl": "http://b.test/" })));
    let error = images.save_build_logs(&id, &id, Some(place.path())).await;
    assert!(error.unwrap_err().to_string().contains("is a directory"));
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
}
