//! A certificate from files that somebody else renews.

use std::fmt;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::{TlsError, crypto_provider};

/// Between two looks at the files at least.
const EVERY: Duration = Duration::from_secs(10);

/// Most bytes of a PEM file: far more than any chain.
const MAX_FILE: u64 = 1024 * 1024;

/// The pair of files and what was last read from them.
pub(super) struct Files {
    chain: PathBuf,
    key: PathBuf,
    loaded: Mutex<Loaded>,
}

struct Loaded {
    certificate: Arc<CertifiedKey>,
    /// What the files were like when they were read, whether they could be used or not.
    seen: [Option<(SystemTime, u64)>; 2],
    looked: Instant,
}

impl Files {
    pub(super) fn open(chain: PathBuf, key: PathBuf) -> Result<Self, TlsError> {
        let seen = [stamp(&chain), stamp(&key)];
        let certificate = Arc::new(read_pair(&chain, &key)?);
        Ok(Self {
            chain,
            key,
            loaded: Mutex::new(Loaded {
                certificate,
                seen,
                looked: Instant::now(),
            }),
        })
    }

    pub(super) fn current(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.lock().certificate)
    }

    /// Whether it is time to look again; said once to whoever asks first.
    pub(super) fn is_due(&self) -> bool {
        let mut loaded = self.lock();
        let due = loaded.looked.elapsed() >= EVERY;
        if due {
            loaded.looked = Instant::now();
        }
        due
    }

    /// Reads the files again if they have changed.
    pub(super) fn refresh(&self) {
        let seen = [stamp(&self.chain), stamp(&self.key)];
        if self.lock().seen == seen {
            return;
        }
        let read = read_pair(&self.chain, &self.key);
        let mut loaded = self.lock();
        loaded.seen = seen;
        match read {
            Ok(certificate) => {
                loaded.certificate = Arc::new(certificate);
                tracing::info!(file = %self.chain.display(), "the TLS certificate was renewed");
            }
            Err(error) => {
                tracing::warn!(%error, "the TLS certificate changed and cannot be used; the old one stays");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Loaded> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Never the key.
impl fmt::Debug for Files {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Files")
            .field("chain", &self.chain)
            .finish_non_exhaustive()
    }
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn read_pair(chain_path: &Path, key_path: &Path) -> Result<CertifiedKey, TlsError> {
    let content = |path: &Path, problem| TlsError::Content {
        path: path.to_owned(),
        problem,
    };
    let chain = CertificateDer::pem_slice_iter(&read(chain_path)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| content(chain_path, "has a certificate that cannot be read as PEM"))?;
    if chain.is_empty() {
        return Err(content(
            chain_path,
            "holds no certificate; a PEM file with `CERTIFICATE` blocks is expected",
        ));
    }
    // No causes from here on: what the libraries stumble over may be the key.
    let key = PrivateKeyDer::from_pem_slice(&read(key_path)?).map_err(|_| {
        content(
            key_path,
            "holds no private key; a PEM file with a `PRIVATE KEY` block that is not encrypted is expected",
        )
    })?;
    warn_if_public(key_path);
    CertifiedKey::from_der(chain, key, &crypto_provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => content(
            key_path,
            "holds another private key than that of the first certificate",
        ),
        rustls::Error::InvalidCertificate(_) => {
            content(chain_path, "begins with a certificate that is not valid")
        }
        _ => content(
            key_path,
            "holds a private key of a kind that cannot be used; RSA, ECDSA (P-256, P-384) or Ed25519 is expected",
        ),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |source| TlsError::File {
        path: path.to_owned(),
        action: "reading",
        source,
    };
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(failed)?;
    let read = file
        .take(MAX_FILE)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if read as u64 == MAX_FILE {
        return Err(TlsError::Content {
            path: path.to_owned(),
            problem: "is too large for a PEM file",
        });
    }
    Ok(bytes)
}

#[cfg(unix)]
fn warn_if_public(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    if fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0) {
        tracing::warn!(
            file = %path.display(),
            "others than its owner can read this private key; `chmod 600` keeps it to you"
        );
    }
}

#[cfg(not(unix))]
fn warn_if_public(_: &Path) {}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(names: &[&str]) -> (String, String) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn write(directory: &Path, (chain, key): &(String, String)) -> (PathBuf, PathBuf) {
        let (chain_path, key_path) = (directory.join("chain.pem"), directory.join("key.pem"));
        fs::write(&chain_path, chain).unwrap();
        fs::write(&key_path, key).unwrap();
        (chain_path, key_path)
    }

    #[test]
    fn a_renewed_pair_is_shown_and_a_broken_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let (chain, key) = write(directory.path(), &pair(&["one.example"]));
        let files = Files::open(chain.clone(), key.clone()).unwrap();
        let first = files.current().cert.clone();
        assert!(!files.is_due());
        files.refresh();
        assert_eq!(files.current().cert, first);

        write(directory.path(), &pair(&["another.name.example"]));
        files.refresh();
        let second = files.current().cert.clone();
        assert_ne!(second, first);

        fs::write(&key, pair(&["third"]).1 + "\n").unwrap();
        files.refresh();
        assert_eq!(files.current().cert, second);
        assert!(!format!("{files:?}").contains("PRIVATE"));
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_with_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let (one, other) = (pair(&["one"]), pair(&["other"]));
        let check = |chain: &str, key: &str, problem: &str| {
            let (chain, key) = write(directory.path(), &(chain.to_owned(), key.to_owned()));
            let error = Files::open(chain, key).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        };
        check("", &one.1, "chain.pem holds no certificate");
        check(&one.0, "", "key.pem holds no private key");
        check(&one.0, &one.0, "key.pem holds no private key");
        check(&one.0, &other.1, "key.pem holds another private key");
        let missing = Files::open("missing".into(), "missing".into()).unwrap_err();
        assert_eq!(missing.to_string(), "reading missing failed");
    }
}
