//! `peak local gc`: frees the space of what no image of the embedded platform needs any more.

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use peak_sdk::local::{GarbageCount, GarbageReport, GarbageRequest, RunningPlatform};

use super::upkeep::work_on;
use crate::application::Application;
use crate::arguments::StateOptions;
use crate::error::CliError;
use crate::output::{counted, human_size, table};
use crate::service::agree;

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

pub(super) async fn gc(application: &Application, arguments: GcArguments) -> Result<(), CliError> {
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
