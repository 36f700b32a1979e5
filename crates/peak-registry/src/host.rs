//! Which server a registry's name means, and what may be said to it.

use std::collections::BTreeSet;

use peak_http::address;
use peak_oci::without_user;
use url::Url;

use crate::RegistryError;

/// The registry of references that name none.
pub(crate) const DOCKER_HUB: &str = "docker.io";
/// Other names of the same registry, and where it answers.
const DOCKER_HUB_ENDPOINT: &str = "registry-1.docker.io";
const DOCKER_HUB_NAMES: [&str; 3] = [DOCKER_HUB, "index.docker.io", DOCKER_HUB_ENDPOINT];

/// The one spelling under which settings of a registry are kept.
pub(crate) fn canonical_name(registry: &str) -> String {
    let lower = registry.to_ascii_lowercase();
    let without_port = lower.strip_suffix(":443").unwrap_or(&lower);
    if DOCKER_HUB_NAMES.contains(&without_port) {
        DOCKER_HUB.to_owned()
    } else {
        lower
    }
}

/// How a registry is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Https,
    Http,
}

/// Why a registry that speaks no TLS may be spoken to in the clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clear {
    /// It may not.
    Never,
    /// It is on this machine.
    Loopback,
    /// It is marked insecure.
    Marked,
}

/// A registry as a server: its name, and where and how it is connected to.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    name: String,
    clear: Clear,
}

impl Host {
    /// `insecure` has the canonical names of the registries that are marked so.
    pub(crate) fn new(registry: &str, insecure: &BTreeSet<String>) -> Self {
        // What is no host is refused by `root`, and until then it is told, logged and shown.
        let name = without_user(&canonical_name(registry)).into_owned();
        let loopback =
            Url::parse(&format!("http://{name}/")).is_ok_and(|url| address::is_loopback(&url));
        let clear = if loopback {
            Clear::Loopback
        } else if insecure.contains(&name) {
            Clear::Marked
        } else {
            Clear::Never
        };
        Self { name, clear }
    }

    /// Whether and why it may be spoken to in the clear.
    pub(crate) fn clear(&self) -> Clear {
        self.clear
    }

    /// How it may be spoken to.
    pub(crate) fn schemes(&self) -> &'static [Scheme] {
        match self.clear {
            Clear::Never => &[Scheme::Https],
            Clear::Loopback | Clear::Marked => &[Scheme::Https, Scheme::Http],
        }
    }

    /// The registry's name, as people write it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The URL of the API's root.
    pub(crate) fn root(&self, scheme: Scheme) -> Result<Url, RegistryError> {
        let endpoint = if self.name == DOCKER_HUB {
            DOCKER_HUB_ENDPOINT
        } else {
            &self.name
        };
        let invalid = || RegistryError::InvalidRegistry {
            registry: self.name.clone(),
        };
        let scheme = match scheme {
            Scheme::Https => "https",
            Scheme::Http => "http",
        };
        let url = Url::parse(&format!("{scheme}://{endpoint}/v2/")).map_err(|_| invalid())?;
        // The name must have been a host and a port, and nothing else.
        let clean = url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
            && url.path() == "/v2/";
        if clean { Ok(url) } else { Err(invalid()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roots(registry: &str) -> Vec<String> {
        let insecure = BTreeSet::from(["plain.example:5000".to_owned()]);
        let host = Host::new(registry, &insecure);
        let roots = host.schemes().iter().map(|scheme| host.root(*scheme));
        roots.map(|root| root.unwrap().to_string()).collect()
    }

    #[test]
    fn docker_hub_has_one_endpoint_under_all_its_names() {
        for name in DOCKER_HUB_NAMES {
            assert_eq!(roots(name), ["https://registry-1.docker.io/v2/"]);
        }
    }

    #[test]
    fn only_loopback_and_marked_registries_may_be_spoken_to_in_the_clear() {
        for (name, https, http) in [
            ("127.0.0.1:5000", "127.0.0.1:5000", "127.0.0.1:5000"),
            ("127.9.9.9", "127.9.9.9", "127.9.9.9"),
            ("localhost:80", "localhost:80", "localhost"),
            ("[::1]:5000", "[::1]:5000", "[::1]:5000"),
            (
                "plain.example:5000",
                "plain.example:5000",
                "plain.example:5000",
            ),
        ] {
            let expected = [format!("https://{https}/v2/"), format!("http://{http}/v2/")];
            assert_eq!(roots(name), expected);
        }
        for name in ["registry.example", "plain.example", "localhost.example"] {
            assert_eq!(roots(name), [format!("https://{name}/v2/")]);
        }
    }

    #[test]
    fn a_name_that_is_more_than_a_host_is_refused() {
        for name in [
            "",
            "user@host",
            "host/path",
            "host?query",
            "host#x",
            "host:99999",
        ] {
            let error = Host::new(name, &BTreeSet::new())
                .root(Scheme::Https)
                .unwrap_err();
            assert!(
                matches!(error, RegistryError::InvalidRegistry { .. }),
                "{name}"
            );
        }
    }

    #[test]
    fn no_error_about_a_name_has_what_may_be_a_password() {
        for name in [
            "user:sekret@host",
            "http://user:sekret@host",
            "sekret@host:1",
        ] {
            let host = Host::new(name, &BTreeSet::new());
            let error = host.root(Scheme::Https).unwrap_err();
            let told = format!("{error} {error:?} {host:?}");
            assert!(!told.contains("sekret"), "{told}");
        }
    }
}
