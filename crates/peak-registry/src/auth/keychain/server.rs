//! Under which names a registry's credentials are kept, and which of a file's keys are about it.

use crate::host::{DOCKER_HUB, canonical_name};

/// Docker's own key for its registry, in files and towards helpers.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// A registry as the key of credentials.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Server {
    /// Canonical: lower case, one name for Docker Hub.
    name: String,
}

impl Server {
    pub(super) fn new(registry: &str) -> Self {
        Self {
            name: canonical_name(registry),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The key under which new credentials are kept.
    pub(super) fn key(&self) -> &str {
        if self.name == DOCKER_HUB {
            DOCKER_HUB_KEY
        } else {
            &self.name
        }
    }

    /// What a helper is asked for, in this order.
    pub(super) fn helper_keys(&self) -> Vec<&str> {
        if self.name == DOCKER_HUB {
            vec![DOCKER_HUB_KEY, DOCKER_HUB]
        } else {
            vec![&self.name]
        }
    }

    /// How well a key of a file fits: the path that it is for (empty for the whole registry), and a rank among keys
    /// for the same path, the lowest first. `None` for a key of another registry.
    pub(super) fn fits<'a>(&self, key: &'a str) -> Option<(&'a str, u8)> {
        let (scheme, rest) = match key.split_once("://") {
            Some((scheme @ ("http" | "https"), rest)) => (Some(scheme), rest),
            Some(_) => return None,
            None => (None, key),
        };
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        if !self.is(host) {
            return None;
        }
        let path = match (scheme, path) {
            // The root of the API, as old tools wrote it; without a scheme and a slash it may be a namespace.
            (Some(_), "v1" | "v2") | (_, "v1/" | "v2/") => "",
            (_, path) => path.trim_end_matches('/'),
        };
        let rank = match scheme {
            _ if key == self.key() => 0,
            None if key == self.name => 1,
            None => 2,
            Some("https") => 3,
            Some(_) => 4,
        };
        Some((path, rank))
    }

    /// Whether `host` (with a port or without) is this registry.
    fn is(&self, host: &str) -> bool {
        let host = canonical_name(host);
        host == self.name || without_default_port(&host) == without_default_port(&self.name)
    }
}

/// HTTPS's port says nothing; another one is another registry.
fn without_default_port(name: &str) -> &str {
    name.strip_suffix(":443").unwrap_or(name)
}

/// Whether credentials for `path` are for `repository`: the path is the beginning of its name, by whole components.
pub(super) fn is_within(repository: Option<&str>, path: &str) -> bool {
    if path.is_empty() {
        return true;
    }
    repository
        .and_then(|repository| repository.strip_prefix(path))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(registry: &str, key: &str) -> Option<String> {
        Server::new(registry)
            .fits(key)
            .map(|(path, _)| path.to_owned())
    }

    #[test]
    fn docker_hub_has_one_key_and_several_spellings() {
        for name in ["docker.io", "index.docker.io", "registry-1.docker.io"] {
            let server = Server::new(name);
            assert_eq!(server.key(), DOCKER_HUB_KEY);
            for key in [
                DOCKER_HUB_KEY,
                "https://index.docker.io/v1",
                "index.docker.io/v1/",
                "index.docker.io",
                "docker.io",
                "https://registry-1.docker.io",
                "registry-1.docker.io:443",
            ] {
                assert_eq!(fits(name, key).as_deref(), Some(""), "{key}");
            }
            assert_eq!(server.fits(DOCKER_HUB_KEY), Some(("", 0)));
        }
        assert_eq!(fits("docker.io", "docker.io/team").as_deref(), Some("team"));
        assert_eq!(fits("docker.io", "notdocker.io"), None);
        assert_eq!(fits("docker.io", "docker.io.example"), None);
    }

    #[test]
    fn schemes_ports_and_paths_of_keys() {
        for (registry, key, expected) in [
            ("reg.example", "reg.example", Some("")),
            ("reg.example", "REG.example", Some("")),
            ("reg.example", "reg.example:443", Some("")),
            ("reg.example:443", "https://reg.example", Some("")),
            ("reg.example", "https://reg.example/v2/", Some("")),
            ("reg.example", "http://reg.example/", Some("")),
            ("reg.example", "reg.example/v1", Some("v1")),
            ("reg.example", "reg.example/team/app/", Some("team/app")),
            ("reg.example", "https://reg.example/team", Some("team")),
            ("reg.example", "reg.example:5000", None),
            ("reg.example:5000", "reg.example", None),
            ("reg.example:80", "reg.example", None),
            ("reg.example", "ftp://reg.example", None),
            ("reg.example", "reg.example.evil", None),
            ("reg.example", "evil/reg.example", None),
            ("reg.example", "user@reg.example", None),
            ("reg.example", "", None),
            ("[::1]:5000", "http://[::1]:5000", Some("")),
        ] {
            assert_eq!(fits(registry, key).as_deref(), expected, "{registry} {key}");
        }
    }

    #[test]
    fn a_path_counts_by_whole_components() {
        assert!(is_within(Some("team/app"), ""));
        assert!(is_within(None, ""));
        assert!(is_within(Some("team/app"), "team"));
        assert!(is_within(Some("team/app"), "team/app"));
        assert!(!is_within(Some("teams/app"), "team"));
        assert!(!is_within(Some("team"), "team/app"));
        assert!(!is_within(None, "team"));
    }
}
