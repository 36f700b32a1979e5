//! What the sources of credentials are, whatever registry one asks about: which are there, can be read, and can be asked.

use serde::Serialize;

use super::error::KeychainError;
use super::file::Config;
use super::place::{Place, with_causes};
use super::{CredentialSource, Keychain};

/// Most registries of one helper that are named.
const MAX_NAMED: usize = 20;

/// A source of credentials as such. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ExaminedSource {
    /// What kind of source it is.
    pub source: CredentialSource,
    /// Where it is: a path, a variable.
    pub place: String,
    /// What it is like.
    #[serde(flatten)]
    pub state: SourceState,
}

/// What a source of credentials is like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[non_exhaustive]
pub enum SourceState {
    /// It is not there.
    Absent,
    /// It can be read.
    Read {
        /// How many entries with credentials it has itself.
        entries: usize,
        /// The credential helpers that it names.
        helpers: Vec<ExaminedHelper>,
    },
    /// It is part of the program, and can only be asked about a registry.
    Provider,
    /// It cannot be read.
    Failed {
        /// Why not, and what to do.
        reason: String,
    },
}

/// A credential helper that a source names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ExaminedHelper {
    /// Its name, without `docker-credential-`.
    pub name: String,
    /// The registries that it is named for, at most twenty of them; none where it is for all.
    pub registries: Vec<String>,
    /// Why it cannot be asked, where that is so.
    pub failure: Option<String>,
    /// Whether there is such a program.
    pub is_installed: bool,
}

impl Keychain {
    /// Looks at all sources, and runs each helper that they name once, with `list`: to see that it is installed and
    /// answers. A helper that knows no `list` counts as one that answers.
    pub async fn examine(&self) -> Vec<ExaminedSource> {
        let mut all = Vec::new();
        for place in &self.inner.places {
            let config = match place {
                Place::Provider(_) => {
                    all.push(ExaminedSource {
                        source: place.source(),
                        place: place.shown(),
                        state: SourceState::Provider,
                    });
                    continue;
                }
                Place::Inline(text) => Config::parse_text(text, &place.shown()).map(Some),
                Place::File(_, path) => Config::read(path).await,
            };
            let state = match config {
                Ok(None) => SourceState::Absent,
                Ok(Some(config)) => SourceState::Read {
                    entries: config.entries(),
                    helpers: self.examine_helpers(&config).await,
                },
                Err(error) => SourceState::Failed {
                    reason: with_causes(&error),
                },
            };
            all.push(ExaminedSource {
                source: place.source(),
                place: place.shown(),
                state,
            });
        }
        all
    }

    async fn examine_helpers(&self, config: &Config) -> Vec<ExaminedHelper> {
        let mut helpers = Vec::new();
        for (name, registries) in config.helpers() {
            let answer = self.inner.helpers.list(name).await;
            helpers.push(ExaminedHelper {
                name: name.to_owned(),
                registries: registries
                    .into_iter()
                    .take(MAX_NAMED)
                    .map(str::to_owned)
                    .collect(),
                is_installed: !matches!(answer, Err(KeychainError::HelperMissing { .. })),
                failure: answer.err().map(|error: KeychainError| with_causes(&error)),
            });
        }
        helpers
    }
}
