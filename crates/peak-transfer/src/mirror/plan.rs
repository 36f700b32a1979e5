//! The plan of a mirror: from where, which tags, and to where.

use std::collections::HashMap;

use peak_oci::{Platform, Reference, RepositoryName};
use serde::Deserialize;

use super::tags::{TagFilter, TagFilterError};
use crate::Platforms;

/// Most repositories of a plan, destinations of a plan, and entries of a list in it.
const MAX_REPOSITORIES: usize = 10_000;
const MAX_DESTINATIONS: usize = 100;
const MAX_LIST: usize = 1000;

/// Which repositories are kept the same as which others.
///
/// It is read from data of any format; its members and what they mean are in `docs/mirror.md`. What it does not know
/// is an error.
///
/// ```
/// use peak_transfer::MirrorPlan;
///
/// let plan: MirrorPlan = serde_json::from_str(r#"{
///     "destinations": [{"to": "registry.example/mirror"}],
///     "repositories": [{"from": "ubuntu", "tags": {"names": ["24.04"]}, "platforms": ["linux/amd64"]}]
/// }"#)?;
/// let repository = plan.repositories().next().expect("there is one");
/// assert_eq!(repository.from().to_string(), "docker.io/library/ubuntu");
/// assert_eq!(repository.destinations()[0].to().to_string(), "registry.example/mirror/library/ubuntu");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "PlanFile")]
pub struct MirrorPlan {
    repositories: Vec<MirrorRepository>,
}

/// One repository, and where its images go.
#[derive(Clone, Debug)]
pub struct MirrorRepository {
    from: Reference,
    pub(super) tags: TagFilter,
    pub(super) platforms: Platforms,
    pub(super) referrers: bool,
    destinations: Vec<MirrorDestination>,
}

/// One repository that is kept the same as another.
#[derive(Clone, Debug)]
pub struct MirrorDestination {
    to: Reference,
    delete: bool,
}

/// Why a plan cannot be followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// There is nothing to do.
    #[error("the plan has no {what}")]
    Empty {
        /// `repositories` or `destinations`.
        what: &'static str,
    },
    /// More than anybody needs.
    #[error("{what} has more than {limit} entries")]
    TooMany {
        /// The list.
        what: String,
        /// The limit.
        limit: usize,
    },
    /// A source is no repository.
    #[error(
        "`from: {text}` does not name a repository; write it as [registry/]repository, without a tag: those stand under `tags`"
    )]
    From {
        /// The text.
        text: String,
    },
    /// A destination is no registry, or no place in one.
    #[error("`to: {text}` does not name a registry; write it as registry[:port][/prefix]")]
    To {
        /// The text.
        text: String,
    },
    /// A new name is none.
    #[error("`as: {text}` of {from} is not the name of a repository")]
    As {
        /// The source.
        from: String,
        /// The text.
        text: String,
    },
    /// A platform is none.
    #[error("a platform of {from} cannot be used: {source}")]
    Platform {
        /// The source.
        from: String,
        /// Why not. Said in the message, too: readers of data formats pass on nothing else.
        source: peak_oci::PlatformError,
    },
    /// Tags are asked for in a way that nobody understands.
    #[error("`tags` of {from} cannot be used: {source}")]
    Tags {
        /// The source.
        from: String,
        /// Why not. Said in the message, too: readers of data formats pass on nothing else.
        source: TagFilterError,
    },
    /// Two sources go to one place, and would overwrite each other's tags.
    #[error("{first} and {second} both go to {to}; give one of them another name with `as`")]
    SamePlace {
        /// The place.
        to: String,
        /// One source.
        first: String,
        /// The other.
        second: String,
    },
    /// A repository is to be kept the same as itself.
    #[error("{from} goes to itself")]
    Itself {
        /// The source.
        from: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanFile {
    destinations: Vec<DestinationFile>,
    repositories: Vec<RepositoryFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DestinationFile {
    to: String,
    #[serde(default)]
    delete: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RepositoryFile {
    from: String,
    #[serde(default, rename = "as")]
    name: Option<String>,
    #[serde(default)]
    tags: TagsFile,
    #[serde(default)]
    platforms: Vec<String>,
    #[serde(default)]
    referrers: bool,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct TagsFile {
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    globs: Vec<String>,
    #[serde(default)]
    versions: Vec<String>,
    #[serde(default)]
    except: Vec<String>,
    #[serde(default)]
    latest: Option<usize>,
}

impl MirrorPlan {
    /// The repositories, in the order of the plan.
    pub fn repositories(&self) -> impl Iterator<Item = &MirrorRepository> {
        self.repositories.iter()
    }

    /// The destinations at which tags are deleted that the source no longer has, each once, as the plan says them.
    pub fn deletes_at(&self) -> impl Iterator<Item = &Reference> {
        self.repositories
            .iter()
            .flat_map(|repository| &repository.destinations)
            .filter(|destination| destination.delete)
            .map(|destination| &destination.to)
    }
}

impl MirrorRepository {
    /// The repository whose images are copied.
    pub fn from(&self) -> &Reference {
        &self.from
    }

    /// The repositories that they are copied to.
    pub fn destinations(&self) -> &[MirrorDestination] {
        &self.destinations
    }
}

impl MirrorDestination {
    /// The repository.
    pub fn to(&self) -> &Reference {
        &self.to
    }

    /// Whether tags are deleted that the source no longer has.
    pub fn deletes(&self) -> bool {
        self.delete
    }
}

impl TryFrom<PlanFile> for MirrorPlan {
    type Error = PlanError;

    fn try_from(file: PlanFile) -> Result<Self, PlanError> {
        bounded("destinations", file.destinations.len(), MAX_DESTINATIONS)?;
        bounded("repositories", file.repositories.len(), MAX_REPOSITORIES)?;
        if file.destinations.is_empty() {
            return Err(PlanError::Empty {
                what: "destinations",
            });
        }
        if file.repositories.is_empty() {
            return Err(PlanError::Empty {
                what: "repositories",
            });
        }
        let mut taken: HashMap<String, String> = HashMap::new();
        let mut repositories = Vec::with_capacity(file.repositories.len());
        for repository in file.repositories {
            let repository = repository.resolve(&file.destinations)?;
            for destination in &repository.destinations {
                let (to, from) = (destination.to.to_string(), repository.from.to_string());
                if to == from {
                    return Err(PlanError::Itself { from });
                }
                if let Some(first) = taken.insert(to.clone(), from.clone()) {
                    return Err(PlanError::SamePlace {
                        to,
                        first,
                        second: from,
                    });
                }
            }
            repositories.push(repository);
        }
        Ok(Self { repositories })
    }
}

impl RepositoryFile {
    fn resolve(self, destinations: &[DestinationFile]) -> Result<MirrorRepository, PlanError> {
        let from = Reference::parse(&self.from)
            .ok()
            .filter(|reference| reference.selector().is_none())
            // With its registry, whatever was written: this is how it is known to shards and in reports.
            .and_then(|reference| place(reference.registry(), reference.repository().as_str()))
            .ok_or_else(|| PlanError::From {
                text: cut(&self.from),
            })?;
        let named = from.to_string();
        for (what, list) in [
            ("names", &self.tags.names),
            ("globs", &self.tags.globs),
            ("versions", &self.tags.versions),
            ("except", &self.tags.except),
            ("platforms", &self.platforms),
        ] {
            bounded(&format!("`{what}` of {named}"), list.len(), MAX_LIST)?;
        }
        let name: RepositoryName = match &self.name {
            None => from.repository().clone(),
            Some(text) => text.parse().map_err(|_| PlanError::As {
                from: named.clone(),
                text: cut(text),
            })?,
        };
        let platforms = self
            .platforms
            .iter()
            .map(|text| text.parse::<Platform>())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|source| PlanError::Platform {
                from: named.clone(),
                source,
            })?;
        let tags = self.tags;
        let tags = TagFilter::new(
            &tags.names,
            &tags.globs,
            &tags.versions,
            &tags.except,
            tags.latest,
        )
        .map_err(|source| PlanError::Tags {
            from: named,
            source,
        })?;
        let destinations = destinations
            .iter()
            .map(|destination| destination.resolve(&name))
            .collect::<Result<_, _>>()?;
        Ok(MirrorRepository {
            from,
            tags,
            platforms: Platforms::only(platforms).where_available(),
            referrers: self.referrers,
            destinations,
        })
    }
}

impl DestinationFile {
    /// The place of a repository below the destination.
    fn resolve(&self, name: &RepositoryName) -> Result<MirrorDestination, PlanError> {
        let path = self.to.strip_suffix('/').unwrap_or(&self.to);
        let to = match path.split_once('/') {
            Some((registry, prefix)) => place(registry, &format!("{prefix}/{name}")),
            None => place(path, name.as_str()),
        };
        let to = to.ok_or_else(|| PlanError::To {
            text: cut(&self.to),
        })?;
        Ok(MirrorDestination {
            to,
            delete: self.delete,
        })
    }
}

/// A repository of a registry that is named: a bare word is no registry, and nobody means a name on Docker Hub by it.
fn place(registry: &str, repository: &str) -> Option<Reference> {
    Reference::new(registry, repository.parse().ok()?, None, None).ok()
}

fn bounded(what: &str, count: usize, limit: usize) -> Result<(), PlanError> {
    if count <= limit {
        return Ok(());
    }
    Err(PlanError::TooMany {
        what: what.to_owned(),
        limit,
    })
}

fn cut(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str) -> Result<MirrorPlan, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    fn of_repository(members: &str) -> Result<MirrorPlan, String> {
        plan(&format!(
            "{{\"destinations\":[{{\"to\":\"r.example:5000/mirror/\"}},{{\"to\":\"b.example\",\"delete\":true}}],\"repositories\":[{members}]}}"
        ))
    }

    #[test]
    fn every_repository_has_its_place_at_every_destination() {
        let plan = of_repository(
            r#"{"from": "nginx"}, {"from": "quay.io/a/b", "as": "c/d", "referrers": true, "platforms": ["linux/amd64"]}"#,
        )
        .unwrap();
        let places: Vec<_> = plan
            .repositories()
            .flat_map(MirrorRepository::destinations)
            .map(|destination| (destination.to().to_string(), destination.deletes()))
            .collect();
        let expected = [
            ("r.example:5000/mirror/library/nginx", false),
            ("b.example/library/nginx", true),
            ("r.example:5000/mirror/c/d", false),
            ("b.example/c/d", true),
        ];
        assert_eq!(places, expected.map(|(to, delete)| (to.to_owned(), delete)));
        assert_eq!(plan.deletes_at().count(), 2);
    }

    #[test]
    fn what_a_plan_may_not_say_is_refused_with_its_name() {
        for (members, expected) in [
            (r#"{"from": "nginx", "tag": "1"}"#, "unknown field `tag`"),
            (
                r#"{"from": "nginx", "tags": {"regex": [".*"]}}"#,
                "unknown field `regex`",
            ),
            (
                r#"{"from": "nginx:1.25"}"#,
                "`from: nginx:1.25` does not name a repository",
            ),
            (r#"{"from": "Nginx"}"#, "`from: Nginx`"),
            (
                r#"{"from": "nginx", "as": "UP"}"#,
                "`as: UP` of docker.io/library/nginx",
            ),
            (
                r#"{"from": "nginx", "platforms": ["amd64"]}"#,
                "a platform of docker.io/library/nginx",
            ),
            (
                r#"{"from": "nginx", "tags": {"globs": ["["]}}"#,
                "`tags` of docker.io/library/nginx",
            ),
            (
                r#"{"from": "nginx"}, {"from": "quay.io/library/nginx"}"#,
                "both go to",
            ),
            (r#"{"from": "b.example/x"}"#, "b.example/x goes to itself"),
            ("", "the plan has no repositories"),
        ] {
            let error = of_repository(members).unwrap_err();
            assert!(error.contains(expected), "{members}: {error}");
        }
        for to in [
            "mirror",
            "",
            "r.example/x:tag",
            "r.example/UP",
            "https://r.example",
        ] {
            let error = plan(&format!(
                "{{\"destinations\":[{{\"to\":\"{to}\"}}],\"repositories\":[{{\"from\":\"nginx\"}}]}}"
            ));
            let error = error.unwrap_err();
            assert!(error.contains("does not name a registry"), "{to}: {error}");
        }
        let none = plan(r#"{"destinations":[],"repositories":[{"from":"nginx"}]}"#).unwrap_err();
        assert!(none.contains("the plan has no destinations"), "{none}");
    }

    #[test]
    fn lists_are_bounded() {
        let names = vec!["\"a\""; MAX_LIST + 1].join(",");
        let error = of_repository(&format!(
            "{{\"from\":\"nginx\",\"tags\":{{\"names\":[{names}]}}}}"
        ));
        assert!(error.unwrap_err().contains("more than 1000 entries"));
    }
}
