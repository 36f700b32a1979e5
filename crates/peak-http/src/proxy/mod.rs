//! Which requests go through a proxy: pure rules. How they do is in `connect/`.

mod environment;
mod no_proxy;

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderValue, Uri};
use percent_encoding::percent_decode_str;
use url::Url;

use crate::address;
use crate::error::{Error, ErrorKind};
use crate::request;

use self::no_proxy::NoProxy;

/// An HTTP proxy: where it is, and how we prove to it who we are.
///
/// Requests for https URLs go through a tunnel (`CONNECT`), of which the proxy sees the host's name and nothing else;
/// requests for plain http URLs are given to it whole.
#[derive(Clone)]
pub struct Proxy {
    /// Without user and password.
    url: Url,
    uri: Uri,
    authorization: Option<HeaderValue>,
}

impl Proxy {
    /// The proxy at `address`: `http://HOST:PORT`, `https://HOST:PORT` (TLS to the proxy itself), or `HOST:PORT`, which
    /// means http. Without a port it is that of the scheme. A user and password in it (`http://USER:PASSWORD@HOST`,
    /// percent-encoded) are sent to the proxy as `Proxy-Authorization: Basic`.
    ///
    /// Errors: [`ErrorKind::Configuration`], which never repeats the address, since it may hold a password.
    pub fn new(address: &str) -> Result<Self, Error> {
        let address = address.trim();
        let with_scheme = match address.split_once("://") {
            Some((scheme, _)) if scheme.to_ascii_lowercase().starts_with("socks") => {
                return Err(unusable(
                    "SOCKS proxies are not supported; give an http:// or https:// proxy",
                ));
            }
            Some(_) => address.to_owned(),
            None => format!("http://{address}"),
        };
        // The cause would say nothing more, and could say too much.
        let mut url = Url::parse(&with_scheme).map_err(|_| malformed())?;
        if !matches!(url.scheme(), "http" | "https")
            || url.host_str().is_none_or(str::is_empty)
            || !matches!(url.path(), "" | "/")
            || url.query().is_some()
            || url.fragment().is_some()
        {
            return Err(malformed());
        }
        let authorization = basic(url.username(), url.password())?;
        url.set_username("").map_err(|()| malformed())?;
        url.set_password(None).map_err(|()| malformed())?;
        let uri = request::to_uri(&url)?;
        Ok(Self {
            url,
            uri,
            authorization,
        })
    }

    /// Where it is, without user and password.
    pub fn url(&self) -> &Url {
        &self.url
    }

    pub(crate) fn uri(&self) -> &Uri {
        &self.uri
    }

    pub(crate) fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }

    /// What it means that it answered 407.
    pub(crate) fn wants_credentials(&self) -> Error {
        let url = &self.url;
        let message = if self.authorization.is_some() {
            format!(
                "the proxy {url} does not accept the user and password given for it (407); check them in its address, as in http://USER:PASSWORD@HOST:PORT"
            )
        } else {
            format!(
                "the proxy {url} wants a user and password (407); give them in its address, as in http://USER:PASSWORD@HOST:PORT"
            )
        };
        Error::new(ErrorKind::Proxy, message)
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(formatter)
    }
}

/// Never user and password.
impl fmt::Debug for Proxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Proxy")
            .field("url", &self.url.as_str())
            .field("has_credentials", &self.authorization.is_some())
            .finish_non_exhaustive()
    }
}

fn basic(user: &str, password: Option<&str>) -> Result<Option<HeaderValue>, Error> {
    if user.is_empty() && password.is_none() {
        return Ok(None);
    }
    let mut credentials: Vec<u8> = percent_decode_str(user).collect();
    if credentials.contains(&b':') {
        return Err(unusable(
            "a user name with a colon cannot be sent to a proxy",
        ));
    }
    credentials.push(b':');
    credentials.extend(percent_decode_str(password.unwrap_or_default()));
    let text = format!("Basic {}", BASE64_STANDARD.encode(credentials));
    let mut header = HeaderValue::try_from(text).map_err(|_| malformed())?;
    header.set_sensitive(true);
    Ok(Some(header))
}

fn malformed() -> Error {
    unusable("its address is not of the form http://HOST:PORT or https://HOST:PORT")
}

fn unusable(why: &str) -> Error {
    Error::new(
        ErrorKind::Configuration,
        format!("the proxy cannot be used: {why}"),
    )
}

/// Which requests go through which proxy. Requests to this machine (loopback addresses and `localhost`) never do.
///
/// ```
/// use peak_http::{Client, Proxies, Proxy};
///
/// # fn main() -> Result<(), peak_http::Error> {
/// let proxies = Proxies::all(Proxy::new("http://proxy.example:3128")?)
///     .no_proxy("registry.example, 10.0.0.0/8");
/// let client = Client::builder().proxies(proxies).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    http: Option<Choice>,
    https: Option<Choice>,
    except: NoProxy,
}

/// What the environment names may turn out unusable, which matters only to requests that would go there.
type Choice = Result<Arc<Proxy>, Error>;

impl Proxies {
    /// No proxy for anything.
    pub fn none() -> Self {
        Self::default()
    }

    /// `proxy` for everything.
    pub fn all(proxy: Proxy) -> Self {
        let proxy = Arc::new(proxy);
        Self {
            http: Some(Ok(Arc::clone(&proxy))),
            https: Some(Ok(proxy)),
            except: NoProxy::default(),
        }
    }

    /// `proxy` for requests to plain http URLs.
    #[must_use]
    pub fn http(mut self, proxy: Proxy) -> Self {
        self.http = Some(Ok(Arc::new(proxy)));
        self
    }

    /// `proxy` for requests to https URLs.
    #[must_use]
    pub fn https(mut self, proxy: Proxy) -> Self {
        self.https = Some(Ok(Arc::new(proxy)));
        self
    }

    /// What is reached without a proxy: a list in the form of the variable `NO_PROXY`, separated by commas or spaces.
    ///
    /// - `*`: everything;
    /// - `example.com`: that host and all below it; `.example.com` and `*.example.com` mean the same;
    /// - `10.1.2.3`, `fd00::1`: that address; `10.0.0.0/8`, `fd00::/8`: all addresses of that network;
    /// - `example.com:8443`, `10.1.2.3:8443`, `[fd00::1]:8443`: only on that port.
    ///
    /// Names are compared as they stand in the URL and never resolved. What is none of these is passed over.
    #[must_use]
    pub fn no_proxy(mut self, list: &str) -> Self {
        self.except = NoProxy::parse(list);
        self
    }

    /// The proxy for `url`, if it is not reached directly.
    ///
    /// Errors: [`ErrorKind::Configuration`] if the environment names one for it that cannot be used.
    pub fn for_url(&self, url: &Url) -> Result<Option<&Proxy>, Error> {
        let choice = match url.scheme() {
            "http" => &self.http,
            "https" => &self.https,
            _ => &None,
        };
        match choice {
            None => Ok(None),
            Some(_) if address::is_loopback(url) || self.except.contains(url) => Ok(None),
            Some(Ok(proxy)) => Ok(Some(proxy)),
            Some(Err(error)) => Err(error.clone()),
        }
    }

    /// Whether plain http requests may have to be told apart.
    pub(crate) fn has_http(&self) -> bool {
        self.http.is_some()
    }

    /// Whether everything is reached directly.
    pub(crate) fn is_none(&self) -> bool {
        self.http.is_none() && self.https.is_none()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn via(proxies: &Proxies, url: &str) -> Option<String> {
        let url = Url::parse(url).unwrap();
        proxies.for_url(&url).unwrap().map(ToString::to_string)
    }

    #[test]
    fn addresses_of_proxies() {
        for (address, url) in [
            ("proxy:3128", "http://proxy:3128/"),
            (" http://proxy:3128/ ", "http://proxy:3128/"),
            ("HTTP://Proxy", "http://proxy/"),
            ("https://proxy", "https://proxy/"),
            ("10.0.0.1:8080", "http://10.0.0.1:8080/"),
            ("[::1]:8080", "http://[::1]:8080/"),
            ("user:word@proxy:3128", "http://proxy:3128/"),
        ] {
            assert_eq!(
                Proxy::new(address).unwrap().url().as_str(),
                url,
                "{address}"
            );
        }
        for address in [
            "",
            "http://",
            "ftp://proxy",
            "http://s3cret:s3cret@",
            "http://proxy:s3cret",
            "http://proxy/s3cret",
            "http://proxy/?s3cret",
            "http://us%3Aer:s3cret@proxy",
        ] {
            let error = Proxy::new(address).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration, "{address}");
            assert!(
                !format!("{error} {error:?}").contains("s3cret"),
                "{error:?}"
            );
        }
        for scheme in ["socks", "socks4", "socks5", "socks5h", "SOCKS5"] {
            let error = Proxy::new(&format!("{scheme}://user:s3cret@proxy")).unwrap_err();
            assert!(error.to_string().contains("SOCKS"), "{error}");
            assert!(
                !format!("{error} {error:?}").contains("s3cret"),
                "{error:?}"
            );
        }
    }

    #[test]
    fn credentials_of_proxies_are_sent_decoded_and_never_shown() {
        for (address, decoded) in [
            ("http://user:s3%40cret@proxy", "user:s3@cret"),
            ("http://user@proxy", "user:"),
            ("http://:s3cret@proxy", ":s3cret"),
        ] {
            let proxy = Proxy::new(address).unwrap();
            let header = proxy.authorization().unwrap();
            assert!(header.is_sensitive());
            let expected = format!("Basic {}", BASE64_STANDARD.encode(decoded));
            assert_eq!(header.to_str().unwrap(), expected);
            let proxies = Proxies::all(proxy.clone());
            let error = proxy.wants_credentials();
            let shown = format!("{proxy} {proxy:?} {proxies:?} {error} {error:?}");
            assert!(
                !shown.contains("s3") && !shown.contains(&expected),
                "{shown}"
            );
        }
        assert!(Proxy::new("proxy").unwrap().authorization().is_none());
    }

    #[test]
    fn each_scheme_has_its_proxy_and_this_machine_none() {
        let proxies = Proxies::none()
            .http(Proxy::new("plain").unwrap())
            .https(Proxy::new("tunnel").unwrap());
        assert_eq!(via(&proxies, "http://h/"), Some("http://plain/".into()));
        assert_eq!(via(&proxies, "https://h/"), Some("http://tunnel/".into()));
        for url in ["http://localhost/", "http://127.9.9.9/", "https://[::1]:5/"] {
            assert_eq!(via(&proxies, url), None, "{url}");
        }
        let all = Proxies::all(Proxy::new("p").unwrap());
        assert_eq!(via(&all, "http://h/"), Some("http://p/".into()));
        assert_eq!(via(&all, "https://h/"), Some("http://p/".into()));
        assert_eq!(via(&all.no_proxy("h"), "https://h/"), None);
        assert_eq!(via(&Proxies::none(), "http://h/"), None);
    }

    proptest! {
        #[test]
        fn any_address_is_read_without_a_panic_and_no_password_is_shown(
            before in "[a-z:/%@]{0,12}",
            after in "[a-z0-9.:/?#%@\\[\\]]{0,16}",
        ) {
            let shown = match Proxy::new(&format!("{before}u:S3CRET@{after}")) {
                Ok(proxy) => format!("{proxy} {proxy:?} {:?}", proxy.wants_credentials()),
                Err(error) => format!("{error} {error:?}"),
            };
            prop_assert!(!shown.to_ascii_uppercase().contains("S3CRET"), "{}", shown);
        }
    }
}
