//! The Engine: how it is found, asked, and what it says of itself.

use std::fmt;
use std::sync::Arc;

use http::HeaderMap;
use peak_http::{AttemptTimeout, Body, Client, IdleTimeout, RequestExt as _, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::time::Duration;
use tokio::sync::OnceCell;

use crate::call::Call;
use crate::config::EngineConfig;
use crate::connection::Connection;
use crate::credentials::EngineCredentials;
use crate::error::{EngineError, MAX_ERROR_BODY};
use crate::patience::Patience;
use crate::version::ApiVersion;

/// Most bytes of what the Engine says about itself or about one image.
pub(crate) const MAX_ANSWER: u64 = 16 * 1024 * 1024;

/// A Docker Engine (or Podman, which speaks the same API). Cheap to clone; clones share what is known of it and its
/// connections.
///
/// Nothing is connected before the first request. That one looks for the Engine and agrees with it on a version of its
/// API; each later one goes to the same place.
///
/// Dropping the future of an operation ends its connection, upon which the Engine gives the operation up. Operations that
/// the Engine works for have no time limit, since nobody knows how large an image is or how long a build takes: put
/// `tokio::time::timeout` around them for one. An Engine that is gone or hangs is noticed all the same; see
/// [`EngineConfig::longest_silence`].
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    config: EngineConfig,
    /// Asked in the place of connections of our own.
    client: Option<Client>,
    connection: OnceCell<Arc<Connection>>,
}

/// An Engine that answers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ping {
    /// Where it is: `unix:///var/run/docker.sock`.
    pub endpoint: String,
    /// Who says that it is there: `DOCKER_HOST`, a context, the usual place of something.
    pub origin: String,
    /// The version of its API that is spoken with it.
    pub api_version: ApiVersion,
    /// The system that its images are for: `linux`, `windows`. Old Engines do not say.
    pub os: Option<String>,
}

/// What an Engine is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[non_exhaustive]
pub struct EngineVersion {
    /// The version of the Engine: `20.10.24`.
    pub version: String,
    /// The newest version of its API.
    pub api_version: String,
    /// The oldest version of its API; empty if it does not say.
    #[serde(rename = "MinAPIVersion")]
    pub min_api_version: String,
    /// The operating system: `linux`.
    pub os: String,
    /// The processor as Go calls it: `amd64`.
    pub arch: String,
    /// The parts it consists of. The first one is the Engine itself: `Engine` of Docker, `Podman Engine`.
    #[serde(deserialize_with = "null_is_default")]
    pub components: Vec<EngineComponent>,
}

/// A part of an Engine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[non_exhaustive]
pub struct EngineComponent {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// How an Engine is set up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[non_exhaustive]
pub struct EngineInfo {
    /// The name of its machine.
    pub name: String,
    /// The version of the Engine.
    pub server_version: String,
    /// How many images it has.
    pub images: u64,
    /// How it keeps images: `overlay2`, `vfs`.
    pub driver: String,
    /// What there is to say of that: pairs of a name and a value.
    #[serde(deserialize_with = "null_is_default")]
    pub driver_status: Vec<(String, String)>,
    /// Where it keeps them.
    pub docker_root_dir: String,
    /// The system that its images are for.
    #[serde(rename = "OSType")]
    pub os_type: String,
    /// The processor as the system calls it: `x86_64`.
    pub architecture: String,
    /// `name=rootless` and the like.
    #[serde(deserialize_with = "null_is_default")]
    pub security_options: Vec<String>,
}

impl EngineInfo {
    /// Whether images are in containerd's store, which keeps manifests and calls images by the digests of those.
    pub(crate) fn keeps_manifests(&self) -> bool {
        let kind = |(name, value): &(String, String)| {
            name == "driver-type" && value.starts_with("io.containerd.snapshotter")
        };
        self.driver_status.iter().any(kind)
    }
}

/// Go writes `null` for lists and maps that are empty.
pub(crate) fn null_is_default<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Default + Deserialize<'de>,
    D: serde::Deserializer<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Engine {
    /// The Engine that is where `config` says.
    pub fn new(config: EngineConfig) -> Self {
        Self::of(config, None)
    }

    /// The same, but every request goes through `client`, whose time limits, retries and redirects hold then. For tests
    /// and for extra layers.
    pub fn over(config: EngineConfig, client: Client) -> Self {
        Self::of(config, Some(client))
    }

    fn of(config: EngineConfig, client: Option<Client>) -> Self {
        Self {
            shared: Arc::new(Shared {
                config,
                client,
                connection: OnceCell::new(),
            }),
        }
    }

    /// Asks the Engine whether it is alive.
    ///
    /// # Errors
    /// [`EngineError::Unreachable`] if there is none, which lists what was tried.
    pub async fn ping(&self) -> Result<Ping, EngineError> {
        let connection = self.connection().await?;
        let headers: HeaderMap = connection.ping().await.map_err(|error| {
            // It was there once, or just now.
            EngineError::of_transport("ping", error)
        })?;
        let os = headers.get("ostype").and_then(|os| os.to_str().ok());
        Ok(Ping {
            endpoint: connection.endpoint.to_string(),
            origin: connection.origin.clone(),
            api_version: connection.version,
            os: os.filter(|os| !os.is_empty()).map(str::to_owned),
        })
    }

    /// What the Engine is.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn version(&self) -> Result<EngineVersion, EngineError> {
        let call = Call::get("docker_version", "version of the Docker Engine", "version");
        self.json(call, MAX_ANSWER).await
    }

    /// How the Engine is set up.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn info(&self) -> Result<EngineInfo, EngineError> {
        let call = Call::get("docker_info", "information on the Docker Engine", "info");
        self.json(call, MAX_ANSWER).await
    }

    pub(crate) async fn connection(&self) -> Result<Arc<Connection>, EngineError> {
        let shared = &self.shared;
        let find = || async {
            let found = Connection::find(&shared.config, shared.client.as_ref());
            Box::pin(found).await.map(Arc::new)
        };
        shared.connection.get_or_try_init(find).await.cloned()
    }

    /// Whether credentials may be sent to this Engine.
    pub(crate) fn check_protection(
        &self,
        connection: &Connection,
        credentials: Option<&EngineCredentials>,
    ) -> Result<(), EngineError> {
        let exposed = credentials.is_some()
            && connection.endpoint.is_unprotected()
            && !self.shared.config.unprotected_credentials;
        if exposed {
            return Err(EngineError::UnprotectedCredentials {
                endpoint: connection.endpoint.to_string(),
            });
        }
        Ok(())
    }

    /// Asks for something that the Engine knows.
    pub(crate) async fn json<T: DeserializeOwned>(
        &self,
        call: Call,
        limit: u64,
    ) -> Result<T, EngineError> {
        let connection = self.connection().await?;
        let request = call.request(&connection.base, connection.version, Body::empty())?;
        let failed = |error| EngineError::of_transport(&call.what, error);
        let response = connection.client.send(request).await.map_err(failed)?;
        let status = response.status();
        if !status.is_success() {
            let body = response.beginning(MAX_ERROR_BODY).await;
            return Err(EngineError::of_status(&call.what, status, &body));
        }
        let body = response.bytes(limit).await.map_err(failed)?;
        serde_json::from_slice(&body).map_err(|error| EngineError::Unexpected {
            what: call.what.clone(),
            message: error.to_string(),
        })
    }

    /// How to wait for an operation that takes its time.
    pub(crate) fn patience(&self, connection: &Arc<Connection>, what: &str) -> Patience {
        let longest = self.shared.config.longest_silence;
        Patience::new(Arc::clone(connection), what, longest)
    }

    /// Sends a request that the Engine works for, and waits for the beginning of its answer.
    pub(crate) async fn begin(
        &self,
        connection: &Connection,
        call: &Call,
        body: Body,
        patience: &Patience,
    ) -> Result<Response, EngineError> {
        if connection.version < call.needs {
            return Err(EngineError::TooOld {
                endpoint: connection.endpoint.to_string(),
                offered: connection.version,
                needed: call.needs,
            });
        }
        let request = call
            .request(&connection.base, connection.version, body)?
            .option(AttemptTimeout(Duration::MAX))
            .option(IdleTimeout(Duration::MAX));
        let response = patience.wait(connection.client.send(request)).await?;
        let response = response.map_err(|error| EngineError::of_transport(&call.what, error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = patience.wait(response.beginning(MAX_ERROR_BODY)).await?;
        Err(EngineError::of_status(&call.what, status, &body))
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Engine")
            .field("config", &self.shared.config)
            .finish_non_exhaustive()
    }
}
