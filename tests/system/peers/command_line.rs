//! The public Python client's command line and ours, given the same arguments: they must ask the same of the
//! platform, leave the same files behind and print the same result.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::cases::{Case, cases, first_page, for_a_version, words};
use super::python::CommandLine;
use super::recorder::{Body, Recorder, Request, World, image};
use crate::support::{Finished, Sandbox, files_under, workspace};

pub(super) const TOKEN: &str = "a-token that.must-not/show==";

/// What a run of one command line did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) succeeded: bool,
    pub(super) requests: Vec<Request>,
    /// Files that were not there before.
    pub(super) files: BTreeMap<String, String>,
    /// Standard output, where it is a JSON or YAML object.
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
        copy(
            &workspace().join("tests/system/peers/files"),
            &root,
            &root.display().to_string(),
        );
        let fixture = files_under(&root);
        Self {
            sandbox,
            root,
            fixture,
            recorder: Recorder::start(),
        }
    }

    /// A file more.
    fn add(&mut self, name: &str, content: &str) {
        std::fs::write(self.root.join(name), content).unwrap();
        self.fixture.push(name.to_owned());
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
            printed: printed(&finished.stdout),
        }
    }
}

fn printed(stdout: &str) -> Option<Value> {
    serde_json::from_str(stdout)
        .or_else(|_| serde_saphyr::from_str(stdout))
        .ok()
        .filter(Value::is_object)
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
    let mut text = String::new();
    for change in similar::TextDiff::from_lines(&theirs, &ours).iter_all_changes() {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "    {} {}", change.tag(), change.value().trim_end());
    }
    text
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
            let mut run = |case: &Case, arguments: &[String]| {
                theirs.theirs(&mut python, case.directory, arguments, &case.world)
            };
            cases
                .iter()
                .map(|case| {
                    let instead = case.instead();
                    let instead = instead.map(|(arguments, _)| run(case, &arguments).0);
                    (run(case, &case.arguments()), instead)
                })
                .collect()
        });
        let run = |case: &Case| ours.ours(case.directory, &case.our_arguments(), &case.world);
        let our_outcomes = cases.iter().map(run).collect();
        (their_outcomes.join().unwrap(), our_outcomes)
    });

    let mut failures = Vec::new();
    let mut used = [false; RULES.len()];
    for ((case, ((mut expected, they), instead)), (our_outcome, we)) in
        cases.iter().zip(their_outcomes).zip(our_outcomes)
    {
        let mut no_longer = |reason: &str| {
            failures.push(format!("{case}\n  no longer differs so: {reason}\n"));
        };
        let mut follow_rules = |outcome: &mut Outcome| {
            for ((_, apply), used) in RULES.iter().zip(&mut used) {
                *used |= apply(outcome);
            }
        };
        follow_rules(&mut expected);
        if let Some((instead, (_, reason))) = instead.zip(case.instead()) {
            if expected == our_outcome {
                no_longer(reason);
            }
            expected = instead;
            follow_rules(&mut expected);
        }
        for (reason, apply) in &case.known {
            let before = expected.clone();
            apply(&mut expected);
            if before == expected {
                no_longer(reason);
            }
        }
        if they.code == Some(2) && we.code != Some(2) && !our_outcome.succeeded {
            failures.push(format!(
                "{case}\n  a wrong command line to them, to us {:?}\n",
                we.code
            ));
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

#[test]
fn every_command_and_option_of_the_python_tool_is_in_a_case() {
    let Some(python) = CommandLine::start() else {
        return;
    };
    // These have tests of their own below, or are about the tool itself.
    let elsewhere = ["--dry-run", "--generate", "--help"];
    let cases = cases();
    let mut missing = Vec::new();
    for (command, options) in &python.options {
        let of_this_command: Vec<Vec<String>> = cases
            .iter()
            .map(Case::our_arguments)
            .filter(|words| {
                words.join(" ").starts_with(&format!("{command} ")) || words.join(" ") == *command
            })
            .collect();
        if of_this_command.is_empty() {
            missing.push(command.clone());
        }
        for spellings in options {
            let given = |word: &String| {
                let name = word.split('=').next().unwrap_or_default();
                spellings.iter().any(|spelling| spelling == name)
            };
            if !spellings
                .iter()
                .any(|spelling| elsewhere.contains(&spelling.as_str()))
                && !of_this_command.iter().flatten().any(given)
            {
                missing.push(format!("{command} {}", spellings.join("|")));
            }
        }
    }
    assert!(missing.is_empty(), "in no case:\n{}", missing.join("\n"));
}

/// The request that their dry run prints.
fn sample(printed: &str) -> Value {
    let (_, rest) = printed.split_once("Sample request: ").unwrap();
    let mut documents = serde_json::Deserializer::from_str(rest).into_iter();
    documents.next().unwrap().unwrap()
}

#[test]
fn a_dry_run_by_either_peer_shows_the_same_request_and_sends_none() {
    let Some(mut python) = CommandLine::start() else {
        return;
    };
    let sandbox = Sandbox::new();
    let theirs = Side::new(&sandbox, "theirs");
    let ours = Side::new(&sandbox, "ours");
    let world = World::default();
    for line in [
        "artifacts create artifact-ignores.yaml",
        "artifacts create-version 5fd54c2c-6d2b-4e1b-9d6e-1d1f2f3e4a5b artifact-version.yaml -p path=plain -p validate=x",
        "artifacts update-metadata 5fd54c2c-6d2b-4e1b-9d6e-1d1f2f3e4a5b artifact-metadata.yaml -p name=new",
        "artifacts download 5fd54c2c-6d2b-4e1b-9d6e-1d1f2f3e4a5b out.zip --version 3",
        "artifacts delete 5fd54c2c-6d2b-4e1b-9d6e-1d1f2f3e4a5b",
        "artifacts delete-version 5fd54c2c-6d2b-4e1b-9d6e-1d1f2f3e4a5b 3",
        "images create upload.yaml -p description=hello --context sub",
        "images create-version 9 upload.yaml -p description=hello",
        "images update-version --image-id 9 --version-id 3 dockerfile.yaml",
        "images delete 9",
        "images delete-version --image-id 9 --version-id 3",
        "images delete-versions --image-id 9 --version-ids 1,2",
    ] {
        let mut arguments = words(line);
        arguments.push("--dry-run".to_owned());
        let (their_outcome, they) = theirs.theirs(&mut python, "", &arguments, &world);
        let (our_outcome, we) = ours.ours("", &arguments, &world);
        assert_eq!(their_outcome.requests, [], "{line}");
        assert_eq!(our_outcome.requests, [], "{line}");
        assert!(our_outcome.succeeded, "{line}: {}", we.stderr);
        assert!(our_outcome.files.is_empty(), "{line}: {our_outcome:?}");
        // Theirs crashes after it has printed the request, and leaves an empty file.
        let crashes = line.starts_with("artifacts download");
        assert_eq!(their_outcome.succeeded, !crashes, "{line}: {}", they.stderr);
        assert_eq!(their_outcome.files.is_empty(), !crashes, "{line}");

        let request = sample(&they.stdout);
        let shown = format!("{}{}", we.stdout, we.stderr);
        let path = request["url"].as_str().unwrap();
        let path = path.strip_prefix(&theirs.recorder.url()).unwrap();
        let mut wanted = vec![request["method"].as_str().unwrap(), path];
        for part in ["params", "body"] {
            wanted.extend(
                request[part]
                    .as_object()
                    .unwrap()
                    .keys()
                    .map(String::as_str),
            );
        }
        for word in wanted {
            assert!(shown.contains(word), "{line}: {word} is not in {shown}");
        }
        assert!(they.stdout.contains(TOKEN), "they hide the token by now");
        assert!(!shown.contains(TOKEN), "{line}: {shown}");
        let file_tree = "Artifact file tree:";
        if let Some((_, files)) = they.stdout.split_once(file_tree) {
            for file in files.split_whitespace().filter(|word| word.contains('.')) {
                assert!(shown.contains(file), "{line}: {file} is not in {shown}");
            }
        }
    }
}

#[test]
fn what_generate_prints_is_a_file_for_both_peers() {
    let Some(mut python) = CommandLine::start() else {
        return;
    };
    let sandbox = Sandbox::new();
    let mut theirs = Side::new(&sandbox, "theirs");
    let mut ours = Side::new(&sandbox, "ours");
    // Their sample of `create-or-update` has no type, and so is one for an image that is there.
    let world = World {
        images: vec![vec![image(8, "test-image"), image(9, "hello-web")]],
        ..World::default()
    };
    for command in [
        "artifacts create",
        "artifacts create-version 5fd54c2c-6d2b-4e1b-9d6e-1d1f2f3e4a5b",
        "artifacts update-metadata 5fd54c2c-6d2b-4e1b-9d6e-1d1f2f3e4a5b",
        "images create",
        "images create-version 9",
        "images create-or-update",
        "images update-version --image-id 9 --version-id 3",
    ] {
        let mut generate = words(command);
        generate.push("--generate".to_owned());
        let (their_outcome, they) = theirs.theirs(&mut python, "", &generate, &world);
        let (our_outcome, we) = ours.ours("", &generate, &world);
        for outcome in [&their_outcome, &our_outcome] {
            assert!(
                outcome.succeeded,
                "{command}: {} {}",
                they.stderr, we.stderr
            );
            assert_eq!(outcome.requests, [], "{command}");
            assert!(outcome.files.is_empty(), "{command}");
        }
        // The samples speak of the directory they are in, and of two ignore files there.
        for (name, sample) in [("theirs.yaml", &they.stdout), ("ours.yaml", &we.stdout)] {
            for side in [&mut theirs, &mut ours] {
                side.add(name, sample);
                side.add(".gitignore", "*.log\n");
                side.add(".dockerignore", "*.yaml\n");
            }
            let mut arguments = words(command);
            arguments.push(name.to_owned());
            let (mut their_outcome, they) = theirs.theirs(&mut python, "", &arguments, &world);
            let (our_outcome, we) = ours.ours("", &arguments, &world);
            for (_, apply) in RULES {
                apply(&mut their_outcome);
            }
            if command.ends_with("create-or-update") {
                first_page(&mut their_outcome);
                for_a_version(&mut their_outcome);
            }
            assert!(their_outcome.succeeded, "{command} {name}: {}", they.stderr);
            assert!(
                their_outcome == our_outcome,
                "{command} {name}\n{}{}",
                difference(&their_outcome, &our_outcome),
                we.stderr
            );
            arguments.push("--dry-run".to_owned());
            let (dry, we) = ours.ours("", &arguments, &world);
            assert!(dry.succeeded, "{command} {name}: {}", we.stderr);
            assert_eq!(dry.requests, [], "{command} {name}");
        }
    }
}
