//! `peak man`: a page for each command.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::Sandbox;

/// The commands that the help shows, each as the words after `peak`; the first is `peak` itself.
fn commands_of_the_help(sandbox: &Sandbox) -> Vec<Vec<String>> {
    let mut found = vec![Vec::new()];
    let mut next = 0;
    while let Some(command) = found.get(next).cloned() {
        next += 1;
        let help = sandbox.peak(command.iter().map(String::as_str).chain(["--help"]));
        help.assert_code(0);
        let commands = help
            .stdout
            .lines()
            .skip_while(|line| *line != "Commands:")
            .skip(1)
            .take_while(|line| !line.is_empty())
            // A line that goes on with what a command does begins further to the right.
            .filter_map(|line| line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')))
            .filter_map(|line| line.split(' ').next())
            .filter(|name| *name != "help");
        for name in commands {
            let mut inner = command.clone();
            inner.push(name.to_owned());
            found.push(inner);
        }
    }
    found
}

/// The command with the words after `peak`, as it is called.
fn spoken(words: &[String]) -> Vec<&str> {
    std::iter::once("peak")
        .chain(words.iter().map(String::as_str))
        .collect()
}

/// The file that has its page.
fn page_of(words: &[String]) -> String {
    format!("{}.1", spoken(words).join("-"))
}

fn files(directory: &Path) -> BTreeSet<String> {
    std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn every_command_of_the_help_has_a_page_and_nothing_else_is_written() {
    let sandbox = Sandbox::new();
    let commands = commands_of_the_help(&sandbox);
    assert!(commands.len() > 50, "{commands:?}");
    let expected: BTreeSet<String> = commands.iter().map(|words| page_of(words)).collect();

    // Twice: pages take the place of earlier ones.
    let directory = sandbox.path("share/man/man1");
    for _ in 0..2 {
        let finished = sandbox.peak(["man", directory.to_str().unwrap(), "--output", "json"]);
        finished.assert_code(0);
        let result: serde_json::Value = serde_json::from_str(&finished.stdout).unwrap();
        assert_eq!(result["pages"], commands.len());
        assert_eq!(files(&directory), expected);
    }
    for words in &commands {
        let page = std::fs::read_to_string(directory.join(page_of(words))).unwrap();
        let name = spoken(words).join(" ");
        // A hyphen that is no line's end is written with a backslash.
        assert!(page.replace("\\-", "-").contains(&name), "{name}: {page}");
    }
}

#[test]
fn a_page_is_what_the_help_says() {
    let sandbox = Sandbox::new();
    let directory = sandbox.path("pages");
    sandbox
        .peak(["man", directory.to_str().unwrap()])
        .assert_code(0);
    let page = std::fs::read_to_string(directory.join("peak-local-gc.1")).unwrap();
    insta::assert_snapshot!(page.replace(env!("CARGO_PKG_VERSION"), "[VERSION]"));
}

#[test]
fn pages_are_without_fault_for_the_programs_that_show_them() {
    let sandbox = Sandbox::new();
    let directory = sandbox.path("pages");
    sandbox
        .peak(["man", directory.to_str().unwrap()])
        .assert_code(0);
    let programs = [
        ("man", &["--warnings", "--local-file"][..]),
        ("mandoc", &["-T", "lint", "-W", "error"]),
    ];
    for (program, arguments) in programs {
        let output = Command::new(program)
            .args(arguments)
            .args(files(&directory).iter().map(|page| directory.join(page)))
            .env("MANPAGER", "cat")
            .stdin(Stdio::null())
            .output();
        let output = match output {
            Ok(output) => output,
            Err(error) => {
                eprintln!(
                    "skipped: {program} does not read the pages ({error}); install {program}"
                );
                continue;
            }
        };
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && said.is_empty(),
            "{program}: {said}"
        );
    }
}

#[test]
fn a_file_in_the_place_of_the_directory_is_refused_and_left_as_it_is() {
    let sandbox = Sandbox::new();
    let directory = sandbox.files("there", [("file", b"mine".as_slice())]);
    let file = directory.join("file");
    let finished = sandbox.peak(["man", file.to_str().unwrap()]);
    finished.assert_code(2);
    assert!(
        finished.stderr.contains("is no directory"),
        "{}",
        finished.stderr
    );
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");
    assert_eq!(files(&directory).len(), 1);
}
