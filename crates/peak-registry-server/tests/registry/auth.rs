//! Who may do what: every endpoint, asked by everybody, in both ways.

use std::time::Duration;

use axum::body::Body;
use peak_oci::Digest;
use peak_registry_server::RouterOptions;
use peak_registry_server::auth::{Auth, Rules, Users};
use serde_json::{Value, json};

use crate::support::{Answer, Kind, MANIFEST, Registry, image};

/// `alice:wonderland` and `bob:secret`.
const USERS: &str = "\
alice:$2y$04$abcdefghijklmnopqrstuujZkTwHUiJ9XdZPwKfcfDo7dMp5DjlTu
bob:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a
";

/// Alice may do everything with `team`, Bob may look at `team/open` and has `bobs`; `public` is for
/// everybody to see.
const RULES: &str = "
rules:
  - repositories: team
    users: alice
    actions: [pull, push, delete]
  - repositories: team/open
    users: bob
    actions: pull
  - repositories: bobs
    users: bob
    actions: [pull, push]
  - repositories: public
    users: anonymous
    actions: pull
";

/// `user:password`, in base64.
const ALICE: &str = "Basic YWxpY2U6d29uZGVybGFuZA==";
const BOB: &str = "Basic Ym9iOnNlY3JldA==";
/// `alice:wrong`
const WRONG: &str = "Basic YWxpY2U6d3Jvbmc=";
/// `mallory:wonderland`
const UNKNOWN: &str = "Basic bWFsbG9yeTp3b25kZXJsYW5k";

const SERVICE: &str = "peak-registry";
/// What the challenges of requests without a host name.
const BEARER: &str = "Bearer realm=\"/token\",service=\"peak-registry\"";
const BASIC: &str = "Basic realm=\"peak registry\"";

fn users() -> Users {
    Users::parse(USERS).unwrap()
}

fn rules() -> Rules {
    Rules::parse(RULES).unwrap()
}

fn basic() -> Registry {
    with(Auth::basic(users(), rules()))
}

fn bearer() -> Registry {
    with(Auth::bearer(users(), rules()))
}

fn with(auth: Auth) -> Registry {
    Registry::with(Kind::Memory, &RouterOptions::new().auth(auth))
}

async fn ask(registry: &Registry, method: &str, path: &str, who: Option<&str>) -> Answer {
    send(registry, method, path, who, "").await
}

async fn send(
    registry: &Registry,
    method: &str,
    path: &str,
    who: Option<&str>,
    body: impl Into<Body>,
) -> Answer {
    let kind = ("content-type", MANIFEST);
    let headers: Vec<_> = who
        .map(|who| ("authorization", who))
        .into_iter()
        .chain((method == "PUT" && path.contains("/manifests/")).then_some(kind))
        .collect();
    registry.send(method, path, &headers, body).await
}

/// What the token endpoint says.
async fn token_answer(registry: &Registry, who: Option<&str>, scopes: &[&str]) -> Answer {
    let mut path = format!("/token?service={SERVICE}&client_id=tests&offline_token=true");
    for scope in scopes {
        path.push_str("&scope=");
        path.push_str(&scope.replace(' ', "%20"));
    }
    let headers: Vec<_> = who.map(|who| ("authorization", who)).into_iter().collect();
    registry.send("GET", &path, &headers, "").await
}

async fn token(registry: &Registry, who: Option<&str>, scopes: &[&str]) -> String {
    let answer = token_answer(registry, who, scopes).await;
    assert_eq!(answer.status, 200);
    format!("Bearer {}", answer.json()["token"].as_str().unwrap())
}

#[track_caller]
fn challenges(answer: &Answer) -> Vec<&str> {
    let values = answer.headers.get_all("www-authenticate").iter();
    values.map(|value| value.to_str().unwrap()).collect()
}

/// Fills a registry as its owner would: an image in each of these repositories.
async fn fill(registry: &Registry, who: impl AsyncFn(&str) -> String) -> Digest {
    let manifest = image(b"{}", &[]).to_string();
    let config = Digest::sha256_of(b"{}");
    for name in ["team/app", "team/open/x", "team/app2"] {
        let who = who(name).await;
        let path = format!("/v2/{name}/blobs/uploads/?digest={config}");
        send(registry, "POST", &path, Some(&who), "{}")
            .await
            .expect(201);
        let path = format!("/v2/{name}/manifests/v1");
        let answer = send(registry, "PUT", &path, Some(&who), manifest.clone()).await;
        answer.expect(201);
    }
    Digest::sha256_of(manifest.as_bytes())
}

/// One request of each endpoint on a repository, and the action that it takes.
fn endpoints(name: &str, manifest: &Digest) -> Vec<(&'static str, String, &'static str)> {
    let blob = Digest::sha256_of(b"{}");
    let upload = "0188d0e0-5c3a-4a5e-9a7b-0123456789ab";
    vec![
        ("GET", format!("/v2/{name}/tags/list"), "pull"),
        ("HEAD", format!("/v2/{name}/tags/list"), "pull"),
        ("GET", format!("/v2/{name}/referrers/{manifest}"), "pull"),
        ("GET", format!("/v2/{name}/manifests/v1"), "pull"),
        ("HEAD", format!("/v2/{name}/manifests/v1"), "pull"),
        ("GET", format!("/v2/{name}/manifests/{manifest}"), "pull"),
        ("GET", format!("/v2/{name}/blobs/{blob}"), "pull"),
        ("HEAD", format!("/v2/{name}/blobs/{blob}"), "pull"),
        ("PUT", format!("/v2/{name}/manifests/v2"), "push"),
        ("POST", format!("/v2/{name}/blobs/uploads/"), "push"),
        (
            "POST",
            format!("/v2/{name}/blobs/uploads/?digest={blob}"),
            "push",
        ),
        (
            "POST",
            format!("/v2/{name}/blobs/uploads/?mount={blob}"),
            "push",
        ),
        ("GET", format!("/v2/{name}/blobs/uploads/{upload}"), "push"),
        (
            "PATCH",
            format!("/v2/{name}/blobs/uploads/{upload}"),
            "push",
        ),
        (
            "PUT",
            format!("/v2/{name}/blobs/uploads/{upload}?digest={blob}"),
            "push",
        ),
        (
            "DELETE",
            format!("/v2/{name}/blobs/uploads/{upload}"),
            "push",
        ),
        ("DELETE", format!("/v2/{name}/manifests/v1"), "delete"),
        (
            "DELETE",
            format!("/v2/{name}/manifests/{manifest}"),
            "delete",
        ),
        ("DELETE", format!("/v2/{name}/blobs/{blob}"), "delete"),
    ]
}

/// What a challenge asks for on behalf of an action.
fn scope(name: &str, action: &str) -> String {
    let actions = if action == "push" {
        "pull,push"
    } else {
        action
    };
    format!("repository:{name}:{actions}")
}

/// HEAD has no body to say the code in.
#[track_caller]
fn refused(answer: Answer, method: &str, status: u16, code: &str) {
    if method == "HEAD" {
        answer.expect(status);
    } else {
        answer.expect_error(status, code);
    }
}

/// Whether a request passed: what came of it then is for other tests.
fn passed(answer: &Answer) -> bool {
    !matches!(answer.status.as_u16(), 401 | 403 | 405)
}

#[tokio::test(start_paused = true)]
async fn with_basic_each_endpoint_asks_for_what_it_takes() {
    let registry = basic();
    let manifest = fill(&registry, async |_| ALICE.to_owned()).await;
    for name in ["team/app", "team/open/x", "team/absent", "public/x"] {
        for (method, path, action) in endpoints(name, &manifest) {
            let what = format!("{method} {path}");
            let public = name == "public/x" && action == "pull";
            let bobs = public || (name == "team/open/x" && action == "pull");

            for who in [
                None,
                Some(WRONG),
                Some(UNKNOWN),
                Some("Bearer x"),
                Some("Negotiate x"),
            ] {
                // Slowly enough not to be taken for guessing.
                tokio::time::advance(Duration::from_secs(1)).await;
                let answer = ask(&registry, method, &path, who).await;
                if who.is_none() && public {
                    assert!(passed(&answer), "{what}");
                    continue;
                }
                assert_eq!(challenges(&answer), [BASIC], "{what} {who:?}");
                refused(answer, method, 401, "UNAUTHORIZED");
            }
            let answer = ask(&registry, method, &path, Some(BOB)).await;
            if bobs {
                assert!(passed(&answer), "{what}");
            } else {
                // Whether it is there or not.
                assert!(challenges(&answer).is_empty());
                refused(answer, method, 403, "DENIED");
            }
            let answer = ask(&registry, method, &path, Some(ALICE)).await;
            assert_eq!(
                passed(&answer),
                name.starts_with("team/") || public,
                "{what}"
            );
        }
    }
}

#[tokio::test]
async fn with_bearer_each_endpoint_asks_for_a_token_that_is_good_for_it() {
    let registry = bearer();
    let manifest = fill(&registry, async |name: &str| {
        token(&registry, Some(ALICE), &[&scope(name, "push")]).await
    })
    .await;
    for name in ["team/app", "team/open/x", "team/absent", "public/x"] {
        for (method, path, action) in endpoints(name, &manifest) {
            let what = format!("{method} {path}");
            let public = name == "public/x" && action == "pull";
            let bobs = public || (name == "team/open/x" && action == "pull");
            let wanted = scope(name, action);
            let other = if action == "pull" {
                "push,delete"
            } else {
                "pull"
            };
            let other = format!("repository:{name}:{other} repository:team/app2:*");

            let answer = ask(&registry, method, &path, None).await;
            if public {
                assert!(passed(&answer), "{what}");
            } else {
                assert_eq!(
                    challenges(&answer),
                    [format!("{BEARER},scope=\"{wanted}\"")],
                    "{what}"
                );
                refused(answer, method, 401, "UNAUTHORIZED");
            }
            // Passwords go to the token endpoint alone.
            for who in [WRONG, ALICE, "Negotiate x"] {
                let answer = ask(&registry, method, &path, Some(who)).await;
                assert_eq!(
                    challenges(&answer),
                    [format!("{BEARER},scope=\"{wanted}\"")],
                    "{what}"
                );
                refused(answer, method, 401, "UNAUTHORIZED");
            }
            let answer = ask(&registry, method, &path, Some("Bearer a.b")).await;
            let expected = format!("{BEARER},scope=\"{wanted}\",error=\"invalid_token\"");
            assert_eq!(challenges(&answer), [expected], "{what}");
            refused(answer, method, 401, "UNAUTHORIZED");

            let short = format!("{BEARER},scope=\"{wanted}\",error=\"insufficient_scope\"");
            for (who, scope, good) in [
                (None, &wanted, public),
                (Some(ALICE), &other, false),
                (Some(ALICE), &String::new(), false),
                (Some(BOB), &wanted, bobs),
                (Some(ALICE), &wanted, name.starts_with("team/") || public),
            ] {
                let token = token(&registry, who, &[scope]).await;
                let answer = ask(&registry, method, &path, Some(&token)).await;
                assert_eq!(passed(&answer), good, "{what} {who:?} {scope}");
                if !good {
                    assert_eq!(
                        challenges(&answer),
                        [short.as_str()],
                        "{what} {who:?} {scope}"
                    );
                    refused(answer, method, 401, "UNAUTHORIZED");
                }
            }
        }
    }
}

#[tokio::test]
async fn the_base_wants_to_know_who_asks_even_where_everybody_may_pull() {
    let registry = basic();
    for who in [None, Some(WRONG), Some("Basic Og==")] {
        let answer = ask(&registry, "GET", "/v2/", who).await;
        assert_eq!(challenges(&answer), [BASIC]);
        answer.expect_error(401, "UNAUTHORIZED");
    }
    // One who may do nothing is known all the same.
    ask(&registry, "GET", "/v2/", Some(BOB)).await.expect(200);

    let registry = bearer();
    let answer = ask(&registry, "GET", "/v2/", None).await;
    assert_eq!(challenges(&answer), [BEARER]);
    answer.expect_error(401, "UNAUTHORIZED");
    for who in [None, Some(BOB)] {
        let token = token(&registry, who, &[]).await;
        ask(&registry, "GET", "/v2/", Some(&token))
            .await
            .expect(200);
    }
    ask(&registry, "GET", "/v2/", Some(BOB))
        .await
        .expect_error(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn methods_that_an_endpoint_does_not_take_tell_strangers_nothing() {
    let registry = basic();
    for path in ["/v2/team/app/manifests/v1", "/v2/team/app/tags/list"] {
        ask(&registry, "POST", path, None)
            .await
            .expect_error(401, "UNAUTHORIZED");
        ask(&registry, "POST", path, Some(BOB))
            .await
            .expect_error(403, "DENIED");
        ask(&registry, "POST", path, Some(ALICE))
            .await
            .expect_error(405, "UNSUPPORTED");
    }
}

#[tokio::test]
async fn the_catalog_has_what_its_reader_may_pull() {
    let list = async |registry: &Registry, who: Option<&str>, query: &str| {
        ask(registry, "GET", &format!("/v2/_catalog{query}"), who).await
    };
    let names = |answer: Answer| answer.expect(200).json()["repositories"].clone();

    let registry = basic();
    fill(&registry, async |_| ALICE.to_owned()).await;
    let config = Digest::sha256_of(b"{}");
    let path = format!("/v2/bobs/x/blobs/uploads/?digest={config}");
    send(&registry, "POST", &path, Some(BOB), "{}")
        .await
        .expect(201);
    assert_eq!(
        names(list(&registry, Some(ALICE), "").await),
        json!(["team/app", "team/app2", "team/open/x"])
    );
    assert_eq!(
        names(list(&registry, Some(BOB), "").await),
        json!(["bobs/x", "team/open/x"])
    );
    // A page is full of what may be seen.
    let page = list(&registry, Some(BOB), "?n=1&last=bobs/x").await;
    assert_eq!(page.header("link"), "");
    assert_eq!(names(page), json!(["team/open/x"]));
    // Who has not been asked yet who they are would take what is public for everything.
    for who in [None, Some(WRONG)] {
        let answer = list(&registry, who, "").await;
        answer.expect_error(401, "UNAUTHORIZED");
    }

    let registry = bearer();
    fill(&registry, async |name: &str| {
        token(&registry, Some(ALICE), &[&scope(name, "push")]).await
    })
    .await;
    list(&registry, None, "")
        .await
        .expect_error(401, "UNAUTHORIZED");
    for (who, expected) in [
        (Some(ALICE), json!(["team/app", "team/app2", "team/open/x"])),
        (Some(BOB), json!(["team/open/x"])),
        (None, json!([])),
    ] {
        let token = token(&registry, who, &["registry:catalog:*"]).await;
        assert_eq!(names(list(&registry, Some(&token), "").await), expected);
    }
    let other = token(&registry, Some(ALICE), &["repository:team/app:pull"]).await;
    let answer = list(&registry, Some(&other), "").await;
    let expected = format!("{BEARER},scope=\"registry:catalog:*\",error=\"insufficient_scope\"");
    assert_eq!(challenges(&answer), [expected]);
    answer.expect_error(401, "UNAUTHORIZED");

    // Where there is nothing for nobody, nobody gets no token, even beside other scopes.
    let rules = "rules: [{repositories: box, users: anonymous, actions: push}]";
    let registry = with(Auth::bearer(users(), Rules::parse(rules).unwrap()));
    let token = token(&registry, None, &["registry:catalog:*"]).await;
    let answer = list(&registry, Some(&token), "").await;
    answer.expect_error(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn a_blob_is_mounted_from_where_its_pusher_may_pull_and_else_is_uploaded() {
    let config = Digest::sha256_of(b"{}");
    let mount =
        |name: &str, from: &str| format!("/v2/{name}/blobs/uploads/?mount={config}&from={from}");

    let registry = basic();
    fill(&registry, async |_| ALICE.to_owned()).await;
    for (from, status) in [
        ("team/open/x", 201),
        ("team/app", 202),
        ("team/absent", 202),
    ] {
        let answer = ask(&registry, "POST", &mount("bobs/x", from), Some(BOB)).await;
        assert_eq!(answer.status, status, "{from}");
        let path = format!("/v2/bobs/x/blobs/{config}");
        ask(&registry, "DELETE", &path, Some(BOB))
            .await
            .expect_error(403, "DENIED");
    }

    let registry = bearer();
    fill(&registry, async |name: &str| {
        token(&registry, Some(ALICE), &[&scope(name, "push")]).await
    })
    .await;
    let push = "repository:bobs/x:pull,push";
    for (scopes, from, status) in [
        (
            &[push, "repository:team/open/x:pull"][..],
            "team/open/x",
            201,
        ),
        // The token has to be for both, and the user to have the right.
        (&[push], "team/open/x", 202),
        (&[push, "repository:team/app:pull"], "team/app", 202),
    ] {
        let token = token(&registry, Some(BOB), scopes).await;
        let answer = ask(&registry, "POST", &mount("bobs/x", from), Some(&token)).await;
        assert_eq!(answer.status, status, "{scopes:?}");
    }
}

#[tokio::test]
async fn a_blob_is_mounted_without_a_source_from_what_its_pusher_may_pull_alone() {
    let config = Digest::sha256_of(b"{}");
    let secret = Digest::sha256_of(b"secret");
    let mount = |digest: &Digest| format!("/v2/bobs/x/blobs/uploads/?mount={digest}");

    let registry = basic();
    fill(&registry, async |_| ALICE.to_owned()).await;
    let path = format!("/v2/team/app/blobs/uploads/?digest={secret}");
    let pushed = send(&registry, "POST", &path, Some(ALICE), "secret").await;
    pushed.expect(201);
    for (digest, status) in [(&config, 201), (&secret, 202)] {
        let answer = ask(&registry, "POST", &mount(digest), Some(BOB)).await;
        assert_eq!(answer.status, status, "{digest}");
    }
    let path = format!("/v2/bobs/x/blobs/{secret}");
    let absent = ask(&registry, "HEAD", &path, Some(BOB)).await;
    assert_eq!(absent.status, 404);

    let registry = bearer();
    fill(&registry, async |name: &str| {
        token(&registry, Some(ALICE), &[&scope(name, "push")]).await
    })
    .await;
    let push = "repository:bobs/x:pull,push";
    // A token is good for nothing else than it says, whatever its owner may do.
    for (scopes, status) in [
        (&[push][..], 202),
        (&[push, "repository:team/app:pull"], 202),
        (&[push, "repository:team/open/x:pull"], 201),
    ] {
        let token = token(&registry, Some(BOB), scopes).await;
        let answer = ask(&registry, "POST", &mount(&config), Some(&token)).await;
        assert_eq!(answer.status, status, "{scopes:?}");
    }
}

#[tokio::test]
async fn tokens_are_for_what_was_asked_for_and_is_allowed() {
    let registry = bearer();
    let answer = token_answer(&registry, Some(BOB), &["repository:bobs/x:pull,push"]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("cache-control"), "no-store");
    let body = answer.json();
    assert_eq!(body["token"], body["access_token"]);
    assert_eq!(body["expires_in"], 300);
    assert_eq!(body.as_object().unwrap().len(), 3);

    for who in [Some(WRONG), Some(UNKNOWN), Some("Bearer x"), Some("x")] {
        let answer = token_answer(&registry, who, &[]).await;
        assert_eq!(answer.status, 401);
        assert_eq!(challenges(&answer), [BASIC]);
        assert_eq!(answer.codes(), ["UNAUTHORIZED"]);
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    // Nobody gets a token only where there is something for nobody.
    assert_eq!(token_answer(&registry, None, &[]).await.status, 200);
    let private = with(Auth::bearer(users(), Rules::default()));
    let answer = token_answer(&private, None, &["repository:a:pull"]).await;
    assert_eq!(answer.status, 401);
    assert_eq!(challenges(&answer), [BASIC]);

    let answer = registry
        .get("/token?service=other&scope=repository:public:pull")
        .await;
    assert_eq!(answer.status, 400);
    let answer = registry.get("/token").await;
    assert_eq!(answer.status, 200, "the service may be left out");
    for method in ["PUT", "DELETE", "HEAD"] {
        let answer = registry.send(method, "/token", &[], "").await;
        assert_eq!(answer.status, 405, "{method}");
    }
    // Another registry's token is worth nothing.
    let foreign = token(&bearer(), Some(ALICE), &["repository:team/app:pull"]).await;
    let answer = ask(&registry, "GET", "/v2/", Some(&foreign)).await;
    assert_eq!(
        challenges(&answer),
        [format!("{BEARER},error=\"invalid_token\"")]
    );
}

#[tokio::test]
async fn without_tokens_there_is_no_token_endpoint() {
    for registry in [basic(), Registry::new(Kind::Memory)] {
        assert_eq!(registry.get("/token").await.status, 404);
    }
}

#[tokio::test]
async fn the_token_endpoint_takes_the_form_of_oauth2() {
    let registry = bearer();
    let post = async |form: &str| {
        let kind = [(
            "content-type",
            "application/x-www-form-urlencoded; charset=utf-8",
        )];
        registry
            .send("POST", "/token", &kind, form.to_owned())
            .await
    };
    let good =
        "grant_type=password&username=alice&password=wonderland&service=peak-registry&client_id=x";
    let answer = post(&format!(
        "{good}&scope=repository%3Ateam%2Fapp%3Apull%2Cpush+registry:catalog:*"
    ))
    .await;
    assert_eq!(answer.status, 200);
    let token = format!("Bearer {}", answer.json()["access_token"].as_str().unwrap());
    ask(
        &registry,
        "POST",
        "/v2/team/app/blobs/uploads/",
        Some(&token),
    )
    .await
    .expect(202);
    ask(&registry, "GET", "/v2/_catalog", Some(&token))
        .await
        .expect(200);

    for (form, error) in [
        (good.replace("wonderland", "wrong"), "invalid_grant"),
        (good.replace("alice", ""), "invalid_grant"),
        (
            good.replace("password&u", "refresh_token&u"),
            "unsupported_grant_type",
        ),
        (good.replace("grant_type", "x"), "invalid_request"),
        (good.replace("username", "x"), "invalid_request"),
        (
            good.replace("service=peak-registry", "service=x"),
            "invalid_request",
        ),
        ("x=".to_owned() + &"y".repeat(70_000), "invalid_request"),
    ] {
        let answer = post(&form).await;
        assert_eq!(answer.status, 400, "{error}");
        assert_eq!(answer.json()["error"], error);
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    let kind = [("content-type", "application/json")];
    let answer = registry.send("POST", "/token", &kind, "{}").await;
    assert_eq!(answer.json()["error"], "invalid_request");
}

#[tokio::test]
async fn clients_are_sent_to_the_token_endpoint_by_the_address_that_they_used() {
    let realm = async |auth: Auth, headers: &[(&str, &str)]| {
        let answer = with(auth).send("GET", "/v2/", headers, "").await;
        let [challenge] = challenges(&answer)[..] else {
            panic!("one challenge");
        };
        let (_, rest) = challenge.split_once("realm=\"").unwrap();
        rest.split_once('"').unwrap().0.to_owned()
    };
    let auth = || Auth::bearer(users(), rules());
    let host = ("host", "127.0.0.1:5000");
    let proxy = [
        host,
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "https"),
        ("forwarded", "host=evil.example"),
    ];
    assert_eq!(realm(auth(), &proxy).await, "http://127.0.0.1:5000/token");
    assert_eq!(
        realm(auth().https(true), &[host]).await,
        "https://127.0.0.1:5000/token"
    );
    let public = auth().public_url("https://registry.example").unwrap();
    assert_eq!(
        realm(public.https(false), &[host]).await,
        "https://registry.example/token"
    );
    assert!(auth().public_url("registry.example").is_err());
}

#[tokio::test]
async fn a_shared_secret_is_the_password_of_every_user_in_both_ways() {
    let registry = with(Auth::shared_secret("open:sesame"));
    let answer = ask(&registry, "GET", "/v2/", None).await;
    assert_eq!(challenges(&answer), [BASIC, BEARER]);
    answer.expect_error(401, "UNAUTHORIZED");
    // `x:open:sesame` and `:open:sesame`; then `x:sesame`, `open:sesame` and the secret alone.
    for who in ["Basic eDpvcGVuOnNlc2FtZQ==", "Basic Om9wZW46c2VzYW1l"] {
        ask(&registry, "GET", "/v2/", Some(who)).await.expect(200);
        let token = token(&registry, Some(who), &["repository:a:pull,push"]).await;
        ask(&registry, "POST", "/v2/a/blobs/uploads/", Some(&token))
            .await
            .expect(202);
        ask(&registry, "GET", "/v2/b/tags/list", Some(&token))
            .await
            .expect(401);
    }
    for who in [
        "Basic eDpzZXNhbWU=",
        "Basic b3BlbjpzZXNhbWU=",
        "open:sesame",
        "Bearer open:sesame",
    ] {
        ask(&registry, "GET", "/v2/", Some(who))
            .await
            .expect_error(401, "UNAUTHORIZED");
    }
    assert_eq!(token_answer(&registry, None, &[]).await.status, 401);

    // Beside users, it is for everything, and they are for what the rules say.
    let registry = with(Auth::basic(users(), rules()).with_shared_secret("root"));
    // `x:root`
    ask(
        &registry,
        "POST",
        "/v2/any/blobs/uploads/",
        Some("Basic eDpyb290"),
    )
    .await
    .expect(202);
    ask(&registry, "POST", "/v2/any/blobs/uploads/", Some(ALICE))
        .await
        .expect(403);
    let debug = format!("{:?}", Auth::shared_secret("open-sesame"));
    assert!(!debug.contains("sesame"), "{debug}");
}

#[tokio::test]
async fn passwords_with_each_request_may_be_taken_beside_tokens() {
    let registry = with(Auth::bearer(users(), rules()).accept_basic(true));
    let answer = ask(&registry, "GET", "/v2/team/app/tags/list", None).await;
    let bearer = format!("{BEARER},scope=\"repository:team/app:pull\"");
    assert_eq!(challenges(&answer), [BASIC, &bearer]);
    ask(
        &registry,
        "POST",
        "/v2/team/app/blobs/uploads/",
        Some(ALICE),
    )
    .await
    .expect(202);
    ask(&registry, "POST", "/v2/team/app/blobs/uploads/", Some(BOB))
        .await
        .expect(403);
    let token = token(&registry, Some(ALICE), &["repository:team/app:push"]).await;
    ask(
        &registry,
        "POST",
        "/v2/team/app/blobs/uploads/",
        Some(&token),
    )
    .await
    .expect(202);
}

#[tokio::test(start_paused = true)]
async fn a_token_ends_and_so_does_one_whose_user_or_right_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let (users, rules) = (folder.path().join("users"), folder.path().join("rules"));
    std::fs::write(&users, USERS).unwrap();
    std::fs::write(&rules, RULES).unwrap();
    let auth = || {
        let rules = Rules::from_file(&rules).unwrap();
        Auth::bearer(Users::from_file(&users).unwrap(), rules)
    };
    let registry = with(auth().token_lifetime(Duration::from_secs(3600)));
    let push = &["repository:team/app:push"];
    let path = "/v2/team/app/blobs/uploads/";
    let mine = token(&registry, Some(ALICE), push).await;
    ask(&registry, "POST", path, Some(&mine)).await.expect(202);
    tokio::time::advance(Duration::from_secs(3605)).await;
    ask(&registry, "POST", path, Some(&mine)).await.expect(202);
    tokio::time::advance(Duration::from_secs(10)).await;
    let answer = ask(&registry, "POST", path, Some(&mine)).await;
    assert!(challenges(&answer)[0].ends_with("error=\"invalid_token\""));

    let mine = token(&registry, Some(ALICE), push).await;
    std::fs::write(&rules, RULES.replace("[pull, push, delete]", "pull")).unwrap();
    tokio::time::advance(Duration::from_secs(1)).await;
    let answer = ask(&registry, "POST", path, Some(&mine)).await;
    assert!(challenges(&answer)[0].ends_with("error=\"insufficient_scope\""));

    std::fs::write(&users, USERS.replace("alice", "alicia")).unwrap();
    tokio::time::advance(Duration::from_secs(1)).await;
    let answer = ask(&registry, "POST", path, Some(&mine)).await;
    assert!(challenges(&answer)[0].ends_with("error=\"invalid_token\""));
    assert_eq!(token_answer(&registry, Some(ALICE), push).await.status, 401);
}

#[tokio::test(start_paused = true)]
async fn guessing_is_braked_in_both_ways() {
    for (registry, path) in [(basic(), "/v2/"), (bearer(), "/token")] {
        for _ in 0..20 {
            assert_eq!(ask(&registry, "GET", path, Some(WRONG)).await.status, 401);
        }
        let answer = ask(&registry, "GET", path, Some(WRONG)).await;
        assert_eq!(answer.status, 429);
        assert_eq!(answer.header("retry-after"), "1");
        assert_eq!(answer.codes(), ["TOOMANYREQUESTS"]);
        // Others are not hindered.
        assert_eq!(ask(&registry, "GET", path, Some(BOB)).await.status, 200);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(ask(&registry, "GET", path, Some(ALICE)).await.status, 200);
    }
}

#[tokio::test]
async fn without_authentication_nobody_is_asked() {
    let registry = Registry::new(Kind::Memory);
    for who in [None, Some(WRONG), Some("x")] {
        let answer = ask(&registry, "GET", "/v2/", who).await.expect(200);
        assert!(challenges(&answer).is_empty());
        let answer = ask(&registry, "GET", "/v2/_catalog", who).await.expect(200);
        assert_eq!(answer.json(), json!({"repositories": Value::Array(vec![])}));
    }
}
