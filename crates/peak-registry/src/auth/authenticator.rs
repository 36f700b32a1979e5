//! Answers the challenges of registries, and puts on requests what they have accepted before.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use http::{Method, StatusCode, request, response};
use peak_http::{
    Authenticator, Beginning, Body, BoxFuture, ChallengedBefore, ErrorKind, Operation, Origin,
};
use url::Url;

use super::challenge::{self, Challenge};
use super::credentials::Identity;
use super::grants::{Grants, Key};
use super::identities::Identities;
use super::scope::Scope;
use super::token::{Token, TokenError, TokenServer};

/// How a registry wants it proved who asks.
#[derive(Clone, Debug)]
enum Way {
    Basic,
    Bearer(TokenServer),
}

/// Answers the challenges of registries.
pub(crate) struct RegistryAuthenticator {
    identities: Identities,
    /// Without an authenticator of its own, and following nobody anywhere by itself.
    client: peak_http::Client,
    /// What each registry last asked for.
    ways: Mutex<HashMap<Origin, Way>>,
    grants: Grants,
}

/// A request as far as it matters here.
struct Asked {
    url: Url,
    origin: Origin,
    scope: Scope,
}

impl Asked {
    fn of(parts: &request::Parts) -> Option<Self> {
        let url = Url::parse(&parts.uri.to_string()).ok()?;
        Some(Self {
            origin: Origin::of(&url)?,
            scope: Scope::of(parts),
            url,
        })
    }
}

impl RegistryAuthenticator {
    pub(crate) fn new(identities: Identities, client: peak_http::Client) -> Self {
        Self {
            identities,
            client,
            ways: Mutex::default(),
            grants: Grants::default(),
        }
    }

    fn way(&self, origin: &Origin) -> Option<Way> {
        let ways = self.ways.lock().unwrap_or_else(PoisonError::into_inner);
        ways.get(origin).cloned()
    }

    pub(crate) fn identities(&self) -> &Identities {
        &self.identities
    }

    /// Whether a registry has asked who we are.
    pub(crate) fn was_asked(&self, origin: &Origin) -> bool {
        self.way(origin).is_some()
    }

    fn remember(&self, origin: &Origin, way: &Way) {
        let mut ways = self.ways.lock().unwrap_or_else(PoisonError::into_inner);
        ways.insert(origin.clone(), way.clone());
    }

    fn key(asked: &Asked, server: &TokenServer, identity: Option<&Identity>) -> Key {
        Key {
            registry: asked.origin.clone(),
            service: server.service().map(str::to_owned),
            scope: asked.scope.key(),
            identity: identity.map(|identity| identity.id),
        }
    }

    async fn fetch(
        &self,
        server: &TokenServer,
        scope: &Scope,
        identity: Option<&Identity>,
    ) -> Result<Token, TokenError> {
        let credentials = identity.map(|identity| &*identity.credentials);
        server.token(&self.client, scope, credentials).await
    }

    /// For how long a token is good that a challenge asks for, as its server says it. The token is kept by nobody.
    pub(crate) async fn lifetime_of_token(
        &self,
        url: &Url,
        challenge: &Challenge,
        scope: &Scope,
    ) -> Result<Option<Duration>, peak_http::Error> {
        let is_protected = self.identities.is_protected(url);
        let server = TokenServer::named_by(url, is_protected, challenge).map_err(failed)?;
        let identity = self.identities.find(url, scope.repository()).await;
        let token = self.fetch(&server, scope, identity.as_ref()).await;
        Ok(token.map_err(failed)?.said_life)
    }

    /// The credential for a request, as far as the registry has said what it wants.
    async fn credential(&self, asked: &Asked) -> Option<HeaderValue> {
        let way = self.way(&asked.origin)?;
        let identity = self
            .identities
            .find(&asked.url, asked.scope.repository())
            .await;
        match way {
            Way::Basic => identity?.credentials.basic(),
            Way::Bearer(server) => {
                let grant = self
                    .grants
                    .get(Self::key(asked, &server, identity.as_ref()));
                let fetch =
                    async |scope: Scope| self.fetch(&server, &scope, identity.as_ref()).await;
                match grant.token(&asked.scope, fetch).await {
                    Ok(header) => Some(header),
                    Err(error) => {
                        // The registry may let it pass; else its challenge brings the error up again.
                        tracing::debug!(%error, "a request goes without a token");
                        None
                    }
                }
            }
        }
    }

    /// What the registry wants, from its challenge; from the API's root where a refusal names none.
    async fn wanted(
        &self,
        asked: &Asked,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Result<Option<(Way, Scope)>, TokenError> {
        let way_of = |challenge: &Challenge| match challenge.scheme.as_str() {
            "bearer" => {
                let is_protected = self.identities.is_protected(&asked.url);
                TokenServer::named_by(&asked.url, is_protected, challenge).map(Way::Bearer)
            }
            _ => Ok(Way::Basic),
        };
        if let Some(challenge) = challenge::choose(headers) {
            let scope = challenge
                .parameter("scope")
                .map(Scope::parse)
                .unwrap_or_default();
            let way = way_of(&challenge)?;
            self.remember(&asked.origin, &way);
            return Ok(Some((way, scope)));
        }
        if let Some(way) = self.way(&asked.origin) {
            return Ok(Some((way, Scope::default())));
        }
        if status != StatusCode::UNAUTHORIZED || asked.url.path() == "/v2/" {
            return Ok(None);
        }
        let Some(challenge) = self.challenge_of_root(&asked.url).await? else {
            return Ok(None);
        };
        let way = way_of(&challenge)?;
        self.remember(&asked.origin, &way);
        Ok(Some((way, Scope::default())))
    }

    async fn challenge_of_root(&self, url: &Url) -> Result<Option<Challenge>, TokenError> {
        let Ok(root) = url.join("/v2/") else {
            return Ok(None);
        };
        let request = http::Request::builder()
            .method(Method::GET)
            .uri(root.as_str())
            .extension(Operation("get_registry_challenge"))
            .body(Body::empty());
        let Ok(request) = request else {
            return Ok(None);
        };
        let response = self
            .client
            .send(request)
            .await
            .map_err(|source| TokenError::Transport {
                realm: super::realm::shown(&root),
                source,
            })?;
        Ok(challenge::choose(response.headers())
            .filter(|_| response.status() == StatusCode::UNAUTHORIZED))
    }

    /// Whether an answer other than 401 is about a credential that has run out.
    async fn has_run_out(&self, request: &request::Parts, response: &response::Parts) -> bool {
        if let Some(Beginning(body)) = response.extensions.get()
            && String::from_utf8_lossy(body)
                .to_ascii_lowercase()
                .contains("expired")
        {
            return true;
        }
        let reads = matches!(request.method, Method::GET | Method::HEAD);
        let Some(asked) = Asked::of(request).filter(|_| reads) else {
            return false;
        };
        match self.way(&asked.origin) {
            // The answer to HEAD cannot say why. What is looked up in vain is not looked up again for a while.
            Some(Way::Basic) => request.method == Method::HEAD,
            // A token that was good before and is none now, for a request that cannot be wrong otherwise.
            Some(Way::Bearer(server)) if response.status == StatusCode::BAD_REQUEST => {
                let repository = asked.scope.repository();
                let identity = self.identities.find(&asked.url, repository).await;
                let key = Self::key(&asked, &server, identity.as_ref());
                self.grants.get(key).has_served()
            }
            _ => false,
        }
    }

    /// Whether there is now another credential than the one that was refused.
    async fn answer(
        &self,
        request: &request::Parts,
        response: &response::Parts,
    ) -> Result<bool, TokenError> {
        let Some(asked) = Asked::of(request) else {
            return Ok(false);
        };
        let Some((way, challenge)) = self
            .wanted(&asked, response.status, &response.headers)
            .await?
        else {
            return Ok(false);
        };
        let repository = asked.scope.repository();
        let identity = self.identities.find(&asked.url, repository).await;
        let refused = request.headers.get(AUTHORIZATION);
        match way {
            Way::Basic => {
                let Some(identity) = identity else {
                    return Ok(false);
                };
                let header = identity.credentials.basic();
                if header.is_none() {
                    return Err(TokenError::UserName);
                }
                if header.as_ref() != refused {
                    return Ok(true);
                }
                let renewed = self.identities.renewed(&asked.url, repository, &identity);
                Ok(renewed.await.is_some())
            }
            Way::Bearer(server) => {
                let only_for_more = request.extensions.get::<ChallengedBefore>().is_some();
                let renew = async |identity: Option<&Identity>| {
                    let fetch = async |scope: Scope| self.fetch(&server, &scope, identity).await;
                    self.grants
                        .get(Self::key(&asked, &server, identity))
                        .renew(refused, &asked.scope, &challenge, only_for_more, fetch)
                        .await
                };
                match (renew(identity.as_ref()).await, &identity) {
                    (Err(error), Some(identity)) if error.is_refusal() => {
                        let other = self.identities.renewed(&asked.url, repository, identity);
                        match other.await {
                            Some(other) => renew(Some(&other)).await,
                            None => Err(error),
                        }
                    }
                    (result, _) => result,
                }
            }
        }
    }
}

/// The error that a request ends with.
fn failed(error: TokenError) -> peak_http::Error {
    match error {
        // Not reached is not refused.
        TokenError::Transport { source, .. } if source.kind() != ErrorKind::TooLarge => source,
        error => peak_http::Error::new(
            ErrorKind::Authentication,
            "no token for the registry could be had",
        )
        .with_source(error),
    }
}

impl Authenticator for RegistryAuthenticator {
    fn authorize<'a>(
        &'a self,
        parts: &'a mut request::Parts,
    ) -> BoxFuture<'a, Result<(), peak_http::Error>> {
        Box::pin(async move {
            if let Some(asked) = Asked::of(parts)
                && let Some(header) = self.credential(&asked).await
            {
                parts.headers.insert(AUTHORIZATION, header);
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
            if response.status == StatusCode::UNAUTHORIZED {
                return self.answer(request, response).await.map_err(failed);
            }
            if !self.has_run_out(request, response).await {
                return Ok(false);
            }
            // It was a guess; where it leads nowhere, the answer stands.
            Ok(self.answer(request, response).await.unwrap_or_else(|error| {
                tracing::debug!(%error, "a credential that may have run out could not be renewed");
                false
            }))
        })
    }

    /// ECR says 403, and ECR Public 400, where a credential has run out.
    fn may_be_refusal(&self, request: &request::Parts, response: &response::Parts) -> bool {
        let Some(sent) = request.headers.get(AUTHORIZATION) else {
            return false;
        };
        match response.status {
            StatusCode::FORBIDDEN => true,
            StatusCode::BAD_REQUEST => sent.as_bytes().starts_with(b"Bearer "),
            _ => false,
        }
    }

    fn challenged_elsewhere<'a>(
        &'a self,
        url: &'a Url,
        response: &'a response::Parts,
    ) -> BoxFuture<'a, Result<Option<HeaderValue>, peak_http::Error>> {
        Box::pin(async move {
            let challenge =
                challenge::choose(&response.headers).filter(|one| one.scheme == "bearer");
            let Some(challenge) = challenge else {
                return Ok(None);
            };
            let scope = challenge
                .parameter("scope")
                .map(Scope::parse)
                .unwrap_or_default();
            // As nobody, and kept for nobody: that server is none that was asked for.
            let is_protected = self.identities.is_protected(url);
            let token = match TokenServer::named_by(url, is_protected, &challenge) {
                Ok(server) => self.fetch(&server, &scope, None).await,
                Err(error) => Err(error),
            };
            match token {
                Ok(token) => Ok(Some(token.header)),
                Err(error) => {
                    tracing::debug!(%error, "no token for a server that we were redirected to");
                    Ok(None)
                }
            }
        })
    }
}
