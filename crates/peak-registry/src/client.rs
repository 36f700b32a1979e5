//! The client: one per program, shared by all registries it talks to.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use peak_http::{ClientBuilder, Origin, Proxies, RequestLayer, RetryPolicy, TlsOptions};
use peak_oci::Reference;

use crate::auth::{Credentials, Identities, Identity, Keychain, RegistryAuthenticator};
use crate::blobs::ranges::ParallelRanges;
use crate::blobs::upload::{Abandoned, States};
use crate::connection::{self, Call, Connection, Shared};
use crate::host::{self, Host, Scheme};
use crate::notices::RateLimit;
use crate::pace::Limits;
use crate::pages::PAGE_SIZE;
use crate::{RegistryError, Repository};

/// How often a registry may say when to come back: of many requests at once it refuses most, and again the next time.
const TOLD_RETRIES: u32 = 20;

/// No bytes of a body for so long: it is taken for dead and asked for again from where it stopped.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// What proxies in front of registries answer when it may go better in a moment, beside the statuses of the standard:
/// nginx (499) and Cloudflare (520, 522).
fn transient_statuses() -> impl Iterator<Item = StatusCode> {
    [499, 520, 522]
        .into_iter()
        .filter_map(|code| StatusCode::from_u16(code).ok())
}

/// A client of OCI and Docker registries. Cheap to clone; clones share connections and tokens.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

struct Inner {
    client: peak_http::Client,
    authenticator: Arc<RegistryAuthenticator>,
    /// What further clients are made of.
    http: ClientBuilder,
    insecure: BTreeSet<String>,
    shared: Arc<Shared>,
}

impl Registry {
    /// Settings of a new client.
    pub fn builder() -> RegistryBuilder {
        RegistryBuilder {
            http: peak_http::Client::builder()
                .idle_timeout(IDLE_TIMEOUT)
                .retry(
                    RetryPolicy::new()
                        .transient_statuses(transient_statuses())
                        .told_retries(TOLD_RETRIES),
                ),
            credentials: BTreeMap::new(),
            keychain: None,
            insecure: BTreeSet::new(),
            single_put_limits: BTreeMap::new(),
            ranges: ParallelRanges::new(),
            tls: TlsOptions::default(),
            limits: Limits::default(),
            page_size: PAGE_SIZE,
            upload_states: None,
        }
    }

    /// The repository that a reference names. Nothing is sent.
    ///
    /// The reference's digest or tag is what [`Source::manifest`](peak_oci::Source::manifest) without a selector means.
    pub fn repository(&self, reference: &Reference) -> Repository {
        Repository::new(
            self.connection(reference.registry()),
            reference.repository().clone(),
            reference.selector(),
        )
    }

    /// Asks a registry whether it speaks the protocol and lets us in.
    ///
    /// # Errors
    /// [`RegistryError::Unauthorized`] and [`Denied`](RegistryError::Denied) where it wants other credentials,
    /// [`InvalidResponse`](RegistryError::InvalidResponse) where it is no registry, and whatever a request can meet.
    pub async fn ping(&self, registry: &str) -> Result<(), RegistryError> {
        let connection = self.connection(registry);
        let root = connection.root().await?;
        let place = connection.host.name();
        let call = Call::new("ping", Method::GET, root);
        let response = connection.send(call, place).await?;
        match response.status() {
            StatusCode::OK => Ok(()),
            StatusCode::NOT_FOUND => Err(RegistryError::InvalidResponse {
                repository: place.to_owned(),
                reason: "it has no /v2/, so it is no registry",
            }),
            status => {
                let reasons = connection::reasons(response).await;
                Err(connection::refusal(place, status, reasons))
            }
        }
    }

    /// The warnings (`Warning: 299`) that a registry has sent so far, each once. They are logged too.
    pub fn warnings(&self, registry: &str) -> Vec<String> {
        self.inner
            .shared
            .notices
            .warnings(&host::canonical_name(registry))
    }

    /// How much one may ask of a registry, as it last said it; `None` where it never did.
    pub fn rate_limit(&self, registry: &str) -> Option<RateLimit> {
        self.inner
            .shared
            .notices
            .rate_limit(&host::canonical_name(registry))
    }

    pub(crate) fn connection(&self, registry: &str) -> Connection {
        Connection::new(
            self.inner.client.clone(),
            self.host(registry),
            Arc::clone(&self.inner.shared),
        )
    }

    pub(crate) fn authenticator(&self) -> &RegistryAuthenticator {
        &self.inner.authenticator
    }

    pub(crate) fn abandoned(&self) -> &Abandoned {
        &self.inner.shared.abandoned
    }

    pub(crate) fn host(&self, registry: &str) -> Host {
        Host::new(registry, &self.inner.insecure)
    }

    pub(crate) fn caller(&self, origin: &Origin) -> Option<&Identity> {
        self.inner.authenticator.identities().caller(origin)
    }

    pub(crate) fn configured_keychain(&self) -> Option<&Keychain> {
        self.inner.authenticator.identities().keychain()
    }

    pub(crate) fn insecure_origins(&self) -> BTreeSet<Origin> {
        insecure_origins(&self.inner.insecure)
    }

    /// A client with the same settings and other credentials.
    pub(crate) fn client_as(
        &self,
        identities: Identities,
    ) -> Result<(peak_http::Client, Arc<RegistryAuthenticator>), RegistryError> {
        RegistryAuthenticator::client(&self.inner.http, identities)
    }
}

/// Where registries that are marked insecure answer, in the clear and over TLS.
fn insecure_origins(insecure: &BTreeSet<String>) -> BTreeSet<Origin> {
    [Scheme::Http, Scheme::Https]
        .into_iter()
        .flat_map(|scheme| origins(insecure, scheme))
        .collect()
}

/// The same, over one of them.
fn origins(insecure: &BTreeSet<String>, scheme: Scheme) -> BTreeSet<Origin> {
    insecure
        .iter()
        .filter_map(|registry| {
            let host = Host::new(registry, insecure);
            Origin::of(&host.root(scheme).ok()?)
        })
        .collect()
}

impl fmt::Debug for Registry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Registry")
            .field("insecure", &self.inner.insecure)
            .finish_non_exhaustive()
    }
}

/// Settings of a [`Registry`].
#[derive(Clone, Debug)]
#[must_use]
pub struct RegistryBuilder {
    http: ClientBuilder,
    credentials: BTreeMap<String, Credentials>,
    keychain: Option<Keychain>,
    insecure: BTreeSet<String>,
    single_put_limits: BTreeMap<String, u64>,
    ranges: ParallelRanges,
    tls: TlsOptions,
    limits: Limits,
    page_size: NonZeroU32,
    upload_states: Option<PathBuf>,
}

impl RegistryBuilder {
    /// Who we are towards `registry` (`docker.io`, `registry.example:5000`).
    ///
    /// Sent to that registry, and to the token server that it names over HTTPS; to nobody else. Never sent in the
    /// clear, except on loopback and to a registry marked [`insecure`](Self::insecure), where those speak no TLS.
    pub fn credentials(mut self, registry: &str, credentials: Credentials) -> Self {
        self.credentials
            .insert(host::canonical_name(registry), credentials);
        self
    }

    /// Where credentials are looked up for registries that [`credentials`](Self::credentials) names none for, and where
    /// [`Registry::login`] keeps them. None by default: then access is anonymous.
    pub fn keychain(mut self, keychain: Keychain) -> Self {
        self.keychain = Some(keychain);
        self
    }

    /// Speaks to `registry` (`registry.example:5000`), at that host and port alone, over plain HTTP where it does not speak
    /// TLS, and over TLS with whatever certificate it shows where it does. Whoever is on the way can then read and change
    /// everything, credentials too. Loopback needs no such mark for plain HTTP.
    ///
    /// Servers that it leads to, by a redirect or as its token server, are verified.
    pub fn insecure(mut self, registry: &str) -> Self {
        self.insecure.insert(host::canonical_name(registry));
        self
    }

    /// The `User-Agent` of all requests. Default: that of [`peak_http::Client`], `peak-sdk-rust/<version>`.
    pub fn user_agent(mut self, user_agent: &str) -> Self {
        self.http = self.http.user_agent(user_agent);
        self
    }

    /// Adds a layer of your own to all that is sent, to registries, their token servers and the storage that they lead to:
    /// metrics, a header, a limit. It sees each attempt by itself, with its credentials; where in the client it stands is
    /// said by [`ClientBuilder::layer`].
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU64, Ordering};
    ///
    /// use http::Request;
    /// use peak_http::Body;
    /// use peak_registry::Registry;
    /// use tower::util::MapRequestLayer;
    ///
    /// # fn main() -> Result<(), peak_registry::RegistryError> {
    /// let sent = Arc::new(AtomicU64::new(0));
    /// let counter = Arc::clone(&sent);
    /// let registry = Registry::builder()
    ///     .layer(MapRequestLayer::new(move |request: Request<Body>| {
    ///         counter.fetch_add(1, Ordering::Relaxed);
    ///         request
    ///     }))
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn layer(mut self, layer: impl RequestLayer) -> Self {
        self.http = self.http.layer(layer);
        self
    }

    /// For how long a body may send nothing before the download goes on with a new request; 30 seconds by default.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.http = self.http.idle_timeout(timeout);
        self
    }

    /// The registry takes no more than so many bytes of a blob in one request: larger ones are sent to it in chunks
    /// straight away. By default nothing is known, and a registry that refuses a blob for its size is remembered.
    pub fn single_put_limit(mut self, registry: &str, bytes: u64) -> Self {
        self.single_put_limits
            .insert(host::canonical_name(registry), bytes);
        self
    }

    /// How large blobs come in several ranges at once.
    pub fn parallel_ranges(mut self, ranges: ParallelRanges) -> Self {
        self.ranges = ranges;
        self
    }

    /// The directory where the state of each upload of a large blob is kept while it is under way, so that the next
    /// process goes on where one was killed or lost the network. Nothing is kept by default.
    ///
    /// It is made when it is needed, for this user alone: the files in it hold where an upload goes on, which may be a
    /// signed URL. There are at most some hundred of them, for a week at most. Uploads that end by themselves leave
    /// none, except where what went wrong may pass; nor do those that are
    /// [cancelled](Registry::cancel_abandoned_uploads).
    pub fn upload_states(mut self, directory: impl Into<PathBuf>) -> Self {
        self.upload_states = Some(directory.into());
        self
    }

    /// Whom to trust on https connections, and who we are there; for registries and their token servers alike.
    pub fn tls(mut self, options: TlsOptions) -> Self {
        self.tls = options;
        self
    }

    /// Which registries and token servers are reached through which proxy. By default none is, whatever the environment
    /// says; give [`Proxies::from_environment`] to follow it.
    pub fn proxies(mut self, proxies: Proxies) -> Self {
        self.http = self.http.proxies(proxies);
        self
    }

    /// How many requests that read or delete a registry gets at once, until their answers begin: 16 by default, never
    /// none. After a 429 or 503 it gets half as many, and slowly more again with good answers. Uploads are
    /// not counted here, but by [`uploads_at_once`](Self::uploads_at_once).
    pub fn requests_at_once(mut self, count: usize) -> Self {
        self.limits.at_once = count.max(1);
        self
    }

    /// How many blobs are sent to a registry at the same time: 64 by default, never none; the others wait. After a session
    /// was lost beside others it gets half as many, and slowly more again with blobs that arrive.
    pub fn uploads_at_once(mut self, count: usize) -> Self {
        self.limits.uploads = count.max(1);
        self
    }

    /// How many requests a registry gets in a second, evenly; without a limit by default. Of what is repeated only the
    /// first attempt counts: the others wait longer anyway.
    pub fn requests_per_second(mut self, count: NonZeroU32) -> Self {
        self.limits.interval = Duration::from_secs(1) / count.get();
        self
    }

    /// How many tags or repositories a registry is asked for at once when they are listed; 1000 by default. All are
    /// listed anyway, in as many requests as that takes.
    pub fn page_size(mut self, entries: NonZeroU32) -> Self {
        self.page_size = entries;
        self
    }

    /// Makes the client. Nothing is sent.
    ///
    /// # Errors
    /// [`RegistryError::Setup`] where the HTTP client cannot be made, [`RegistryError::InvalidRegistry`] for
    /// credentials of something that is no registry.
    pub fn build(self) -> Result<Registry, RegistryError> {
        let states = self.upload_states.map(States::new);
        let shared = Arc::new(Shared::new(
            self.limits,
            self.ranges,
            self.page_size,
            states,
        ));
        for (registry, bytes) in &self.single_put_limits {
            shared
                .capabilities
                .learn(registry, |known| known.whole = *bytes);
        }
        let tls = origins(&self.insecure, Scheme::Https)
            .into_iter()
            .fold(self.tls, TlsOptions::without_verification_of);
        let observer = Arc::clone(&shared);
        let http = self
            .http
            .tls(tls)
            .on_attempt(move |attempt| observer.notice(attempt));
        let mut credentials = BTreeMap::new();
        for (registry, one) in self.credentials {
            let host = Host::new(&registry, &self.insecure);
            let identity = Identity::new(one);
            for scheme in host.schemes() {
                let origin = Origin::of(&host.root(*scheme)?);
                credentials.extend(origin.map(|origin| (origin, identity.clone())));
            }
        }
        let insecure = insecure_origins(&self.insecure);
        let identities = Identities::new(credentials, self.keychain, insecure);
        let (client, authenticator) = RegistryAuthenticator::client(&http, identities)?;
        Ok(Registry {
            inner: Arc::new(Inner {
                client,
                authenticator,
                http,
                insecure: self.insecure,
                shared,
            }),
        })
    }
}
