//! Who a request is for: the unit credentials belong to.

use std::fmt;

use url::Url;

/// Scheme, host and port of a URL, with the port of the scheme filled in. Credentials belong to one origin.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

impl Origin {
    /// The origin of `url`; `None` if it is not an `http` or `https` URL with a host.
    pub fn of(url: &Url) -> Option<Self> {
        if !matches!(url.scheme(), "http" | "https") {
            return None;
        }
        Some(Self {
            scheme: url.scheme().to_owned(),
            host: url.host_str().filter(|host| !host.is_empty())?.to_owned(),
            port: url.port_or_known_default()?,
        })
    }

    /// The origin of a request target in absolute form.
    pub fn of_uri(uri: &http::Uri) -> Option<Self> {
        Self::of(&Url::parse(&uri.to_string()).ok()?)
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Name or address, IPv6 in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, also where it is the scheme's own.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}:{}", self.scheme, self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Option<Origin> {
        Origin::of(&Url::parse(text).unwrap())
    }

    #[test]
    fn default_ports_are_filled_in_and_the_rest_counts() {
        assert_eq!(origin("http://h/a"), origin("http://H:80/b?c"));
        assert_eq!(origin("https://h"), origin("https://h:443"));
        assert_ne!(origin("http://h"), origin("https://h"));
        assert_ne!(origin("http://h"), origin("http://h:8080"));
        assert_ne!(origin("http://h"), origin("http://h.example"));
        assert_eq!(origin("file:///a"), None);
        assert_eq!(origin("data:text/plain,a"), None);
    }

    #[test]
    fn a_request_target_has_the_origin_of_its_url() {
        assert_eq!(
            Origin::of_uri(&"http://[::1]:5000/v2/".parse().unwrap()),
            origin("http://[::1]:5000")
        );
        assert_eq!(Origin::of_uri(&"/v2/".parse().unwrap()), None);
    }
}
