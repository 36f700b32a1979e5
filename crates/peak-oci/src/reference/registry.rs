//! The host part of a reference.

use std::net::Ipv6Addr;

/// The registry that a name without one means.
pub(super) const DEFAULT_REGISTRY: &str = "docker.io";
/// An old name of [`DEFAULT_REGISTRY`].
const LEGACY_DEFAULT_REGISTRY: &str = "index.docker.io";
/// Where Docker Hub keeps names of one component.
pub(super) const OFFICIAL_PREFIX: &str = "library/";
/// A host of one word that is nevertheless a host.
const LOCALHOST: &str = "localhost";
/// The longest registry, port included, in bytes.
const MAX_REGISTRY_LENGTH: usize = 255 + 6;

/// Splits a name into registry and repository, both as Docker normalises them; neither is checked yet.
pub(super) fn split(name: &str) -> (&str, String) {
    let (registry, rest) = match name.split_once('/') {
        Some((first, rest)) if looks_like_registry(first) => (normalize(first), rest),
        _ => (DEFAULT_REGISTRY, name),
    };
    (registry, qualify(registry, rest))
}

/// The one name of a registry that has several.
pub(super) fn normalize(registry: &str) -> &str {
    if registry == LEGACY_DEFAULT_REGISTRY {
        DEFAULT_REGISTRY
    } else {
        registry
    }
}

/// Adds `library/` where Docker Hub means it.
pub(super) fn qualify(registry: &str, repository: &str) -> String {
    if registry == DEFAULT_REGISTRY && !repository.contains('/') {
        format!("{OFFICIAL_PREFIX}{repository}")
    } else {
        repository.to_owned()
    }
}

/// Whether the first component of a name is meant as a host and not as a Docker Hub organisation.
fn looks_like_registry(component: &str) -> bool {
    component == LOCALHOST
        || component.contains(['.', ':'])
        || component.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// Whether the text is `host` or `host:port`, the host a domain name, an IPv4 address or an IPv6 address in brackets.
pub(super) fn is_valid(registry: &str) -> bool {
    if registry.len() > MAX_REGISTRY_LENGTH {
        return false;
    }
    if let Some(rest) = registry.strip_prefix('[') {
        return rest.split_once(']').is_some_and(|(address, port)| {
            address.parse::<Ipv6Addr>().is_ok()
                && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
        });
    }
    match registry.split_once(':') {
        Some((host, port)) => is_domain(host) && is_port(port),
        None => is_domain(registry),
    }
}

fn is_domain(host: &str) -> bool {
    host.split('.').all(|label| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte == b'-' || byte.is_ascii_alphanumeric())
    })
}

fn is_port(port: &str) -> bool {
    port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
}
