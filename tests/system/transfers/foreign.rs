//! Layers that their licence keeps elsewhere, at every end.

use std::process::Command;

use serde_json::json;

use super::image::Image;
use super::validated;
use crate::peers::{peer, run};
use crate::support::{Sandbox, digest};

#[test]
fn a_foreign_layer_stays_elsewhere_on_every_way_and_is_told() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve();
    let image = Image::with_foreign_layer();
    image.write_layout(&sandbox.path("source"), "v1");
    let foreign = digest(b"elsewhere");

    let registry = format!("{}/windows/app:v1", server.host());
    let preview = sandbox.peak_json(["registry", "copy", "oci:source:v1", &registry, "--dry-run"]);
    assert_eq!(preview["totals"]["omit"], json!({"blobs": 1, "bytes": 9}));
    let ways = [
        ("oci:source:v1", registry.as_str()),
        (&registry, "oci-archive:image.tar:v1"),
        ("oci-archive:image.tar:v1", "oci:target:v1"),
    ];
    for (from, to) in ways {
        let done = sandbox.peak([
            "registry",
            "copy",
            from,
            to,
            "-o",
            "json",
            "--progress",
            "json",
        ]);
        done.assert_code(0);
        let report: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
        assert_eq!(report["digest"], image.digest(), "{to}");
        assert_eq!(report["missingForeignLayers"], json!([foreign]), "{to}");
        let event = json!({"event": "omitted", "step": "copy", "digest": foreign, "size": 9});
        let told = done
            .stderr
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        assert_eq!(
            told.filter(|one: &serde_json::Value| *one == event).count(),
            1
        );
        done.assert_stderr("stays where its URLs point");
        let seen = validated(to, &sandbox.path(""));
        assert_eq!(seen.missing_foreign_layers.len(), 1, "{to}");
    }

    // Docker would not find it there.
    let done = sandbox.peak(["registry", "copy", &registry, "docker-archive:docker.tar"]);
    assert_ne!(done.code, Some(0));
    assert!(done.error().contains(&foreign), "{}", done.stderr);
    assert!(!sandbox.path("docker.tar").exists());

    // Other tools take it so, too. (This one writes the manifest anew.)
    if peer("skopeo") {
        let place = |name: &str| format!("{}/windows/{name}:v1", server.host());
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["--insecure-policy", "copy", "--override-os", "windows"]);
        skopeo.args(["--src-tls-verify=false", "--dest-tls-verify=false"]);
        run(skopeo.args([place("app"), place("skopeo")].map(|name| format!("docker://{name}"))));
        let manifest = sandbox.peak_json(["registry", "manifest", "get", &place("skopeo")]);
        assert_eq!(manifest["layers"][0]["digest"], foreign);
        let report = sandbox.peak_json([
            "registry",
            "pull",
            &place("skopeo"),
            "oci:again",
            "-o",
            "json",
        ]);
        assert_eq!(report["missingForeignLayers"], json!([foreign]));
    }
}
