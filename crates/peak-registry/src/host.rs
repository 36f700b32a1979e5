//! Which server a registry's name means, and what may be said to it.

use std::collections::BTreeSet;
use std::fmt;

use peak_http::address;
use peak_oci::RepositoryName;
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

/// A registry as a server: its name, and where and how it is connected to.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    name: String,
    scheme: &'static str,
}

impl Host {
    /// HTTPS, except for this machine's own loopback and for registries marked insecure (by canonical name).
    pub(crate) fn new(registry: &str, insecure: &BTreeSet<String>) -> Self {
        let name = canonical_name(registry);
        let loopback =
            Url::parse(&format!("http://{name}/")).is_ok_and(|url| address::is_loopback(&url));
        let plain = loopback || insecure.contains(&name);
        Self {
            scheme: if plain { "http" } else { "https" },
            name,
        }
    }

    /// The registry's name, as people write it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The URL of the API's root.
    pub(crate) fn root(&self) -> Result<Url, RegistryError> {
        let endpoint = if self.name == DOCKER_HUB {
            DOCKER_HUB_ENDPOINT
        } else {
            &self.name
        };
        let invalid = || RegistryError::InvalidRegistry {
            registry: self.name.clone(),
        };
        let url =
            Url::parse(&format!("{}://{endpoint}/v2/", self.scheme)).map_err(|_| invalid())?;
        // The name must have been a host and a port, and nothing else.
        let clean = url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
            && url.path() == "/v2/";
        if clean { Ok(url) } else { Err(invalid()) }
    }

    /// The URL of something in a repository. Names, tags and digests are parsed values: nothing in them needs
    /// escaping or can leave the path.
    pub(crate) fn url(
        &self,
        repository: &RepositoryName,
        kind: &str,
        what: &dyn fmt::Display,
    ) -> Result<Url, RegistryError> {
        let mut url = self.root()?;
        url.set_path(&format!("/v2/{repository}/{kind}/{what}"));
        Ok(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(registry: &str) -> String {
        let insecure = BTreeSet::from(["plain.example:5000".to_owned()]);
        Host::new(registry, &insecure).root().unwrap().to_string()
    }

    #[test]
    fn docker_hub_has_one_endpoint_under_all_its_names() {
        for name in DOCKER_HUB_NAMES {
            assert_eq!(root(name), "https://registry-1.docker.io/v2/");
        }
    }

    #[test]
    fn only_loopback_and_marked_registries_are_spoken_to_in_the_clear() {
        assert_eq!(root("registry.example"), "https://registry.example/v2/");
        assert_eq!(root("127.0.0.1:5000"), "http://127.0.0.1:5000/v2/");
        assert_eq!(root("127.9.9.9"), "http://127.9.9.9/v2/");
        assert_eq!(root("localhost:80"), "http://localhost/v2/");
        assert_eq!(root("[::1]:5000"), "http://[::1]:5000/v2/");
        assert_eq!(root("plain.example:5000"), "http://plain.example:5000/v2/");
        assert_eq!(root("plain.example"), "https://plain.example/v2/");
        assert_eq!(root("localhost.example"), "https://localhost.example/v2/");
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
            let error = Host::new(name, &BTreeSet::new()).root().unwrap_err();
            assert!(
                matches!(error, RegistryError::InvalidRegistry { .. }),
                "{name}"
            );
        }
    }
}
