//! Names of registries and repositories, and what is asked of whom for them.

use peak_http::{Proxies, Proxy};
use peak_oci::Reference;
use peak_registry::{Credentials, Registry};

use crate::script::{Script, answer, tag};

/// What is asked for a reference, seen by a proxy that everything goes through unprotected.
async fn asked(reference: &str) -> String {
    let proxy = Script::start(|_, _| answer("404 Not Found", &[], b"")).await;
    let reference: Reference = reference.parse().unwrap();
    let address = format!("http://{}", proxy.address);
    let registry = Registry::builder()
        .insecure(reference.registry())
        .proxies(Proxies::all(Proxy::new(&address).unwrap()))
        .build()
        .unwrap();
    let repository = registry.repository(&reference);
    assert!(!repository.has_manifest(&tag("v1")).await.unwrap());
    // Before it, the proxy has refused a tunnel.
    let line = proxy.requests()[1].line().to_owned();
    line.strip_prefix("HEAD http://").unwrap().to_owned()
}

#[tokio::test]
async fn docker_hub_is_one_registry_and_has_its_short_names() {
    for (reference, path) in [
        ("alpine", "library/alpine"),
        ("docker.io/alpine", "library/alpine"),
        ("index.docker.io/alpine", "library/alpine"),
        ("team/app", "team/app"),
    ] {
        let expected = format!("registry-1.docker.io/v2/{path}/manifests/v1");
        assert_eq!(asked(reference).await, expected, "{reference}");
    }
}

#[tokio::test]
async fn names_at_other_registries_are_taken_as_they_are() {
    for (reference, expected) in [
        ("r.example/app", "r.example/v2/app/manifests/v1"),
        // Artifactory by path: what looks like part of the server's address is the repository's.
        (
            "r.example/docker-local/team/app",
            "r.example/v2/docker-local/team/app/manifests/v1",
        ),
        // By name of host, the same is in the name.
        (
            "docker-local.r.example/library/app",
            "docker-local.r.example/v2/library/app/manifests/v1",
        ),
        ("r.example:5000/app", "r.example:5000/v2/app/manifests/v1"),
    ] {
        assert_eq!(asked(reference).await, expected);
    }
}

#[tokio::test]
async fn a_port_that_is_the_default_is_the_same_registry() {
    let server = Script::start_secure(|_, request| match request.header("authorization") {
        None => answer(
            "401 Unauthorized",
            &[("www-authenticate", "Basic realm=\"x\"")],
            b"",
        ),
        Some(_) => answer("404 Not Found", &[], b""),
    })
    .await;
    // The credentials are for `origin.test`.
    let registry =
        server.secure_registry("origin.test", Credentials::new("robot", "secret".into()));
    for reference in ["origin.test/team/app", "origin.test:443/team/app"] {
        let repository = registry.repository(&reference.parse().unwrap());
        assert!(!repository.has_manifest(&tag("v1")).await.unwrap());
    }
    let requests = server.requests();
    let known = requests
        .iter()
        .filter(|request| request.header("authorization").is_some());
    assert_eq!(known.count(), 2);
}
