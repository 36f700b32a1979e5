//! TLS settings, turned into a configuration on the first https connection.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use http::Uri;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WantsClientCert, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_platform_verifier::Verifier;
use tokio::sync::OnceCell;
use url::Url;

use crate::error::{Error, ErrorKind};
use crate::origin::Origin;
use crate::version::HttpVersions;

/// Most bytes of a PEM file: far more than the roots of a whole platform.
const MAX_PEM_FILE: u64 = 16 * 1024 * 1024;

/// Whom to trust, and who we are. Without settings the roots of the platform are trusted and we show no certificate.
#[derive(Clone, Default)]
pub struct TlsOptions {
    roots: Vec<CertificateDer<'static>>,
    without_platform_roots: bool,
    identity: Option<Arc<CertifiedKey>>,
    unverified: BTreeSet<Origin>,
}

impl TlsOptions {
    /// Trusts the roots of the platform only.
    pub fn new() -> Self {
        Self::default()
    }

    /// Also trusts the certificates in `pem` (one or more `CERTIFICATE` blocks; other blocks are passed over).
    ///
    /// Errors: [`ErrorKind::Configuration`] if there is none, or one cannot be read.
    pub fn with_root_certificates_pem(self, pem: &[u8]) -> Result<Self, Error> {
        self.with_roots(pem, "what was given as root certificates")
    }

    /// As [`with_root_certificates_pem`](Self::with_root_certificates_pem), from a file of at most 16 MiB. Blocks while
    /// it is read.
    ///
    /// Errors: [`ErrorKind::Configuration`], which names the file.
    pub fn with_root_certificates_file(self, path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let pem = read(path)?;
        self.with_roots(&pem, &format!("the file {}", path.display()))
    }

    /// Trusts the root certificates that were added and nobody else, whatever the platform says.
    #[must_use]
    pub fn without_platform_roots(mut self) -> Self {
        self.without_platform_roots = true;
        self
    }

    /// Takes whatever certificate the server of this origin shows, for as many origins as this is called with.
    ///
    /// Whoever stands between us and that server can then read and change everything. All other servers are verified as
    /// before, those that it redirects to and proxies among them.
    #[must_use]
    pub fn without_verification_of(mut self, origin: Origin) -> Self {
        self.unverified.insert(origin);
        self
    }

    /// Shows a certificate to servers that ask for one (mutual TLS): `chain` has one or more `CERTIFICATE` blocks, our
    /// own first; `key` its private key (PKCS #8, PKCS #1 or SEC 1). Both may be the same text.
    ///
    /// Any server that asks is shown the certificate, also one that a redirect leads to; never a proxy. The key itself
    /// is sent to nobody.
    ///
    /// Errors: [`ErrorKind::Configuration`] if one of them cannot be read, or they do not belong together.
    pub fn with_client_certificate_pem(self, chain: &[u8], key: &[u8]) -> Result<Self, Error> {
        self.with_identity(
            chain,
            "what was given as client certificate",
            key,
            "what was given as the client certificate's key",
        )
    }

    /// As [`with_client_certificate_pem`](Self::with_client_certificate_pem), from two files, or twice the same one.
    /// Blocks while they are read.
    ///
    /// Errors: [`ErrorKind::Configuration`], which names the file.
    pub fn with_client_certificate_files(
        self,
        chain: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Self, Error> {
        let (chain, key) = (chain.as_ref(), key.as_ref());
        let (chain_pem, key_pem) = (read(chain)?, read(key)?);
        self.with_identity(
            &chain_pem,
            &format!("the file {}", chain.display()),
            &key_pem,
            &format!("the file {}", key.display()),
        )
    }

    fn with_roots(mut self, pem: &[u8], origin: &str) -> Result<Self, Error> {
        self.roots.extend(certificates(pem, origin)?);
        Ok(self)
    }

    fn with_identity(
        mut self,
        chain: &[u8],
        chain_origin: &str,
        key: &[u8],
        key_origin: &str,
    ) -> Result<Self, Error> {
        let chain = certificates(chain, chain_origin)?;
        // The causes are left out of the errors about the key: they may quote what they stumbled over.
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|cause| {
            configuration(match cause {
                pem::Error::NoItemsFound => format!(
                    "there is no private key in {key_origin}; a PEM file with a `PRIVATE KEY` block that is not encrypted is expected"
                ),
                _ => format!("the private key in {key_origin} cannot be read as PEM"),
            })
        })?;
        let identity =
            CertifiedKey::from_der(chain, key, &crypto_provider()).map_err(|cause| match cause {
                rustls::Error::InconsistentKeys(_) => configuration(format!(
                    "the private key in {key_origin} is not that of the first certificate in {chain_origin}"
                )),
                rustls::Error::InvalidCertificate(_) => configuration(format!(
                    "the first certificate in {chain_origin} is not valid"
                ))
                .with_source(cause),
                _ => configuration(format!(
                    "the private key in {key_origin} is of a kind that cannot be used; RSA, ECDSA (P-256, P-384) or Ed25519 is expected"
                )),
            })?;
        self.identity = Some(Arc::new(identity));
        Ok(self)
    }
}

/// Never the key.
impl fmt::Debug for TlsOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TlsOptions")
            .field("roots", &self.roots.len())
            .field("without_platform_roots", &self.without_platform_roots)
            .field("client_certificate", &self.identity.is_some())
            .field("unverified", &self.unverified)
            .finish()
    }
}

fn certificates(pem: &[u8], origin: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| {
            configuration(format!("a certificate in {origin} cannot be read as PEM"))
                .with_source(source)
        })?;
    if certificates.is_empty() {
        return Err(configuration(format!(
            "there is no certificate in {origin}; a PEM file with `CERTIFICATE` blocks is expected"
        )));
    }
    Ok(certificates)
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let failed = |source: std::io::Error| {
        configuration(format!("the file {} cannot be read", path.display())).with_source(source)
    };
    let file = File::open(path).map_err(failed)?;
    let mut pem = Vec::new();
    // What a device or a pipe has is known only to whoever reads it.
    let mut bounded = file.take(MAX_PEM_FILE.saturating_add(1));
    bounded.read_to_end(&mut pem).map_err(failed)?;
    if pem.len() as u64 > MAX_PEM_FILE {
        return Err(configuration(format!(
            "the file {} is too large for one with certificates: it has more than {} MiB",
            path.display(),
            MAX_PEM_FILE / (1024 * 1024)
        )));
    }
    Ok(pem)
}

fn configuration(message: String) -> Error {
    Error::new(ErrorKind::Configuration, message)
}

/// The configurations of a client.
#[derive(Debug)]
pub(crate) struct TlsConfigs {
    /// Towards the servers that are asked.
    server: Arc<ClientConfig>,
    /// Towards those of them whose certificate does not matter. It has sessions of its own, so that none of them is gone on
    /// with where it does.
    unverified: Option<(BTreeSet<Origin>, Arc<ClientConfig>)>,
    /// Towards proxies reached over TLS: HTTP/1.1 only, and without showing who we are.
    pub(crate) proxy: Arc<ClientConfig>,
}

impl TlsConfigs {
    /// That towards the server of an https URL.
    pub(crate) fn towards(&self, uri: &Uri) -> &Arc<ClientConfig> {
        let origin = || Origin::of(&Url::parse(&uri.to_string()).ok()?);
        match &self.unverified {
            Some((origins, config)) if origin().is_some_and(|one| origins.contains(&one)) => config,
            _ => &self.server,
        }
    }
}

/// The configurations, built when first needed: loading the roots takes longer than a request to a local server, which
/// needs none.
pub(crate) struct LazyTls {
    options: TlsOptions,
    versions: HttpVersions,
    built: OnceCell<Arc<TlsConfigs>>,
}

impl LazyTls {
    pub(crate) fn new(options: TlsOptions, versions: HttpVersions) -> Self {
        Self {
            options,
            versions,
            built: OnceCell::new(),
        }
    }

    pub(crate) async fn configs(&self) -> Result<Arc<TlsConfigs>, Error> {
        self.built
            .get_or_try_init(|| async {
                let (options, versions) = (self.options.clone(), self.versions);
                // Reads the certificate files of the platform.
                tokio::task::spawn_blocking(move || build(&options, versions))
                    .await
                    .map_err(|source| failed().with_source(source))?
                    .map(Arc::new)
            })
            .await
            .map(Arc::clone)
    }
}

fn build(options: &TlsOptions, versions: HttpVersions) -> Result<TlsConfigs, Error> {
    let provider = Arc::new(crypto_provider());
    let verifier = verifier(options, &provider)?;
    let without_verifier = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|source| failed().with_source(source))?;
    let builder = without_verifier
        .clone()
        .dangerous() // only the name of the way in: both verifiers are strict ones
        .with_custom_certificate_verifier(verifier);
    let mut proxy = builder.clone().with_no_client_auth();
    proxy.alpn_protocols = vec![b"http/1.1".to_vec()];
    let towards_servers = |builder: ConfigBuilder<ClientConfig, WantsClientCert>| {
        let mut config = match &options.identity {
            Some(identity) => builder
                .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(identity)))),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = versions.alpn();
        Arc::new(config)
    };
    let unverified = (!options.unverified.is_empty()).then(|| {
        let anybody = Arc::new(Anybody(Arc::clone(&provider)));
        let builder = without_verifier.dangerous();
        let builder = builder.with_custom_certificate_verifier(anybody);
        (options.unverified.clone(), towards_servers(builder))
    });
    Ok(TlsConfigs {
        server: towards_servers(builder),
        unverified,
        proxy: Arc::new(proxy),
    })
}

/// Takes any certificate. That whoever shows it has its key is checked.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn verifier(
    options: &TlsOptions,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    if !options.without_platform_roots {
        let roots = options.roots.iter().cloned();
        let verifier = Verifier::new_with_extra_roots(roots, Arc::clone(provider))
            .map_err(|source| failed().with_source(source))?;
        return Ok(Arc::new(verifier));
    }
    let mut roots = RootCertStore::empty();
    for certificate in &options.roots {
        roots.add(certificate.clone()).map_err(|source| {
            Error::new(
                ErrorKind::Tls,
                "a root certificate that was added is not valid",
            )
            .with_source(source)
        })?;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|source| {
            Error::new(
                ErrorKind::Tls,
                "nobody is trusted: the roots of the platform are switched off, and no others were added",
            )
            .with_source(source)
        })?;
    Ok(verifier)
}

fn failed() -> Error {
    Error::new(
        ErrorKind::Tls,
        "TLS could not be set up; are root certificates installed on this machine?",
    )
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
        "peak-http needs a crypto provider for TLS: switch on its feature `aws-lc-rs` (the default) or `ring`"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERTIFICATE: &[u8] = include_bytes!("../tests/it/certificates/server.pem");
    const KEY: &[u8] = include_bytes!("../tests/it/certificates/server.key.pem");
    const OTHER_CERTIFICATE: &[u8] = include_bytes!("../tests/it/certificates/ca.pem");

    fn said(result: Result<TlsOptions, Error>) -> String {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        error.to_string()
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        for bad in [
            "",
            "not pem",
            "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        ] {
            said(TlsOptions::new().with_root_certificates_pem(bad.as_bytes()));
        }
    }

    #[cfg(unix)]
    #[test]
    fn of_a_device_without_an_end_no_more_is_read_than_a_file_may_have() {
        let endless = TlsOptions::new().with_root_certificates_file("/dev/zero");
        let said = said(endless);
        assert!(said.contains("/dev/zero is too large"), "{said}");
        assert!(said.contains("more than 16 MiB"), "{said}");
    }

    #[test]
    fn a_client_certificate_and_its_key_are_taken_from_one_text_or_two() {
        let both = [CERTIFICATE, KEY].concat();
        for (chain, key) in [(CERTIFICATE, KEY), (&both, &both)] {
            let options = TlsOptions::new().with_client_certificate_pem(chain, key);
            let shown = format!("{:?}", options.unwrap());
            assert!(shown.contains("client_certificate: true"), "{shown}");
        }
    }

    #[test]
    fn errors_about_client_certificates_say_which_file_and_what_is_wrong() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &[u8]| {
            let path = directory.path().join(name);
            std::fs::write(&path, content).unwrap();
            path
        };
        let (chain, key) = (file("chain.pem", CERTIFICATE), file("key.pem", KEY));
        let other = file("other.pem", OTHER_CERTIFICATE);
        let torn = file(
            "torn.pem",
            b"-----BEGIN PRIVATE KEY-----\ns3cret!\n-----END PRIVATE KEY-----\n",
        );
        let missing = directory.path().join("missing.pem");
        for (chain, key, names, says) in [
            (&key, &key, "key.pem", "no certificate"),
            (&chain, &chain, "chain.pem", "no private key"),
            (&chain, &torn, "torn.pem", "private key"),
            (
                &other,
                &key,
                "other.pem",
                "not that of the first certificate",
            ),
            (&missing, &key, "missing.pem", "cannot be read"),
            (&chain, &missing, "missing.pem", "cannot be read"),
        ] {
            let message = said(TlsOptions::new().with_client_certificate_files(chain, key));
            assert!(
                message.contains(names) && message.contains(says),
                "{message}"
            );
            assert!(!message.contains("s3cret"), "{message}");
        }
        let message = said(TlsOptions::new().with_root_certificates_file(&key));
        assert!(message.contains("key.pem"), "{message}");
    }
}
