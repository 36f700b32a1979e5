//! HTTPS or plain HTTP: what is said to registries on loopback, and to those marked insecure.

use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use futures_util::future::join_all;
use peak_http::ErrorKind;
use peak_oci::{Descriptor, ImageManifest, MediaType};
use peak_registry::{Credentials, Keychain, Registry, RegistryBuilder, RegistryError, Repository};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use crate::script::{Request, Script, Speaks, answer, tag, trusting};

const BASIC: &str = "Basic cm9ib3Q6c2VjcmV0";

/// A manifest for those whom the registry knows.
fn guarded(_: usize, request: &Request) -> Vec<u8> {
    match request.header("authorization") {
        Some(BASIC) => open(0, request),
        _ => answer(
            "401 Unauthorized",
            &[("www-authenticate", "Basic realm=x")],
            b"",
        ),
    }
}

/// A manifest for everybody.
fn open(_: usize, _: &Request) -> Vec<u8> {
    let config = Descriptor::of(MediaType::OCI_EMPTY, b"{}");
    let manifest = ImageManifest::new(config, Vec::new()).to_raw().unwrap();
    let headers = [("content-type", manifest.media_type().as_str())];
    answer("200 OK", &headers, manifest.bytes())
}

fn robot() -> Credentials {
    Credentials::new("robot", "secret".into())
}

fn at(server: &Script, builder: RegistryBuilder) -> Repository {
    builder.build().unwrap().repository(&server.reference())
}

#[tokio::test]
async fn a_registry_on_loopback_that_speaks_tls_is_spoken_to_in_tls() {
    let server = Script::listen(Speaks::Tls, guarded).await;
    let host = server.address.to_string();
    let config = format!(r#"{{"auths":{{"{host}":{{"username":"robot","password":"secret"}}}}}}"#);
    let keychain = Keychain::builder().inline(config.into()).build();
    let builder = Registry::builder().tls(trusting());
    for builder in [
        builder.clone().credentials(&host, robot()),
        builder.clone().keychain(keychain),
    ] {
        let repository = at(&server, builder);
        repository.get_manifest(&tag("v1")).await.unwrap();
    }
    // Each once without credentials and once with them.
    assert_eq!(server.requests().len(), 4);
    assert_eq!(server.unprotected(), 0);
}

#[tokio::test]
async fn where_the_certificate_is_not_trusted_nothing_is_said_in_the_clear() {
    let server = Script::listen(Speaks::Tls, guarded).await;
    let host = server.address.to_string();
    // A mark is for a host and a port.
    for builder in [
        Registry::builder(),
        Registry::builder().insecure("127.0.0.1"),
    ] {
        let repository = at(&server, builder.credentials(&host, robot()));
        for _ in 0..2 {
            let error = repository.get_manifest(&tag("v1")).await.unwrap_err();
            let RegistryError::Transport { source, .. } = &error else {
                panic!("{error}");
            };
            assert_eq!(source.kind(), ErrorKind::Tls, "{source}");
        }
    }
    assert_eq!(server.requests().len(), 0);
    assert_eq!(server.unprotected(), 0);
}

#[tokio::test]
async fn a_registry_that_is_marked_insecure_may_show_any_certificate() {
    let server = Script::listen(Speaks::Tls, guarded).await;
    let host = server.address.to_string();
    let builder = Registry::builder().insecure(&host);
    let repository = at(&server, builder.credentials(&host, robot()));
    repository.get_manifest(&tag("v1")).await.unwrap();
    assert_eq!(server.unprotected(), 0);
}

#[tokio::test]
async fn the_token_server_of_a_registry_that_is_marked_insecure_is_verified() {
    let tokens = Script::listen(Speaks::Tls, |_, _| {
        answer("200 OK", &[], br#"{"token":"t"}"#)
    })
    .await;
    let realm = format!(
        "Bearer realm=\"https://{}/token\",service=\"x\"",
        tokens.address
    );
    let server = Script::listen(Speaks::Tls, move |_, _| {
        answer("401 Unauthorized", &[("www-authenticate", &realm)], b"")
    })
    .await;
    let host = server.address.to_string();
    let builder = Registry::builder().insecure(&host);
    let repository = at(&server, builder.credentials(&host, robot()));
    assert!(repository.get_manifest(&tag("v1")).await.is_err());
    assert!(!server.requests().is_empty());
    assert_eq!((tokens.requests().len(), tokens.unprotected()), (0, 0));
    assert!(tokens.greetings() > 0);
}

#[tokio::test]
async fn a_registry_on_loopback_that_speaks_no_tls_is_asked_once() {
    let server = Script::start(guarded).await;
    let repository = server.repository_as("robot", "secret");
    for _ in 0..3 {
        repository.get_manifest(&tag("v1")).await.unwrap();
    }
    assert_eq!(server.greetings(), 1);
    let known = |request: &&Request| request.header("authorization") == Some(BASIC);
    assert_eq!(server.requests().iter().filter(known).count(), 3);
}

#[tokio::test]
async fn many_requests_at_once_ask_once() {
    let server = Script::start(open).await;
    let repository = server.repository();
    let tag = tag("v1");
    let found = join_all((0..30).map(|_| repository.get_manifest(&tag))).await;
    assert!(found.iter().all(Result::is_ok), "{found:?}");
    assert_eq!(server.greetings(), 1);
    assert_eq!(server.requests().len(), 30);
}

#[tokio::test]
async fn all_ways_to_ask_follow_the_registry_to_tls() {
    let server = Script::listen(Speaks::Tls, |_, request| match request.line() {
        line if line.contains("/tags/list") => answer("200 OK", &[], br#"{"tags":["a","b"]}"#),
        line if line.contains("/_catalog") => answer("200 OK", &[], br#"{"repositories":["a"]}"#),
        "GET /v2/" => answer("200 OK", &[], b"{}"),
        _ => answer("404 Not Found", &[], b""),
    })
    .await;
    let host = server.address.to_string();
    let registry = Registry::builder().tls(trusting()).build().unwrap();
    let repository = registry.repository(&server.reference());
    registry.ping(&host).await.unwrap();
    let tags: Vec<_> = repository
        .get_repository_tags()
        .try_collect()
        .await
        .unwrap();
    assert_eq!(tags.len(), 2);
    let names: Vec<_> = registry.catalog(&host).try_collect().await.unwrap();
    assert_eq!(names.len(), 1);
    let absent = Descriptor::of(MediaType::OCI_LAYER, b"absent");
    let found = repository
        .referrers(&absent.digest, None)
        .try_collect::<Vec<_>>();
    assert!(found.await.unwrap().is_empty());
    assert!(!repository.has_manifest(&tag("v1")).await.unwrap());
    assert_eq!(
        repository.get_blob_size(&absent.digest).await.unwrap(),
        None
    );
    assert!(repository.open_blob(&absent, 0).await.is_err());
    assert_eq!(server.unprotected(), 0);
}

#[tokio::test]
async fn credentials_are_checked_in_tls_where_the_registry_speaks_it() {
    let server = Script::listen(Speaks::Tls, guarded).await;
    let place = tempfile::tempdir().unwrap();
    let keychain = || {
        let builder = Keychain::builder();
        builder
            .docker_config(place.path().join("config.json"))
            .build()
    };
    let host = server.address.to_string();
    let login = async |builder: RegistryBuilder| {
        let registry = builder.keychain(keychain()).build().unwrap();
        registry.login(&host, robot()).await
    };
    let refused = login(Registry::builder()).await.unwrap_err();
    assert!(
        matches!(&refused, RegistryError::Transport { .. }),
        "{refused}"
    );
    assert!(
        login(Registry::builder().tls(trusting()))
            .await
            .unwrap()
            .checked
    );
    assert_eq!(server.unprotected(), 0);
}

#[tokio::test]
async fn a_registry_that_is_down_is_asked_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let registry = Registry::builder().tls(trusting()).build().unwrap();
    let reference = format!("{address}/team/app:v1").parse().unwrap();
    let repository = registry.repository(&reference);
    let error = repository.get_manifest(&tag("v1")).await.unwrap_err();
    let RegistryError::Transport { source, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(source.kind(), ErrorKind::Connect, "{source}");
    let listener = TcpListener::bind(address).await.unwrap();
    let server = Script::serve_on(listener, Speaks::Tls, open);
    repository.get_manifest(&tag("v1")).await.unwrap();
    assert_eq!(server.unprotected(), 0);
}

#[tokio::test]
async fn a_registry_that_came_back_with_tls_is_spoken_to_in_tls() {
    let server = Script::start(open).await;
    let builder = Registry::builder().tls(trusting());
    let repository = at(&server, builder);
    repository.get_manifest(&tag("v1")).await.unwrap();
    let address = server.address;
    drop(server);
    let listener = loop {
        // Until the old one has let go of the address.
        match TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    let server = Script::serve_on(listener, Speaks::Tls, open);
    assert!(repository.get_manifest(&tag("v1")).await.is_err());
    repository.get_manifest(&tag("v1")).await.unwrap();
    assert_eq!(server.requests().len(), 1);
}

/// Takes greetings of TLS and says nothing; gives how many it got, and ends when they do.
async fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    (listener, host)
}

#[tokio::test]
async fn a_registry_on_loopback_that_is_silent_is_taken_for_one_without_tls() {
    let (listener, host) = silent().await;
    let registry = Registry::builder().build().unwrap();
    let repository = registry.repository(&format!("{host}/team/app:v1").parse().unwrap());
    let asked = tokio::spawn(async move { repository.get_manifest(&tag("v1")).await });
    let (mut greeted, _) = listener.accept().await.unwrap();
    assert_eq!(greeted.read_u8().await.unwrap(), 22);
    // The greeting is given up, and the request comes in the clear.
    let (mut connection, _) = listener.accept().await.unwrap();
    let mut first = [0; 4];
    connection.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"GET ");
    asked.abort();
}

#[tokio::test]
async fn who_waits_takes_the_place_of_one_that_gave_up() {
    let (listener, host) = silent().await;
    let registry = Registry::builder().build().unwrap();
    let reference = format!("{host}/team/app:v1").parse().unwrap();
    let repository = Arc::new(registry.repository(&reference));
    let ask = || {
        let repository = Arc::clone(&repository);
        tokio::spawn(async move { repository.get_manifest(&tag("v1")).await })
    };
    let first = ask();
    let (mut greeted, _) = listener.accept().await.unwrap();
    assert_eq!(greeted.read_u8().await.unwrap(), 22);
    let second = ask();
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    let _server = Script::serve_on(listener, Speaks::Plain, open);
    second.await.unwrap().unwrap();
}

#[tokio::test]
async fn beyond_loopback_and_marks_nobody_is_asked_and_nothing_said_in_the_clear() {
    // Every name leads to it, and it opens no tunnel, so that nobody speaks TLS.
    let proxy = Script::start(|_, request| match request.line() {
        line if line.starts_with("CONNECT ") => answer("403 Forbidden", &[], b""),
        _ => open(0, request),
    })
    .await;
    let asked = || {
        let requests = proxy.requests();
        let asked = requests.iter().map(|request| request.line().to_owned());
        asked.collect::<Vec<_>>()
    };
    let address = format!("http://{}", proxy.address);
    let proxies = peak_http::Proxies::all(peak_http::Proxy::new(&address).unwrap());
    let builder = Registry::builder()
        .proxies(proxies)
        .insecure("marked.test:5000")
        .idle_timeout(Duration::from_secs(1));
    let registry = builder.build().unwrap();
    let ask = async |reference: &str| {
        let repository = registry.repository(&reference.parse().unwrap());
        repository.get_manifest(&tag("v1")).await
    };
    for reference in ["other.test:5000/a", "marked.test/a", "marked.test:5001/a"] {
        assert!(ask(reference).await.is_err());
    }
    assert!(
        asked().iter().all(|line| line.starts_with("CONNECT ")),
        "{:?}",
        asked()
    );
    let before = asked().len();
    ask("marked.test:5000/a").await.unwrap();
    assert_eq!(
        asked()[before..],
        [
            "CONNECT marked.test:5000",
            "GET http://marked.test:5000/v2/a/manifests/v1",
        ]
    );
}
