//! How `peak local serve` listens, and what it says about requests.

use std::path::PathBuf;

use clap::Args;
use peak_sdk::local::PlatformBuilder;

/// Options of `peak local serve`, apart from what is served.
#[derive(Debug, Args)]
pub(crate) struct ServingOptions {
    /// Speak TLS with a certificate that a CA in the state directory signs; prints the CA's file
    #[arg(long, conflicts_with = "tls_cert")]
    tls_self_signed: bool,
    /// Speak TLS with the certificates in this PEM file, the server's own first
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key of --tls-cert, PEM and not encrypted
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Count requests for Prometheus, at /metrics
    #[arg(long)]
    metrics: bool,
    /// Log each request as a line of JSON on standard error
    #[arg(long)]
    pub(crate) access_log: bool,
}

impl ServingOptions {
    pub(crate) fn apply(self, mut builder: PlatformBuilder) -> PlatformBuilder {
        if self.tls_self_signed {
            builder = builder.tls_self_signed();
        }
        if let (Some(certificate), Some(key)) = (self.tls_cert, self.tls_key) {
            builder = builder.tls_files(certificate, key);
        }
        builder.metrics(self.metrics).access_log(self.access_log)
    }
}

/// Lets this process have as many files and connections open as the machine allows it: most shells
/// start programs with less.
#[cfg(unix)]
pub(crate) fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // With fewer the server accepts fewer connections at once.
    let _ = setrlimit(Resource::Nofile, limit);
}

#[cfg(not(unix))]
pub(crate) fn raise_descriptor_limit() {}
