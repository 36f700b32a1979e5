//! What can go wrong with credentials at rest.

use std::io;
use std::path::PathBuf;

/// An error of the keychain. None shows a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeychainError {
    /// A file could not be read or written.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was to be done: `read`, `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file is larger than any file of credentials (1 MiB).
    #[error("{} is larger than a file of credentials can be", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// A file does not hold what Docker and podman write.
    #[error(
        "{place} is not a valid file of credentials (line {line}, column {column}); correct it by hand"
    )]
    Invalid {
        /// The file, or the environment variable.
        place: String,
        /// Counted from 1; 0 where the shape as a whole is wrong.
        line: usize,
        /// Counted from 1; 0 where the shape as a whole is wrong.
        column: usize,
    },
    /// The configured name of a helper cannot be that of a program.
    #[error("`{name}` is not the name of a credential helper")]
    HelperName {
        /// The name, cut to a readable length.
        name: String,
    },
    /// A helper is configured but not installed.
    #[error(
        "the credential helper `docker-credential-{name}` is not in PATH; install it or take it out of the configuration"
    )]
    HelperMissing {
        /// Its name, without the prefix.
        name: String,
    },
    /// A helper could not be run.
    #[error("the credential helper `docker-credential-{name}` cannot be run")]
    HelperRun {
        /// Its name, without the prefix.
        name: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A helper did not end in time.
    #[error(
        "the credential helper `docker-credential-{name}` did not answer within {seconds} seconds"
    )]
    HelperTimeout {
        /// Its name, without the prefix.
        name: String,
        /// The limit.
        seconds: u64,
    },
    /// A helper ended with an error.
    #[error("the credential helper `docker-credential-{name}` failed: {message}")]
    HelperFailed {
        /// Its name, without the prefix.
        name: String,
        /// What it said, cut to a readable length.
        message: String,
    },
    /// A helper's answer cannot be used.
    #[error("the answer of the credential helper `docker-credential-{name}` cannot be used")]
    HelperAnswer {
        /// Its name, without the prefix.
        name: String,
    },
    /// Another process keeps the file locked.
    #[error("{} is locked by another process; try again when that has ended", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// There is no file to keep credentials in.
    #[error("there is no place to keep credentials; set HOME or DOCKER_CONFIG")]
    NoPlace,
    /// The user name cannot be kept in the file: a colon would end it.
    #[error("the user name has a colon, which ends it; use another one")]
    UserName,
}
