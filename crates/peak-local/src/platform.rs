//! Starting and ending the platform.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use peak_registry_server::Observer;
use peak_registry_server::auth::Auth;
use peak_serve::{Limits, Listener, ServeError, Server, Tls};
use secrecy::{ExposeSecret, SecretString};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::api::{self, AccessToken, Application};
use crate::builder::EngineLink;
use crate::control::Control;
use crate::engine::{EngineBuilder, EngineUse};
use crate::error::LocalError;
use crate::remover::Remover;
use crate::runner::Runner;
use crate::shared::{Shared, join_failed};

/// The largest archive that is taken where nothing else is said: 10 MiB, as on the real platform.
pub const DEFAULT_ARTIFACT_LIMIT: u64 = 10 * 1024 * 1024;

/// How long a build on a Docker Engine may take where nothing else is said.
pub const DEFAULT_ENGINE_TIME_LIMIT: Duration = Duration::from_secs(60 * 60);

/// A running embedded platform: images API, builder and registry on one address.
///
/// [`shutdown`](Self::shutdown) ends it and waits until nothing of it runs any more. Dropping it ends
/// it too, but without waiting: connections are cut, builds are told to stop, and the state directory
/// is released as soon as they have.
///
/// # What it keeps
///
/// One state directory, used by one process at a time: `registry/` (a [`peak_registry_server::Store`]),
/// `state.redb` (artifacts, images, versions, builds, log lines; one transaction per change) and `artifacts/` (the
/// uploaded archives by digest; one goes with the last version of an artifact or of an image that has it, or, where
/// a version was only built again from another one, at the next start). A build
/// that waits or runs when the process ends, however it ends, is `failed` from then on, and the last line
/// of its log says so; nothing is built again by itself.
///
/// What is deleted from the registry frees its space with `peak local gc`, here [`Upkeep`](crate::Upkeep): work on the directory whether
/// or not a platform runs on it. One that runs says in `control.json` how those can ask it who can read the directory.
///
/// # How it differs from the real platform
///
/// - Every image has the scope `custom`; versions have no tags. Lists are newest first; a page has at
///   most 100 entries, and 25 where nothing is asked for.
/// - An image's name is also its repository and must be lower-case letters and digits, in parts that
///   `.`, `_`, `__`, dashes or `/` separate; a version is also a tag: at most 128 letters, digits, `.`,
///   `_` and `-`.
/// - A version that is being built is not built a second time at once (422). A version that was built once
///   stays `ready` while, and although, a later build of it runs or fails.
/// - The source `github` is refused (422): there is no way out to the network. Secrets and
///   `autodeployResources` are accepted, do nothing, and the build's log says so.
/// - It is strict: parameters and fields that an operation does not know, that have another kind or come twice
///   are 400 and named; what is well-formed but cannot be done is 422. Two things are not looked at: `name` and `type`
///   in the form of a version, which clients send that create or update as needed.
/// - A delete answers at once and is carried out right after, a restart in between or not. Until then what goes has
///   the status `deleting` (artifacts and images say so in a `status` that they do not have otherwise), its name is
///   taken, it can be read but not changed (422), and deleting it again is no error. What could not be deleted is
///   `delete-failed` until it is deleted again. What is being built is not deleted (422): wait for the build.
///   The tag goes from the registry with its version, the layers behind it with `peak local gc --untagged`. An image whose versions are all
///   deleted stays, without a `latestVersion`.
/// - The URL of a log's download is on the same address, needs no token, and is good for five minutes, or
///   until the platform ends. It gives the lines there are at that time.
/// - Artifacts may share a name, since nothing says that the real platform refuses that; images and the versions of an
///   image may not (409). The archives of artifacts are neither scanned nor validated, beyond that each must
///   begin as a zip does (422); a download comes from the same address, with ranges. Version numbers of
///   deleted versions are not given out again.
/// - Archives are at most 10 MiB unless [told otherwise](PlatformBuilder::artifact_limit); the whole form
///   may be 2 MiB longer.
pub struct Platform {
    // First, so that nobody is sent to a platform that has let go of its state directory.
    control: Control,
    address: SocketAddr,
    url: Url,
    shared: Arc<Shared>,
    /// Tracks `shared`, whoever still has it.
    open: TaskTracker,
    end: End,
    server: Server,
    ca_certificate: Option<PathBuf>,
    runner: JoinHandle<()>,
    remover: JoinHandle<()>,
}

/// What tells the parts of the platform to end. Dropping it ends them at once.
struct End {
    /// No new builds.
    stop: CancellationToken,
    /// The same for builds, where there is no waiting on a token.
    stopping: Arc<AtomicBool>,
}

impl End {
    fn begin(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.stop.cancel();
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.begin();
    }
}

impl Platform {
    /// Begins to describe a platform; only the [state directory](PlatformBuilder::state_dir) must be given.
    pub fn builder() -> PlatformBuilder {
        PlatformBuilder::new()
    }

    /// Where this machine reaches it, with the port that was found if port 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The base URL of the API: what `PEAK_ENDPOINT_URL` is set to.
    pub fn url(&self) -> Url {
        self.url.clone()
    }

    /// The certificate that clients have to trust, where the platform [made its own](PlatformBuilder::tls_self_signed).
    pub fn ca_certificate(&self) -> Option<&Path> {
        self.ca_certificate.as_deref()
    }

    /// Ends the platform: no new connections, running builds are cancelled and end as failed, requests
    /// have the drain timeout to end before their connections are cut.
    ///
    /// When this returns, nothing of the platform runs any more and the state directory is free.
    pub async fn shutdown(self) {
        let Self {
            control,
            shared,
            open,
            end,
            server,
            runner,
            remover,
            ..
        } = self;
        end.begin();
        log_panic("runner of builds", runner.await);
        log_panic("remover of what is deleted", remover.await);
        control.end().await;
        server.shutdown().await;
        shared.close().await;
        // What the registry writes goes on without the requests that it came with.
        let registry = shared.registry.clone();
        drop(shared);
        open.close();
        open.wait().await;
        log_panic(
            "registry",
            tokio::task::spawn_blocking(move || registry.close()).await,
        );
    }
}

impl fmt::Debug for Platform {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Platform")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

fn log_panic<T>(task: &'static str, result: Result<T, tokio::task::JoinError>) {
    if let Err(error) = result {
        tracing::error!(%error, "the {task} ended with a panic");
    }
}

/// What a platform is started with.
#[derive(Debug, Clone)]
pub struct PlatformBuilder {
    state_directory: Option<PathBuf>,
    listen: SocketAddr,
    token: Option<SecretString>,
    registry_auth: Option<Auth>,
    artifact_limit: u64,
    builds_at_once: usize,
    drain: Duration,
    tls: TlsChoice,
    observer: Observer,
    engine: Option<(Arc<dyn EngineBuilder>, EngineUse)>,
    engine_time_limit: Duration,
    #[cfg(feature = "faults")]
    faults: crate::faults::Faults,
}

/// Whether TLS is spoken, and with which certificate.
#[derive(Debug, Clone)]
enum TlsChoice {
    Off,
    SelfSigned,
    Files { chain: PathBuf, key: PathBuf },
}

impl TlsChoice {
    /// Reads the certificate, or makes it. Blocks.
    fn load(&self, directory: &Path, address: SocketAddr) -> Result<Option<Tls>, LocalError> {
        let name = (!address.ip().is_unspecified()).then(|| address.ip().to_string());
        let tls = match self {
            Self::Off => return Ok(None),
            Self::SelfSigned => Tls::self_signed(directory, name),
            Self::Files { chain, key } => Tls::from_files(chain, key),
        };
        tls.map(Some).map_err(|source| LocalError::Tls {
            source: Box::new(source),
        })
    }
}

impl PlatformBuilder {
    fn new() -> Self {
        Self {
            state_directory: None,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            token: None,
            registry_auth: None,
            artifact_limit: DEFAULT_ARTIFACT_LIMIT,
            builds_at_once: 2,
            drain: Duration::from_secs(10),
            tls: TlsChoice::Off,
            observer: api::observer(),
            engine: None,
            engine_time_limit: DEFAULT_ENGINE_TIME_LIMIT,
            #[cfg(feature = "faults")]
            faults: crate::faults::Faults::new(),
        }
    }

    /// Where everything is kept. Made, with its parents and readable to its owner alone, where it is
    /// not there; otherwise it must be empty or have been a state directory before.
    #[must_use]
    pub fn state_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.state_directory = Some(path.into());
        self
    }

    /// Where to listen, with port 0 for one that is free. Default `127.0.0.1:0`. Other addresses than
    /// those of loopback need a [token](Self::token) and TLS.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = address;
        self
    }

    /// The token that every request needs: verbatim as `Authorization` for the API, as the password of
    /// any user for the registry, with each request or for tokens of its own. Default `None`: everybody on this machine may do everything.
    #[must_use]
    pub fn token(mut self, token: Option<SecretString>) -> Self {
        self.token = token;
        self
    }

    /// Who may do what with the registry, where that is to be more than whoever has the
    /// [token](Self::token), which is good for everything there all the same. The API knows no users:
    /// what it builds goes into the registry whoever asked for it. Default `None`.
    #[must_use]
    pub fn registry_auth(mut self, auth: Option<Auth>) -> Self {
        self.registry_auth = auth;
        self
    }

    /// The size of the largest archive that may be uploaded, bytes. Default [`DEFAULT_ARTIFACT_LIMIT`].
    #[must_use]
    pub fn artifact_limit(mut self, bytes: u64) -> Self {
        self.artifact_limit = bytes;
        self
    }

    /// How many builds run at the same time; the others wait in order. At least 1, default 2.
    #[must_use]
    pub fn builds_at_once(mut self, count: usize) -> Self {
        self.builds_at_once = count.max(1);
        self
    }

    /// Lets a Docker Engine do builds: those that need one, or all. Default: there is none, and Dockerfiles that need one
    /// fail.
    #[must_use]
    pub fn engine(mut self, engine: Arc<dyn EngineBuilder>, when: EngineUse) -> Self {
        self.engine = Some((engine, when));
        self
    }

    /// How long a build on the Engine may take. Default [`DEFAULT_ENGINE_TIME_LIMIT`].
    #[must_use]
    pub fn engine_time_limit(mut self, limit: Duration) -> Self {
        self.engine_time_limit = limit;
        self
    }

    /// How long [`Platform::shutdown`] waits for requests to end. Default 10 seconds.
    #[must_use]
    pub fn drain_timeout(mut self, time: Duration) -> Self {
        self.drain = time;
        self
    }

    /// Speaks TLS with a certificate for `localhost`, the loopback addresses, this machine's name and
    /// the address listened on, signed by an authority in the state directory that is made with the
    /// first start and kept. Clients have to trust [it](Platform::ca_certificate). Default: no TLS.
    #[must_use]
    pub fn tls_self_signed(mut self) -> Self {
        self.tls = TlsChoice::SelfSigned;
        self
    }

    /// Speaks TLS with the certificates in `chain` (PEM, the platform's own first) and the private key
    /// in `key` (PEM, not encrypted). Files that are renewed are read again. Default: no TLS.
    #[must_use]
    pub fn tls_files(mut self, chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.tls = TlsChoice::Files {
            chain: chain.into(),
            key: key.into(),
        };
        self
    }

    /// Counts requests, and says the counts at `/metrics`, to everybody who reaches the address; see
    /// [`Observer`](peak_registry_server::Observer). Default: off.
    #[must_use]
    pub fn metrics(mut self, on: bool) -> Self {
        self.observer = self.observer.metrics(on);
        self
    }

    /// Logs each request as a `tracing` event with the target
    /// [`Observer::ACCESS_LOG_TARGET`](peak_registry_server::Observer::ACCESS_LOG_TARGET). Default: off.
    #[must_use]
    pub fn access_log(mut self, on: bool) -> Self {
        self.observer = self.observer.access_log(on);
        self
    }

    /// What goes wrong with requests. Default: nothing.
    #[cfg(feature = "faults")]
    #[must_use]
    pub fn faults(mut self, faults: crate::faults::Faults) -> Self {
        self.faults = faults;
        self
    }

    /// Starts the platform on the current tokio runtime.
    ///
    /// Builds that an earlier process left unfinished are `failed` from now on, with a line in their
    /// log that says so.
    pub async fn start(self) -> Result<Platform, LocalError> {
        let state_directory = self.state_directory.ok_or(LocalError::NoStateDirectory)?;
        let token = self.token.as_ref().map(AccessToken::new).transpose()?;
        let registry_auth = registry_auth(self.token.as_ref(), self.registry_auth);
        let loopback = self.listen.ip().is_loopback();
        if !loopback && (token.is_none() || matches!(self.tls, TlsChoice::Off)) {
            return Err(LocalError::NotLoopback {
                address: self.listen,
            });
        }
        let mut listener = Listener::bind(self.listen).await?;
        let address = reachable(listener.address());
        let scheme = match self.tls {
            TlsChoice::Off => "http",
            TlsChoice::SelfSigned | TlsChoice::Files { .. } => "https",
        };
        let url =
            Url::parse(&format!("{scheme}://{address}")).map_err(|error| ServeError::Listen {
                address,
                source: io::Error::other(error),
            })?;
        let path = state_directory.clone();
        let open = TaskTracker::new();
        let tracker = open.clone();
        let tls = self.tls.clone();
        let opened = tokio::task::spawn_blocking(move || {
            let shared = Shared::open(&path, address, &tracker)?;
            let tls = tls.load(&shared.directory.tls(), address)?;
            Ok::<_, LocalError>((shared, tls))
        })
        .await;
        let (shared, tls) = opened.map_err(|error| LocalError::StateDirectory {
            path: state_directory,
            action: "opening it",
            source: join_failed(error),
        })??;
        let shared = Arc::new(shared);
        let ca_certificate = tls
            .as_ref()
            .and_then(Tls::ca_certificate)
            .map(Path::to_owned);
        if let Some(tls) = tls {
            listener = listener.with_tls(tls);
        }

        let stop = CancellationToken::new();
        let control = Control::start(&shared, &url, &stop).await?;
        let stopping = Arc::new(AtomicBool::new(false));
        let engine = self.engine.map(|(builder, when)| EngineLink {
            builder,
            when,
            runtime: tokio::runtime::Handle::current(),
            stop: stop.clone(),
            time_limit: self.engine_time_limit,
            registry_password: self.token.clone(),
        });
        let (queue, runner) = Runner::new(
            Arc::clone(&shared),
            self.builds_at_once,
            stop.clone(),
            Arc::clone(&stopping),
        );
        let runner = runner.with_engine(engine);
        #[cfg(feature = "faults")]
        let runner = runner.with_faults(self.faults.clone());
        let remover = Remover::new(
            Arc::clone(&shared),
            stop.clone(),
            #[cfg(feature = "faults")]
            self.faults.clone(),
        );
        let application = Application::new(Arc::clone(&shared), queue, self.artifact_limit);
        let router = api::router(
            application,
            token,
            &self.observer,
            loopback,
            registry_auth,
            #[cfg(feature = "faults")]
            self.faults,
        );
        let router = self.observer.watch(router);
        let server = Server::start(listener, router, &Limits::new().drain(self.drain));
        Ok(Platform {
            control,
            address,
            url,
            shared,
            open,
            end: End { stop, stopping },
            server,
            ca_certificate,
            runner: tokio::spawn(runner.run()),
            remover: tokio::spawn(remover.run()),
        })
    }
}

/// Where clients on this machine reach what listens on `address`.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Who may do what with the registry.
fn registry_auth(token: Option<&SecretString>, users: Option<Auth>) -> Auth {
    match (token.map(SecretString::expose_secret), users) {
        (None, None) => Auth::none(),
        (None, Some(users)) => users,
        (Some(token), None) => Auth::shared_secret(token),
        (Some(token), Some(users)) => users.with_shared_secret(token),
    }
}
