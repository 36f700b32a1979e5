//! Who we are: to the platform, and to a registry. Never the secret itself.

use peak_sdk::registry::{Explanation, Registry, SourceOutcome};
use serde_json::json;

use super::Asked;
use super::check::{Check, Group};
use crate::application::{Application, token_variable, with_variables};
use crate::error::CliError;

const GROUP: Group = Group::Credentials;

/// The token of the platform.
pub(super) fn of_platform(application: &Application) -> [Check; 1] {
    let name = "platform";
    let variable = token_variable();
    [match (application.session_to_look_at(), variable) {
        (Ok(_), Some(variable)) => Check::ok(GROUP, name, format!("a token from {variable}"))
            .detail("source", variable),
        (Ok(_), None) => Check::ok(GROUP, name, "no token, which this machine's own platform may not need"),
        (Err(_), None) => Check::warning(GROUP, name, "no token")
            .hint("set PEAK_AUTH_TOKEN to use the platform; `peak ship --local` and `peak registry` need none"),
        (Err(error), Some(variable)) => {
            Check::error(GROUP, name, &error).detail("source", variable)
        }
    }]
}

/// Who answers for the registry.
pub(super) async fn of_registry(client: &Registry, asked: &Asked) -> Check {
    let name = "registry";
    let explanation = match &asked.image {
        Some(image) => client.explain_credentials(image).await,
        None => client.explain_registry_credentials(&asked.host).await,
    };
    let explanation = match explanation {
        Ok(explanation) => with_variables(explanation),
        Err(error) => return Check::error(GROUP, name, &CliError::from(error)),
    };
    let failed = explanation
        .steps
        .iter()
        .find_map(|step| match &step.outcome {
            SourceOutcome::Failed { reason } => Some(reason),
            _ => None,
        });
    let empty = explanation
        .steps
        .iter()
        .find(|step| step.outcome == SourceOutcome::Empty);
    let check = match (explanation.answer(), failed, empty) {
        (Some(step), _, _) => Check::ok(GROUP, name, format!("{} {}", step.place, step.outcome)),
        // The source has a check of its own, which fails.
        (None, Some(reason), _) => Check::warning(
            GROUP,
            name,
            format!("anonymous, since a source cannot be asked: {reason}"),
        ),
        (None, None, Some(step)) => Check::warning(
            GROUP,
            name,
            format!("anonymous, since {} {}", step.place, step.outcome),
        )
        .hint(format!(
            "`peak registry login {}` writes a whole one",
            explanation.registry
        )),
        (None, None, None) => Check::ok(GROUP, name, "anonymous; no source has credentials").hint(
            format!("`peak registry login {}` keeps some", explanation.registry),
        ),
    };
    check
        .detail("registry", explanation.registry.as_str())
        .detail("sources", sources(&explanation))
}

fn sources(explanation: &Explanation) -> serde_json::Value {
    json!(explanation.steps)
}
