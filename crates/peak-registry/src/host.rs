//! Which server a registry's name means, and what may be said to it.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use peak_oci::RepositoryName;
use url::{Host as UrlHost, Url};

use crate::RegistryError;

/// The registry of references that name none.
const DOCKER_HUB: &str = "docker.io";
/// Other names of the same registry, and where it answers.
const DOCKER_HUB_ENDPOINT: &str = "registry-1.docker.io";
const DOCKER_HUB_NAMES: [&str; 3] = [DOCKER_HUB, "index.docker.io", DOCKER_HUB_ENDPOINT];

/// The one spelling under which settings of a registry are kept.
pub(crate) fn canonical_name(registry: &str) -> String {
    let lower = registry.to_ascii_lowercase();
    if DOCKER_HUB_NAMES.contains(&lower.as_str()) {
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
        let loopback = Url::parse(&format!("http://{name}/")).is_ok_and(|url| is_loopback(&url));
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

/// Whether the URL stays on this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(UrlHost::Domain(name)) => is_local_name(name),
        Some(UrlHost::Ipv4(address)) => address.is_loopback(),
        Some(UrlHost::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Whether the URL names, without any resolving, a machine that a registry on the internet has no business sending us
/// to: this one, one on a private network, or a cloud's metadata service.
pub(crate) fn is_internal(url: &Url) -> bool {
    match url.host() {
        Some(UrlHost::Domain(name)) => is_local_name(name),
        Some(UrlHost::Ipv4(address)) => is_internal_address(IpAddr::V4(address)),
        Some(UrlHost::Ipv6(address)) => is_internal_address(IpAddr::V6(address)),
        None => true,
    }
}

fn is_local_name(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name.eq_ignore_ascii_case("localhost") || name.to_ascii_lowercase().ends_with(".localhost")
}

fn is_internal_address(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            address.is_loopback()
                || address.is_private()
                || address.is_link_local()
                || address.is_unspecified()
        }
        IpAddr::V6(address) => {
            address.is_loopback()
                || address.is_unspecified()
                || address.is_unique_local()
                || address.is_unicast_link_local()
        }
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

    #[test]
    fn internal_addresses_are_known_in_every_spelling() {
        for text in [
            "http://localhost/",
            "http://a.localhost./",
            "http://169.254.169.254/",
            "http://10.1.2.3/",
            "http://0x7f000001/",
            "http://[::ffff:192.168.0.1]/",
            "http://[fd00::1]/",
        ] {
            assert!(is_internal(&Url::parse(text).unwrap()), "{text}");
        }
        assert!(!is_internal(&Url::parse("https://auth.example/").unwrap()));
    }
}
