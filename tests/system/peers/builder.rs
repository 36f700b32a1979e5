//! Builds of the embedded platform that a Docker Engine does.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command};

use super::engine::Engine;
use super::{peer, run};
use crate::support::{Finished, Sandbox, eventually, finish, signal, started};

/// All that an image needs for `RUN`: a program that depends on nothing.
const TOOL: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(int count, char **words) {
    if (count > 3 && !strcmp(words[1], "write")) {
        FILE *file = fopen(words[2], "w");
        if (!file || fputs(words[3], file) < 0 || fclose(file)) { perror(words[2]); return 1; }
        printf("wrote %s\n", words[2]);
        return 0;
    }
    if (count > 2 && !strcmp(words[1], "sleep")) {
        puts("sleeping");
        fflush(stdout);
        sleep(atoi(words[2]));
        return 0;
    }
    return 3;
}
"#;

/// A sandbox with an Engine, and the program in it.
struct Bench {
    sandbox: Sandbox,
    engine: Engine,
}

impl Bench {
    fn new() -> Option<Self> {
        if !peer("cc") {
            return None;
        }
        let sandbox = Sandbox::new();
        let engine = Engine::start(&sandbox)?;
        sandbox.files("tool", [("tool.c", TOOL.as_bytes())]);
        run(Command::new("cc")
            .args(["-static", "-Os", "-o"])
            .arg(sandbox.path("tool/tool"))
            .arg(sandbox.path("tool/tool.c")));
        Some(Self { sandbox, engine })
    }

    /// Puts an image with the program into the Engine.
    fn import_base(&self) {
        let tar = self.sandbox.path("base.tar").display().to_string();
        let directory = self.sandbox.path("tool").display().to_string();
        run(Command::new("tar").args(["-C", &directory, "-cf", &tar, "tool"]));
        self.engine.docker(&["import", &tar, "peak-test-base:1"]);
    }

    fn project(&self, dockerfile: &str) {
        self.sandbox.files(
            "project",
            [
                ("Dockerfile", dockerfile.as_bytes()),
                ("page.html", b"<p>one</p>\n".as_slice()),
            ],
        );
    }

    fn ship(&self, more: &[&str]) -> Command {
        let arguments = ["ship", "project", "--local"].iter().chain(more);
        let mut command = self.sandbox.command(arguments);
        command.env("DOCKER_HOST", self.engine.host());
        command
    }

    fn shipped(&self, more: &[&str]) -> Finished {
        finish(self.ship(more).spawn().unwrap())
    }

    /// Everything that the Engine has, intermediate images and ended containers too.
    fn holds(&self) -> String {
        let mut images: Vec<String> = self
            .engine
            .docker(&[
                "images",
                "--all",
                "--no-trunc",
                "--format",
                "{{.ID}} {{.Repository}}:{{.Tag}}",
            ])
            .lines()
            .map(str::to_owned)
            .collect();
        images.sort();
        let containers = self.engine.docker(&["ps", "--all", "--quiet"]);
        format!("images: {images:?}, containers: {containers:?}")
    }

    /// Ships something that sleeps, and gives the run when it does.
    fn asleep(&self) -> (Child, String) {
        self.project("FROM peak-test-base:1\nENV A=b\nCOPY page.html /srv/\nRUN [\"/tool\", \"sleep\", \"1000\"]\n");
        let mut child = self.ship(&[]).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut seen = String::new();
        while !seen.contains("| sleeping") {
            assert_ne!(stderr.read_line(&mut seen).unwrap(), 0, "{seen}");
        }
        // Read on in the meantime, so that nothing of the run waits for it.
        child.stderr = Some(stderr.into_inner());
        (child, seen)
    }
}

/// The files of each layer of an OCI layout, with what is in those that are texts.
fn layers(sandbox: &Sandbox, layout: &str) -> Vec<Vec<(String, String)>> {
    let read = |digest: &str| {
        let digest = digest.strip_prefix("sha256:").unwrap();
        std::fs::read(sandbox.path(layout).join("blobs/sha256").join(digest)).unwrap()
    };
    let digest = super::layout_digest(sandbox, layout);
    let manifest: serde_json::Value =
        serde_json::from_slice(&read(digest.as_str().unwrap())).unwrap();
    let layers = manifest["layers"].as_array().unwrap();
    let layers = layers
        .iter()
        .map(|layer| read(layer["digest"].as_str().unwrap()));
    layers.map(|layer| files(&layer)).collect()
}

fn files(layer: &[u8]) -> Vec<(String, String)> {
    tar::Archive::new(layer)
        .entries()
        .unwrap()
        .filter_map(|entry| {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            entry.header().entry_type().is_file().then(|| {
                let mut content = Vec::new();
                entry.read_to_end(&mut content).unwrap();
                (path, String::from_utf8(content).unwrap_or_default())
            })
        })
        .collect()
}

#[test]
fn a_dockerfile_with_run_is_built_by_the_engine_and_nothing_of_it_stays_there() {
    let Some(bench) = Bench::new() else {
        return;
    };
    bench.import_base();
    let before = bench.holds();
    // Two stages, one of which is in no image that has a name.
    bench.project(
        "FROM peak-test-base:1 AS made\nARG WHO\nCOPY page.html /srv/\nRUN [\"/tool\", \"write\", \"/made\", \"by RUN\"]\n\
         FROM peak-test-base:1\nCOPY --from=made /made /made\nRUN [\"/tool\", \"write\", \"/last\", \"one\"]\n",
    );
    let arguments = [
        "--build-arguments",
        "WHO=s3cret-value",
        "--to",
        "oci:layout",
        "-v",
    ];
    let shipped = bench.shipped(&arguments);
    shipped.assert_code(0);
    for said in [
        "Dockerfile line 4: RUN: ",
        "building with Docker Engine ",
        &format!(" at {}", bench.engine.host()),
        "wrote /made",
        "Successfully built",
    ] {
        shipped.assert_stderr(said);
    }
    assert!(!shipped.stderr.contains("s3cret"), "{}", shipped.stderr);
    let layers_of = layers(&bench.sandbox, "layout");
    let file = |path: &str, content: &str| vec![(path.to_owned(), content.to_owned())];
    assert_eq!(
        layers_of[1..],
        [file("made", "by RUN"), file("last", "one")]
    );
    assert_eq!(bench.holds(), before);

    // The Engine, too, can have what it made.
    bench.project("FROM peak-test-base:1\nCOPY page.html /srv/\nRUN [\"/tool\", \"fail\"]\n");
    let failed = bench.shipped(&[]);
    failed.assert_code(8);
    failed.assert_stderr(
        "did not build the image: The command '/tool fail' returned a non-zero code: 3",
    );
    assert_eq!(bench.holds(), before);
    bench.sandbox.assert_no_leftovers();
}

#[test]
fn what_needs_no_engine_is_built_without_it_unless_all_is_to_go_there() {
    let Some(bench) = Bench::new() else {
        return;
    };
    let before = bench.holds();
    bench.project("FROM scratch\nCOPY page.html /\n");
    bench.shipped(&["--to", "oci:with"]).assert_code(0);
    let mut without = bench.ship(&["--docker", "never", "--to", "oci:without"]);
    finish(without.spawn().unwrap()).assert_code(0);
    let digest = |layout| super::layout_digest(&bench.sandbox, layout);
    assert_eq!(digest("with"), digest("without"));

    let mut always = bench.ship(&["--to", "oci:always"]);
    let always = finish(always.env("PEAK_LOCAL_DOCKER", "always").spawn().unwrap());
    always
        .assert_code(0)
        .assert_stderr("building with Docker Engine");
    let page = ("page.html".to_owned(), "<p>one</p>\n".to_owned());
    assert_eq!(layers(&bench.sandbox, "always"), [[page]]);
    assert_eq!(bench.holds(), before);
}

#[test]
fn the_engine_builds_upon_images_of_the_embedded_registry() {
    let Some(bench) = Bench::new() else {
        return;
    };
    let before = bench.holds();
    let mut server = bench
        .sandbox
        .command(["local", "serve", "--listen", "127.0.0.1:0"]);
    server
        .env("DOCKER_HOST", bench.engine.host())
        .env("PEAK_LOCAL_TOKEN", "open-sesame");
    let server = started(server.spawn().unwrap());
    let ship = |directory: &str, more: &[&str]| {
        let arguments = ["ship", directory].into_iter().chain(more.iter().copied());
        let mut command = bench.sandbox.command(arguments);
        command
            .env("PEAK_ENDPOINT_URL", &server.url)
            .env("PEAK_AUTH_TOKEN", "open-sesame");
        finish(command.spawn().unwrap())
    };
    bench.sandbox.files(
        "tool",
        [(
            "Dockerfile",
            b"FROM scratch\nCOPY --chmod=755 tool /tool\n".as_slice(),
        )],
    );
    ship("tool", &["--name", "team/base"])
        .assert_code(0)
        .assert_stderr("building with the embedded builder");
    bench.project(
        "FROM team/base:0.0.1\nCOPY . /srv/\nRUN [\"/tool\", \"write\", \"/made\", \"by RUN\"]\n",
    );
    // Two at once, of the same steps, use the same image for as long as each needs it.
    let (other, shipped) = std::thread::scope(|scope| {
        let other = scope.spawn(|| ship("project", &["--name", "other"]));
        let shipped = ship("project", &["--to", "oci:layout"]);
        (other.join().unwrap(), shipped)
    });
    other.assert_code(0);
    shipped
        .assert_code(0)
        .assert_stderr("Step 1/3 : FROM team/base:0.0.1")
        .assert_stderr("wrote /made");
    assert!(!shipped.stderr.contains("sesame"), "{}", shipped.stderr);
    assert_eq!(bench.holds(), before);
    // What was put among the files for the Engine is not among those that were copied.
    let layers = layers(&bench.sandbox, "layout");
    let copied: Vec<&str> = layers[1].iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(copied, ["srv/Dockerfile", "srv/page.html"]);
}

#[test]
fn an_interrupted_build_is_stopped_in_the_engine_and_cleaned_up() {
    let Some(bench) = Bench::new() else {
        return;
    };
    bench.import_base();
    let before = bench.holds();
    let (child, seen) = bench.asleep();
    assert!(
        !bench.engine.docker(&["ps", "--quiet"]).is_empty(),
        "{seen}"
    );
    signal(&child, "INT");
    finish(child).assert_code(130);
    eventually("the Engine has what it had", || {
        (bench.holds() == before).then_some(())
    });
    bench.project("FROM scratch\nCOPY page.html /\n");
    bench.shipped(&[]).assert_code(0);
}

#[test]
fn an_engine_that_is_killed_fails_the_build_and_the_next_one_works() {
    let Some(mut bench) = Bench::new() else {
        return;
    };
    bench.import_base();
    let (child, seen) = bench.asleep();
    bench.engine.kill();
    let failed = finish(child);
    failed.assert_code(8);
    let why = failed
        .stderr
        .lines()
        .find(|line| line.contains("did not build the image"));
    let why = why.unwrap_or_else(|| panic!("{seen}{}", failed.stderr));
    assert!(why.contains("is the Engine still running?"), "{why}");
    // The next one on the same directories ends what the one before ran.
    bench.engine = Engine::start(&bench.sandbox).unwrap();
    bench.project("FROM peak-test-base:1\nRUN [\"/tool\", \"write\", \"/made\", \"again\"]\n");
    bench.shipped(&[]).assert_code(0);
}
