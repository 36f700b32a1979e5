//! `peak registry login`, `logout` and `auth explain`: who we are to a registry.

use std::io::{BufRead as _, IsTerminal as _, Read as _, Write as _};

use clap::{Args, Subcommand};
use peak_sdk::registry::{Credentials, Registry};
use secrecy::SecretString;
use serde_json::json;

use super::names::{check_host, parse_reference};
use crate::application::{Application, with_variables};
use crate::blocking::blocking;
use crate::error::CliError;

/// Longest password that is read, in bytes.
const PASSWORD_LIMIT: u64 = 64 * 1024;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  peak registry login registry.example --username robot
  printenv REGISTRY_PASSWORD | peak registry login registry.example -u robot --password-stdin")]
pub(crate) struct LoginArguments {
    /// The registry, as `host[:port]`; `docker.io` is Docker Hub
    #[arg(value_name = "HOST")]
    host: String,
    /// User name; asked for on a terminal unless given
    #[arg(long, short = 'u', value_name = "USER")]
    username: Option<String>,
    /// Read the password or access token from standard input
    #[arg(long)]
    password_stdin: bool,
}

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Example:
  peak registry auth explain registry.example/team/app")]
pub(crate) enum AuthCommand {
    /// Say whose credentials are used for a repository, and why other sources do not count
    #[command(after_help = "\
Example:
  peak registry auth explain registry.example/team/app")]
    Explain {
        /// Reference of an image or a repository
        #[arg(value_name = "REF")]
        reference: String,
    },
}

pub(crate) async fn login(
    application: &Application,
    registry: &Registry,
    arguments: LoginArguments,
) -> Result<(), CliError> {
    let host = arguments.host.clone();
    // The address that Docker gives to its own registry is one of a page.
    let bare = host.strip_prefix("https://").unwrap_or(&host);
    check_host(bare.split_once('/').map_or(bare, |(host, _)| host))?;
    let (user, password) = ask_aside(arguments).await?;
    let login = registry
        .login(&host, Credentials::new(user, password))
        .await?;
    if !login.checked {
        application.progress.warning(&format!(
            "{} lets everybody in, so the credentials could not be checked",
            login.registry
        ));
    }
    let kept_in = login.kept_in.to_string();
    application.output.object(
        &json!({
            "registry": login.registry,
            "user": login.user,
            "keptIn": kept_in,
            "checked": login.checked,
        }),
        &[
            ("registry", login.registry.clone()),
            ("user", login.user.clone()),
            ("kept in", kept_in.clone()),
        ],
    )
}

/// Asks on another thread, since reading cannot be cancelled: a signal ends the question at once, and the terminal is
/// then as it was before.
async fn ask_aside(arguments: LoginArguments) -> Result<(String, SecretString), CliError> {
    let _restored = TerminalState::remember();
    blocking(move || ask(&arguments)).await?
}

/// How the terminal was before its echo was switched off for a password; dropping this makes it so again.
struct TerminalState {
    #[cfg(unix)]
    saved: (std::fs::File, rustix::termios::Termios),
}

impl TerminalState {
    /// `None` where there is no terminal.
    #[cfg(unix)]
    fn remember() -> Option<Self> {
        let terminal = std::fs::File::options()
            .read(true)
            .write(true)
            .open("/dev/tty")
            .ok()?;
        let attributes = rustix::termios::tcgetattr(&terminal).ok()?;
        Some(Self {
            saved: (terminal, attributes),
        })
    }

    #[cfg(not(unix))]
    fn remember() -> Option<Self> {
        None
    }
}

#[cfg(unix)]
impl Drop for TerminalState {
    fn drop(&mut self) {
        use rustix::termios::{OptionalActions, tcsetattr};

        let (terminal, attributes) = &self.saved;
        // A terminal that is gone has no state.
        let _ = tcsetattr(terminal, OptionalActions::Now, attributes);
    }
}

/// User and password: from the options and standard input, else from whoever sits at the terminal.
fn ask(arguments: &LoginArguments) -> Result<(String, SecretString), CliError> {
    let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if arguments.password_stdin {
        let Some(user) = arguments.username.clone() else {
            return Err(CliError::usage("--password-stdin needs a user name")
                .with_hint("give one with --username"));
        };
        let mut password = String::new();
        std::io::stdin()
            .lock()
            .take(PASSWORD_LIMIT)
            .read_to_string(&mut password)
            .map_err(|error| CliError::other(format!("the password cannot be read: {error}")))?;
        // The line end of `echo` and of most files is no part of it.
        let length = password.trim_end_matches(['\n', '\r']).len();
        password.truncate(length);
        return checked(user, password);
    }
    if !terminal {
        return Err(match arguments.username {
            Some(_) => CliError::usage("there is no terminal to ask for the password on")
                .with_hint("give it on standard input with --password-stdin"),
            None => CliError::usage("there is no terminal to ask for user name and password on")
                .with_hint(
                    "give the name with --username, and the password on standard input with --password-stdin",
                ),
        });
    }
    let failed =
        |error: std::io::Error| CliError::other(format!("the terminal cannot be read: {error}"));
    let user = if let Some(user) = arguments.username.clone() {
        user
    } else {
        let mut stderr = std::io::stderr().lock();
        write!(stderr, "User name for {}: ", arguments.host).map_err(failed)?;
        stderr.flush().map_err(failed)?;
        let mut line = String::new();
        std::io::stdin()
            .lock()
            .read_line(&mut line)
            .map_err(failed)?;
        line.trim().to_owned()
    };
    let password =
        rpassword::prompt_password(format!("Password for {user} at {}: ", arguments.host))
            .map_err(|error| match error.kind() {
                // Ctrl-C is read as a character here, and may be told before the signal that comes of it.
                std::io::ErrorKind::Interrupted => CliError::interrupted(),
                _ => failed(error),
            })?;
    checked(user, password)
}

fn checked(user: String, password: String) -> Result<(String, SecretString), CliError> {
    if user.is_empty() || password.is_empty() {
        let what = if user.is_empty() {
            "user name"
        } else {
            "password"
        };
        return Err(CliError::usage(format!("the {what} is empty"))
            .with_hint("nothing was sent and nothing was kept; try again with both"));
    }
    Ok((user, SecretString::from(password)))
}

pub(crate) async fn logout(
    application: &Application,
    registry: &Registry,
    host: &str,
) -> Result<(), CliError> {
    let logout = registry.logout(host).await?;
    if let Some(step) = &logout.remaining {
        application.progress.warning(&format!(
            "{} is still known from {}",
            logout.registry, step.place
        ));
    }
    let removed: Vec<_> = logout.removed.iter().map(ToString::to_string).collect();
    let text = if removed.is_empty() {
        "nothing; there were no credentials".to_owned()
    } else {
        removed.join(", ")
    };
    application.output.object(
        &json!({"registry": logout.registry, "removedFrom": removed}),
        &[
            ("registry", logout.registry.clone()),
            ("removed from", text),
        ],
    )
}

pub(crate) async fn auth(
    application: &Application,
    registry: &Registry,
    command: AuthCommand,
) -> Result<(), CliError> {
    let AuthCommand::Explain { reference } = command;
    let reference = parse_reference(&reference)?;
    let explanation = with_variables(registry.explain_credentials(&reference).await?);
    application
        .output
        .value(&explanation, || Ok(explanation.to_string()))
}
