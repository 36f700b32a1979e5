//! Nothing that is printed for debugging holds a secret.

use std::error::Error as _;
use std::fmt::Debug;

use peak_http::{Proxies, Proxy, TlsOptions};
use peak_registry::{Credentials, Registry};

use crate::script::{Script, answer, tag};

/// In everything here that must not be seen.
const SECRET: &str = "pa55word";

const CLIENT_CERTIFICATE: &[u8] =
    include_bytes!("../../../peak-http/tests/it/certificates/client.pem");
const CLIENT_KEY: &[u8] = include_bytes!("../../../peak-http/tests/it/certificates/client.key.pem");

#[track_caller]
fn assert_hidden(value: &dyn Debug) -> String {
    let texts = [format!("{value:?}"), format!("{value:#?}")];
    let key: String = String::from_utf8_lossy(CLIENT_KEY)
        .lines()
        .skip(1)
        .take(1)
        .collect();
    assert!(key.len() > 20);
    let encoded = ["cGE1NXdvcmQ", "pa55", "YTU1d29yZ"];
    for text in &texts {
        assert!(!text.contains(SECRET), "{text}");
        assert!(!text.contains(&key), "{text}");
        assert!(encoded.iter().all(|part| !text.contains(part)), "{text}");
    }
    let [text, _] = texts;
    text
}

#[tokio::test]
async fn clients_show_no_credentials_and_no_keys() {
    let tls = TlsOptions::new()
        .with_client_certificate_pem(CLIENT_CERTIFICATE, CLIENT_KEY)
        .unwrap();
    let proxy = Proxy::new(&format!("http://someone:{SECRET}@proxy.test:3128")).unwrap();
    let builder = Registry::builder()
        .credentials("registry.test", Credentials::new("robot", SECRET.into()))
        .tls(tls)
        .proxies(Proxies::all(proxy));
    assert!(assert_hidden(&builder).contains("registry.test"));
    let registry = builder.build().unwrap();
    assert!(assert_hidden(&registry).contains("Registry"));
    let repository = registry.repository(&"registry.test/team/app:v1".parse().unwrap());
    assert!(assert_hidden(&repository).contains("team/app"));
}

#[tokio::test]
async fn answers_show_no_cookies_and_errors_no_signed_urls() {
    let cookie = format!("session={SECRET}");
    let manifest = br#"{"schemaVersion":2,"manifests":[]}"#;
    let server = Script::start(move |_, _| {
        let media_type = "application/vnd.oci.image.index.v1+json";
        answer(
            "200 OK",
            &[("set-cookie", &cookie), ("content-type", media_type)],
            manifest,
        )
    })
    .await;
    let repository = server.repository_as("robot", SECRET);
    let fetched = repository.fetch_manifest(&tag("v1")).await.unwrap();
    assert_eq!(fetched.headers["set-cookie"], format!("session={SECRET}"));
    let shown = assert_hidden(&fetched);
    assert!(shown.contains("vnd.oci.image.index"), "{shown}");

    // A signed URL that leads nowhere: what goes wrong there is told without its query.
    let location = format!("http://127.0.0.1:1/blob?X-Amz-Signature={SECRET}&sig={SECRET}");
    let server = Script::start(move |_, _| {
        answer(
            "307 Temporary Redirect",
            &[("location", &location), ("retry-after", "0")],
            b"",
        )
    })
    .await;
    let repository = server.repository_as("robot", SECRET);
    let error = repository.get_manifest(&tag("v1")).await.unwrap_err();
    assert_hidden(&error);
    let mut source = error.source();
    let mut shown = error.to_string();
    while let Some(cause) = source {
        shown.push_str(&cause.to_string());
        source = cause.source();
    }
    assert!(
        shown.contains("127.0.0.1:1") && !shown.contains(SECRET),
        "{shown}"
    );
}

#[tokio::test]
async fn limits_and_reasons_are_shown_as_they_are() {
    let server = Script::start(|_, _| {
        let headers = [("ratelimit-remaining", "7;w=60")];
        answer(
            "403 Forbidden",
            &headers,
            br#"{"errors":[{"code":"DENIED","message":"no"}]}"#,
        )
    })
    .await;
    let registry = Registry::builder()
        .credentials(
            &server.address.to_string(),
            Credentials::new("robot", SECRET.into()),
        )
        .build()
        .unwrap();
    let repository = registry.repository(&server.reference());
    let error = repository.get_manifest(&tag("v1")).await.unwrap_err();
    assert!(assert_hidden(&error).contains("DENIED"));
    let limit = registry.rate_limit(&server.address.to_string()).unwrap();
    assert!(assert_hidden(&limit).contains('7'));
}
