//! Who may do what with a registry: [`Auth`], the [`Users`] that there are, and the [`Rules`] for
//! them.
//!
//! Unless told otherwise, everyone who reaches the address may read, write and delete: listen on
//! loopback then. With [users](Users) from an htpasswd file and [rules](Rules) by the
//! beginnings of the repositories' names, who asks has to show a password, with each request
//! (Basic) or for tokens (Bearer), for which the router has the endpoint `/token`:
//!
//! ```no_run
//! use peak_registry_server::auth::{Auth, Rules, Users};
//! use peak_registry_server::{RouterOptions, Store, router_with};
//! # fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! let users = Users::from_file("users.htpasswd")?; // htpasswd -B -c users.htpasswd alice
//! let rules = Rules::from_file("rules.yaml")?;
//! let options = RouterOptions::new().auth(Auth::bearer(users, rules));
//! let router = router_with(Store::open("registry-data".as_ref())?, &options);
//! # Ok(())
//! # }
//! ```
//!
//! Both files are read again when they change. A request that is not allowed is answered 401 where
//! other credentials might help and 403 where they would not, and neither says whether the
//! repository exists; the catalog has what its reader may pull, and blobs are mounted from there
//! alone. Right passwords are remembered for five minutes, so that a push of hundreds of layers does
//! not hash as often; wrong ones are braked after twenty, but nobody whose password was right before
//! waits for that. Docker, skopeo and other clients log in as
//! they do elsewhere. Passwords need TLS beyond loopback.
//!
//! This says who asks and what they may do; `routes` says what each request needs.

mod actions;
mod challenge;
mod credentials;
mod file;
mod hash;
mod key;
mod permissions;
mod rules;
mod scope;
mod token;
mod users;
mod verifier;

use std::fmt;
use std::time::Duration;

use axum::http::request::Parts;

pub use actions::{Actions, ActionsError};
pub use challenge::PublicUrlError;
pub use file::{AuthFileError, AuthSyntaxError};
pub use rules::Rules;
pub use users::Users;

pub(crate) use challenge::{Problem, TOKEN_PATH, basic as basic_challenge};
pub(crate) use credentials::Presented;
pub(crate) use permissions::Permissions;
pub(crate) use scope::Access;
pub(crate) use token::Caller;

use challenge::Realm;
use key::HiddenSecret;
use token::Signer;
use verifier::Verdict;

/// What a registry calls itself towards its token endpoint.
pub(crate) const SERVICE: &str = "peak-registry";

/// How a registry finds out who asks, and what they may do.
///
/// ```
/// use peak_registry_server::RouterOptions;
/// use peak_registry_server::auth::{Auth, Rules, Users};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let users = Users::parse("alice:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a")?;
/// let rules = Rules::parse("
/// rules:
///   - repositories: team
///     users: alice
///     actions: [pull, push, delete]
///   - repositories: public
///     users: anonymous
///     actions: pull
/// ")?;
/// let options = RouterOptions::new().auth(Auth::bearer(users, rules));
/// # Ok(())
/// # }
/// ```
///
/// # What the kinds differ in
///
/// With Basic the password goes with each request. With Bearer it goes to the registry's own token
/// endpoint, `GET` or `POST /token`, which gives a token for what was asked for and is allowed, good
/// for a few minutes. Tokens are checked against the users and the rules as they are at the time,
/// so what is taken from somebody is gone at once; a token for an old password ends by itself.
///
/// Clients ask `/v2/` first whether they must say who they are, and some say it nowhere else. So
/// `/v2/` wants to know it always, as the catalog does, also where [rules](Rules) let everybody
/// pull. Where they do,
/// Bearer is the better kind: nobody is given a token, too, whereas Docker without a login does not
/// even try what a registry with Basic would allow.
///
/// Neither hides passwords on the way: beyond loopback there has to be TLS.
#[derive(Clone, Default)]
pub struct Auth(Option<Settings>);

#[derive(Clone)]
struct Settings {
    users: Users,
    rules: Rules,
    secret: Option<HiddenSecret>,
    basic: bool,
    bearer: Option<Bearer>,
}

#[derive(Clone)]
struct Bearer {
    signer: Signer,
    realm: Realm,
}

/// Why nobody can be said to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// A wrong password, a token that is none or has ended, or a scheme that is not used here.
    Credentials(Problem),
    /// Too many wrong passwords, or too many at once.
    Later,
}

impl Auth {
    /// No authentication: everybody may do everything. The default.
    pub fn none() -> Self {
        Self(None)
    }

    /// Passwords with each request (RFC 7617).
    pub fn basic(users: Users, rules: Rules) -> Self {
        Self::of(users, rules, true, false)
    }

    /// Tokens, from the registry's own token endpoint (Docker's token authentication).
    pub fn bearer(users: Users, rules: Rules) -> Self {
        Self::of(users, rules, false, true)
    }

    /// One secret, which is the password of every user, for everything. Clients may use it with
    /// each request or get tokens for it.
    ///
    /// Guessing is not slowed down as that of other passwords is: take a long random one.
    pub fn shared_secret(secret: &str) -> Self {
        Self::of(Users::none(), Rules::default(), true, true).with_shared_secret(secret)
    }

    fn of(users: Users, rules: Rules, basic: bool, bearer: bool) -> Self {
        Self(Some(Settings {
            users,
            rules,
            secret: None,
            basic,
            bearer: bearer.then(|| Bearer {
                signer: Signer::new(),
                realm: Realm::default(),
            }),
        }))
    }

    /// Beside the users: whoever gives this as the password of any user may do everything, as with
    /// [`shared_secret`](Self::shared_secret).
    #[must_use]
    pub fn with_shared_secret(mut self, secret: &str) -> Self {
        if let Some(settings) = &mut self.0 {
            settings.secret = Some(HiddenSecret::new(secret.as_bytes()));
        }
        self
    }

    /// With Bearer: whether passwords with each request are taken as well. Default: no.
    #[must_use]
    pub fn accept_basic(mut self, accept: bool) -> Self {
        if let Some(settings) = &mut self.0
            && settings.bearer.is_some()
        {
            settings.basic = accept;
        }
        self
    }

    /// With Bearer: how long a token lives, from a minute to a day. Default: five minutes.
    #[must_use]
    pub fn token_lifetime(mut self, lifetime: Duration) -> Self {
        if let Some(bearer) = self.bearer_mut() {
            bearer.signer.set_lifetime(lifetime);
        }
        self
    }

    /// With Bearer: whether clients reach the registry over TLS where its router cannot see it. They
    /// are sent to the token endpoint at the scheme that this says and the host that they asked.
    /// The servers of this workspace ([`RegistryServer`](crate::RegistryServer) among them) say it
    /// themselves; others, and proxies that add TLS, need it. Default: no.
    #[must_use]
    pub fn https(mut self, https: bool) -> Self {
        if let Some(bearer) = self.bearer_mut() {
            bearer.realm.set_https(https);
        }
        self
    }

    /// With Bearer: where clients reach the registry, as `https://registry.example`, for a registry
    /// behind a proxy that changes the host or adds TLS. What proxies say in headers is not
    /// believed.
    pub fn public_url(mut self, url: &str) -> Result<Self, PublicUrlError> {
        let realm = Realm::at(url)?;
        if let Some(bearer) = self.bearer_mut() {
            bearer.realm = realm;
        }
        Ok(self)
    }

    fn bearer_mut(&mut self) -> Option<&mut Bearer> {
        self.0.as_mut()?.bearer.as_mut()
    }

    /// Whether there is a token endpoint.
    pub(crate) fn has_tokens(&self) -> bool {
        self.0
            .as_ref()
            .is_some_and(|settings| settings.bearer.is_some())
    }

    /// What the sender of a request may do.
    pub(crate) async fn permissions(&self, presented: Presented) -> Result<Permissions, Refused> {
        let Some(settings) = &self.0 else {
            return Ok(Permissions::everything());
        };
        let (caller, granted) = match presented {
            Presented::Nothing => (Caller::Anonymous, None),
            Presented::Basic { user, password } if settings.basic => {
                (settings.sign_in(&user, &password).await?, None)
            }
            Presented::Bearer(token) => {
                let (caller, access) = settings.read(&token).await.ok_or(INVALID_TOKEN)?;
                (caller, Some(access))
            }
            Presented::Basic { .. } | Presented::Unknown => {
                return Err(Refused::Credentials(Problem::None));
            }
        };
        let rules = settings.rules.current().await;
        Ok(Permissions::new(caller, rules, granted))
    }

    /// What the sender of a request to the token endpoint may do at all, which is what tokens are
    /// made of.
    pub(crate) async fn sign_in(&self, presented: Presented) -> Result<Permissions, Refused> {
        let Some(settings) = &self.0 else {
            return Ok(Permissions::everything());
        };
        let caller = match presented {
            Presented::Nothing => Caller::Anonymous,
            Presented::Basic { user, password } => settings.sign_in(&user, &password).await?,
            Presented::Bearer(_) | Presented::Unknown => {
                return Err(Refused::Credentials(Problem::None));
            }
        };
        let rules = settings.rules.current().await;
        if caller == Caller::Anonymous && !rules.allows_anonymous(Actions::ALL) {
            return Err(Refused::Credentials(Problem::None));
        }
        Ok(Permissions::new(caller, rules, None))
    }

    /// A token for what of `asked` is allowed, and for how long it is good.
    pub(crate) fn issue(
        &self,
        permissions: &Permissions,
        asked: Access,
    ) -> Option<(serde_json::Result<String>, Duration)> {
        let signer = &self.0.as_ref()?.bearer.as_ref()?.signer;
        let caller = permissions.caller().clone();
        let token = signer.issue(caller, permissions.limit(asked));
        Some((token, signer.lifetime()))
    }

    /// The values of `WWW-Authenticate` for an answer to this request.
    pub(crate) fn challenges(
        &self,
        request: &Parts,
        scope: Option<&str>,
        problem: Problem,
    ) -> Vec<String> {
        let Some(settings) = &self.0 else {
            return Vec::new();
        };
        // The cheaper one first, as many clients take the first that they know.
        let basic = settings.basic.then(challenge::basic);
        let bearer = settings
            .bearer
            .as_ref()
            .map(|bearer| challenge::bearer(&bearer.realm.of(request), scope, problem));
        basic.into_iter().chain(bearer).collect()
    }
}

const INVALID_TOKEN: Refused = Refused::Credentials(Problem::InvalidToken);

impl Settings {
    async fn sign_in(&self, user: &str, password: &[u8]) -> Result<Caller, Refused> {
        if self
            .secret
            .as_ref()
            .is_some_and(|secret| secret.is(password))
        {
            return Ok(Caller::Trusted);
        }
        match self.users.verify(user, password).await {
            Verdict::Right(user) => Ok(Caller::User(user.as_ref().to_owned())),
            Verdict::Wrong => Err(Refused::Credentials(Problem::None)),
            Verdict::Later => Err(Refused::Later),
        }
    }

    /// For whom and what a token is, unless its user is gone.
    async fn read(&self, token: &str) -> Option<(Caller, Access)> {
        let (caller, access) = self.bearer.as_ref()?.signer.read(token)?;
        if let Caller::User(name) = &caller {
            self.users.find(name).await?;
        }
        Some((caller, access))
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(settings) = &self.0 else {
            return formatter.write_str("Auth(none)");
        };
        formatter
            .debug_struct("Auth")
            .field("users", &settings.users)
            .field("rules", &settings.rules)
            .field("basic", &settings.basic)
            .field("bearer", &settings.bearer.is_some())
            .finish_non_exhaustive()
    }
}
