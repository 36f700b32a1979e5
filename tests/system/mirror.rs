//! `peak registry copy` and `mirror` between repositories of the embedded registry, and what docs/mirror.md shows.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Sandbox, Server, digest, workspace};

/// A sandbox with a platform that has built one image under two tags.
struct Site {
    sandbox: Sandbox,
    server: Server,
}

impl Site {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        sandbox.project();
        let server = sandbox.serve();
        let shipped = sandbox.peak(["ship", "project", "--endpoint-url", &server.url]);
        shipped.assert_code(0);
        let site = Self { sandbox, server };
        site.json(&[
            "registry",
            "copy",
            &site.name("project:0.0.1"),
            &site.name("project:stable"),
        ]);
        site
    }

    fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.server.host())
    }

    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        self.sandbox
            .peak_json([arguments, &["-o", "json"]].concat())
    }

    fn tags(&self, repository: &str) -> Value {
        self.json(&["registry", "tags", &self.name(repository)])
    }

    /// Writes a plan from `project` to a prefix of the same registry.
    fn plan(&self, repository: &str, destination: &str) {
        let text = format!(
            "destinations:\n  - to: {}/backup\n{destination}repositories:\n  - from: {}\n{repository}",
            self.server.host(),
            self.name("project"),
        );
        self.sandbox.files("", [("plan.yaml", text.as_bytes())]);
    }
}

#[test]
fn all_tags_are_copied_after_a_dry_run_has_shown_them() {
    let site = Site::new();
    let (from, to) = (site.name("project"), site.name("team/copy"));
    let would = site.json(&["registry", "copy", &from, &to, "--all-tags", "--dry-run"]);
    assert_eq!(would["images"].as_array().unwrap().len(), 2);
    // The second image is the same: all of it is there by then.
    assert_eq!(would["totals"]["mount"]["blobs"], 3);
    assert_eq!(would["totals"]["skip"]["blobs"], 3);
    site.sandbox.peak(["registry", "tags", &to]).assert_code(4);
    let copied = site.json(&["registry", "copy", &from, &to, "--all-tags"]);
    assert_eq!(copied["images"][0]["tag"], "0.0.1");
    assert_eq!(copied["images"][0]["whole"], true);
    assert_eq!(site.tags("team/copy"), json!(["0.0.1", "stable"]));
    let shown = |name: &str| {
        site.sandbox
            .peak(["registry", "digest", &site.name(name)])
            .stdout
    };
    assert_eq!(shown("team/copy:stable"), shown("project:0.0.1"));
}

#[test]
fn a_signature_goes_with_its_image_into_a_layout_and_back() {
    let site = Site::new();
    let image = site.name("project:0.0.1");
    let raw = site
        .sandbox
        .peak(["registry", "manifest", "get", &image, "--raw"])
        .stdout;
    site.sandbox.files("", [("empty.json", b"{}".as_slice())]);
    site.json(&[
        "registry",
        "blob",
        "put",
        &site.name("project"),
        "empty.json",
    ]);
    let empty = json!({
        "mediaType": "application/vnd.oci.empty.v1+json",
        "digest": digest(b"{}"),
        "size": 2,
    });
    let signature = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/vnd.test.signature",
        "config": empty,
        "layers": [empty],
        "subject": {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": digest(raw.as_bytes()),
            "size": raw.len(),
        },
    });
    let signature = signature.to_string();
    site.sandbox
        .files("", [("signature.json", signature.as_bytes())]);
    let place = format!("{}@{}", site.name("project"), digest(signature.as_bytes()));
    site.json(&["registry", "manifest", "put", &place, "signature.json"]);

    let pulled = site.json(&["registry", "pull", &image, "oci:pulled:v1", "--referrers"]);
    assert_eq!(
        (&pulled["referrers"], &pulled["missingReferrers"]),
        (&json!(1), &json!([]))
    );
    let there = site.name("team/signed:v1");
    let pushed = site.json(&["registry", "push", "oci:pulled:v1", &there, "--referrers"]);
    assert_eq!(pushed["referrers"], 1);
    let found = site.json(&["registry", "referrers", &there]);
    assert_eq!(
        found["referrers"][0]["digest"],
        digest(signature.as_bytes())
    );
    let archive = site.sandbox.peak([
        "registry",
        "pull",
        &image,
        "oci-archive:x.tar",
        "--referrers",
    ]);
    archive
        .assert_code(2)
        .assert_stderr("holds one image and nothing that refers to it");
}

#[test]
fn an_image_for_another_platform_is_no_image_for_this_one() {
    let site = Site::new();
    let from = site.name("project:0.0.1");
    let pulled = site.sandbox.peak([
        "registry",
        "pull",
        &from,
        "oci:pulled",
        "--platform",
        "plan9/mips",
    ]);
    pulled.assert_code(4).assert_stderr("not for plan9/mips");
    assert!(!site.sandbox.path("pulled").exists());
    let several = site
        .sandbox
        .peak(["registry", "pull", &from, "oci:pulled", "--all-tags"]);
    several
        .assert_code(2)
        .assert_stderr("leave out the tag or --all-tags");
}

#[test]
fn a_mirror_copies_what_changed_and_deletes_only_when_told() {
    let site = Site::new();
    site.plan("    tags: {globs: [\"*\"]}\n", "");
    let would = site.json(&["registry", "mirror", "plan.yaml", "--dry-run"]);
    assert_eq!(
        (&would["copied"], &would["dryRun"]),
        (&json!(2), &json!(true))
    );
    let first = site.json(&["registry", "mirror", "plan.yaml"]);
    assert_eq!(
        (&first["copied"], &first["unchanged"]),
        (&json!(2), &json!(0))
    );
    assert_eq!(site.tags("backup/project"), json!(["0.0.1", "stable"]));
    let second = site.json(&["registry", "mirror", "plan.yaml", "--keep-going"]);
    assert_eq!(
        (&second["copied"], &second["unchanged"]),
        (&json!(0), &json!(2))
    );
    assert_eq!(second["bytes"], 0);

    site.plan(
        "    tags: {names: [\"0.0.1\"], globs: [\"s*\"]}\n",
        "    delete: true\n",
    );
    site.json(&["registry", "delete", &site.name("project:stable"), "--yes"]);
    let asked = site.sandbox.peak(["registry", "mirror", "plan.yaml"]);
    asked.assert_code(2).assert_stderr("--yes");
    let third = site.json(&["registry", "mirror", "plan.yaml", "--yes"]);
    assert_eq!(
        third["repositories"][0]["destinations"][0]["deleted"],
        json!(["stable"])
    );
    assert_eq!(site.tags("backup/project"), json!(["0.0.1"]));
}

#[test]
fn a_failed_mirror_reports_what_it_did_and_ends_with_the_code_of_the_failure() {
    let site = Site::new();
    site.plan("    tags: {names: [stable, gone]}\n", "");
    let failed = site.sandbox.peak([
        "registry",
        "mirror",
        "plan.yaml",
        "--keep-going",
        "-o",
        "json",
    ]);
    failed
        .assert_code(4)
        .assert_stderr("the source has no tag `gone`");
    let report: Value = serde_json::from_str(&failed.stdout).unwrap();
    assert_eq!(
        (&report["copied"], &report["failed"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(report["repositories"][0]["failures"][0]["tag"], "gone");
    site.plan("    tag: stable\n", "");
    site.sandbox
        .peak(["registry", "mirror", "plan.yaml"])
        .assert_code(2)
        .assert_stderr("unknown field `tag`");
}

#[test]
fn progress_of_a_copy_is_told_as_documented() {
    let site = Site::new();
    let copied = site.sandbox.peak([
        "registry",
        "pull",
        &site.name("project:0.0.1"),
        "oci:pulled",
        "--progress",
        "json",
    ]);
    copied.assert_code(0);
    let documented = std::fs::read_to_string(workspace().join("docs/transfers.md")).unwrap();
    let events: Vec<Value> = copied
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for event in &events {
        let name = event["event"].as_str().unwrap();
        assert!(documented.contains(&format!("| `{name}` |")), "{event}");
        for member in event.as_object().unwrap().keys() {
            assert!(documented.contains(&format!("`{member}`")), "{event}");
        }
    }
    let count = |name: &str| events.iter().filter(|event| event["event"] == name).count();
    assert_eq!(
        (count("planned"), count("finished"), count("image")),
        (1, 3, 1)
    );
}

/// The command lines of `peak` in the examples, as a shell would see them once its variables are filled in.
fn command_lines(text: &str) -> Vec<Vec<String>> {
    text.lines()
        .filter(|line| line.contains("plan.yaml"))
        .filter_map(|line| {
            line.find("peak registry mirror")
                .and_then(|start| line.get(start..))
        })
        .map(|line| {
            let line = line
                .replace("$((JOB_COMPLETION_INDEX + 1))/$SHARDS", "1/4")
                .replace("${{ matrix.shard }}/4", "2/4")
                .replace("$CI_NODE_INDEX/$CI_NODE_TOTAL", "3/4")
                .replace('"', "");
            let words = line
                .split('#')
                .next()
                .unwrap_or_default()
                .split_whitespace();
            words.skip(1).map(str::to_owned).collect()
        })
        .collect()
}

#[test]
fn the_manifests_for_schedulers_are_yaml_and_their_commands_are_ours() {
    let sandbox = Sandbox::new();
    for file in ["kubernetes.yaml", "github-actions.yaml", "gitlab-ci.yaml"] {
        let text = read(&format!("docs/mirror/{file}"));
        for document in text.split("\n---\n") {
            let parsed: Value = serde_saphyr::from_str(document).unwrap();
            assert!(parsed.is_object(), "{file}");
        }
        assert_eq!(command_lines(&text).len(), 1, "{file}");
        for arguments in command_lines(&text) {
            // All that is wrong with them here is that there is no plan.
            let finished = sandbox.peak(&arguments);
            finished.assert_code(4).assert_stderr("plan.yaml`");
        }
    }
    let commands = command_lines(&read("docs/mirror.md"));
    assert!(commands.len() >= 2);
    for arguments in commands {
        sandbox.peak(arguments).assert_code(4);
    }
}

/// Runs a script of the examples as their scheduler would, here and against our registry; what it reports.
#[cfg(unix)]
#[track_caller]
fn run_script(site: &Site, script: &str, variables: &[(&str, &str)]) -> Value {
    let peak = site.sandbox.command([""; 0]);
    let folder = Path::new(peak.get_program()).parent().unwrap().to_owned();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(folder).chain(std::env::split_paths(&path)));
    let script = script
        .replace("registry.example", site.server.host())
        .replace("/plan/plan.yaml", "plan.yaml");
    let mut shell = std::process::Command::new("sh");
    shell.args(["-e", "-c", &script]).env_clear();
    let set = peak.get_envs();
    shell
        .envs(set.filter_map(|(key, value)| Some((key, value?))))
        .envs(variables.iter().copied())
        .env("PATH", path.unwrap())
        .current_dir(site.sandbox.path(""))
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let finished = crate::support::finish(shell.spawn().unwrap());
    finished.assert_code(0);
    // What a login says comes before, and may be JSON, too.
    let report = finished.stdout.rfind("\n{").map_or(0, |end| end + 1);
    serde_json::from_str(&finished.stdout[report..]).unwrap()
}

/// All runs of a scheduler, each with its part, by its script and variables. Together they copy everything once.
#[cfg(unix)]
#[track_caller]
fn mirror_together(runs: usize, run: impl Fn(&Site, usize) -> Value) {
    let site = Site::new();
    let names: Vec<String> = (0..8).map(|number| format!("apps/app-{number}")).collect();
    let mut plan = format!(
        "destinations:\n  - to: {}\nrepositories:\n",
        site.name("backup")
    );
    for name in &names {
        let name = site.name(name);
        let copy = [
            "registry",
            "copy",
            &site.name("project:0.0.1"),
            &format!("{name}:v1"),
        ];
        site.sandbox.peak(copy).assert_code(0);
        writeln!(plan, "  - from: {name}").unwrap();
    }
    site.sandbox.files("", [("plan.yaml", plan.as_bytes())]);
    let copied = (0..runs).map(|number| run(&site, number)["copied"].as_u64().unwrap());
    assert_eq!(copied.sum::<u64>(), names.len() as u64);
    for name in &names {
        assert_eq!(site.tags(&format!("backup/{name}")), json!(["v1"]));
    }
}

#[cfg(unix)]
#[test]
fn the_pods_of_the_documented_job_mirror_everything_once() {
    let text = read("docs/mirror/kubernetes.yaml");
    let job = text.split("\n---\n").nth(1).unwrap();
    let job: Value = serde_saphyr::from_str(job).unwrap();
    let job = &job["spec"]["jobTemplate"]["spec"];
    assert_eq!(job["completionMode"], "Indexed");
    let container = &job["template"]["spec"]["containers"][0];
    assert_eq!(
        (&container["command"][0], &container["command"][1]),
        (&"sh".into(), &"-c".into())
    );
    let script = container["command"][2].as_str().unwrap();
    let runs = usize::try_from(job["completions"].as_u64().unwrap()).unwrap();
    let mut variables = container["env"].as_array().unwrap().iter();
    let shards = variables.find(|one| one["name"] == "SHARDS").unwrap();
    let shards = shards["value"].as_str().unwrap();
    mirror_together(runs, |site, number| {
        let index = number.to_string();
        let variables = [("JOB_COMPLETION_INDEX", index.as_str()), ("SHARDS", shards)];
        run_script(site, script, &variables)
    });
}

#[cfg(unix)]
#[test]
fn the_jobs_of_the_documented_pipelines_mirror_everything_once() {
    let gitlab: Value = serde_saphyr::from_str(&read("docs/mirror/gitlab-ci.yaml")).unwrap();
    let job = &gitlab["mirror"];
    let total = job["parallel"].as_u64().unwrap();
    let lines = job["script"].as_array().unwrap().iter();
    let script: Vec<&str> = lines.map(|line| line.as_str().unwrap()).collect();
    mirror_together(usize::try_from(total).unwrap(), |site, number| {
        let (index, total) = ((number + 1).to_string(), total.to_string());
        let variables = [
            ("CI_NODE_INDEX", index.as_str()),
            ("CI_NODE_TOTAL", &total),
            ("REGISTRY_PASSWORD", "secret"),
        ];
        run_script(site, &script.join("\n"), &variables)
    });

    let github: Value = serde_saphyr::from_str(&read("docs/mirror/github-actions.yaml")).unwrap();
    let job = &github["jobs"]["mirror"];
    let shards = job["strategy"]["matrix"]["shard"].as_array().unwrap();
    let steps = job["steps"].as_array().unwrap().iter();
    let script: Vec<&str> = steps.filter_map(|step| step["run"].as_str()).collect();
    mirror_together(shards.len(), |site, number| {
        let script = script.join("\n");
        let script = script.replace("${{ matrix.shard }}", &shards[number].to_string());
        run_script(site, &script, &[("PASSWORD", "secret")])
    });
}

#[test]
fn the_plans_in_the_documentation_can_be_followed() {
    let sandbox = Sandbox::new();
    let config_map: Value = serde_saphyr::from_str(
        read("docs/mirror/kubernetes.yaml")
            .split("\n---\n")
            .next()
            .unwrap(),
    )
    .unwrap();
    let inner = config_map["data"]["plan.yaml"].as_str().unwrap();
    for plan in [read("docs/mirror/plan.yaml"), inner.to_owned()] {
        // Nobody answers at port 1, so that the plan is followed as far as its first question.
        let here = ["docker.io", "quay.io", "ghcr.io"]
            .iter()
            .fold(plan, |plan, host| plan.replace(host, "127.0.0.1:1"));
        sandbox.files("", [("plan.yaml", here.as_bytes())]);
        let finished = sandbox.peak(["registry", "mirror", "plan.yaml", "--dry-run"]);
        finished.assert_code(6).assert_stderr("127.0.0.1:1");
    }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(workspace().join(Path::new(path))).unwrap()
}
