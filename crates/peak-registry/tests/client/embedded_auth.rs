//! The embedded registry asks us who we are, in each of its ways.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use http::Request;
use http::header::AUTHORIZATION;
use peak_http::Body;
use peak_oci::{Descriptor, Digest, ImageManifest, MediaType, RepositoryName, Selector, Tag};
use peak_registry::{Credentials, Registry, RegistryError, Repository};
use peak_registry_server::auth::{Auth, Rules, Users};
use peak_registry_server::{RouterOptions, Store, router_with};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tower::util::MapRequestLayer;

use crate::script::tag;

/// The password of both is `secret`.
const USERS: &str = "\
robot:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a
reader:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a
";

const RULES: &str = "
rules:
  - {repositories: team, users: robot, actions: [pull, push, delete]}
  - {repositories: team/open, users: reader, actions: pull}
  - {repositories: team/public, users: anonymous, actions: pull}
";

/// A registry on a port of its own, until it is dropped.
struct Site {
    host: String,
    server: JoinHandle<()>,
    folder: TempDir,
}

impl Site {
    async fn start(auth: Auth) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let router = router_with(store, &RouterOptions::new().auth(auth));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            host,
            server,
            folder,
        }
    }

    fn registry(&self, who: Option<(&str, &str)>) -> Registry {
        let mut builder = Registry::builder();
        if let Some((user, secret)) = who {
            builder = builder.credentials(&self.host, Credentials::new(user, secret.into()));
        }
        builder.build().unwrap()
    }

    fn repository(&self, who: Option<(&str, &str)>, name: &str) -> Repository {
        let reference = format!("{}/{name}", self.host).parse().unwrap();
        self.registry(who).repository(&reference)
    }

    async fn catalog(&self, who: Option<(&str, &str)>) -> Vec<String> {
        let names = self.registry(who).catalog(&self.host);
        let names: Vec<RepositoryName> = names.try_collect().await.unwrap();
        names.iter().map(ToString::to_string).collect()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.server.abort();
    }
}

const ROBOT: Option<(&str, &str)> = Some(("robot", "secret"));
const READER: Option<(&str, &str)> = Some(("reader", "secret"));

/// Everything that a client does, by who may do everything in `team`.
async fn goes_round(site: &Site, who: Option<(&str, &str)>) {
    let (user, secret) = who.unwrap();
    let right = Credentials::new(user, secret.into());
    let keeper = {
        let folder = site.folder.path().join("config.json");
        let keychain = peak_registry::Keychain::builder()
            .docker_config(&folder)
            .build();
        crate::script::registry_with(keychain)
    };
    let wrong = Credentials::new(user, "wrong".into());
    let error = keeper.login(&site.host, wrong).await.unwrap_err();
    assert!(
        matches!(error, RegistryError::LoginRefused { .. }),
        "{error}"
    );
    assert!(keeper.login(&site.host, right).await.unwrap().checked);

    for name in ["team/open", "team/public", "team/secret"] {
        let repository = site.repository(who, name);
        let layer = Bytes::from(name.to_owned());
        let config = Bytes::from_static(b"{}");
        let manifest = ImageManifest::new(
            Descriptor::of(MediaType::OCI_CONFIG, &config),
            vec![Descriptor::of(MediaType::OCI_LAYER, &layer)],
        );
        let manifest = manifest.to_raw().unwrap();
        repository.put_blob(config).await.unwrap();
        let digest = repository.put_blob(layer.clone()).await.unwrap();
        let tags: [Tag; 2] = ["v1".parse().unwrap(), "old".parse().unwrap()];
        repository.upload_manifest(&manifest, &tags).await.unwrap();

        let found = repository.get_manifest(&tag("v1")).await.unwrap();
        assert_eq!(found.bytes(), manifest.bytes());
        assert_eq!(repository.get_blob(&digest, 1024).await.unwrap(), layer);
        let listed = repository.referrers(manifest.digest(), None);
        assert!(listed.try_collect::<Vec<_>>().await.unwrap().is_empty());
        repository.delete_tag(&tags[1]).await.unwrap();
        let tags: Vec<Tag> = repository
            .get_repository_tags()
            .try_collect()
            .await
            .unwrap();
        assert_eq!(tags.iter().map(Tag::as_str).collect::<Vec<_>>(), ["v1"]);
    }
    assert_eq!(
        site.catalog(who).await,
        ["team/open", "team/public", "team/secret"]
    );
}

async fn each_sees_what_the_rules_allow(site: &Site) {
    goes_round(site, ROBOT).await;
    let v1: Selector = tag("v1");
    for (who, name, allowed) in [
        (READER, "team/open", true),
        (READER, "team/public", true),
        (READER, "team/secret", false),
        (READER, "team/absent", false),
        (None, "team/public", true),
        (None, "team/open", false),
        (Some(("robot", "wrong")), "team/open", false),
        (Some(("nobody", "secret")), "team/open", false),
    ] {
        let repository = site.repository(who, name);
        match repository.get_manifest(&v1).await {
            Ok(_) => assert!(allowed, "{who:?} {name}"),
            Err(error) => assert!(
                !allowed && error.is_authentication(),
                "{who:?} {name}: {error}"
            ),
        }
        let error = repository
            .put_blob(Bytes::from_static(b"x"))
            .await
            .unwrap_err();
        assert!(error.is_authentication(), "{who:?} {name}: {error}");
    }
    assert_eq!(site.catalog(READER).await, ["team/open", "team/public"]);

    let robot = site.repository(ROBOT, "team/secret");
    let digest = robot.get_manifest_digest(&v1).await.unwrap();
    let error = site
        .repository(READER, "team/open")
        .delete_manifest(&digest)
        .await
        .unwrap_err();
    assert!(error.is_authentication(), "{error}");
    robot.delete_manifest(&digest).await.unwrap();
    assert!(!robot.has_manifest(&v1).await.unwrap());
}

fn users() -> (Users, Rules) {
    (Users::parse(USERS).unwrap(), Rules::parse(RULES).unwrap())
}

#[tokio::test]
async fn with_basic_each_sees_what_the_rules_allow() {
    let (users, rules) = users();
    let site = Site::start(Auth::basic(users, rules)).await;
    each_sees_what_the_rules_allow(&site).await;
}

#[tokio::test]
async fn with_bearer_each_sees_what_the_rules_allow() {
    let (users, rules) = users();
    let site = Site::start(Auth::bearer(users, rules)).await;
    each_sees_what_the_rules_allow(&site).await;
    assert_eq!(site.catalog(None).await, ["team/public"]);
}

#[tokio::test]
async fn a_shared_secret_is_everybodys_password() {
    let site = Site::start(Auth::shared_secret("open-sesame")).await;
    goes_round(&site, Some(("anybody", "open-sesame"))).await;
    let error = site
        .repository(None, "team/public")
        .get_manifest(&tag("v1"))
        .await
        .unwrap_err();
    assert!(error.is_authentication(), "{error}");
}

#[tokio::test]
async fn a_layer_of_the_callers_own_sees_what_goes_to_the_registry_and_to_its_token_server() {
    let (users, rules) = users();
    let site = Site::start(Auth::bearer(users, rules)).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&seen);
    let registry = Registry::builder()
        .credentials(&site.host, Credentials::new("robot", "secret".into()))
        .layer(MapRequestLayer::new(move |request: Request<Body>| {
            let who = request.headers().get(AUTHORIZATION);
            let scheme = who.and_then(|value| value.to_str().ok()?.split(' ').next());
            let note = format!(
                "{} {} {}",
                request.method(),
                request.uri().path(),
                scheme.unwrap_or("-")
            );
            notes.lock().unwrap().push(note);
            request
        }))
        .build()
        .unwrap();
    let reference = format!("{}/team/open", site.host).parse().unwrap();
    let digest = Digest::sha256_of(b"x");
    let found = registry.repository(&reference).get_blob_size(&digest).await;
    assert_eq!(found.unwrap(), None);
    let blob = format!("HEAD /v2/team/open/blobs/{digest}");
    let seen = seen.lock().unwrap();
    assert_eq!(seen.first(), Some(&format!("{blob} -")), "{seen:?}");
    assert_eq!(seen.last(), Some(&format!("{blob} Bearer")), "{seen:?}");
    let token = |note: &String| note.contains("/token ") && note.ends_with(" Basic");
    assert!(seen.iter().any(token), "{seen:?}");
}
