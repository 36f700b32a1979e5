//! What short names stand for: the clusters with their registries, and the default cluster, organisation and project.

use peak_oci::{Reference, RepositoryName};
use url::Url;

use crate::name::is_component;

/// What is needed to read and write names of images: the clusters that there are, and what a name means that leaves
/// something out. Pure values; nothing is asked of anybody.
///
/// ```
/// use peak_apolo::Clusters;
///
/// let clusters = Clusters::builder("main")
///     .cluster("main", "https://registry.apolo.example")
///     .default_org("acme")
///     .default_project("team")
///     .build()?;
/// let image = clusters.parse_remote("image:app:v1")?;
/// assert_eq!(image.to_string(), "image://main/acme/team/app:v1");
/// assert_eq!(image.as_docker_url(false), "registry.apolo.example/acme/team/app:v1");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Clusters {
    default: Cluster,
    others: Vec<Cluster>,
    org: Option<String>,
    project: Option<String>,
}

/// A cluster of the platform.
#[derive(Clone, Debug)]
pub struct Cluster {
    name: String,
    registry: String,
    url: Url,
}

impl Cluster {
    /// The cluster's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The registry as Docker names it: its host, with the port where one is written.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Where the registry answers.
    pub fn registry_url(&self) -> &Url {
        &self.url
    }
}

/// Why [`Clusters`] cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClustersError {
    /// A cluster's name cannot stand in the name of an image.
    #[error(
        "`{cluster}` cannot be the name of a cluster; it may have letters, digits, `.`, `_` and `-`"
    )]
    Name {
        /// The name.
        cluster: String,
    },
    /// Two clusters have the same name.
    #[error("the cluster `{cluster}` is there twice")]
    Twice {
        /// The name.
        cluster: String,
    },
    /// What should be the address of a registry is no URL.
    #[error(
        "the registry of the cluster `{cluster}` is not a URL; write it as https://HOST[:PORT]"
    )]
    Url {
        /// The cluster.
        cluster: String,
        /// Why not.
        #[source]
        source: url::ParseError,
    },
    /// The address of a registry has another form than it should have. It is not repeated, since it may hold a password.
    #[error("the registry of the cluster `{cluster}` {reason}; write it as https://HOST[:PORT]")]
    Registry {
        /// The cluster.
        cluster: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The default cluster is none of the clusters.
    #[error("the default cluster `{cluster}` is none of those that there are ({})", known.join(", "))]
    Default {
        /// The default cluster.
        cluster: String,
        /// The clusters.
        known: Vec<String>,
    },
    /// The default organisation or project cannot be a part of a repository's name.
    #[error(
        "`{text}` cannot be the default {what}; lowercase letters and digits can, joined by single `.`, `_` or `-`"
    )]
    Part {
        /// Organisation or project.
        what: &'static str,
        /// What it was to be.
        text: String,
    },
}

impl Clusters {
    /// Clusters of which this one is the default.
    pub fn builder(default_cluster: impl Into<String>) -> ClustersBuilder {
        ClustersBuilder {
            default: default_cluster.into(),
            clusters: Vec::new(),
            org: None,
            project: None,
        }
    }

    /// The clusters, the default one first, the others as they were given.
    pub fn iter(&self) -> impl Iterator<Item = &Cluster> {
        std::iter::once(&self.default).chain(&self.others)
    }

    /// The cluster that short names mean.
    pub fn default_cluster(&self) -> &Cluster {
        &self.default
    }

    /// The organisation that short names mean.
    pub fn default_org(&self) -> Option<&str> {
        self.org.as_deref()
    }

    /// The project that short names mean.
    pub fn default_project(&self) -> Option<&str> {
        self.project.as_deref()
    }

    /// A cluster by its name, which like every host may be written in capitals.
    pub fn get(&self, name: &str) -> Option<&Cluster> {
        let exact = self.iter().find(|cluster| cluster.name == name);
        exact.or_else(|| {
            self.iter()
                .find(|cluster| cluster.name.eq_ignore_ascii_case(name))
        })
    }

    /// The cluster whose registry a name begins with, and what stands behind the registry. Where clusters share one, the
    /// default cluster is meant.
    pub(crate) fn of_registry<'a>(&self, name: &'a str) -> Option<(&Cluster, &'a str)> {
        self.iter().find_map(|cluster| {
            let path = name.strip_prefix(cluster.registry.as_str())?;
            Some((cluster, path.strip_prefix('/')?.trim_start_matches('/')))
        })
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.iter().map(|cluster| cluster.name.clone()).collect()
    }
}

/// Makes [`Clusters`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ClustersBuilder {
    default: String,
    clusters: Vec<(String, String)>,
    org: Option<String>,
    project: Option<String>,
}

impl ClustersBuilder {
    /// A cluster and the URL of its registry: `https://HOST[:PORT]`; `http://` for one without TLS.
    pub fn cluster(mut self, name: impl Into<String>, registry_url: impl Into<String>) -> Self {
        self.clusters.push((name.into(), registry_url.into()));
        self
    }

    /// The organisation of names that have none.
    pub fn default_org(mut self, org: impl Into<String>) -> Self {
        self.org = Some(org.into());
        self
    }

    /// The project of names that have none. Without it such names are errors.
    pub fn default_project(mut self, project: impl Into<String>) -> Self {
        self.project = Some(project.into());
        self
    }

    /// The clusters, checked.
    ///
    /// # Errors
    /// [`ClustersError`]: a name or address that cannot be one, a default that is not there.
    pub fn build(self) -> Result<Clusters, ClustersError> {
        let mut clusters: Vec<Cluster> = Vec::new();
        for (name, url) in self.clusters {
            if clusters.iter().any(|cluster| cluster.name == name) {
                return Err(ClustersError::Twice { cluster: name });
            }
            clusters.push(cluster(name, &url)?);
        }
        let Some(default) = clusters.iter().position(|one| one.name == self.default) else {
            return Err(ClustersError::Default {
                known: clusters.into_iter().map(|cluster| cluster.name).collect(),
                cluster: self.default,
            });
        };
        let default = clusters.remove(default);
        for (what, part) in [("organisation", &self.org), ("project", &self.project)] {
            if let Some(text) = part.as_ref().filter(|text| !is_component(text)) {
                let text = text.clone();
                return Err(ClustersError::Part { what, text });
            }
        }
        Ok(Clusters {
            default,
            others: clusters,
            org: self.org,
            project: self.project,
        })
    }
}

fn cluster(name: String, registry: &str) -> Result<Cluster, ClustersError> {
    let is_name = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if !is_name {
        return Err(ClustersError::Name { cluster: name });
    }
    let url = match Url::parse(registry) {
        Ok(url) => url,
        Err(source) => {
            let cluster = name;
            return Err(ClustersError::Url { cluster, source });
        }
    };
    let is_accepted = |host: &str| {
        let repository: Option<RepositoryName> = "a/b".parse().ok();
        repository.is_some_and(|repository| Reference::new(host, repository, None, None).is_ok())
    };
    let reason = if !matches!(url.scheme(), "http" | "https") {
        "is neither https nor http"
    } else if !url.username().is_empty() || url.password().is_some() {
        "has a user name or password, which belong elsewhere"
    } else if url.query().is_some() || url.fragment().is_some() || url.path() != "/" {
        "has more than a host and a port"
    } else if let Some(host) = authority(registry).filter(|host| is_accepted(host)) {
        return Ok(Cluster {
            name,
            registry: host,
            url,
        });
    } else {
        "has a host that cannot stand in the name of an image"
    };
    let cluster = name;
    Err(ClustersError::Registry { cluster, reason })
}

/// Host and port as they are written, since that is how names of images have them: also with a port that could be left
/// out.
fn authority(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let host = rest.split('/').next()?;
    Some(host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(url: &str) -> Result<Clusters, ClustersError> {
        Clusters::builder("main").cluster("main", url).build()
    }

    #[test]
    fn a_registry_is_named_as_its_url_is_written() {
        for (url, registry) in [
            ("https://Reg.Example", "reg.example"),
            ("https://reg.example/", "reg.example"),
            ("https://reg.example:443", "reg.example:443"),
            ("http://127.0.0.1:5000", "127.0.0.1:5000"),
            ("http://[::1]:5000", "[::1]:5000"),
            ("http://localhost", "localhost"),
        ] {
            let clusters = one(url).unwrap();
            assert_eq!(clusters.default_cluster().registry(), registry);
        }
    }

    #[test]
    fn what_cannot_be_a_registry_is_refused_without_repeating_it() {
        for (url, expected) in [
            ("reg.example", "is not a URL"),
            ("ftp://reg.example", "is neither https nor http"),
            ("https://user:hunter2@reg.example", "has a user name"),
            ("https://reg.example/v2", "has more than a host"),
            ("https://reg.example?a=b", "has more than a host"),
            ("https://registry", "has a host that cannot stand"),
        ] {
            let error = one(url).unwrap_err().to_string();
            assert!(error.contains(expected), "{url}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn defaults_have_to_be_there_and_usable() {
        let builder = || Clusters::builder("main").cluster("other", "https://reg.example");
        let error = builder().build().unwrap_err();
        assert!(error.to_string().contains("(other)"), "{error}");
        let main = || builder().cluster("main", "https://main.example");
        let clusters = main().build().unwrap();
        let names: Vec<_> = clusters.iter().map(Cluster::name).collect();
        assert_eq!(names, ["main", "other"]);
        for error in [
            main().default_org("A/b").build().unwrap_err(),
            main().default_project("").build().unwrap_err(),
        ] {
            assert!(matches!(error, ClustersError::Part { .. }), "{error}");
        }
        let error = main().cluster("main", "https://x.example").build();
        assert!(matches!(error, Err(ClustersError::Twice { .. })));
        let error = main().cluster("a/b", "https://x.example").build();
        assert!(matches!(error, Err(ClustersError::Name { .. })));
    }
}
