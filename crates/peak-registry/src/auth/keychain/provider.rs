//! Credentials that a program gets in a way of its own.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use peak_http::{BoxError, BoxFuture};

use super::SourceOutcome;
use super::place::{Found, with_causes};
use crate::auth::credentials::{Credentials, Identity};

/// Gives credentials for registries that a program gets in a way of its own: from a vault, from the service of a cloud,
/// from its own configuration. Given to [`KeychainBuilder::provider`](super::KeychainBuilder::provider).
///
/// ```
/// use peak_http::{BoxError, BoxFuture};
/// use peak_registry::{CredentialProvider, Credentials, Keychain};
///
/// struct Vault;
///
/// impl CredentialProvider for Vault {
///     fn credentials<'a>(
///         &'a self,
///         registry: &'a str,
///     ) -> BoxFuture<'a, Result<Option<Credentials>, BoxError>> {
///         Box::pin(async move {
///             if registry != "registry.example:5000" {
///                 return Ok(None);
///             }
///             // … ask the vault …
///             Ok(Some(Credentials::new("robot", "secret".into())))
///         })
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let keychain = Keychain::builder().provider("the vault", Vault).build();
/// let found = keychain.credentials("registry.example:5000", None).await;
/// assert_eq!(found.unwrap().user(), "robot");
/// # }
/// ```
pub trait CredentialProvider: Send + Sync + 'static {
    /// The credentials for a registry, by its one name (`docker.io`, `registry.example:5000`); `None` where it has none,
    /// and the next source is asked.
    ///
    /// It is asked once for each registry, when a request needs it, and again when the registry refuses what it gave. It
    /// has as long as [a helper](super::KeychainBuilder::helper_timeout). An error is logged and told by
    /// [`Keychain::explain`](super::Keychain::explain), and the next source is asked: it must not show a secret.
    fn credentials<'a>(
        &'a self,
        registry: &'a str,
    ) -> BoxFuture<'a, Result<Option<Credentials>, BoxError>>;
}

/// A provider, and what it is called.
#[derive(Clone)]
pub(super) struct Provider {
    name: String,
    provider: Arc<dyn CredentialProvider>,
}

impl Provider {
    pub(super) fn new(name: String, provider: impl CredentialProvider) -> Self {
        Self {
            name,
            provider: Arc::new(provider),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) async fn ask(&self, registry: &str, limit: Duration) -> Found {
        let place = self.name.as_str();
        let reason = match tokio::time::timeout(limit, self.provider.credentials(registry)).await {
            Ok(Ok(None)) => return Found::Nothing(SourceOutcome::NoEntry),
            Ok(Ok(Some(credentials))) => {
                let identity = (!credentials.is_empty()).then(|| Identity::new(credentials));
                return Found::Entries(vec![(String::new(), identity)]);
            }
            Ok(Err(error)) => with_causes(error.as_ref()),
            Err(_) => format!("it did not answer within {} seconds", limit.as_secs()),
        };
        tracing::warn!(
            place,
            error = reason,
            "a source of credentials is passed over"
        );
        Found::Nothing(SourceOutcome::Failed { reason })
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::Keychain;

    /// Has another password each time it is asked for `new.example`, and troubles of several kinds.
    #[derive(Default)]
    struct Vault(AtomicU32);

    impl CredentialProvider for Vault {
        fn credentials<'a>(
            &'a self,
            registry: &'a str,
        ) -> BoxFuture<'a, Result<Option<Credentials>, BoxError>> {
            Box::pin(async move {
                let asked = self.0.fetch_add(1, Ordering::Relaxed);
                match registry {
                    "new.example" => {
                        let password = format!("password {asked}");
                        Ok(Some(Credentials::new("robot", password.into())))
                    }
                    "empty.example" => Ok(Some(Credentials::new("robot", String::new().into()))),
                    "sealed.example" => Err("the vault is sealed".into()),
                    "slow.example" => std::future::pending().await,
                    _ => Ok(None),
                }
            })
        }
    }

    fn keychain() -> Keychain {
        let config = r#"{"auths":{
            "new.example":{"username":"file","password":"p"},
            "empty.example":{"username":"file","password":"p"},
            "other.example":{"username":"file","password":"p"},
            "sealed.example":{"username":"file","password":"p"},
            "slow.example":{"username":"file","password":"p"}
        }}"#;
        Keychain::builder()
            .inline(config.into())
            .provider("the vault", Vault::default())
            .helper_timeout(Duration::from_millis(20))
            .build()
    }

    #[tokio::test]
    async fn a_provider_comes_before_all_files_and_they_come_where_it_has_nothing() {
        let keychain = keychain();
        for (registry, user, outcome) in [
            ("new.example", "robot", "the vault answers as robot"),
            (
                "empty.example",
                "file",
                "the vault has an entry without a secret",
            ),
            (
                "other.example",
                "file",
                "the vault has no entry for this registry",
            ),
            (
                "sealed.example",
                "file",
                "the vault cannot be asked: the vault is sealed",
            ),
            (
                "slow.example",
                "file",
                "the vault cannot be asked: it did not answer within 0 seconds",
            ),
        ] {
            let found = keychain.credentials(registry, Some("team/app")).await;
            assert_eq!(found.unwrap().user(), user, "{registry}");
            let explanation = keychain.explain(registry, None).await.to_string();
            assert!(explanation.contains(outcome), "{explanation}");
        }
        let shown = format!(
            "{keychain:?} {:?}",
            Keychain::builder().provider("v", Vault::default())
        );
        assert!(
            shown.contains("the vault") && !shown.contains("password"),
            "{shown}"
        );
    }

    #[tokio::test]
    async fn what_is_refused_is_asked_for_again_and_what_is_taken_is_not() {
        let keychain = keychain();
        let first = keychain.identity("new.example", None).await.unwrap();
        let again = keychain.identity("new.example", Some("a/b")).await.unwrap();
        assert_eq!(first.id, again.id);
        let renewed = keychain
            .renewed("new.example", None, first.id)
            .await
            .unwrap();
        assert!(!renewed.credentials.is_same_as(&first.credentials));
    }
}
