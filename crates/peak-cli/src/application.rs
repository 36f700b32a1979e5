//! What every command has: the global options, where results and progress go, and the way to the platform.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use peak_sdk::apolo::{Images, ImagesBuilder};
use peak_sdk::http::{Client, ClientBuilder, Proxies, TlsOptions};
use peak_sdk::local::Platform;
use peak_sdk::platform::{Session, SessionBuilder, SessionError, Stage};
use peak_sdk::registry::{
    CredentialSource, Credentials, Explanation, Keychain, Registry, RegistryBuilder,
};
use url::Url;

use crate::arguments::{GlobalOptions, OutputTarget};
use crate::error::{CliError, ErrorKind};
use crate::output::{Output, printable};
use crate::paths::in_shell;
use crate::progress::Progress;
use crate::suggest::did_you_mean;

/// The user name that goes with a platform token on the platform's own registry, which ignores it.
pub(crate) const REGISTRY_USER: &str = "token";

pub(crate) struct Application {
    /// The form of results.
    pub(crate) output: Output,
    /// The form that was asked for, where the usual one of a command is neither JSON nor a table.
    pub(crate) asked_output: Option<Output>,
    pub(crate) progress: Progress,
    stage: Option<String>,
    endpoint_url: Option<String>,
    platform_file: Option<PathBuf>,
    output_file: Option<PathBuf>,
    config_file: Option<PathBuf>,
    /// The clients that were made, whose uploads end when the command does.
    registries: Mutex<Vec<Registry>>,
    /// The platform that runs in this process for the time of the command.
    embedded: Mutex<Option<Platform>>,
    /// The client of Apolo's images, where the command has one.
    apolo: OnceLock<Images>,
}

/// Who says which platform is meant, where the variables do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NamedBy<'a> {
    /// `--endpoint-url` or `--stage`
    Options,
    /// The file of `--config`
    File(&'a Path),
}

/// Variables that say which platform is meant, the first that is set.
const PLATFORM_VARIABLES: [&str; 3] = ["PEAK_ENDPOINT_URL", "PEAK__STAGE", "STAGE"];

/// How long the embedded platform has to end where the command did not come to its end: as long as a Docker Engine takes
/// to stop a build, as far as one can wait who was interrupted.
const EMBEDDED_LIMIT: Duration = Duration::from_secs(6);

impl Application {
    /// Reads the global options. `writes_a_file` says whether `--output` may name one.
    pub(crate) fn new(options: GlobalOptions, writes_a_file: bool) -> Result<Self, CliError> {
        let asked_output = Output::asked(&options.output);
        let mut output_file = None;
        for target in options.output {
            let OutputTarget::File(file) = target else {
                continue;
            };
            if !writes_a_file {
                return Err(
                    CliError::usage(format!("`{}` is no output format", file.display()))
                        .with_hint("the formats are json, yaml and table"),
                );
            }
            output_file = Some(file);
        }
        Ok(Self {
            output: asked_output.unwrap_or_else(Output::usual),
            asked_output,
            progress: Progress::new(options.progress.unwrap_or_default(), options.quiet),
            stage: options.stage,
            endpoint_url: options.endpoint_url,
            platform_file: options.platform_file,
            output_file,
            config_file: options.config,
            registries: Mutex::default(),
            embedded: Mutex::default(),
            apolo: OnceLock::new(),
        })
    }

    /// Whether the options or the file of `--config` name a platform.
    pub(crate) fn names_a_platform(&self) -> bool {
        self.platform_named_by().is_some()
    }

    /// Who names the platform; `None` where it is for the variables to say.
    pub(crate) fn platform_named_by(&self) -> Option<NamedBy<'_>> {
        match &self.platform_file {
            Some(file) => Some(NamedBy::File(file)),
            None if self.stage.is_some() || self.endpoint_url.is_some() => Some(NamedBy::Options),
            None => None,
        }
    }

    /// Says in an error of the platform how to look closer at the very platform that was asked.
    pub(crate) fn with_doctor(&self, error: CliError) -> CliError {
        if error.is_of_platform {
            error.with_doctor(self.as_command("peak doctor"))
        } else {
            error
        }
    }

    /// A command with the options that name the same platform.
    pub(crate) fn as_command(&self, command: &str) -> String {
        let file = self.platform_file.as_deref();
        match (file, &self.endpoint_url, &self.stage) {
            (Some(file), _, _) => format!("{command} --config {}", in_shell(file)),
            // One that may hold credentials is not repeated.
            (None, Some(url), _) if url.contains('@') => format!("{command} --endpoint-url URL"),
            (None, Some(url), _) => {
                format!("{command} --endpoint-url {}", in_shell(Path::new(url)))
            }
            (None, None, Some(stage)) => {
                format!("{command} --stage {}", in_shell(Path::new(stage)))
            }
            (None, None, None) => command.to_owned(),
        }
    }

    /// The file that `--config` names.
    pub(crate) fn config_file(&self) -> Option<&Path> {
        self.config_file.as_deref()
    }

    /// The file that `--output` names.
    pub(crate) fn output_file(&self) -> Option<&Path> {
        self.output_file.as_deref()
    }

    /// The way to the platform, from the options and the environment.
    pub(crate) fn session(&self) -> Result<Session, CliError> {
        self.session_with(Client::builder().tls(tls_of_environment()?))
    }

    /// As [`session`](Self::session), with this trust, these time limits and retries.
    pub(crate) fn session_with(&self, options: ClientBuilder) -> Result<Session, CliError> {
        Ok(self.session_builder()?.client_options(options).build()?)
    }

    /// As [`session`](Self::session), to look at where the platform is and at the token; nothing is asked through it.
    pub(crate) fn session_to_look_at(&self) -> Result<Session, CliError> {
        self.session_with(Client::builder())
    }

    /// As [`session`](Self::session), to see what would be sent, even if there is no token that can be used.
    pub(crate) fn session_to_show(&self) -> Result<Session, CliError> {
        match self.session_to_look_at() {
            Ok(session) => Ok(session),
            Err(_) => self.session_without_token(),
        }
    }

    /// As [`session`](Self::session), to look at what is meant: that takes no token.
    pub(crate) fn session_without_token(&self) -> Result<Session, CliError> {
        let client = Client::builder()
            .build()
            .map_err(|error| CliError::from_chain(ErrorKind::Other, &error))?;
        Ok(self.session_builder()?.client(client).build()?)
    }

    /// A client for registries, which knows the platform's own if there is a platform.
    pub(crate) fn registry(&self, builder: RegistryBuilder) -> Result<Registry, CliError> {
        let session = match self.session_to_look_at() {
            // Who names a platform means one; else it is only not known.
            Err(error) if self.names_a_platform() && error.kind == ErrorKind::Usage => {
                return Err(error);
            }
            session => session.ok(),
        };
        self.registry_for(session.as_ref(), builder)
    }

    /// As [`registry`](Self::registry), for a command that works with the embedded platform, whatever else is named.
    pub(crate) fn registry_beside_embedded(
        &self,
        builder: RegistryBuilder,
    ) -> Result<Registry, CliError> {
        self.registry_for(self.session_to_look_at().ok().as_ref(), builder)
    }

    fn registry_for(
        &self,
        session: Option<&Session>,
        builder: RegistryBuilder,
    ) -> Result<Registry, CliError> {
        let registry = match session {
            Some(session) => registry_of(session, builder)?,
            None => with_environment(builder).build()?,
        };
        let mut registries = self.registries();
        registries.push(registry.clone());
        Ok(registry)
    }

    /// The client of Apolo's images.
    pub(crate) fn apolo(
        &self,
        builder: ImagesBuilder,
        registry: RegistryBuilder,
    ) -> Result<Images, CliError> {
        let images = builder.registry(with_environment(registry)).build()?;
        self.registries().push(images.registry().clone());
        let _ = self.apolo.set(images.clone());
        Ok(images)
    }

    /// Removes from the Docker Engine what a pull that was interrupted has left there, as far as there is time for it.
    pub(crate) async fn remove_temporary_tags(&self, limit: Duration) {
        if let Some(images) = self.apolo.get() {
            let _ = tokio::time::timeout(limit, images.remove_temporary_tags()).await;
        }
    }

    /// Tells registries of the uploads that nobody goes on with, as far as there is time for it.
    pub(crate) async fn cancel_uploads(&self, limit: Duration) {
        let registries = std::mem::take(&mut *self.registries());
        let _ = tokio::time::timeout(limit, async {
            for registry in registries {
                registry.cancel_abandoned_uploads().await;
            }
        })
        .await;
    }

    /// Keeps the embedded platform until the command ends, in whatever way, so that it can end in order.
    pub(crate) fn keep_embedded(&self, platform: Platform) {
        *self.embedded() = Some(platform);
    }

    /// Ends the embedded platform, if there is one.
    pub(crate) async fn end_embedded(&self, in_order: bool) {
        let Some(platform) = self.embedded().take() else {
            return;
        };
        let end = Box::pin(platform.shutdown());
        if in_order {
            end.await;
        } else {
            let _ = tokio::time::timeout(EMBEDDED_LIMIT, end).await;
        }
    }

    fn embedded(&self) -> MutexGuard<'_, Option<Platform>> {
        self.embedded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn registries(&self) -> MutexGuard<'_, Vec<Registry>> {
        self.registries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the platform is, by the options, the file and the environment.
    fn session_builder(&self) -> Result<SessionBuilder, CliError> {
        self.options_of_session()
            .map_err(|error| match self.platform_named_by() {
                Some(NamedBy::File(file)) => {
                    error.with_context(&format!("`{}`", printable(&file.display().to_string())))
                }
                _ => error,
            })
    }

    fn options_of_session(&self) -> Result<SessionBuilder, CliError> {
        let mut builder = Session::builder();
        if let Some(stage) = &self.stage {
            builder = builder.stage(stage.parse()?);
        }
        if let Some(text) = &self.endpoint_url {
            // The text may hold credentials, so it is not repeated.
            let url = Url::parse(text).map_err(|error| {
                CliError::usage(format!("the endpoint is not a URL: {error}"))
                    .with_hint("write it as https://HOST")
            })?;
            builder = builder.endpoint(url);
        }
        Ok(builder)
    }
}

/// The way to a platform that this process itself has started, whatever the environment says.
pub(crate) fn session_at(url: Url) -> Result<Session, CliError> {
    Ok(Session::builder().endpoint(url).without_token().build()?)
}

/// The environment's proxies, and the credentials that Docker, podman and `peak registry login` keep.
///
/// The states of uploads have a place beside the embedded platform's: `reset` removes that one.
fn with_environment(builder: RegistryBuilder) -> RegistryBuilder {
    let builder = builder
        .proxies(Proxies::from_environment())
        .keychain(Keychain::from_environment());
    match state_home() {
        Some(base) => builder.upload_states(base.join("peak-uploads")),
        None => builder,
    }
}

/// The variable that the platform's token is taken from.
pub(crate) fn token_variable() -> Option<&'static str> {
    first_set(["PEAK_AUTH_TOKEN", "API_KEY"])
}

/// The variable that says which platform is meant, where neither an option nor a file does.
pub(crate) fn platform_variable() -> Option<&'static str> {
    first_set(PLATFORM_VARIABLES)
}

fn first_set<const COUNT: usize>(names: [&'static str; COUNT]) -> Option<&'static str> {
    names
        .into_iter()
        .find(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// Which source has the credentials for a registry. What this program itself has given to the client is the platform's
/// token, which is from a variable.
pub(crate) fn with_variables(mut explanation: Explanation) -> Explanation {
    if let Some(variable) = token_variable() {
        for step in &mut explanation.steps {
            if step.source == CredentialSource::Caller {
                variable.clone_into(&mut step.place);
            }
        }
    }
    explanation
}

/// The file of certificates that `PEAK_CA_FILE` names, to trust beside the system's.
fn ca_file() -> Option<PathBuf> {
    let file = std::env::var_os("PEAK_CA_FILE").filter(|value| !value.is_empty())?;
    Some(PathBuf::from(file))
}

/// Whom the environment says to trust.
pub(crate) fn tls_of_environment() -> Result<TlsOptions, CliError> {
    let options = TlsOptions::new();
    match ca_file() {
        None => Ok(options),
        Some(file) => options.with_root_certificates_file(&file).map_err(|error| {
            CliError::from_chain(ErrorKind::Usage, &error).with_context("PEAK_CA_FILE")
        }),
    }
}

/// The beginning of every client for registries.
pub(crate) fn registry_builder() -> Result<RegistryBuilder, CliError> {
    Ok(Registry::builder().tls(tls_of_environment()?))
}

/// Where programs keep what they want to find again: `$XDG_STATE_HOME`, else `~/.local/state`.
pub(crate) fn state_home() -> Option<PathBuf> {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
}

/// A client for registries. The platform's own registry, which is the one at the very same address, takes the
/// platform's token; no other ever sees it.
pub(crate) fn registry_of(
    session: &Session,
    builder: RegistryBuilder,
) -> Result<Registry, CliError> {
    let mut builder = with_environment(builder);
    let endpoint = session.endpoint().url();
    let own = endpoint.host_str().zip(endpoint.port_or_known_default());
    if let (Some((host, port)), Some(token)) = (own, session.token()) {
        let credentials = Credentials::new(REGISTRY_USER, token.clone());
        builder = builder.credentials(&format!("{host}:{port}"), credentials);
    }
    Ok(builder.build()?)
}

impl From<SessionError> for CliError {
    fn from(error: SessionError) -> Self {
        let kind = match error {
            SessionError::MissingToken | SessionError::InvalidToken { .. } => {
                ErrorKind::Authentication
            }
            SessionError::UnknownStage { .. }
            | SessionError::InvalidEndpoint { .. }
            | SessionError::TokenInTheClear
            | SessionError::Client { .. } => ErrorKind::Usage,
            _ => ErrorKind::Other,
        };
        let failure = Self::from_chain(kind, &error);
        match &error {
            SessionError::MissingToken => failure.with_hint(
                "or work without an account: `peak local serve` is a platform on this machine",
            ),
            SessionError::UnknownStage { name } => match did_you_mean(name, Stage::NAMES) {
                Some(question) => failure.with_hint(question),
                None => failure,
            },
            _ => failure,
        }
    }
}
