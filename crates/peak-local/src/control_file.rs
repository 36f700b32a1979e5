//! The file in a state directory that says where the platform that runs on it can be asked for upkeep.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

/// No control file is larger, in bytes.
const FILE_LIMIT: u64 = 4096;

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
pub(crate) struct ControlFile(PathBuf);

impl ControlFile {
    pub(crate) fn write(path: PathBuf, way_in: &WayIn) -> io::Result<Self> {
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
    use std::net::Ipv4Addr;

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
