//! What only shows on a terminal: questions, and tables.

use std::fs::File;
use std::io::Read;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::support::{Sandbox, finish, signal};

/// How long a program may write nothing that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A terminal without a size, and what is written to it.
pub(crate) struct Terminal {
    /// The end that a program sees.
    inside: File,
    /// What is written here was typed.
    typed: File,
    seen: Receiver<Vec<u8>>,
    text: String,
}

impl Terminal {
    pub(crate) fn open() -> Self {
        let outside = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&outside).unwrap();
        unlockpt(&outside).unwrap();
        let name = ptsname(&outside, Vec::new()).unwrap();
        let inside = File::options()
            .read(true)
            .write(true)
            .open(name.to_str().unwrap())
            .unwrap();
        let (sender, seen) = channel();
        let mut outside = File::from(outside);
        let typed = outside.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // A terminal whose programs are gone gives an error in place of an end.
            while let Ok(count) = outside.read(&mut buffer)
                && sender.send(buffer[..count].to_vec()).is_ok()
            {}
        });
        Self {
            inside,
            typed,
            seen,
            text: String::new(),
        }
    }

    pub(crate) fn stdio(&self) -> Stdio {
        self.inside.try_clone().unwrap().into()
    }

    /// Waits until this was written.
    fn wait_for(&mut self, part: &str) {
        while !self.text.contains(part) {
            let Ok(bytes) = self.seen.recv_timeout(PATIENCE) else {
                panic!("there is no {part:?} on the terminal, but: {}", self.text);
            };
            self.text.push_str(&String::from_utf8_lossy(&bytes));
        }
    }

    /// Waits for the end of the only program on it.
    pub(crate) fn finish(self, child: Child) -> (Option<i32>, String) {
        drop(self.inside);
        let code = finish(child).code;
        drop(self.typed);
        let mut text = self.text;
        for bytes in self.seen {
            text.push_str(&String::from_utf8_lossy(&bytes));
        }
        (code, text)
    }
}

#[test]
fn ctrl_c_ends_a_question_and_deletes_nothing() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve();
    let mut terminal = Terminal::open();
    let child = sandbox
        .command(["images", "delete", "1", "--endpoint-url", &server.url])
        .stdin(terminal.stdio())
        .stderr(terminal.stdio())
        .spawn()
        .unwrap();
    terminal.wait_for("Go on? [y/N] ");
    signal(&child, "INT");
    let (code, text) = terminal.finish(child);
    assert_eq!(code, Some(130), "{text}");
    assert!(text.contains("error: interrupted"), "{text}");
}

#[test]
fn a_table_has_a_line_for_each_row_however_narrow_the_terminal_is() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve();
    let details = r#"{"source": "dockerfile", "dockerfile": "FROM scratch\nENV A=b"}"#;
    let name = "a-name-that-is-longer-than-a-column-of-a-narrow-terminal";
    sandbox
        .peak(
            ["images", "create", "--name", name, "--type", "api"]
                .into_iter()
                .chain(["--build-details", details, "--endpoint-url", &server.url]),
        )
        .assert_code(0);
    let terminal = Terminal::open();
    let child = sandbox
        .command(["images", "list", "--endpoint-url", &server.url])
        .stdout(terminal.stdio())
        .spawn()
        .unwrap();
    let (code, text) = terminal.finish(child);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(name), "{text}");
    assert_eq!(text.lines().count(), 2, "{text}");
}

/// Whether what is typed is shown.
fn echoes(terminal: &Terminal) -> bool {
    let attributes = rustix::termios::tcgetattr(&terminal.inside).unwrap();
    attributes
        .local_modes
        .contains(rustix::termios::LocalModes::ECHO)
}

/// `peak registry login` with the terminal as its own, which `setsid` of util-linux makes it.
#[cfg(target_os = "linux")]
fn login(sandbox: &Sandbox, terminal: &Terminal, host: &str) -> Child {
    let mut command = std::process::Command::new("setsid");
    command
        .args(["--ctty", "--wait", env!("CARGO_BIN_EXE_peak")])
        .args(["registry", "login", host, "-u", "me"])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", sandbox.path("home"))
        .env("TMPDIR", sandbox.path("tmp"))
        .stdin(terminal.stdio())
        .stdout(terminal.stdio())
        .stderr(terminal.stdio());
    command.spawn().unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn a_password_is_asked_for_without_echo_and_ctrl_c_brings_the_echo_back() {
    use std::io::Write as _;

    use crate::support::eventually;

    let sandbox = Sandbox::new();
    let server = sandbox.serve_with(&["--token", "s3cret"]);
    let mut terminal = Terminal::open();
    let child = login(&sandbox, &terminal, server.host());
    terminal.wait_for("Password for me");
    eventually("the echo is off", || (!echoes(&terminal)).then_some(()));
    terminal.typed.write_all(b"\x03").unwrap();
    terminal.wait_for("error: interrupted");
    eventually("the echo is on", || echoes(&terminal).then_some(()));
    let (code, text) = terminal.finish(child);
    assert_eq!(code, Some(130), "{text}");

    let mut terminal = Terminal::open();
    let child = login(&sandbox, &terminal, server.host());
    terminal.wait_for("Password for me");
    eventually("the echo is off", || (!echoes(&terminal)).then_some(()));
    terminal.typed.write_all(b"s3cret\n").unwrap();
    terminal.wait_for("kept in");
    assert!(echoes(&terminal));
    let (code, text) = terminal.finish(child);
    assert_eq!(code, Some(0), "{text}");
    assert!(!text.contains("s3cret"), "{text}");
}
