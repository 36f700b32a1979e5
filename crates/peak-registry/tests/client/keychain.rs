//! Credentials at rest: where they are found, how they are kept, and that no helper can hold anybody up.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use peak_registry::{
    Credentials, ExplanationStep, KeptIn, Keychain, KeychainBuilder, KeychainError, RegistryError,
    SourceOutcome, SourceState,
};
use tempfile::TempDir;

use crate::script::{Script, answer, registry_with, tag};

// "robot:secret"
const BASIC: &str = "Basic cm9ib3Q6c2VjcmV0";
const ANSWER: &str = r#"{"ServerURL":"x","Username":"robot","Secret":"secret"}"#;

/// A user's home: files, and helpers in `PATH`.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Installs the helper of the tests under a name, in a directory of its own.
    #[cfg(unix)]
    fn install(&self, name: &str) {
        fs::create_dir_all(self.path(name)).unwrap();
        let program = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/client/helpers/docker-credential-fake");
        let link = self.path(&format!("{name}/docker-credential-{name}"));
        std::os::unix::fs::symlink(program, link).unwrap();
    }

    fn places(&self, helpers: &[&str]) -> KeychainBuilder {
        let directories = helpers.iter().map(|name| self.path(name));
        Keychain::builder()
            .docker_config(self.path("docker/config.json"))
            .podman_auth(self.path("run/auth.json"))
            .podman_auth(self.path("config/auth.json"))
            .helper_path(std::env::join_paths(directories).unwrap())
    }

    fn keychain(&self, helpers: &[&str]) -> Keychain {
        self.places(helpers).build()
    }
}

fn user_of(found: Option<Credentials>) -> Option<String> {
    found.map(|credentials| credentials.user().to_owned())
}

fn entry(key: &str, user: &str) -> String {
    format!(r#"{{"auths":{{"{key}":{{"username":"{user}","password":"secret"}}}}}}"#)
}

fn outcomes(steps: &[ExplanationStep]) -> Vec<&SourceOutcome> {
    steps.iter().map(|step| &step.outcome).collect()
}

#[tokio::test]
async fn the_first_source_that_has_something_answers() {
    let home = Home::new();
    let find = async |builder: KeychainBuilder| {
        user_of(builder.build().credentials("reg.example", None).await)
    };
    assert_eq!(find(home.places(&[])).await, None);
    home.write("config/auth.json", &entry("reg.example", "third"));
    assert_eq!(find(home.places(&[])).await.unwrap(), "third");
    home.write("run/auth.json", &entry("reg.example", "second"));
    assert_eq!(find(home.places(&[])).await.unwrap(), "second");
    home.write(
        "docker/config.json",
        &entry("https://reg.example/v2/", "first"),
    );
    assert_eq!(find(home.places(&[])).await.unwrap(), "first");
    let inline = home
        .places(&[])
        .inline(entry("reg.example:443", "inline").into());
    assert_eq!(find(inline).await.unwrap(), "inline");
}

#[tokio::test]
async fn paths_are_for_the_repositories_below_them() {
    let home = Home::new();
    home.write(
        "run/auth.json",
        r#"{"auths":{
            "reg.example/team":{"username":"team","password":"p"},
            "reg.example/team/app":{"username":"app","password":"p"}
        }}"#,
    );
    home.write("config/auth.json", &entry("reg.example", "host"));
    let keychain = home.keychain(&[]);
    for (repository, expected) in [
        (Some("team/app"), "app"),
        (Some("team/app/sub"), "app"),
        (Some("team/other"), "team"),
        (Some("teams/app"), "host"),
        (None, "host"),
    ] {
        let found = keychain.credentials("reg.example", repository).await;
        assert_eq!(user_of(found).unwrap(), expected, "{repository:?}");
    }
    let explanation = keychain.explain("reg.example", Some("other")).await;
    let paths = vec!["team/app".to_owned(), "team".to_owned()];
    assert_eq!(
        outcomes(&explanation.steps)[1],
        &SourceOutcome::OtherPaths { paths }
    );
}

#[tokio::test]
async fn a_source_that_cannot_be_read_is_passed_over_and_explained() {
    let home = Home::new();
    home.write(
        "docker/config.json",
        r#"{"auths":{"reg.example":{"auth":["hunter2"]}}}"#,
    );
    home.write("run/auth.json", r#"{"auths":{"reg.example":{}}}"#);
    home.write("config/auth.json", &entry("reg.example", "robot"));
    let keychain = home.keychain(&[]);
    let explanation = keychain.explain("reg.example", Some("team/app")).await;
    let SourceOutcome::Failed { reason } = &explanation.steps[0].outcome else {
        panic!("{explanation}");
    };
    assert!(reason.contains("line 1, column"), "{reason}");
    assert_eq!(explanation.steps[1].outcome, SourceOutcome::Empty);
    assert_eq!(explanation.answer(), explanation.steps.get(2));
    let shown = explanation.to_string();
    let shown = shown.replace(&home.path("").display().to_string(), "~/");
    assert!(!shown.contains("hunter2"));
    assert_eq!(
        shown,
        "reg.example/team/app: credentials from ~/config/auth.json\n\
         \x20 1. ~/docker/config.json cannot be asked: ~/docker/config.json is not a valid file of credentials (line 1, column 32); correct it by hand\n\
         \x20 2. ~/run/auth.json has an entry without a secret\n\
         \x20 3. ~/config/auth.json answers as robot\n"
    );
    let nothing = keychain.explain("other.example", None).await;
    assert!(nothing.answer().is_none());
    assert!(
        nothing
            .to_string()
            .contains("peak registry login other.example")
    );
}

#[tokio::test]
async fn an_explanation_is_also_for_programs() {
    let keychain = Keychain::builder()
        .inline(entry("reg.example/team", "robot").into())
        .docker_config("/nowhere/config.json")
        .build();
    let explanation = keychain.explain("reg.example", Some("team/app")).await;
    assert_eq!(
        serde_json::to_value(&explanation).unwrap(),
        serde_json::json!({
            "registry": "reg.example",
            "repository": "team/app",
            "steps": [
                {
                    "source": "environment", "place": "DOCKER_AUTH_CONFIG", "result": "answered",
                    "user": "robot", "identity_token": false, "path": "team",
                },
                {"source": "docker", "place": "/nowhere/config.json", "result": "not_asked"},
            ],
        })
    );
}

#[tokio::test]
async fn files_that_are_no_files_hold_nobody_up() {
    let home = Home::new();
    fs::create_dir_all(home.path("docker/config.json")).unwrap();
    home.write("run/auth.json", &" ".repeat(2 * 1024 * 1024));
    let keychain = home.keychain(&[]);
    let explanation = keychain.explain("reg.example", None).await;
    for (step, reason) in explanation
        .steps
        .iter()
        .zip(["not a regular file", "larger than"])
    {
        assert!(step.outcome.to_string().contains(reason), "{explanation}");
    }
    assert_eq!(explanation.steps[2].outcome, SourceOutcome::Absent);
}

#[cfg(unix)]
mod helpers {
    use super::*;

    #[tokio::test]
    async fn helpers_are_asked_before_the_file_that_names_them_and_once() {
        let home = Home::new();
        home.install("own");
        home.install("all");
        home.write("own/answer", ANSWER);
        home.write("all/answer", &ANSWER.replace("robot", "<token>"));
        home.write(
            "docker/config.json",
            r#"{"auths":{"reg.example":{"username":"file","password":"p"}},"credHelpers":{"reg.example":"own"},"credsStore":"all"}"#,
        );
        let keychain = home.keychain(&["own", "all"]);
        for _ in 0..3 {
            let found = keychain
                .credentials("reg.example", Some("a"))
                .await
                .unwrap();
            assert_eq!(found.user(), "robot");
        }
        assert_eq!(home.read("own/calls"), "get reg.example\n");
        assert_eq!(home.read("all/calls"), "");
        // What a helper keeps as a token is one.
        let found = keychain.credentials("docker.io", None).await.unwrap();
        assert!(found.is_identity_token());
        assert_eq!(home.read("all/calls"), "get https://index.docker.io/v1/\n");
        keychain.forget("reg.example");
        keychain.credentials("reg.example", None).await.unwrap();
        assert_eq!(home.read("own/calls").lines().count(), 2);

        let explanation = keychain.explain("reg.example", None).await;
        assert!(
            explanation.steps[0]
                .place
                .starts_with("docker-credential-own (credHelpers of ")
        );
        assert_eq!(explanation.steps[1].outcome, SourceOutcome::NotAsked);
    }

    #[tokio::test]
    async fn a_helper_without_credentials_leaves_the_answer_to_the_file() {
        let home = Home::new();
        home.install("all");
        home.write(
            "docker/config.json",
            r#"{"auths":{"reg.example":{"username":"file","password":"p"}},"credsStore":"all"}"#,
        );
        let keychain = home.keychain(&["all"]);
        let found = keychain.credentials("reg.example", None).await;
        assert_eq!(user_of(found).unwrap(), "file");
        let explanation = keychain.explain("reg.example", None).await;
        assert_eq!(explanation.steps[0].outcome, SourceOutcome::NoEntry);
        // Docker Hub is kept under one of two names.
        assert!(keychain.credentials("docker.io", None).await.is_none());
        assert_eq!(
            home.read("all/calls"),
            "get reg.example\nget https://index.docker.io/v1/\nget docker.io\n"
        );
    }

    #[tokio::test]
    async fn a_helper_that_fails_is_passed_over_and_explained() {
        for (name, file, content, reason) in [
            ("gone", "", "", "not in PATH"),
            ("../evil", "", "", "is not the name of a credential helper"),
            ("bad", "bad/answer", "not JSON: secret", "cannot be used"),
            (
                "bad",
                "bad/answer",
                r#"{"Username":"robot","Secret":["secret"]}"#,
                "cannot be used",
            ),
            ("bad", "bad/flood", "", "cannot be used"),
            (
                "bad",
                "bad/answer",
                r#"{"Username":"","Secret":"secret"}"#,
                "without a secret",
            ),
        ] {
            let home = Home::new();
            home.install("bad");
            if !file.is_empty() {
                home.write(file, content);
            }
            let config = format!(
                r#"{{"credHelpers":{{"reg.example":"{name}"}},"auths":{{"reg.example":{{"username":"file","password":"p"}}}}}}"#
            );
            home.write("docker/config.json", &config);
            let keychain = home.keychain(&["bad"]);
            let found = keychain.credentials("reg.example", None).await;
            assert_eq!(user_of(found).unwrap(), "file");
            let explanation = keychain.explain("reg.example", None).await;
            let shown = explanation.steps[0].outcome.to_string();
            assert!(shown.contains(reason), "{shown}");
            assert!(
                !explanation
                    .to_string()
                    .replace("a secret", "")
                    .contains("secret")
            );
        }
    }

    #[tokio::test]
    async fn a_helper_that_hangs_is_given_up_in_time() {
        let home = Home::new();
        home.install("slow");
        home.write("slow/hang", "");
        home.write("docker/config.json", r#"{"credsStore":"slow"}"#);
        let places = home.places(&["slow"]);
        let keychain = places.helper_timeout(Duration::from_millis(100)).build();
        let explanation = keychain.explain("reg.example", None).await;
        let shown = explanation.to_string();
        assert!(shown.contains("did not answer within"), "{shown}");
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_helper_that_nobody_waits_for_is_killed_and_leaves_no_lock() {
        let home = Home::new();
        home.install("slow");
        home.write("slow/hang", "");
        home.write("docker/config.json", r#"{"credsStore":"slow"}"#);
        let keychain = home
            .places(&["slow"])
            .helper_timeout(Duration::from_secs(600))
            .build();
        let soon = Duration::from_millis(5);
        let running = async {
            while home.read("slow/pid").trim().is_empty() {
                tokio::time::sleep(soon).await;
            }
        };
        tokio::select! {
            _ = keychain.credentials("reg.example", None) => panic!("it answered"),
            () = running => {}
        }
        let process = format!("/proc/{}/cmdline", home.read("slow/pid").trim());
        // A process that has ended has no command line.
        let gone = async {
            while fs::read(&process).is_ok_and(|line| !line.is_empty()) {
                tokio::time::sleep(soon).await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(60), gone).await;
        assert!(in_time.is_ok(), "the helper is still running");
        fs::remove_file(home.path("slow/hang")).unwrap();
        assert!(keychain.credentials("reg.example", None).await.is_none());
    }

    #[tokio::test]
    async fn credentials_that_have_run_out_are_asked_for_again_and_the_request_once_more() {
        // As ECR: a password for twelve hours, refused by 401, or by 403 with a word about it.
        for (refusal, body) in [
            ("401 Unauthorized", ""),
            (
                "403 Forbidden",
                r#"{"errors":[{"code":"DENIED","message":"Your authorization token has expired. Reauthenticate and try again."}]}"#,
            ),
        ] {
            let home = Home::new();
            home.install("ecr-login");
            home.write("ecr-login/answer-1", &ANSWER.replace("secret", "old"));
            home.write("ecr-login/answer", ANSWER);
            home.write("docker/config.json", r#"{"credsStore":"ecr-login"}"#);
            let server = Script::start(move |_, request| match request.header("authorization") {
                Some(BASIC) => answer("200 OK", &[], MANIFEST),
                // The old password, which was good once.
                Some(_) => answer(refusal, &[], body.as_bytes()),
                None => {
                    let header = (
                        "www-authenticate",
                        "Basic realm=\"https://ecr\",service=\"ecr.amazonaws.com\"",
                    );
                    answer("401 Unauthorized", &[header], b"")
                }
            })
            .await;
            let registry = registry_with(home.keychain(&["ecr-login"]));
            let repository = registry.repository(&server.reference());
            repository.get_manifest(&tag("v1")).await.unwrap();
            repository.get_manifest(&tag("v1")).await.unwrap();
            assert_eq!(server.requests().len(), 4, "{refusal}");
            assert_eq!(home.read("ecr-login/calls").lines().count(), 2);
        }
    }

    #[tokio::test]
    async fn a_helper_is_asked_again_where_the_token_server_refuses_what_it_said() {
        let home = Home::new();
        home.install("own");
        home.write("own/answer-1", &ANSWER.replace("secret", "old"));
        home.write("own/answer", ANSWER);
        home.write("docker/config.json", r#"{"credsStore":"own"}"#);
        let server = token_server().await;
        let registry = registry_with(home.keychain(&["own"]));
        let repository = registry.repository(&server.reference());
        repository.get_manifest(&tag("v1")).await.unwrap();
        assert_eq!(home.read("own/calls").lines().count(), 2);
        assert_eq!(server.requests().len(), 4);
    }

    #[tokio::test]
    async fn what_a_helper_calls_a_token_is_exchanged_by_post() {
        let home = Home::new();
        home.install("own");
        home.write("own/answer", &ANSWER.replace("robot", "<token>"));
        home.write("docker/config.json", r#"{"credsStore":"own"}"#);
        let server = Script::start(|_, request| {
            if request.line() == "POST /token" {
                return answer("200 OK", &[], br#"{"access_token":"good"}"#);
            }
            if request.header("authorization") == Some("Bearer good") {
                return answer("200 OK", &[], MANIFEST);
            }
            let header = ("www-authenticate", "Bearer realm=\"/token\",service=s");
            answer("401 Unauthorized", &[header], b"")
        })
        .await;
        let registry = registry_with(home.keychain(&["own"]));
        let repository = registry.repository(&server.reference());
        repository.get_manifest(&tag("v1")).await.unwrap();
        let exchange = &server.requests()[1];
        assert_eq!(exchange.header("authorization"), None);
        assert_eq!(
            exchange.body_text(),
            "grant_type=refresh_token&refresh_token=secret&client_id=peak-sdk-rust&service=s&scope=repository%3Ateam%2Fapp%3Apull"
        );
    }

    #[tokio::test]
    async fn credentials_that_stay_refused_are_not_asked_for_again_and_again() {
        // Whether the helper says the same each time or not.
        for second in ["secret", "another"] {
            let home = Home::new();
            home.install("ecr-login");
            home.write("ecr-login/answer-1", ANSWER);
            home.write("ecr-login/answer-2", &ANSWER.replace("secret", second));
            home.write("ecr-login/answer", &ANSWER.replace("secret", "third"));
            home.write("docker/config.json", r#"{"credsStore":"ecr-login"}"#);
            let server = Script::start(|_, _| {
                let header = ("www-authenticate", "Basic realm=x");
                answer("401 Unauthorized", &[header], b"")
            })
            .await;
            let registry = registry_with(home.keychain(&["ecr-login"]));
            let repository = registry.repository(&server.reference());
            for _ in 0..4 {
                assert!(repository.get_manifest(&tag("v1")).await.is_err());
            }
            // Once, and once more to see whether that helps.
            assert_eq!(home.read("ecr-login/calls").lines().count(), 2);
            let again = usize::from(second != "secret");
            assert_eq!(server.requests().len(), 5 + again);
        }
    }

    #[tokio::test]
    async fn login_and_logout_go_by_the_helper_where_there_is_one() {
        let home = Home::new();
        home.install("own");
        home.write("own/answer", ANSWER);
        let server = basic_server().await;
        let host = server.address.to_string();
        let config = format!(
            r#"{{"auths":{{"{host}":{{"auth":"b2xkOm9sZA=="}},"other.example":{{}}}},"credHelpers":{{"{host}":"own"}}}}"#
        );
        home.write("docker/config.json", &config);
        let registry = registry_with(home.keychain(&["own"]));
        let login = registry.login(&host, robot()).await.unwrap();
        let helper = KeptIn::Helper {
            name: "own".to_owned(),
        };
        assert_eq!(login.kept_in, helper);
        assert_eq!(
            home.read("own/calls"),
            format!(
                "store {{\"ServerURL\":\"{host}\",\"Username\":\"robot\",\"Secret\":\"secret\"}}\n"
            )
        );
        // What lay open in the file is gone.
        let text = home.read("docker/config.json");
        assert!(
            !text.contains("b2xkOm9sZA") && text.contains("other.example"),
            "{text}"
        );
        let logout = registry.logout(&host).await.unwrap();
        assert_eq!(logout.removed, [helper]);
        assert!(
            home.read("own/calls")
                .ends_with(&format!("erase {host}\nget {host}\n"))
        );
        // The helper of this test goes on answering.
        assert!(logout.remaining.is_some());
    }

    #[tokio::test]
    async fn a_helper_that_refuses_to_keep_something_does_not_tell_what() {
        let home = Home::new();
        home.install("own");
        home.write("own/failure", "cannot keep secret");
        home.write("docker/config.json", r#"{"credsStore":"own"}"#);
        let server = basic_server().await;
        let registry = registry_with(home.keychain(&["own"]));
        let host = server.address.to_string();
        let error = registry.login(&host, robot()).await.unwrap_err();
        let RegistryError::Keychain(error) = error else {
            panic!("{error}");
        };
        assert!(matches!(error, KeychainError::HelperFailed { .. }));
        assert!(!error.to_string().contains("cannot keep secret"), "{error}");
        assert_eq!(home.read("docker/config.json"), r#"{"credsStore":"own"}"#);
    }
}

const MANIFEST: &[u8] =
    br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;

fn robot() -> Credentials {
    Credentials::new("robot", "secret".into())
}

async fn basic_server() -> Script {
    Script::start(|_, request| {
        if request.header("authorization") == Some(BASIC) {
            return answer("200 OK", &[], MANIFEST);
        }
        let header = ("www-authenticate", "Basic realm=x");
        answer("401 Unauthorized", &[header], b"")
    })
    .await
}

/// A registry whose token server wants Basic.
async fn token_server() -> Script {
    Script::start(|_, request| {
        if request.line().starts_with("GET /token") {
            return if request.header("authorization") == Some(BASIC) {
                answer("200 OK", &[], br#"{"token":"good"}"#)
            } else {
                answer("401 Unauthorized", &[], b"")
            };
        }
        if request.header("authorization") == Some("Bearer good") {
            return answer("200 OK", &[], MANIFEST);
        }
        let header = ("www-authenticate", "Bearer realm=\"/token\",service=s");
        answer("401 Unauthorized", &[header], b"")
    })
    .await
}

#[tokio::test]
async fn login_checks_and_keeps_and_logout_takes_away() {
    let home = Home::new();
    let server = basic_server().await;
    let host = server.address.to_string();
    home.write("docker/config.json", "{\n  \"proxies\": {\"a\":1}\n}\n");
    let registry = registry_with(home.keychain(&[]));
    let repository = registry.repository(&server.reference());
    assert!(repository.get_manifest(&tag("v1")).await.is_err());

    for wrong in [
        Credentials::new("robot", "wrong".into()),
        Credentials::new("robot", String::new().into()),
    ] {
        let error = registry.login(&host, wrong).await.unwrap_err();
        assert!(
            matches!(error, RegistryError::LoginRefused { .. }),
            "{error}"
        );
        assert!(error.to_string().contains("access token"), "{error}");
    }
    assert_eq!(
        home.read("docker/config.json"),
        "{\n  \"proxies\": {\"a\":1}\n}\n"
    );

    let login = registry
        .login(&format!("http://{host}/v2/"), robot())
        .await
        .unwrap();
    assert!(login.checked);
    assert_eq!(
        (login.registry.as_str(), login.user.as_str()),
        (host.as_str(), "robot")
    );
    let file = KeptIn::File {
        path: home.path("docker/config.json"),
    };
    assert_eq!(login.kept_in, file);
    let text = home.read("docker/config.json");
    assert!(text.contains(r#""proxies": {"a":1}"#), "{text}");
    // At once, without a new client.
    repository.get_manifest(&tag("v1")).await.unwrap();
    let reference = server.reference();
    let explanation = registry.explain_credentials(&reference).await.unwrap();
    assert!(matches!(
        &explanation.answer().unwrap().outcome,
        SourceOutcome::Answered { user, .. } if user == "robot"
    ));

    let logout = registry.logout(&host).await.unwrap();
    assert_eq!(logout.removed, [file]);
    assert_eq!(logout.remaining, None);
    assert!(repository.get_manifest(&tag("v1")).await.is_err());
    assert_eq!(registry.logout(&host).await.unwrap().removed, []);
}

#[tokio::test]
async fn login_says_where_the_registry_asks_for_nothing_and_where_it_is_none() {
    const PAGE: (&str, &str) = ("content-type", "text/html; charset=utf-8");
    let home = Home::new();
    let open = Script::start(|_, _| answer("200 OK", &[], b"{}")).await;
    let registry = registry_with(home.keychain(&[]));
    let login = registry
        .login(&open.address.to_string(), robot())
        .await
        .unwrap();
    assert!(!login.checked);

    for (status, headers, expected) in [
        ("404 Not Found", &[][..], "no /v2/"),
        ("200 OK", &[PAGE], "a web page"),
    ] {
        let website = Script::start(move |_, _| answer(status, headers, b"<html>")).await;
        let error = registry
            .login(&website.address.to_string(), robot())
            .await
            .unwrap_err();
        assert!(
            matches!(error, RegistryError::InvalidResponse { .. }),
            "{error}"
        );
        assert!(error.to_string().contains(expected), "{error}");
    }
    assert_eq!(home.read("docker/config.json").matches("auth\"").count(), 1);
    // Quay calls its answer a web page, to those whom it has asked who they are.
    let quay = Script::start(|_, request| {
        if request.header("authorization").is_some() {
            return answer("200 OK", &[PAGE], b"true");
        }
        answer(
            "401 Unauthorized",
            &[PAGE, ("www-authenticate", "Basic realm=\"quay\"")],
            b"true",
        )
    })
    .await;
    let host = quay.address.to_string();
    assert!(registry.login(&host, robot()).await.unwrap().checked);
    registry.logout(&host).await.unwrap();
    // A website, to which whoever asks for anything is sent.
    let website = Script::start(|_, _| answer("200 OK", &[], b"<html>")).await;
    let there = format!("http://{}/", website.address);
    let registry_host =
        Script::start(move |_, _| answer("302 Found", &[("location", there.as_str())], b"")).await;
    let host = registry_host.address.to_string();
    let error = registry.login(&host, robot()).await.unwrap_err();
    assert!(
        matches!(error, RegistryError::InvalidResponse { .. }),
        "{error}"
    );
    assert_eq!(home.read("docker/config.json").matches("auth\"").count(), 1);
    for name in ["user@host", "reg.example/team", ""] {
        let error = registry.login(name, robot()).await.unwrap_err();
        assert!(
            matches!(error, RegistryError::InvalidRegistry { .. }),
            "{name}"
        );
    }
    let colon = Credentials::new("a:b", "c".into());
    let error = registry.login("reg.example", colon).await.unwrap_err();
    assert!(
        matches!(error, RegistryError::Keychain(KeychainError::UserName)),
        "{error}"
    );
}

#[tokio::test]
async fn login_with_a_token_server_asks_it_and_tells_its_refusal() {
    let home = Home::new();
    let server = token_server().await;
    let host = server.address.to_string();
    let registry = registry_with(home.keychain(&[]));
    assert!(registry.login(&host, robot()).await.unwrap().checked);
    // Who somebody is needs no scope.
    assert_eq!(server.requests()[1].line(), "GET /token?service=s");
    let wrong = Credentials::new("robot", "wrong".into());
    let error = registry.login(&host, wrong).await.unwrap_err();
    assert!(
        matches!(
            &error,
            RegistryError::LoginRefused {
                source: Some(_),
                ..
            }
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn sources_are_examined_as_such_and_each_helper_is_run() {
    let home = Home::new();
    home.write(
        "config.json",
        r#"{"auths":{"a.example":{"auth":"cm9ib3Q6c2VjcmV0"},"b.example":{}},
            "credHelpers":{"c.example":"fake","d.example":"missing"}}"#,
    );
    home.write("broken.json", r#"{"auths": s3cret"#);
    let bin = home.path("bin");
    fs::create_dir_all(&bin).unwrap();
    let helper = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/client/helpers");
    #[cfg(unix)]
    std::os::unix::fs::symlink(
        helper.join("docker-credential-fake"),
        bin.join("docker-credential-fake"),
    )
    .unwrap();
    let keychain = Keychain::builder()
        .docker_config(home.path("config.json"))
        .podman_auth(home.path("broken.json"))
        .podman_auth(home.path("absent.json"))
        .helper_path(std::env::join_paths([bin.as_path()]).unwrap())
        .build();
    let sources = keychain.examine().await;
    let SourceState::Read {
        entries, helpers, ..
    } = &sources[0].state
    else {
        panic!("{sources:?}");
    };
    assert_eq!(*entries, 1);
    assert_eq!(helpers.len(), 2);
    assert_eq!(helpers[0].registries, ["c.example"]);
    #[cfg(unix)]
    {
        assert_eq!(helpers[0].failure, None);
        assert_eq!(home.read("bin/calls").trim(), "list");
    }
    let missing = helpers[1].failure.as_deref().unwrap();
    assert!(missing.contains("docker-credential-missing"), "{missing}");
    let SourceState::Failed { reason } = &sources[1].state else {
        panic!("{sources:?}");
    };
    assert!(
        reason.contains("broken.json") && !reason.contains("s3cret"),
        "{reason}"
    );
    assert_eq!(sources[2].state, SourceState::Absent);

    #[cfg(unix)]
    for (failure, works) in [
        ("list is not implemented", true),
        ("the vault is locked", false),
    ] {
        home.write("bin/failure", failure);
        let sources = keychain.examine().await;
        let SourceState::Read { helpers, .. } = &sources[0].state else {
            panic!("{sources:?}");
        };
        assert_eq!(helpers[0].failure.is_none(), works, "{helpers:?}");
    }
}
