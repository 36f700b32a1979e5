//! Where the platform is and who asks, from the environment or from the caller. The one place here that reads the
//! environment.

use std::collections::BTreeMap;

use secrecy::SecretString;

use crate::{Clusters, ClustersError};

/// What the registry of a single cluster is called where nothing says what it is called.
const DEFAULT_CLUSTER: &str = "default";

/// The user name where none is given. Registries of the platform look at the token.
const DEFAULT_USER: &str = "token";

const CLUSTERS: &str = "APOLO_CLUSTERS";
const CLUSTER: &str = "APOLO_CLUSTER";
const REGISTRY_URL: &str = "APOLO_REGISTRY_URL";
const ORG: &str = "APOLO_ORG";
const PROJECT: &str = "APOLO_PROJECT";
const USER: &str = "APOLO_USER";
const TOKEN: &str = "APOLO_TOKEN";

/// The clusters of the platform, and who asks.
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) clusters: Clusters,
    pub(crate) user: String,
    pub(crate) token: Option<SecretString>,
}

/// Why there is no [`Config`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// No registry is named.
    #[error(
        "the Apolo platform's registry is not known; set {REGISTRY_URL}, or {CLUSTERS} for several clusters"
    )]
    NoRegistry,
    /// There are several clusters, and none is the default.
    #[error("{CLUSTERS} has several clusters ({}); say with {CLUSTER} which one is the default", known.join(", "))]
    NoDefault {
        /// The clusters.
        known: Vec<String>,
    },
    /// The list of clusters cannot be read. It is not repeated.
    #[error("{CLUSTERS} is not a JSON object of cluster names and registry URLs")]
    Json {
        /// Where and why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A variable is not text.
    #[error("{variable} is not valid UTF-8")]
    NotText {
        /// The variable.
        variable: &'static str,
    },
    /// The clusters and defaults do not go together.
    #[error("the settings of the Apolo platform (APOLO_…) cannot be used")]
    Clusters(
        #[from]
        #[source]
        ClustersError,
    ),
}

impl Config {
    /// These clusters, with nobody's credentials.
    pub fn new(clusters: Clusters) -> Self {
        Self {
            clusters,
            user: DEFAULT_USER.to_owned(),
            token: None,
        }
    }

    /// Who asks the registries of all the clusters, over TLS or on loopback; in the clear for those whose URL says `http`.
    #[must_use]
    pub fn credentials(mut self, user: impl Into<String>, token: SecretString) -> Self {
        self.user = user.into();
        self.token = Some(token);
        self
    }

    /// What the environment says. A variable that is empty counts as not set.
    ///
    /// - `APOLO_REGISTRY_URL`: the registry of the default cluster;
    /// - `APOLO_CLUSTERS`: a JSON object of cluster names and registry URLs;
    /// - `APOLO_CLUSTER`: the default cluster; where there is only one it need not be named;
    /// - `APOLO_ORG`, `APOLO_PROJECT`: what names of images mean that have none;
    /// - `APOLO_USER` (default `token`) and `APOLO_TOKEN`: who asks. Without a token nobody does.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn from_environment() -> Result<Self, ConfigError> {
        Self::from_variables(|name| match std::env::var(name) {
            Ok(value) => Ok(Some(value)),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => Err(ConfigError::NotText { variable: name }),
        })
    }

    fn from_variables(
        look_up: impl Fn(&'static str) -> Result<Option<String>, ConfigError>,
    ) -> Result<Self, ConfigError> {
        let variable = |name| -> Result<Option<String>, ConfigError> {
            Ok(look_up(name)?.filter(|value| !value.is_empty()))
        };
        let mut clusters: BTreeMap<String, String> = match variable(CLUSTERS)? {
            Some(json) => serde_json::from_str(&json).map_err(|source| ConfigError::Json {
                source: source.into(),
            })?,
            None => BTreeMap::new(),
        };
        let registry = variable(REGISTRY_URL)?;
        let default = match (variable(CLUSTER)?, &registry) {
            (Some(name), _) => name,
            (None, Some(_)) if clusters.is_empty() => DEFAULT_CLUSTER.to_owned(),
            (None, _) if clusters.len() == 1 => clusters.keys().next().cloned().unwrap_or_default(),
            (None, None) if clusters.is_empty() => return Err(ConfigError::NoRegistry),
            (None, _) => {
                let known = clusters.into_keys().collect();
                return Err(ConfigError::NoDefault { known });
            }
        };
        if let Some(url) = registry {
            clusters.insert(default.clone(), url);
        }
        if clusters.is_empty() {
            return Err(ConfigError::NoRegistry);
        }
        let mut builder = Clusters::builder(default);
        for (name, url) in clusters {
            builder = builder.cluster(name, url);
        }
        if let Some(org) = variable(ORG)? {
            builder = builder.default_org(org);
        }
        if let Some(project) = variable(PROJECT)? {
            builder = builder.default_project(project);
        }
        let mut config = Self::new(builder.build()?);
        if let Some(user) = variable(USER)? {
            config.user = user;
        }
        config.token = variable(TOKEN)?.map(SecretString::from);
        Ok(config)
    }

    /// The clusters, to read names with.
    pub fn clusters(&self) -> &Clusters {
        &self.clusters
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use secrecy::ExposeSecret as _;

    use super::*;

    fn config(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::from_variables(|name| {
            let set = variables.iter().find(|(variable, _)| *variable == name);
            Ok(set.map(|(_, value)| (*value).to_owned()))
        })
    }

    #[test]
    fn one_registry_is_enough() {
        let config = config(&[
            (REGISTRY_URL, "https://reg.example"),
            (ORG, ""),
            (PROJECT, "team"),
            (TOKEN, "hunter2"),
        ])
        .unwrap();
        let image = config.clusters().parse_remote("image:app").unwrap();
        assert_eq!(image.to_string(), "image://default/team/app:latest");
        assert_eq!(config.user, "token");
        assert_eq!(config.token.as_ref().unwrap().expose_secret(), "hunter2");
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn of_several_clusters_one_is_the_default() {
        let two = r#"{"one": "https://one.example", "two": "https://two.example"}"#;
        let named = config(&[
            (CLUSTERS, two),
            (CLUSTER, "two"),
            (ORG, "acme"),
            (USER, "me"),
        ])
        .unwrap();
        assert_eq!(named.clusters().default_cluster().name(), "two");
        assert_eq!(named.clusters().default_org(), Some("acme"));
        assert_eq!(named.user, "me");
        assert!(named.token.is_none());

        let added = config(&[
            (CLUSTERS, two),
            (CLUSTER, "three"),
            (REGISTRY_URL, "https://three.example"),
        ]);
        let names = added.unwrap().clusters().names();
        assert_eq!(names, ["three", "one", "two"]);

        let error = config(&[(CLUSTERS, two)]).unwrap_err().to_string();
        assert!(error.contains("(one, two)"), "{error}");
        let only = config(&[(CLUSTERS, r#"{"one": "https://one.example"}"#)]).unwrap();
        assert_eq!(only.clusters().default_cluster().name(), "one");
    }

    #[test]
    fn what_is_missing_or_wrong_is_said() {
        assert!(matches!(config(&[]), Err(ConfigError::NoRegistry)));
        assert!(matches!(
            config(&[(CLUSTER, "main")]),
            Err(ConfigError::NoRegistry)
        ));
        let error = config(&[(CLUSTERS, "[]")]).unwrap_err();
        assert!(matches!(error, ConfigError::Json { .. }), "{error}");
        let error = config(&[(REGISTRY_URL, "reg.example")]).unwrap_err();
        let cause = error.source().unwrap().to_string();
        assert!(cause.contains("write it as https://HOST"), "{cause}");
    }
}
