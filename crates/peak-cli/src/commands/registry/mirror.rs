//! `peak registry mirror`: keeps repositories the same as others, by a plan.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use peak_sdk::registry::Registry;
use peak_sdk::transfer::{
    DestinationReport, MirrorFailure, MirrorOptions, MirrorPlan, MirrorReport, RepositoryReport,
    Shard, mirror_until,
};
use serde_json::{Value, json};

use super::parse_concurrency;
use crate::application::Application;
use crate::error::CliError;
use crate::input::read_object;
use crate::output::{human_size, table};
use crate::service::agree;
use crate::signals::Signals;

#[derive(Debug, Args)]
#[command(after_help = "\
A plan says from where, which tags, and to where:

  destinations:
    - to: registry.example/mirror
  repositories:
    - from: docker.io/library/nginx
      tags: {versions: [\">=1.25, <2\"], latest: 5}
      platforms: [linux/amd64, linux/arm64]

docs/mirror.md has all of it, and how to run it by a schedule.

Examples:
  peak registry mirror plan.yaml --dry-run
  peak registry mirror plan.yaml --keep-going --shard 1/4")]
pub(crate) struct MirrorArguments {
    /// The plan, YAML or JSON
    #[arg(value_name = "PLAN")]
    plan: PathBuf,
    /// Only show what would be copied and deleted
    #[arg(long)]
    dry_run: bool,
    /// Go on with the rest after a failure
    #[arg(long)]
    keep_going: bool,
    /// Do only this part of the repositories, as I/N with I from 1 to N; runs of all parts need not know of each other
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// How many blobs are moved at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = parse_concurrency, allow_negative_numbers = true)]
    concurrency: u16,
    /// Delete without asking, where the plan has destinations with `delete: true`
    #[arg(long, short = 'y')]
    yes: bool,
}

pub(crate) async fn run(
    application: &Application,
    registry: &Registry,
    arguments: MirrorArguments,
) -> Result<(), CliError> {
    let plan = read_plan(&arguments.plan)?;
    let places: Vec<String> = plan.deletes_at().map(ToString::to_string).collect();
    if !arguments.dry_run && !places.is_empty() {
        let what = format!(
            "the tags that the plan means and the sources no longer have in {}",
            places.join(", ")
        );
        // How many that will be nobody knows before; it may be more than one.
        agree(arguments.yes, &what, 2)?;
    }
    let meter = application
        .progress
        .transfer("mirror", arguments.plan.display().to_string());
    let options = MirrorOptions::new()
        .dry_run(arguments.dry_run)
        .keep_going(arguments.keep_going)
        .shard(arguments.shard)
        .concurrency(usize::from(arguments.concurrency))
        .progress(meter.listener());
    let mut signals = Signals::listen()?;
    let stop = async {
        signals.next().await;
    };
    let report = meter
        .watch(mirror_until(&plan, registry, &options, stop))
        .await;
    drop(meter);
    show(application, &report, arguments.dry_run)?;
    if report.is_interrupted {
        return Err(CliError::interrupted());
    }
    failure(&report)
}

fn read_plan(file: &Path) -> Result<MirrorPlan, CliError> {
    let object = read_object(file)?;
    serde_json::from_value(Value::Object(object)).map_err(|error| {
        CliError::usage(format!(
            "the plan `{}` cannot be followed: {error}",
            file.display()
        ))
        .with_hint("docs/mirror.md says what a plan may have")
    })
}

fn show(application: &Application, report: &MirrorReport, dry_run: bool) -> Result<(), CliError> {
    let repositories: Vec<Value> = report.repositories.iter().map(repository).collect();
    let value = json!({
        "dryRun": dry_run,
        "stopped": report.is_stopped,
        "interrupted": report.is_interrupted,
        "copied": report.copied(),
        "unchanged": report.unchanged(),
        "deleted": report.deleted(),
        "failed": report.failures().count(),
        "bytes": report.bytes(),
        "repositories": repositories,
    });
    application.output.value(&value, || {
        let rows = report
            .repositories
            .iter()
            .flat_map(|repository| {
                repository
                    .destinations
                    .iter()
                    .map(move |to| (repository, to))
            })
            .map(|(repository, to)| row(repository, to))
            .collect();
        let [copied, deleted] = if dry_run {
            ["to copy", "to delete"]
        } else {
            ["copied", "deleted"]
        };
        let heading = ["from", "to", copied, "unchanged", deleted, "failed"];
        let mut text = table(&heading, rows);
        for failure in report.failures() {
            let _ = writeln!(text, "failed: {}", told(failure).message);
        }
        if report.is_interrupted {
            text.push_str("\ninterrupted; the next run does the rest\n");
        }
        if dry_run {
            text.push_str("\nnothing was sent\n");
        }
        Ok(text)
    })
}

fn row(repository: &RepositoryReport, destination: &DestinationReport) -> Vec<String> {
    let bytes = destination.copied.iter().map(|copied| copied.bytes).sum();
    let failed = repository
        .failures
        .iter()
        .filter(|failure| failure.to.as_ref().is_none_or(|to| *to == destination.to));
    vec![
        repository.from.to_string(),
        destination.to.to_string(),
        format!("{} ({})", destination.copied.len(), human_size(bytes)),
        destination.unchanged.to_string(),
        destination.deleted.len().to_string(),
        failed.count().to_string(),
    ]
}

fn repository(report: &RepositoryReport) -> Value {
    let destinations: Vec<Value> = report
        .destinations
        .iter()
        .map(|destination| {
            let copied: Vec<Value> = destination
                .copied
                .iter()
                .map(|copied| {
                    let missing = copied.missing_foreign_layers.iter();
                    let missing: Vec<_> = missing.map(ToString::to_string).collect();
                    json!({
                        "tag": copied.tag.to_string(),
                        "digest": copied.digest.to_string(),
                        "bytes": copied.bytes,
                        "missingForeignLayers": missing,
                    })
                })
                .collect();
            let deleted: Vec<_> = destination
                .deleted
                .iter()
                .map(ToString::to_string)
                .collect();
            json!({
                "to": destination.to.to_string(),
                "copied": copied,
                "unchanged": destination.unchanged,
                "deleted": deleted,
            })
        })
        .collect();
    let failures: Vec<Value> = report
        .failures
        .iter()
        .map(|failure| {
            json!({
                "to": failure.to.as_ref().map(ToString::to_string),
                "tag": failure.tag.as_ref().map(ToString::to_string),
                "message": CliError::from(&failure.error).message,
            })
        })
        .collect();
    json!({
        "from": report.from.to_string(),
        "tags": report.tags,
        "destinations": destinations,
        "failures": failures,
    })
}

/// A failure with the place and tag that it is about.
fn told(failure: &MirrorFailure) -> CliError {
    let mut error = CliError::from(&failure.error);
    if let Some(tag) = &failure.tag {
        error = error.with_context(&format!("tag `{tag}`"));
    }
    match &failure.to {
        Some(to) => error.with_context(&to.to_string()),
        None => error,
    }
}

/// The first failure decides how the command ends; the report has told all of them.
fn failure(report: &MirrorReport) -> Result<(), CliError> {
    let count = report.failures().count();
    let mut failures = report.failures();
    let Some(first) = failures.next() else {
        return Ok(());
    };
    let error = told(first);
    let error = match count - 1 {
        0 => error,
        more => error.with_hint(format!("and {more} more; the report has them all")),
    };
    Err(error)
}
