//! The conformance suite of the distribution specification against this registry.
//!
//! `cargo xtask peers up` builds it. Its own reports are kept in `target/peers/conformance`.

use std::path::{Path, PathBuf};
use std::process::Command;

use peak_registry_server::{RouterOptions, Store, router_with};

/// Settings of the suite that are not on whatever the version of the specification is.
const MORE_SETTINGS: [&str; 1] = ["OCI_API_PING"];

/// What the suite counted.
#[derive(Debug, PartialEq, Eq)]
struct Counts {
    tests: u64,
    failures: u64,
    errors: u64,
    skipped: u64,
    disabled: u64,
}

impl Counts {
    /// Reads them from the suite's report, where the ones that may be left out are none.
    fn of(junit: &str) -> Self {
        let begin = junit.find("<testsuite ").unwrap();
        let tag = &junit[begin..begin + junit[begin..].find('>').unwrap()];
        let count = |name: &str| {
            let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
            rest.split('"').next()?.parse().ok()
        };
        Self {
            tests: count("tests").unwrap(),
            failures: count("failures").unwrap(),
            errors: count("errors").unwrap(),
            skipped: count("skipped").unwrap_or(0),
            disabled: count("disabled").unwrap_or(0),
        }
    }
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// The suite's program. Without it says so, past the harness, which keeps what tests print to
/// itself, or fails where it is required.
fn suite() -> Option<PathBuf> {
    use std::io::Write as _;

    let program = workspace().join("target/peers/go/bin/conformance");
    if program.exists() {
        return Some(program);
    }
    let required = std::env::var_os("PEAK_PEERS").is_some_and(|value| value == "required");
    assert!(!required, "no {}, and is required here", program.display());
    let text = "skipped: no conformance suite; `cargo xtask peers up` makes this test run\n";
    std::io::stderr().write_all(text.as_bytes()).unwrap();
    None
}

/// Runs the suite as of the coming version of the specification, which has the most settings on, with
/// `settings` beside it. Gives its counts and the settings that it then reports to be off.
async fn run(
    suite: PathBuf,
    options: &RouterOptions,
    settings: &[&'static str],
    results: &str,
) -> (Counts, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let router = router_with(store, options);
    let server = tokio::spawn(async move { axum::serve(listener, router).await });

    let results = workspace().join("target/peers/conformance").join(results);
    let _ = std::fs::remove_dir_all(&results);
    std::fs::create_dir_all(&results).unwrap();
    let mut command = Command::new(suite);
    command
        .env_clear()
        .envs(settings.iter().map(|name| (*name, "true")))
        .env("OCI_VERSION", "dev")
        .env("OCI_TLS", "disabled")
        .env("OCI_REGISTRY", address)
        .env("OCI_RESULTS_DIR", &results)
        .current_dir(directory.path());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    server.abort();

    let said = String::from_utf8_lossy(&output.stderr);
    let junit = std::fs::read_to_string(results.join("junit.xml"))
        .unwrap_or_else(|error| panic!("no report, {error}: {said}"));
    assert!(results.join("report.html").exists());
    assert!(output.status.success(), "{said}");
    let passed = junit.matches("status=\"passed\"").count();
    assert_eq!(passed, junit.matches("<testcase ").count(), "{said}");
    let configuration = junit.split("<property ").nth(1).unwrap();
    let configuration = configuration.split("/>").next().unwrap();
    let off = configuration
        .split("&#xA;")
        .filter_map(|line| line.trim().strip_suffix(": false").map(str::to_owned))
        .collect();
    (Counts::of(&junit), off)
}

fn all_passed(tests: u64) -> Counts {
    Counts {
        tests,
        failures: 0,
        errors: 0,
        skipped: 0,
        disabled: 0,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_conformance_suite_passes_with_every_setting_on() {
    let Some(suite) = suite() else {
        return;
    };
    let options = RouterOptions::new().sparse_manifests(true);
    let settings = [&MORE_SETTINGS[..], &["OCI_DATA_SPARSE"]].concat();
    let (counts, off) = run(suite, &options, &settings, "everything").await;
    assert_eq!(off, [""; 0], "settings that are off");
    assert!(counts.tests > 1000, "{counts:?}");
    assert_eq!(counts, all_passed(counts.tests));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_conformance_suite_passes_with_the_defaults_but_for_sparse_manifests() {
    let Some(suite) = suite() else {
        return;
    };
    let options = RouterOptions::new();
    let (counts, off) = run(suite, &options, &MORE_SETTINGS, "defaults").await;
    assert_eq!(off, ["sparse"], "settings that are off");
    assert!(counts.tests > 900, "{counts:?}");
    assert_eq!(counts, all_passed(counts.tests));
}
