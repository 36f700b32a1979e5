//! The release archive, made from a stand-in for `peak`, so that no release build is needed. CI makes it from the real
//! one.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a helper of a test that cannot go on fails the test"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use flate2::read::GzDecoder;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// In seconds since 1970.
const TIME: u64 = 1_700_000_000;

/// Does what `cargo xtask dist` asks of `peak`, and says the version it is given.
fn stand_in(directory: &Path, version: &str) -> std::path::PathBuf {
    let program = directory.join("stand-in");
    let script = format!(
        "#!/bin/sh
case $1 in
--version) echo peak {version} ;;
completions) echo completes for $2 ;;
man) mkdir -p $2; echo one > $2/peak.1; echo two > $2/peak-ship.1 ;;
ship) for image; do :; done; mkdir -p ${{image#oci:}}; echo {{}} > ${{image#oci:}}/index.json ;;
*) exit 9 ;;
esac
"
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    program
}

fn dist(target: &Path, program: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["dist", "--without-static", "--binary"])
        .arg(program)
        .env("CARGO_TARGET_DIR", target)
        .env("SOURCE_DATE_EPOCH", TIME.to_string())
        .output()
        .unwrap()
}

/// The one archive, and its name.
fn archive(target: &Path) -> (String, Vec<u8>) {
    let names: Vec<String> = fs::read_dir(target.join("dist"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "SHA256SUMS")
        .collect();
    assert_eq!(names.len(), 1, "{names:?}");
    let name = names[0].clone();
    let bytes = fs::read(target.join("dist").join(&name)).unwrap();
    (name, bytes)
}

#[test]
fn an_archive_has_the_program_what_shells_and_man_read_and_the_licence() {
    let directory = TempDir::new().unwrap();
    let program = stand_in(directory.path(), VERSION);
    let output = dist(directory.path(), &program);
    assert!(output.status.success(), "{output:?}");

    let (name, bytes) = archive(directory.path());
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.contains(&name) && said.contains(&format!("{} bytes", bytes.len())),
        "{said}"
    );
    let top = name.strip_suffix(".tar.gz").unwrap();
    assert!(
        top.starts_with(&format!("peak-{VERSION}-")) && top.contains("-linux-"),
        "{name}"
    );

    let mut order = Vec::new();
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(GzDecoder::new(bytes.as_slice()))
        .entries()
        .unwrap()
    {
        let mut entry = entry.unwrap();
        let header = entry.header();
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        assert_eq!(header.mtime().unwrap(), TIME, "{path}");
        assert_eq!(
            (header.uid().unwrap(), header.gid().unwrap()),
            (0, 0),
            "{path}"
        );
        let mode = header.mode().unwrap();
        if header.entry_type().is_dir() {
            assert_eq!(mode, 0o755, "{path}");
            continue;
        }
        let path = path
            .strip_prefix(top)
            .unwrap()
            .trim_start_matches('/')
            .to_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        order.push(path.clone());
        files.insert(path, (mode, content));
    }
    assert!(order.is_sorted(), "{order:?}");
    assert_eq!(
        order,
        [
            "LICENSE",
            "README.md",
            "completions/_peak",
            "completions/_peak.ps1",
            "completions/peak.bash",
            "completions/peak.elv",
            "completions/peak.fish",
            "man/man1/peak-ship.1",
            "man/man1/peak.1",
            "peak",
        ]
    );
    assert_eq!(files["peak"], (0o755, fs::read(&program).unwrap()));
    assert_eq!(
        files["completions/_peak"],
        (0o644, b"completes for zsh\n".to_vec())
    );
    assert_eq!(files["man/man1/peak.1"], (0o644, b"one\n".to_vec()));

    let sums = fs::read_to_string(directory.path().join("dist/SHA256SUMS")).unwrap();
    let sum = Sha256::digest(&bytes)
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    assert_eq!(sums, format!("{sum}  {name}\n"));
}

#[test]
fn the_same_program_gives_the_same_archive() {
    let (first, second) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    for (directory, mode) in [(&first, 0o700), (&second, 0o755)] {
        let program = stand_in(directory.path(), VERSION);
        fs::set_permissions(&program, fs::Permissions::from_mode(mode)).unwrap();
        let output = dist(directory.path(), &program);
        assert!(output.status.success(), "{output:?}");
    }
    assert_eq!(archive(first.path()), archive(second.path()));
}

#[test]
fn a_program_of_another_version_is_refused_and_earlier_archives_stay() {
    let directory = TempDir::new().unwrap();
    let output = dist(directory.path(), &stand_in(directory.path(), VERSION));
    assert!(output.status.success(), "{output:?}");
    let before = archive(directory.path());

    let output = dist(directory.path(), &stand_in(directory.path(), "0.0.1"));
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("`peak 0.0.1`"), "{said}");
    assert_eq!(archive(directory.path()), before);
    let left = fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(left, 2, "the stand-in and the archives");
}
