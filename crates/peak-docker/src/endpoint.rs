//! Where an Engine listens, as `DOCKER_HOST` and contexts write it.

use std::fmt;
use std::path::{Path, PathBuf};

use peak_http::{Client, ClientBuilder, Error, TlsOptions, address};
use url::Url;

/// The port of an Engine without TLS and with it, as registered with IANA (`docker`, `docker-s`).
const PORT: u16 = 2375;
const PORT_OF_TLS: u16 = 2376;

/// Where an Engine listens: a Unix socket, or an address that speaks HTTP with TLS or without.
///
/// ```
/// use peak_docker::Endpoint;
///
/// let local = Endpoint::parse("unix:///var/run/docker.sock")?;
/// let remote = Endpoint::parse("tcp://build.example")?.with_tls(Default::default());
/// assert_eq!(local.to_string(), "unix:///var/run/docker.sock");
/// assert_eq!(remote.to_string(), "https://build.example:2376/");
/// # Ok::<(), peak_docker::EndpointError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Endpoint {
    place: Place,
    tls: Option<TlsOptions>,
}

#[derive(Clone, Debug)]
enum Place {
    Socket(PathBuf),
    /// `http` until there is TLS, and without a port where none was written.
    Address {
        url: Url,
        port: Option<u16>,
    },
}

/// Why a text is no [`Endpoint`]. It never repeats the text, which may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// `ssh://…`.
    #[error(
        "an Engine behind ssh:// is not reached directly; forward its socket (`ssh -nNT -L /tmp/docker.sock:/var/run/docker.sock HOST`) and give unix:///tmp/docker.sock"
    )]
    Ssh,
    /// `npipe://…`.
    #[error(
        "named pipes (npipe://) are not supported; have the Engine listen on tcp:// and give that address"
    )]
    NamedPipe,
    /// A scheme that is none of those known.
    #[error(
        "it has an unknown scheme; unix:///PATH, tcp://HOST:PORT or https://HOST:PORT is expected"
    )]
    Scheme,
    /// Not of the form that its scheme wants.
    #[error(
        "it is not of the form unix:///PATH, tcp://HOST:PORT, http://HOST:PORT or https://HOST:PORT"
    )]
    Malformed,
}

impl Endpoint {
    /// The Unix socket at `path`.
    pub fn socket(path: impl Into<PathBuf>) -> Self {
        Self {
            place: Place::Socket(path.into()),
            tls: None,
        }
    }

    /// As `DOCKER_HOST` has it: `unix:///PATH`, `tcp://HOST[:PORT]`, `http://HOST[:PORT]`, `https://HOST[:PORT]`, or
    /// `HOST:PORT`, which means `tcp`. Only `https` has TLS by itself; see [`with_tls`](Self::with_tls).
    ///
    /// # Errors
    /// [`EndpointError`] says what is wrong, and for what is not supported what to do.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").unwrap_or(("tcp", text));
        match scheme.to_ascii_lowercase().as_str() {
            "unix" => {
                if rest.starts_with('/') && !rest.contains('\0') {
                    Ok(Self::socket(rest))
                } else {
                    Err(EndpointError::Malformed)
                }
            }
            "tcp" | "http" => Self::address(rest, None),
            "https" => Self::address(rest, Some(TlsOptions::new())),
            "ssh" => Err(EndpointError::Ssh),
            "npipe" => Err(EndpointError::NamedPipe),
            _ => Err(EndpointError::Scheme),
        }
    }

    fn address(rest: &str, tls: Option<TlsOptions>) -> Result<Self, EndpointError> {
        let mut url =
            Url::parse(&format!("http://{rest}")).map_err(|_| EndpointError::Malformed)?;
        let plain = url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
            && url.host_str().is_some_and(|host| !host.is_empty());
        if !plain {
            return Err(EndpointError::Malformed);
        }
        // The parser drops the port that is the scheme's own, so it is read from what was written.
        let authority = rest.split('/').next().unwrap_or_default();
        let port = match authority.rsplit_once(':') {
            Some((_, digits)) if !digits.ends_with(']') => {
                Some(digits.parse().map_err(|_| EndpointError::Malformed)?)
            }
            _ => None,
        };
        url.set_port(None).map_err(|()| EndpointError::Malformed)?;
        Ok(Self {
            place: Place::Address { url, port },
            tls,
        })
    }

    /// The same address with TLS: whom to trust there, and who we are. Certificates are always checked. A Unix socket
    /// has no use for it and stays as it is.
    #[must_use]
    pub fn with_tls(mut self, options: TlsOptions) -> Self {
        if matches!(self.place, Place::Address { .. }) {
            self.tls = Some(options);
        }
        self
    }

    /// The path, if it is a Unix socket.
    pub fn socket_path(&self) -> Option<&Path> {
        match &self.place {
            Place::Socket(path) => Some(path),
            Place::Address { .. } => None,
        }
    }

    pub(crate) fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Whether what is sent there can be read by others on the way: an address that is not of this machine, without TLS.
    pub fn is_unprotected(&self) -> bool {
        match &self.place {
            Place::Socket(_) => false,
            Place::Address { url, .. } => self.tls.is_none() && !address::is_loopback(url),
        }
    }

    /// What paths are appended to; it ends with a slash.
    pub(crate) fn base(&self) -> Result<Url, EndpointError> {
        match &self.place {
            // Only for the `Host` header: the connection goes to the socket.
            Place::Socket(_) => {
                Url::parse("http://localhost/").map_err(|_| EndpointError::Malformed)
            }
            Place::Address { url, port } => {
                let mut base = url.clone();
                let (scheme, default) = match self.tls {
                    Some(_) => ("https", PORT_OF_TLS),
                    None => ("http", PORT),
                };
                let set = base.set_scheme(scheme).is_ok()
                    && base.set_port(Some(port.unwrap_or(default))).is_ok();
                if !set {
                    return Err(EndpointError::Malformed);
                }
                if !base.path().ends_with('/') {
                    base.set_path(&format!("{}/", base.path()));
                }
                Ok(base)
            }
        }
    }

    /// A client whose connections lead here.
    pub(crate) fn client(&self, builder: ClientBuilder) -> Result<Client, Error> {
        match (&self.place, &self.tls) {
            #[cfg(unix)]
            (Place::Socket(path), _) => builder.unix_socket(path).build(),
            #[cfg(not(unix))]
            (Place::Socket(_), _) => Err(Error::new(
                peak_http::ErrorKind::Configuration,
                "this system has no Unix sockets; have the Engine listen on tcp://",
            )),
            (Place::Address { .. }, Some(options)) => builder.tls(options.clone()).build(),
            (Place::Address { .. }, None) => builder.build(),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Socket(path) => write!(formatter, "unix://{}", path.display()),
            Place::Address { url, .. } => match self.base() {
                Ok(base) => base.fmt(formatter),
                Err(_) => url.fmt(formatter),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_docker_host_is_read() {
        for (text, shown, base) in [
            ("unix:///a/b.sock", "unix:///a/b.sock", "http://localhost/"),
            ("tcp://h", "http://h:2375/", "http://h:2375/"),
            ("tcp://h:80", "http://h:80/", "http://h:80/"),
            ("h:4243", "http://h:4243/", "http://h:4243/"),
            (
                "http://h:443/engine",
                "http://h:443/engine/",
                "http://h:443/engine/",
            ),
            ("https://h", "https://h:2376/", "https://h:2376/"),
            ("HTTPS://h:443", "https://h/", "https://h/"),
            (
                "tcp://[::1]:2375",
                "http://[::1]:2375/",
                "http://[::1]:2375/",
            ),
            ("tcp://[::1]", "http://[::1]:2375/", "http://[::1]:2375/"),
        ] {
            let endpoint = Endpoint::parse(text).unwrap();
            // `Url` leaves the port out where it is that of the scheme.
            let shown = shown.replace("http://h:80/", "http://h/");
            let base = base.replace("http://h:80/", "http://h/");
            assert_eq!(endpoint.to_string(), shown, "{text}");
            assert_eq!(endpoint.base().unwrap().as_str(), base, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_reached_is_refused_and_says_what_to_do() {
        for (text, error) in [
            ("ssh://user:s3cret@h", EndpointError::Ssh),
            ("npipe:////./pipe/docker_engine", EndpointError::NamedPipe),
            ("ftp://s3cret@h", EndpointError::Scheme),
            ("tcp://user:s3cret@h", EndpointError::Malformed),
            ("tcp://", EndpointError::Malformed),
            ("", EndpointError::Malformed),
            ("tcp://h:port", EndpointError::Malformed),
            ("tcp://h:", EndpointError::Malformed),
            ("tcp://h?s3cret", EndpointError::Malformed),
            ("unix://relative", EndpointError::Malformed),
            ("unix://", EndpointError::Malformed),
        ] {
            assert_eq!(Endpoint::parse(text).unwrap_err(), error, "{text}");
        }
        assert!(EndpointError::Ssh.to_string().contains("ssh -nNT -L"));
    }

    #[test]
    fn tls_is_for_addresses_and_only_remote_plain_ones_are_unprotected() {
        let tls = TlsOptions::new;
        let parse = |text: &str| Endpoint::parse(text).unwrap();
        assert_eq!(
            parse("tcp://h").with_tls(tls()).to_string(),
            "https://h:2376/"
        );
        assert!(parse("tcp://h").is_unprotected());
        for endpoint in [
            parse("unix:///s").with_tls(tls()),
            parse("tcp://127.0.0.1:1"),
            parse("tcp://localhost"),
            parse("https://h"),
            parse("tcp://h").with_tls(tls()),
        ] {
            assert!(!endpoint.is_unprotected(), "{endpoint}");
        }
    }
}
