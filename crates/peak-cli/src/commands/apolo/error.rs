//! The failures of Apolo's images, each with the exit code and the hint that a person needs.

use std::error::Error as StdError;

use peak_sdk::apolo::{ApoloError, ConfigError, ImageNameError, ImageNameProblem};
use peak_sdk::docker::{EngineConfigError, EngineError};
use peak_sdk::registry::RegistryError;

use crate::error::{CliError, ErrorKind};
use crate::output::printable;
use crate::suggest::did_you_mean;

/// What does the same without an Engine.
const WITHOUT_ENGINE: &str = "--no-docker does it without a Docker Engine, with oci:DIR, oci-archive:FILE or docker-archive:FILE as LOCAL";

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        Self::from_chain(ErrorKind::Usage, &error).with_hint(
            "`peak apolo --help` lists the variables; APOLO_REGISTRY_URL and APOLO_TOKEN are enough to begin with",
        )
    }
}

impl From<ImageNameError> for CliError {
    fn from(error: ImageNameError) -> Self {
        let failure = Self::from_chain(ErrorKind::Usage, &error);
        match error.problem() {
            ImageNameProblem::UnknownCluster { cluster, known } => {
                match did_you_mean(cluster, known) {
                    Some(question) => failure.with_hint(question),
                    None => failure.with_hint("APOLO_CLUSTERS names the clusters"),
                }
            }
            ImageNameProblem::Ambiguous
            | ImageNameProblem::NoName
            | ImageNameProblem::EmptyTag
            | ImageNameProblem::NoDefaultProject
            | ImageNameProblem::Component { .. }
            | ImageNameProblem::TagTooLong { .. }
            | ImageNameProblem::Tag { .. }
            | ImageNameProblem::TagNotAllowed { .. } => failure,
            ImageNameProblem::NotLocal => {
                failure.with_hint("LOCAL is written as NAME[:TAG], REMOTE as image:NAME[:TAG]")
            }
            _ => failure.with_hint("`peak apolo --help` has the forms of names"),
        }
    }
}

impl From<ApoloError> for CliError {
    fn from(error: ApoloError) -> Self {
        let kind = match error {
            ApoloError::UnknownCluster { cluster, known } => {
                return unknown_cluster(&cluster, &known);
            }
            ApoloError::Registry(error) => return error.into(),
            ApoloError::Transfer(error) => return error.into(),
            ApoloError::Target(error) => return error.into(),
            ApoloError::Engine(error) => return of_engine(&error),
            _ if error.is_not_found() => ErrorKind::NotFound,
            _ if error.is_authentication() => ErrorKind::Authentication,
            ApoloError::TimedOut { .. } => ErrorKind::Unavailable,
            ApoloError::Name(_)
            | ApoloError::NotPlatformImage { .. }
            | ApoloError::Unusable { .. }
            | ApoloError::NoTag { .. }
            | ApoloError::TagNotAllowed { .. } => ErrorKind::Usage,
            _ => ErrorKind::Other,
        };
        match &error {
            // What the registry said only repeats that, unless it is about a digest.
            ApoloError::NotFoundInRegistry { image, source }
                if image.tag.is_some() || !is_about_manifest(source.as_ref()) =>
            {
                Self::new(kind, error.to_string())
            }
            ApoloError::Unauthorized { place, said, .. } => Self::new(
                kind,
                format!("the registry does not accept the credentials for {place}{said}"),
            )
            .with_hint(
                "see that APOLO_USER and APOLO_TOKEN are set, to credentials of this registry",
            ),
            _ => Self::from_chain(kind, &error),
        }
    }
}

fn is_about_manifest(error: &(dyn StdError + 'static)) -> bool {
    matches!(
        error.downcast_ref(),
        Some(RegistryError::ManifestNotFound { .. })
    )
}

fn unknown_cluster(cluster: &str, known: &[String]) -> CliError {
    let others = format!(
        "{}; APOLO_CLUSTERS and APOLO_REGISTRY_URL name the clusters",
        match known {
            [one] => format!("the only one is `{one}`"),
            several => format!("there are {}", several.join(", ")),
        }
    );
    let failure = CliError::usage(format!("there is no cluster `{}`", printable(cluster)));
    match did_you_mean(cluster, known) {
        Some(question) => failure.with_hint(question),
        None => failure.with_hint(others),
    }
}

/// The place of the Engine cannot be found out.
pub(super) fn of_engine_config(error: &EngineConfigError) -> CliError {
    CliError::from_chain(ErrorKind::Usage, error).with_hint(WITHOUT_ENGINE)
}

fn of_engine(error: &EngineError) -> CliError {
    let failure = CliError::from(error);
    if error.is_unreachable() {
        failure.with_hint(WITHOUT_ENGINE)
    } else {
        failure
    }
}
