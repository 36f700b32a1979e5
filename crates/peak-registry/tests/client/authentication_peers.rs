//! Other people's registry asks us who we are, and other people's tool reads the credentials that we keep.

use std::path::Path;
use std::process::Command;

use peak_oci::Reference;
use peak_registry::{Credentials, Keychain, Registry, RegistryError};
use peak_test_peers::{DockerRegistry, TokenServer, has};

use crate::script::{registry_with, tag};

#[tokio::test]
async fn docker_registry_takes_what_we_keep_and_skopeo_reads_and_writes_the_same_files() {
    if !has("docker-registry") || !has("skopeo") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let server = DockerRegistry::with_users(&[("robot", "secret")]);
    let host = server.address().to_string();
    let ours = folder.path().join("docker/config.json");
    let registry = registry_with(Keychain::builder().docker_config(&ours).build());
    let reference: Reference = format!("{host}/team/app:v1").parse().unwrap();
    let repository = registry.repository(&reference);
    let error = repository.get_manifest(&tag("v1")).await.unwrap_err();
    assert!(
        matches!(error, RegistryError::Unauthorized { .. }),
        "{error}"
    );

    let wrong = Credentials::new("robot", "wrong".into());
    let error = registry.login(&host, wrong).await.unwrap_err();
    assert!(
        matches!(error, RegistryError::LoginRefused { .. }),
        "{error}"
    );
    let right = Credentials::new("robot", "secret".into());
    assert!(registry.login(&host, right).await.unwrap().checked);
    // Whoever may look is told that there is nothing.
    let error = repository.get_manifest(&tag("v1")).await.unwrap_err();
    assert!(error.is_not_found(), "{error}");
    let skopeo = |arguments: &[&str], file: &Path| {
        let output = Command::new("skopeo")
            .args(arguments)
            .arg("--authfile")
            .arg(file)
            .arg(&host)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{output:?}");
        text
    };
    assert_eq!(skopeo(&["login", "--get-login"], &ours).trim(), "robot");

    let theirs = folder.path().join("auth.json");
    let login = ["login", "--tls-verify=false", "-u", "robot", "-p", "secret"];
    skopeo(&login, &theirs);
    let registry = registry_with(Keychain::builder().podman_auth(&theirs).build());
    let repository = registry.repository(&reference);
    let error = repository.get_manifest(&tag("v1")).await.unwrap_err();
    assert!(error.is_not_found(), "{error}");
}

#[tokio::test]
async fn docker_registry_takes_tokens_of_our_own_server_for_what_they_are_for() {
    if !has("docker-registry") || !has("openssl") {
        return;
    }
    let tokens = TokenServer::start("robot", "secret");
    let server = DockerRegistry::with_tokens(&tokens);
    let host = server.address().to_string();
    let registry = Registry::builder()
        .credentials(&host, Credentials::new("robot", "secret".into()))
        .build()
        .unwrap();
    let get = async |name: &str| {
        let reference: Reference = format!("{host}/{name}:v1").parse().unwrap();
        let repository = registry.repository(&reference);
        repository.get_manifest(&tag("v1")).await.unwrap_err()
    };
    for _ in 0..2 {
        let error = get("team/app").await;
        assert!(error.is_not_found(), "{error}");
    }
    assert_eq!(tokens.asked(), [["repository:team/app:pull"]]);
    let error = get("private/app").await;
    assert!(
        matches!(error, RegistryError::Unauthorized { .. }),
        "{error}"
    );
    assert_eq!(error.codes(), ["UNAUTHORIZED"]);
    assert!(tokens.asked().len() <= 3, "{:?}", tokens.asked());
}
