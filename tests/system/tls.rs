//! `peak local serve` over TLS, and beyond loopback.

use std::path::PathBuf;
use std::process::Command;

use crate::peers::peer;
use crate::support::{Sandbox, Server, finish};

/// The certificate that clients have to trust.
fn authority(sandbox: &Sandbox) -> PathBuf {
    sandbox.path("state/peak/tls/ca.pem")
}

/// Ships the project to a platform that speaks TLS; gives the image's name and digest.
fn shipped(sandbox: &Sandbox, server: &Server) -> (String, String) {
    sandbox.project();
    let mut command = sandbox.command([
        "ship",
        "project",
        "--endpoint-url",
        &server.url,
        "--to",
        "oci:shipped",
        "-o",
        "json",
    ]);
    // The one way to trust another authority where a command has no option for it.
    command.env("SSL_CERT_FILE", authority(sandbox));
    let finished = finish(command.spawn().unwrap());
    finished.assert_code(0);
    let result: serde_json::Value = serde_json::from_str(&finished.stdout).unwrap();
    let text = |name: &str| result[name].as_str().unwrap().to_owned();
    (text("pullUrl"), text("digest"))
}

#[test]
fn who_trusts_the_printed_authority_once_trusts_the_server_from_then_on() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve_with(&["--tls-self-signed"]);
    assert!(
        server.url.starts_with("https://127.0.0.1:"),
        "{}",
        server.url
    );
    let ca = authority(&sandbox);
    let ca = ca.to_str().unwrap();
    let (image, digest) = shipped(&sandbox, &server);
    let read = |image: &str| sandbox.peak(["registry", "digest", image, "--ca-file", ca]);
    assert_eq!(read(&image).stdout.trim(), digest);
    let refused = sandbox.peak(["registry", "digest", &image]);
    assert_ne!(refused.code, Some(0), "{}", refused.stdout);

    let kept = std::fs::read(ca).unwrap();
    drop(server);
    let server = sandbox.serve_with(&["--tls-self-signed"]);
    assert_eq!(std::fs::read(ca).unwrap(), kept);
    let image = format!("{}/project:0.0.1", server.host());
    let finished = read(&image);
    finished.assert_code(0);
    assert_eq!(finished.stdout.trim(), digest);
}

#[test]
fn skopeo_and_curl_trust_the_authority_too() {
    if !peer("skopeo") || !peer("curl") {
        return;
    }
    let sandbox = Sandbox::new();
    let server = sandbox.serve_with(&["--tls-self-signed", "--metrics", "--access-log"]);
    let (image, digest) = shipped(&sandbox, &server);
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
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        digest,
        "{error}"
    );
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
    let server = sandbox.serve_with(&[
        "--listen",
        "0.0.0.0:0",
        "--tls-self-signed",
        "--token",
        "secret",
    ]);
    assert!(
        server.url.starts_with("https://127.0.0.1:"),
        "{}",
        server.url
    );
}
