//! Why the platform did not start.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use peak_serve::ServeError;

/// Why the platform did not start.
///
/// Nothing is left running after any of these, and what was in the state directory before is still there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocalError {
    /// The builder was not told where to keep the state.
    #[error("no state directory was given")]
    NoStateDirectory,

    /// Another process, or another [`Platform`](crate::Platform) of this one, works on the directory.
    #[error(
        "the state directory {} is in use by another embedded platform; stop that one, or give another state directory",
        .path.display()
    )]
    StateInUse {
        /// The state directory.
        path: PathBuf,
    },

    /// The directory has files, but not those of a state directory. Nothing was changed in it.
    #[error(
        "{} holds other files than those of an embedded platform; give a new or an empty directory",
        .path.display()
    )]
    NotAStateDirectory {
        /// The directory.
        path: PathBuf,
    },

    /// There is nothing at the place that was given.
    #[error("there is no state of an embedded platform in {}", .path.display())]
    NoState {
        /// The directory.
        path: PathBuf,
    },

    /// Something works on the state directory and does not say how it can be asked to do more.
    #[error(
        "the state directory {} is in use, and what uses it cannot be asked; wait for its end or stop it",
        .path.display()
    )]
    Unreachable {
        /// The state directory.
        path: PathBuf,
        /// Why its control file cannot be read.
        #[source]
        source: io::Error,
    },

    /// The state directory, or something in it, cannot be made or opened.
    #[error("the state directory {} cannot be used: {action} failed", .path.display())]
    StateDirectory {
        /// The file or directory that it was about.
        path: PathBuf,
        /// What was being done.
        action: &'static str,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },

    /// The images, versions and builds of earlier runs cannot be read.
    #[error("the state file {} cannot be used", .path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },

    /// The registry's part of the state directory cannot be used.
    #[error("the registry directory {} cannot be used", .path.display())]
    Registry {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },

    /// Listening there would open the platform to other machines.
    #[error(
        "{address} is not a loopback address, and beyond loopback both a token and TLS are needed"
    )]
    NotLoopback {
        /// The address that was asked for.
        address: SocketAddr,
    },

    /// The address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ServeError),

    /// There is no certificate to show.
    #[error("TLS cannot be set up")]
    Tls {
        /// What is wrong with the certificate, its key or their files.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },

    /// The token cannot stand in a request's `Authorization` header.
    #[error("the token must be at least one character, all of them visible ASCII")]
    Token,
}

/// The text of an error with all its causes, for the places where nobody can ask for the causes: log lines.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
