//! Which source answered for a registry, and why the others did not. Without any secret.

use std::fmt;

use serde::Serialize;

/// Where credentials may come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CredentialSource {
    /// Given to the client by the program.
    Caller,
    /// Asked of a [provider](crate::CredentialProvider) of the program.
    Provider,
    /// The environment variable `DOCKER_AUTH_CONFIG`.
    Environment,
    /// Docker's `config.json`.
    Docker,
    /// podman's `auth.json`.
    Podman,
}

/// What came of asking one source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
#[non_exhaustive]
pub enum SourceOutcome {
    /// It has the credentials that are used.
    Answered {
        /// The user name.
        user: String,
        /// Whether the secret is an identity token.
        identity_token: bool,
        /// The part of the registry that they are for; none where they are for all of it.
        path: Option<String>,
    },
    /// It is not there.
    Absent,
    /// It says nothing about this registry.
    NoEntry,
    /// It says something about other parts of the registry only.
    OtherPaths {
        /// Those parts.
        paths: Vec<String>,
    },
    /// It has an entry without a user name or without a secret, which counts as none.
    Empty,
    /// It could not be asked.
    Failed {
        /// Why not, and what to do.
        reason: String,
    },
    /// One before it answered.
    NotAsked,
}

/// One source, in the order in which they are asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ExplanationStep {
    /// What kind of source it is.
    pub source: CredentialSource,
    /// Where it is: a path, a variable, a helper.
    pub place: String,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: SourceOutcome,
}

/// Which source answered for a repository, and why the others did not. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The registry, by its one name.
    pub registry: String,
    /// The repository, where one was asked about.
    pub repository: Option<String>,
    /// All sources, the first asked first.
    pub steps: Vec<ExplanationStep>,
}

impl Explanation {
    /// The source whose credentials are used; `None` where access is anonymous.
    pub fn answer(&self) -> Option<&ExplanationStep> {
        self.steps
            .iter()
            .find(|step| matches!(step.outcome, SourceOutcome::Answered { .. }))
    }
}

impl fmt::Display for SourceOutcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered {
                user,
                identity_token,
                path,
            } => {
                write!(formatter, "answers as {user}")?;
                if *identity_token {
                    formatter.write_str(", with an identity token")?;
                }
                match path {
                    Some(path) => write!(formatter, ", for {path}"),
                    None => Ok(()),
                }
            }
            Self::Absent => formatter.write_str("is not there"),
            Self::NoEntry => formatter.write_str("has no entry for this registry"),
            Self::OtherPaths { paths } => {
                write!(formatter, "has entries only for {}", paths.join(", "))
            }
            Self::Empty => formatter.write_str("has an entry without a secret"),
            Self::Failed { reason } => write!(formatter, "cannot be asked: {reason}"),
            Self::NotAsked => formatter.write_str("is not asked, since one before it answered"),
        }
    }
}

/// One line for what is used, and one for each source.
impl fmt::Display for Explanation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.registry)?;
        if let Some(repository) = &self.repository {
            write!(formatter, "/{repository}")?;
        }
        match self.answer() {
            Some(step) => writeln!(formatter, ": credentials from {}", step.place)?,
            None => writeln!(
                formatter,
                ": anonymous; `peak registry login {}` changes that",
                self.registry
            )?,
        }
        for (position, step) in self.steps.iter().enumerate() {
            writeln!(
                formatter,
                "  {}. {} {}",
                position + 1,
                step.place,
                step.outcome
            )?;
        }
        Ok(())
    }
}
