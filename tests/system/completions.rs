//! `peak completions`: scripts that shells take.

use std::io::{self, Write as _};
use std::process::{Command, Output, Stdio};

use crate::support::Sandbox;

const SHELLS: [&str; 5] = ["bash", "elvish", "fish", "powershell", "zsh"];

fn script(shell: &str) -> String {
    let finished = Sandbox::new().peak(["completions", shell]);
    finished.assert_code(0);
    assert_eq!(finished.stderr, "", "{shell}");
    finished.stdout
}

/// What a shell does with a script on its standard input.
fn fed(shell: &str, arguments: &[&str], script: &str) -> io::Result<Output> {
    let mut child = Command::new(shell)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(script.as_bytes()).unwrap();
    drop(stdin);
    child.wait_with_output()
}

#[test]
fn every_shell_has_a_script_that_knows_the_commands_and_their_options() {
    for shell in SHELLS {
        let script = script(shell);
        for word in ["registry", "mirror", "keep-going", "completions"] {
            assert!(script.contains(word), "{shell} does not complete {word}");
        }
    }
}

#[test]
fn shells_that_are_here_understand_their_scripts() {
    // Bash is part of every Linux that runs these tests, the others may be missing.
    let check = [
        ("bash", &["-n"][..], true),
        ("zsh", &["-n"], false),
        ("fish", &["--no-execute"], false),
    ];
    for (shell, arguments, required) in check {
        let output = match fed(shell, arguments, &script(shell)) {
            Ok(output) => output,
            Err(error) if !required => {
                eprintln!(
                    "skipped: the completions for {shell} are not tried ({error}); install {shell}"
                );
                continue;
            }
            Err(error) => panic!("{shell}: {error}"),
        };
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && said.is_empty(),
            "{shell}: {said}"
        );
    }
}

#[test]
fn bash_completes_a_command_line() {
    let asking = format!(
        "{}\nCOMP_WORDS=(peak registry mir)\nCOMP_CWORD=2\n_peak peak mir registry\necho \"${{COMPREPLY[*]}}\"\n",
        script("bash")
    );
    let output = fed("bash", &["--norc", "-s"], &asking).unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        "mirror",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn an_unknown_shell_is_answered_with_those_that_there_are() {
    let finished = Sandbox::new().peak(["completions", "tcsh"]);
    finished.assert_code(2);
    for shell in SHELLS {
        assert!(finished.stderr.contains(shell), "{}", finished.stderr);
    }
}
