//! The public Python client's command line and ours, given the same arguments: they must ask the same of the
//! platform, leave the same files behind and print the same result.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::cases::{Case, cases};
use super::python::{CommandLine, script};
use super::recorder::{Body, Recorder, Request, World};
use crate::support::{Finished, Sandbox, files_under};

const TOKEN: &str = "a-token that.must-not/show==";

/// What a run of one command line did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) succeeded: bool,
    pub(super) requests: Vec<Request>,
    /// Files that were not there before.
    pub(super) files: BTreeMap<String, String>,
    /// Standard output, where it is JSON.
    pub(super) printed: Option<Value>,
}

/// One client in a directory of its own, with a recorder of its own.
struct Side<'a> {
    sandbox: &'a Sandbox,
    root: PathBuf,
    fixture: Vec<String>,
    recorder: Recorder,
}

impl<'a> Side<'a> {
    fn new(sandbox: &'a Sandbox, name: &str) -> Self {
        let root = sandbox.path(name);
        copy(&script("files"), &root, &root.display().to_string());
        let fixture = files_under(&root);
        Self {
            sandbox,
            root,
            fixture,
            recorder: Recorder::start(),
        }
    }

    fn environment(&self) -> [(&'static str, String); 4] {
        [
            ("PEAK_AUTH_TOKEN", TOKEN.to_owned()),
            ("HOME", self.sandbox.path("home").display().to_string()),
            ("REGION", "eu-west-1".to_owned()),
            ("GITHUB_TOKEN", "gh: {{ not rendered }}".to_owned()),
        ]
    }

    fn ours(&self, directory: &str, arguments: &[String], world: &World) -> (Outcome, Finished) {
        self.recorder.begin(world.clone());
        let child = self
            .sandbox
            .command(arguments)
            .envs(self.environment())
            .env("PEAK_ENDPOINT_URL", self.recorder.url())
            .current_dir(self.root.join(directory))
            .spawn()
            .unwrap();
        let finished = crate::support::finish(child);
        (self.outcome(&finished), finished)
    }

    fn theirs(
        &self,
        python: &mut CommandLine,
        directory: &str,
        arguments: &[String],
        world: &World,
    ) -> (Outcome, Finished) {
        self.recorder.begin(world.clone());
        let environment = self.environment();
        let environment: Vec<_> = environment
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let directory = self.root.join(directory);
        let finished = python.run(&self.recorder.url(), &directory, &environment, arguments);
        (self.outcome(&finished), finished)
    }

    /// Also removes the files that the run left, for the next one.
    fn outcome(&self, finished: &Finished) -> Outcome {
        let mut files = BTreeMap::new();
        for name in files_under(&self.root) {
            if !self.fixture.contains(&name) {
                let path = self.root.join(&name);
                let content = std::fs::read(&path).unwrap();
                files.insert(name, content.escape_ascii().to_string());
                std::fs::remove_file(path).unwrap();
            }
        }
        Outcome {
            succeeded: finished.code == Some(0),
            requests: self.recorder.requests(),
            files,
            printed: serde_json::from_str(&finished.stdout).ok(),
        }
    }
}

/// Copies a tree; `@ROOT@` in a file becomes the directory's absolute name.
fn copy(from: &Path, to: &Path, root: &str) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target, root);
            continue;
        }
        let content = std::fs::read(entry.path()).unwrap();
        match String::from_utf8(content) {
            Ok(text) => std::fs::write(target, text.replace("@ROOT@", root)).unwrap(),
            Err(binary) => std::fs::write(target, binary.as_bytes()).unwrap(),
        }
    }
}

/// What both are given, line by line; it is a request's readable form.
fn lines(outcome: &Outcome) -> Vec<String> {
    let mut lines = vec![format!(
        "exit code: {}",
        if outcome.succeeded { "0" } else { "not 0" }
    )];
    for request in &outcome.requests {
        lines.push(format!("{} {}", request.method, request.path));
        for (key, values) in &request.query {
            lines.push(format!("  query {key} = {values:?}"));
        }
        lines.push(format!("  authorization {:?}", request.authorization));
        match &request.body {
            Body::None => {}
            Body::Json(json) => lines.push(format!("  json {json}")),
            Body::Unexpected(what) => lines.push(format!("  unexpected {what}")),
            Body::Form { fields, artifact } => {
                lines.push("  form".to_owned());
                for (name, values) in fields {
                    lines.push(format!("    field {name} = {values:?}"));
                }
                if let Some(artifact) = artifact {
                    lines.push(format!(
                        "    file {} = {} ({})",
                        artifact.field, artifact.file_name, artifact.content_type
                    ));
                    for (name, content) in &artifact.entries {
                        lines.push(format!("      {name}: {content}"));
                    }
                }
            }
        }
    }
    for (name, content) in &outcome.files {
        lines.push(format!("file {name}: {content}"));
    }
    if let Some(printed) = &outcome.printed {
        lines.push(format!("printed {printed}"));
    }
    lines
}

/// A difference for a person to read.
fn difference(theirs: &Outcome, ours: &Outcome) -> String {
    let (theirs, ours) = (lines(theirs).join("\n"), lines(ours).join("\n"));
    similar::TextDiff::from_lines(&theirs, &ours)
        .iter_all_changes()
        .map(|change| format!("    {} {}\n", change.tag(), change.value().trim_end()))
        .collect()
}

/// A way in which we mean to differ everywhere: what it is and why, and how theirs is made like ours. Gives
/// whether there was anything to change.
type Rule = (&'static str, fn(&mut Outcome) -> bool);

const RULES: [Rule; 2] = [
    (
        "they send `{}` with requests that have no body, which some proxies refuse",
        |theirs| {
            let mut changed = false;
            for request in &mut theirs.requests {
                if matches!(request.method.as_str(), "GET" | "DELETE")
                    && request.body == Body::Json("{}".to_owned())
                {
                    request.body = Body::None;
                    changed = true;
                }
            }
            changed
        },
    ),
    (
        "they send the text `null` for an artifact without a description; the API wants absent options left out",
        |theirs| {
            let mut changed = false;
            for request in &mut theirs.requests {
                if let Body::Form { fields, .. } = &mut request.body
                    && request.path == "/artifacts/api/v1/artifacts/"
                    && fields
                        .get("description")
                        .is_some_and(|values| values == &["null"])
                {
                    fields.remove("description");
                    changed = true;
                }
            }
            changed
        },
    ),
];

#[test]
fn the_python_command_line_and_ours_ask_the_same_of_the_platform() {
    let Some(mut python) = CommandLine::start() else {
        return;
    };
    let sandbox = Sandbox::new();
    let theirs = Side::new(&sandbox, "theirs");
    let ours = Side::new(&sandbox, "ours");
    let cases = cases();
    // The two sides have nothing in common, so they run at the same time.
    let (their_outcomes, our_outcomes): (Vec<_>, Vec<_>) = std::thread::scope(|scope| {
        let their_outcomes = scope.spawn(|| {
            let run = |case: &Case| {
                theirs.theirs(&mut python, case.directory, &case.arguments(), &case.world)
            };
            cases.iter().map(run).collect()
        });
        let run = |case: &Case| ours.ours(case.directory, &case.our_arguments(), &case.world);
        let our_outcomes = cases.iter().map(run).collect();
        (their_outcomes.join().unwrap(), our_outcomes)
    });

    let mut failures = Vec::new();
    let mut used = [false; RULES.len()];
    for ((case, (their_outcome, they)), (our_outcome, we)) in
        cases.iter().zip(their_outcomes).zip(our_outcomes)
    {
        let mut expected = their_outcome;
        for ((_, apply), used) in RULES.iter().zip(&mut used) {
            *used |= apply(&mut expected);
        }
        for (reason, apply) in &case.known {
            let before = expected.clone();
            apply(&mut expected);
            if before == expected {
                failures.push(format!("{case}\n  no longer differs so: {reason}\n"));
            }
        }
        if expected != our_outcome {
            failures.push(format!(
                "{case}\n  - theirs, + ours:\n{}  their stderr: {}\n  our stderr: {}\n",
                difference(&expected, &our_outcome),
                they.error(),
                we.error(),
            ));
        }
    }
    for ((reason, _), used) in RULES.iter().zip(used) {
        if !used {
            failures.push(format!("in no case any more: {reason}\n"));
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {} cases differ:\n\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
}
