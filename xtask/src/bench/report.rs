//! Results as Markdown, and the page that keeps them.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;
use std::thread;

use anyhow::Context as _;

use crate::bench::rounds::{RaceResult, RunnerResult, Samples};
use crate::bench::{Job, Kind, jobs};

const PREAMBLE: &str = "\
# Performance

What `cargo xtask bench` measured. It makes its own data under `target/bench`, builds our programs as releases, and
runs each program for each job as a whole process, in turn, for as many rounds as stand with the job, after one that
does not count. Shown are medians over the rounds. The ratios are medians too, of the ratios within each round, against
the peer that needs the least time; 0.5 × is half of what that peer needs. A *floor* is no peer: it does less than the
work and shows what is possible at most. Memory is that of the largest process; less than about 5 MiB cannot be told,
which is what the process that measures has itself.

To repeat: `cargo xtask bench [JOB …] [--rounds N]`, and `--write` to put the results here. A peer that is not
installed has a row that says so; the Python client is installed from PyPI where Python is.
";

/// One job's results.
pub(super) struct Section {
    name: &'static str,
    text: String,
}

impl Section {
    pub(super) fn new(job: &Job, results: &[RaceResult], rounds: u32) -> anyhow::Result<Self> {
        let mut text = format!(
            "## {}\n\n{}\n\n{}, {rounds} round{}.\n",
            job.name,
            job.about,
            circumstances(),
            if rounds == 1 { "" } else { "s" }
        );
        for result in results {
            if !result.title.is_empty() {
                write!(text, "\n### {}\n", result.title)?;
            }
            text.push('\n');
            push_table(result, &mut text)?;
        }
        Ok(Self {
            name: job.name,
            text,
        })
    }

    pub(super) fn markdown(&self) -> &str {
        &self.text
    }
}

/// Replaces the sections of a page, and leaves those of other jobs as they are.
pub(super) fn write(path: &Path, sections: &[Section]) -> anyhow::Result<()> {
    let before = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    fs::write(path, page(&before, sections))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn page(before: &str, sections: &[Section]) -> String {
    let mut page = PREAMBLE.to_owned();
    for job in jobs::ALL {
        let new = sections.iter().find(|section| section.name == job.name);
        let text = new
            .map(Section::markdown)
            .or_else(|| old_section(before, job.name));
        if let Some(text) = text {
            page.push('\n');
            page.push_str(text.trim_end());
            page.push('\n');
        }
    }
    page
}

/// The section of a page with its heading, up to the next one.
fn old_section<'a>(page: &'a str, name: &str) -> Option<&'a str> {
    let heading = format!("\n## {name}\n");
    let start = page.find(&heading)? + 1;
    let section = page.get(start..)?;
    let end = section.find("\n## ").map_or(section.len(), |end| end + 1);
    section.get(..end)
}

fn push_table(result: &RaceResult, text: &mut String) -> anyhow::Result<()> {
    let fastest = fastest_peer(&result.runners);
    let has_output = result.runners.iter().any(|runner| {
        runner
            .outcome
            .as_ref()
            .is_ok_and(|samples| samples.output.is_some())
    });
    let (heading, line) = if has_output {
        (" written |", "---:|")
    } else {
        ("", "")
    };
    writeln!(
        text,
        "| | wall | from – to | CPU | memory |{heading} wall ratio | CPU ratio |"
    )?;
    writeln!(text, "|---|---:|---:|---:|---:|{line}---:|---:|")?;
    for runner in &result.runners {
        let name = match runner.kind {
            Kind::Ours => format!("**{}**", runner.name),
            Kind::Peer => runner.name.clone(),
            Kind::Floor => format!("{} (floor)", runner.name),
        };
        let samples = match &runner.outcome {
            Ok(samples) => samples,
            Err(reason) => {
                let empty = " |".repeat(if has_output { 6 } else { 5 });
                writeln!(text, "| {name} | missing: {reason} |{empty}")?;
                continue;
            }
        };
        let walls = samples.walls();
        let output = match samples.output {
            Some(bytes) => format!(" {} |", Bytes(bytes)),
            None if has_output => " |".to_owned(),
            None => String::new(),
        };
        let against = |figure: fn(&Samples) -> Vec<f64>| match fastest {
            Some(peer) => format!("{:.2} ×", ratio(&figure(samples), &figure(peer))),
            None => "–".to_owned(),
        };
        writeln!(
            text,
            "| {name} | {} | {} – {} | {} | {} |{output} {} | {} |",
            Seconds(median(&walls)),
            Seconds(walls.iter().copied().fold(f64::INFINITY, f64::min)),
            Seconds(walls.iter().copied().fold(0.0, f64::max)),
            Seconds(median(&samples.cpus())),
            Bytes(samples.memory()),
            against(Samples::walls),
            against(Samples::cpus),
        )?;
    }
    Ok(())
}

fn fastest_peer(runners: &[RunnerResult]) -> Option<&Samples> {
    runners
        .iter()
        .filter(|runner| runner.kind == Kind::Peer)
        .filter_map(|runner| runner.outcome.as_ref().ok())
        .min_by(|a, b| median(&a.walls()).total_cmp(&median(&b.walls())))
}

impl Samples {
    fn walls(&self) -> Vec<f64> {
        self.samples
            .iter()
            .map(|sample| sample.wall.as_secs_f64())
            .collect()
    }

    fn cpus(&self) -> Vec<f64> {
        self.samples
            .iter()
            .map(|sample| sample.cpu.as_secs_f64())
            .collect()
    }

    fn memory(&self) -> u64 {
        let mut values: Vec<u64> = self.samples.iter().map(|sample| sample.memory).collect();
        values.sort_unstable();
        values.get(values.len() / 2).copied().unwrap_or(0)
    }
}

/// The median of the ratios round by round.
fn ratio(ours: &[f64], theirs: &[f64]) -> f64 {
    let ratios: Vec<f64> = ours
        .iter()
        .zip(theirs)
        .map(|(ours, theirs)| ours / theirs)
        .collect();
    median(&ratios)
}

/// Of an even number of values the mean of the two in the middle; not a number if there are none.
fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = values.get(middle).copied().unwrap_or(f64::NAN);
    if values.len() % 2 == 1 {
        return upper;
    }
    let lower = middle.checked_sub(1).and_then(|index| values.get(index));
    lower.map_or(f64::NAN, |lower| f64::midpoint(*lower, upper))
}

/// A time with three digits.
struct Seconds(f64);

impl std::fmt::Display for Seconds {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (value, unit) = if self.0 < 1.0 {
            (self.0 * 1000.0, "ms")
        } else {
            (self.0, "s")
        };
        let digits = match value {
            ..10.0 => 2,
            ..100.0 => 1,
            _ => 0,
        };
        write!(formatter, "{value:.digits$} {unit}")
    }
}

/// A size in binary units, with one digit after the point.
struct Bytes(u64);

impl std::fmt::Display for Bytes {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (shift, unit) = if self.0 >> 30 > 0 {
            (30, "GiB")
        } else {
            (20, "MiB")
        };
        // Tenths, rounded to the nearest; in 128 bits so that nothing overflows.
        let tenths = (u128::from(self.0) * 10 + (1 << (shift - 1))) >> shift;
        write!(formatter, "{}.{} {unit}", tenths / 10, tenths % 10)
    }
}

/// When and where: what one needs to know to make anything of the numbers.
fn circumstances() -> String {
    let date = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let model =
        field("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let memory = field("/proc/meminfo", "MemTotal")
        .and_then(|text| text.trim_end_matches("kB").trim().parse::<u64>().ok())
        .map_or_else(String::new, |kibibytes| {
            format!(", {}", Bytes(kibibytes.saturating_mul(1024)))
        });
    let system = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = match load.split(' ').next() {
        Some(load) if !load.is_empty() => format!(", load average {load} at the end"),
        _ => String::new(),
    };
    let os = std::env::consts::OS;
    let system = format!("{os} {}", system.trim());
    format!(
        "{date}, {model}, {processors} processors{memory}, {}{load}",
        system.trim()
    )
}

/// The value of the first line `name : value` of a file of the kernel.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    let (_, value) = line.split_once(':')?;
    Some(value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bench::measure::Sample;

    fn runner(name: &str, kind: Kind, walls: &[u64]) -> RunnerResult {
        let samples = walls.iter().map(|wall| Sample {
            wall: Duration::from_millis(*wall),
            cpu: Duration::from_millis(wall * 2),
            memory: 3 << 20,
        });
        RunnerResult {
            name: name.to_owned(),
            kind,
            outcome: Ok(Samples {
                samples: samples.collect(),
                output: None,
            }),
        }
    }

    #[test]
    fn a_table_has_medians_ratios_to_the_fastest_peer_and_what_is_missing() {
        let missing = RunnerResult {
            name: "gone".to_owned(),
            kind: Kind::Peer,
            outcome: Err("`gone` is not installed".to_owned()),
        };
        let result = RaceResult {
            title: "",
            runners: vec![
                runner("us", Kind::Ours, &[5, 40, 8]),
                runner("slow", Kind::Peer, &[900, 1100, 1300]),
                runner("fast", Kind::Peer, &[10, 80, 32]),
                runner("bound", Kind::Floor, &[1, 1, 1]),
                missing,
            ],
        };
        let mut text = String::new();
        push_table(&result, &mut text).unwrap();
        let expected = "\
| | wall | from – to | CPU | memory | wall ratio | CPU ratio |
|---|---:|---:|---:|---:|---:|---:|
| **us** | 8.00 ms | 5.00 ms – 40.0 ms | 16.0 ms | 3.0 MiB | 0.50 × | 0.50 × |
| slow | 1.10 s | 900 ms – 1.30 s | 2.20 s | 3.0 MiB | 40.62 × | 40.62 × |
| fast | 32.0 ms | 10.0 ms – 80.0 ms | 64.0 ms | 3.0 MiB | 1.00 × | 1.00 × |
| bound (floor) | 1.00 ms | 1.00 ms – 1.00 ms | 2.00 ms | 3.0 MiB | 0.03 × | 0.03 × |
| gone | missing: `gone` is not installed | | | | | |
";
        assert_eq!(text, expected);
    }

    #[test]
    fn writing_one_job_leaves_the_others() {
        let section = |name, text: &str| Section {
            name,
            text: format!("## {name}\n\n{text}\n"),
        };
        let first = page("", &[section("startup", "old"), section("pack", "kept")]);
        assert!(first.starts_with("# Performance\n"));
        let second = page(&first, &[section("startup", "new")]);
        assert!(
            second.ends_with("\n\n## pack\n\nkept\n\n## startup\n\nnew\n"),
            "{second}"
        );
        assert_eq!(page(&second, &[]), second);
    }

    #[test]
    fn medians_of_odd_and_even_counts() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&[4.0, 1.0]) - 2.5).abs() < 1e-9);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn sizes_and_times_have_their_units() {
        assert_eq!(Bytes(1_572_864).to_string(), "1.5 MiB");
        assert_eq!(Bytes(3 << 30).to_string(), "3.0 GiB");
        assert_eq!(Seconds(0.0123).to_string(), "12.3 ms");
        assert_eq!(Seconds(1.5).to_string(), "1.50 s");
    }
}
