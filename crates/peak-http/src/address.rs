//! What can be told of a server's place from its URL alone, without resolving names.

use std::net::{IpAddr, Ipv4Addr};

use url::{Host, Url};

/// Whether the URL stays on this machine: a loopback address, or `localhost`.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => is_local_name(name),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Whether the URL names a machine that a server on the internet has no business sending us to: this one, one on a
/// private network, or a cloud's metadata service.
///
/// Names other than `localhost` are not resolved and count as outside.
pub fn is_internal(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => is_local_name(name),
        Some(Host::Ipv4(address)) => is_internal_address(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => is_internal_address(IpAddr::V6(address)),
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
                || is_shared(address)
        }
        IpAddr::V6(address) => {
            address.is_loopback()
                || address.is_unspecified()
                || address.is_unique_local()
                || address.is_unicast_link_local()
        }
    }
}

/// 100.64.0.0/10 (RFC 6598): networks of providers, and the metadata service of one of them.
fn is_shared(address: Ipv4Addr) -> bool {
    matches!(address.octets(), [100, 64..=127, _, _])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn internal_addresses_are_known_in_every_spelling() {
        for text in [
            "http://localhost/",
            "http://a.localhost./",
            "http://169.254.169.254/",
            "http://10.1.2.3/",
            "http://0x7f000001/",
            "http://0.0.0.0/",
            "http://[::ffff:192.168.0.1]/",
            "http://[fd00::1]/",
            "http://100.100.100.200/",
        ] {
            assert!(is_internal(&url(text)), "{text}");
        }
        for text in [
            "https://auth.example/",
            "https://8.8.8.8/",
            "https://100.128.0.1/",
        ] {
            assert!(!is_internal(&url(text)), "{text}");
        }
    }

    #[test]
    fn loopback_is_recognised_in_all_its_forms() {
        for text in [
            "127.0.0.1:1",
            "127.1",
            "[::1]:80",
            "localhost",
            "a.localhost",
        ] {
            assert!(is_loopback(&url(&format!("http://{text}/"))), "{text}");
        }
        for text in [
            "127.0.0.1.example",
            "10.0.0.1",
            "localhost.example",
            "xlocalhost",
        ] {
            assert!(!is_loopback(&url(&format!("http://{text}/"))), "{text}");
        }
    }
}
