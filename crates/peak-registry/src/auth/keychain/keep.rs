//! Where credentials are kept, and removed from: a helper, or Docker's file.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::error::KeychainError;
use super::file::{Config, blocking};
use super::server::Server;
use super::write::{self, Turn};
use super::{Credentials, Keychain};

/// How long another process may keep the file that is to be written.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

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
        let helper = match Config::read(&path).await? {
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
        let config = Config::read(&path).await?.unwrap_or_default();
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
