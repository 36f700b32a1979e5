//! Which token server a registry may send us to, and whether credentials may go there.

use peak_http::Origin;
use peak_http::address::{is_internal, is_loopback};
use url::{Host, Url};

/// What a token server may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// The credentials of the registry that named it.
    Credentials,
    /// Nothing: the challenge came unprotected, so anybody may have written it.
    Anonymous,
}

/// Where a URL leads, as seen from a machine inside a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Outside,
    Private,
    Loopback,
    /// Metadata services of clouds, and addresses that mean different machines to different hosts.
    LinkLocal,
}

/// Whether `registry` may name `realm`; `None` where it has no business doing so.
///
/// A registry outside cannot send us to this machine, to a private network or to a cloud's metadata service; one that
/// is itself in a private network can name a server in one. Nobody can lead us from https to http. Over plain http the
/// token server must be on the registry's own host, or both on this machine.
///
/// `is_protected` says whether the registry's name for the token server came over TLS with a certificate that was
/// verified. Where it did not, anybody on the way may have written it, and credentials stay with the registry's host.
pub(crate) fn judge(registry: &Url, is_protected: bool, realm: &Url) -> Option<Trust> {
    let same_host = registry.host() == realm.host();
    let both_local = is_loopback(registry) && is_loopback(realm);
    let protected = realm.scheme() == "https" || (registry.scheme() == "http" && same_host);
    if both_local {
        // Another process of this machine; but a protected registry stays protected.
        return (realm.scheme() == "https" || registry.scheme() == "http")
            .then_some(Trust::Credentials);
    }
    let reachable = same_host
        || match place(realm) {
            Place::Outside => true,
            Place::Private => matches!(place(registry), Place::Private | Place::Loopback),
            Place::Loopback | Place::LinkLocal => false,
        };
    if !(protected && reachable) {
        return None;
    }
    Some(if is_protected || same_host || is_loopback(registry) {
        Trust::Credentials
    } else {
        Trust::Anonymous
    })
}

fn place(url: &Url) -> Place {
    let link_local = match url.host() {
        Some(Host::Ipv4(address)) => address.is_link_local() || address.is_unspecified(),
        Some(Host::Ipv6(address)) => {
            address.is_unicast_link_local()
                || address.is_unspecified()
                || address
                    .to_ipv4_mapped()
                    .is_some_and(|address| address.is_link_local() || address.is_unspecified())
                // The metadata service of AWS over IPv6.
                || address.segments() == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254]
        }
        Some(Host::Domain(_)) | None => false,
    };
    if link_local {
        Place::LinkLocal
    } else if is_loopback(url) || mapped_loopback(url) {
        Place::Loopback
    } else if is_internal(url) {
        Place::Private
    } else {
        Place::Outside
    }
}

fn mapped_loopback(url: &Url) -> bool {
    matches!(url.host(), Some(Host::Ipv6(address))
        if address.to_ipv4_mapped().is_some_and(|address| address.is_loopback()))
}

/// As much of a URL as an error may show.
pub(crate) fn shown(url: &Url) -> String {
    Origin::of(url).map_or_else(|| "?".to_owned(), |origin| origin.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(registry: &str, realm: &str) -> Option<Trust> {
        let registry = Url::parse(registry).unwrap();
        let is_protected = registry.scheme() == "https";
        judge(&registry, is_protected, &Url::parse(realm).unwrap())
    }

    #[test]
    fn a_registry_whose_certificate_is_not_verified_keeps_credentials_at_its_own_host() {
        let judged = |registry: &str, realm: &str| {
            judge(
                &Url::parse(registry).unwrap(),
                false,
                &Url::parse(realm).unwrap(),
            )
        };
        let registry = "https://registry.example/v2/";
        for (registry, realm, expected) in [
            (
                registry,
                "https://registry.example/token",
                Some(Trust::Credentials),
            ),
            (
                registry,
                "https://registry.example:5001/token",
                Some(Trust::Credentials),
            ),
            (
                registry,
                "https://auth.example/token",
                Some(Trust::Anonymous),
            ),
            (
                "https://10.0.0.1/v2/",
                "https://10.0.0.2/token",
                Some(Trust::Anonymous),
            ),
            // It is no licence for plain HTTP.
            (registry, "http://registry.example/token", None),
            // Nobody is on the way to this machine.
            (
                "https://127.0.0.1:5000/v2/",
                "https://auth.example/token",
                Some(Trust::Credentials),
            ),
        ] {
            assert_eq!(judged(registry, realm), expected, "{registry} {realm}");
        }
    }

    #[test]
    fn a_registry_cannot_send_us_to_machines_of_our_own_network_or_out_of_protection() {
        for (registry, realm) in [
            (
                "https://registry.example/v2/",
                "https://169.254.169.254/latest",
            ),
            (
                "https://registry.example/v2/",
                "https://[::ffff:169.254.169.254]/",
            ),
            ("https://registry.example/v2/", "https://[fd00:ec2::254]/"),
            ("https://registry.example/v2/", "https://100.100.100.200/"),
            ("https://registry.example/v2/", "https://localhost:8080/"),
            ("https://registry.example/v2/", "https://127.1/"),
            (
                "https://registry.example/v2/",
                "https://[::ffff:127.0.0.1]/",
            ),
            ("https://registry.example/v2/", "https://0.0.0.0/"),
            ("https://registry.example/v2/", "https://10.0.0.1/"),
            ("https://registry.example/v2/", "https://[fd00::1]/"),
            ("https://registry.example/v2/", "http://auth.example/"),
            (
                "https://registry.example/v2/",
                "http://registry.example/token",
            ),
            ("https://127.0.0.1:5000/v2/", "http://127.0.0.1:5001/token"),
            ("http://registry.example/v2/", "http://auth.example/"),
            ("http://registry.example/v2/", "http://127.0.0.1/"),
            // A private network is no licence for this machine and for metadata.
            ("https://10.0.0.1/v2/", "https://127.0.0.1/"),
            ("https://10.0.0.1/v2/", "https://169.254.169.254/"),
            ("http://10.0.0.1/v2/", "http://10.0.0.2/"),
            ("http://127.0.0.1:5000/v2/", "http://169.254.169.254/"),
        ] {
            assert_eq!(judged(registry, realm), None, "{registry} {realm}");
        }
    }

    #[test]
    fn credentials_go_to_a_token_server_that_was_named_over_a_protected_connection() {
        for (registry, realm) in [
            (
                "https://registry-1.docker.io/v2/",
                "https://auth.docker.io/token",
            ),
            ("https://10.0.0.1/v2/", "https://10.0.0.1:5001/token"),
            ("https://10.0.0.1/v2/", "https://10.0.0.2/token"),
            ("https://10.0.0.1/v2/", "https://auth.example/token"),
            ("http://127.0.0.1:5000/v2/", "http://localhost:5001/token"),
            ("http://127.0.0.1:5000/v2/", "https://127.0.0.1:5001/token"),
            ("http://127.0.0.1:5000/v2/", "https://auth.example/token"),
            // Marked insecure: the registry's own host is as good as the registry.
            ("http://10.0.0.1:5000/v2/", "http://10.0.0.1:5001/token"),
            (
                "http://registry.example/v2/",
                "https://registry.example/token",
            ),
        ] {
            assert_eq!(judged(registry, realm), Some(Trust::Credentials), "{realm}");
        }
        for (registry, realm) in [
            ("http://registry.example/v2/", "https://auth.example/token"),
            ("http://10.0.0.1/v2/", "https://10.0.0.2/token"),
        ] {
            assert_eq!(judged(registry, realm), Some(Trust::Anonymous), "{realm}");
        }
    }
}
