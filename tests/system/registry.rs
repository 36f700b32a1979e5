//! `peak registry` against the registry of the embedded platform.

use serde_json::{Value, json};

use crate::support::{Sandbox, Server, digest};

/// A sandbox with a platform that has built one image, `project:0.0.1`.
struct Site {
    sandbox: Sandbox,
    server: Server,
}

impl Site {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        sandbox.project();
        let server = sandbox.serve();
        let shipped = sandbox.peak(["ship", "project", "--endpoint-url", &server.url]);
        shipped.assert_code(0);
        Self { sandbox, server }
    }

    /// `HOST:PORT/name`
    fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.server.host())
    }

    #[track_caller]
    fn text(&self, arguments: &[&str]) -> String {
        let finished = self.sandbox.peak(arguments);
        finished.assert_code(0);
        finished.stdout
    }

    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        self.sandbox
            .peak_json([arguments, &["-o", "json"]].concat())
    }
}

#[test]
fn manifests_are_read_and_sent_unchanged_and_deleted() {
    let site = Site::new();
    let image = site.name("project:0.0.1");
    let raw = site.text(&["registry", "manifest", "get", &image, "--raw"]);
    let known = digest(raw.as_bytes());
    assert_eq!(
        site.text(&["registry", "digest", &image]),
        format!("{known}\n")
    );

    site.sandbox.files("", [("manifest.json", raw.as_bytes())]);
    let put = site.json(&[
        "registry",
        "manifest",
        "put",
        &site.name("project:copy"),
        "manifest.json",
    ]);
    assert_eq!(put["digest"], known);
    assert_eq!(
        site.text(&["registry", "tags", &site.name("project")]),
        "0.0.1\ncopy\n"
    );
    // The bytes say what they are: under another digest they are refused before anything is sent.
    let wrong = format!("{}@{}", site.name("project"), digest(b"other"));
    let refused = site
        .sandbox
        .peak(["registry", "manifest", "put", &wrong, "manifest.json"]);
    refused.assert_code(7);

    assert_eq!(
        site.json(&["registry", "delete", &site.name("project:copy")]),
        json!({"deleted": site.name("project:copy")})
    );
    assert_eq!(
        site.json(&["registry", "tags", &site.name("project")]),
        json!(["0.0.1"])
    );
    let by_digest = format!("{}@{known}", site.name("project"));
    site.json(&["registry", "manifest", "delete", &by_digest, "--yes"]);
    site.sandbox
        .peak(["registry", "digest", &image])
        .assert_code(4);
    // A tag is not what `manifest delete` takes, and no tag is never `latest`.
    for arguments in [
        &["registry", "manifest", "delete", &image][..],
        &["registry", "delete", &site.name("project")],
        &[
            "registry",
            "manifest",
            "put",
            &site.name("project"),
            "manifest.json",
        ],
    ] {
        site.sandbox.peak(arguments).assert_code(2);
    }
}

#[test]
fn blobs_go_up_and_come_back_verified() {
    let site = Site::new();
    let content = b"{\"hello\": \"blob\"}";
    site.sandbox.files("", [("blob.json", content.as_slice())]);
    let put = site.json(&["registry", "blob", "put", &site.name("data"), "blob.json"]);
    assert_eq!(
        put,
        json!({"digest": digest(content), "size": content.len()})
    );
    let reference = format!("{}@{}", site.name("data"), digest(content));
    let text = site.text(&["registry", "blob", "get", &reference]);
    assert_eq!(text.as_bytes(), content);
    site.text(&[
        "registry",
        "blob",
        "get",
        &reference,
        "--output",
        "copy.json",
    ]);
    assert_eq!(
        std::fs::read(site.sandbox.path("copy.json")).unwrap(),
        content
    );
    let absent = format!("{}@{}", site.name("data"), digest(b"absent"));
    site.sandbox
        .peak(["registry", "blob", "get", &absent])
        .assert_code(4);
    site.sandbox
        .peak(["registry", "blob", "get", &site.name("data")])
        .assert_code(2);
    site.sandbox.assert_no_leftovers();
}

#[test]
fn images_are_pushed_and_copied_unchanged() {
    let site = Site::new();
    let image = site.name("project:0.0.1");
    let pulled = site.json(&["registry", "pull", &image, "layout"]);
    let copy = site.name("team/copy:stable");
    let pushed = site.json(&["registry", "push", "layout", &site.name("pushed")]);
    assert_eq!(pushed["digest"], pulled["digest"]);
    assert_eq!(
        pushed["destination"],
        format!("docker://{}", site.name("pushed"))
    );
    let copied = site.json(&["registry", "copy", &site.name("pushed:latest"), &copy]);
    assert_eq!(copied["digest"], pulled["digest"]);
    assert_eq!(copied["blobsCopied"], 0);
    assert_eq!(copied["blobsMounted"], pulled["blobsCopied"]);
    assert_eq!(
        site.text(&["registry", "digest", &copy]).trim(),
        pulled["digest"].as_str().unwrap()
    );

    // Everything is a name at Docker Hub, which has to be meant.
    let finished = site.sandbox.peak(["registry", "copy", &image, "somewhere"]);
    finished.assert_code(2);
    assert!(
        finished.stderr.contains("docker://somewhere"),
        "{}",
        finished.stderr
    );

    // What is built can go there straight away.
    let built = site.name("team/built:v1");
    let url = &site.server.url;
    let shipped = site.sandbox.peak_json([
        "ship",
        "project",
        "--endpoint-url",
        url,
        "--to",
        &built,
        "-o",
        "json",
    ]);
    assert_eq!(
        site.text(&["registry", "digest", &built]).trim(),
        shipped["digest"].as_str().unwrap()
    );
}

#[test]
fn the_config_and_the_lists_of_a_registry_are_shown() {
    let site = Site::new();
    let config = site.text(&["registry", "config", &site.name("project:0.0.1")]);
    let config: Value = serde_json::from_str(&config).unwrap();
    assert_eq!(config["config"]["Cmd"], json!(["serve"]));
    assert_eq!(
        site.text(&["registry", "catalog", site.server.host()]),
        "project\n"
    );
    assert_eq!(
        site.text(&["registry", "tags", &site.name("project"), "-o", "yaml"]),
        "- \"0.0.1\"\n"
    );
    let missing = site
        .sandbox
        .peak(["registry", "tags", &site.name("nothing")]);
    missing.assert_code(4);
}

#[test]
fn what_refers_to_an_image_is_listed_and_filtered() {
    let site = Site::new();
    let image = site.name("project:0.0.1");
    let subject = site.text(&["registry", "digest", &image]);
    let subject = subject.trim();
    let size = site
        .text(&["registry", "manifest", "get", &image, "--raw"])
        .len();
    site.sandbox.files("", [("empty.json", b"{}".as_slice())]);
    site.json(&[
        "registry",
        "blob",
        "put",
        &site.name("project"),
        "empty.json",
    ]);
    let signature = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/vnd.test.signature",
        "config": {
            "mediaType": "application/vnd.oci.empty.v1+json",
            "digest": digest(b"{}"),
            "size": 2
        },
        "layers": [],
        "subject": {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": subject,
            "size": size
        }
    })
    .to_string();
    site.sandbox
        .files("", [("signature.json", signature.as_bytes())]);
    let place = format!("{}@{}", site.name("project"), digest(signature.as_bytes()));
    site.json(&["registry", "manifest", "put", &place, "signature.json"]);
    let found = site.json(&["registry", "referrers", &image]);
    assert_eq!(found["subject"], subject);
    assert_eq!(
        found["referrers"][0]["digest"],
        digest(signature.as_bytes())
    );
    let other = site.json(&[
        "registry",
        "referrers",
        &image,
        "--artifact-type",
        "application/vnd.test.other",
    ]);
    assert_eq!(other["referrers"], json!([]));
}

/// Puts an image for another platform beside the built one, with the same layers.
fn put_variant(site: &Site, architecture: &str) {
    let image = site.name("project:0.0.1");
    let manifest = site.text(&["registry", "manifest", "get", &image, "--raw"]);
    let mut manifest: Value = serde_json::from_str(&manifest).unwrap();
    let config = site.text(&["registry", "config", &image]);
    let mut config: Value = serde_json::from_str(&config).unwrap();
    config["architecture"] = json!(architecture);
    let config = config.to_string();
    manifest["config"]["digest"] = json!(digest(config.as_bytes()));
    manifest["config"]["size"] = json!(config.len());
    let manifest = manifest.to_string();
    site.sandbox.files(
        "",
        [
            ("config.json", config.as_bytes()),
            ("variant.json", manifest.as_bytes()),
        ],
    );
    site.json(&[
        "registry",
        "blob",
        "put",
        &site.name("project"),
        "config.json",
    ]);
    let tag = site.name(&format!("project:{architecture}"));
    site.json(&["registry", "manifest", "put", &tag, "variant.json"]);
}

#[test]
fn indexes_are_made_inspected_merged_and_cut_down() {
    let site = Site::new();
    // None of them is this machine's, so that the digests are the same on every machine.
    for architecture in ["mips64le", "riscv64", "s390x"] {
        put_variant(&site, architecture);
    }
    let (mips, risc, big) = (
        site.name("project:mips64le"),
        site.name("project:riscv64"),
        site.name("project:s390x"),
    );
    let all = site.name("project:all");
    site.json(&["registry", "index", "create", &all, &mips, &risc]);
    let tree = site.text(&["registry", "inspect", &all, "-o", "table"]);
    insta::assert_snapshot!("inspect", tree.replace(site.server.host(), "[HOST]"));
    let shown = site.json(&["registry", "inspect", &all]);
    let manifests = shown["manifest"]["manifests"].as_array().unwrap();
    assert_eq!(manifests.len(), 2);
    assert_eq!(manifests[1]["platform"], "linux/riscv64");
    assert_eq!(manifests[0]["layers"][0]["sharedBy"], 2);
    assert!(shown["sharedSize"].as_u64().unwrap() > 0);

    // Of another index, one platform comes and the others stay.
    let other = site.name("project:other");
    site.json(&["registry", "index", "create", &other, &risc, &big]);
    site.json(&[
        "registry", "index", "merge", &other, &all, "--arch", "s390x",
    ]);
    let platforms = |reference: &str| {
        let shown = site.json(&["registry", "inspect", reference]);
        let manifests = shown["manifest"]["manifests"].as_array().unwrap().clone();
        let platforms = manifests.iter().map(|one| one["platform"].clone());
        platforms.collect::<Vec<_>>()
    };
    assert_eq!(
        platforms(&all),
        ["linux/mips64le", "linux/riscv64", "linux/s390x"].map(Value::from)
    );
    let removed = [
        "registry",
        "index",
        "remove",
        &all,
        "--platform",
        "linux/mips64le,linux/s390x",
    ];
    site.json(&removed);
    assert_eq!(platforms(&all), [json!("linux/riscv64")]);
    site.sandbox.peak(removed).assert_code(4);
    // The one for a platform is found by it, and where there is none the error says what there is.
    let config = site.text(&["registry", "config", &all, "--platform", "linux/riscv64"]);
    assert!(config.contains("riscv64"));
    let missing = site
        .sandbox
        .peak(["registry", "config", &all, "--platform", "windows/amd64"]);
    missing.assert_code(4);
    assert!(
        missing.stderr.contains("linux/riscv64"),
        "{}",
        missing.stderr
    );
}

#[test]
fn what_an_index_lists_is_copied_beside_it() {
    let site = Site::new();
    for architecture in ["mips64le", "riscv64", "s390x"] {
        put_variant(&site, architecture);
    }
    let image = |name: &str| site.name(&format!("project:{name}"));
    let [mips, risc, big] = ["mips64le", "riscv64", "s390x"].map(image);
    site.json(&["registry", "pull", &risc, "oci:on-disk"]);

    // From another repository and from the disk.
    let made = site.name("other/made:1");
    site.json(&["registry", "index", "create", &made, &mips, "oci:on-disk"]);
    let platforms = |name: &str| {
        let shown = site.json(&["registry", "inspect", name]);
        let manifests = shown["manifest"]["manifests"].as_array().unwrap().clone();
        let platforms = manifests.iter().map(|one| one["platform"].clone());
        platforms.collect::<Vec<_>>()
    };
    let two = ["linux/mips64le", "linux/riscv64"].map(Value::from);
    assert_eq!(platforms(&made), two);
    // All of it is there: a pull checks each blob.
    site.json(&["registry", "pull", &made, "oci:made"]);
    let tags = site.json(&["registry", "tags", &site.name("other/made")]);
    assert_eq!(tags, json!(["1"]));

    // Of an index elsewhere only what is wanted comes.
    let all = image("all");
    site.json(&["registry", "index", "create", &all, &mips, &big]);
    site.json(&["registry", "index", "merge", &all, &made, "--arch", "s390x"]);
    assert_eq!(
        platforms(&made),
        ["linux/mips64le", "linux/riscv64", "linux/s390x"].map(Value::from)
    );
    site.json(&["registry", "pull", &made, "oci:merged"]);

    // What is on disk can be looked at the same way.
    assert_eq!(platforms("oci:merged"), platforms(&made));
    let digests = ["registry", "digest", &made, "oci:merged", "-o", "json"];
    let digests = site.json(&digests);
    assert_eq!(digests[0]["digest"], digests[1]["digest"]);
    assert_eq!(digests[1]["reference"], "oci:merged");
    let missing = ["registry", "digest", "oci:merged:no"];
    site.sandbox.peak(missing).assert_code(4);

    let missing = ["registry", "index", "create", &made, "oci:nothing"];
    site.sandbox.peak(missing).assert_code(4);
    let missing = [
        "registry",
        "index",
        "create",
        &made,
        &site.name("project:no"),
    ];
    site.sandbox.peak(missing).assert_code(4);
}

/// Runs `peak` with this on its standard input.
fn with_input(sandbox: &Sandbox, arguments: &[&str], input: &str) -> crate::support::Finished {
    use std::io::Write as _;

    let mut command = sandbox.command(arguments);
    command.stdin(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // What is refused for its arguments ends without reading.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    crate::support::finish(child)
}

#[test]
fn credentials_are_checked_kept_used_explained_and_removed() {
    use std::os::unix::fs::PermissionsExt as _;

    let sandbox = Sandbox::new();
    let server = sandbox.serve_with(&["--token", "s3cret"]);
    let host = server.host();
    let repository = format!("{host}/data");
    sandbox.files("", [("blob.json", b"{}".as_slice())]);
    let put = ["registry", "blob", "put", &repository, "blob.json"];
    let refused = sandbox.peak(put);
    refused.assert_code(3);
    refused.assert_stderr("peak registry login");

    let login = [
        "registry",
        "login",
        host,
        "-u",
        "me",
        "--password-stdin",
        "-o",
        "json",
    ];
    let wrong = with_input(&sandbox, &login, "wrong\n");
    wrong.assert_code(3);
    assert!(!wrong.stderr.contains("wrong"), "{}", wrong.stderr);
    let config = sandbox.path("home/.docker/config.json");
    assert!(!config.exists());
    let done = with_input(&sandbox, &login, "s3cret\n");
    done.assert_code(0);
    assert!(!done.stdout.contains("s3cret") && !done.stderr.contains("s3cret"));
    let done: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(
        (&done["user"], &done["checked"]),
        (&json!("me"), &json!(true))
    );
    let mode = std::fs::metadata(&config).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    sandbox.peak(put).assert_code(0);

    let explained = sandbox.peak(["registry", "auth", "explain", &repository, "-o", "table"]);
    explained.assert_code(0);
    let home = sandbox.path("home").display().to_string();
    let text = explained
        .stdout
        .replace(&home, "[HOME]")
        .replace(host, "[HOST]");
    assert!(!text.contains("s3cret"));
    insta::assert_snapshot!("auth_explain", text);

    sandbox.peak(["registry", "logout", host]).assert_code(0);
    assert!(!std::fs::read_to_string(&config).unwrap().contains(host));
    sandbox.peak(put).assert_code(3);
    // Twice is no error, and says so.
    let again = sandbox.peak(["registry", "logout", host, "-o", "table"]);
    again.assert_code(0);
    assert!(again.stdout.contains("there were no credentials"));

    // Without a terminal the password comes on standard input, with a user beside it.
    for arguments in [
        &["registry", "login", host][..],
        &["registry", "login", host, "--password-stdin"],
    ] {
        with_input(&sandbox, arguments, "s3cret").assert_code(2);
    }
}
