//! Whose credentials a request to a registry may carry: those that the caller gave, then those at rest.

use std::collections::{BTreeMap, BTreeSet};

use peak_http::Origin;
use peak_http::address::is_loopback;
use url::Url;

use super::credentials::Identity;
use super::keychain::Keychain;
use crate::host::canonical_name;

/// All credentials that a client has or can look up, each bound to the origin of its registry.
#[derive(Debug, Default)]
pub(crate) struct Identities {
    caller: BTreeMap<Origin, Identity>,
    keychain: Option<Keychain>,
    /// Registries that may see credentials over plain HTTP, and over TLS with a certificate that nobody verifies.
    insecure: BTreeSet<Origin>,
}

impl Identities {
    pub(crate) fn new(
        caller: BTreeMap<Origin, Identity>,
        keychain: Option<Keychain>,
        insecure: BTreeSet<Origin>,
    ) -> Self {
        Self {
            caller,
            keychain,
            insecure,
        }
    }

    pub(crate) fn caller(&self, origin: &Origin) -> Option<&Identity> {
        self.caller.get(origin)
    }

    pub(crate) fn keychain(&self) -> Option<&Keychain> {
        self.keychain.as_ref()
    }

    /// Who we are towards the registry at `url`, for one of its repositories.
    pub(super) async fn find(&self, url: &Url, repository: Option<&str>) -> Option<Identity> {
        let origin = self.permitted(url)?;
        if let Some(identity) = self.caller.get(&origin) {
            return Some(identity.clone());
        }
        let keychain = self.keychain.as_ref()?;
        keychain.identity(&name_of(url)?, repository).await
    }

    /// Other credentials in the place of refused ones, where there are any: a helper's may have run out.
    pub(super) async fn renewed(
        &self,
        url: &Url,
        repository: Option<&str>,
        refused: &Identity,
    ) -> Option<Identity> {
        let origin = self.permitted(url)?;
        if self.caller.contains_key(&origin) {
            return None;
        }
        let keychain = self.keychain.as_ref()?;
        keychain
            .renewed(&name_of(url)?, repository, refused.id)
            .await
    }

    /// Whether what the server at `url` says is known to come from it, and from nobody on the way.
    pub(super) fn is_protected(&self, url: &Url) -> bool {
        let is_verified = |origin| !self.insecure.contains(&origin);
        url.scheme() == "https" && Origin::of(url).is_some_and(is_verified)
    }

    /// The origin, if credentials may be sent to it at all.
    fn permitted(&self, url: &Url) -> Option<Origin> {
        let origin = Origin::of(url)?;
        let protected =
            url.scheme() == "https" || is_loopback(url) || self.insecure.contains(&origin);
        protected.then_some(origin)
    }
}

/// The registry that answers at `url`, by its one name.
fn name_of(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    Some(canonical_name(&match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn keychain() -> Keychain {
        let config = r#"{"auths":{
            "reg.example":{"username":"host","password":"p"},
            "reg.example/team":{"username":"team","password":"p"},
            "10.0.0.1:5000":{"username":"plain","password":"p"},
            "127.0.0.1:5000":{"username":"local","password":"p"},
            "https://index.docker.io/v1/":{"username":"hub","password":"p"}
        }}"#;
        Keychain::builder().inline(config.into()).build()
    }

    #[tokio::test]
    async fn each_registry_gets_its_own_and_only_where_it_is_protected() {
        let insecure = BTreeSet::from([Origin::of(&url("http://10.0.0.1:5000")).unwrap()]);
        let identities = Identities::new(BTreeMap::new(), Some(keychain()), insecure);
        for (at, repository, expected) in [
            ("https://reg.example/v2/", None, Some("host")),
            (
                "https://reg.example:443/v2/",
                Some("team/app"),
                Some("team"),
            ),
            ("https://reg.example/v2/", Some("teams/app"), Some("host")),
            ("https://registry-1.docker.io/v2/", Some("a/b"), Some("hub")),
            ("http://10.0.0.1:5000/v2/", None, Some("plain")),
            ("http://127.0.0.1:5000/v2/", None, Some("local")),
            // In the clear, at another port, at another host.
            ("http://reg.example/v2/", None, None),
            ("https://reg.example:8443/v2/", None, None),
            ("https://reg.example.evil/v2/", None, None),
            ("https://cdn.example/", Some("team/app"), None),
        ] {
            let found = identities.find(&url(at), repository).await;
            let user = found.map(|identity| identity.credentials.user().to_owned());
            assert_eq!(user.as_deref(), expected, "{at}");
        }
    }

    #[tokio::test]
    async fn the_callers_come_first_and_are_never_looked_up_again() {
        let origin = Origin::of(&url("https://reg.example")).unwrap();
        let identity = Identity::new(crate::Credentials::new("caller", "p".into()));
        let caller = BTreeMap::from([(origin, identity.clone())]);
        let identities = Identities::new(caller, Some(keychain()), BTreeSet::new());
        let at = url("https://reg.example/v2/");
        let found = identities.find(&at, Some("team/app")).await.unwrap();
        assert_eq!(found.credentials.user(), "caller");
        assert!(identities.renewed(&at, None, &identity).await.is_none());
    }
}
