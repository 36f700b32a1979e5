//! `peak local serve`: the embedded platform and registry, until they are stopped.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use peak_sdk::local::Platform;
use peak_sdk::registry_server::auth::{Auth, Rules, Users};
use secrecy::{ExposeSecret as _, SecretString};

use super::{already_running, running};
use crate::application::Application;
use crate::arguments::StateOptions;
use crate::commands::serving::{ServingOptions, raise_descriptor_limit};
use crate::engine::DockerOptions;
use crate::error::{CliError, ErrorKind};
use crate::logging::Serving;
use crate::output::write_out;
use crate::signals::{Asked, Signals};

/// It spells PEAK on a telephone.
const DEFAULT_PORT: u16 = 7325;
/// Where `peak local serve` listens unless it is told.
pub(crate) const DEFAULT_LISTEN: &str = "127.0.0.1:7325";

#[derive(Debug, Args)]
#[command(after_help = "\
It prints the lines that point any client at it; SIGTERM and Ctrl-C let running requests finish, then end it.

Example:
  peak local serve --listen 127.0.0.1:7325")]
pub(crate) struct ServeArguments {
    /// Address to listen on, beyond loopback only with --token and TLS; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = DEFAULT_LISTEN, value_parser = parse_address)]
    listen: SocketAddr,
    #[command(flatten)]
    state: StateOptions,
    /// Ask for this token: verbatim on the Peak API, as anyone's password on the registry
    #[arg(
        long,
        value_name = "TOKEN",
        env = TOKEN_VARIABLE,
        hide_env_values = true
    )]
    token: Option<Secret>,
    #[command(flatten)]
    docker: DockerOptions,
    #[command(flatten)]
    serving: ServingOptions,
    // Last, as what follows would stand under their heading.
    #[command(flatten)]
    registry: RegistryOptions,
}

impl ServeArguments {
    /// What is shown while this serves.
    pub(super) fn shown(&self, quiet: bool) -> Serving {
        Serving {
            access_log: self.serving.access_log,
            quiet,
        }
    }
}

/// Who may do what with the registry.
#[derive(Debug, Args)]
#[command(next_help_heading = "Users of the registry")]
struct RegistryOptions {
    /// Ask users of the registry for their passwords, which this file has as `htpasswd -B` writes them (bcrypt), or as
    /// argon2 hashes; a change of the file counts at once. The Peak API asks for --token alone
    #[arg(long, value_name = "FILE")]
    users: Option<PathBuf>,
    /// YAML file that says who may pull, push and delete where [default: users everything, others nothing]
    #[arg(
        long,
        value_name = "FILE",
        requires = "users",
        long_help = RULES_HELP
    )]
    rules: Option<PathBuf>,
    /// How users of the registry show their password: for a token, or with each request [default: bearer]
    #[arg(long, value_enum, value_name = "KIND", requires = "users")]
    registry_auth: Option<RegistryAuth>,
}

const RULES_HELP: &str = "\
YAML file that says who may pull, push and delete where [default: users everything, others nothing].
It is read again when it changes. Rules add up; what none allows is refused:

rules:
  - repositories: team         # team and all below it; \"*\" for all, [a, b] for several
    users: [alice, bob]        # \"*\" for all users, anonymous for everybody
    actions: [pull, push, delete]";

#[derive(Debug, Clone, Copy, ValueEnum)]
enum RegistryAuth {
    Basic,
    Bearer,
}

impl RegistryOptions {
    fn auth(&self) -> Result<Option<Auth>, CliError> {
        let Some(users) = &self.users else {
            return Ok(None);
        };
        let users = Users::from_file(users)?;
        let rules = self.rules.as_ref().map(Rules::from_file).transpose()?;
        let rules = rules.unwrap_or_default();
        Ok(Some(match self.registry_auth {
            Some(RegistryAuth::Basic) => Auth::basic(users, rules),
            None | Some(RegistryAuth::Bearer) => Auth::bearer(users, rules),
        }))
    }
}

/// What gives the token where `--token` does not.
const TOKEN_VARIABLE: &str = "PEAK_LOCAL_TOKEN";

/// A secret of the command line that no `Debug` shows.
#[derive(Debug, Clone)]
struct Secret(SecretString);

impl std::str::FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(SecretString::from(text)))
    }
}

impl Secret {
    /// The line that says where this token came from, if the environment has that one, and what it is for.
    fn explained(&self, of_environment: Option<&str>) -> String {
        let whence = if of_environment == Some(self.0.expose_secret()) {
            format!("in {TOKEN_VARIABLE}")
        } else {
            "that --token gave".to_owned()
        };
        format!(
            "# PEAK_AUTH_TOKEN: the token {whence}; on the registry it is the password of any user\n"
        )
    }
}

pub(super) async fn serve(
    application: &Application,
    arguments: ServeArguments,
) -> Result<(), CliError> {
    // Listened for from here on, so that no signal is lost while the platform starts.
    let mut signals = Signals::listen()?;
    let state_dir = arguments.state.directory()?;
    let of_environment = std::env::var(TOKEN_VARIABLE).ok();
    let token = arguments.token.as_ref();
    let token = token.map(|token| token.explained(of_environment.as_deref()));
    raise_descriptor_limit();
    let builder = Platform::builder()
        .state_dir(&state_dir)
        .listen(arguments.listen)
        .token(arguments.token.map(|secret| secret.0))
        .registry_auth(arguments.registry.auth()?);
    let builder = arguments.docker.apply(builder);
    let platform = match arguments.serving.apply(builder).start().await {
        Ok(platform) => platform,
        Err(error) => {
            return Err(match running(&error, &state_dir).await {
                None => error.into(),
                Some(url) => already_running(&state_dir, &url).with_hint(format!(
                    "use that one: export PEAK_ENDPOINT_URL={url}; or stop it, or give another --state-dir"
                )),
            });
        }
    };
    let address = platform.address();
    let token = token.unwrap_or_default();
    let certificate = platform.ca_certificate().map_or_else(String::new, |file| {
        format!(
            "# CA to trust: {0}   e.g. curl --cacert {0}\n",
            file.display()
        )
    });
    let example = format!("   e.g. peak registry digest {address}/NAME:TAG");
    let example = match platform.ca_certificate() {
        None if platform.url().scheme() == "http" => example,
        // Whom to trust for certificates from files, and under which name, is not for us to say.
        None => String::new(),
        Some(file) => format!("{example} --ca-file {}", file.display()),
    };
    let lines = format!(
        "export PEAK_ENDPOINT_URL={}
{token}{certificate}# registry: {address}{example}
",
        display_url(&platform),
    );
    match write_out(lines) {
        // Who only wanted the address still wants the platform.
        Err(error) if error.kind == ErrorKind::OutputClosed => {}
        written => written?,
    }
    application.progress.step(
        "serve",
        &format!("{}, state in {}", platform.address(), state_dir.display()),
    );
    let asked = signals.next().await;
    application.progress.step(
        "serve",
        "stopping: running requests may finish; a second signal ends them",
    );
    tokio::select! {
        () = platform.shutdown() => {}
        _ = signals.next() => {}
    }
    match asked {
        Asked::Terminate => Ok(()),
        Asked::Interrupt => Err(CliError::new(ErrorKind::Interrupted, "interrupted")),
    }
}

/// Reads an address to listen on.
fn parse_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        let port = text.rsplit(':').next().unwrap_or(text);
        let port = port.parse::<u16>().unwrap_or(DEFAULT_PORT);
        format!("write it as IP:PORT, such as 127.0.0.1:{port} or [::1]:{port}")
    })
}

/// The base URL without a slash at its end, as people write it.
fn display_url(platform: &Platform) -> String {
    platform.url().as_str().trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn a_token_is_told_by_what_gave_it() {
        let token = Secret("s3cret".into());
        for (of_environment, expected) in [
            (None, "that --token gave"),
            (Some("another"), "that --token gave"),
            (Some("s3cret"), "in PEAK_LOCAL_TOKEN"),
        ] {
            let line = token.explained(of_environment);
            assert!(
                line.contains(expected) && !line.contains("s3cret"),
                "{line}"
            );
        }
    }
}
