//! `cargo xtask bench`: how long we need and how long others need for the same work.
//!
//! A job ([`jobs`]) makes its data and says what runs: us, others that are installed, and what nobody can
//! beat. Whole processes are measured ([`measure`]), in turn and for several rounds ([`rounds`]), so that a
//! machine that gets slower for a while does so for everyone. The result is a table ([`report`]).

mod clients;
mod images;
mod jobs;
mod link;
mod measure;
mod registries;
mod report;
mod rounds;
mod tools;

use std::any::Any;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

pub(crate) use measure::{HELPER, run_as_helper};

use crate::bench::report::Section;

/// What is to be run.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The jobs to run; all of them if none is named
    #[arg(value_name = "JOB")]
    jobs: Vec<String>,
    /// How often each program runs, after one run that does not count
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Write the results into docs/performance.md, in place of earlier ones of the same jobs
    #[arg(long)]
    write: bool,
    /// Measure this `peak`, built some other time, in place of one that is built now
    #[arg(long, value_name = "FILE")]
    peak: Option<PathBuf>,
}

/// Something that can be done with different programs.
struct Job {
    /// What it is called on the command line.
    name: &'static str,
    /// What is done, for the reader of the report.
    about: &'static str,
    /// Makes the data and finds the programs.
    prepare: fn(&Workplace) -> anyhow::Result<Vec<Race>>,
}

/// Programs that do the same work.
struct Race {
    /// Tells the races of a job apart; empty if there is one.
    title: &'static str,
    runners: Vec<Runner>,
    /// What must be there while they run, such as servers.
    held: Vec<Box<dyn Any>>,
}

/// One program with its arguments.
struct Runner {
    name: String,
    kind: Kind,
    run: Run,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ours,
    Peer,
    /// Does less than the work, and so shows how fast it could be at most.
    Floor,
}

enum Run {
    Command {
        command: measure::Command,
        /// What it writes: gone before each run, and its size is told.
        output: Option<PathBuf>,
        /// The directory that it fills: gone before each run and after it, so that memory is not filled up.
        scratch: Option<PathBuf>,
    },
    /// Why it cannot run here.
    Missing(String),
}

/// Where a benchmark works.
struct Workplace {
    /// The root of the repository.
    root: PathBuf,
    /// Where data is kept from one time to the next: `target/bench`.
    data: PathBuf,
    /// Our program, if it need not be built.
    peak: Option<PathBuf>,
}

impl Workplace {
    fn new(root: &Path, peak: Option<PathBuf>) -> anyhow::Result<Self> {
        // Next to whatever cargo built this program into: `target/debug/xtask`.
        let program = std::env::current_exe().context("cannot find this program's own path")?;
        let target = program.parent().and_then(Path::parent);
        let data = target
            .with_context(|| format!("{} is not in a target directory", program.display()))?
            .join("bench");
        std::fs::create_dir_all(&data)
            .with_context(|| format!("cannot make {}", data.display()))?;
        Ok(Self {
            root: root.to_owned(),
            data,
            peak,
        })
    }
}

/// Runs the jobs and prints what came out.
pub(crate) fn run(root: &Path, options: &Options) -> anyhow::Result<()> {
    let jobs = chosen(&options.jobs)?;
    let workplace = Workplace::new(root, options.peak.clone())?;
    let mut sections = Vec::new();
    for job in jobs {
        note(&format!("{}: preparing", job.name));
        let races = (job.prepare)(&workplace)
            .with_context(|| format!("cannot prepare the job `{}`", job.name))?;
        let mut results = Vec::new();
        for race in &races {
            let result = rounds::run(race, options.rounds, |round| {
                note(&format!("{} {}: {round}", job.name, race.title));
            });
            results.push(result.with_context(|| format!("the job `{}` failed", job.name))?);
        }
        let section = Section::new(job, &results, options.rounds)?;
        let mut out = io::stdout().lock();
        writeln!(out, "{}", section.markdown())?;
        out.flush()?;
        sections.push(section);
    }
    if options.write {
        let path = root.join("docs/performance.md");
        report::write(&path, &sections)?;
        note(&format!("wrote {}", path.display()));
    }
    Ok(())
}

fn chosen(names: &[String]) -> anyhow::Result<Vec<&'static Job>> {
    if names.is_empty() {
        return Ok(jobs::ALL.to_vec());
    }
    let mut chosen = Vec::new();
    for name in names {
        let Some(job) = jobs::ALL.iter().find(|job| job.name == name) else {
            let known: Vec<&str> = jobs::ALL.iter().map(|job| job.name).collect();
            bail!(
                "there is no job `{name}`; the jobs are {}",
                known.join(", ")
            );
        };
        chosen.push(*job);
    }
    Ok(chosen)
}

/// Says on standard error what is going on.
fn note(text: &str) {
    // Standard error may be closed; then there is nobody to tell.
    let _ = writeln!(io::stderr(), "bench: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_chosen_by_name_and_an_unknown_one_is_told_the_others() {
        let names = |list: &[&str]| {
            list.iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>()
        };
        let all = chosen(&[]).unwrap();
        assert_eq!(all.len(), jobs::ALL.len());
        let two = chosen(&names(&["startup", "pack"])).unwrap();
        assert_eq!(
            two.iter().map(|job| job.name).collect::<Vec<_>>(),
            ["startup", "pack"]
        );
        let error = chosen(&names(&["pak"])).err().unwrap().to_string();
        assert!(
            error.contains("`pak`") && error.contains("small-requests"),
            "{error}"
        );
    }

    #[test]
    fn job_names_are_unique() {
        let names: std::collections::BTreeSet<_> = jobs::ALL.iter().map(|job| job.name).collect();
        assert_eq!(names.len(), jobs::ALL.len());
    }
}
