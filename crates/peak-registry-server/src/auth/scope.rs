//! What a token is asked for: `repository:NAME:pull,push` and `registry:catalog:*`.

use std::collections::BTreeMap;

use peak_oci::RepositoryName;
use serde::{Deserialize, Serialize};

use crate::auth::actions::Actions;

/// The most repositories that one token is for; further ones are passed over.
const MAX_REPOSITORIES: usize = 32;

/// What is asked for, or granted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Access {
    /// The list of repositories.
    pub(crate) catalog: bool,
    pub(crate) repositories: BTreeMap<RepositoryName, Actions>,
}

impl Access {
    /// Reads scopes, each of which may be several with spaces between them. What is not known here
    /// asks for nothing.
    pub(crate) fn parse<'a>(scopes: impl IntoIterator<Item = &'a str>) -> Self {
        let mut access = Self::default();
        for scope in scopes.into_iter().flat_map(str::split_whitespace) {
            access.add(scope);
        }
        access
    }

    fn add(&mut self, scope: &str) {
        let Some((kind, rest)) = scope.split_once(':') else {
            return;
        };
        let Some((name, actions)) = rest.rsplit_once(':') else {
            return;
        };
        match kind {
            "registry" if name == "catalog" && actions.split(',').any(|one| one == "*") => {
                self.catalog = true;
            }
            "repository" => {
                let Ok(name) = name.parse::<RepositoryName>() else {
                    return;
                };
                if self.repositories.len() >= MAX_REPOSITORIES
                    && !self.repositories.contains_key(&name)
                {
                    return;
                }
                *self.repositories.entry(name).or_default() |= actions_of(actions);
            }
            _ => {}
        }
    }

    /// What of this `allowed` allows, too.
    pub(crate) fn limited(mut self, allowed: impl Fn(&RepositoryName) -> Actions) -> Self {
        self.repositories.retain(|name, actions| {
            *actions = *actions & allowed(name);
            !actions.is_empty()
        });
        self
    }

    pub(crate) fn actions(&self, repository: &RepositoryName) -> Actions {
        self.repositories
            .get(repository)
            .copied()
            .unwrap_or_default()
    }
}

fn actions_of(text: &str) -> Actions {
    text.split(',')
        .map(|name| match name {
            "*" => Actions::ALL,
            name => Actions::named(name).unwrap_or_default(),
        })
        .fold(Actions::NONE, |all, one| all | one)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(access: &Access) -> String {
        let parts = access
            .repositories
            .iter()
            .map(|(name, actions)| format!("{name}={actions}"));
        let catalog = access.catalog.then(|| "catalog".to_owned());
        parts.chain(catalog).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn scopes_are_read_however_they_come() {
        for (scopes, expected) in [
            (&["repository:team/app:pull"][..], "team/app=pull"),
            (
                &["repository:a:pull,push repository:b:pull"],
                "a=pull,push b=pull",
            ),
            (&["repository:a:pull", "repository:a:push"], "a=pull,push"),
            (&["repository:a:*"], "a=pull,push,delete"),
            (&["repository:a:fly,pull"], "a=pull"),
            (&["registry:catalog:*"], "catalog"),
            (&["registry:catalog:pull"], ""),
            (&["registry:other:*"], ""),
            (
                &[
                    "",
                    "  ",
                    "repository",
                    "repository:a",
                    "x:y:z",
                    "repository:A:pull",
                ],
                "",
            ),
            (&["repository:../etc:pull"], ""),
        ] {
            assert_eq!(
                text(&Access::parse(scopes.iter().copied())),
                expected,
                "{scopes:?}"
            );
        }
    }

    #[test]
    fn only_what_is_allowed_is_left() {
        let access = Access::parse(["repository:a:pull,push repository:b:push"]);
        let limited = access.limited(|_| Actions::PULL);
        assert_eq!(text(&limited), "a=pull");
    }

    #[test]
    fn one_token_is_for_so_many_repositories_at_most() {
        let scopes: Vec<String> = (0..100)
            .map(|number| format!("repository:r{number}:pull"))
            .collect();
        let access = Access::parse(scopes.iter().map(String::as_str));
        assert_eq!(access.repositories.len(), MAX_REPOSITORIES);
    }

    proptest! {
        #[test]
        fn any_scope_is_read_without_panic(text in "((repository|registry):)?\\PC{0,40}") {
            let _ = Access::parse([text.as_str()]);
        }
    }
}
