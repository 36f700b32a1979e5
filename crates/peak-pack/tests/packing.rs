//! Packing real directories.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests may fail the test; the exemption in clippy.toml sees only test functions"
)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{Cursor, Read};
use std::path::Path;

use peak_pack::{CancelFlag, FileList, PackError, PackOptions, pack, pack_to_file, scan};
use tempfile::TempDir;

fn write(root: &Path, path: &str, contents: impl AsRef<[u8]>) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, contents).unwrap();
}

fn project(files: &[&str]) -> TempDir {
    let place = tempfile::tempdir().unwrap();
    for path in files {
        write(place.path(), path, path);
    }
    place
}

fn paths(list: &FileList) -> Vec<&str> {
    list.files.iter().map(|file| file.path.as_str()).collect()
}

fn packed(root: &Path, options: &PackOptions) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    pack(root, options, &mut out).unwrap();
    out.into_inner()
}

fn entries(zip: &[u8]) -> Vec<(String, Option<u32>, String)> {
    let mut archive = zip::ZipArchive::new(Cursor::new(zip)).unwrap();
    (0..archive.len())
        .map(|index| {
            let mut file = archive.by_index(index).unwrap();
            assert_eq!(file.last_modified(), Some(zip::DateTime::DEFAULT));
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            (file.name().unwrap().into_owned(), file.unix_mode(), text)
        })
        .collect()
}

#[derive(serde::Deserialize)]
struct Vectors {
    files: Vec<String>,
    cases: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    patterns: Vec<String>,
    included: BTreeSet<String>,
}

#[test]
fn ignore_pattern_vectors() {
    let vectors: Vectors =
        serde_json::from_str(include_str!("vectors/ignore_patterns.json")).unwrap();
    assert_eq!(vectors.cases.len(), 120);
    assert_eq!(vectors.files.len(), 29);
    let files: Vec<&str> = vectors.files.iter().map(String::as_str).collect();
    let place = project(&files);
    let options = PackOptions::new().ignore_files(["rules"]);
    for case in &vectors.cases {
        write(place.path(), "rules", case.patterns.join("\n"));
        let list = scan(place.path(), &options).unwrap();
        let mut included: BTreeSet<String> = list.files.into_iter().map(|file| file.path).collect();
        included.remove("rules");
        assert_eq!(included, case.included, "{:?}", case.patterns);
    }
}

#[test]
fn entries_are_sorted_and_parents_have_their_own() {
    let place = project(&[
        "b/c/deep.txt",
        "b-a.txt",
        "b/a.txt",
        "Z.txt",
        "skip/x.log",
        "é/ü.txt",
    ]);
    fs::create_dir(place.path().join("empty")).unwrap();
    write(place.path(), ".dockerignore", "*.log\n");
    let found = entries(&packed(place.path(), &PackOptions::new()));
    let names: Vec<&str> = found.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            ".dockerignore",
            "Z.txt",
            "b-a.txt",
            "b/",
            "b/a.txt",
            "b/c/",
            "b/c/deep.txt",
            "é/",
            "é/ü.txt"
        ]
    );
    for (name, mode, text) in &found {
        if name.ends_with('/') {
            assert_eq!((*mode, text.as_str()), (Some(0o40755), ""), "{name}");
        } else {
            assert_eq!(*mode, Some(0o100_644), "{name}");
            assert!(name == ".dockerignore" || text == name);
        }
    }
}

#[test]
fn the_same_tree_gives_the_same_bytes() {
    let mut files = vec!["a.txt", "b/c.txt", "b/d/e.txt", "f", "g/h"];
    let first = project(&files);
    files.reverse();
    let second = project(&files);
    let old = fs::File::options()
        .write(true)
        .open(second.path().join("f"))
        .unwrap();
    old.set_modified(std::time::UNIX_EPOCH).unwrap();
    let bytes = packed(first.path(), &PackOptions::new());
    assert_eq!(bytes, packed(second.path(), &PackOptions::new()));
    let output = second.path().join("out.zip");
    let archive = pack_to_file(second.path(), &PackOptions::new(), &output).unwrap();
    assert_eq!(fs::read(&output).unwrap(), bytes);
    assert_eq!(archive.size, bytes.len() as u64);
}

/// The bytes themselves: a change of the zip or deflate library that alters them must be seen, since
/// it makes every user's next upload a different artifact.
#[test]
fn the_bytes_of_a_known_tree_are_known() {
    let place = tempfile::tempdir().unwrap();
    write(place.path(), "Dockerfile", "FROM scratch\nCOPY . /\n");
    write(place.path(), "site/index.html", "<p>hello</p>\n".repeat(40));
    // Compressed in segments, by the other of the two libraries.
    write(place.path(), "site/large.txt", prose(600_000, 3));
    let bytes = packed(place.path(), &PackOptions::new());
    let checksum = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    assert_eq!(
        (bytes.len(), format!("{checksum:016x}")),
        (176_942, "18f37b6df83f1a3d".to_owned())
    );
}

/// Text that compresses about as source code does, the same for the same seed.
fn prose(length: usize, mut seed: u32) -> Vec<u8> {
    let words = [
        "let", "value", "=", "(", ")", "return", "self.", "count", "\n    ", "0x1f", ";", "// why",
    ];
    let mut text = Vec::with_capacity(length + 16);
    while text.len() < length {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let word = words.iter().cycle().nth(seed as usize >> 24).unwrap();
        text.extend_from_slice(word.as_bytes());
        text.extend(seed.to_string().bytes().take(seed as usize >> 30));
    }
    text.truncate(length);
    text
}

/// Small files, files around the size from which they are compressed in segments, and what does not
/// compress.
fn mixed_project() -> TempDir {
    const SEGMENT: usize = 512 * 1024;
    let place = tempfile::tempdir().unwrap();
    for number in 0..400_u32 {
        let path = format!("src/{}/file{number}.txt", number % 7);
        write(place.path(), &path, prose(number as usize * 13, number));
    }
    for (name, length) in [
        ("large/below", SEGMENT - 1),
        ("large/exact", SEGMENT),
        ("large/above", SEGMENT + 1),
        ("large/double", 2 * SEGMENT),
        ("large/odd", 3 * SEGMENT + 12_345),
    ] {
        write(place.path(), name, prose(length, 7));
    }
    let mut state = 1_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()
    })
    .take(SEGMENT / 4)
    .flatten()
    .collect();
    write(place.path(), "src/noise", noise);
    write(place.path(), "src/empty", "");
    place
}

#[test]
fn the_number_of_threads_does_not_show_in_the_bytes() {
    let place = mixed_project();
    let with = |count: usize| {
        let threads = std::num::NonZeroUsize::new(count).unwrap();
        packed(place.path(), &PackOptions::new().threads(threads))
    };
    let alone = with(1);
    for count in [2, 3, 16] {
        assert!(with(count) == alone, "{count}");
    }
    assert!(packed(place.path(), &PackOptions::new()) == alone);
}

#[test]
fn what_is_unpacked_is_what_was_packed_whatever_its_size() {
    let place = mixed_project();
    let zip = packed(place.path(), &PackOptions::new());
    let mut archive = zip::ZipArchive::new(Cursor::new(&zip)).unwrap();
    let list = scan(place.path(), &PackOptions::new()).unwrap();
    assert_eq!(list.files.len(), 407);
    for file in &list.files {
        let mut contents = Vec::new();
        // The reader checks the checksum as well.
        let mut entry = archive.by_name(&file.path).unwrap();
        entry.read_to_end(&mut contents).unwrap();
        assert_eq!(entry.size(), file.size);
        assert!(
            contents == fs::read(place.path().join(&file.path)).unwrap(),
            "{}",
            file.path
        );
    }
    // Segments refer back across their border: cutting costs next to nothing.
    let mut size = |name: &str| archive.by_name(name).unwrap().compressed_size();
    assert!(size("large/double") < 2 * size("large/exact") * 102 / 100);
}

/// The two readers that most platforms have; what they say of an archive with everything in it.
#[test]
fn other_programs_read_the_archive() {
    let place = mixed_project();
    write(place.path(), "é/ü.txt", "text");
    let out = tempfile::tempdir().unwrap();
    let zip = out.path().join("artifact.zip");
    pack_to_file(place.path(), &PackOptions::new(), &zip).unwrap();
    let python = "import sys, zipfile\n\
        archive = zipfile.ZipFile(sys.argv[1])\n\
        assert archive.testzip() is None\n\
        assert 'é/ü.txt' in archive.namelist(), archive.namelist()\n\
        assert not any(entry.flag_bits & 8 for entry in archive.infolist())\n\
        archive.extractall(sys.argv[2])";
    let unpacked = [out.path().join("python"), out.path().join("unzip")];
    let by_python = [
        "-c".as_ref(),
        python.as_ref(),
        zip.as_os_str(),
        unpacked[0].as_os_str(),
    ];
    let by_unzip = [
        "-q".as_ref(),
        zip.as_os_str(),
        "-d".as_ref(),
        unpacked[1].as_os_str(),
    ];
    for (program, arguments, place_unpacked) in [
        ("python3", by_python, &unpacked[0]),
        ("unzip", by_unzip, &unpacked[1]),
    ] {
        let status = match std::process::Command::new(program)
            .args(arguments)
            .env("LC_ALL", "C.UTF-8")
            .status()
        {
            Ok(status) => status,
            Err(error) => {
                let required =
                    std::env::var_os("PEAK_PEERS").is_some_and(|value| value == "required");
                assert!(
                    !required,
                    "{program} is required and does not start: {error}"
                );
                eprintln!(
                    "skipped: {program} does not start ({error}); install it to have it read an archive"
                );
                continue;
            }
        };
        assert!(status.success(), "{program}");
        assert!(
            packed(place_unpacked, &PackOptions::new()) == fs::read(&zip).unwrap(),
            "{program}"
        );
    }
}

/// Cancels with its first write.
struct Cancelling(CancelFlag, Cursor<Vec<u8>>);

impl std::io::Write for Cancelling {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        assert!(!self.0.is_cancelled());
        self.0.cancel();
        self.1.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl std::io::Seek for Cancelling {
    fn seek(&mut self, target: std::io::SeekFrom) -> std::io::Result<u64> {
        self.1.seek(target)
    }
}

#[test]
fn cancelling_ends_it_and_leaves_nothing() {
    let place = mixed_project();
    let out = tempfile::tempdir().unwrap();
    let flag = CancelFlag::new();
    let options = PackOptions::new().cancel_flag(&flag);
    let cancelling = Cancelling(flag.clone(), Cursor::default());
    let error = pack(place.path(), &options, cancelling).unwrap_err();
    assert!(matches!(error, PackError::Cancelled), "{error}");

    let error = pack_to_file(place.path(), &options, &out.path().join("a.zip")).unwrap_err();
    assert!(matches!(error, PackError::Cancelled), "{error}");
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0);
    let error = scan(place.path(), &options).unwrap_err();
    assert!(matches!(error, PackError::Cancelled), "{error}");
}

#[test]
fn the_archive_does_not_become_part_of_itself() {
    let place = project(&["a.txt"]);
    let output = place.path().join("artifact.zip");
    write(place.path(), ".artifact.zip.killed.partial", "left behind");
    for _ in 0..2 {
        let archive = pack_to_file(place.path(), &PackOptions::new(), &output).unwrap();
        assert_eq!(paths(&archive.files), ["a.txt"]);
    }
    // Any other packing takes it for what it is: a file.
    let list = scan(place.path(), &PackOptions::new()).unwrap();
    assert_eq!(
        paths(&list),
        [".artifact.zip.killed.partial", "a.txt", "artifact.zip"]
    );
}

#[test]
fn what_is_to_be_left_out_stays_out_whatever_leads_to_it() {
    let place = project(&[
        "kept.txt",
        "out/index.json",
        "deep/old.zip",
        "deep/kept.txt",
    ]);
    let root = place.path();
    #[cfg(unix)]
    std::os::unix::fs::symlink("out", root.join("link")).unwrap();
    let options = PackOptions::new().leave_out([
        root.join("deep/../out"),
        root.join("deep/old.zip"),
        root.join("not/there"),
    ]);
    let list = scan(root, &options).unwrap();
    assert_eq!(paths(&list), ["deep/kept.txt", "kept.txt"]);
    let archive = packed(root, &options);
    let names: Vec<_> = entries(&archive)
        .into_iter()
        .map(|(name, ..)| name)
        .collect();
    assert_eq!(names, ["deep/", "deep/kept.txt", "kept.txt"]);
}

#[test]
fn a_failed_packing_leaves_the_old_file_and_nothing_else() {
    let place = project(&["in/a.txt"]);
    let output = place.path().join("out/artifact.zip");
    write(place.path(), "out/artifact.zip", "old");
    let options = PackOptions::new().size_limit(10);
    let error = pack_to_file(&place.path().join("in"), &options, &output).unwrap_err();
    assert!(matches!(error, PackError::SizeLimit { .. }));
    assert_eq!(fs::read(&output).unwrap(), b"old");
    assert_eq!(fs::read_dir(place.path().join("out")).unwrap().count(), 1);

    let nowhere = place.path().join("missing/artifact.zip");
    let error = pack_to_file(&place.path().join("in"), &PackOptions::new(), &nowhere).unwrap_err();
    assert!(matches!(error, PackError::Output { .. }));
}

#[test]
fn the_limit_counts_compressed_bytes_and_names_the_largest_files() {
    let place = tempfile::tempdir().unwrap();
    write(place.path(), "zeros", vec![0; 1 << 20]);
    let noise: Vec<u8> = (0..50_000_u32)
        .flat_map(|n| {
            n.wrapping_mul(2_654_435_761)
                .rotate_left(n % 31)
                .to_be_bytes()
        })
        .collect();
    write(place.path(), "data/noise", &noise);
    write(place.path(), "small", "x");
    let whole = packed(place.path(), &PackOptions::new());
    assert!(whole.len() < 1 << 20);
    let exact = PackOptions::new().size_limit(whole.len() as u64);
    assert_eq!(packed(place.path(), &exact), whole);

    let tight = PackOptions::new().size_limit(whole.len() as u64 - 1);
    assert!(pack(place.path(), &tight, Cursor::new(Vec::new())).is_err());
    let options = PackOptions::new().size_limit(1000);
    let error = pack(place.path(), &options, Cursor::new(Vec::new())).unwrap_err();
    let text = error.to_string();
    let PackError::SizeLimit {
        limit,
        written,
        largest,
    } = error
    else {
        panic!("{error:?}");
    };
    assert_eq!(limit, 1000);
    // It stopped at the first file it could not hold, long before the end.
    assert!(written > 200_000 && written < 200_100, "{written}");
    let names: Vec<&str> = largest.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(names, ["zeros", "data/noise", "small"]);
    assert!(
        text.contains("`zeros` (1.0 MB), `data/noise` (200.0 kB)"),
        "{text}"
    );
}

#[test]
fn only_directories_are_packed() {
    let place = project(&["file"]);
    let error = scan(&place.path().join("file"), &PackOptions::new()).unwrap_err();
    assert!(matches!(error, PackError::NotADirectory { .. }));
    assert!(error.to_string().contains("is not a directory"));
    let error = scan(&place.path().join("missing"), &PackOptions::new()).unwrap_err();
    assert!(matches!(error, PackError::DirectoryNotFound { .. }));
}

#[test]
fn ignore_files_are_joined_in_order() {
    let place = project(&["a.log", "b.log"]);
    write(place.path(), "first", "*.log\nfirst\nsecond\n");
    write(place.path(), "second", "!b.log\n");
    let of =
        |names: [&str; 2]| scan(place.path(), &PackOptions::new().ignore_files(names)).unwrap();
    assert_eq!(paths(&of(["first", "second"])), ["b.log"]);
    assert_eq!(paths(&of(["second", "./first"])), [""; 0]);
}

#[test]
fn ignore_files_must_exist_and_lie_in_the_directory() {
    let place = project(&["sub/rules", "fine"]);
    let error =
        |name: &str| scan(place.path(), &PackOptions::new().ignore_files([name])).unwrap_err();
    assert!(matches!(
        error("missing"),
        PackError::IgnoreFileNotFound { .. }
    ));
    assert!(matches!(
        error("sub/rules"),
        PackError::IgnoreFileOutside { .. }
    ));
    assert!(matches!(
        error("../rules"),
        PackError::IgnoreFileOutside { .. }
    ));
    assert!(matches!(
        error("sub"),
        PackError::IgnoreFileUnreadable { .. }
    ));
    fs::write(place.path().join("large"), "a\n".repeat(200_000)).unwrap();
    assert!(matches!(
        error("large"),
        PackError::IgnoreFileTooLarge { .. }
    ));
}

#[cfg(unix)]
mod unix {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn executable_files_stay_executable() {
        let place = project(&["run", "read"]);
        for (name, mode) in [("run", 0o700), ("read", 0o600)] {
            let path = place.path().join(name);
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let found = entries(&packed(place.path(), &PackOptions::new()));
        let modes: Vec<_> = found
            .iter()
            .map(|(name, mode, _)| (name.as_str(), mode.unwrap()))
            .collect();
        assert_eq!(modes, [("read", 0o100_644), ("run", 0o100_755)]);
    }

    #[test]
    fn links_are_followed() {
        let place = project(&["in/dir/a.txt", "shared/b.txt"]);
        let root = place.path().join("in");
        symlink("../shared", root.join("linked")).unwrap();
        symlink("dir/a.txt", root.join("copy.txt")).unwrap();
        // Twice the same directory is no cycle.
        symlink("dir", root.join("again")).unwrap();
        let found = entries(&packed(&root, &PackOptions::new()));
        let files: Vec<_> = found
            .iter()
            .filter(|(name, ..)| !name.ends_with('/'))
            .map(|(name, mode, text)| (name.as_str(), mode.unwrap(), text.as_str()))
            .collect();
        assert_eq!(
            files,
            [
                ("again/a.txt", 0o100_644, "in/dir/a.txt"),
                ("copy.txt", 0o100_644, "in/dir/a.txt"),
                ("dir/a.txt", 0o100_644, "in/dir/a.txt"),
                ("linked/b.txt", 0o100_644, "shared/b.txt"),
            ]
        );
    }

    #[test]
    fn a_cycle_is_an_error_not_a_hang() {
        for (link, target) in [
            ("d/up", ".."),
            ("d/self", "."),
            ("top", "/"),
            ("d/e/f/two", "../.."),
        ] {
            let place = project(&["d/e/f/a.txt"]);
            symlink(target, place.path().join(link)).unwrap();
            let error = scan(place.path(), &PackOptions::new()).unwrap_err();
            assert!(
                matches!(&error, PackError::Cycle { path, .. } if path == link),
                "{error}"
            );
            // What is ignored is not followed.
            write(place.path(), "rules", format!("/{link}"));
            let options = PackOptions::new().ignore_files(["rules"]);
            assert_eq!(
                paths(&scan(place.path(), &options).unwrap()),
                ["d/e/f/a.txt", "rules"]
            );
        }
    }

    #[test]
    fn two_directories_that_link_to_each_other_are_a_cycle() {
        let place = project(&["a/x", "b/y"]);
        symlink("../b", place.path().join("a/b")).unwrap();
        symlink("../a", place.path().join("b/a")).unwrap();
        let error = scan(place.path(), &PackOptions::new()).unwrap_err();
        assert!(matches!(error, PackError::Cycle { .. }), "{error}");
    }

    #[test]
    fn a_chain_of_links_that_never_repeats_ends_in_an_error() {
        let place = tempfile::tempdir().unwrap();
        let chain = place.path().join("chain");
        for number in 0..2000 {
            let directory = chain.join(number.to_string());
            fs::create_dir_all(&directory).unwrap();
            symlink(format!("../{}", number + 1), directory.join("next")).unwrap();
        }
        write(&chain, "2000/end.txt", "end");
        fs::create_dir(place.path().join("in")).unwrap();
        symlink("../chain/0", place.path().join("in/first")).unwrap();
        let error = scan(&place.path().join("in"), &PackOptions::new()).unwrap_err();
        assert!(
            matches!(&error, PackError::PathTooLong { path, limit: 4095 } if path.len() <= 4100),
            "{error}"
        );
        assert!(error.to_string().len() < 300, "{error}");
        // A chain that ends is followed to its end.
        symlink("../chain/1500", place.path().join("in/first.new")).unwrap();
        fs::rename(
            place.path().join("in/first.new"),
            place.path().join("in/first"),
        )
        .unwrap();
        let list = scan(&place.path().join("in"), &PackOptions::new()).unwrap();
        assert!(list.files.last().unwrap().path.ends_with("/next/end.txt"));
    }

    /// The kernel's files have no size that could be told before they are read.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_that_holds_more_than_its_size_is_an_error() {
        let place = tempfile::tempdir().unwrap();
        symlink("/proc/self/status", place.path().join("status")).unwrap();
        let error = pack(place.path(), &PackOptions::new(), Cursor::new(Vec::new())).unwrap_err();
        assert!(
            matches!(&error, PackError::Changed { path, change: peak_pack::Change::Size } if path == "status"),
            "{error}"
        );
    }

    #[test]
    fn what_cannot_be_packed_is_named_unless_ignored() {
        let place = project(&["a.txt"]);
        let root = place.path();
        let _listener = UnixListener::bind(root.join("server.sock")).unwrap();
        let error = scan(root, &PackOptions::new()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`server.sock` is a socket, which cannot be packed; exclude it with an ignore file"
        );
        write(root, ".dockerignore", "*.sock\n");

        symlink("nowhere", root.join("gone.link")).unwrap();
        let error = scan(root, &PackOptions::new()).unwrap_err();
        assert!(
            matches!(&error, PackError::BrokenLink { path } if path == "gone.link"),
            "{error}"
        );
        write(root, ".dockerignore", "*.sock\n*.link\n");

        fs::write(root.join(OsStr::from_bytes(b"bad\xff.tmp")), "x").unwrap();
        let error = scan(root, &PackOptions::new()).unwrap_err();
        assert!(
            matches!(&error, PackError::NameNotUnicode { path } if path == "bad\u{fffd}.tmp"),
            "{error}"
        );
        write(root, ".dockerignore", "*.sock\n*.link\n*.tmp\n");

        symlink("/dev/null", root.join("null")).unwrap();
        let error = scan(root, &PackOptions::new()).unwrap_err();
        assert!(
            matches!(&error, PackError::SpecialFile { kind: "device", .. }),
            "{error}"
        );
        fs::remove_file(root.join("null")).unwrap();

        assert_eq!(
            paths(&scan(root, &PackOptions::new()).unwrap()),
            [".dockerignore", "a.txt"]
        );
    }

    #[test]
    fn an_unreadable_file_is_named() {
        let place = project(&["secret", "a.txt"]);
        let secret = place.path().join("secret");
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
        // Root reads everything, so there the packing must simply succeed.
        let readable = fs::read(&secret).is_ok();
        match pack(place.path(), &PackOptions::new(), Cursor::new(Vec::new())) {
            Ok(_) => assert!(readable),
            Err(PackError::Unreadable { path, .. }) => {
                assert_eq!((path.as_str(), readable), ("secret", false));
            }
            Err(error) => panic!("{error}"),
        }
    }
}
