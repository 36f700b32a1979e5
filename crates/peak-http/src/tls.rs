//! TLS settings, turned into a configuration on the first https connection.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls_platform_verifier::Verifier;
use tokio::sync::OnceCell;

use crate::error::{Error, ErrorKind};

/// Whom to trust. The roots of the platform are always trusted.
#[derive(Debug, Clone, Default)]
pub struct TlsOptions {
    extra_roots: Vec<CertificateDer<'static>>,
}

impl TlsOptions {
    /// Trusts the roots of the platform only.
    pub fn new() -> Self {
        Self::default()
    }

    /// Also trusts the certificates in `pem` (one or more `CERTIFICATE` blocks; other blocks are passed over).
    ///
    /// Errors: [`ErrorKind::Configuration`] if there is none, or one cannot be read.
    pub fn with_root_certificates_pem(mut self, pem: &[u8]) -> Result<Self, Error> {
        let before = self.extra_roots.len();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            self.extra_roots.push(certificate.map_err(|source| {
                Error::new(
                    ErrorKind::Configuration,
                    "a root certificate cannot be read as PEM",
                )
                .with_source(source)
            })?);
        }
        if self.extra_roots.len() == before {
            return Err(Error::new(
                ErrorKind::Configuration,
                "there is no certificate in what was given as root certificates; a PEM file is expected",
            ));
        }
        Ok(self)
    }
}

/// The configuration, built when it is first needed: loading the roots takes longer than a request to a local server,
/// which needs none.
pub(crate) struct LazyTls {
    options: TlsOptions,
    built: OnceCell<Arc<ClientConfig>>,
}

impl LazyTls {
    pub(crate) fn new(options: TlsOptions) -> Self {
        Self {
            options,
            built: OnceCell::new(),
        }
    }

    pub(crate) async fn config(&self) -> Result<Arc<ClientConfig>, Error> {
        self.built
            .get_or_try_init(|| async {
                let options = self.options.clone();
                // Reads the certificate files of the platform.
                tokio::task::spawn_blocking(move || build(&options))
                    .await
                    .map_err(|source| failed().with_source(source))?
                    .map(Arc::new)
            })
            .await
            .map(Arc::clone)
    }
}

fn build(options: &TlsOptions) -> Result<ClientConfig, Error> {
    let provider = Arc::new(crypto_provider());
    let roots = options.extra_roots.iter().cloned();
    let verifier = Verifier::new_with_extra_roots(roots, Arc::clone(&provider))
        .map_err(|source| failed().with_source(source))?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|source| failed().with_source(source))?
        .dangerous() // only the name of the way in: the platform's verifier is the strict one
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(config)
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

    #[test]
    fn what_is_no_certificate_is_refused() {
        for bad in [
            "",
            "not pem",
            "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        ] {
            let error = TlsOptions::new()
                .with_root_certificates_pem(bad.as_bytes())
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration, "{bad}");
        }
    }
}
