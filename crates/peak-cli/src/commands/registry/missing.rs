//! What a registry has in place of the tag or repository that it does not have. An error that says so is held back for at
//! most a second while the beginning of one list or two is read (a page each, where the registry gives what it is asked
//! for), and is never replaced by what becomes of that.

use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _};
use peak_sdk::oci::{Reference, RepositoryName};
use peak_sdk::registry::{Registry, RegistryError};

use crate::error::{CliError, Missing};
use crate::suggest::{CANDIDATE_LIMIT, did_you_mean};

/// How long an error is kept back to find out what there is.
const TIME_LIMIT: Duration = Duration::from_secs(1);

/// So few names are all told where none of them is near.
const FEW: usize = 5;

/// Puts what there is in place of what is missing behind the error, if it is about something missing.
pub(super) async fn with_suggestion(registry: &Registry, error: CliError) -> CliError {
    let Some(missing) = &error.missing else {
        return error;
    };
    let looked = tokio::time::timeout(TIME_LIMIT, suggestion(registry, missing)).await;
    match looked.ok().flatten() {
        Some(hint) => error.with_more_hint(&hint),
        None => error,
    }
}

async fn suggestion(registry: &Registry, missing: &Missing) -> Option<String> {
    let reference = Reference::parse(&missing.repository).ok()?;
    if let Some(tag) = &missing.tag {
        let tags = registry.repository(&reference).get_repository_tags();
        let tags: Result<Vec<_>, _> = tags.take(CANDIDATE_LIMIT).try_collect().await;
        match tags {
            Ok(tags) if !tags.is_empty() => {
                let names: Vec<String> = tags.iter().map(ToString::to_string).collect();
                return Some(of_tags(&missing.repository, tag, &names));
            }
            // A repository without tags is as good as none.
            Ok(_) | Err(RegistryError::RepositoryNotFound { .. }) => {}
            Err(_) => return None,
        }
    }
    let names = registry.catalog(reference.registry());
    let names: Result<Vec<_>, _> = names.take(CANDIDATE_LIMIT).try_collect().await;
    let names = match names {
        Ok(names) => names,
        // A registry says by a code that it does not tell; a web server knows of none.
        Err(error) if error.is_not_found() && error.codes().is_empty() => {
            let host = reference.registry();
            return Some(format!(
                "`peak doctor {host}` says whether it is a registry at all"
            ));
        }
        Err(_) => return None,
    };
    let wanted = reference.repository().as_str();
    if names.iter().any(|name| name.as_str() == wanted) {
        return None;
    }
    let registry = reference.registry();
    let unknown = missing
        .tag
        .as_ref()
        .map(|_| format!("{registry} has no repository `{wanted}`"));
    let nearest = did_you_mean(wanted, names.iter().map(RepositoryName::as_str))
        .unwrap_or_else(|| format!("`peak registry catalog {registry}` lists what it has"));
    Some(match unknown {
        Some(unknown) => format!("{unknown}; {nearest}"),
        None => nearest,
    })
}

fn of_tags(repository: &str, wanted: &str, tags: &[String]) -> String {
    if let Some(question) = did_you_mean(wanted, tags) {
        return question;
    }
    match tags.len() {
        1..=FEW => {
            let tags: Vec<_> = tags.iter().map(|tag| format!("`{tag}`")).collect();
            format!("it has {}", tags.join(", "))
        }
        _ => format!("`peak registry tags {repository}` lists what it has"),
    }
}

#[cfg(test)]
mod tests {
    use super::of_tags;

    #[test]
    fn few_tags_are_told_and_many_are_counted_by_another_command() {
        let tags = |count: usize| (0..count).map(|n| format!("tag-{n}")).collect::<Vec<_>>();
        assert_eq!(
            of_tags("r/app", "latest", &tags(2)),
            "it has `tag-0`, `tag-1`"
        );
        assert_eq!(
            of_tags("r/app", "tag-9", &tags(2)),
            "did you mean `tag-1` or `tag-0`?"
        );
        assert_eq!(
            of_tags("r/app", "latest", &tags(6)),
            "`peak registry tags r/app` lists what it has"
        );
    }
}
