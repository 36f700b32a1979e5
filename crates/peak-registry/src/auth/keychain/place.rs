//! One place where credentials may be, and what it has for a registry.

use std::path::PathBuf;

use secrecy::SecretString;

use super::file::{Config, Match};
use super::helper::Helpers;
use super::provider::Provider;
use super::server::{Server, is_within};
use super::{CredentialSource, SourceOutcome};
use crate::auth::credentials::Identity;

pub(super) enum Place {
    Provider(Provider),
    Inline(SecretString),
    File(CredentialSource, PathBuf),
}

/// What one source has.
pub(super) struct Asked {
    pub(super) source: CredentialSource,
    pub(super) place: String,
    found: Found,
}

pub(super) enum Found {
    Nothing(SourceOutcome),
    /// The longest path first.
    Entries(Vec<(String, Option<Identity>)>),
}

impl Asked {
    pub(super) fn identity(&self, repository: Option<&str>) -> Option<&Identity> {
        let Found::Entries(entries) = &self.found else {
            return None;
        };
        entries
            .iter()
            .filter(|(path, _)| is_within(repository, path))
            .find_map(|(_, identity)| identity.as_ref())
    }

    pub(super) fn outcome(&self, repository: Option<&str>) -> SourceOutcome {
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

impl Place {
    pub(super) fn source(&self) -> CredentialSource {
        match self {
            Self::Provider(_) => CredentialSource::Provider,
            Self::Inline(_) => CredentialSource::Environment,
            Self::File(source, _) => *source,
        }
    }

    pub(super) fn shown(&self) -> String {
        match self {
            Self::Provider(provider) => provider.name().to_owned(),
            Self::Inline(_) => "DOCKER_AUTH_CONFIG".to_owned(),
            Self::File(_, path) => path.display().to_string(),
        }
    }

    /// Asks it: its helpers, then its own entries, until one answers for the whole registry.
    pub(super) async fn ask(&self, helpers: &Helpers, server: &Server) -> Vec<Asked> {
        let asked = |place: String, source, found| Asked {
            source,
            place,
            found,
        };
        let (source, shown) = (self.source(), self.shown());
        let config = match self {
            Self::Provider(provider) => {
                let found = provider.ask(server.name(), helpers.timeout).await;
                return vec![asked(shown, source, found)];
            }
            Self::Inline(text) => Config::parse_text(text, &shown).map(Some),
            Self::File(_, path) => Config::read(path).await,
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
        let configured = [
            ("credHelpers", config.helper_of(server)),
            ("credsStore", config.store()),
        ];
        for (field, name) in configured {
            let Some(name) = name else { continue };
            let place = format!("docker-credential-{name} ({field} of {shown})");
            let found = ask_helper(helpers, name, server).await;
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
}

async fn ask_helper(helpers: &Helpers, name: &str, server: &Server) -> Found {
    for key in server.helper_keys() {
        match helpers.get(name, key).await {
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

/// An error with its causes, in one line.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}
