//! Who we are towards one registry.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

/// The user name with which credential helpers say that the secret is an identity token.
pub(crate) const TOKEN_USER: &str = "<token>";
/// The user name that Azure's registries expect beside a refresh token.
const AZURE_TOKEN_USER: &str = "00000000-0000-0000-0000-000000000000";

/// A user and their secret, or an identity token, for one registry. `Debug` shows the user name only.
#[derive(Clone)]
pub struct Credentials {
    user: String,
    secret: SecretString,
    is_identity_token: bool,
}

impl Credentials {
    /// A user name and a password or access token.
    ///
    /// The user names `<token>` and `00000000-0000-0000-0000-000000000000` (Azure) say that the secret is an
    /// identity token, as from [`identity_token`](Self::identity_token).
    pub fn new(user: impl Into<String>, secret: SecretString) -> Self {
        let user = user.into();
        Self {
            is_identity_token: user == TOKEN_USER || user == AZURE_TOKEN_USER,
            user,
            secret,
        }
    }

    /// An identity token (an OAuth2 refresh token), which the registry's token server exchanges for access tokens.
    pub fn identity_token(token: SecretString) -> Self {
        Self::new(TOKEN_USER, token)
    }

    /// An identity token that belongs to a user whose name is known.
    pub(crate) fn identity_token_of(user: &str, token: SecretString) -> Self {
        let user = if user.is_empty() { TOKEN_USER } else { user };
        Self {
            user: user.to_owned(),
            secret: token,
            is_identity_token: true,
        }
    }

    /// The user name; `<token>` for an identity token without one.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Whether the secret is an identity token, and no password.
    pub fn is_identity_token(&self) -> bool {
        self.is_identity_token
    }

    /// The password, access token or identity token, for handing it on to whoever speaks with the registry for us.
    pub fn secret(&self) -> &SecretString {
        &self.secret
    }

    /// Whether there is nothing to prove anything with: some tools leave such entries behind.
    pub(crate) fn is_empty(&self) -> bool {
        self.user.is_empty() || self.secret.expose_secret().is_empty()
    }

    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        self.user == other.user
            && self.is_identity_token == other.is_identity_token
            && self.secret.expose_secret() == other.secret.expose_secret()
    }

    /// `user:secret` in base64, as Basic authentication and Docker's files have it. `None` for a name with a colon,
    /// which would be read as another one.
    pub(crate) fn encoded(&self) -> Option<SecretString> {
        if self.user.contains(':') {
            return None;
        }
        let pair = SecretString::from(format!("{}:{}", self.user, self.secret.expose_secret()));
        Some(STANDARD.encode(pair.expose_secret().as_bytes()).into())
    }

    /// The value of a Basic `Authorization` header.
    pub(crate) fn basic(&self) -> Option<HeaderValue> {
        let encoded = self.encoded()?;
        let mut value =
            HeaderValue::from_str(&format!("Basic {}", encoded.expose_secret())).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Credentials")
            .field("user", &self.user)
            .field("is_identity_token", &self.is_identity_token)
            .finish_non_exhaustive()
    }
}

/// Credentials that came from somewhere at some time. Tokens that were got with them are kept by this, so that
/// nobody gets one that was got as somebody else.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) id: u64,
    pub(crate) credentials: Arc<Credentials>,
}

impl Identity {
    pub(crate) fn new(credentials: Credentials) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            credentials: Arc::new(credentials),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_holds_a_secret_shows_it() {
        let credentials = Credentials::new("robot", "hunter2".into());
        let basic = credentials.basic().unwrap();
        assert_eq!(basic, "Basic cm9ib3Q6aHVudGVyMg==");
        for shown in [
            format!("{credentials:?}"),
            format!("{:?}", Credentials::identity_token("hunter2".into())),
            format!("{:?}", Identity::new(credentials.clone())),
            format!("{basic:?}"),
            format!("{:?}", credentials.encoded()),
        ] {
            assert!(!shown.contains("hunter2"), "{shown}");
            assert!(!shown.contains("cm9ib3Q6"), "{shown}");
        }
    }

    #[test]
    fn some_user_names_mean_an_identity_token() {
        for user in [TOKEN_USER, AZURE_TOKEN_USER] {
            assert!(Credentials::new(user, "t".into()).is_identity_token());
        }
        assert!(!Credentials::new("robot", "t".into()).is_identity_token());
        let named = Credentials::identity_token_of("robot", "t".into());
        assert!(named.is_identity_token() && named.user() == "robot");
        assert_eq!(Credentials::identity_token("t".into()).user(), TOKEN_USER);
    }

    #[test]
    fn a_name_with_a_colon_is_not_sent() {
        assert!(Credentials::new("a:b", "c".into()).basic().is_none());
    }
}
