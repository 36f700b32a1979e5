//! How much memory a transfer takes: as much for a large image as for a small one.
//!
//! `PEAK_TRANSFER_MIB` says how large the large one is.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::process::Command;

use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::kill::number;
use crate::support::{Finished, Sandbox, Server, digest, finish};

const MIB: u64 = 1 << 20;
const SMALL: u64 = 64;
const LARGE: u64 = 256;

/// The most that a transfer may have had, in MiB, in a build without optimisation too.
pub(crate) const BOUND: u64 = 64;

/// A layout with an image of two layers. Its files are sparse: they take no room on the disk.
fn layout(folder: &Path, mebibytes: u64) {
    let blobs = folder.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let described = |media_type: &str, digest: &str, size: u64| json!({"mediaType": format!("application/vnd.oci.image.{media_type}"), "digest": digest, "size": size});
    let put = |content: String, media_type: &str| {
        let digest = digest(content.as_bytes());
        std::fs::write(blobs.join(&digest[7..]), &content).unwrap();
        described(media_type, &digest, content.len() as u64)
    };
    let zeros = vec![0; 1 << 20];
    let layers: Vec<_> = ["one", "two"]
        .into_iter()
        .map(|first| {
            let size = mebibytes / 2 * MIB;
            let mut hash = Sha256::new();
            hash.update(first);
            for _ in 1..mebibytes / 2 {
                hash.update(&zeros);
            }
            hash.update(&zeros[first.len()..]);
            let digest = hash
                .finalize()
                .iter()
                .fold("sha256:".to_owned(), |text, byte| {
                    text + &format!("{byte:02x}")
                });
            let mut file = File::create(blobs.join(&digest[7..])).unwrap();
            file.write_all(first.as_bytes()).unwrap();
            file.seek(SeekFrom::Start(0)).unwrap();
            file.set_len(size).unwrap();
            described("layer.v1.tar", &digest, size)
        })
        .collect();
    let diff_ids: Vec<_> = layers.iter().map(|layer| &layer["digest"]).collect();
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = put(config.to_string(), "config.v1+json");
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config,
        "layers": layers,
    });
    let manifest = put(manifest.to_string(), "manifest.v1+json");
    let index = json!({"schemaVersion": 2, "manifests": [manifest]});
    std::fs::write(folder.join("index.json"), index.to_string()).unwrap();
    std::fs::write(
        folder.join("oci-layout"),
        r#"{"imageLayoutVersion":"1.0.0"}"#,
    )
    .unwrap();
}

/// Runs it to its end, and says how much memory it has had at most, in MiB, rounded up.
pub(crate) fn watched(mut command: Command) -> (Finished, u64) {
    let mut child = command.spawn().unwrap();
    let path = format!("/proc/{}/status", child.id());
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        let status = std::fs::read_to_string(&path).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmHWM:"));
        if let Some(line) = line {
            most = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    (finish(child), u64::div_ceil(most, 1024))
}

/// The memory that each step of a way through all ends takes.
fn way(sandbox: &Sandbox, server: &Server, other: &Server, mebibytes: u64) {
    let host = server.host();
    let name = format!("size-{mebibytes}");
    layout(&sandbox.path(&format!("{name}/from")), mebibytes);
    let (pushed, copied) = (
        format!("{host}/{name}/pushed:v1"),
        format!("{}/{name}/copied:v1", other.host()),
    );
    let steps = [
        ("push", format!("oci:{name}/from"), pushed.clone()),
        ("pull", pushed.clone(), format!("oci:{name}/pulled")),
        ("copy", pushed.clone(), copied),
        ("copy", pushed.clone(), format!("oci-archive:{name}/a.tar")),
        ("copy", pushed, format!("docker-archive:{name}/d.tar:a:v1")),
        (
            "copy",
            format!("oci-archive:{name}/a.tar"),
            format!("oci:{name}/from-archive"),
        ),
        (
            "copy",
            format!("docker-archive:{name}/d.tar"),
            format!("oci:{name}/from-docker"),
        ),
    ];
    for (how, from, to) in steps {
        let (finished, most) = watched(sandbox.command(["registry", how, &from, &to]));
        finished.assert_code(0);
        println!("{mebibytes} MiB: {how} {from} {to}: {most} MiB of memory");
        assert!(most > 0 && most < BOUND, "{how} {from} {to}: {most} MiB");
    }
    std::fs::remove_dir_all(sandbox.path(&name)).unwrap();
}

#[test]
fn no_transfer_takes_more_memory_for_a_larger_image() {
    let large = number("PEAK_TRANSFER_MIB").unwrap_or(LARGE);
    let sandbox = Sandbox::new();
    let server = sandbox.serve();
    let elsewhere = Sandbox::new();
    let other = elsewhere.serve();
    way(&sandbox, &server, &other, SMALL);
    way(&sandbox, &server, &other, large);
}
