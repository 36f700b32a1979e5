//! TLS: certificates from files, or from an authority of this server's own.

mod authority;
mod files;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use self::authority::Authority;
use self::files::Files;

/// The certificate that a [`Server`](crate::Server) shows. TLS 1.2 and 1.3, HTTP/1.1.
#[derive(Debug, Clone)]
pub struct Tls {
    acceptor: Acceptor,
    files: Option<Arc<Files>>,
    ca_certificate: Option<Arc<CaCertificate>>,
}

#[derive(Debug)]
struct CaCertificate {
    pem: String,
    path: Option<PathBuf>,
}

/// Why TLS cannot be spoken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read or written.
    #[error("{action} {} failed", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was being done.
        action: &'static str,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },

    /// There is something else in a file than there should be.
    #[error("{} {problem}", .path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what should be there.
        problem: &'static str,
    },

    /// A name cannot stand in a certificate.
    #[error(
        "no certificate can be made for {name:?}; give host names of ASCII letters and IP addresses"
    )]
    Name {
        /// The name.
        name: String,
    },

    /// The cryptographic library refused something that we made ourselves.
    #[error("a certificate of this server's own could not be made: {problem}")]
    Making {
        /// What it said.
        problem: String,
    },
}

impl Tls {
    /// Shows the certificates in `chain` (PEM, the server's own first) with the private key in `key`
    /// (PEM, not encrypted: PKCS #8, PKCS #1 or SEC 1). Blocks while they are read.
    ///
    /// While the server runs it looks at most every 10 seconds, when a connection comes, whether the
    /// files have changed, and shows the new certificate from then on; a pair that cannot be used is
    /// logged and the old one stays. A key that others than its owner can read is logged as a warning.
    pub fn from_files(
        chain: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Result<Self, TlsError> {
        let files = Arc::new(Files::open(chain.into(), key.into())?);
        let acceptor = Acceptor::new(Arc::clone(&files) as Arc<dyn ResolvesServerCert>)?;
        Ok(Self {
            acceptor,
            files: Some(files),
            ca_certificate: None,
        })
    }

    /// Makes a certificate for `localhost`, `127.0.0.1`, `::1`, the name of this machine and `names`
    /// (host names or IP addresses), signed by an authority that is kept in `directory`. Blocks.
    ///
    /// The directory is made where it is not there. A client that was told once to trust
    /// [the authority](Self::ca_certificate) trusts every later server with the same directory: only
    /// the authority is kept, for ten years, its key readable to its owner alone; the server's own
    /// certificate is new with each start.
    pub fn self_signed(
        directory: impl AsRef<Path>,
        names: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Self, TlsError> {
        let (authority, path) = Authority::in_directory(directory.as_ref(), SystemTime::now())?;
        Self::signed_by(&authority, Some(path), names)
    }

    /// As [`self_signed`](Self::self_signed), with an authority that lives as long as this value: for tests.
    pub fn ephemeral(names: impl IntoIterator<Item = impl Into<String>>) -> Result<Self, TlsError> {
        Self::signed_by(&Authority::new(SystemTime::now())?, None, names)
    }

    fn signed_by(
        authority: &Authority,
        path: Option<PathBuf>,
        names: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Self, TlsError> {
        let names = names.into_iter().map(Into::into).collect();
        let certificate = authority.certificate_for(names, SystemTime::now())?;
        let acceptor = Acceptor::new(Arc::new(SingleCertAndKey::from(Arc::new(certificate))))?;
        Ok(Self {
            acceptor,
            files: None,
            ca_certificate: Some(Arc::new(CaCertificate {
                pem: authority.certificate_pem().to_owned(),
                path,
            })),
        })
    }

    /// The file with the certificate of the authority that clients have to trust, where there is one.
    pub fn ca_certificate(&self) -> Option<&Path> {
        self.ca_certificate.as_ref()?.path.as_deref()
    }

    /// The certificate of the authority that clients have to trust, PEM, where there is one.
    pub fn ca_certificate_pem(&self) -> Option<&str> {
        self.ca_certificate.as_ref().map(|ca| ca.pem.as_str())
    }

    /// The server's side of the handshake.
    pub(crate) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> io::Result<TlsStream<S>> {
        if let Some(files) = &self.files
            && files.is_due()
        {
            let files = Arc::clone(files);
            // What goes wrong is logged there, and the old certificate serves on.
            let _ = tokio::task::spawn_blocking(move || files.refresh()).await;
        }
        self.acceptor.0.accept(stream).await
    }
}

#[derive(Clone)]
struct Acceptor(TlsAcceptor);

impl Acceptor {
    fn new(certificates: Arc<dyn ResolvesServerCert>) -> Result<Self, TlsError> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(crypto_provider()))
            .with_safe_default_protocol_versions()
            .map_err(making)?
            .with_no_client_auth()
            .with_cert_resolver(certificates);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }
}

/// Never a key.
impl std::fmt::Debug for Acceptor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Acceptor")
    }
}

impl ResolvesServerCert for Files {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

fn making(error: impl std::fmt::Display) -> TlsError {
    TlsError::Making {
        problem: error.to_string(),
    }
}

#[cfg(feature = "aws-lc-rs")]
fn crypto_provider() -> CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}

#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
fn crypto_provider() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}

#[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
fn crypto_provider() -> CryptoProvider {
    compile_error!(
        "peak-serve needs a crypto provider for TLS: switch on its feature `aws-lc-rs` (on by default) or `ring`"
    )
}
