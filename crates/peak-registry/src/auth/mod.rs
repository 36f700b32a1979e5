//! Proves to a registry who asks: Basic, or a Bearer token from the token server that the registry names.
//!
//! Nothing is sent before a registry asks for it. What it then accepted is kept per registry and scope, so that the
//! next request carries it from the start.

mod challenge;
mod token;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use http::{request, response};
use peak_http::{Authenticator, BoxFuture, ErrorKind, Origin};
use peak_oci::RepositoryName;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use self::challenge::Challenge;

/// A user and their secret, for one registry.
#[derive(Clone, Debug)]
pub struct Credentials {
    user: String,
    secret: SecretString,
}

impl Credentials {
    /// A user name and a password or access token.
    pub fn new(user: impl Into<String>, secret: SecretString) -> Self {
        Self {
            user: user.into(),
            secret,
        }
    }

    /// The user name.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The value of a Basic `Authorization` header.
    fn basic(&self) -> Option<HeaderValue> {
        let pair = SecretString::from(format!("{}:{}", self.user, self.secret.expose_secret()));
        let mut value = HeaderValue::from_str(&format!(
            "Basic {}",
            STANDARD.encode(pair.expose_secret().as_bytes())
        ))
        .ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

/// What a request wants to do; travels with it as an extension.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Scope(String);

impl Scope {
    pub(crate) fn pull(repository: &RepositoryName) -> Self {
        Self(format!("repository:{repository}:pull"))
    }

    pub(crate) fn push(repository: &RepositoryName) -> Self {
        Self(format!("repository:{repository}:pull,push"))
    }

    /// Everything: `delete` alone makes Quay refuse the token, and without it distribution refuses to delete.
    pub(crate) fn delete(repository: &RepositoryName) -> Self {
        Self(format!("repository:{repository}:*"))
    }

    pub(crate) fn catalog() -> Self {
        Self("registry:catalog:*".to_owned())
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What a registry accepted for a scope.
#[derive(Clone)]
struct Grant {
    header: HeaderValue,
    expires: Option<Instant>,
}

impl Grant {
    fn is_valid(&self) -> bool {
        self.expires.is_none_or(|expires| Instant::now() < expires)
    }
}

/// Holds at most one grant; whoever renews it holds the lock, so that others wait for the one fetch.
type Slot = Arc<tokio::sync::Mutex<Option<Grant>>>;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    origin: Origin,
    scope: Option<Scope>,
}

/// Answers the challenges of registries.
pub(crate) struct RegistryAuthenticator {
    /// By origin: they never go anywhere else, but to the token server that this origin names.
    credentials: BTreeMap<Origin, Credentials>,
    /// Without an authenticator of its own, and without following anybody to another host with credentials.
    client: peak_http::Client,
    slots: Mutex<HashMap<Key, Slot>>,
}

impl RegistryAuthenticator {
    pub(crate) fn new(
        credentials: BTreeMap<Origin, Credentials>,
        client: peak_http::Client,
    ) -> Self {
        Self {
            credentials,
            client,
            slots: Mutex::default(),
        }
    }

    fn slot(&self, key: Key) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slots.entry(key).or_default())
    }

    async fn grant(
        &self,
        registry: &Url,
        scope: Option<&Scope>,
        headers: &HeaderMap,
    ) -> Result<Option<Grant>, token::TokenError> {
        let challenges: Vec<Challenge> = headers
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(challenge::parse)
            .collect();
        let of_scheme = |scheme: &str| challenges.iter().find(|one| one.scheme == scheme);
        let credentials = Origin::of(registry).and_then(|origin| self.credentials.get(&origin));
        if let Some(bearer) = of_scheme("bearer") {
            let request = token::Request::new(registry, bearer, scope)?;
            let token = request.send(&self.client, credentials).await?;
            return Ok(Some(Grant {
                header: token.header,
                expires: Some(token.expires),
            }));
        }
        if of_scheme("basic").is_some() {
            return Ok(credentials
                .and_then(Credentials::basic)
                .map(|header| Grant {
                    header,
                    expires: None,
                }));
        }
        Ok(None)
    }
}

/// The URL of a request, and the key under which its grant is kept.
fn key_of(parts: &request::Parts) -> Option<(Url, Key)> {
    let url = Url::parse(&parts.uri.to_string()).ok()?;
    let key = Key {
        origin: Origin::of(&url)?,
        scope: parts.extensions.get::<Scope>().cloned(),
    };
    Some((url, key))
}

impl Authenticator for RegistryAuthenticator {
    fn authorize<'a>(
        &'a self,
        parts: &'a mut request::Parts,
    ) -> BoxFuture<'a, Result<(), peak_http::Error>> {
        Box::pin(async move {
            let Some((_, key)) = key_of(parts) else {
                return Ok(());
            };
            let slot = self.slot(key);
            let held = slot.lock().await;
            if let Some(grant) = held.as_ref().filter(|grant| grant.is_valid()) {
                parts.headers.insert(AUTHORIZATION, grant.header.clone());
            }
            Ok(())
        })
    }

    fn challenged<'a>(
        &'a self,
        request: &'a request::Parts,
        response: &'a response::Parts,
    ) -> BoxFuture<'a, Result<bool, peak_http::Error>> {
        Box::pin(async move {
            let Some((url, key)) = key_of(request) else {
                return Ok(false);
            };
            let scope = key.scope.clone();
            let slot = self.slot(key);
            let mut held = slot.lock().await;
            let refused = request.headers.get(AUTHORIZATION);
            if held
                .as_ref()
                .is_some_and(|grant| grant.is_valid() && Some(&grant.header) != refused)
            {
                // Somebody else has renewed it while this request was under way.
                return Ok(true);
            }
            *held = None;
            match self.grant(&url, scope.as_ref(), &response.headers).await {
                // The same once more would be refused once more.
                Ok(Some(grant)) if Some(&grant.header) == refused => Ok(false),
                Ok(Some(grant)) => {
                    *held = Some(grant);
                    Ok(true)
                }
                Ok(None) => Ok(false),
                // Not reached is not refused.
                Err(token::TokenError::Transport { source, .. }) => Err(source),
                Err(error) => Err(peak_http::Error::new(
                    ErrorKind::Authentication,
                    "no token for the registry could be had",
                )
                .with_source(error)),
            }
        })
    }
}
