//! Checks credentials with a registry and keeps them, and takes them away again.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::sync::Arc;

use http::{Method, StatusCode};
use peak_http::{Body, ErrorKind, Operation, Origin};
use peak_oci::Reference;

use super::token::TokenError;
use super::{
    CredentialSource, Credentials, Explanation, ExplanationStep, Identities, Identity, KeptIn,
    Keychain, KeychainError, RegistryAuthenticator, SourceOutcome,
};
use crate::connection::Connection;
use crate::host::Scheme;
use crate::reasons::Reasons;
use crate::root::why_no_registry;
use crate::{Registry, RegistryError};

/// What [`Registry::login`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Login {
    /// The registry, by its one name.
    pub registry: String,
    /// The user name.
    pub user: String,
    /// Where the credentials are kept now.
    pub kept_in: KeptIn,
    /// Whether the registry looked at them: `false` where it lets everybody in without asking.
    pub checked: bool,
}

/// What [`Registry::logout`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Logout {
    /// The registry, by its one name.
    pub registry: String,
    /// Where there were credentials; empty where there were none.
    pub removed: Vec<KeptIn>,
    /// A source that `logout` does not change and that still has credentials for the registry.
    pub remaining: Option<ExplanationStep>,
}

impl Registry {
    /// Checks credentials with a registry (`docker.io`, `registry.example:5000`), then keeps them in the
    /// [keychain](crate::RegistryBuilder::keychain): in the helper that is configured for it, else in Docker's
    /// `config.json`, which is then readable for its owner only. Everything else in that file stays as it was.
    ///
    /// # Errors
    /// [`RegistryError::LoginRefused`], [`RegistryError::Keychain`], [`RegistryError::InvalidRegistry`],
    /// [`RegistryError::InvalidResponse`] where there is a web page or nothing in place of a registry, and whatever a
    /// request can meet. Nothing is kept then.
    pub async fn login(
        &self,
        registry: &str,
        credentials: Credentials,
    ) -> Result<Login, RegistryError> {
        let keychain = self.keychain()?;
        let connection = self.connection(registry_of(registry));
        let host = &connection.host;
        let refused = |reasons| RegistryError::LoginRefused {
            registry: host.name().to_owned(),
            reasons,
            source: None,
        };
        if credentials.is_empty() {
            return Err(refused(Reasons::default()));
        }
        if credentials.encoded().is_none() {
            return Err(RegistryError::Keychain(KeychainError::UserName));
        }
        let checked = self.check(&connection, credentials.clone()).await?;
        let kept_in = keychain.store(host.name(), &credentials).await?;
        Ok(Login {
            registry: host.name().to_owned(),
            user: credentials.user().to_owned(),
            kept_in,
            checked,
        })
    }

    /// Removes the credentials of a registry from the helper that is configured for it and from Docker's
    /// `config.json`.
    ///
    /// # Errors
    /// [`RegistryError::Keychain`], [`RegistryError::InvalidRegistry`].
    pub async fn logout(&self, registry: &str) -> Result<Logout, RegistryError> {
        let keychain = self.keychain()?;
        let host = self.host(registry_of(registry));
        host.root(Scheme::Https)?;
        let removed = keychain.erase(host.name()).await?;
        let explanation = keychain.explain(host.name(), None).await;
        Ok(Logout {
            registry: host.name().to_owned(),
            removed,
            remaining: explanation.answer().cloned(),
        })
    }

    /// Says whose credentials this client uses for a repository, and why other sources do not count. Nothing is sent;
    /// credential helpers may be run.
    ///
    /// # Errors
    /// [`RegistryError::InvalidRegistry`].
    pub async fn explain_credentials(
        &self,
        reference: &Reference,
    ) -> Result<Explanation, RegistryError> {
        let repository = reference.repository().as_str();
        self.explain(reference.registry(), Some(repository)).await
    }

    /// As [`explain_credentials`](Self::explain_credentials), for what is asked of a registry as a whole.
    ///
    /// # Errors
    /// [`RegistryError::InvalidRegistry`].
    pub async fn explain_registry_credentials(
        &self,
        registry: &str,
    ) -> Result<Explanation, RegistryError> {
        self.explain(registry, None).await
    }

    async fn explain(
        &self,
        registry: &str,
        repository: Option<&str>,
    ) -> Result<Explanation, RegistryError> {
        let host = self.host(registry);
        // Whom the caller named stands under each scheme that may be spoken.
        let root = host.root(Scheme::Https)?;
        let caller = Origin::of(&root).and_then(|origin| self.caller(&origin));
        let mut explanation = match self.keychain() {
            Ok(keychain) => Box::pin(keychain.explain(host.name(), repository)).await,
            Err(_) => Explanation {
                registry: host.name().to_owned(),
                repository: repository.map(str::to_owned),
                steps: Vec::new(),
            },
        };
        if let Some(identity) = caller {
            for step in &mut explanation.steps {
                step.outcome = SourceOutcome::NotAsked;
            }
            let step = ExplanationStep {
                source: CredentialSource::Caller,
                place: "the caller".to_owned(),
                outcome: SourceOutcome::Answered {
                    user: identity.credentials.user().to_owned(),
                    identity_token: identity.credentials.is_identity_token(),
                    path: None,
                },
            };
            explanation.steps.insert(0, step);
        }
        Ok(explanation)
    }

    fn keychain(&self) -> Result<&Keychain, RegistryError> {
        self.configured_keychain()
            .ok_or(RegistryError::Keychain(KeychainError::NoPlace))
    }

    /// Asks the API's root with these credentials and no others. Whether the registry wanted to see them.
    async fn check(
        &self,
        connection: &Connection,
        credentials: Credentials,
    ) -> Result<bool, RegistryError> {
        let root = connection.root().await?;
        let registry = || connection.host.name().to_owned();
        let Some(origin) = Origin::of(&root) else {
            return Err(RegistryError::InvalidRegistry {
                registry: registry(),
            });
        };
        let caller = BTreeMap::from([(origin.clone(), Identity::new(credentials))]);
        let identities = Identities::new(caller, None, self.insecure_origins());
        let (client, authenticator) = self.client_as(identities)?;
        let request = http::Request::builder()
            .method(Method::GET)
            .uri(root.as_str())
            .extension(Operation("login"))
            .body(Body::empty())
            .map_err(|_| RegistryError::InvalidRegistry {
                registry: registry(),
            })?;
        let response = client.send(request).await.map_err(|source| {
            let token = source.source().and_then(|cause| cause.downcast_ref());
            if token.is_some_and(TokenError::is_refusal) {
                return RegistryError::LoginRefused {
                    registry: registry(),
                    reasons: Reasons::default(),
                    source: Some(source),
                };
            }
            let repository = registry();
            if source.kind() == ErrorKind::Authentication {
                RegistryError::NoCredential { repository, source }
            } else {
                RegistryError::Transport { repository, source }
            }
        })?;
        let status = response.status();
        if Origin::of(response.url()).as_ref() != Some(&origin) {
            return Err(RegistryError::InvalidResponse {
                repository: registry(),
                reason: "its API is on another host; log in to that one",
            });
        }
        let was_asked = authenticator.was_asked(&origin);
        // A password is nothing to leave with what is no registry. Who asks for it at this place is one.
        if let Some(reason) = why_no_registry(status, response.headers()).filter(|_| !was_asked) {
            return Err(RegistryError::InvalidResponse {
                repository: registry(),
                reason,
            });
        }
        if status.is_success() {
            return Ok(was_asked);
        }
        let reasons = crate::connection::reasons(response).await;
        Err(match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => RegistryError::LoginRefused {
                registry: registry(),
                reasons,
                source: None,
            },
            status => RegistryError::Status {
                repository: registry(),
                status,
                reasons,
            },
        })
    }
}

impl RegistryAuthenticator {
    /// A client that answers challenges as `identities`, over `http`'s settings.
    pub(crate) fn client(
        http: &peak_http::ClientBuilder,
        identities: Identities,
    ) -> Result<(peak_http::Client, Arc<Self>), RegistryError> {
        // Redirects are its own to judge: what it sends proves who we are.
        let tokens = http.clone().redirects(0).deadline(super::token::DEADLINE);
        let tokens = tokens.build().map_err(RegistryError::Setup)?;
        let authenticator = Arc::new(Self::new(identities, tokens));
        let client = http
            .clone()
            .authenticator(Arc::<Self>::clone(&authenticator))
            .build()
            .map_err(RegistryError::Setup)?;
        Ok((client, authenticator))
    }
}

/// The registry in what people give to `login`: Docker's key of its own registry is an URL.
fn registry_of(text: &str) -> &str {
    let host = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"))
        .unwrap_or(text);
    let host = host.strip_suffix('/').unwrap_or(host);
    host.strip_suffix("/v1")
        .or_else(|| host.strip_suffix("/v2"))
        .unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_of_a_url_is_its_host() {
        for (text, expected) in [
            ("docker.io", "docker.io"),
            ("https://index.docker.io/v1/", "index.docker.io"),
            ("https://reg.example:5000/", "reg.example:5000"),
            ("http://reg.example/v2/", "reg.example"),
            ("reg.example/team", "reg.example/team"),
        ] {
            assert_eq!(registry_of(text), expected);
        }
    }
}
