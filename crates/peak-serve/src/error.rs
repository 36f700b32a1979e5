//! Why nothing can be served.

use std::io;
use std::net::SocketAddr;

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Another program listens there.
    #[error(
        "the address {address} is in use; stop the program that listens there, or take port 0 for a free one"
    )]
    AddressInUse {
        /// The address that was asked for.
        address: SocketAddr,
    },

    /// The operating system does not let us listen there.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
}
