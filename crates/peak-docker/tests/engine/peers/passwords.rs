//! Credentials on their way through the Engine to a registry with Basic and with token authentication.

use peak_docker::EngineCredentials;
use peak_test_peers::{DockerRegistry, TokenServer, has};

use super::archive::Archive;
use super::{Dockerd, image_at, peers};

#[tokio::test]
async fn passwords_with_every_printable_character_work() {
    if !peers() {
        return;
    }
    // At most 72 bytes are looked at by bcrypt, so the characters are spread over two; and some whose base64 differs
    // between the two alphabets.
    let all: String = (' '..='~').collect();
    let (first, second) = all.split_at(48);
    let passwords = [first, second, "~~~???>>>", "pässwörd ✓", "\"\\/{}", ">"];
    let users: Vec<(String, &str)> = (0..)
        .map(|number| format!("user{number}"))
        .zip(passwords)
        .collect();
    let users: Vec<(&str, &str)> = users
        .iter()
        .map(|(user, password)| (&**user, *password))
        .collect();
    let registry = DockerRegistry::with_users(&users);
    let dockerd = Dockerd::start().await;
    let engine = dockerd.engine();
    let archive = Archive::new("app:v1", 1000);
    engine.load(archive.stream(), drop).await.unwrap();
    for (user, password) in &users {
        let credentials = EngineCredentials::new(*user, (*password).into());
        let image = image_at(&registry, &format!("{user}/app:v1"));
        engine.tag("app:v1", &image).await.unwrap();
        let pushed = engine.push(&image, Some(&credentials), drop).await;
        let pushed = pushed.unwrap_or_else(|error| panic!("{password}: {error:?}"));
        let pulled = engine.pull(&image, Some(&credentials), drop).await;
        let pulled = pulled.unwrap_or_else(|error| panic!("{password}: {error:?}"));
        assert_eq!(pulled.digest, pushed.digest);
        assert!(pulled.was_up_to_date);
    }
    // Others are refused, and the error says by whom.
    let image = image_at(&registry, "user0/app:v1");
    let wrong = EngineCredentials::new("user0", "wr0ng".into());
    for credentials in [None, Some(&wrong)] {
        for error in [
            engine.push(&image, credentials, drop).await.err(),
            engine.pull(&image, credentials, drop).await.err(),
        ] {
            let error = error.unwrap();
            assert!(error.is_unauthorized(), "{error:?}");
            assert!(!format!("{error:?}").contains("wr0ng"));
        }
    }
}

#[tokio::test]
async fn tokens_are_had_with_the_password_for_what_it_may_do() {
    if !peers() || !has("openssl") {
        return;
    }
    let password = "~~~???>>>:\" ä";
    let tokens = TokenServer::start("robot", password);
    let registry = DockerRegistry::with_tokens(&tokens);
    let dockerd = Dockerd::start().await;
    let engine = dockerd.engine();
    let archive = Archive::new("app:v1", 1000);
    engine.load(archive.stream(), drop).await.unwrap();
    let robot = EngineCredentials::new("robot", password.into());
    let image = image_at(&registry, "team/app:v1");
    engine.tag("app:v1", &image).await.unwrap();
    let pushed = engine.push(&image, Some(&robot), drop).await.unwrap();
    let pulled = engine.pull(&image, Some(&robot), drop).await.unwrap();
    assert_eq!(pulled.digest, pushed.digest);
    // What nobody gets a token for, and what others get none for.
    let private = image_at(&registry, "private/app:v1");
    engine.tag("app:v1", &private).await.unwrap();
    let wrong = EngineCredentials::new("robot", "wr0ng".into());
    for (image, credentials) in [
        (&private, Some(&robot)),
        (&image, Some(&wrong)),
        (&image, None),
    ] {
        for error in [
            engine.push(image, credentials, drop).await.err(),
            engine.pull(image, credentials, drop).await.err(),
        ] {
            let error = error.unwrap();
            assert!(error.is_denied() || error.is_unauthorized(), "{error:?}");
        }
    }
}
