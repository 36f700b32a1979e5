//! What a token is asked for: `repository:NAME:pull,push`, as token servers understand it.

use std::collections::BTreeSet;
use std::fmt;

use http::{Method, request};
use peak_oci::RepositoryName;
use url::Url;

/// Most resources that one scope names; a registry that asks for more is not followed.
const MAX_RESOURCES: usize = 16;
/// Longest scope that a registry may ask for, in bytes.
const MAX_LENGTH: usize = 4 * 1024;
/// Every action, where the exact one is not known.
const ANY: &str = "*";

/// What a request wants to do, on one resource or on several. May travel with a request as an extension; where it
/// does not, [`Scope::of`] tells it from the request itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scope(Vec<Access>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Access {
    /// Type and name: `repository:team/app`.
    resource: String,
    actions: BTreeSet<String>,
}

impl Scope {
    /// To read from a repository.
    pub(crate) fn pull(repository: &RepositoryName) -> Self {
        Self::repository_access(repository.as_str(), &["pull"])
    }

    /// To write to a repository, where the URL does not tell: that of an upload is the registry's choice.
    pub(crate) fn push(repository: &RepositoryName) -> Self {
        Self::repository_access(repository.as_str(), &["pull", "push"])
    }

    /// What a request to a registry needs, from its method and URL. Empty for the API's root and what is not known.
    pub(crate) fn of(request: &request::Parts) -> Self {
        if let Some(explicit) = request.extensions.get::<Self>() {
            return explicit.clone();
        }
        match Url::parse(&request.uri.to_string()) {
            Ok(url) => Self::of_url(&request.method, &url),
            Err(_) => Self::default(),
        }
    }

    fn of_url(method: &Method, url: &Url) -> Self {
        let Some((_, path)) = url.path().split_once("/v2/") else {
            return Self::default();
        };
        if path == "_catalog" {
            return Self(vec![Access::new("registry:catalog", &[ANY])]);
        }
        let Some(repository) = repository_of(path) else {
            return Self::default();
        };
        let actions: &[&str] = match *method {
            Method::GET | Method::HEAD => &["pull"],
            // `delete` is what some registries want to see and what others refuse a token for.
            Method::DELETE => &[ANY],
            _ => &["pull", "push"],
        };
        let scope = Self::repository_access(repository, actions);
        let other = url.query_pairs().find(|(key, _)| key == "from");
        match other {
            // A blob is mounted from another repository: that one is read.
            Some((_, other)) if *method == Method::POST => {
                scope.with(&Self::repository_access(&other, &["pull"]))
            }
            _ => scope,
        }
    }

    /// Reads what a challenge asks for: scopes with spaces between them.
    pub(crate) fn parse(text: &str) -> Self {
        let mut scope = Self::default();
        if text.len() > MAX_LENGTH {
            return scope;
        }
        for one in text.split_whitespace() {
            let access = match one.rsplit_once(':') {
                Some((resource, actions))
                    if resource.contains(':') && actions.chars().any(|one| one != ',') =>
                {
                    Access::new(resource, &actions.split(',').collect::<Vec<_>>())
                }
                _ => Access::new(one, &[]),
            };
            scope.add(access);
        }
        scope
    }

    fn repository_access(repository: &str, actions: &[&str]) -> Self {
        Self(vec![Access::new(
            &format!("repository:{repository}"),
            actions,
        )])
    }

    fn add(&mut self, access: Access) {
        let known = self
            .0
            .iter_mut()
            .find(|one| one.resource == access.resource);
        if let Some(one) = known {
            one.actions.extend(access.actions);
        } else if self.0.len() < MAX_RESOURCES {
            self.0.push(access);
        }
    }

    fn with(mut self, other: &Self) -> Self {
        for access in &other.0 {
            self.add(access.clone());
        }
        self
    }

    /// This, and what a challenge asks for beside it. The challenge's comes first, since some servers look at the
    /// first alone; where the exact action was not known, the challenge's takes its place.
    pub(crate) fn answering(&self, challenge: &Self) -> Self {
        let mut scope = challenge.clone();
        for access in &self.0 {
            let told = scope
                .0
                .iter()
                .any(|one| one.resource == access.resource && !one.actions.is_empty());
            if !(told && access.is_any_of_repository()) {
                scope.add(access.clone());
            }
        }
        scope
    }

    /// The same with the action spelled out where it was not known; `None` where it was.
    pub(crate) fn without_any(&self) -> Option<Self> {
        if !self.0.iter().any(Access::is_any_of_repository) {
            return None;
        }
        let spelled = self.0.iter().map(|access| {
            if access.is_any_of_repository() {
                Access::new(&access.resource, &["delete", "pull"])
            } else {
                access.clone()
            }
        });
        Some(Self(spelled.collect()))
    }

    /// Whether all of `other` is within this.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        other.0.iter().all(|wanted| {
            self.0.iter().any(|held| {
                held.resource == wanted.resource
                    && (held.actions.contains(ANY) || wanted.actions.is_subset(&held.actions))
            })
        })
    }

    /// The repository whose credentials the request is made with: the first that is named.
    pub(crate) fn repository(&self) -> Option<&str> {
        self.0
            .iter()
            .find_map(|access| access.resource.strip_prefix("repository:"))
    }

    /// The scopes one by one.
    pub(crate) fn parts(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(ToString::to_string)
    }

    /// The same text for the same scopes in any order.
    pub(crate) fn key(&self) -> String {
        let mut parts: Vec<String> = self.parts().collect();
        parts.sort_unstable();
        parts.join(" ")
    }
}

impl Access {
    fn new(resource: &str, actions: &[&str]) -> Self {
        Self {
            resource: resource.to_owned(),
            actions: actions
                .iter()
                .filter(|action| !action.is_empty())
                .map(|&action| action.to_owned())
                .collect(),
        }
    }

    fn is_any_of_repository(&self) -> bool {
        self.actions.contains(ANY) && self.resource.starts_with("repository:")
    }
}

impl fmt::Display for Access {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.resource)?;
        for (position, action) in self.actions.iter().enumerate() {
            let separator = if position == 0 { ':' } else { ',' };
            write!(formatter, "{separator}{action}")?;
        }
        Ok(())
    }
}

/// The scopes with spaces between them, as a form of OAuth2 has them.
impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.parts().collect::<Vec<_>>().join(" "))
    }
}

/// The repository in what follows `/v2/`: what stands before the last part that says of what kind a thing is.
fn repository_of(path: &str) -> Option<&str> {
    let before = |suffix: &str| path.strip_suffix(suffix);
    if let Some(name) = before("/tags/list").or_else(|| before("/blobs/uploads/")) {
        return Some(name);
    }
    let (head, _) = path.rsplit_once('/')?;
    ["/blobs/uploads", "/manifests", "/blobs", "/referrers"]
        .iter()
        .find_map(|kind| head.strip_suffix(kind))
        .filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(method: Method, url: &str) -> String {
        let (parts, ()) = http::Request::builder()
            .method(method)
            .uri(format!("https://registry.example{url}"))
            .body(())
            .unwrap()
            .into_parts();
        Scope::of(&parts).to_string()
    }

    #[test]
    fn a_request_says_what_it_needs() {
        for (method, url, expected) in [
            (Method::GET, "/v2/", ""),
            (Method::GET, "/v2/_catalog?n=5", "registry:catalog:*"),
            (
                Method::GET,
                "/v2/team/app/manifests/v1",
                "repository:team/app:pull",
            ),
            (
                Method::HEAD,
                "/v2/app/blobs/sha256:00",
                "repository:app:pull",
            ),
            (Method::GET, "/v2/a/tags/list?n=1", "repository:a:pull"),
            (
                Method::GET,
                "/v2/a/referrers/sha256:00",
                "repository:a:pull",
            ),
            (Method::PUT, "/v2/a/manifests/v1", "repository:a:pull,push"),
            (
                Method::POST,
                "/v2/a/blobs/uploads/",
                "repository:a:pull,push",
            ),
            (
                Method::PATCH,
                "/v2/a/blobs/uploads/x?_state=y",
                "repository:a:pull,push",
            ),
            (
                Method::DELETE,
                "/v2/a/manifests/sha256:00",
                "repository:a:*",
            ),
            (
                Method::POST,
                "/v2/a/blobs/uploads/?mount=sha256:00&from=other/b",
                "repository:a:pull,push repository:other/b:pull",
            ),
            // A repository may be called like a kind of thing.
            (
                Method::GET,
                "/v2/manifests/blobs/tags/list",
                "repository:manifests/blobs:pull",
            ),
            (
                Method::GET,
                "/v2/blobs/manifests/v1",
                "repository:blobs:pull",
            ),
            (Method::GET, "/elsewhere", ""),
        ] {
            assert_eq!(of(method, url), expected, "{url}");
        }
    }

    #[test]
    fn what_the_challenge_asks_for_is_merged_in_front() {
        let ours = Scope::parse("repository:a:pull");
        let challenge = Scope::parse("repository:b:pull repository:a:pull,push");
        let merged = ours.answering(&challenge);
        assert_eq!(
            merged.to_string(),
            "repository:b:pull repository:a:pull,push"
        );
        assert!(merged.covers(&ours) && merged.covers(&challenge));
        assert!(!ours.covers(&merged));
        assert_eq!(
            ours.answering(&Scope::parse("repository:host:5000/c:pull"))
                .to_string(),
            "repository:host:5000/c:pull repository:a:pull"
        );
    }

    #[test]
    fn the_action_of_a_delete_is_the_challenges_or_any_or_spelled_out() {
        let ours = Scope::parse("repository:a:*");
        let told = ours.answering(&Scope::parse("repository:a:delete"));
        assert_eq!(told.to_string(), "repository:a:delete");
        assert_eq!(told.without_any(), None);
        assert_eq!(
            ours.without_any().unwrap().to_string(),
            "repository:a:delete,pull"
        );
        let catalog = Scope::parse("registry:catalog:*");
        assert_eq!(catalog.without_any(), None);
        assert_eq!(catalog.answering(&catalog), catalog);
    }

    #[test]
    fn the_order_of_scopes_does_not_matter_to_the_cache() {
        let one = Scope::parse("repository:a:push,pull repository:b:pull");
        let other = Scope::parse("repository:b:pull  repository:a:pull,push");
        assert_eq!(one.key(), other.key());
        assert_eq!(one.repository(), Some("a"));
    }

    #[test]
    fn a_registry_cannot_ask_for_any_amount() {
        let many = (0..100).map(|number| format!("repository:r{number}:pull"));
        let many = many.collect::<Vec<_>>().join(" ");
        assert_eq!(Scope::parse(&many).parts().count(), MAX_RESOURCES);
        assert_eq!(Scope::parse(&"a ".repeat(MAX_LENGTH)).parts().count(), 0);
    }

    proptest! {
        #[test]
        fn any_scope_is_read_and_written_the_same_again(text in "[a-z:,* /()]{0,60}") {
            let scope = Scope::parse(&text);
            prop_assert_eq!(Scope::parse(&scope.to_string()).key(), scope.key());
            prop_assert!(scope.covers(&scope));
        }
    }
}
