//! The log of a build as a file.

use peak_local::Platform;

use crate::support::*;

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
