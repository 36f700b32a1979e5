//! Archives from people who do not mean well, and from disks that were full.

use std::fs;
use std::io::{Seek, SeekFrom, Write};

use peak_layout::{ArchiveError, DockerArchive, LayoutError, OciArchive, OciArchiveWriter};
use peak_oci::{Algorithm, ContentErrorKind, Digest};
use proptest::prelude::*;

use crate::support::{Memory, Tar, Wrap, chain, transfer};

const MARKER: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

fn open(bytes: &[u8]) -> Result<OciArchive, LayoutError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    OciArchive::open(file.path())
}

fn refused(bytes: &[u8]) -> ArchiveError {
    match open(bytes).unwrap_err() {
        LayoutError::Archive { source, .. } => source,
        other => panic!("{}", chain(&other)),
    }
}

/// The bytes of an archive with one image, and its digest.
fn valid() -> (Vec<u8>, Digest) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.tar");
    let mut memory = Memory::default();
    let layers = [(vec![3; 3000], Wrap::Plain), (vec![4; 600], Wrap::Gzip)];
    let image = memory.image(&layers, Algorithm::Sha256, false);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let writer = OciArchiveWriter::create(&path).unwrap();
    runtime.block_on(transfer(&memory, &writer, None)).unwrap();
    (fs::read(&path).unwrap(), image.digest)
}

#[test]
fn an_archive_that_is_cut_off_anywhere_is_refused() {
    let (bytes, _) = valid();
    assert!(open(&bytes).is_ok());
    for length in (512..bytes.len() - 512).step_by(256) {
        let error = refused(&bytes[..length]);
        assert!(
            matches!(error, ArchiveError::Truncated),
            "{length}: {error}"
        );
    }
    assert!(matches!(refused(&bytes[..511]), ArchiveError::NotTar));
    // One empty block is an end as well.
    assert!(open(&bytes[..bytes.len() - 512]).is_ok());
}

#[test]
fn names_that_lead_out_are_refused() {
    for name in ["../x", "/etc/passwd", "a/../../x", "a/../x", ".."] {
        let error = refused(&Tar::new().file(name, b"x").end());
        assert!(
            matches!(error, ArchiveError::Outside { .. }),
            "{name}: {error}"
        );
    }
    let error = open(
        &Tar::new()
            .file("./oci-layout", MARKER)
            .file("x//y", b"")
            .end(),
    )
    .unwrap_err();
    assert!(chain(&error).contains("index.json"), "{}", chain(&error));
}

#[test]
fn the_same_twice_is_one_and_two_of_a_name_are_refused() {
    let error = refused(
        &Tar::new()
            .file("index.json", b"one")
            .file("./index.json", b"two")
            .end(),
    );
    assert!(matches!(error, ArchiveError::Duplicate { .. }), "{error}");
    let error = refused(&Tar::new().file("a", b"").link("a", "b").end());
    assert!(matches!(error, ArchiveError::Duplicate { .. }), "{error}");
    let large = vec![5; 200_000];
    let error = refused(&Tar::new().file("a", &large).file("a", &large).end());
    assert!(matches!(error, ArchiveError::Missing { .. }), "{error}");
    let mut other = large.clone();
    other[199_999] = 6;
    let error = refused(&Tar::new().file("a", &large).file("a", &other).end());
    assert!(matches!(error, ArchiveError::Duplicate { .. }), "{error}");
}

#[test]
fn kinds_of_entries_that_no_image_needs_are_refused() {
    for kind in *b"3467SMVDx" {
        let header = Tar::header("x", kind, 0);
        let tar = Tar::new().raw(&header, b"").end();
        let error = refused(&tar);
        let is_expected = match kind {
            b'x' => matches!(error, ArchiveError::Missing { .. }),
            _ => matches!(error, ArchiveError::Kind { .. }),
        };
        assert!(is_expected, "{}: {error}", char::from(kind));
    }
    // A folder or a link with content is read differently by different tools.
    for kind in *b"125" {
        let error = refused(&Tar::new().entry("x", kind, b"content").end());
        assert!(matches!(error, ArchiveError::Header { .. }), "{error}");
    }
    let sparse = Tar::new().entry("x", b'x', b"22 GNU.sparse.major=1\n");
    let error = refused(&sparse.file("y", b"").end());
    assert!(matches!(error, ArchiveError::Kind { .. }), "{error}");
    // A layout may have a link, but none that is needed.
    let error = open(&Tar::new().link("oci-layout", "x").file("x", MARKER).end()).unwrap_err();
    assert!(
        chain(&error).contains("cannot be followed"),
        "{}",
        chain(&error)
    );
}

#[test]
fn sizes_beyond_the_archive_are_refused() {
    for size in [3, 512, 1 << 33, u64::MAX / 2, u64::MAX - 511, u64::MAX] {
        let mut bytes = Tar::header("x", b'0', size).as_bytes().to_vec();
        assert!(matches!(refused(&bytes), ArchiveError::Truncated), "{size}");
        bytes.resize(bytes.len() + 2, 0);
        assert!(matches!(refused(&bytes), ArchiveError::Truncated), "{size}");
    }
    for (record, expected) in [
        (&b"29 size=18446744073709551615\n"[..], "cut off"),
        (b"30 size=99999999999999999999\n\n", "no valid header"),
        (b"11 size=-1\n", "no valid header"),
        (b"99 size=1\n", "no valid header"),
        (b"nonsense", "no valid header"),
    ] {
        let error = refused(&Tar::new().entry("x", b'x', record).file("y", b"").end());
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn names_without_end_are_not_read() {
    // A sparse file: the name would be 8 GiB long.
    for kind in *b"LKxg" {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let header = Tar::header("././@LongLink", kind, 1 << 33);
        file.write_all(header.as_bytes()).unwrap();
        file.as_file().set_len((1 << 33) + 4096).unwrap();
        let error = OciArchive::open(file.path()).unwrap_err();
        let LayoutError::Archive { source, .. } = &error else {
            panic!("{error}");
        };
        assert!(matches!(source, ArchiveError::LongName { .. }), "{source}");
    }
    let name = "x".repeat(5000);
    let tar = Tar::new().entry("L", b'L', name.as_bytes()).file("y", b"");
    assert!(matches!(refused(&tar.end()), ArchiveError::LongName { .. }));
    let tar = Tar::new().entry("L", b'L', &[0xff, 0xfe]).file("y", b"");
    assert!(matches!(refused(&tar.end()), ArchiveError::Header { .. }));
}

#[test]
fn entries_without_end_are_not_read() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    // A million, of which not all are looked at.
    let header = *Tar::header("x", b'0', 0).as_bytes();
    let thousand = header.repeat(1000);
    for _ in 0..1000 {
        file.write_all(&thousand).unwrap();
    }
    let error = OciArchive::open(file.path()).unwrap_err();
    assert!(
        chain(&error).contains("more than 100000 entries"),
        "{}",
        chain(&error)
    );

    // Names of four thousand bytes each, all different.
    file.as_file().set_len(0).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    for number in 0..5000 {
        let name = format!("{number}/{}", "n".repeat(4000));
        let tar = Tar::new().entry("L", b'L', name.as_bytes()).file("y", b"");
        file.write_all(&tar.bytes).unwrap();
    }
    let error = OciArchive::open(file.path()).unwrap_err();
    assert!(
        chain(&error).contains("too much of names"),
        "{}",
        chain(&error)
    );
}

#[test]
fn headers_that_are_none_are_refused() {
    assert!(matches!(refused(b"no tar at all"), ArchiveError::NotTar));
    assert!(matches!(refused(&[b'x'; 2048]), ArchiveError::NotTar));
    let mut bytes = Tar::new().file("a", b"").file("b", b"").end();
    bytes[512 + 3] ^= 1;
    assert!(matches!(
        refused(&bytes),
        ArchiveError::Header { offset: 512 }
    ));
    // What follows one empty block is either another one or nothing.
    let mut bytes = Tar::new().file("a", b"").end();
    bytes[512 + 512] = 1;
    assert!(matches!(
        refused(&bytes),
        ArchiveError::Header { offset: 1024 }
    ));
}

#[tokio::test]
async fn wrong_bytes_in_a_blob_are_found() {
    let (bytes, digest) = tokio::task::spawn_blocking(valid).await.unwrap();
    let start = bytes
        .windows(1000)
        .position(|window| window == [3; 1000])
        .unwrap();
    let mut wrong = bytes.clone();
    wrong[start] = 9;
    let archive = open(&wrong).unwrap();
    let error = peak_oci::validate(&archive, None).await.unwrap_err();
    assert_eq!(error.kind(), ContentErrorKind::Integrity);
    // The archive behind an open handle becomes shorter.
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), &bytes).unwrap();
    let archive = OciArchive::open(file.path()).unwrap();
    let report = peak_oci::validate(&archive, None).await.unwrap();
    assert_eq!(report.root.digest, digest);
    file.as_file().set_len(start as u64 + 10).unwrap();
    assert!(peak_oci::validate(&archive, None).await.is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is changed, it is an error or it is the same image.
    #[test]
    fn no_change_of_an_archive_goes_unnoticed(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        static VALID: std::sync::OnceLock<(Vec<u8>, Digest)> = std::sync::OnceLock::new();
        let (bytes, digest) = VALID.get_or_init(valid);
        let mut bytes = bytes.clone();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        if let Ok(archive) = open(&bytes)
            && let Ok(report) = runtime.block_on(peak_oci::validate(&archive, None))
        {
            prop_assert_eq!(&report.root.digest, digest);
        }
    }

    /// Nothing panics, whatever stands in an archive.
    #[test]
    fn any_entries_are_read_or_refused(
        entries in prop::collection::vec(
            (
                "(\\.\\./|\\./|/|a/|b/|blobs/sha256/|manifest.json|index.json|oci-layout|c){0,4}",
                prop::sample::select(b"0125xgLKS".to_vec()),
                prop::collection::vec(any::<u8>(), 0..40),
                "[a-z./]{0,12}",
            ),
            0..8,
        ),
    ) {
        let mut tar = Tar::new();
        for (name, kind, content, link) in &entries {
            let mut header = Tar::header(name, *kind, content.len() as u64);
            let _ = header.set_link_name_literal(link);
            header.set_cksum();
            tar = tar.raw(&header, content);
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), tar.end()).unwrap();
        let _ = OciArchive::open(file.path());
        let _ = DockerArchive::open(file.path(), None);
    }
}
