//! A small internet in one process: any number of hosts, each of which says what it was asked.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::header::{AUTHORIZATION, LOCATION, WWW_AUTHENTICATE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use peak_http::{Body, Client, ErrorKind, Origin, RetryPolicy};
use tower::service_fn;
use url::Url;

use super::{Credentials, Identities, Identity, Keychain, RegistryAuthenticator};

const REGISTRY: &str = "https://registry.example";
/// robot:secret
const BASIC: &str = "Basic cm9ib3Q6c2VjcmV0";

/// A request as a host saw it.
#[derive(Clone, Debug)]
struct Seen {
    method: Method,
    url: String,
    authorization: Option<String>,
    body: String,
}

impl Seen {
    fn is(&self, start: &str) -> bool {
        self.url.starts_with(start)
    }

    fn has(&self, authorization: &str) -> bool {
        self.authorization.as_deref() == Some(authorization)
    }

    fn query(&self, name: &str) -> Vec<String> {
        let url = Url::parse(&self.url).unwrap();
        let pairs = url.query_pairs();
        pairs
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
            .collect()
    }
}

struct World {
    client: Client,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl World {
    /// Every host answers with what `answer` gives for the request and how many there were before.
    fn new(
        identities: Identities,
        answer: impl Fn(usize, &Seen) -> Response<String> + Send + Sync + 'static,
    ) -> Self {
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let answer = Arc::new(answer);
        let all = Arc::clone(&seen);
        let hosts = service_fn(move |request: Request<Body>| {
            let (answer, all) = (Arc::clone(&answer), Arc::clone(&all));
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let authorization = parts.headers.get(AUTHORIZATION);
                let one = Seen {
                    method: parts.method,
                    url: parts.uri.to_string(),
                    authorization: authorization.map(|value| value.to_str().unwrap().to_owned()),
                    body: String::from_utf8(body.to_vec()).unwrap(),
                };
                let number = {
                    let mut all = all.lock().unwrap();
                    all.push(one.clone());
                    all.len() - 1
                };
                let response = answer(number, &one);
                Ok::<_, Infallible>(response.map(|text| Full::new(Bytes::from(text))))
            }
        });
        let settings = Client::builder().retry(RetryPolicy::never());
        let tokens = settings.clone().redirects(0);
        let tokens = tokens.build_with_service(hosts.clone()).unwrap();
        let authenticator = RegistryAuthenticator::new(identities, tokens);
        let settings = settings.authenticator(Arc::new(authenticator));
        Self {
            client: settings.build_with_service(hosts).unwrap(),
            seen,
        }
    }

    async fn send(&self, method: Method, url: &str) -> Result<StatusCode, peak_http::Error> {
        let request = Request::builder().method(method).uri(url);
        let request = request.body(Body::from("content")).unwrap();
        Ok(self.client.send(request).await?.status())
    }

    async fn get(&self, url: &str) -> Result<StatusCode, peak_http::Error> {
        let request = Request::get(url).body(Body::empty()).unwrap();
        Ok(self.client.send(request).await?.status())
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// What came to the hosts whose URLs start so.
    fn seen_by(&self, start: &str) -> Vec<Seen> {
        let mut seen = self.seen();
        seen.retain(|one| one.is(start));
        seen
    }
}

fn robot_at(registry: &str) -> Identities {
    as_robot_at(registry, Credentials::new("robot", "secret".into()))
}

fn as_robot_at(registry: &str, credentials: Credentials) -> Identities {
    let origin = Origin::of(&Url::parse(registry).unwrap()).unwrap();
    let plain = registry.starts_with("http:").then(|| origin.clone());
    let caller = BTreeMap::from([(origin, Identity::new(credentials))]);
    Identities::new(caller, None, plain.into_iter().collect())
}

fn status(code: u16) -> Response<String> {
    let mut response = Response::new(String::new());
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response
}

fn text(body: &str) -> Response<String> {
    Response::new(body.to_owned())
}

fn challenge(header: &str) -> Response<String> {
    let mut response = status(401);
    let value = header.parse().unwrap();
    response.headers_mut().insert(WWW_AUTHENTICATE, value);
    response
}

fn redirect(to: &str) -> Response<String> {
    let mut response = status(307);
    response.headers_mut().insert(LOCATION, to.parse().unwrap());
    response
}

fn error_text(error: &dyn std::error::Error) -> String {
    let mut text = format!("{error} {error:?}");
    let mut source = error.source();
    while let Some(cause) = source {
        write!(text, " {cause}").unwrap();
        source = cause.source();
    }
    text
}

/// A registry with a token server of its own that gives out `Bearer good`.
fn with_tokens(seen: &Seen) -> Response<String> {
    if seen.url.contains("/token") {
        return text(r#"{"token":"good"}"#);
    }
    if seen.has("Bearer good") {
        return text("content");
    }
    challenge(r#"Bearer realm="/token",service=s"#)
}

#[tokio::test]
async fn docker_hub_names_a_token_server_on_another_host_and_that_alone_sees_the_credentials() {
    let world = World::new(robot_at("https://registry-1.docker.io"), |_, seen| {
        if seen.is("https://auth.docker.io/token") {
            return text(r#"{"token":"good"}"#);
        }
        if seen.has("Bearer good") {
            return text("content");
        }
        challenge(
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/app:pull""#,
        )
    });
    let url = "https://registry-1.docker.io/v2/library/app/manifests/v1";
    assert_eq!(world.get(url).await.unwrap(), 200);
    let tokens = world.seen_by("https://auth.docker.io/");
    assert_eq!(tokens.len(), 1);
    assert!(tokens[0].has(BASIC));
    assert_eq!(tokens[0].query("service"), ["registry.docker.io"]);
    assert_eq!(tokens[0].query("scope"), ["repository:library/app:pull"]);
    for seen in world.seen_by("https://registry-1.docker.io/") {
        assert!(!seen.has(BASIC));
    }
}

#[tokio::test]
async fn a_realm_inside_our_network_or_without_protection_is_never_asked() {
    for realm in [
        "https://169.254.169.254/latest/meta-data",
        "https://127.0.0.1:8080/token",
        "https://localhost/token",
        "https://192.168.1.1/token",
        "http://registry.example/token",
        "http://evil.example/token",
        "file:///etc/passwd",
    ] {
        let header = format!("Bearer realm=\"{realm}\",service=s");
        let world = World::new(robot_at(REGISTRY), move |_, _| challenge(&header));
        let url = format!("{REGISTRY}/v2/a/manifests/v1");
        let error = world.get(&url).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Authentication, "{realm}");
        let shown = error_text(&error);
        assert!(shown.contains("token server"), "{shown}");
        assert!(!shown.contains("secret"), "{shown}");
        assert_eq!(world.seen().len(), 1, "{realm}");
    }
}

#[tokio::test]
async fn a_registry_in_the_clear_cannot_send_credentials_to_another_host() {
    let plain = "http://plain.example";
    let answer = |_, seen: &Seen| {
        if seen.is("https://evil.example/") {
            return text(r#"{"token":"good"}"#);
        }
        if seen.has("Bearer good") {
            return text("content");
        }
        challenge(r#"Bearer realm="https://evil.example/token""#)
    };
    let url = format!("{plain}/v2/a/manifests/v1");
    let world = World::new(robot_at(plain), answer);
    let error = world.get(&url).await.unwrap_err();
    assert!(error_text(&error).contains("plain HTTP"), "{error:?}");
    assert!(world.seen_by("https://evil.example").is_empty());
    // Who has nothing to lose may ask.
    let world = World::new(Identities::default(), answer);
    assert_eq!(world.get(&url).await.unwrap(), 200);
    assert_eq!(world.seen_by("https://evil.example")[0].authorization, None);
}

#[tokio::test]
async fn a_registry_whose_certificate_is_not_verified_cannot_send_credentials_to_another_host() {
    let marked = || {
        let origin = Origin::of(&Url::parse(REGISTRY).unwrap()).unwrap();
        let robot = Identity::new(Credentials::new("robot", "secret".into()));
        let caller = BTreeMap::from([(origin.clone(), robot)]);
        Identities::new(caller, None, BTreeSet::from([origin]))
    };
    let named = |realm: &'static str| {
        move |_: usize, seen: &Seen| {
            if seen.url.contains("/token") {
                return text(r#"{"token":"good"}"#);
            }
            if seen.has("Bearer good") {
                return text("content");
            }
            challenge(&format!("Bearer realm=\"{realm}\""))
        }
    };
    let url = format!("{REGISTRY}/v2/a/manifests/v1");
    let world = World::new(marked(), named("https://evil.example/token"));
    let error = world.get(&url).await.unwrap_err();
    assert!(error_text(&error).contains("not verified"), "{error:?}");
    assert!(world.seen_by("https://evil.example").is_empty());
    // Its own host is as good as itself.
    let world = World::new(marked(), named("https://registry.example:5001/token"));
    assert_eq!(world.get(&url).await.unwrap(), 200);
    assert!(world.seen_by("https://registry.example:5001")[0].has(BASIC));
}

#[tokio::test]
async fn credentials_are_not_sent_in_the_clear_unless_the_registry_is_marked() {
    let plain = "http://plain.example";
    let origin = Origin::of(&Url::parse(plain).unwrap()).unwrap();
    let robot = Identity::new(Credentials::new("robot", "secret".into()));
    let unmarked = Identities::new(BTreeMap::from([(origin, robot)]), None, BTreeSet::new());
    for (identities, expected) in [(unmarked, 401), (robot_at(plain), 200)] {
        let world = World::new(identities, |_, seen| {
            if seen.has(BASIC) {
                return text("content");
            }
            challenge("Basic realm=x")
        });
        let url = format!("{plain}/v2/a/manifests/v1");
        assert_eq!(world.get(&url).await.unwrap(), expected);
        let sent = world.seen().iter().any(|seen| seen.authorization.is_some());
        assert_eq!(sent, expected == 200);
    }
}

#[tokio::test]
async fn a_token_server_that_redirects_elsewhere_leads_no_credentials_there() {
    for token in [false, true] {
        let credentials = if token {
            Credentials::identity_token("secret".into())
        } else {
            Credentials::new("robot", "secret".into())
        };
        let world = World::new(as_robot_at(REGISTRY, credentials), |_, seen| {
            if seen.is("https://evil.example/") {
                return text(r#"{"token":"good"}"#);
            }
            if seen.url.contains("/token") {
                return redirect("https://evil.example/steal");
            }
            challenge(r#"Bearer realm="/token""#)
        });
        let url = format!("{REGISTRY}/v2/a/manifests/v1");
        let error = world.get(&url).await.unwrap_err();
        let shown = error_text(&error);
        assert!(shown.contains("evil.example"), "{shown}");
        assert!(!shown.contains("secret"), "{shown}");
        assert!(world.seen_by("https://evil.example").is_empty());
    }
}

#[tokio::test]
async fn a_token_server_may_redirect_within_itself_but_not_for_ever() {
    let world = World::new(robot_at(REGISTRY), |_, seen| match &seen.url {
        url if url.contains("/token/") => text(r#"{"token":"good"}"#),
        url if url.contains("/token?") => redirect("/token/"),
        _ if seen.has("Bearer good") => text("content"),
        _ => challenge(r#"Bearer realm="/token""#),
    });
    let url = format!("{REGISTRY}/v2/a/manifests/v1");
    assert_eq!(world.get(&url).await.unwrap(), 200);
    assert!(world.seen_by(&format!("{REGISTRY}/token/"))[0].has(BASIC));

    let world = World::new(robot_at(REGISTRY), |_, seen| {
        if seen.url.contains("/token") {
            return redirect("/token");
        }
        challenge(r#"Bearer realm="/token""#)
    });
    let error = world.get(&url).await.unwrap_err();
    assert!(error_text(&error).contains("again and again"));
    assert_eq!(world.seen().len(), 5);
}

#[tokio::test]
async fn where_a_request_is_redirected_to_nothing_of_ours_goes_though_it_asks() {
    let world = World::new(robot_at(REGISTRY), |_, seen| {
        if seen.is("https://auth.cdn.example/token") {
            return text(r#"{"token":"anonymous"}"#);
        }
        if seen.is("https://cdn.example/") {
            return if seen.has("Bearer anonymous") {
                text("content")
            } else {
                challenge(
                    r#"Bearer realm="https://auth.cdn.example/token",scope="repository:x:pull""#,
                )
            };
        }
        if seen.has(BASIC) {
            return redirect("https://cdn.example/blob?signature=1");
        }
        challenge("Basic realm=x")
    });
    let url = format!("{REGISTRY}/v2/a/blobs/sha256:00");
    assert_eq!(world.get(&url).await.unwrap(), 200);
    assert_eq!(
        world.seen_by("https://auth.cdn.example")[0].authorization,
        None
    );
    for seen in world.seen_by("https://cdn.example") {
        assert!(!seen.has(BASIC), "{seen:?}");
    }
    // For that request only: the next one asks anew.
    assert_eq!(world.get(&url).await.unwrap(), 200);
    assert_eq!(world.seen_by("https://auth.cdn.example").len(), 2);

    // What a redirect's target may not do either: name a server inside.
    let world = World::new(robot_at(REGISTRY), |_, seen| {
        if seen.is("https://cdn.example/") {
            return challenge(r#"Bearer realm="https://169.254.169.254/""#);
        }
        redirect("https://cdn.example/blob")
    });
    assert_eq!(world.get(&url).await.unwrap(), 401);
    assert_eq!(world.seen().len(), 2);
}

#[tokio::test]
async fn nobody_leads_us_from_https_to_http() {
    let world = World::new(robot_at(REGISTRY), |_, seen| {
        if seen.has(BASIC) {
            return redirect("http://registry.example/v2/a/manifests/v1");
        }
        challenge("Basic realm=x")
    });
    let url = format!("{REGISTRY}/v2/a/manifests/v1");
    let error = world.get(&url).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Redirect);
    assert!(world.seen_by("http://").is_empty());
}

#[tokio::test]
async fn a_registry_that_says_401_for_ever_is_asked_a_few_times() {
    for (header, most) in [
        (r#"Bearer realm="/token",scope="repository:a:pull""#, 3),
        (r#"Bearer realm="/token",error="insufficient_scope""#, 3),
        ("Basic realm=x", 2),
        // The API's root may offer something else.
        ("Negotiate", 2),
    ] {
        let world = World::new(robot_at(REGISTRY), move |_, seen| {
            if seen.url.contains("/token") {
                return text(r#"{"token":"never good"}"#);
            }
            challenge(header)
        });
        let url = format!("{REGISTRY}/v2/a/manifests/v1");
        assert_eq!(world.get(&url).await.unwrap(), 401);
        assert!(world.seen().len() <= most, "{header}: {:?}", world.seen());
    }
    // One that wants something else each time.
    let world = World::new(robot_at(REGISTRY), |number, seen| {
        if seen.url.contains("/token") {
            return text(&format!(r#"{{"token":"t{number}"}}"#));
        }
        challenge(&format!(
            r#"Bearer realm="/token",scope="repository:a{number}:pull",error="insufficient_scope""#
        ))
    });
    let url = format!("{REGISTRY}/v2/a/manifests/v1");
    assert_eq!(world.get(&url).await.unwrap(), 401);
    assert_eq!(world.seen().len(), 5);
}

#[tokio::test]
async fn a_token_that_is_for_too_little_is_fetched_once_more_with_the_wanted_scope_first() {
    let world = World::new(robot_at(REGISTRY), |_, seen| {
        if seen.url.contains("/token") {
            let scopes = seen.query("scope").join("+");
            return text(&format!(r#"{{"token":"{scopes}"}}"#));
        }
        match seen.authorization.as_deref() {
            Some("Bearer repository:group/a:pull+repository:a:pull") => text("content"),
            Some(_) => challenge(
                r#"Bearer realm="/token",error="insufficient_scope",scope="repository:group/a:pull""#,
            ),
            None => challenge(r#"Bearer realm="/token""#),
        }
    });
    let url = format!("{REGISTRY}/v2/a/manifests/v1");
    assert_eq!(world.get(&url).await.unwrap(), 200);
    assert_eq!(world.seen().len(), 5);
    // It is known from now on what this registry wants.
    assert_eq!(world.get(&url).await.unwrap(), 200);
    assert_eq!(world.seen().len(), 6);
}

#[tokio::test]
async fn a_challenge_without_parameters_or_none_at_all_is_looked_for_at_the_root() {
    let world = World::new(robot_at(REGISTRY), |_, seen| {
        if seen.url.ends_with("/v2/") {
            return challenge(r#"Bearer realm="/token",service=gcr.io"#);
        }
        if seen.url.contains("/token") {
            return text(r#"{"token":"good"}"#);
        }
        status(if seen.has("Bearer good") { 200 } else { 401 })
    });
    let url = format!("{REGISTRY}/v2/a/manifests/v1");
    assert_eq!(world.get(&url).await.unwrap(), 200);
    let root = &world.seen_by(&format!("{REGISTRY}/v2/"))[1];
    assert!(root.url.ends_with("/v2/") && root.authorization.is_none());
    let tokens = world.seen_by(&format!("{REGISTRY}/token"));
    assert_eq!(tokens[0].query("scope"), ["repository:a:pull"]);
    assert_eq!(tokens[0].query("service"), ["gcr.io"]);
    // Once is enough.
    assert_eq!(world.get(&url).await.unwrap(), 200);
    assert_eq!(world.seen().len(), 5);
}

#[tokio::test]
async fn each_request_asks_for_the_scope_it_needs() {
    let world = World::new(robot_at(REGISTRY), |_, seen| with_tokens(seen));
    for (method, path) in [
        (Method::GET, "/v2/_catalog"),
        (Method::GET, "/v2/a/tags/list"),
        (Method::DELETE, "/v2/a/manifests/sha256:00"),
        (
            Method::POST,
            "/v2/a/blobs/uploads/?mount=sha256:00&from=b/c",
        ),
    ] {
        let url = format!("{REGISTRY}{path}");
        assert_eq!(world.send(method, &url).await.unwrap(), 200);
    }
    let scopes: Vec<Vec<String>> = world
        .seen_by(&format!("{REGISTRY}/token"))
        .iter()
        .map(|seen| seen.query("scope"))
        .collect();
    assert_eq!(
        scopes,
        [
            vec!["registry:catalog:*"],
            vec!["repository:a:pull"],
            vec!["repository:a:*"],
            vec!["repository:a:pull,push", "repository:b/c:pull"],
        ]
    );
    // The way is known after the first challenge: no other request was refused, and all bodies came once.
    assert_eq!(world.seen().len(), 9);
}

#[tokio::test]
async fn the_action_of_a_delete_is_found_with_every_kind_of_registry() {
    // What the registry names, what its token server refuses, and what is asked for in the end.
    for (named, refused, expected) in [
        ("", "none", "repository:a:*"),
        ("", "*", "repository:a:delete,pull"),
        (",scope=\"repository:a:delete\"", "*", "repository:a:delete"),
        (
            ",scope=\"repository:a:pull,push\"",
            "delete",
            "repository:a:pull,push",
        ),
    ] {
        let world = World::new(robot_at(REGISTRY), move |_, seen| {
            if seen.url.contains("/token") {
                let scopes = seen.query("scope").join(" ");
                return if scopes.contains(refused) {
                    status(400)
                } else {
                    text(&format!(r#"{{"token":"{scopes}"}}"#))
                };
            }
            if seen.has(&format!("Bearer {expected}")) {
                return status(202);
            }
            challenge(&format!(r#"Bearer realm="/token"{named}"#))
        });
        let url = format!("{REGISTRY}/v2/a/manifests/sha256:00");
        assert_eq!(
            world.send(Method::DELETE, &url).await.unwrap(),
            202,
            "{named}"
        );
    }
}

#[tokio::test]
async fn identity_tokens_are_exchanged_by_post_and_by_get_where_that_is_not_known() {
    for (post, user) in [
        (200, None),
        (404, Some("PHRva2VuPjpzZWNyZXQ=")),
        (405, Some("PHRva2VuPjpzZWNyZXQ=")),
    ] {
        let identities = as_robot_at(REGISTRY, Credentials::identity_token("secret".into()));
        let world = World::new(identities, move |_, seen| {
            if seen.method == Method::POST && post != 200 {
                return status(post);
            }
            with_tokens(seen)
        });
        let url = format!("{REGISTRY}/v2/a/manifests/v1");
        assert_eq!(world.get(&url).await.unwrap(), 200);
        let tokens = world.seen_by(&format!("{REGISTRY}/token"));
        assert_eq!(tokens[0].method, Method::POST);
        assert_eq!(
            tokens[0].body,
            "grant_type=refresh_token&refresh_token=secret&client_id=peak-sdk-rust&service=s&scope=repository%3Aa%3Apull"
        );
        assert!(!tokens[0].url.contains("secret"));
        assert!(
            tokens
                .iter()
                .all(|one| !format!("{} {}", one.url, one.body).contains("offline"))
        );
        let by_get = tokens.get(1).and_then(|one| one.authorization.clone());
        assert_eq!(by_get, user.map(|user| format!("Basic {user}")));
    }
}

#[tokio::test]
async fn azure_takes_a_refresh_token_under_its_own_user_name() {
    let user = "00000000-0000-0000-0000-000000000000";
    let identities = as_robot_at(REGISTRY, Credentials::new(user, "refresh".into()));
    let world = World::new(identities, |_, seen| {
        if seen.url.contains("/oauth2/token") {
            return text(r#"{"access_token":"good"}"#);
        }
        if seen.has("Bearer good") {
            return text("content");
        }
        challenge(
            r#"Bearer realm="https://registry.example/oauth2/token",service="registry.example",scope="repository:a:metadata_read""#,
        )
    });
    let url = format!("{REGISTRY}/v2/a/manifests/v1");
    assert_eq!(world.get(&url).await.unwrap(), 200);
    let exchange = &world.seen_by(&format!("{REGISTRY}/oauth2"))[0];
    assert_eq!(exchange.method, Method::POST);
    assert!(exchange.body.contains("refresh_token=refresh"));
    assert!(
        exchange
            .body
            .contains("scope=repository%3Aa%3Ametadata_read%2Cpull"),
        "{}",
        exchange.body
    );
}

#[tokio::test]
async fn a_password_is_posted_where_get_is_not_known() {
    let world = World::new(robot_at(REGISTRY), |_, seen| {
        if seen.method == Method::GET && seen.url.contains("/token") {
            return status(405);
        }
        with_tokens(seen)
    });
    let url = format!("{REGISTRY}/v2/a/manifests/v1");
    assert_eq!(world.get(&url).await.unwrap(), 200);
    let posted = &world.seen()[2];
    assert!(
        posted
            .body
            .starts_with("grant_type=password&username=robot&password=secret&")
    );
}

#[tokio::test]
async fn a_bearer_token_that_400_refuses_is_renewed_once_where_it_was_good_before() {
    // As ECR Public: from the third request on the first token has run out.
    let world = World::new(robot_at(REGISTRY), |number, seen| {
        if seen.url.contains("/token") {
            return text(&format!(r#"{{"token":"t{number}","expires_in":43200}}"#));
        }
        match seen.authorization.as_deref() {
            None => challenge(r#"Bearer realm="/token""#),
            Some("Bearer t1") if number > 2 => status(400),
            Some(_) => text("content"),
        }
    });
    let url = format!("{REGISTRY}/v2/a/manifests/v1");
    for expected in [3, 6, 7] {
        assert_eq!(world.get(&url).await.unwrap(), 200);
        assert_eq!(world.seen().len(), expected);
    }

    // A request that is wrong stays so, and costs one token.
    let world = World::new(robot_at(REGISTRY), |_, seen| {
        if seen.url.contains("/token") {
            return text(r#"{"token":"good"}"#);
        }
        match seen.authorization {
            None => challenge(r#"Bearer realm="/token""#),
            Some(_) => status(400),
        }
    });
    assert_eq!(world.get(&url).await.unwrap(), 400);
    assert_eq!(world.seen().len(), 3);
    assert_eq!(world.get(&url).await.unwrap(), 400);
    assert_eq!(world.seen().len(), 6);
    // What was sent up is not sent again for a 400 that says nothing of it.
    let put = world.send(Method::PUT, &url).await.unwrap();
    assert_eq!(put, 400);
    assert_eq!(world.seen().len(), 8);
}

#[tokio::test]
async fn a_token_is_kept_for_its_repository_and_its_identity() {
    let config = r#"{"auths":{
        "registry.example":{"username":"robot","password":"secret"},
        "registry.example/team":{"username":"team","password":"secret"}
    }}"#;
    let keychain = Keychain::builder().inline(config.into()).build();
    let identities = Identities::new(BTreeMap::new(), Some(keychain), BTreeSet::new());
    let world = World::new(identities, |_, seen| with_tokens(seen));
    for repository in ["team/app", "other", "team/app", "other"] {
        let url = format!("{REGISTRY}/v2/{repository}/manifests/v1");
        assert_eq!(world.get(&url).await.unwrap(), 200);
    }
    let tokens = world.seen_by(&format!("{REGISTRY}/token"));
    let asked: Vec<(String, bool)> = tokens
        .iter()
        .map(|seen| (seen.query("scope").join(" "), seen.has(BASIC)))
        .collect();
    assert_eq!(
        asked,
        [
            ("repository:team/app:pull".to_owned(), false),
            ("repository:other:pull".to_owned(), true),
        ]
    );
}

#[tokio::test]
async fn a_token_server_that_fails_does_not_keep_out_who_needs_no_token() {
    let world = World::new(Identities::default(), |number, seen| {
        if seen.url.contains("/token") {
            return if number == 1 {
                text(r#"{"token":"good"}"#)
            } else {
                status(403)
            };
        }
        if seen.has("Bearer good") || seen.url.contains("/public/") {
            return text("content");
        }
        challenge(r#"Bearer realm="/token""#)
    });
    let get = async |path: &str| {
        world
            .get(&format!("{REGISTRY}/v2/{path}/manifests/v1"))
            .await
    };
    assert_eq!(get("a").await.unwrap(), 200);
    assert_eq!(get("public/b").await.unwrap(), 200);
    let error = get("c").await.unwrap_err();
    assert!(
        error_text(&error).contains("without credentials"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_401_in_the_middle_gets_one_new_token_and_the_request_again_with_its_body() {
    let world = World::new(robot_at(REGISTRY), |number, seen| {
        if seen.url.contains("/token") {
            return text(&format!(r#"{{"token":"t{number}"}}"#));
        }
        match seen.authorization.as_deref() {
            // From the fourth request on the first token is worth nothing.
            Some("Bearer t1") if number < 3 => status(202),
            Some("Bearer t4") => status(201),
            _ => challenge(r#"Bearer realm="/token",error="invalid_token""#),
        }
    });
    let url = format!("{REGISTRY}/v2/a/blobs/uploads/1");
    assert_eq!(world.send(Method::PATCH, &url).await.unwrap(), 202);
    assert_eq!(world.send(Method::PUT, &url).await.unwrap(), 201);
    let seen = world.seen();
    assert_eq!(seen.len(), 6);
    for one in seen.iter().filter(|one| one.is(&url)) {
        assert_eq!(one.body, "content");
    }
    assert_eq!(
        seen[4].query("scope"),
        ["repository:a:pull,push"],
        "{seen:?}"
    );
}
