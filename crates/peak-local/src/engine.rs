//! The seam to a Docker Engine, for the Dockerfiles that the embedded builder refuses.
//!
//! This crate is a server, and speaks to no other one: a mistake of the client could hide behind what both share. So it
//! says here what it needs of an Engine, and whoever starts the platform [plugs it in](crate::PlatformBuilder::engine).
//! The `peak` command line does so with the Engine client of this workspace.

use std::error::Error;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::Stream;
use peak_oci::Platform;
use peak_oci::content::{BoxFuture, Source};
use secrecy::SecretString;
use tokio::sync::mpsc;

use crate::engine_log::Lines;

/// Which builds go to the Engine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EngineUse {
    /// Those that the embedded builder refuses and an Engine may be able to do. Where a Dockerfile needs no Engine,
    /// nobody looks for one, and the image has the same digests on every machine.
    #[default]
    Auto,
    /// All.
    Always,
}

/// Finds a Docker Engine for each build that needs one.
pub trait EngineBuilder: fmt::Debug + Send + Sync {
    /// Looks for the Engine, and begins a build on it.
    ///
    /// # Errors
    /// There is none that answers. The error says what was tried and what to do.
    fn connect(&self) -> BoxFuture<'_, Result<Box<dyn EngineRun>, EngineFailure>>;
}

/// One build on an Engine that answered.
pub trait EngineRun: Send {
    /// What the Engine builds for, where nobody asks for something else.
    fn platform(&self) -> Platform;

    /// Which Engine this is, for the build's log: `Docker Engine 20.10.24 at unix:///var/run/docker.sock`.
    fn engine(&self) -> &str;

    /// Builds without taking anything from other builds, which may be about to go, and gives the image: its [manifest](Source::manifest) where none is named. What the Engine prints goes
    /// to the log as it comes.
    ///
    /// Called once. The future is dropped where the build is cancelled or takes too long; the Engine is to stop it then.
    ///
    /// # Errors
    /// The build ended without an image, or the Engine did not answer to its end.
    fn build(
        &mut self,
        build: EngineBuild,
        log: EngineLog,
    ) -> BoxFuture<'_, Result<Box<dyn Source>, EngineFailure>>;

    /// Removes whatever the build has left in the Engine: the image, what it was made of, what was pulled for it from
    /// the embedded registry. Called at the end in any case, also where [`build`](Self::build) failed or was dropped.
    ///
    /// # Errors
    /// Something is left. The build's log says so; the build itself is not failed by it.
    fn clean_up(&mut self) -> BoxFuture<'_, Result<(), EngineFailure>>;
}

/// What an Engine is to build. It holds the values of build arguments, so it has no `Debug`.
#[non_exhaustive]
pub struct EngineBuild {
    /// A tar with the files of the build, Dockerfile and `.dockerignore` among them. Its paths are relative and do not
    /// leave it.
    pub context: BuildContext,
    /// The path of the Dockerfile in the context.
    pub dockerfile: String,
    /// Values for `ARG`, each name once.
    pub arguments: Vec<(String, SecretString)>,
    /// Images of the embedded registry that the Dockerfile names, `127.0.0.1:7325/team/base@sha256:…`: to be pulled
    /// before the build, and removed after it.
    pub images: Vec<String>,
    /// Images of other registries that the Dockerfile names, as it names them. The Engine pulls them where it does not have
    /// them, and may need credentials for it.
    pub other_images: Vec<String>,
    /// The password of any user of the embedded registry, where it asks for one.
    pub registry_password: Option<SecretString>,
}

/// A tar while it is written.
pub type BuildContext = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// Why an Engine could not be used, or did not build: what happened, and its cause.
pub struct EngineFailure {
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl EngineFailure {
    /// A failure without a cause. The message is in lower case and becomes part of the build's log.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            source: None,
        }
    }

    /// Sets the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for EngineFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl fmt::Debug for EngineFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("EngineFailure")
            .field("message", &self.message)
            .field("source", &self.source)
            .finish()
    }
}

impl Error for EngineFailure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// Where the Engine's output goes to become the build's log. Cheap to clone; never blocks.
///
/// It takes output in pieces of any size and makes lines of it. How much of it is kept is bounded: of a longer one the
/// middle is left out, and the log says so.
#[derive(Debug, Clone)]
pub struct EngineLog {
    open: Arc<Mutex<OpenLog>>,
}

#[derive(Debug)]
struct OpenLog {
    lines: Lines,
    /// `None` once the log has ended, whoever still has it.
    sender: Option<mpsc::UnboundedSender<String>>,
}

impl EngineLog {
    /// A log, and what comes out of it. `shown` are texts that are shown as others.
    pub(crate) fn new(shown: Vec<(String, String)>) -> (Self, mpsc::UnboundedReceiver<String>) {
        // What waits in it is bounded by what a log may have at all.
        let (sender, receiver) = mpsc::unbounded_channel();
        let open = OpenLog {
            lines: Lines::new(shown),
            sender: Some(sender),
        };
        let open = Arc::new(Mutex::new(open));
        (Self { open }, receiver)
    }

    /// Takes the next piece of output.
    pub fn write(&self, text: &str) {
        self.with(|lines, send| lines.write(text, send));
    }

    /// Takes a line of its own.
    pub fn line(&self, text: &str) {
        self.with(|lines, send| {
            lines.end_line(send);
            lines.write(text, send);
            lines.end_line(send);
        });
    }

    /// Nothing more comes; what does all the same is not taken.
    pub(crate) fn finish(&self) {
        self.with(|lines, send| lines.finish(send));
        self.lock().sender = None;
    }

    fn with(&self, act: impl FnOnce(&mut Lines, &mut dyn FnMut(String))) {
        let OpenLog { lines, sender } = &mut *self.lock();
        let Some(sender) = sender else {
            return;
        };
        act(lines, &mut |line| {
            // Where nobody listens any more, the build has ended.
            let _ = sender.send(line);
        });
    }

    fn lock(&self) -> MutexGuard<'_, OpenLog> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
