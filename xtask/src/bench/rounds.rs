//! The programs of a race, in turn, several times.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context as _, bail};

use crate::bench::measure::{Command, Sample};
use crate::bench::{Kind, Race, Run, Runner};

/// What came of a race.
pub(crate) struct RaceResult {
    pub(crate) title: &'static str,
    pub(crate) runners: Vec<RunnerResult>,
}

/// What came of one program.
pub(crate) struct RunnerResult {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) outcome: Result<Samples, String>,
}

/// The runs that count, by round.
pub(crate) struct Samples {
    pub(crate) samples: Vec<Sample>,
    /// Size in bytes of what the last run wrote.
    pub(crate) output: Option<u64>,
}

/// Runs everything once for the caches and then `rounds` times.
pub(crate) fn run(
    race: &Race,
    rounds: u32,
    mut progress: impl FnMut(&str),
) -> anyhow::Result<RaceResult> {
    let mut results: Vec<RunnerResult> = race
        .runners
        .iter()
        .map(|Runner { name, kind, run }| RunnerResult {
            name: name.clone(),
            kind: *kind,
            outcome: match run {
                Run::Command { .. } => Ok(Samples {
                    samples: Vec::new(),
                    output: None,
                }),
                Run::Missing(reason) => Err(reason.clone()),
            },
        })
        .collect();
    for round in 0..=rounds {
        progress(&if round == 0 {
            "warming up".to_owned()
        } else {
            format!("round {round} of {rounds}")
        });
        for (runner, result) in race.runners.iter().zip(&mut results) {
            let (
                Run::Command {
                    command,
                    output,
                    scratch,
                },
                Ok(samples),
            ) = (&runner.run, &mut result.outcome)
            else {
                continue;
            };
            let sample = run_once(command, output.as_deref(), scratch.as_deref())?;
            if round > 0 {
                samples.samples.push(sample);
            }
            if let Some(path) = output {
                let metadata = fs::metadata(path)
                    .with_context(|| format!("{command} wrote no {}", path.display()))?;
                samples.output = Some(metadata.len());
            }
        }
    }
    Ok(RaceResult {
        title: race.title,
        runners: results,
    })
}

fn run_once(
    command: &Command,
    output: Option<&Path>,
    scratch: Option<&Path>,
) -> anyhow::Result<Sample> {
    if let Some(path) = output {
        gone(path, fs::remove_file(path))?;
    }
    let Some(directory) = scratch else {
        return command.measure();
    };
    gone(directory, fs::remove_dir_all(directory))?;
    let sample = command.measure()?;
    if !directory.is_dir() {
        bail!("{command} wrote no {}", directory.display());
    }
    gone(directory, fs::remove_dir_all(directory))?;
    Ok(sample)
}

/// What was to be removed may have been missing.
fn gone(path: &Path, outcome: io::Result<()>) -> anyhow::Result<()> {
    match outcome {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
