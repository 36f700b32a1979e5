//! Why a build failed.

use std::io;
use std::time::Duration;

use peak_oci::content::ContentError;
use peak_registry_server::StoreError;

use super::expand::ExpandError;
use super::unpack_error::UnpackError;
use crate::engine::EngineFailure;

/// Why a build failed. `Display` is what a person reads as the last line of the log; where there is
/// a [`source`](std::error::Error::source), it says more about the machine than about the build.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum BuildError {
    /// Somebody asked for it.
    #[error("the build was stopped")]
    Cancelled,

    /// The artifact is not one that can be used.
    #[error(transparent)]
    Unpack(#[from] UnpackError),

    /// There is no Dockerfile where it was looked for.
    #[error("there is no Dockerfile at {path:?} in the artifact; {}", seen_dockerfiles(.seen))]
    NoDockerfile {
        /// Where it was looked for.
        path: String,
        /// Other files of the artifact that look like one.
        seen: Vec<String>,
    },

    /// The Dockerfile is not one that can be read.
    #[error("the Dockerfile {path:?} {reason}")]
    UnusableDockerfile {
        /// Which one.
        path: String,
        /// What is wrong, as the rest of the sentence.
        reason: String,
    },

    /// The build's context is not in the artifact.
    #[error("the context {path:?} is no directory of the artifact")]
    NoContext {
        /// What was given as context.
        path: String,
    },

    /// The Dockerfile is not written as it should be.
    #[error("Dockerfile line {line}: {message}")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },

    /// An instruction of the Dockerfile cannot be done.
    #[error("Dockerfile line {line}: {instruction}: {problem}")]
    Instruction {
        /// The line of the instruction, from 1.
        line: usize,
        /// Which instruction, `COPY`.
        instruction: &'static str,
        /// What is wrong.
        problem: Problem,
    },

    /// The file system of this machine refused.
    #[error("could not {action}")]
    Disk {
        /// What was being done.
        action: &'static str,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },

    /// The embedded registry refused.
    #[error("could not {action} the embedded registry")]
    Store {
        /// What was being done, `write a layer to`.
        action: &'static str,
        /// What the registry said.
        #[source]
        source: StoreError,
    },

    /// A Docker Engine is needed, and there is none.
    #[error("{refusal}; no Docker Engine can be used")]
    NoEngine {
        /// Why one is needed.
        refusal: Box<BuildError>,
        /// What was tried.
        #[source]
        source: EngineFailure,
    },

    /// A Docker Engine is needed, and none may be used.
    #[error("{refusal}; this platform may use no Docker Engine, which `--docker auto` would allow")]
    EngineForbidden {
        /// Why one is needed.
        refusal: Box<BuildError>,
    },

    /// The Docker Engine did not build the image.
    #[error("{engine} did not build the image")]
    Engine {
        /// Which Engine.
        engine: String,
        /// What it said.
        #[source]
        source: EngineFailure,
    },

    /// The image that the Docker Engine has built cannot be had.
    #[error("the image cannot be taken from {engine}")]
    EngineImage {
        /// Which Engine.
        engine: String,
        /// What happened.
        #[source]
        source: ContentError,
    },

    /// The Docker Engine needs too long.
    #[error("{engine} has not built the image in {} s, which is all the time it had", limit.as_secs())]
    EngineTime {
        /// Which Engine.
        engine: String,
        /// How long it had.
        limit: Duration,
    },

    /// All builds are to be done by a Docker Engine.
    #[error("a Docker Engine is to do all builds here")]
    EngineWanted,

    /// What was built cannot be written as an image.
    #[error("the image's {what} cannot be written: {reason}")]
    Encode {
        /// Which document.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
}

impl BuildError {
    /// Whether a Docker Engine may be able to do what this build could not.
    pub(crate) fn an_engine_may_help(&self) -> bool {
        matches!(self, Self::Instruction { problem, .. } if problem.an_engine_may_help())
    }

    /// Builds the adapter for `map_err` that says what was being done on the disk.
    pub(crate) fn disk(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Disk { action, source }
    }

    /// Builds the adapter for `map_err` that says what was being done with the registry.
    pub(crate) fn store(action: &'static str) -> impl FnOnce(StoreError) -> Self {
        move |source| Self::Store { action, source }
    }
}

/// What is wrong with one instruction. Values that came from a build argument are not shown: the
/// words of the Dockerfile are, as they stand there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Problem {
    #[error("the embedded builder runs no commands; a Docker Engine would run this line")]
    NeedsEngine,
    #[error("the embedded builder does not do {what}; a Docker Engine would")]
    Unsupported { what: String },
    #[error("{0}")]
    Expand(#[from] ExpandError),
    #[error("{message}")]
    Malformed { message: String },
    #[error("{path:?} is not in the {place}")]
    NotFound { path: String, place: &'static str },
    #[error("{path:?} leaves the build's context; only files of the artifact can be copied")]
    LeavesContext { path: String },
    #[error("the pattern {pattern:?} is malformed")]
    Pattern { pattern: String },
    #[error("no file of the {place} matches {patterns}")]
    NothingMatches {
        patterns: String,
        place: &'static str,
    },
    #[error("several files need a directory as destination, so {path:?} must end with a '/'")]
    DestinationNotDirectory { path: String },
    #[error("{path:?} is a {is} in the image and cannot become a {wanted}")]
    InTheWay {
        path: String,
        is: &'static str,
        wanted: &'static str,
    },
    #[error("the symbolic links at {path:?} lead nowhere or in circles")]
    LinkLoop { path: String },
    #[error("{path:?} cannot be in a layer: names that start with \".wh.\" mean deletions there")]
    WhiteoutName { path: String },
    #[error("{path:?} is a device, a pipe or a socket, which the embedded builder does not copy")]
    SpecialFile { path: String },
    #[error(
        "{owner:?} is not USER or USER:GROUP in numbers; names need a Docker Engine to look them up"
    )]
    Owner { owner: String },
    #[error("{mode:?} is not a file mode in octal digits, such as 0644")]
    Mode { mode: String },
    #[error(
        "{path:?} is an address; the embedded builder adds files of the artifact only, so download it into the artifact first"
    )]
    RemoteSource { path: String },
    #[error(
        "{path:?} is compressed with {format}, which the embedded builder cannot extract; pack it as .tar or .tar.gz, or use COPY to keep it as it is"
    )]
    ArchiveFormat { path: String, format: &'static str },
    #[error("the archive {path:?} cannot be extracted: {reason}")]
    Archive { path: String, reason: String },
    #[error(
        "the image {image} is not in the embedded registry; build it there with `peak ship`, or start `peak local serve` and copy it to the address that it prints: `peak registry copy {source_name} ADDRESS/{name}`"
    )]
    NotInRegistry {
        image: String,
        source_name: String,
        name: String,
        /// It was named with the registry's address before it.
        ours: bool,
    },
    #[error(
        "the image {image} is in another registry; name it {name} here, start `peak local serve` and copy it to the address that it prints: `peak registry copy {image} ADDRESS/{name}`"
    )]
    OtherRegistry { image: String, name: String },
    #[error("{image:?} is not the name of an image")]
    ImageName { image: String },
    #[error("the image {image} is not there for the platform {wanted}; it has {available}")]
    NoPlatform {
        image: String,
        wanted: String,
        available: String,
    },
    #[error("the image {image} has ONBUILD instructions, which need a Docker Engine")]
    OnBuild { image: String },
    #[error("the image {image} cannot be built upon: {reason}")]
    UnusableImage { image: String, reason: String },
    #[error("there is no earlier stage or image {name:?}")]
    NoStage { name: String },
}

impl Problem {
    /// Says where the problem is.
    pub(crate) fn at(self, line: usize, instruction: &'static str) -> BuildError {
        BuildError::Instruction {
            line,
            instruction,
            problem: self,
        }
    }

    /// Whether a Docker Engine may be able to do it: what needs a running container, the names of users in an image,
    /// other registries, or the network. Mistakes stay mistakes there.
    fn an_engine_may_help(&self) -> bool {
        match self {
            Self::NeedsEngine
            | Self::Unsupported { .. }
            | Self::Owner { .. }
            | Self::RemoteSource { .. }
            | Self::ArchiveFormat { .. }
            | Self::OtherRegistry { .. }
            | Self::OnBuild { .. } => true,
            Self::NotInRegistry { ours, .. } => !ours,
            _ => false,
        }
    }

    /// The same problem with a path that may be shown, where its own came from a build argument.
    pub(crate) fn showing(mut self, shown: &str) -> Self {
        if let Self::InTheWay { path, .. }
        | Self::LinkLoop { path }
        | Self::WhiteoutName { path }
        | Self::SpecialFile { path } = &mut self
        {
            shown.clone_into(path);
        }
        self
    }

    pub(crate) fn malformed(message: impl Into<String>) -> Self {
        Self::Malformed {
            message: message.into(),
        }
    }

    pub(crate) fn unsupported(what: impl Into<String>) -> Self {
        Self::Unsupported { what: what.into() }
    }
}

/// A problem of an instruction, whose line only the caller knows, or an error of another kind.
#[derive(Debug)]
pub(crate) enum Fault {
    Problem(Problem),
    Build(BuildError),
}

impl Fault {
    /// Says where the problem is, if it is one.
    pub(crate) fn at(self, line: usize, instruction: &'static str) -> BuildError {
        match self {
            Self::Problem(problem) => problem.at(line, instruction),
            Self::Build(error) => error,
        }
    }
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<ExpandError> for Fault {
    fn from(error: ExpandError) -> Self {
        Self::Problem(error.into())
    }
}

impl From<BuildError> for Fault {
    fn from(error: BuildError) -> Self {
        Self::Build(error)
    }
}

/// How many Dockerfiles the error about a missing one names.
const SEEN_SHOWN: usize = 5;

fn seen_dockerfiles(seen: &[String]) -> String {
    if seen.is_empty() {
        return "there is no Dockerfile anywhere in it".to_owned();
    }
    let mut text = String::from("it has ");
    text.push_str(
        &seen
            .iter()
            .take(SEEN_SHOWN)
            .cloned()
            .collect::<Vec<_>>()
            .join(", "),
    );
    if seen.len() > SEEN_SHOWN {
        text.push_str(" and others");
    }
    text
}
