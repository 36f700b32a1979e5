//! `peak local check`: whether the embedded registry has everything that it says it has.

use clap::Args;
use peak_sdk::local::{CheckReport, CheckRequest, FindingKind, RunningPlatform};

use super::upkeep::work_on;
use crate::application::Application;
use crate::arguments::StateOptions;
use crate::error::{CliError, ErrorKind};
use crate::output::{aligned, counted, human_size, printable, table};

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

pub(super) async fn check(
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
