//! Operations that the Engine answers at once: what is asked, and what becomes of the answers.

use peak_docker::{ApiVersion, EngineError, RemoveOptions, Removed};

use crate::fake::{Act, FakeEngine, answer, answer_with, engine_at};

#[tokio::test]
async fn every_operation_is_the_request_that_the_api_describes() {
    let fake = FakeEngine::start(|request| match request.line() {
        "GET /v1.41/version" => answer(
            200,
            r#"{"Version":"20.10.24","ApiVersion":"1.41","MinAPIVersion":"1.12","Components":null}"#,
        ),
        "GET /v1.41/info" => answer(
            200,
            r#"{"Images":3,"Driver":"overlay2","OSType":"linux","SecurityOptions":null}"#,
        ),
        "GET /v1.41/images/json" => answer(
            200,
            r#"[{"Id":"sha256:abc","RepoTags":null,"Created":5,"Size":7}]"#,
        ),
        "GET /v1.41/images/h:5000/a/b:v1/json" => answer(
            200,
            r#"{"Id":"sha256:abc","RepoTags":["h:5000/a/b:v1"],"Size":7,"RootFS":{"Type":"layers","Layers":["sha256:def"]},"Config":{"Env":["A=1"],"Cmd":null}}"#,
        ),
        "POST /v1.41/images/sha256:abc/tag?repo=docker.io%2Flibrary%2Fapp&tag=v2" => {
            answer(201, "")
        }
        "DELETE /v1.41/images/app:v2?force=1&noprune=1" => {
            answer(200, r#"[{"Untagged":"app:v2"},{"Deleted":"sha256:abc"}]"#)
        }
        other => panic!("{other}"),
    });
    let engine = fake.engine();
    let ping = engine.ping().await.unwrap();
    assert_eq!(ping.endpoint, format!("unix://{}", fake.socket().display()));
    assert_eq!(ping.api_version.to_string(), "1.41");
    assert_eq!(ping.os.as_deref(), Some("linux"));
    let version = engine.version().await.unwrap();
    assert_eq!(
        (&*version.version, &*version.min_api_version),
        ("20.10.24", "1.12")
    );
    let info = engine.info().await.unwrap();
    assert_eq!((info.images, &*info.os_type), (3, "linux"));
    let images = engine.images().await.unwrap();
    assert_eq!((images[0].created, images[0].size), (5, 7));
    assert!(images[0].repo_tags.is_empty());
    let image = engine.inspect("h:5000/a/b:v1").await.unwrap();
    assert_eq!(image.root_fs.layers, ["sha256:def"]);
    assert_eq!(image.config.env, ["A=1"]);
    assert_eq!(image.digest(), None);
    let target = "app:v2".parse().unwrap();
    engine.tag("sha256:abc", &target).await.unwrap();
    let options = RemoveOptions::new().force(true).keep_parents(true);
    let removed = engine.remove("app:v2", options).await.unwrap();
    let expected = [
        Removed::Untagged("app:v2".into()),
        Removed::Deleted("sha256:abc".into()),
    ];
    assert_eq!(removed, expected);
    let recorded = fake.recorded();
    assert_eq!(recorded.len(), 6);
    for request in recorded {
        assert_eq!(request.header("host"), Some("localhost"));
    }
}

#[tokio::test]
async fn the_version_of_the_api_is_agreed_on_once() {
    for (offered, spoken) in [("1.30", "1.30"), ("1.99", &*ApiVersion::NEWEST.to_string())] {
        let header = format!("Api-Version: {offered}");
        let fake = FakeEngine::with_ping(
            move || answer_with(200, &[&header], "OK"),
            |_| answer(200, "{}"),
        );
        let engine = fake.engine();
        engine.version().await.unwrap();
        engine.clone().info().await.unwrap();
        let lines: Vec<_> = fake
            .recorded()
            .iter()
            .map(|request| request.line().to_owned())
            .collect();
        let expected = ["version", "info"].map(|path| format!("GET /v{spoken}/{path}"));
        assert_eq!(lines, expected);
    }
    // Engines that say nothing are old ones.
    let silent = FakeEngine::with_ping(|| answer(200, "OK"), |_| answer(200, "{}"));
    let ping = silent.engine().ping().await.unwrap();
    assert_eq!(ping.api_version, ApiVersion::OLDEST);
    let old = FakeEngine::with_ping(
        || answer_with(200, &["Api-Version: 1.20"], "OK"),
        |_| answer(200, "{}"),
    );
    let error = old.engine().version().await.unwrap_err();
    assert!(matches!(error, EngineError::TooOld { .. }), "{error:?}");
    assert!(error.to_string().contains("1.24"), "{error}");
}

#[tokio::test]
async fn what_answers_and_is_no_engine_is_not_taken_for_one() {
    let other = FakeEngine::with_ping(|| answer(404, "no"), |_| answer(200, "{}"));
    let error = other.engine().version().await.unwrap_err();
    assert!(error.is_unreachable(), "{error:?}");
    assert!(error.to_string().contains("404"), "{error}");
    assert!(other.recorded().is_empty());
}

#[tokio::test]
async fn without_an_engine_the_error_names_the_place_and_a_later_one_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("engine.sock");
    let engine = engine_at(&socket);
    let error = engine.ping().await.unwrap_err();
    assert!(error.is_unreachable());
    let text = error.to_string();
    assert!(text.contains(socket.to_str().unwrap()), "{text}");
    assert!(text.contains("there is no such file"), "{text}");
    assert!(text.contains("DOCKER_HOST"), "{text}");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let text = engine.ping().await.unwrap_err().to_string();
    assert!(text.contains("nobody listens there"), "{text}");
    let fake = FakeEngine::start(|_| answer(200, "{}"));
    std::fs::rename(fake.socket(), &socket).unwrap();
    engine.ping().await.unwrap();
}

#[tokio::test]
async fn statuses_are_errors_with_what_the_engine_said() {
    let fake = FakeEngine::start(|request| {
        let line = request.line();
        let name = line.split(['/', '?']).nth(3).unwrap();
        let status = name.strip_prefix("status").unwrap().parse().unwrap();
        answer(
            status,
            &format!(r#"{{"message":"the reason of {status}"}}"#),
        )
    });
    let engine = fake.engine();
    for status in [400, 401, 403, 404, 409, 500, 503] {
        let name = format!("status{status}");
        let target = "app:v1".parse().unwrap();
        for error in [
            engine.inspect(&name).await.unwrap_err(),
            engine.tag(&name, &target).await.unwrap_err(),
            engine
                .remove(&name, RemoveOptions::new())
                .await
                .unwrap_err(),
        ] {
            let text = error.to_string();
            assert!(text.contains(&format!("the reason of {status}")), "{text}");
            assert!(text.contains(&name), "{text}");
            assert_eq!(error.is_not_found(), status == 404, "{error:?}");
            assert_eq!(error.is_denied(), status == 403, "{error:?}");
            assert_eq!(error.is_unauthorized(), status == 401, "{error:?}");
            let conflict = matches!(error, EngineError::Conflict { .. });
            assert_eq!(conflict, status == 409, "{error:?}");
        }
    }
    // Nothing was tried again.
    assert_eq!(fake.recorded().len(), 7 * 3);
}

#[tokio::test]
async fn an_answer_that_is_not_what_it_should_be_is_an_error() {
    let fake = FakeEngine::start(|_| answer(200, "<html>"));
    let error = fake.engine().info().await.unwrap_err();
    assert!(matches!(error, EngineError::Unexpected { .. }), "{error:?}");
    let empty = FakeEngine::start(|_| answer(200, "{}"));
    let error = empty.engine().inspect("app:v1").await.unwrap_err();
    assert!(matches!(error, EngineError::Unexpected { .. }), "{error:?}");
    let large = FakeEngine::start(|_| {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n{";
        vec![Act::TakeWholeBody, Act::Write(head.to_vec())]
    });
    let error = large.engine().info().await.unwrap_err();
    assert!(matches!(error, EngineError::Unexpected { .. }), "{error:?}");
    assert!(error.to_string().contains("larger than"), "{error}");
}

#[tokio::test]
async fn a_name_that_is_none_is_not_asked_for() {
    let fake = FakeEngine::start(|_| answer(200, "{}"));
    let engine = fake.engine();
    for name in ["", "../containers", "a b"] {
        let error = engine.inspect(name).await.unwrap_err();
        assert!(
            matches!(error, EngineError::InvalidName { .. }),
            "{error:?}"
        );
        let error = engine.save(&["fine:v1", name]).await.unwrap_err();
        assert!(
            matches!(error, EngineError::InvalidName { .. }),
            "{error:?}"
        );
    }
    assert!(fake.recorded().is_empty());
}
