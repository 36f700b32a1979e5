//! `peak local serve` over TLS, and beyond loopback.

use std::path::PathBuf;
use std::process::Command;

use crate::peers::peer;
use crate::support::{Finished, Sandbox, Server, finish, started};

/// The certificate that clients have to trust.
fn authority(sandbox: &Sandbox) -> PathBuf {
    sandbox.path("state/peak/tls/ca.pem")
}

/// Runs `peak` with the authority as the one that is trusted.
fn trusting(sandbox: &Sandbox, server: &Server, arguments: &[&str]) -> Finished {
    let endpoint = ["--endpoint-url", &server.url, "-o", "json"];
    let mut command = sandbox.command(arguments.iter().copied().chain(endpoint));
    command.env("SSL_CERT_FILE", authority(sandbox));
    finish(command.spawn().unwrap())
}

#[test]
fn who_trusts_the_printed_authority_once_trusts_the_server_from_then_on() {
    let sandbox = Sandbox::new();
    sandbox.project();
    let server = sandbox.serve_with(&["--tls-self-signed"]);
    assert!(
        server.url.starts_with("https://127.0.0.1:"),
        "{}",
        server.url
    );
    trusting(&sandbox, &server, &["ship", "project"]).assert_code(0);
    let refused = sandbox.peak(["images", "list", "--endpoint-url", &server.url]);
    assert_ne!(refused.code, Some(0), "{}", refused.stdout);

    let kept = std::fs::read(authority(&sandbox)).unwrap();
    drop(server);
    let server = sandbox.serve_with(&["--tls-self-signed"]);
    assert_eq!(std::fs::read(authority(&sandbox)).unwrap(), kept);
    let listed = trusting(&sandbox, &server, &["images", "list"]);
    listed.assert_code(0);
    assert!(listed.stdout.contains("\"project\""), "{}", listed.stdout);
}

/// Runs `peak registry` with the authority as the one that is trusted.
fn registry(sandbox: &Sandbox, arguments: &[&str]) -> Finished {
    let file = authority(sandbox).display().to_string();
    let arguments = ["registry"].iter().chain(arguments);
    sandbox.peak(arguments.chain(&["--ca-file", &file]))
}

#[test]
fn the_registry_of_a_server_that_speaks_tls_is_read_and_written_with_its_authority() {
    let sandbox = Sandbox::new();
    sandbox.project();
    let server = sandbox.serve_with(&["--tls-self-signed"]);
    trusting(&sandbox, &server, &["ship", "project"]).assert_code(0);
    let image = format!("{}/project:0.0.1", server.host());
    let copy = format!("{}/project:copy", server.host());

    let digest = registry(&sandbox, &["digest", &image]);
    digest.assert_code(0);
    assert!(digest.stdout.starts_with("sha256:"), "{}", digest.stdout);
    registry(&sandbox, &["pull", &image, "oci:pulled"]).assert_code(0);
    let manifest = registry(&sandbox, &["manifest", "get", &image, "--raw"]);
    manifest.assert_code(0);
    sandbox.files("", [("manifest.json", manifest.stdout.as_bytes())]);
    registry(&sandbox, &["manifest", "put", &copy, "manifest.json"]).assert_code(0);
    let copied = registry(&sandbox, &["digest", &copy]);
    assert_eq!(copied.stdout, digest.stdout);
}

#[test]
fn a_registry_that_is_marked_insecure_may_show_any_certificate_and_another_may_not() {
    let sandbox = Sandbox::new();
    sandbox.project();
    let server = sandbox.serve_with(&["--tls-self-signed"]);
    trusting(&sandbox, &server, &["ship", "project"]).assert_code(0);
    let image = format!("{}/project:0.0.1", server.host());
    let digest = ["registry", "digest", &image];
    assert_ne!(sandbox.peak(digest).code, Some(0));
    // The mark is for a host and its port.
    for (marked, is_taken) in [
        (server.host(), true),
        ("127.0.0.1", false),
        ("127.0.0.1:1", false),
    ] {
        let done = sandbox.peak(digest.iter().chain(&["--insecure", marked]));
        assert_eq!(done.code == Some(0), is_taken, "{marked}: {}", done.stderr);
    }
    let pull = [
        "registry",
        "pull",
        &image,
        "oci:pulled",
        "--insecure",
        server.host(),
    ];
    sandbox.peak(pull).assert_code(0);
}

#[test]
fn who_does_not_trust_the_registry_is_told_how_to() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve_with(&["--tls-self-signed"]);
    let image = format!("{}/project:0.0.1", server.host());
    for arguments in [
        &["registry", "digest", &image][..],
        &["registry", "pull", &image, "oci:pulled"],
        &["images", "list", "--endpoint-url", &server.url],
    ] {
        sandbox
            .peak(arguments)
            .assert_code(6)
            .assert_stderr("certificate")
            .assert_stderr("--ca-file");
    }
}

#[test]
fn skopeo_and_curl_trust_the_authority_too() {
    if !peer("skopeo") || !peer("curl") {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.project();
    let server = sandbox.serve_with(&["--tls-self-signed", "--metrics", "--access-log"]);
    trusting(&sandbox, &server, &["ship", "project"]).assert_code(0);
    let image = format!("{}/project:0.0.1", server.host());
    let certificates = sandbox.path("certificates");
    std::fs::create_dir(&certificates).unwrap();
    std::fs::copy(authority(&sandbox), certificates.join("ca.crt")).unwrap();
    let output = Command::new("skopeo")
        .args(["inspect", "--format", "{{.Digest}}", "--cert-dir"])
        .arg(&certificates)
        .arg(format!("docker://{image}"))
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    let digest = String::from_utf8_lossy(&output.stdout);
    assert!(digest.starts_with("sha256:"), "{error}");
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--noproxy", "*", "--cacert"])
        .arg(authority(&sandbox))
        .arg(format!("{}/metrics", server.url))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains(
            "peak_http_requests_total{method=\"POST\",route=\"images\",status=\"2xx\"} 1"
        ),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );

    server.signal("TERM");
    let log = server.stderr();
    let logged = log
        .lines()
        .filter(|line| line.starts_with('{'))
        .any(|line| {
            let entry: serde_json::Value = serde_json::from_str(line).unwrap();
            entry["method"] == "GET" && entry["path"] == "/metrics" && entry["status"] == 200
        });
    assert!(logged, "{log}");
}

#[test]
fn beyond_loopback_a_token_and_tls_are_needed() {
    let sandbox = Sandbox::new();
    let everywhere = ["local", "serve", "--listen", "0.0.0.0:0"];
    for more in [&[][..], &["--token", "secret"], &["--tls-self-signed"]] {
        let refused = sandbox.peak(everywhere.iter().chain(more));
        refused.assert_code(2);
        refused.assert_stderr("0.0.0.0:0 is not a loopback address");
        refused.assert_stderr("--tls-self-signed");
    }
    let both = ["--tls-self-signed", "--token", "secret"];
    let mut command = sandbox.command(everywhere.iter().chain(&both));
    let server = started(command.spawn().unwrap());
    assert!(
        server.url.starts_with("https://127.0.0.1:"),
        "{}",
        server.url
    );
}
