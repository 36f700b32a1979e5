//! Where the Engine is: by what the caller says, or by what the environment, Docker's contexts and the usual places say.
//! The one module of this crate that reads the environment.

use std::env;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::context;
use crate::endpoint::{Endpoint, EndpointError};

/// For how long nothing may happen in an operation by default.
const LONGEST_SILENCE: Duration = Duration::from_secs(30 * 60);

/// Where the Engine is and how to treat it. Nothing is connected yet; that is for [`Engine`](crate::Engine).
///
/// ```
/// use peak_docker::{Endpoint, Engine, EngineConfig};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let engine = Engine::new(EngineConfig::at(Endpoint::parse("unix:///run/my/docker.sock")?));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct EngineConfig {
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) longest_silence: Option<Duration>,
    pub(crate) unprotected_credentials: bool,
}

/// A place where an Engine may be.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    /// Who says so: `DOCKER_HOST`, a context, the usual place of something.
    pub(crate) origin: String,
    pub(crate) endpoint: Result<Endpoint, EndpointError>,
}

/// Why the settings of the environment cannot be followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineConfigError {
    /// What a setting names is no place that can be reached.
    #[error("{origin} names no Engine that can be reached")]
    Endpoint {
        /// The setting: `DOCKER_HOST`, or the context.
        origin: String,
        /// Why not.
        source: EndpointError,
    },
    /// There is no such context.
    #[error(
        "there is no Docker context `{name}` ({} is missing); `docker context ls` lists those there are", place.display()
    )]
    UnknownContext {
        /// Its name.
        name: String,
        /// Where it would be.
        place: PathBuf,
    },
    /// The context is for something else than Docker.
    #[error("the Docker context `{name}` names no Docker Engine")]
    ContextWithoutEngine {
        /// Its name.
        name: String,
    },
    /// The context wants any certificate to be taken.
    #[error(
        "the Docker context `{name}` switches the check of the Engine's certificate off, which is not supported; give it the certificate authority with `docker context update {name} --docker host=…,ca=ca.pem`"
    )]
    Unverified {
        /// Its name.
        name: String,
    },
    /// A file cannot be read.
    #[error("the file {} cannot be read", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("the file {} is not the JSON it should be at line {line}, column {column}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// Where, from 1.
        column: usize,
    },
    /// Certificates or keys cannot be used.
    #[error("the certificates for the Engine cannot be used")]
    Tls(#[from] peak_http::Error),
}

impl EngineConfig {
    /// The Engine at this place and nowhere else.
    pub fn at(endpoint: Endpoint) -> Self {
        Self::of(vec![Candidate {
            origin: "as asked for".to_owned(),
            endpoint: Ok(endpoint),
        }])
    }

    /// The Engine that the `docker` command would use, else one that is in a usual place. The first of these that is
    /// set decides:
    ///
    /// 1. `DOCKER_HOST`; with TLS where `DOCKER_TLS_VERIFY` or `DOCKER_TLS` is set or the scheme is `https`, by `ca.pem`,
    ///    `cert.pem` and `key.pem` in `DOCKER_CERT_PATH`, else in Docker's configuration directory. The certificate of the
    ///    Engine is checked in any case;
    /// 2. the context `DOCKER_CONTEXT`;
    /// 3. the `currentContext` of `config.json` in Docker's configuration directory (`DOCKER_CONFIG`, else `~/.docker`).
    ///
    /// Else the first of these that answers: `/var/run/docker.sock`; rootless and desktop Docker
    /// (`$XDG_RUNTIME_DIR/docker.sock`, `~/.docker/run/docker.sock`, `~/.docker/desktop/docker.sock`); Podman
    /// (`CONTAINER_HOST`, `$XDG_RUNTIME_DIR/podman/podman.sock`, `/run/podman/podman.sock`).
    ///
    /// Variables that are set but empty count as not set. Reads small files, so it blocks for a moment.
    ///
    /// # Errors
    /// Where a setting cannot be followed; another Engine than the one that was meant is never taken in its place. That
    /// no Engine is there is found out by the first request.
    pub fn from_environment() -> Result<Self, EngineConfigError> {
        Self::from_variables(&|name| env::var_os(name))
    }

    fn from_variables(
        variable: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Self, EngineConfigError> {
        let settings = Settings(variable);
        let home = settings.path(if cfg!(windows) { "USERPROFILE" } else { "HOME" });
        let directory = settings
            .path("DOCKER_CONFIG")
            .or_else(|| home.as_ref().map(|home| home.join(".docker")));
        if let Some(host) = settings.text("DOCKER_HOST") {
            let endpoint =
                Endpoint::parse(&host).map_err(|source| EngineConfigError::Endpoint {
                    origin: "DOCKER_HOST".to_owned(),
                    source,
                })?;
            let endpoint = settings.protected(endpoint, directory.as_deref())?;
            return Ok(Self::of(vec![Candidate::new("DOCKER_HOST", Ok(endpoint))]));
        }
        let context = match (settings.text("DOCKER_CONTEXT"), &directory) {
            (Some(name), _) => Some(name).filter(|name| context::is_a_context(name)),
            (None, Some(directory)) => context::current(directory)?,
            (None, None) => None,
        };
        if let Some(name) = context {
            let directory = directory.unwrap_or_else(|| PathBuf::from(".docker"));
            let endpoint = context::endpoint(&directory, &name)?;
            let origin = format!("the Docker context `{name}`");
            return Ok(Self::of(vec![Candidate::new(origin, Ok(endpoint))]));
        }
        Ok(Self::of(usual_places(&settings, home.as_deref())))
    }

    fn of(candidates: Vec<Candidate>) -> Self {
        Self {
            candidates,
            longest_silence: Some(LONGEST_SILENCE),
            unprotected_credentials: false,
        }
    }

    /// Where the Engine may be, in the order in which it is looked for.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.candidates
            .iter()
            .filter_map(|candidate| candidate.endpoint.as_ref().ok())
    }

    /// For how long an operation may go on without anything happening (no bytes, no progress) while the Engine is alive;
    /// `None` for without end. Default: 30 minutes, since an Engine may be busy for long before it says something, for
    /// example when it prepares a large image. A build is never ended for this: its steps may be silent for as long as
    /// they like.
    ///
    /// Whether the Engine is alive is asked every now and then meanwhile; one that does not answer is given up within a
    /// minute, whatever this says.
    #[must_use]
    pub fn longest_silence(mut self, limit: Option<Duration>) -> Self {
        self.longest_silence = limit;
        self
    }

    /// Sends credentials of registries to an Engine at an address of another machine without TLS, where everybody on the
    /// way can read them. Default: such requests are refused.
    #[must_use]
    pub fn send_credentials_unprotected(mut self, allowed: bool) -> Self {
        self.unprotected_credentials = allowed;
        self
    }
}

impl Candidate {
    fn new(origin: impl Into<String>, endpoint: Result<Endpoint, EndpointError>) -> Self {
        Self {
            origin: origin.into(),
            endpoint,
        }
    }
}

/// Where Engines are when nobody says otherwise.
fn usual_places(settings: &Settings<'_>, home: Option<&Path>) -> Vec<Candidate> {
    let socket = |origin: &str, path: PathBuf| Candidate::new(origin, Ok(Endpoint::socket(path)));
    let mut places = vec![socket(
        "Docker's default",
        PathBuf::from("/var/run/docker.sock"),
    )];
    let runtime = settings.path("XDG_RUNTIME_DIR");
    if let Some(runtime) = &runtime {
        places.push(socket("rootless Docker", runtime.join("docker.sock")));
    }
    if let Some(home) = home {
        let docker = home.join(".docker");
        places.push(socket("rootless Docker", docker.join("run/docker.sock")));
        places.push(socket("Docker Desktop", docker.join("desktop/docker.sock")));
    }
    if let Some(host) = settings.text("CONTAINER_HOST") {
        places.push(Candidate::new("CONTAINER_HOST", Endpoint::parse(&host)));
    }
    if let Some(runtime) = &runtime {
        places.push(socket(
            "rootless Podman",
            runtime.join("podman/podman.sock"),
        ));
    }
    places.push(socket("Podman", PathBuf::from("/run/podman/podman.sock")));
    places
}

/// Variables of the environment, those that are empty left out.
struct Settings<'a>(&'a dyn Fn(&str) -> Option<OsString>);

impl Settings<'_> {
    fn path(&self, name: &str) -> Option<PathBuf> {
        self.0(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    }

    fn text(&self, name: &str) -> Option<String> {
        let value = self.0(name)?;
        // What is no text is no address and no name of a context either; it fails as such.
        let text = value.to_string_lossy().trim().to_owned();
        Some(text).filter(|text| !text.is_empty())
    }

    /// The endpoint of `DOCKER_HOST` with the TLS that the environment asks for.
    fn protected(
        &self,
        endpoint: Endpoint,
        directory: Option<&Path>,
    ) -> Result<Endpoint, EngineConfigError> {
        let asked = self.path("DOCKER_TLS_VERIFY").is_some() || self.path("DOCKER_TLS").is_some();
        if endpoint.socket_path().is_some() || !(asked || endpoint.has_tls()) {
            return Ok(endpoint);
        }
        let named = self.path("DOCKER_CERT_PATH");
        let certificates = named.as_deref().or(directory);
        let options = certificates.map(context::tls).transpose()?.flatten();
        // Whoever names a directory does not mean to trust everybody whom this machine trusts.
        if let (None, Some(named)) = (&options, named) {
            return Err(EngineConfigError::File {
                path: named.join("ca.pem"),
                source: io::ErrorKind::NotFound.into(),
            });
        }
        Ok(endpoint.with_tls(options.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::error::Error as _;
    use std::fs;

    use peak_oci::Digest;

    use super::*;

    const CERTIFICATE: &[u8] = include_bytes!("../../peak-http/tests/it/certificates/client.pem");
    const KEY: &[u8] = include_bytes!("../../peak-http/tests/it/certificates/client.key.pem");
    const CA: &[u8] = include_bytes!("../../peak-http/tests/it/certificates/ca.pem");

    /// An environment of its own, with a home.
    struct Place {
        home: tempfile::TempDir,
        variables: HashMap<&'static str, String>,
    }

    impl Place {
        fn new() -> Self {
            let home = tempfile::tempdir().unwrap();
            let path = home.path().to_str().unwrap().to_owned();
            let name = if cfg!(windows) { "USERPROFILE" } else { "HOME" };
            Self {
                home,
                variables: HashMap::from([(name, path)]),
            }
        }

        fn with(mut self, name: &'static str, value: &str) -> Self {
            self.variables.insert(name, value.to_owned());
            self
        }

        fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
            let path = self.home.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
            self
        }

        fn context(self, name: &str, meta: &str) -> Self {
            let digest = Digest::sha256_of(name.as_bytes());
            let path = format!(".docker/contexts/meta/{}/meta.json", digest.hex());
            self.file(&path, meta)
        }

        fn read(&self) -> Result<EngineConfig, EngineConfigError> {
            EngineConfig::from_variables(&|name| self.variables.get(name).map(OsString::from))
        }

        #[track_caller]
        fn endpoints(&self) -> Vec<String> {
            let config = self.read().unwrap();
            let endpoints = config.endpoints().map(ToString::to_string);
            endpoints.collect()
        }

        #[track_caller]
        fn fails(&self) -> String {
            let error = self.read().unwrap_err();
            let cause = error.source().map(ToString::to_string);
            format!("{error}: {}", cause.unwrap_or_default())
        }
    }

    fn meta(host: &str) -> String {
        format!(r#"{{"Name":"x","Metadata":{{}},"Endpoints":{{"docker":{{"Host":"{host}"}}}}}}"#)
    }

    #[test]
    fn the_host_of_the_environment_wins_over_contexts() {
        let place = Place::new()
            .with("DOCKER_HOST", "tcp://build.example:2375")
            .with("DOCKER_CONTEXT", "absent")
            .with("DOCKER_CERT_PATH", "/certificates/that/nobody/asks/for");
        assert_eq!(place.endpoints(), ["http://build.example:2375/"]);
        let ssh = Place::new().with("DOCKER_HOST", "ssh://s3cret@h").fails();
        assert!(
            ssh.contains("DOCKER_HOST") && ssh.contains("ssh -nNT -L"),
            "{ssh}"
        );
        assert!(!ssh.contains("s3cret"), "{ssh}");
    }

    #[test]
    fn tls_is_on_where_it_is_asked_for_and_its_files_are_read() {
        let place = Place::new()
            .with("DOCKER_HOST", "tcp://h")
            .with("DOCKER_TLS_VERIFY", "1");
        assert_eq!(place.endpoints(), ["https://h:2376/"]);
        let place = place
            .file(".docker/ca.pem", CA)
            .file(".docker/cert.pem", CERTIFICATE)
            .file(".docker/key.pem", KEY);
        let shown = format!("{:?}", place.read().unwrap());
        assert!(shown.contains("client_certificate: true"), "{shown}");
        assert!(shown.contains("without_platform_roots: true"), "{shown}");
        fs::remove_file(place.home.path().join(".docker/key.pem")).unwrap();
        let error = place.fails();
        assert!(error.contains("key.pem"), "{error}");
        let path = place.home.path().join("elsewhere");
        let place = place.with("DOCKER_CERT_PATH", path.to_str().unwrap());
        assert!(
            place.fails().contains("elsewhere/ca.pem"),
            "{}",
            place.fails()
        );
        let place = place.file("elsewhere/ca.pem", "no certificate");
        assert!(place.fails().contains("elsewhere"), "{}", place.fails());
        let socket = Place::new()
            .with("DOCKER_HOST", "unix:///a.sock")
            .with("DOCKER_TLS_VERIFY", "1");
        assert_eq!(socket.endpoints(), ["unix:///a.sock"]);
    }

    #[test]
    fn the_context_is_that_of_the_environment_else_the_current_one() {
        let place = Place::new()
            .context("one", &meta("unix:///one.sock"))
            .context("two/../3", &meta("tcp://two.example"))
            .file(".docker/config.json", r#"{"currentContext":"one"}"#);
        assert_eq!(place.endpoints(), ["unix:///one.sock"]);
        let place = place.with("DOCKER_CONTEXT", "two/../3");
        assert_eq!(place.endpoints(), ["http://two.example:2375/"]);
        let digest = Digest::sha256_of(b"two/../3");
        let path = format!(".docker/contexts/tls/{}/docker/ca.pem", digest.hex());
        let place = place.file(&path, CA);
        assert_eq!(place.endpoints(), ["https://two.example:2376/"]);
        // The name of what is there without contexts.
        let place = place.with("DOCKER_CONTEXT", "default");
        assert_eq!(place.endpoints()[0], "unix:///var/run/docker.sock");
        let place = place.with("DOCKER_CONTEXT", "absent");
        let error = place.fails();
        assert!(
            error.contains("`absent`") && error.contains("docker context ls"),
            "{error}"
        );
    }

    #[test]
    fn a_context_that_cannot_be_followed_is_an_error_and_no_other_engine_is_taken() {
        let current = |name: &str| {
            Place::new().file(
                ".docker/config.json",
                format!(r#"{{"currentContext":"{name}"}}"#),
            )
        };
        let unverified = meta("tcp://h").replace(r#""Host""#, r#""SkipTLSVerify":true,"Host""#);
        for (place, says) in [
            (current("x"), "no Docker context `x`"),
            (current("x").context("x", "{"), "line 1"),
            (current("x").context("x", "{}"), "names no Docker Engine"),
            (current("x").context("x", &meta("ssh://h")), "ssh -nNT -L"),
            (current("x").context("x", &unverified), "switches the check"),
            (
                Place::new().file(".docker/config.json", r#"{"auths": {"a": "s3cret}"#),
                "config.json",
            ),
            (
                Place::new().file(".docker/config.json", " ".repeat(1024 * 1024 + 1)),
                "larger than",
            ),
        ] {
            let error = place.fails();
            assert!(error.contains(says), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn without_settings_the_usual_places_come_in_their_order() {
        let place = Place::new()
            .with("XDG_RUNTIME_DIR", "/run/user/1000")
            .with("CONTAINER_HOST", "unix:///podman.sock")
            .with("DOCKER_HOST", " ")
            .file(".docker/config.json", r#"{"auths":{},"currentContext":""}"#);
        let home = place.home.path().display().to_string();
        assert_eq!(
            place.endpoints(),
            [
                "unix:///var/run/docker.sock",
                "unix:///run/user/1000/docker.sock",
                &format!("unix://{home}/.docker/run/docker.sock"),
                &format!("unix://{home}/.docker/desktop/docker.sock"),
                "unix:///podman.sock",
                "unix:///run/user/1000/podman/podman.sock",
                "unix:///run/podman/podman.sock",
            ]
        );
        // One of several places that is of no use is only a place that was tried.
        let place = place.with("CONTAINER_HOST", "ssh://core@h");
        assert_eq!(place.endpoints().len(), 6);
        assert_eq!(place.read().unwrap().candidates.len(), 7);
    }
}
