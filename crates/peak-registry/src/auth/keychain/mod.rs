//! Where credentials come from and where they are kept: the environment, Docker's and podman's files, credential
//! helpers. The one place of this crate that reads any of them, and only when asked.

mod builder;
mod error;
mod examine;
mod explain;
mod file;
mod helper;
mod keep;
mod place;
mod provider;
mod server;
mod write;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub use self::builder::KeychainBuilder;
pub use self::error::KeychainError;
pub use self::examine::{ExaminedHelper, ExaminedSource, SourceState};
pub use self::explain::{CredentialSource, Explanation, ExplanationStep, SourceOutcome};
use self::helper::Helpers;
pub use self::keep::KeptIn;
use self::place::{Asked, Place};
pub use self::provider::CredentialProvider;
use self::server::Server;
use super::credentials::{Credentials, Identity};

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

/// What is known about one registry: the sources that were asked so far.
#[derive(Default)]
struct Known {
    asked: Vec<Asked>,
    next: usize,
    /// When it was looked up again since it was refused.
    renewed: Option<Instant>,
}

impl Keychain {
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
            let asked = place.ask(&self.inner.helpers, server).await;
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

    fn slot(&self, server: &Server) -> Slot {
        let mut known = self
            .inner
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(server.clone()).or_default())
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
