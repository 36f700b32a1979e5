//! A second client reads what we write, and we read what it writes.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use peak_layout::{
    Directory, DockerArchive, DockerArchiveOptions, DockerArchiveWriter, OciArchive,
    OciArchiveWriter,
};
use peak_oci::{Algorithm, Digest, Reference, Source};

use crate::support::{Memory, Wrap, transfer};

/// Whether skopeo is there; without it nothing is shown here, which is said.
fn is_there() -> bool {
    let is_there = Command::new("skopeo").arg("--version").output().is_ok();
    if !is_there {
        assert!(
            std::env::var_os("PEAK_PEERS").is_none_or(|value| value != "required"),
            "skopeo is required and not installed"
        );
        let _ = writeln!(
            std::io::stderr(),
            "skipped: skopeo is not installed; with it, it would read our archives and we its"
        );
    }
    is_there
}

fn skopeo(arguments: &[&str]) -> String {
    let done = Command::new("skopeo")
        .args(["--insecure-policy", "--override-os", "linux"])
        .args(["--override-arch", "amd64"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        done.status.success(),
        "skopeo {arguments:?}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
    String::from_utf8(done.stdout).unwrap()
}

fn at(transport: &str, path: &Path, name: &str) -> String {
    format!("{transport}:{}{name}", path.display())
}

/// A layer that is a tar, for tools that look into it.
fn layer(content: &[u8]) -> Vec<u8> {
    crate::support::Tar::new().file("file", content).end()
}

fn image() -> Memory {
    let mut memory = Memory::default();
    let layers = [
        (layer(&vec![1; 300_000]), Wrap::Gzip),
        (layer(b"two"), Wrap::Plain),
    ];
    memory.image(&layers, Algorithm::Sha256, false);
    memory
}

fn raw(place: &str) -> String {
    skopeo(&["inspect", "--raw", place])
}

#[tokio::test(flavor = "multi_thread")]
async fn skopeo_and_we_read_each_others_oci_archives() {
    if !is_there() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let ours = folder.path().join("ours.tar");
    let writer = OciArchiveWriter::create(&ours).unwrap();
    let root = transfer(&image(), &writer, Some("v1")).await.unwrap();
    let text = raw(&at("oci-archive", &ours, ":v1"));
    assert_eq!(text.as_bytes(), root.bytes());

    let layout = folder.path().join("layout");
    let theirs = folder.path().join("theirs.tar");
    skopeo(&[
        "copy",
        "--preserve-digests",
        &at("oci-archive", &ours, ":v1"),
        &at("oci", &layout, ":v2"),
    ]);
    skopeo(&[
        "copy",
        "--preserve-digests",
        &at("oci", &layout, ":v2"),
        &at("oci-archive", &theirs, ":v3"),
    ]);
    let layout = Directory::open(&layout).unwrap();
    let archive = OciArchive::open(&theirs).unwrap();
    assert_eq!(archive.images(), ["v3"]);
    let expected = peak_oci::validate(&layout, None).await.unwrap();
    assert_eq!(peak_oci::validate(&archive, None).await.unwrap(), expected);
    assert_eq!(expected.root.digest, *root.digest());
}

#[tokio::test(flavor = "multi_thread")]
async fn skopeo_and_we_read_each_others_docker_archives() {
    if !is_there() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let ours = folder.path().join("ours.tar");
    let name = Reference::parse("registry.example/team/app:v1").unwrap();
    let options = DockerArchiveOptions::new().name(name.clone());
    let writer = DockerArchiveWriter::create(&ours, options).unwrap();
    let memory = image();
    let root = transfer(&memory, &writer, None).await.unwrap();
    let config = root.value().as_image().unwrap().config.digest.clone();
    let ours = at("docker-archive", &ours, ":registry.example/team/app:v1");
    let text = skopeo(&["inspect", "--config", "--raw", &ours]);
    assert_eq!(Digest::sha256_of(text.as_bytes()), config);

    // Theirs, from ours, with links between layers where skopeo makes them.
    let theirs = folder.path().join("theirs.tar");
    skopeo(&[
        "copy",
        &ours,
        &at("docker-archive", &theirs, ":registry.example/team/app:v1"),
    ]);
    let archive = DockerArchive::open(&theirs, Some(&name)).unwrap();
    let made = archive.manifest(None).await.unwrap();
    assert_eq!(made.value().as_image().unwrap().config.digest, config);
    peak_oci::validate(&archive, None).await.unwrap();
    // Both make the same of the same archive, but that skopeo calls all layers compressed.
    let text = raw(&at(
        "docker-archive",
        &theirs,
        ":registry.example/team/app:v1",
    ));
    let theirs: serde_json::Value = serde_json::from_str(&text).unwrap();
    let ours: serde_json::Value = serde_json::from_slice(made.bytes()).unwrap();
    for (ours, theirs) in [
        (&ours["config"], &theirs["config"]),
        (&ours["layers"][0], &theirs["layers"][0]),
        (&ours["layers"][1], &theirs["layers"][1]),
    ] {
        assert!(ours["digest"].is_string());
        assert_eq!(ours["digest"], theirs["digest"]);
        assert_eq!(ours["size"], theirs["size"]);
    }
}
