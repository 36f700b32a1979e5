//! As whom a registry was asked that did not let us in: who is logged in already is not helped by "log in".

use peak_sdk::oci::Reference;
use peak_sdk::registry::{CredentialSource, Explanation, Registry, SourceOutcome};

use crate::application::with_variables;
use crate::convert::network::doctor;
use crate::error::CliError;

/// Puts into an error of access whose credentials were used, or why there were none; once, since it takes the place of
/// the hint.
pub(crate) async fn with_account(registry: &Registry, mut error: CliError) -> CliError {
    let Some(place) = error.refused.take() else {
        return error;
    };
    let place = &*place;
    // It was looked up before, so nothing is waited for.
    let explanation = match Reference::parse(place) {
        Ok(reference) if place.contains('/') => registry.explain_credentials(&reference).await,
        _ => registry.explain_registry_credentials(place).await,
    };
    match explanation {
        Ok(explanation) => told(error, &with_variables(explanation)),
        Err(_) => error,
    }
}

fn told(error: CliError, explanation: &Explanation) -> CliError {
    let registry = &explanation.registry;
    if let Some(step) = explanation.answer()
        && let SourceOutcome::Answered { user, .. } = &step.outcome
    {
        let place = &step.place;
        // The platform's token has a user name only because a registry wants one.
        let (who, another) = match step.source {
            CredentialSource::Caller => (
                format!("the token from {place}"),
                format!("set {place} to one that may"),
            ),
            _ => (
                format!("`{user}`"),
                format!("`peak registry login {registry}` takes another account"),
            ),
        };
        // 401 is said to those who are not known, and by some registries to those who may not do this.
        let (what, hint) = if error.status == Some(403) {
            ("may not do this", "ask whoever runs the registry for leave")
        } else {
            (
                "is not accepted, or may not do this",
                "see that the password or token is right and may do this",
            )
        };
        let hint = format!("the credentials are from {place}; {hint}; {another}");
        return error.with_context(&format!("{who} {what}")).with_hint(hint);
    }
    let failed = explanation
        .steps
        .iter()
        .find_map(|step| match &step.outcome {
            SourceOutcome::Failed { reason } => Some((&step.place, reason)),
            _ => None,
        });
    match failed {
        Some((place, reason)) => error
            .with_hint(format!("no credentials came from {place}: {reason}"))
            .with_doctor(doctor(registry)),
        None => error,
    }
}
