//! Whether a server speaks TLS: it is greeted, and the first byte of its answer tells.

use std::io::{self, ErrorKind as Broken};
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::error::{BoxError, Error, ErrorKind};
use crate::tls::crypto_provider;

use super::{Connector, server_name};

/// How records of TLS begin that a server can answer with (RFC 8446, section 5.1).
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;

impl Connector {
    /// See [`Client::speaks_tls`](crate::Client::speaks_tls), whose errors these are.
    pub(crate) async fn speaks_tls(&self, uri: &Uri, limit: Duration) -> Result<bool, Error> {
        let greeted = async {
            let greeting = greeting(server_name(uri)?)?;
            let link = self.link(uri).await.map_err(no_connection)?;
            greet(link, &greeting)
                .await
                .map_err(|source| no_connection(source.into()))
        };
        tokio::time::timeout(limit, greeted)
            .await
            .unwrap_or_else(|_| {
                Err(Error::new(
                    ErrorKind::Timeout,
                    format!(
                        "the server has not answered the greeting of TLS within {} seconds",
                        limit.as_secs_f64()
                    ),
                ))
            })
    }
}

fn no_connection(source: BoxError) -> Error {
    match source.downcast::<Error>() {
        Ok(own) => *own,
        Err(source) => {
            Error::new(ErrorKind::Connect, "no connection to the server").with_source(source)
        }
    }
}

/// A `ClientHello`. What would come after it is never computed, so nobody needs to be trusted for it.
fn greeting(name: ServerName<'static>) -> Result<Vec<u8>, Error> {
    let failed = |source: BoxError| {
        Error::new(ErrorKind::Tls, "TLS could not be set up").with_source(source)
    };
    let config = ClientConfig::builder_with_provider(Arc::new(crypto_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|source| failed(source.into()))?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let mut connection =
        ClientConnection::new(Arc::new(config), name).map_err(|source| failed(source.into()))?;
    let mut greeting = Vec::new();
    while connection.wants_write() {
        connection
            .write_tls(&mut greeting)
            .map_err(|source| failed(source.into()))?;
    }
    Ok(greeting)
}

/// A server that hangs up instead of answering speaks no TLS either.
async fn greet(mut link: impl AsyncRead + AsyncWrite + Unpin, greeting: &[u8]) -> io::Result<bool> {
    let answer = async {
        link.write_all(greeting).await?;
        link.flush().await?;
        link.read_u8().await
    };
    match answer.await {
        Ok(first) => Ok(matches!(first, ALERT | HANDSHAKE)),
        Err(error)
            if matches!(
                error.kind(),
                Broken::UnexpectedEof
                    | Broken::ConnectionReset
                    | Broken::ConnectionAborted
                    | Broken::BrokenPipe
            ) =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}
