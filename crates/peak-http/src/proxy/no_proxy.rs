//! What is reached without a proxy.

use std::net::IpAddr;

use url::{Host, Url};

/// The rules of `NO_PROXY`. See [`Proxies::no_proxy`](super::Proxies::no_proxy).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct NoProxy(Vec<Rule>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    place: Place,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Everywhere,
    /// A name without dots at its ends, and all below it.
    Name(String),
    /// The addresses whose first so many bits are those of this one.
    Network(IpAddr, u8),
}

impl NoProxy {
    pub(super) fn parse(list: &str) -> Self {
        Self(
            list.split([',', ' ', '\t', '\r', '\n'])
                .filter(|entry| !entry.is_empty())
                .filter_map(rule)
                .collect(),
        )
    }

    pub(super) fn contains(&self, url: &Url) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let port = url.port_or_known_default();
        let Some(host) = url.host() else {
            return false;
        };
        self.0.iter().any(|rule| {
            (rule.port.is_none() || rule.port == port)
                && match &host {
                    Host::Domain(name) => rule.place.contains_name(name),
                    Host::Ipv4(address) => rule.place.contains_address((*address).into()),
                    Host::Ipv6(address) => rule.place.contains_address((*address).into()),
                }
        })
    }
}

impl Place {
    fn contains_name(&self, name: &str) -> bool {
        match self {
            Self::Everywhere => true,
            Self::Network(..) => false,
            Self::Name(suffix) => name
                .trim_end_matches('.')
                .strip_suffix(suffix.as_str())
                .is_some_and(|before| before.is_empty() || before.ends_with('.')),
        }
    }

    fn contains_address(&self, address: IpAddr) -> bool {
        match self {
            Self::Everywhere => true,
            Self::Name(_) => false,
            Self::Network(network, bits) => match (network, address.to_canonical()) {
                (IpAddr::V4(network), IpAddr::V4(address)) => {
                    first_bits(network.to_bits().into(), 32, *bits)
                        == first_bits(address.to_bits().into(), 32, *bits)
                }
                (IpAddr::V6(network), IpAddr::V6(address)) => {
                    first_bits(network.to_bits(), 128, *bits)
                        == first_bits(address.to_bits(), 128, *bits)
                }
                _ => false,
            },
        }
    }
}

fn first_bits(address: u128, width: u8, bits: u8) -> u128 {
    address
        .checked_shr(width.saturating_sub(bits).into())
        .unwrap_or(0)
}

/// Reads one entry; `None` if it is none of the forms.
fn rule(entry: &str) -> Option<Rule> {
    if entry == "*" {
        let place = Place::Everywhere;
        return Some(Rule { place, port: None });
    }
    if let Some((address, bits)) = entry.split_once('/') {
        let address = bare(address).parse().ok()?;
        let bits = bits.parse().ok()?;
        let place = network(address, bits)?;
        return Some(Rule { place, port: None });
    }
    // An IPv6 address has colons of its own, so it is tried before a port is looked for.
    if let Ok(address) = bare(entry).parse::<IpAddr>() {
        let place = network(address, width(address))?;
        return Some(Rule { place, port: None });
    }
    let (host, port) = match entry.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok()?)),
        None => (entry, None),
    };
    let host = host.strip_prefix("*.").unwrap_or(host);
    // As in a URL: lower case, international names encoded, odd spellings of addresses understood.
    let place = match Host::parse(host.trim_matches('.')).ok()? {
        Host::Domain(name) if name.contains('*') => return None,
        Host::Domain(name) => Place::Name(name),
        Host::Ipv4(address) => network(address.into(), 32)?,
        Host::Ipv6(address) => network(address.into(), 128)?,
    };
    Some(Rule { place, port })
}

/// An address that may stand in brackets, without them.
fn bare(address: &str) -> &str {
    address
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(address)
}

fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn network(address: IpAddr, bits: u8) -> Option<Place> {
    match (address, address.to_canonical()) {
        _ if bits > width(address) => None,
        // An IPv4 network written as IPv6: what it is compared with is written as IPv4.
        (IpAddr::V6(_), canonical @ IpAddr::V4(_)) => {
            Some(Place::Network(canonical, bits.checked_sub(96)?))
        }
        (address, _) => Some(Place::Network(address, bits)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn excepts(list: &str, url: &str) -> bool {
        NoProxy::parse(list).contains(&Url::parse(url).unwrap())
    }

    /// An entry, what it means, and what it does not.
    type Row<'a> = (&'a str, &'a [&'a str], &'a [&'a str]);

    fn check(rows: &[Row<'_>]) {
        for (list, inside, outside) in rows {
            for host in *inside {
                assert!(excepts(list, &format!("http://{host}/")), "{list}: {host}");
            }
            for host in *outside {
                assert!(!excepts(list, &format!("http://{host}/")), "{list}: {host}");
            }
        }
    }

    #[test]
    fn entries_that_are_names() {
        let all_below = ["example.com", "a.b.EXAMPLE.com.", "example.com:81"];
        let others = ["notexample.com", "example.com.evil", "com", "10.0.0.1"];
        check(&[
            ("example.com", &all_below, &others),
            (".example.com", &all_below, &others),
            ("*.example.com", &all_below, &others),
            ("Example.COM.", &all_below, &others),
            (
                "bücher.example",
                &["xn--bcher-kva.example"],
                &["bucher.example"],
            ),
            ("example.com:81", &["a.example.com:81"], &["example.com"]),
            ("example.com:80", &["example.com"], &["example.com:81"]),
            ("*", &["example.com", "8.8.8.8", "[fd00::1]"], &[]),
            (" a,, b\tc ", &["a", "b", "c"], &["d"]),
        ]);
        assert!(excepts("example.com:443", "https://example.com/"));
    }

    #[test]
    fn entries_that_are_addresses_and_networks() {
        check(&[
            (
                "10.1.2.3",
                &["10.1.2.3", "[::ffff:10.1.2.3]"],
                &["10.1.2.4"],
            ),
            ("10.1.2.3:81", &["10.1.2.3:81"], &["10.1.2.3"]),
            ("10.0.0.0/8", &["10.255.0.1"], &["11.0.0.1", "ten.example"]),
            ("10.1.2.3/30", &["10.1.2.0"], &["10.1.2.4"]),
            ("0.0.0.0/0", &["8.8.8.8"], &["[fd00::1]"]),
            ("fd00::1", &["[fd00::1]"], &["[fd00::2]"]),
            ("[fd00::1]", &["[fd00::1]:5"], &["[fd00::2]"]),
            ("[fd00::1]:81", &["[fd00::1]:81"], &["[fd00::1]"]),
            ("fd00::/8", &["[fdab::1]"], &["[fe80::1]", "10.0.0.1"]),
            ("::ffff:10.0.0.0/104", &["10.9.9.9"], &["11.0.0.1"]),
        ]);
    }

    #[test]
    fn what_is_no_entry_is_passed_over() {
        for list in [
            "",
            ",",
            "10.0.0.0/33",
            "fd00::/129",
            "a/8",
            "example.com:x",
            "ex*mple.com",
            "[::1",
            ".",
        ] {
            assert_eq!(NoProxy::parse(list), NoProxy::default(), "{list}");
        }
    }

    proptest! {
        #[test]
        fn any_list_is_read_without_a_panic(list in "[a-z0-9.:/*\\[\\], -]{0,40}", host in "[a-z0-9.-]{1,20}") {
            if let Ok(url) = Url::parse(&format!("http://{host}/")) {
                let everything = format!("{list},*");
                prop_assert!(excepts(&everything, url.as_str()));
            }
        }

        #[test]
        fn an_address_is_in_every_network_around_it(address: [u8; 4], bits in 0_u8..=32) {
            let address = std::net::Ipv4Addr::from(address);
            let (list, url) = (format!("{address}/{bits}"), format!("http://{address}/"));
            prop_assert!(excepts(&list, &url));
        }
    }
}
