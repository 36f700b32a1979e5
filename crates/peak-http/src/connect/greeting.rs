//! Whether a server speaks TLS: it is greeted, and the first byte of its answer tells.

use std::io::{self, ErrorKind as Broken};
use std::time::Duration;

use http::Uri;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::error::{BoxError, Error, ErrorKind};

use super::{Connector, server_name};

/// How records of TLS begin that a server can answer with (RFC 8446, section 5.1).
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;

impl Connector {
    /// See [`Client::speaks_tls`](crate::Client::speaks_tls), whose errors these are.
    pub(crate) async fn speaks_tls(&self, uri: &Uri, limit: Duration) -> Result<bool, Error> {
        let greeted = async {
            let link = self.link(uri).await.map_err(no_connection)?;
            greet(link, &greeting(uri))
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

/// Cipher suites of TLS 1.3 and 1.2 that servers have: AES-GCM and ChaCha20-Poly1305, and AES-CBC for old ones.
const CIPHER_SUITES: [u16; 12] = [
    0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0x009c, 0x002f,
];
/// X25519, P-256, P-384.
const GROUPS: [u16; 3] = [0x001d, 0x0017, 0x0018];
/// ECDSA, Ed25519 and RSA, with SHA-256 and longer.
const SIGNATURES: [u16; 10] = [
    0x0403, 0x0503, 0x0603, 0x0807, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601,
];
/// TLS 1.3 and 1.2.
const VERSIONS: [u16; 2] = [0x0304, 0x0303];

/// A `ClientHello` in its record (RFC 8446, sections 4.1.2 and 5.1).
///
/// It has no key in it, which asks the server to name the group that it wants one of: so neither side computes anything.
/// (One made by the library that shakes hands costs its first random number, which takes 40 ms of CPU time.)
///
/// The number of `supported_groups` is that of a line's end, so that servers which read lines answer, too.
fn greeting(uri: &Uri) -> Vec<u8> {
    let extension =
        |number: u16, content: &[u8]| [&number.to_be_bytes()[..], &sized::<2>(content)].concat();
    let mut extensions = Vec::new();
    if let Ok(ServerName::DnsName(name)) = server_name(uri) {
        let entry = [&[0][..], &sized::<2>(name.as_ref().as_bytes())].concat();
        extensions.extend(extension(0x0000, &sized::<2>(&entry)));
    }
    extensions.extend(extension(0x000a, &sized::<2>(&numbers(&GROUPS))));
    extensions.extend(extension(0x000b, &sized::<1>(&[0])));
    extensions.extend(extension(0x000d, &sized::<2>(&numbers(&SIGNATURES))));
    extensions.extend(extension(0x002b, &sized::<1>(&numbers(&VERSIONS))));
    extensions.extend(extension(0x0033, &sized::<2>(&[])));
    let hello = [
        &[3, 3][..],
        &rand::random::<[u8; 32]>(),
        &sized::<1>(&[]),
        &sized::<2>(&numbers(&CIPHER_SUITES)),
        &sized::<1>(&[0]),
        &sized::<2>(&extensions),
    ];
    let message = [&[1][..], &sized::<3>(&hello.concat())].concat();
    [&[HANDSHAKE, 3, 1][..], &sized::<2>(&message)].concat()
}

fn numbers(numbers: &[u16]) -> Vec<u8> {
    numbers.iter().flat_map(|one| one.to_be_bytes()).collect()
}

/// The content with its length before it, in this many bytes. What is said here is short enough for them.
fn sized<const BYTES: usize>(content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let (_, length) = length.split_at(length.len().saturating_sub(BYTES));
    [length, content].concat()
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

#[cfg(test)]
mod tests {
    use rustls::server::Acceptor;

    use super::*;

    #[test]
    fn the_greeting_is_one_that_servers_understand() {
        for (url, name) in [
            (
                "https://registry.example:5000/v2/",
                Some("registry.example"),
            ),
            ("https://127.0.0.1:5000/v2/", None),
            ("https://[::1]:5000/v2/", None),
        ] {
            let greeting = greeting(&url.parse().unwrap());
            assert!(greeting.contains(&b'\n'));
            let mut acceptor = Acceptor::default();
            let read = acceptor.read_tls(&mut &*greeting).unwrap();
            assert_eq!(read, greeting.len());
            let accepted = acceptor.accept().unwrap().unwrap();
            let hello = accepted.client_hello();
            assert_eq!(hello.server_name(), name);
            assert_eq!(hello.cipher_suites().len(), CIPHER_SUITES.len());
            assert_eq!(hello.signature_schemes().len(), SIGNATURES.len());
        }
    }
}
