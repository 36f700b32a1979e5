//! A certificate authority of one's own, for development.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{TlsError, crypto_provider, making};

const DAY: Duration = Duration::from_secs(60 * 60 * 24);
/// How long an authority is good for,
const AUTHORITY_DAYS: u32 = 3650;
/// how long before its end another one takes its place,
const AUTHORITY_RENEWAL_DAYS: u32 = 60;
/// and how long a server's certificate is good for: what macOS takes at most from a private authority.
const CERTIFICATE_DAYS: u32 = 825;

/// What is kept: with the key, so that the two appear together or not at all.
const SECRET_FILE: &str = "authority.json";
/// What clients are given.
const CERTIFICATE_FILE: &str = "ca.pem";

/// Signs certificates of servers.
pub(super) struct Authority {
    key: KeyPair,
    certificate_pem: String,
}

/// The file of an authority.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    /// Seconds since 1970.
    not_after: u64,
    certificate: String,
    key: String,
}

impl Authority {
    /// A new one that nobody knows yet.
    pub(super) fn new(now: SystemTime) -> Result<Self, TlsError> {
        let key = KeyPair::generate().map_err(making)?;
        let mut params = params_of(&key)?;
        params.not_before = (now - DAY).into();
        params.not_after = (now + DAY * AUTHORITY_DAYS).into();
        let certificate_pem = params.self_signed(&key).map_err(making)?.pem();
        Ok(Self {
            key,
            certificate_pem,
        })
    }

    /// The one that is kept in a directory, made if there is none or it ends soon; and the file with
    /// its certificate.
    pub(super) fn in_directory(
        directory: &Path,
        now: SystemTime,
    ) -> Result<(Self, PathBuf), TlsError> {
        let path = directory.join(SECRET_FILE);
        create_private(directory).map_err(failed("making", directory))?;
        let authority = match read(&path)? {
            Some((authority, not_after)) if not_after > now + DAY * AUTHORITY_RENEWAL_DAYS => {
                authority
            }
            ending => Self::made(&path, now, ending.is_some())?,
        };
        let certificate = directory.join(CERTIFICATE_FILE);
        let pem = authority.certificate_pem.as_bytes();
        if fs::read(&certificate).ok().as_deref() != Some(pem) {
            write(&certificate, pem, 0o644)
                .and_then(|file| Ok(file.persist(&certificate)?))
                .map_err(failed("writing", &certificate))?;
        }
        Ok((authority, certificate))
    }

    /// Makes one and keeps it, unless another process was faster.
    fn made(path: &Path, now: SystemTime, replace: bool) -> Result<Self, TlsError> {
        let authority = Self::new(now)?;
        let kept = Kept {
            not_after: seconds(now + DAY * AUTHORITY_DAYS),
            certificate: authority.certificate_pem.clone(),
            key: authority.key.serialize_pem(),
        };
        let json = serde_json::to_vec(&kept).map_err(making)?;
        let file = write(path, &json, 0o600).map_err(failed("writing", path))?;
        if replace {
            file.persist(path)
                .map_err(|error| failed("writing", path)(error.error))?;
            return Ok(authority);
        }
        match file.persist_noclobber(path) {
            Ok(_) => Ok(authority),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => match read(path)? {
                Some((authority, _)) => Ok(authority),
                None => Err(failed("reading", path)(error.error)),
            },
            Err(error) => Err(failed("writing", path)(error.error)),
        }
    }

    pub(super) fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// A certificate for a server on this machine that is also known by `names`.
    pub(super) fn certificate_for(
        &self,
        names: Vec<String>,
        now: SystemTime,
    ) -> Result<CertifiedKey, TlsError> {
        let mut all: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
        // One that cannot stand in a certificate is not what anybody calls this machine.
        all.extend(host_name().filter(|name| CertificateParams::new([name.clone()]).is_ok()));
        for name in names {
            if CertificateParams::new([name.clone()]).is_err() {
                return Err(TlsError::Name { name });
            }
            all.push(name);
        }
        all.sort();
        all.dedup();
        let key = KeyPair::generate().map_err(making)?;
        let mut params = CertificateParams::new(all).map_err(making)?;
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, "Peak embedded server");
        params.not_before = (now - DAY).into();
        params.not_after = (now + DAY * CERTIFICATE_DAYS).into();
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let issuer = Issuer::new(params_of(&self.key)?, &self.key);
        let certificate = params.signed_by(&key, &issuer).map_err(making)?;
        let private = PrivateKeyDer::try_from(key.serialize_der()).map_err(making)?;
        let chain = vec![certificate.der().clone()];
        CertifiedKey::from_der(chain, private, &crypto_provider()).map_err(making)
    }
}

/// What an authority's certificate says, apart from its dates. The name has a part of the key in it,
/// so that clients that trust several such authorities tell them apart.
fn params_of(key: &KeyPair) -> Result<CertificateParams, TlsError> {
    let hash = Sha256::digest(key.public_key_raw());
    let mark = hash
        .iter()
        .take(4)
        .fold(0_u32, |mark, byte| mark << 8 | u32::from(*byte));
    let mut params = CertificateParams::new(Vec::new()).map_err(making)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(
        DnType::CommonName,
        format!("Peak development CA {mark:08x}"),
    );
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

/// The kept authority, if there is one, and the end of its time.
fn read(path: &Path) -> Result<Option<(Authority, SystemTime)>, TlsError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("reading", path)(error)),
    };
    let damaged = || TlsError::Content {
        path: path.to_owned(),
        problem: "is not the authority that it should be; remove it to have another one made, which clients then have to trust",
    };
    let kept: Kept = serde_json::from_slice(&bytes).map_err(|_| damaged())?;
    CertificateDer::from_pem_slice(kept.certificate.as_bytes()).map_err(|_| damaged())?;
    let authority = Authority {
        key: KeyPair::from_pem(&kept.key).map_err(|_| damaged())?,
        certificate_pem: kept.certificate,
    };
    let not_after = UNIX_EPOCH
        .checked_add(Duration::from_secs(kept.not_after))
        .ok_or_else(damaged)?;
    Ok(Some((authority, not_after)))
}

/// A finished file beside `path` that only has to be renamed.
fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<tempfile::NamedTempFile> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".tls-")
        .tempfile_in(directory)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        file.as_file()
            .set_permissions(fs::Permissions::from_mode(mode))?;
    }
    #[cfg(not(unix))]
    let _ = mode;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

fn create_private(directory: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> TlsError + use<> {
    let path = path.to_owned();
    move |source| TlsError::File {
        path,
        action,
        source,
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(unix)]
fn host_name() -> Option<String> {
    let names = rustix::system::uname();
    let name = names.nodename().to_str().ok()?;
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(not(unix))]
fn host_name() -> Option<String> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_kept_until_it_ends_soon() {
        let directory = tempfile::tempdir().unwrap();
        let tls = directory.path().join("tls");
        let now = SystemTime::now();
        let (first, path) = Authority::in_directory(&tls, now).unwrap();
        let (second, _) = Authority::in_directory(&tls, now + DAY * 3000).unwrap();
        assert_eq!(first.certificate_pem, second.certificate_pem);
        assert_eq!(fs::read_to_string(&path).unwrap(), first.certificate_pem);

        let (third, _) = Authority::in_directory(&tls, now + DAY * 3600).unwrap();
        assert_ne!(first.certificate_pem, third.certificate_pem);
        assert_eq!(fs::read_to_string(&path).unwrap(), third.certificate_pem);
        assert_eq!(fs::read_dir(&tls).unwrap().count(), 2);
    }

    #[cfg(unix)]
    #[test]
    fn its_key_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        Authority::in_directory(directory.path(), SystemTime::now()).unwrap();
        let mode = |name| {
            let metadata = fs::metadata(directory.path().join(name)).unwrap();
            metadata.permissions().mode() & 0o777
        };
        assert_eq!(mode(SECRET_FILE), 0o600);
        assert_eq!(mode(CERTIFICATE_FILE), 0o644);
    }

    #[test]
    fn a_damaged_authority_is_refused_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(SECRET_FILE);
        fs::write(&path, "{}").unwrap();
        let error = Authority::in_directory(directory.path(), SystemTime::now()).err();
        assert!(error.unwrap().to_string().contains("remove it"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "{}");
    }

    #[test]
    fn a_name_that_cannot_stand_in_a_certificate_is_named() {
        let now = SystemTime::now();
        let authority = Authority::new(now).unwrap();
        let error = authority.certificate_for(vec!["bücher".to_owned()], now);
        assert!(error.unwrap_err().to_string().contains("bücher"));
    }
}
