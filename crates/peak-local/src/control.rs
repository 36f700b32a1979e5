//! The way in for upkeep of a platform that runs: an address of its own on loopback, for whoever can read the
//! state directory.
//!
//! It is apart from the platform's address, so that it is the same whatever that one has of TLS and tokens, and
//! is never reached from another machine.

use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use peak_serve::{Limits, Listener, Server};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use url::Url;
use uuid::Uuid;

use crate::api::{self, AccessToken};
use crate::error::LocalError;
use crate::shared::{Shared, join_failed};

/// How long the last answers may take at the end; the work behind them is stopped by then.
const DRAIN: Duration = Duration::from_secs(1);

/// No control file is larger, in bytes.
const FILE_LIMIT: u64 = 4096;

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

/// Where a platform lets itself be reached by those who can read its state directory.
#[derive(Debug)]
pub(crate) struct WayIn {
    pub(crate) address: SocketAddr,
    pub(crate) secret: SecretString,
    /// The platform's own base URL, where it was written down.
    pub(crate) platform: Option<String>,
}

/// What is written down. Only the owner of the state directory reads it.
#[derive(Serialize, Deserialize)]
struct Written {
    address: SocketAddr,
    secret: String,
    #[serde(default)]
    platform: Option<String>,
}

/// The file that says where the way in is; gone when this is.
struct ControlFile(PathBuf);

impl ControlFile {
    fn write(path: PathBuf, way_in: &WayIn) -> io::Result<Self> {
        let written = Written {
            address: way_in.address,
            secret: way_in.secret.expose_secret().to_owned(),
            platform: way_in.platform.clone(),
        };
        let directory = path.parent().unwrap_or(Path::new("."));
        // Readable to its owner alone from the beginning.
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        file.write_all(&serde_json::to_vec(&written)?)?;
        file.persist(&path)?;
        Ok(Self(path))
    }
}

impl Drop for ControlFile {
    fn drop(&mut self) {
        // One that stays is of no use to anybody, and the next start replaces it.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Reads where the platform that has the state directory lets itself be reached.
pub(crate) fn read(path: &Path) -> io::Result<WayIn> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(
        &mut io::Read::take(std::fs::File::open(path)?, FILE_LIMIT),
        &mut bytes,
    )?;
    let written: Written = serde_json::from_slice(&bytes)
        // The error's own text could repeat the secret.
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not a control file"))?;
    Ok(WayIn {
        address: written.address,
        secret: SecretString::from(written.secret),
        platform: written.platform,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_down_is_for_the_owner_and_goes_with_the_platform() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.json");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 7));
        let way_in = WayIn {
            address,
            secret: "open-sesame".into(),
            platform: Some("http://127.0.0.1:8".to_owned()),
        };
        let file = ControlFile::write(path.clone(), &way_in).unwrap();
        let found = read(&path).unwrap();
        assert_eq!(found.address, address);
        assert_eq!(found.secret.expose_secret(), "open-sesame");
        assert_eq!(found.platform, way_in.platform);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        drop(file);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_error_does_not_repeat_what_is_in_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.json");
        std::fs::write(&path, r#"{"address":"open-sesame","secret":"open-sesame"}"#).unwrap();
        let error = read(&path).unwrap_err();
        assert!(!error.to_string().contains("sesame"), "{error}");
    }
}
