//! What a stage has become so far, apart from its files: metadata, history, layers.

use std::collections::{BTreeMap, BTreeSet};

use peak_oci::{
    ContainerConfig, Descriptor, Digest, History, ImageConfig, ImageManifest, Manifest, MediaType,
    Platform, Raw, RepositoryName,
};
use serde_json::{Value as Json, json};

use super::base::BaseImage;
use super::dockerfile::{Command, HealthCheck};
use super::error::{BuildError, Problem};
use super::expand::{Budget, Value};
use super::path;

/// When every image and every step of it was made, so that a build's result depends on its input
/// alone. Layers carry the same time.
pub(crate) const CREATED: &str = "1970-01-01T00:00:00Z";

/// What wrote the history of its steps.
const COMMENT: &str = "peak embedded builder";

/// Where commands are looked for in an image that starts from nothing, as Docker sets it.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The shell of commands in shell form.
const DEFAULT_SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// Members of a container's config that Docker knows and OCI does not.
const SHELL: &str = "Shell";
const HEALTH_CHECK: &str = "Healthcheck";
const ON_BUILD: &str = "OnBuild";

/// Where a layer comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It is a layer of an image in this repository.
    Stored(RepositoryName),
    /// It is the so-many-th layer that this build wrote.
    Written(usize),
}

/// A layer of the image.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    pub descriptor: Descriptor,
    pub diff_id: Digest,
    pub origin: Origin,
}

/// Environment variables, in the order in which they were first set.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    values: BTreeMap<String, Value>,
    order: Vec<String>,
}

impl Environment {
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    pub(crate) fn set(&mut self, name: String, value: Value) {
        if self.values.insert(name.clone(), value).is_none() {
            self.order.push(name);
        }
    }

    fn to_list(&self) -> Vec<String> {
        self.order
            .iter()
            .filter_map(|name| Some(format!("{name}={}", self.values.get(name)?.text)))
            .collect()
    }
}

/// An image in the making.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    platform: Platform,
    author: Option<String>,
    config: ContainerConfig,
    pub environment: Environment,
    shell: Vec<String>,
    /// `CMD` was set here and is not the base image's.
    own_command: bool,
    history: Vec<History>,
    pub layers: Vec<Layer>,
}

impl Image {
    /// `FROM scratch`.
    pub(crate) fn scratch(platform: Platform) -> Self {
        let mut environment = Environment::default();
        let path = Value {
            text: DEFAULT_PATH.to_owned(),
            private: false,
        };
        environment.set("PATH".to_owned(), path);
        let mut config = ContainerConfig::new();
        config.working_dir = Some("/".to_owned());
        Self {
            platform,
            author: None,
            config,
            environment,
            shell: default_shell(),
            own_command: false,
            history: Vec::new(),
            layers: Vec::new(),
        }
    }

    /// `FROM` an image.
    pub(crate) fn from_base(base: BaseImage, shown: &str) -> Result<Self, Problem> {
        let platform = base.config.platform();
        let mut config = base.config.config.unwrap_or_default();
        if config
            .unknown
            .get(ON_BUILD)
            .is_some_and(|value| value != "null" && value != "[]")
        {
            return Err(Problem::OnBuild {
                image: shown.to_owned(),
            });
        }
        config.unknown.remove(ON_BUILD);
        let mut environment = Environment::default();
        for variable in std::mem::take(&mut config.env) {
            let (name, value) = variable.split_once('=').unwrap_or((variable.as_str(), ""));
            let value = Value {
                text: value.to_owned(),
                private: false,
            };
            environment.set(name.to_owned(), value);
        }
        let shell = config
            .unknown
            .get(SHELL)
            .and_then(|text| serde_json::from_str::<Vec<String>>(&text).ok())
            .filter(|shell| !shell.is_empty())
            .unwrap_or_else(default_shell);
        let layers = base
            .layers
            .into_iter()
            .zip(base.config.rootfs.diff_ids)
            .map(|(descriptor, diff_id)| Layer {
                descriptor,
                diff_id,
                origin: Origin::Stored(base.repository.clone()),
            })
            .collect();
        Ok(Self {
            platform,
            author: base.config.author,
            config,
            environment,
            shell,
            own_command: false,
            history: base.config.history,
            layers,
        })
    }

    /// A later stage that starts here: what is set there counts as its own again.
    pub(crate) fn as_base(&self) -> Self {
        Self {
            own_command: false,
            ..self.clone()
        }
    }

    /// The working directory as a tree path.
    pub(crate) fn working_directory(&self) -> String {
        path::resolve_clamped("", self.config.working_dir.as_deref().unwrap_or_default())
    }

    /// Sets the working directory, from the one before if it is relative. Returns its tree path.
    pub(crate) fn set_working_directory(&mut self, text: &str) -> String {
        let directory = path::resolve_clamped(&self.working_directory(), text);
        self.config.working_dir = Some(path::absolute(&directory));
        directory
    }

    pub(crate) fn set_user(&mut self, user: &str) -> Result<(), Problem> {
        if user.is_empty() {
            return Err(Problem::malformed("the user is empty"));
        }
        self.config.user = Some(user.to_owned());
        Ok(())
    }

    pub(crate) fn set_author(&mut self, author: &str) {
        self.author = Some(author.to_owned());
    }

    pub(crate) fn set_label(&mut self, name: String, value: String) {
        self.config.labels.insert(name, value);
    }

    pub(crate) fn set_stop_signal(&mut self, signal: &str) -> Result<(), Problem> {
        let number = signal
            .parse::<u8>()
            .is_ok_and(|number| (1..=64).contains(&number));
        let name = signal.strip_prefix("SIG").unwrap_or(signal);
        let named = name.starts_with(|first: char| first.is_ascii_uppercase())
            && name
                .chars()
                .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || "+-".contains(c));
        if !number && !named {
            return Err(Problem::malformed(
                "this is not a signal such as SIGTERM or 15",
            ));
        }
        self.config.stop_signal = Some(signal.to_owned());
        Ok(())
    }

    pub(crate) fn add_volume(&mut self, volume: &str) -> Result<(), Problem> {
        if volume.trim().is_empty() {
            return Err(Problem::malformed("a volume is empty"));
        }
        self.config.volumes.insert(volume.to_owned());
        Ok(())
    }

    /// Adds a port or a range of ports, with its protocol. A range counts as an expansion: a few
    /// bytes of it become many.
    pub(crate) fn expose(
        &mut self,
        port: &str,
        shown: &str,
        budget: &Budget,
    ) -> Result<(), Problem> {
        let ports = ports(port)
            .ok_or_else(|| Problem::malformed(format!("{shown:?} is not PORT or PORT/PROTOCOL")))?;
        budget.take(ports.iter().map(String::len).sum())?;
        self.config.exposed_ports.extend(ports);
        Ok(())
    }

    pub(crate) fn set_command(&mut self, command: &Command) {
        self.config.cmd = Some(self.with_shell(command));
        self.own_command = true;
    }

    pub(crate) fn set_entrypoint(&mut self, command: &Command) {
        self.config.entrypoint = Some(self.with_shell(command));
        // The arguments of another program mean nothing to this one.
        if !self.own_command {
            self.config.cmd = None;
        }
    }

    pub(crate) fn set_shell(&mut self, shell: &[String]) -> Result<(), Problem> {
        self.shell = shell.to_vec();
        self.set_extension(SHELL, &json!(shell))
    }

    pub(crate) fn set_health_check(&mut self, check: &HealthCheck) -> Result<(), Problem> {
        let value = match check {
            HealthCheck::None => json!({ "Test": ["NONE"] }),
            HealthCheck::Command {
                command,
                durations,
                retries,
            } => {
                let test = match command {
                    Command::Exec(list) => {
                        let mut test = vec!["CMD".to_owned()];
                        test.extend(list.iter().cloned());
                        test
                    }
                    Command::Shell(text) => vec!["CMD-SHELL".to_owned(), text.clone()],
                };
                let mut members = serde_json::Map::new();
                members.insert("Test".to_owned(), json!(test));
                for (name, nanoseconds) in durations {
                    members.insert((*name).to_owned(), json!(nanoseconds));
                }
                if let Some(retries) = retries {
                    members.insert("Retries".to_owned(), json!(retries));
                }
                Json::Object(members)
            }
        };
        self.set_extension(HEALTH_CHECK, &value)
    }

    fn set_extension(&mut self, name: &str, value: &Json) -> Result<(), Problem> {
        self.config
            .unknown
            .set(name, &value.to_string())
            .map_err(|error| Problem::malformed(format!("{name} cannot be written: {error}")))
    }

    fn with_shell(&self, command: &Command) -> Vec<String> {
        match command {
            Command::Exec(list) => list.clone(),
            Command::Shell(text) => {
                let mut list = self.shell.clone();
                list.push(text.clone());
                list
            }
        }
    }

    /// Writes a step into the history, with the layer that it made.
    pub(crate) fn record(&mut self, text: &str, layer: Option<Layer>) {
        let mut entry = if layer.is_some() {
            History::new(text)
        } else {
            History::empty(text)
        };
        entry.created = Some(CREATED.to_owned());
        entry.comment = Some(COMMENT.to_owned());
        self.history.push(entry);
        self.layers.extend(layer);
    }

    /// The config's document.
    pub(crate) fn config(&self) -> Result<Raw<ImageConfig>, BuildError> {
        let diff_ids = self
            .layers
            .iter()
            .map(|layer| layer.diff_id.clone())
            .collect();
        let mut config = ImageConfig::new(&self.platform, diff_ids);
        config.created = Some(CREATED.to_owned());
        config.author.clone_from(&self.author);
        let mut container = self.config.clone();
        container.env = self.environment.to_list();
        config.config = Some(container);
        config.history.clone_from(&self.history);
        config.to_raw().map_err(|error| BuildError::Encode {
            what: "config",
            reason: error.to_string(),
        })
    }

    /// The manifest's document, given the config's.
    pub(crate) fn manifest(&self, config: &Raw<ImageConfig>) -> Result<Raw<Manifest>, BuildError> {
        let config = Descriptor::new(
            MediaType::OCI_CONFIG,
            config.digest().clone(),
            config.size(),
        );
        let layers = self
            .layers
            .iter()
            .map(|layer| layer.descriptor.clone())
            .collect();
        ImageManifest::new(config, layers)
            .to_raw()
            .map_err(|error| BuildError::Encode {
                what: "manifest",
                reason: error.to_string(),
            })
    }
}

fn default_shell() -> Vec<String> {
    DEFAULT_SHELL.map(str::to_owned).to_vec()
}

/// The ports of one word of `EXPOSE`, each with its protocol.
fn ports(text: &str) -> Option<BTreeSet<String>> {
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return None;
    }
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u16>().ok()).flatten()
    };
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then(|| {
        (first..=last)
            .map(|port| format!("{port}/{protocol}"))
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Image {
        Image::scratch(Platform::new("linux", "amd64"))
    }

    #[test]
    fn ports_get_their_protocol() {
        let list = |text: &str| ports(text).map(|ports| ports.into_iter().collect::<Vec<_>>());
        assert_eq!(list("80"), Some(vec!["80/tcp".to_owned()]));
        assert_eq!(list("53/UDP"), Some(vec!["53/udp".to_owned()]));
        assert_eq!(
            list("8-9"),
            Some(vec!["8/tcp".to_owned(), "9/tcp".to_owned()])
        );
        for text in ["", "x", "80/http", "9-8", "70000", "+80", "80:80"] {
            assert_eq!(list(text), None, "{text}");
        }
    }

    #[test]
    fn an_entrypoint_takes_an_inherited_command_away() {
        let exec = |text: &str| Command::Exec(vec![text.to_owned()]);
        let mut image = image();
        image.set_command(&exec("inherited"));
        let mut child = image.as_base();
        child.set_entrypoint(&exec("program"));
        assert_eq!(child.config.cmd, None);
        child.set_command(&exec("own"));
        child.set_entrypoint(&exec("other"));
        assert_eq!(child.config.cmd, Some(vec!["own".to_owned()]));
    }

    #[test]
    fn shell_forms_use_the_shell_in_force() {
        let mut image = image();
        image.set_command(&Command::Shell("echo $A".to_owned()));
        assert_eq!(
            image.config.cmd.as_deref().unwrap(),
            ["/bin/sh", "-c", "echo $A"]
        );
        image
            .set_shell(&["/bin/bash".to_owned(), "-ec".to_owned()])
            .unwrap();
        image.set_command(&Command::Shell("x".to_owned()));
        assert_eq!(
            image.config.cmd.as_deref().unwrap(),
            ["/bin/bash", "-ec", "x"]
        );
        assert_eq!(
            image.config.unknown.get(SHELL).unwrap(),
            r#"["/bin/bash","-ec"]"#
        );
    }

    #[test]
    fn working_directories_add_up() {
        let mut image = image();
        assert_eq!(image.working_directory(), "");
        assert_eq!(image.set_working_directory("/a/"), "a");
        assert_eq!(image.set_working_directory("b/../c"), "a/c");
        assert_eq!(image.config.working_dir.as_deref(), Some("/a/c"));
    }

    #[test]
    fn variables_keep_their_place() {
        let mut environment = Environment::default();
        for (name, text) in [("B", "1"), ("A", "2"), ("B", "3")] {
            environment.set(
                name.to_owned(),
                Value {
                    text: text.to_owned(),
                    private: false,
                },
            );
        }
        assert_eq!(environment.to_list(), ["B=3", "A=2"]);
    }

    #[test]
    fn signals() {
        for (signal, valid) in [
            ("SIGTERM", true),
            ("TERM", true),
            ("SIGRTMIN+3", true),
            ("9", true),
            ("0", false),
            ("", false),
            ("a b", false),
        ] {
            assert_eq!(image().set_stop_signal(signal).is_ok(), valid, "{signal}");
        }
    }
}
