//! `peak local gc`, `check` and `reset`: looking after what the embedded platform keeps.
//!
//! Where a platform runs on the state directory it is asked to do the work; otherwise it is done here.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use peak_sdk::http::{
    Client, Error as HttpError, RequestBuilderExt as _, RequestExt as _, RetryPolicy, StaticToken,
};
use peak_sdk::local::{
    self, CheckReport, CheckRequest, FindingKind, GarbageCount, GarbageReport, GarbageRequest,
    Outcome, RunningPlatform, StoreError, Upkeep,
};
use peak_sdk::registry_server::Store;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use url::Url;

use crate::application::Application;
use crate::arguments::StateOptions;
use crate::commands::local::{already_running, running};
use crate::error::{CliError, ErrorKind};
use crate::output::{aligned, counted, human_size, printable, table};
use crate::service::agree;
use crate::signals::Signals;

/// No report is larger, in bytes.
const REPORT_LIMIT: u64 = 16 * 1024 * 1024;

#[derive(Debug, Args)]
#[command(after_help = "\
Removes blobs that no manifest of their repository names, then the files that no repository needs any more. Pushes and \
pulls go on meanwhile, and what they use stays. It works while `peak local serve` runs on the directory and while it \
does not.

Example:
  peak local gc --dry-run")]
pub(crate) struct GcArguments {
    #[command(flatten)]
    state: StateOptions,
    /// How long something stays that was pushed or asked for: seconds, or a number with s, m, h or d
    #[arg(
        long,
        value_name = "TIME",
        default_value = "1h",
        allow_negative_numbers = true
    )]
    grace: Grace,
    /// Show what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
    /// Delete manifests too that no tag reaches, not even through an index or a subject
    #[arg(long)]
    untagged: bool,
    /// Delete manifests without asking; needed without a terminal to delete more than one
    #[arg(long, short = 'y')]
    yes: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Looks whether everything is there that the registry says that it has, and puts in order what a crash leaves. What is \
damaged is told and left alone (exit code 7): pushing it again mends it.

Example:
  peak local check --contents")]
pub(crate) struct CheckArguments {
    #[command(flatten)]
    state: StateOptions,
    /// Read every blob too and compare it with its digest
    #[arg(long)]
    contents: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Removes all images, artifacts, versions, builds and logs of the embedded platform. It must not be running.

Example:
  peak local reset --yes")]
pub(crate) struct ResetArguments {
    #[command(flatten)]
    state: StateOptions,
    /// Remove without asking; needed without a terminal
    #[arg(long, short = 'y')]
    yes: bool,
}

/// A time as it is written on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Grace(Duration);

impl FromStr for Grace {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WANTED: &str = "write seconds, or a number with s, m, h or d, such as 90 or 1h";
        let (number, seconds) = match text.split_at_checked(text.len().saturating_sub(1)) {
            Some((number, "s")) => (number, 1),
            Some((number, "m")) => (number, 60),
            Some((number, "h")) => (number, 60 * 60),
            Some((number, "d")) => (number, 24 * 60 * 60),
            _ => (text, 1),
        };
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(WANTED);
        }
        number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(seconds))
            .map(|seconds| Self(Duration::from_secs(seconds)))
            .ok_or(WANTED)
    }
}

pub(crate) async fn gc(application: &Application, arguments: GcArguments) -> Result<(), CliError> {
    let directory = arguments.state.directory()?;
    let mut request = GarbageRequest {
        grace_seconds: arguments.grace.0.as_secs(),
        dry_run: arguments.dry_run,
        untagged: arguments.untagged,
    };
    if arguments.untagged && !arguments.dry_run && !arguments.yes {
        request.dry_run = true;
        let planned = collect(&directory, &request, || {}).await?;
        let count = planned.manifests.removed;
        if count > 0 {
            let what = format!(
                "{} that no tag reaches, in {}",
                counted(count, "manifest"),
                directory.display()
            );
            agree(false, &what, usize::try_from(count).unwrap_or(usize::MAX))?;
        }
        request.dry_run = false;
    }
    let report = collect(&directory, &request, || {
        let step = format!("collecting garbage in {}", directory.display());
        application.progress.step("gc", &step);
    })
    .await?;
    for problem in &report.problems {
        let of = problem.repository.as_ref().map_or_else(
            || "no file was removed".to_owned(),
            |name| format!("nothing of {name} was removed"),
        );
        application
            .progress
            .warning(&format!("{of}: {}", problem.reason));
    }
    application
        .output
        .value(&report, || Ok(garbage_table(&report)))
}

async fn collect(
    directory: &Path,
    request: &GarbageRequest,
    begin: impl FnOnce(),
) -> Result<GarbageReport, CliError> {
    let options = request.options();
    work_on(
        directory,
        begin,
        RunningPlatform::garbage_url,
        request,
        move |registry, stop| registry.collect_garbage(&options.stop_when(stop)),
    )
    .await
}

fn garbage_table(report: &GarbageReport) -> String {
    let row = |name: &str, count: &GarbageCount| {
        vec![
            name.to_owned(),
            count.removed.to_string(),
            count.kept.to_string(),
            count.spared.to_string(),
        ]
    };
    let removed = if report.dry_run {
        "would go"
    } else {
        "removed"
    };
    let counts = table(
        &["", removed, "kept", "too young or in use"],
        vec![
            row("manifests", &report.manifests),
            row("blobs", &report.blobs),
            row("files", &report.contents),
        ],
    );
    let freed = human_size(report.removed_bytes);
    let left = human_size(report.kept_bytes);
    if report.dry_run {
        format!("{counts}{freed} would be freed, {left} would stay\n")
    } else {
        format!("{counts}{freed} freed, {left} left\n")
    }
}

pub(crate) async fn check(
    application: &Application,
    arguments: CheckArguments,
) -> Result<(), CliError> {
    let directory = arguments.state.directory()?;
    let request = CheckRequest {
        contents: arguments.contents,
    };
    let options = request.options();
    let report: CheckReport = work_on(
        &directory,
        || {
            let step = format!("checking the registry in {}", directory.display());
            application.progress.step("check", &step);
        },
        RunningPlatform::check_url,
        &request,
        move |registry, stop| registry.check(&options.stop_when(stop)),
    )
    .await?;
    application
        .output
        .value(&report, || Ok(check_table(&report)))?;
    if report.is_sound() {
        return Ok(());
    }
    let count = report.damaged;
    Err(CliError::new(
        ErrorKind::Integrity,
        format!(
            "{} in the registry {} damaged",
            counted(count, "thing"),
            if count == 1 { "is" } else { "are" },
        ),
    )
    .with_hint("push again what it names"))
}

fn check_table(report: &CheckReport) -> String {
    let mut text = aligned(&[
        ("repositories", report.repositories.to_string()),
        ("manifests", report.manifests.to_string()),
        ("tags", report.tags.to_string()),
        ("blobs", report.blobs.to_string()),
        ("files", report.contents.to_string()),
        ("read", human_size(report.read_bytes)),
        ("repaired", report.repaired.to_string()),
        ("damaged", report.damaged.to_string()),
    ]);
    if report.findings.is_empty() {
        return text;
    }
    let kind = |kind| match kind {
        FindingKind::Repaired => "repaired",
        FindingKind::Damaged => "damaged",
        FindingKind::DanglingTag => "dangling tag",
        FindingKind::Incomplete => "incomplete",
        FindingKind::Foreign => "foreign",
        _ => "other",
    };
    let rows = report.findings.iter().map(|finding| {
        vec![
            kind(finding.kind).to_owned(),
            printable(&finding.path),
            printable(&finding.reason),
        ]
    });
    text.push('\n');
    text.push_str(&table(&["finding", "file", "what"], rows.collect()));
    if report.more_findings > 0 {
        text = format!("{text}and {} more\n", report.more_findings);
    }
    text
}

pub(crate) async fn reset(
    application: &Application,
    arguments: ResetArguments,
) -> Result<(), CliError> {
    let directory = arguments.state.directory()?;
    let place = directory.clone();
    blocking(move || local::must_have_state(&place)).await??;
    let what = format!(
        "everything in {}: all images, artifacts, versions, builds and logs of the embedded platform",
        directory.display()
    );
    // It is more than one thing, however little there is.
    agree(arguments.yes, &what, usize::MAX)?;
    let place = directory.clone();
    let left = match blocking(move || local::reset(&place)).await? {
        Ok(left) => left,
        Err(error) => {
            return Err(match running(&error, &directory).await {
                None => error.into(),
                Some(url) => already_running(&directory, &url)
                    .with_hint("stop it first, if nothing of it is needed any more"),
            });
        }
    };
    for file in &left {
        let text = format!("{} is not the platform's and stays", file.display());
        application.progress.warning(&text);
    }
    application
        .output
        .value(&json!({"reset": directory, "left": left}), || {
            Ok(format!("removed everything in {}\n", directory.display()))
        })
}

/// Has the work done by the platform that runs on the directory, or does it here, and says that it begins once there is
/// something to work on. A signal stops it either way.
async fn work_on<T: DeserializeOwned + Send + 'static>(
    directory: &Path,
    begin: impl FnOnce(),
    url: impl FnOnce(&RunningPlatform) -> String,
    request: &impl Serialize,
    work: impl FnOnce(&Store, Arc<AtomicBool>) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, CliError> {
    let mut signals = Signals::listen()?;
    let place = directory.to_owned();
    let upkeep = blocking(move || Upkeep::open(&place)).await??;
    begin();
    match upkeep {
        Upkeep::Here(free) => {
            let stop = Arc::new(AtomicBool::new(false));
            let flag = Arc::clone(&stop);
            let mut work = std::pin::pin!(blocking(move || work(free.registry(), flag)));
            tokio::select! {
                biased;
                result = &mut work => Ok(result??),
                _ = signals.next() => {
                    stop.store(true, Ordering::Relaxed);
                    // It ends soon, and the directory is left in order.
                    let _ = work.await;
                    Err(CliError::interrupted())
                }
            }
        }
        Upkeep::There(platform) => {
            let url = url(&platform);
            tokio::select! {
                biased;
                _ = signals.next() => Err(CliError::interrupted()),
                result = ask(&platform, &url, request) => result,
            }
        }
        _ => Err(CliError::other(
            "the state directory is in an unknown state",
        )),
    }
}

/// Asks the running platform. It sends white space for as long as it works.
async fn ask<T: DeserializeOwned>(
    platform: &RunningPlatform,
    url: &str,
    request: &impl Serialize,
) -> Result<T, CliError> {
    let unreachable = |error: &HttpError| {
        CliError::from_chain(ErrorKind::Unavailable, error)
            .with_url(Some(url.to_owned()))
            .with_hint("the platform that uses the state directory does not answer; stop it, then try again")
    };
    let address = Url::parse(url)
        .map_err(|_| CliError::other("the platform's control file has no good address"))?;
    let secret = StaticToken::new(&address, platform.authorization())
        .map_err(|error| unreachable(&error))?;
    let client = Client::builder()
        .retry(RetryPolicy::never())
        .authenticator(Arc::new(secret))
        .build()
        .map_err(|error| unreachable(&error))?;
    let request = http::Request::post(url)
        .operation("upkeep")
        .json(request)
        .map_err(|error| unreachable(&error))?;
    let response = client
        .send(request)
        .await
        .map_err(|error| unreachable(&error))?;
    let outcome: Outcome<T> = response
        .json(REPORT_LIMIT)
        .await
        .map_err(|error| unreachable(&error))?;
    match outcome {
        Outcome::Report(report) => Ok(report),
        Outcome::Error(reason) => Err(CliError::other(printable(&reason))),
    }
}

/// Does what blocks where that is allowed.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, CliError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| CliError::other(format!("the work did not come to its end: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_seconds_or_has_a_unit() {
        for (text, seconds) in [
            ("0", 0),
            ("90", 90),
            ("90s", 90),
            ("2m", 120),
            ("1h", 3600),
            ("7d", 604_800),
        ] {
            assert_eq!(
                text.parse(),
                Ok(Grace(Duration::from_secs(seconds))),
                "{text}"
            );
        }
        for text in [
            "",
            "h",
            "-1",
            "+1",
            "1.5h",
            "1w",
            "1 h",
            "1é",
            "99999999999999999999",
            "9999999999999999999d",
        ] {
            assert!(text.parse::<Grace>().is_err(), "{text:?}");
        }
    }
}
