//! What bytes go over: TCP, perhaps TLS to a proxy, perhaps TLS to the server; or a Unix socket.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::{self, Connected};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio_rustls::client::TlsStream;

/// The way to the server, or to the proxy in its place.
#[derive(Debug)]
pub(crate) enum Link {
    Tcp(TcpStream),
    /// To a proxy that is reached over TLS.
    Tls(Box<TlsStream<TcpStream>>),
    #[cfg(unix)]
    Unix(UnixStream),
}

/// What HTTP is spoken on.
#[derive(Debug)]
pub(crate) enum Connection {
    Plain(Link),
    /// The proxy is asked, in the place of the server.
    ToProxy(Link),
    Tls(Box<TlsStream<Link>>),
}

impl connect::Connection for Connection {
    fn connected(&self) -> Connected {
        match self {
            Self::Plain(_) => Connected::new(),
            Self::ToProxy(_) => Connected::new().proxy(true),
            Self::Tls(stream) => {
                let (_, session) = stream.get_ref();
                match session.alpn_protocol() {
                    Some(b"h2") => Connected::new().negotiated_h2(),
                    _ => Connected::new(),
                }
            }
        }
    }
}

/// Hands reading and writing on to whatever is inside.
macro_rules! delegate {
    ($outer:ident { $($(#[$condition:meta])* $variant:ident),+ $(,)? }) => {
        impl AsyncRead for $outer {
            fn poll_read(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                buffer: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $($(#[$condition])* Self::$variant(inner) => Pin::new(inner).poll_read(context, buffer),)+
                }
            }
        }

        impl AsyncWrite for $outer {
            fn poll_write(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    $($(#[$condition])* Self::$variant(inner) => Pin::new(inner).poll_write(context, bytes),)+
                }
            }

            fn poll_flush(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
            ) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $($(#[$condition])* Self::$variant(inner) => Pin::new(inner).poll_flush(context),)+
                }
            }

            fn poll_shutdown(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
            ) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $($(#[$condition])* Self::$variant(inner) => Pin::new(inner).poll_shutdown(context),)+
                }
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                buffers: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    $($(#[$condition])* Self::$variant(inner) => {
                        Pin::new(inner).poll_write_vectored(context, buffers)
                    })+
                }
            }

            fn is_write_vectored(&self) -> bool {
                match self {
                    $($(#[$condition])* Self::$variant(inner) => inner.is_write_vectored(),)+
                }
            }
        }
    };
}

delegate!(Link {
    Tcp,
    Tls,
    #[cfg(unix)]
    Unix,
});
delegate!(Connection {
    Plain,
    ToProxy,
    Tls,
});
