//! What it costs to start at all.

use std::path::PathBuf;

use crate::bench::measure::Command;
use crate::bench::tools;
use crate::bench::{Job, Kind, Race, Run, Runner, Workplace};

pub(super) const JOB: Job = Job {
    name: "startup",
    about: "Printing the version: what each call of a script pays before any work is done.",
    prepare,
};

fn prepare(workplace: &Workplace) -> anyhow::Result<Vec<Race>> {
    let peak = tools::peak(workplace)?;
    let runner = |name: &str, kind, program: Result<PathBuf, String>, argument: &str| Runner {
        name: name.to_owned(),
        kind,
        run: match program {
            Ok(program) => Run::Command {
                command: Command::new(program).args([argument]),
                output: None,
                scratch: None,
            },
            Err(reason) => Run::Missing(reason),
        },
    };
    let python_client = tools::python_client(workplace).map(|bin| bin.join("peak"));
    Ok(vec![Race {
        title: "",
        runners: vec![
            runner("peak --version", Kind::Ours, Ok(peak), "--version"),
            runner(
                "crane version",
                Kind::Peer,
                tools::find_peer(&workplace.root, "crane"),
                "version",
            ),
            runner(
                "skopeo --version",
                Kind::Peer,
                tools::find("skopeo"),
                "--version",
            ),
            runner(
                "Python client, peak --version",
                Kind::Peer,
                python_client,
                "--version",
            ),
        ],
        held: Vec::new(),
    }])
}
