//! Proxies as the environment names them. The only module of this crate that reads the environment, and only when it
//! is asked to.

use std::sync::Arc;

use super::no_proxy::NoProxy;
use super::{Choice, Proxies, Proxy};
use crate::error::{Error, ErrorKind};

impl Proxies {
    /// As the variables `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy` of the process say. See
    /// [`from_variables`](Self::from_variables).
    pub fn from_environment() -> Self {
        Self::from_variables(|name| {
            // One that is not Unicode counts as set: it names a proxy, though none that can be used.
            std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
        })
    }

    /// As the variables say that `lookup` gives, by the rules that curl, Go and Python have in common:
    ///
    /// - `https_proxy` is for https URLs, `http_proxy` for plain http, and `all_proxy` for both where that one is not
    ///   set; `no_proxy` is a list as for [`no_proxy`](Self::no_proxy). One that is empty counts as not set.
    /// - Each may also be written in capitals. Where both are set, the lower case counts, as in curl and Python.
    /// - `HTTP_PROXY` in capitals does not count where `REQUEST_METHOD` is set: a web server that runs us by CGI puts
    ///   the header `Proxy` of whoever asks it there.
    ///
    /// A proxy that cannot be used (SOCKS, a malformed address) is an error of the requests that would go through it,
    /// which names the variable.
    pub fn from_variables(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| lookup(name).filter(|value| !value.trim().is_empty());
        let either = |lower: &'static str, upper: &'static str| {
            [lower, upper]
                .into_iter()
                .find_map(|name| Some((name, set(name)?)))
        };
        // Variables of Windows have no case, so that there the lower one would be the same.
        let by_cgi = set("REQUEST_METHOD").is_some();
        let http = match by_cgi {
            false => either("http_proxy", "HTTP_PROXY"),
            true if cfg!(windows) => None,
            true => set("http_proxy").map(|value| ("http_proxy", value)),
        };
        let https = either("https_proxy", "HTTPS_PROXY");
        let all = either("all_proxy", "ALL_PROXY");
        let choose = |own: Option<(&'static str, String)>| {
            own.as_ref()
                .or(all.as_ref())
                .map(|(name, value)| choice(name, value))
        };
        Self {
            http: choose(http),
            https: choose(https),
            except: either("no_proxy", "NO_PROXY")
                .map(|(_, list)| NoProxy::parse(&list))
                .unwrap_or_default(),
        }
    }
}

fn choice(variable: &str, value: &str) -> Choice {
    Proxy::new(value).map(Arc::new).map_err(|error| {
        Error::new(
            ErrorKind::Configuration,
            format!("{variable} names a proxy that cannot be used; correct or unset it"),
        )
        .with_source(error)
    })
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use url::Url;

    use super::*;

    fn via(variables: &[(&str, &str)], url: &str) -> Option<String> {
        let proxies = proxies(variables);
        let proxy = proxies.for_url(&Url::parse(url).unwrap()).unwrap();
        proxy.map(|proxy| proxy.url().host_str().unwrap().to_owned())
    }

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        Proxies::from_variables(|name| {
            variables
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn which_variable_counts() {
        let both = [
            ("http_proxy", "low"),
            ("HTTP_PROXY", "up"),
            ("HTTPS_PROXY", "tls"),
            ("ALL_PROXY", "all"),
        ];
        for (variables, url, expected) in [
            (&[][..], "http://h/", None),
            (&both[..], "http://h/", Some("low")),
            (&both[1..], "http://h/", Some("up")),
            (&both[..], "https://h/", Some("tls")),
            (&both[..2], "https://h/", None),
            (&both[3..], "http://h/", Some("all")),
            (&both[3..], "https://h/", Some("all")),
            (
                &[("http_proxy", " "), ("HTTP_PROXY", "up")],
                "http://h/",
                Some("up"),
            ),
            (
                &[("HTTP_PROXY", "up"), ("no_proxy", "h"), ("NO_PROXY", "x")],
                "http://h/",
                None,
            ),
            (
                &[("HTTP_PROXY", "up"), ("NO_PROXY", "*")],
                "http://h/",
                None,
            ),
            (&[("HTTP_PROXY", "up")], "http://localhost/", None),
        ] {
            assert_eq!(
                via(variables, url).as_deref(),
                expected,
                "{variables:?} {url}"
            );
        }
    }

    #[test]
    fn a_header_that_a_web_server_made_a_variable_names_no_proxy() {
        let cgi = ("REQUEST_METHOD", "GET");
        assert_eq!(via(&[cgi, ("HTTP_PROXY", "evil")], "http://h/"), None);
        assert_eq!(
            via(&[cgi, ("HTTPS_PROXY", "tls")], "https://h/"),
            Some("tls".into())
        );
        if !cfg!(windows) {
            let lower = via(
                &[cgi, ("HTTP_PROXY", "evil"), ("http_proxy", "low")],
                "http://h/",
            );
            assert_eq!(lower, Some("low".into()));
        }
    }

    #[test]
    fn a_proxy_that_cannot_be_used_matters_only_where_it_would_be() {
        let proxies = proxies(&[
            ("ALL_PROXY", "socks5://u:s3cret@p"),
            ("http_proxy", "p"),
            ("no_proxy", "inside"),
        ]);
        let ask = |url: &str| {
            proxies
                .for_url(&Url::parse(url).unwrap())
                .map(|proxy| proxy.is_some())
        };
        assert!(ask("http://h/").unwrap());
        assert!(!ask("https://inside/").unwrap());
        assert!(!ask("https://localhost/").unwrap());
        let error = ask("https://h/").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        let text = format!(
            "{error} {:?} {error:?}",
            error.source().unwrap().to_string()
        );
        assert!(
            text.contains("ALL_PROXY") && text.contains("SOCKS"),
            "{text}"
        );
        assert!(!text.contains("s3cret"), "{text}");
    }
}
