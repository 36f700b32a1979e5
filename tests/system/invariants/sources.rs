//! The invariants of docs/architecture.md that can be read off the libraries' sources: what they may not call,
//! and whose types they may not show. The tables below are the whole of the exceptions; a new one is a decision.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use crate::support::workspace;

/// Modules that may read the environment, by their names.
const ENVIRONMENT: [&str; 3] = ["config", "environment", "keychain"];

/// Where a library waits, and for what. Only those marked with "again" repeat something that failed.
const SLEEPS: [(&str, &str); 16] = [
    (
        "peak-docker/src/patience.rs",
        "asks a silent Engine whether it is alive",
    ),
    ("peak-http/src/layer/retry.rs", "again: requests"),
    ("peak-http/src/response.rs", "a body's idle time"),
    (
        "peak-images/src/build_logs.rs",
        "the pause between pages of a log that grows",
    ),
    (
        "peak-layout/src/staging.rs",
        "a lock that another process has",
    ),
    (
        "peak-local/src/builder/engine.rs",
        "the time limit of a build",
    ),
    ("peak-local/src/faults.rs", "scripted misbehaviour"),
    ("peak-platform/src/download.rs", "again: the rest of a file"),
    (
        "peak-registry/src/auth/keychain/write.rs",
        "a lock that another process has",
    ),
    (
        "peak-registry/src/blobs/part.rs",
        "again: the rest of a blob",
    ),
    (
        "peak-registry/src/blobs/upload/mod.rs",
        "again: the rest of an upload",
    ),
    (
        "peak-registry/src/own_writes.rs",
        "again: what was just written and is not yet seen",
    ),
    (
        "peak-registry/src/pace.rs",
        "the pace that a registry asks for",
    ),
    (
        "peak-registry/src/pauses.rs",
        "the pause that a registry asks for",
    ),
    ("peak-serve/src/body.rs", "a body's idle time"),
    ("peak-serve/src/connection.rs", "the time for a header"),
];

/// Where a library waits besides, as part of accepting connections.
const ACCEPTING: &str = "peak-serve/src/server.rs";

/// Where a library starts a task or a process that runs beside its caller, and who ends it.
const TASKS: [(&str, &str); 5] = [
    ("peak-local/src/builder/engine.rs", "the build waits for it"),
    (
        "peak-local/src/platform.rs",
        "`Platform::shutdown` waits for the runner and the remover",
    ),
    ("peak-local/src/runner.rs", "the runner's own set of builds"),
    (
        "peak-registry/src/auth/keychain/helper.rs",
        "a process, which is waited for or killed",
    ),
    (
        "peak-serve/src/server.rs",
        "`Server` owns the accepting task, and that one its connections",
    ),
];

/// Crates whose types are in no public signature, and those that may show them all the same.
const HIDDEN: [(&str, &[&str]); 17] = [
    ("axum", &["peak-registry-server", "peak-serve"]),
    ("flate2", &[]),
    ("h2", &[]),
    ("hyper", &[]),
    ("hyper_util", &[]),
    ("ignore", &[]),
    ("jiff", &[]),
    ("minijinja", &[]),
    ("prometheus_client", &[]),
    ("redb", &[]),
    ("reqwest", &[]),
    ("rustls", &[]),
    ("tar", &[]),
    ("tokio_rustls", &[]),
    ("tokio_util", &[]),
    // The transport is made of its layers, and takes more of them.
    ("tower", &["peak-http"]),
    ("uuid", &[]),
];

/// A file of a library, without its comments and its tests.
struct Source {
    /// `peak-oci/src/digest.rs`.
    path: String,
    lines: Vec<String>,
}

impl Source {
    fn has(&self, is_there: impl Fn(&str) -> bool) -> bool {
        self.lines.iter().any(|line| is_there(line))
    }

    /// The names of the module and of those around it.
    fn modules(&self) -> impl Iterator<Item = &str> {
        self.path.trim_end_matches(".rs").split('/').skip(2)
    }
}

/// All files of all libraries that are published. The command line is none.
static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(|| {
    let crates = workspace().join("crates");
    let mut sources = Vec::new();
    for entry in fs::read_dir(&crates).unwrap() {
        let library = entry.unwrap().path();
        if library.join("src/lib.rs").is_file() && is_published(&library) {
            let mut files = Vec::new();
            collect(&library.join("src"), &mut files);
            let tests: Vec<_> = files.iter().flat_map(|file| test_modules(file)).collect();
            files.retain(|file| {
                !tests
                    .iter()
                    .any(|test| file.starts_with(test) || file == test)
            });
            sources.extend(files.iter().map(|file| read(&crates, file)));
        }
    }
    assert!(sources.len() > 200, "{} files were found", sources.len());
    sources
});

/// Whether it is for users, and not for our own tests alone.
fn is_published(library: &Path) -> bool {
    let manifest = fs::read_to_string(library.join("Cargo.toml")).unwrap();
    !manifest.lines().any(|line| line == "publish = false")
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|ending| ending == "rs")
            // Both are for tests, and off unless a feature for tests is on.
            && !path.ends_with("fuzzing.rs")
            && !path.ends_with("test_util.rs")
        {
            files.push(path);
        }
    }
}

/// The files and directories of the modules that a file declares for tests alone.
fn test_modules(file: &Path) -> Vec<PathBuf> {
    let name = file.file_stem().unwrap();
    let parent = if name == "lib" || name == "mod" {
        file.parent().unwrap().to_owned()
    } else {
        file.with_extension("")
    };
    let text = fs::read_to_string(file).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let declared = lines.windows(2).filter_map(|pair| {
        let name = pair[1]
            .trim_start_matches("pub(crate) ")
            .strip_prefix("mod ")?;
        let name = name.strip_suffix(';')?;
        is_for_tests(pair[0]).then(|| parent.join(name))
    });
    declared
        .flat_map(|path| [path.with_extension("rs"), path])
        .collect()
}

fn is_for_tests(line: &str) -> bool {
    line == "#[cfg(test)]" || line.starts_with("#[cfg(all(test")
}

fn read(crates: &Path, file: &Path) -> Source {
    let text = fs::read_to_string(file).unwrap();
    let lines: Vec<_> = text.lines().collect();
    // The module with the tests stands at the end.
    let tests = lines.windows(2).position(|pair| {
        is_for_tests(pair[0]) && pair[1].starts_with("mod ") && pair[1].ends_with('{')
    });
    let program = &lines[..tests.unwrap_or(lines.len())];
    Source {
        path: file.strip_prefix(crates).unwrap().display().to_string(),
        lines: program
            .iter()
            .filter(|line| !line.trim_start().starts_with("//"))
            .map(|line| (*line).to_owned())
            .collect(),
    }
}

/// The files in which something is, as they are written in the tables.
fn files_with(is_there: impl Fn(&str) -> bool) -> BTreeSet<String> {
    SOURCES
        .iter()
        .filter(|source| source.has(&is_there))
        .map(|source| source.path.clone())
        .collect()
}

#[test]
fn libraries_read_the_environment_in_the_modules_that_are_for_it() {
    let calls = ["env::var(", "env::var_os(", "env::vars(", "env::vars_os("];
    for source in SOURCES.iter() {
        let reads = source.has(|line| calls.iter().any(|call| line.contains(call)));
        assert!(
            !reads || source.modules().any(|name| ENVIRONMENT.contains(&name)),
            "{} reads the environment",
            source.path
        );
    }
}

#[test]
fn libraries_never_print_and_choose_no_crypto_for_the_whole_process() {
    let macros = ["println!", "print!", "dbg!"];
    for source in SOURCES.iter() {
        let prints = source.has(|line| macros.iter().any(|name| line.contains(name)));
        assert!(!prints, "{} prints", source.path);
        let installs = source.has(|line| line.contains("install_default"));
        assert!(!installs, "{} sets a provider for the process", source.path);
    }
}

#[test]
fn libraries_wait_only_where_it_is_said_what_for() {
    let found = files_with(|line| line.contains("sleep(") || line.contains("sleep_until("));
    let mut known: BTreeSet<_> = SLEEPS.iter().map(|(path, _)| (*path).to_owned()).collect();
    known.insert(ACCEPTING.to_owned());
    assert_eq!(found, known);
}

#[test]
fn libraries_start_only_tasks_that_somebody_ends() {
    let found = files_with(|line| line.contains("spawn(") && !line.contains("Command"));
    let known: BTreeSet<_> = TASKS.iter().map(|(path, _)| (*path).to_owned()).collect();
    assert_eq!(found, known);
}

/// The names that a file has imported from a crate: types and traits, which begin with a capital letter.
fn imported<'a>(source: &'a Source, from: &str) -> Vec<&'a str> {
    let mut names = Vec::new();
    let mut inside = false;
    for line in &source.lines {
        // `axum::http` is the crate `http`, which everybody shows.
        let line = line.trim_start();
        inside |= line.starts_with(&format!("use {from}::")) && !line.starts_with("use axum::http");
        if inside {
            // Some give on the `Bytes` that everybody shows.
            let types = words(line).filter(|word| word.starts_with(char::is_uppercase));
            names.extend(types.filter(|word| *word != "Bytes"));
            inside = !line.contains(';');
        }
    }
    names
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|character: char| !character.is_alphanumeric() && character != '_')
        .filter(|word| !word.is_empty())
}

/// What a file shows to users of the library: heads of functions, fields, and conversions.
fn signatures(source: &Source) -> Vec<String> {
    let mut signatures = Vec::new();
    let mut open: Option<String> = None;
    let mut private_type = false;
    for line in &source.lines {
        let text = line.trim();
        if text.contains("struct ") || text.contains("enum ") {
            private_type = !text.starts_with("pub struct") && !text.starts_with("pub enum");
        }
        // Fields of a tuple are private unless it says otherwise.
        let tuple = text.starts_with("pub struct ") && text.matches("pub ").count() == 1;
        let item = text.starts_with("pub ") && !text.starts_with("pub mod ") && !tuple;
        let field = item && line.starts_with(' ') && !text.contains("fn ");
        let begins = item && !(field && private_type) || text.starts_with("impl From<");
        let mut signature = match open.take() {
            Some(signature) => signature,
            None if begins => String::new(),
            None => continue,
        };
        signature.push_str(text);
        // A field ends with its line, all else with a body or a semicolon.
        if text.contains(['{', ';']) || text.ends_with(',') && !signature.contains('(') {
            signatures.push(signature);
        } else {
            signature.push(' ');
            open = Some(signature);
        }
    }
    signatures
}

#[test]
fn no_public_signature_shows_a_type_that_is_not_common_currency() {
    let mut shown = Vec::new();
    for source in SOURCES.iter() {
        let library = source.path.split('/').next().unwrap();
        let signatures = signatures(source);
        for (hidden, exceptions) in HIDDEN {
            if exceptions.contains(&library) {
                continue;
            }
            let names = imported(source, hidden);
            shown.extend(signatures.iter().filter_map(|signature| {
                let path = format!("{hidden}::");
                let by_path = signature.match_indices(&path).any(|(start, _)| {
                    !signature[..start]
                        .ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':')
                });
                let by_name = words(signature).any(|word| names.contains(&word));
                (by_path || by_name).then(|| format!("{}: {signature}", source.path))
            }));
        }
    }
    assert!(shown.is_empty(), "{shown:#?}");
}

#[test]
fn every_lib_rs_is_a_table_of_contents() {
    let items = ["fn ", "async fn ", "struct ", "enum ", "trait "];
    for source in SOURCES
        .iter()
        .filter(|source| source.path.ends_with("/src/lib.rs"))
    {
        let defines = source.has(|line| {
            let item = line.strip_prefix("pub ").unwrap_or_default();
            items.iter().any(|kind| item.starts_with(kind))
        });
        assert!(!defines, "{} defines something itself", source.path);
        let names = source.has(|line| line.starts_with("pub use ") || line.starts_with("pub mod "));
        assert!(names, "{} names nothing", source.path);
    }
}

/// Were the scans to find nothing anywhere, the tests above would say nothing.
#[test]
fn the_scans_see_what_they_look_for() {
    let lines = "
        use hyper::{Request, body::Incoming};
        pub struct Hidden(Incoming);
        struct Private {
            pub body: Incoming,
        }
        pub struct Shown {
            pub body: Incoming,
        }
        pub fn long(
            body: Incoming,
        ) -> u8 {
        impl From<Incoming> for Shown {
    ";
    let source = Source {
        path: "peak-x/src/config/one.rs".to_owned(),
        lines: lines
            .lines()
            .map(|line| line.strip_prefix("        ").unwrap_or(line).to_owned())
            .collect(),
    };
    assert_eq!(imported(&source, "hyper"), ["Request", "Incoming"]);
    let shown: Vec<_> = signatures(&source)
        .into_iter()
        .filter(|signature| signature.contains("Incoming"))
        .collect();
    assert_eq!(shown.len(), 3, "{shown:?}");
    assert_eq!(source.modules().collect::<Vec<_>>(), ["config", "one"]);
    let own = SOURCES
        .iter()
        .find(|source| source.path == "peak-oci/src/digest.rs");
    assert!(!own.unwrap().has(|line| line.contains("#[test]")));
}
