//! Where credentials come from and where they are kept: the environment, Docker's and podman's files, credential
//! helpers. The one place of this crate that reads any of them, and only when asked.

mod error;
mod examine;
mod explain;
mod file;
mod helper;
mod provider;
mod server;
mod write;

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use secrecy::SecretString;

pub use self::error::KeychainError;
pub use self::examine::{ExaminedHelper, ExaminedSource, SourceState};
pub use self::explain::{CredentialSource, Explanation, ExplanationStep, SourceOutcome};
use self::file::{Config, Match};
use self::helper::Helpers;
pub use self::provider::CredentialProvider;
use self::provider::Provider;
use self::server::{Server, is_within};
use self::write::Turn;
use super::credentials::{Credentials, Identity};

/// How long a helper may take.
const HELPER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long another process may keep the file that is to be written.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
/// For how long credentials that were refused and looked up again are not looked up once more.
const RENEWED: Duration = Duration::from_secs(60);

/// The credentials that a user has at rest, by registry. Cheap to clone; clones share what they have looked up.
///
/// Sources, in the order in which they are asked, behind the [providers](KeychainBuilder::provider) of the program; the
/// first that has something answers:
///
/// 1. `DOCKER_AUTH_CONFIG`, with the content of a `config.json`;
/// 2. Docker's `config.json`, in `DOCKER_CONFIG` or `~/.docker`;
/// 3. podman's `auth.json`: `REGISTRY_AUTH_FILE` where that is set, else `${XDG_RUNTIME_DIR}/containers/auth.json` and
///    `~/.config/containers/auth.json`.
///
/// Within one of them, as Docker does it: the helper of the registry (`credHelpers`), that of all registries
/// (`credsStore`), then what is written in the file itself (`auths`), where keys with a path are for the repositories
/// below it and the longest counts. A source that cannot be read, and a helper that fails, is passed over with a
/// warning; [`explain`](Self::explain) says why.
///
/// What was found is kept for the life of this value, or until [`forget`](Self::forget). Helpers run once per registry.
#[derive(Clone)]
pub struct Keychain {
    inner: Arc<Inner>,
}

struct Inner {
    places: Vec<Place>,
    /// Where `login` keeps what no helper wants.
    config: Option<PathBuf>,
    helpers: Helpers,
    known: Mutex<HashMap<Server, Slot>>,
}

/// Whoever looks something up holds the lock, and others wait for it.
type Slot = Arc<tokio::sync::Mutex<Known>>;

enum Place {
    Provider(Provider),
    Inline(SecretString),
    File(CredentialSource, PathBuf),
}

/// What is known about one registry: the sources that were asked so far.
#[derive(Default)]
struct Known {
    asked: Vec<Asked>,
    next: usize,
    /// When it was looked up again since it was refused.
    renewed: Option<Instant>,
}

/// What one source has.
struct Asked {
    source: CredentialSource,
    place: String,
    found: Found,
}

enum Found {
    Nothing(SourceOutcome),
    /// The longest path first.
    Entries(Vec<(String, Option<Identity>)>),
}

impl Asked {
    fn identity(&self, repository: Option<&str>) -> Option<&Identity> {
        let Found::Entries(entries) = &self.found else {
            return None;
        };
        entries
            .iter()
            .filter(|(path, _)| is_within(repository, path))
            .find_map(|(_, identity)| identity.as_ref())
    }

    fn outcome(&self, repository: Option<&str>) -> SourceOutcome {
        let entries = match &self.found {
            Found::Nothing(outcome) => return outcome.clone(),
            Found::Entries(entries) => entries,
        };
        let mut fitting = entries
            .iter()
            .filter(|(path, _)| is_within(repository, path))
            .peekable();
        if fitting.peek().is_none() {
            return match entries.as_slice() {
                [] => SourceOutcome::NoEntry,
                _ => SourceOutcome::OtherPaths {
                    paths: entries.iter().map(|(path, _)| path.clone()).collect(),
                },
            };
        }
        match fitting.find_map(|(path, identity)| Some((path, identity.as_ref()?))) {
            Some((path, identity)) => SourceOutcome::Answered {
                user: identity.credentials.user().to_owned(),
                identity_token: identity.credentials.is_identity_token(),
                path: Some(path.clone()).filter(|path| !path.is_empty()),
            },
            None => SourceOutcome::Empty,
        }
    }
}

/// Where [`Registry::login`](crate::Registry::login) keeps credentials, and where `logout` found them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeptIn {
    /// A credential helper.
    Helper {
        /// Its name, without `docker-credential-`.
        name: String,
    },
    /// A file, in base64, readable for its owner only.
    File {
        /// The file.
        path: PathBuf,
    },
}

impl fmt::Display for KeptIn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Helper { name } => write!(formatter, "the helper docker-credential-{name}"),
            Self::File { path } => write!(formatter, "{}", path.display()),
        }
    }
}

impl Keychain {
    /// The credentials of the user who runs this program. Looks at environment variables for where things are; reads
    /// no file and runs nothing before it is asked for a registry.
    pub fn from_environment() -> Self {
        KeychainBuilder::from_environment().build()
    }

    fn from_variables(
        variable: impl Fn(&str) -> Option<OsString>,
        home: Option<PathBuf>,
    ) -> KeychainBuilder {
        let variable = |name| variable(name).filter(|value| !value.is_empty());
        let home = home.filter(|home| !home.as_os_str().is_empty());
        let mut builder = Self::builder();
        if let Some(inline) = variable("DOCKER_AUTH_CONFIG") {
            builder = builder.inline(inline.to_string_lossy().into_owned().into());
        }
        let docker = variable("DOCKER_CONFIG")
            .map(PathBuf::from)
            .or_else(|| Some(home.as_ref()?.join(".docker")));
        if let Some(docker) = docker {
            builder = builder.docker_config(docker.join("config.json"));
        }
        if let Some(file) = variable("REGISTRY_AUTH_FILE") {
            builder = builder.podman_auth(PathBuf::from(file));
        } else {
            let runtime = variable("XDG_RUNTIME_DIR").map(PathBuf::from);
            let config = variable("XDG_CONFIG_HOME")
                .map(PathBuf::from)
                .or_else(|| Some(home.as_ref()?.join(".config")));
            for directory in [runtime, config].into_iter().flatten() {
                builder = builder.podman_auth(directory.join("containers/auth.json"));
            }
        }
        if let Some(path) = variable("PATH") {
            builder = builder.helper_path(path);
        }
        builder
    }

    /// A keychain of chosen places, for programs that keep credentials elsewhere.
    pub fn builder() -> KeychainBuilder {
        KeychainBuilder {
            providers: Vec::new(),
            inline: None,
            docker: None,
            podman: Vec::new(),
            helpers: Helpers {
                path: None,
                timeout: HELPER_TIMEOUT,
            },
        }
    }

    /// The credentials for a registry, and for a repository of it where some are for that alone. `None` where no source
    /// has any.
    pub async fn credentials(
        &self,
        registry: &str,
        repository: Option<&str>,
    ) -> Option<Credentials> {
        let identity = self.identity(registry, repository).await?;
        Some((*identity.credentials).clone())
    }

    pub(super) async fn identity(
        &self,
        registry: &str,
        repository: Option<&str>,
    ) -> Option<Identity> {
        let server = Server::new(registry);
        let slot = self.slot(&server);
        let mut known = slot.lock().await;
        self.look_up(&server, repository, &mut known).await
    }

    /// Asks one source after the other until one answers. Sources that were asked before are not asked again.
    async fn look_up(
        &self,
        server: &Server,
        repository: Option<&str>,
        known: &mut Known,
    ) -> Option<Identity> {
        loop {
            let found = known.asked.iter().find_map(|one| one.identity(repository));
            if found.is_some() {
                return found.cloned();
            }
            let place = self.inner.places.get(known.next)?;
            let asked = self.ask(place, server).await;
            known.asked.extend(asked);
            known.next += 1;
        }
    }

    /// Looks up again what a registry no longer takes. `None` where there is nothing new.
    pub(super) async fn renewed(
        &self,
        registry: &str,
        repository: Option<&str>,
        refused: u64,
    ) -> Option<Identity> {
        let server = Server::new(registry);
        let slot = self.slot(&server);
        let mut known = slot.lock().await;
        let present = self.look_up(&server, repository, &mut known).await;
        let old = match present {
            Some(identity) if identity.id == refused => identity,
            // Somebody else has looked already.
            other => return other,
        };
        let lately = |when: Instant| when.elapsed() < RENEWED;
        if known.renewed.is_some_and(lately) {
            // Some helpers say something new each time: that alone does not make a refusal pass.
            return None;
        }
        let mut fresh = Known {
            renewed: Some(Instant::now()),
            ..Known::default()
        };
        let new = self.look_up(&server, repository, &mut fresh).await;
        let changed = new
            .as_ref()
            .is_none_or(|new| !new.credentials.is_same_as(&old.credentials));
        if changed {
            *known = fresh;
            return new;
        }
        // What was looked up before stays, and with it the tokens that were got with it.
        known.renewed = fresh.renewed;
        None
    }

    /// Says which source has the credentials for a registry or one of its repositories, and why the others do not.
    pub async fn explain(&self, registry: &str, repository: Option<&str>) -> Explanation {
        let server = Server::new(registry);
        let slot = self.slot(&server);
        let mut known = slot.lock().await;
        let answered = self
            .look_up(&server, repository, &mut known)
            .await
            .map(|identity| identity.id);
        let mut steps = Vec::new();
        let mut answer_passed = false;
        for asked in &known.asked {
            let outcome = if answer_passed {
                SourceOutcome::NotAsked
            } else {
                asked.outcome(repository)
            };
            answer_passed |= answered.is_some()
                && asked.identity(repository).map(|identity| identity.id) == answered;
            steps.push(ExplanationStep {
                source: asked.source,
                place: asked.place.clone(),
                outcome,
            });
        }
        for place in self.inner.places.iter().skip(known.next) {
            steps.push(ExplanationStep {
                source: place.source(),
                place: place.shown(),
                outcome: SourceOutcome::NotAsked,
            });
        }
        Explanation {
            registry: server.name().to_owned(),
            repository: repository.map(str::to_owned),
            steps,
        }
    }

    /// Drops what was looked up for a registry, so that the sources are asked anew.
    pub fn forget(&self, registry: &str) {
        let mut known = self
            .inner
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        known.remove(&Server::new(registry));
    }

    /// Keeps credentials for a registry: in the helper that is configured for it, else in Docker's `config.json`.
    /// Nothing is checked; [`Registry::login`](crate::Registry::login) does that before.
    ///
    /// # Errors
    /// [`KeychainError`]. Nothing has changed then.
    pub async fn store(
        &self,
        registry: &str,
        credentials: &Credentials,
    ) -> Result<KeptIn, KeychainError> {
        let server = Server::new(registry);
        let path = self.inner.config.clone().ok_or(KeychainError::NoPlace)?;
        let helper = match read_config(&path).await? {
            Some(config) => config
                .helper_of(&server)
                .or(config.store())
                .map(str::to_owned),
            None => None,
        };
        let kept = if let Some(name) = helper {
            self.inner
                .helpers
                .store(&name, server.key(), credentials)
                .await?;
            // What a time without the helper has left in the file is worth nothing now, and could be read.
            let key = server.clone();
            changing(&path, move |path, turn| write::remove(path, &key, turn)).await?;
            KeptIn::Helper { name }
        } else {
            let (key, credentials) = (server.clone(), credentials.clone());
            changing(&path, move |path, turn| {
                write::put(path, &key, &credentials, turn)
            })
            .await?;
            KeptIn::File { path }
        };
        self.forget(server.name());
        Ok(kept)
    }

    /// Removes the credentials for a whole registry from the helper that is configured for it and from Docker's
    /// `config.json`. Says where there were any. Other sources are not touched, and may still
    /// [have some](Self::explain).
    ///
    /// # Errors
    /// [`KeychainError`]. Where the helper failed, the file has been changed nevertheless.
    pub async fn erase(&self, registry: &str) -> Result<Vec<KeptIn>, KeychainError> {
        let server = Server::new(registry);
        let path = self.inner.config.clone().ok_or(KeychainError::NoPlace)?;
        let mut removed = Vec::new();
        let config = read_config(&path).await?.unwrap_or_default();
        let key = server.clone();
        let in_file = changing(&path, move |path, turn| write::remove(path, &key, turn)).await?;
        self.forget(server.name());
        if let Some(name) = config.helper_of(&server).or(config.store()) {
            let mut in_helper = false;
            for key in server.helper_keys() {
                // Some helpers succeed in forgetting what they never knew: so they are asked before.
                let held = self.inner.helpers.get(name, key).await?;
                in_helper |= held.is_some() && self.inner.helpers.erase(name, key).await?;
            }
            if in_helper {
                let name = name.to_owned();
                removed.push(KeptIn::Helper { name });
            }
        }
        if in_file {
            removed.push(KeptIn::File { path });
        }
        Ok(removed)
    }

    fn slot(&self, server: &Server) -> Slot {
        let mut known = self
            .inner
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(server.clone()).or_default())
    }

    /// Asks one place: its helpers, then its own entries, until one answers for the whole registry.
    async fn ask(&self, place: &Place, server: &Server) -> Vec<Asked> {
        let asked = |place: String, source, found| Asked {
            source,
            place,
            found,
        };
        let (source, shown) = (place.source(), place.shown());
        let config = match place {
            Place::Provider(provider) => {
                let limit = self.inner.helpers.timeout;
                let found = provider.ask(server.name(), limit).await;
                return vec![asked(shown, source, found)];
            }
            Place::Inline(text) => Config::parse_text(text, &shown).map(Some),
            Place::File(_, path) => read_config(path).await,
        };
        let config = match config {
            Ok(Some(config)) => config,
            Ok(None) => {
                return vec![asked(shown, source, Found::Nothing(SourceOutcome::Absent))];
            }
            Err(error) => {
                tracing::warn!(place = shown, %error, "a source of credentials is passed over");
                let reason = with_causes(&error);
                let outcome = SourceOutcome::Failed { reason };
                return vec![asked(shown, source, Found::Nothing(outcome))];
            }
        };
        let mut all = Vec::new();
        let helpers = [
            ("credHelpers", config.helper_of(server)),
            ("credsStore", config.store()),
        ];
        for (field, name) in helpers {
            let Some(name) = name else { continue };
            let place = format!("docker-credential-{name} ({field} of {shown})");
            let found = self.ask_helper(name, server).await;
            let answered = matches!(&found, Found::Entries(entries) if entries.iter().any(|(_, one)| one.is_some()));
            all.push(asked(place, source, found));
            if answered {
                all.push(asked(
                    shown,
                    source,
                    Found::Nothing(SourceOutcome::NotAsked),
                ));
                return all;
            }
        }
        let entries = config.matches(server).into_iter().map(|one| {
            let Match { path, credentials } = one;
            if credentials.is_none() {
                tracing::debug!(place = shown, "an entry without a secret counts as none");
            }
            (path, credentials.map(Identity::new))
        });
        let entries = entries.collect();
        all.push(asked(shown, source, Found::Entries(entries)));
        all
    }

    async fn ask_helper(&self, name: &str, server: &Server) -> Found {
        for key in server.helper_keys() {
            match self.inner.helpers.get(name, key).await {
                Ok(None) => {}
                Ok(Some(credentials)) => {
                    let empty = credentials.is_empty();
                    if empty {
                        tracing::debug!(helper = name, "an answer without a secret counts as none");
                    }
                    let identity = (!empty).then(|| Identity::new(credentials));
                    return Found::Entries(vec![(String::new(), identity)]);
                }
                Err(error) => {
                    tracing::warn!(helper = name, %error, "a credential helper is passed over");
                    let reason = with_causes(&error);
                    return Found::Nothing(SourceOutcome::Failed { reason });
                }
            }
        }
        Found::Nothing(SourceOutcome::NoEntry)
    }
}

impl fmt::Debug for Keychain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places: Vec<String> = self.inner.places.iter().map(Place::shown).collect();
        formatter
            .debug_struct("Keychain")
            .field("places", &places)
            .finish_non_exhaustive()
    }
}

impl Place {
    fn source(&self) -> CredentialSource {
        match self {
            Self::Provider(_) => CredentialSource::Provider,
            Self::Inline(_) => CredentialSource::Environment,
            Self::File(source, _) => *source,
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Provider(provider) => provider.name().to_owned(),
            Self::Inline(_) => "DOCKER_AUTH_CONFIG".to_owned(),
            Self::File(_, path) => path.display().to_string(),
        }
    }
}

/// The places of a [`Keychain`].
#[derive(Clone, Debug)]
#[must_use]
pub struct KeychainBuilder {
    providers: Vec<Provider>,
    inline: Option<SecretString>,
    docker: Option<PathBuf>,
    podman: Vec<PathBuf>,
    helpers: Helpers,
}

impl KeychainBuilder {
    /// The places of [`Keychain::from_environment`], to add to.
    pub fn from_environment() -> Self {
        let home = std::env::home_dir();
        Keychain::from_variables(|name| std::env::var_os(name), home)
    }

    /// Somebody who is asked before all other places; of several, in the order in which they were given. The name is
    /// what [`Keychain::explain`] calls it.
    pub fn provider(mut self, name: impl Into<String>, provider: impl CredentialProvider) -> Self {
        self.providers.push(Provider::new(name.into(), provider));
        self
    }

    /// The content of a `config.json`, as `DOCKER_AUTH_CONFIG` has it.
    pub fn inline(mut self, config: SecretString) -> Self {
        self.inline = Some(config);
        self
    }

    /// Docker's `config.json`, which is also where `login` keeps credentials. It need not exist.
    pub fn docker_config(mut self, path: impl Into<PathBuf>) -> Self {
        self.docker = Some(path.into());
        self
    }

    /// A further `auth.json` of podman's. It need not exist.
    pub fn podman_auth(mut self, path: impl Into<PathBuf>) -> Self {
        self.podman.push(path.into());
        self
    }

    /// The directories of helpers, as in `PATH`; none by default. Relative ones are not used.
    pub fn helper_path(mut self, path: impl Into<OsString>) -> Self {
        self.helpers.path = Some(path.into());
        self
    }

    /// How long a helper, or a [provider](Self::provider), may take; 10 seconds by default.
    pub fn helper_timeout(mut self, timeout: Duration) -> Self {
        self.helpers.timeout = timeout;
        self
    }

    /// Makes the keychain. Nothing is read.
    pub fn build(self) -> Keychain {
        let providers = self.providers.into_iter().map(Place::Provider);
        let docker = self.docker.clone();
        let docker = docker.map(|path| Place::File(CredentialSource::Docker, path));
        let podman = self.podman.into_iter();
        let podman = podman.map(|path| Place::File(CredentialSource::Podman, path));
        let inline = self.inline.map(Place::Inline);
        Keychain {
            inner: Arc::new(Inner {
                places: providers
                    .chain(inline)
                    .chain(docker)
                    .chain(podman)
                    .collect(),
                config: self.docker,
                helpers: self.helpers,
                known: Mutex::default(),
            }),
        }
    }
}

/// Reads a file away from the runtime's threads: home directories may be slow.
async fn read_config(path: &Path) -> Result<Option<Config>, KeychainError> {
    let owned = path.to_owned();
    let text = blocking(path, move || file::read(&owned)).await?;
    let Some(text) = text.map(|text| String::from_utf8_lossy(&text).into_owned()) else {
        return Ok(None);
    };
    let text = SecretString::from(text);
    Config::parse_text(&text, &path.display().to_string()).map(Some)
}

/// Changes a file, unless another process keeps it for too long, or nobody waits any more.
async fn changing<T: Send + 'static>(
    path: &Path,
    change: impl FnOnce(&Path, &Turn) -> Result<T, KeychainError> + Send + 'static,
) -> Result<T, KeychainError> {
    let turn = Waiting(Arc::default());
    let worker = Arc::clone(&turn.0);
    let owned = path.to_owned();
    let mut work = std::pin::pin!(blocking(path, move || change(&owned, &worker)));
    match tokio::time::timeout(LOCK_TIMEOUT, work.as_mut()).await {
        Ok(result) => result,
        Err(_) if turn.0.give_up() => Err(KeychainError::Locked {
            path: path.to_owned(),
        }),
        // It has just begun, and will not take long.
        Err(_) => work.await,
    }
}

/// Gives up for whoever is dropped while waiting.
struct Waiting(Arc<Turn>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

async fn blocking<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> Result<T, KeychainError> + Send + 'static,
) -> Result<T, KeychainError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(KeychainError::File {
            action: "read",
            path: path.to_owned(),
            source: std::io::Error::other(error),
        }),
    }
}

/// An error with its causes, in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(variables: &[(&str, &str)], home: Option<&str>) -> Vec<String> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| OsString::from(value))
        };
        let keychain = Keychain::from_variables(variable, home.map(PathBuf::from)).build();
        keychain.inner.places.iter().map(Place::shown).collect()
    }

    #[test]
    fn the_environment_says_where_credentials_are() {
        assert_eq!(
            places(&[], Some("/home/robot")),
            [
                "/home/robot/.docker/config.json",
                "/home/robot/.config/containers/auth.json"
            ]
        );
        let all = [
            ("DOCKER_AUTH_CONFIG", "{}"),
            ("DOCKER_CONFIG", "/docker"),
            ("XDG_RUNTIME_DIR", "/run/user/7"),
            ("XDG_CONFIG_HOME", "/config"),
        ];
        assert_eq!(
            places(&all, Some("/home/robot")),
            [
                "DOCKER_AUTH_CONFIG",
                "/docker/config.json",
                "/run/user/7/containers/auth.json",
                "/config/containers/auth.json"
            ]
        );
        let podman = [
            ("REGISTRY_AUTH_FILE", "/podman.json"),
            ("XDG_RUNTIME_DIR", "/run/user/7"),
            ("DOCKER_CONFIG", ""),
        ];
        assert_eq!(places(&podman, None), ["/podman.json"]);
        assert_eq!(places(&[], None), [""; 0]);
    }
}
