//! Tokens that need no memory: what they grant stands in them, signed.
//!
//! Time in them is counted from when the key was made, so a clock that is set anew makes no token
//! live longer or shorter. The key is never stored: a restart ends all tokens, and clients get new
//! ones by themselves.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::auth::SERVICE;
use crate::auth::key::Key;
use crate::auth::scope::Access;

/// What a token lives where nothing else is said.
pub(crate) const DEFAULT_LIFETIME: Duration = Duration::from_secs(5 * 60);
/// The specification lets clients count on a minute.
const SHORTEST_LIFETIME: Duration = Duration::from_secs(60);
const LONGEST_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// For how long after its end a token is still taken: for what was sent before.
const GRACE: Duration = Duration::from_secs(10);
/// The longest token that is looked at, in bytes.
const MAX_TOKEN: usize = 32 * 1024;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Caller {
    /// Anybody.
    Anonymous,
    User(String),
    /// Somebody who knows the shared secret, or anybody where there is no authentication.
    Trusted,
}

impl Caller {
    /// The user's name, of who has one.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::User(name) => Some(name),
            Self::Anonymous | Self::Trusted => None,
        }
    }
}

/// What stands in a token.
#[derive(Serialize, Deserialize)]
struct Claims {
    sub: Caller,
    aud: String,
    /// Seconds since the key was made.
    exp: u64,
    access: Access,
}

/// Makes tokens, and knows them again.
#[derive(Debug, Clone)]
pub(crate) struct Signer {
    key: Key,
    made: Instant,
    lifetime: Duration,
}

impl Signer {
    pub(crate) fn new() -> Self {
        Self {
            key: Key::random(),
            made: Instant::now(),
            lifetime: DEFAULT_LIFETIME,
        }
    }

    pub(crate) fn set_lifetime(&mut self, lifetime: Duration) {
        self.lifetime = lifetime.clamp(SHORTEST_LIFETIME, LONGEST_LIFETIME);
    }

    pub(crate) fn lifetime(&self) -> Duration {
        self.lifetime
    }

    pub(crate) fn issue(&self, caller: Caller, access: Access) -> serde_json::Result<String> {
        let claims = serde_json::to_vec(&Claims {
            sub: caller,
            aud: SERVICE.to_owned(),
            exp: (self.made.elapsed() + self.lifetime).as_secs(),
            access,
        })?;
        let tag = self.key.tag(&[&claims]);
        let (claims, tag) = (URL_SAFE_NO_PAD.encode(claims), URL_SAFE_NO_PAD.encode(tag));
        Ok(format!("{claims}.{tag}"))
    }

    /// For whom and what a token is, while it lives.
    pub(crate) fn read(&self, token: &str) -> Option<(Caller, Access)> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        let (claims, tag) = token.split_once('.')?;
        let claims = URL_SAFE_NO_PAD.decode(claims).ok()?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        if !self.key.verifies(&[&claims], &tag) {
            return None;
        }
        let claims: Claims = serde_json::from_slice(&claims).ok()?;
        let end = Duration::from_secs(claims.exp) + GRACE;
        (claims.aud == SERVICE && self.made.elapsed() < end).then_some((claims.sub, claims.access))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn access() -> Access {
        Access::parse(["repository:team/app:pull,push", "registry:catalog:*"])
    }

    fn alice() -> Caller {
        Caller::User("alice".into())
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_says_what_it_was_made_for_until_it_ends() {
        let mut signer = Signer::new();
        tokio::time::advance(Duration::from_secs(1000)).await;
        for caller in [alice(), Caller::Anonymous, Caller::Trusted] {
            let token = signer.issue(caller.clone(), access()).unwrap();
            assert_eq!(signer.read(&token), Some((caller, access())));
        }
        let token = signer.issue(alice(), access()).unwrap();
        tokio::time::advance(DEFAULT_LIFETIME + Duration::from_secs(9)).await;
        assert!(signer.read(&token).is_some());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(signer.read(&token), None);
        signer.set_lifetime(Duration::ZERO);
        assert_eq!(signer.lifetime(), Duration::from_secs(60));
        signer.set_lifetime(Duration::MAX);
        assert_eq!(signer.lifetime(), Duration::from_secs(24 * 60 * 60));
    }

    #[test]
    fn a_token_of_another_key_or_with_other_claims_is_none() {
        let signer = Signer::new();
        let token = signer.issue(alice(), access()).unwrap();
        assert_eq!(Signer::new().read(&token), None);
        let (claims, tag) = token.split_once('.').unwrap();
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
        assert!(text.contains("alice"));
        let forged = URL_SAFE_NO_PAD.encode(text.replace("alice", "carol"));
        for wrong in [
            format!("{forged}.{tag}"),
            format!("{claims}."),
            format!("{claims}.{}", &tag[..42]),
            claims.to_owned(),
            format!("{token}.{tag}"),
            format!("{token}="),
            String::new(),
            "a".repeat(MAX_TOKEN + 1),
        ] {
            assert_eq!(signer.read(&wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_other_text_is_a_token(position in 0_usize..200, letter in "[A-Za-z0-9_-]") {
            let signer = Signer::new();
            let mut token = signer.issue(alice(), access()).unwrap();
            let position = position % token.len();
            let old = token.get(position..=position).unwrap().to_owned();
            token.replace_range(position..=position, &letter);
            prop_assert_eq!(signer.read(&token).is_some(), old == letter);
        }

        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,60}") {
            prop_assert_eq!(Signer::new().read(&text), None);
        }
    }
}
