//! Where a keychain looks: the places of the user who runs this program, or chosen ones.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use secrecy::SecretString;

use super::helper::Helpers;
use super::place::Place;
use super::provider::{CredentialProvider, Provider};
use super::{CredentialSource, Inner, Keychain};

/// How long a helper may take.
const HELPER_TIMEOUT: Duration = Duration::from_secs(10);

impl Keychain {
    /// The credentials of the user who runs this program. Looks at environment variables for where things are; reads
    /// no file and runs nothing before it is asked for a registry.
    pub fn from_environment() -> Self {
        KeychainBuilder::from_environment().build()
    }

    fn from_variables(
        variable: impl Fn(&str) -> Option<OsString>,
        home: Option<PathBuf>,
    ) -> KeychainBuilder {
        let variable = |name| variable(name).filter(|value| !value.is_empty());
        let home = home.filter(|home| !home.as_os_str().is_empty());
        let mut builder = Self::builder();
        if let Some(inline) = variable("DOCKER_AUTH_CONFIG") {
            builder = builder.inline(inline.to_string_lossy().into_owned().into());
        }
        let docker = variable("DOCKER_CONFIG")
            .map(PathBuf::from)
            .or_else(|| Some(home.as_ref()?.join(".docker")));
        if let Some(docker) = docker {
            builder = builder.docker_config(docker.join("config.json"));
        }
        if let Some(file) = variable("REGISTRY_AUTH_FILE") {
            builder = builder.podman_auth(PathBuf::from(file));
        } else {
            let runtime = variable("XDG_RUNTIME_DIR").map(PathBuf::from);
            let config = variable("XDG_CONFIG_HOME")
                .map(PathBuf::from)
                .or_else(|| Some(home.as_ref()?.join(".config")));
            for directory in [runtime, config].into_iter().flatten() {
                builder = builder.podman_auth(directory.join("containers/auth.json"));
            }
        }
        if let Some(path) = variable("PATH") {
            builder = builder.helper_path(path);
        }
        builder
    }

    /// A keychain of chosen places, for programs that keep credentials elsewhere.
    pub fn builder() -> KeychainBuilder {
        KeychainBuilder {
            providers: Vec::new(),
            inline: None,
            docker: None,
            podman: Vec::new(),
            helpers: Helpers {
                path: None,
                timeout: HELPER_TIMEOUT,
            },
        }
    }
}

/// The places of a [`Keychain`].
#[derive(Clone, Debug)]
#[must_use]
pub struct KeychainBuilder {
    providers: Vec<Provider>,
    inline: Option<SecretString>,
    docker: Option<PathBuf>,
    podman: Vec<PathBuf>,
    helpers: Helpers,
}

impl KeychainBuilder {
    /// The places of [`Keychain::from_environment`], to add to.
    pub fn from_environment() -> Self {
        let home = std::env::home_dir();
        Keychain::from_variables(|name| std::env::var_os(name), home)
    }

    /// Somebody who is asked before all other places; of several, in the order in which they were given. The name is
    /// what [`Keychain::explain`] calls it.
    pub fn provider(mut self, name: impl Into<String>, provider: impl CredentialProvider) -> Self {
        self.providers.push(Provider::new(name.into(), provider));
        self
    }

    /// The content of a `config.json`, as `DOCKER_AUTH_CONFIG` has it.
    pub fn inline(mut self, config: SecretString) -> Self {
        self.inline = Some(config);
        self
    }

    /// Docker's `config.json`, which is also where `login` keeps credentials. It need not exist.
    pub fn docker_config(mut self, path: impl Into<PathBuf>) -> Self {
        self.docker = Some(path.into());
        self
    }

    /// A further `auth.json` of podman's. It need not exist.
    pub fn podman_auth(mut self, path: impl Into<PathBuf>) -> Self {
        self.podman.push(path.into());
        self
    }

    /// The directories of helpers, as in `PATH`; none by default. Relative ones are not used.
    pub fn helper_path(mut self, path: impl Into<OsString>) -> Self {
        self.helpers.path = Some(path.into());
        self
    }

    /// How long a helper, or a [provider](Self::provider), may take; 10 seconds by default.
    pub fn helper_timeout(mut self, timeout: Duration) -> Self {
        self.helpers.timeout = timeout;
        self
    }

    /// Makes the keychain. Nothing is read.
    pub fn build(self) -> Keychain {
        let providers = self.providers.into_iter().map(Place::Provider);
        let docker = self.docker.clone();
        let docker = docker.map(|path| Place::File(CredentialSource::Docker, path));
        let podman = self.podman.into_iter();
        let podman = podman.map(|path| Place::File(CredentialSource::Podman, path));
        let inline = self.inline.map(Place::Inline);
        Keychain {
            inner: Arc::new(Inner {
                places: providers
                    .chain(inline)
                    .chain(docker)
                    .chain(podman)
                    .collect(),
                config: self.docker,
                helpers: self.helpers,
                known: Mutex::default(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(variables: &[(&str, &str)], home: Option<&str>) -> Vec<String> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| OsString::from(value))
        };
        let keychain = Keychain::from_variables(variable, home.map(PathBuf::from)).build();
        keychain.inner.places.iter().map(Place::shown).collect()
    }

    #[test]
    fn the_environment_says_where_credentials_are() {
        assert_eq!(
            places(&[], Some("/home/robot")),
            [
                "/home/robot/.docker/config.json",
                "/home/robot/.config/containers/auth.json"
            ]
        );
        let all = [
            ("DOCKER_AUTH_CONFIG", "{}"),
            ("DOCKER_CONFIG", "/docker"),
            ("XDG_RUNTIME_DIR", "/run/user/7"),
            ("XDG_CONFIG_HOME", "/config"),
        ];
        assert_eq!(
            places(&all, Some("/home/robot")),
            [
                "DOCKER_AUTH_CONFIG",
                "/docker/config.json",
                "/run/user/7/containers/auth.json",
                "/config/containers/auth.json"
            ]
        );
        let podman = [
            ("REGISTRY_AUTH_FILE", "/podman.json"),
            ("XDG_RUNTIME_DIR", "/run/user/7"),
            ("DOCKER_CONFIG", ""),
        ];
        assert_eq!(places(&podman, None), ["/podman.json"]);
        assert_eq!(places(&[], None), [""; 0]);
    }
}
