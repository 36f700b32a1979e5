//! The way in for upkeep of a platform that runs: an address of its own on loopback, for whoever can read the
//! state directory.
//!
//! It is apart from the platform's address, so that it is the same whatever that one has of TLS and tokens, and
//! is never reached from another machine.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use peak_serve::{Limits, Listener, Server};
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;
use url::Url;
use uuid::Uuid;

use crate::api::{self, AccessToken};
use crate::control_file::{ControlFile, WayIn};
use crate::error::LocalError;
use crate::shared::{Shared, join_failed};

/// How long the last answers may take at the end; the work behind them is stopped by then.
const DRAIN: Duration = Duration::from_secs(1);

/// The way in, while it is open.
pub(crate) struct Control {
    // Removed first, so that nobody is sent here any more.
    _file: ControlFile,
    server: Server,
}

impl Control {
    /// Opens the way in and writes down where it is, and where the platform itself is. It closes when `stop` is
    /// cancelled.
    pub(crate) async fn start(
        shared: &Arc<Shared>,
        platform: &Url,
        stop: &CancellationToken,
    ) -> Result<Self, LocalError> {
        let listener = bind().await?;
        let address = listener.address();
        // 244 bits that nobody can guess, good until the platform ends.
        let secret = SecretString::from(format!(
            "{}{}",
            Uuid::new_v4().simple(),
            Uuid::new_v4().simple()
        ));
        let token = AccessToken::new(&secret)?;
        let way_in = WayIn {
            address,
            secret,
            platform: Some(platform.as_str().trim_end_matches('/').to_owned()),
        };
        let file = shared
            .blocking(move |shared| {
                let path = shared.directory.control();
                ControlFile::write(path.clone(), &way_in).map_err(|source| {
                    LocalError::StateDirectory {
                        path,
                        action: "writing down how to reach the platform",
                        source,
                    }
                })
            })
            .await
            .map_err(|error| LocalError::StateDirectory {
                path: shared.directory.control(),
                action: "writing down how to reach the platform",
                source: join_failed(error),
            })??;
        let router = api::control::router(Arc::clone(shared), token, stop.clone());
        let server = Server::start(listener, router, &Limits::new().drain(DRAIN));
        Ok(Self {
            _file: file,
            server,
        })
    }

    /// Waits until nothing of it runs any more. It has to be told to stop before.
    pub(crate) async fn end(self) {
        self.server.shutdown().await;
    }
}

/// Some machines have the one loopback address, some the other, most have both.
async fn bind() -> Result<Listener, LocalError> {
    match Listener::bind((Ipv4Addr::LOCALHOST, 0).into()).await {
        Ok(listener) => Ok(listener),
        Err(error) => Listener::bind((Ipv6Addr::LOCALHOST, 0).into())
            .await
            .map_err(|_| error.into()),
    }
}
