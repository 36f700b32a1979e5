//! The Docker Engine as a builder of the embedded platform, for what that one does not build itself.

mod steps;

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use peak_sdk::docker::{
    BuildRequest, DaemonImage, Engine, EngineConfig, EngineCredentials, EngineError, EngineEvent,
    EngineSource, RemoveOptions,
};
use peak_sdk::local::{
    EngineBuild, EngineBuilder, EngineFailure, EngineLog, EngineRun, EngineUse, PlatformBuilder,
};
use peak_sdk::oci::{BoxFuture, Platform, Reference, Source};
use peak_sdk::registry::Keychain;
use secrecy::ExposeSecret as _;
use tokio::sync::Mutex;

use crate::application::REGISTRY_USER;
use steps::Steps;

/// How often, and after what time, an image is removed again that a container still uses: the Engine needs a moment to
/// take away the container of a build that was stopped.
const REMOVALS: usize = 20;
const BETWEEN_REMOVALS: Duration = Duration::from_millis(250);

/// Whether builds of the embedded platform may use a Docker Engine.
#[derive(Debug, Args)]
pub(crate) struct DockerOptions {
    /// Which builds of the embedded platform a Docker Engine does [default: auto]
    #[arg(
        long,
        value_enum,
        value_name = "WHEN",
        env = "PEAK_LOCAL_DOCKER",
        hide_env_values = true
    )]
    docker: Option<DockerUse>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum DockerUse {
    #[default]
    /// Those with RUN and other things that the embedded builder does not do
    Auto,
    /// None: they fail
    Never,
    /// All
    Always,
}

impl DockerOptions {
    pub(crate) fn apply(&self, builder: PlatformBuilder) -> PlatformBuilder {
        let when = match self.docker.unwrap_or_default() {
            DockerUse::Never => return builder,
            DockerUse::Auto => EngineUse::Auto,
            DockerUse::Always => EngineUse::Always,
        };
        builder.engine(Arc::new(DockerBuilder::default()), when)
    }
}

/// Finds the Engine where the `docker` command would find it, when a build needs one and not before.
#[derive(Debug, Default)]
struct DockerBuilder {
    shared: Arc<Shared>,
}

/// What builds on the Engine have to do with one another.
#[derive(Debug, Default)]
struct Shared {
    /// What the Engine has from the embedded registry, by name.
    pulled: Mutex<BTreeMap<String, Pulled>>,
}

/// An image of the embedded registry.
#[derive(Debug, Default)]
struct Pulled {
    /// How many builds use it.
    users: usize,
    is_there: bool,
}

impl EngineBuilder for DockerBuilder {
    fn connect(&self) -> BoxFuture<'_, Result<Box<dyn EngineRun>, EngineFailure>> {
        Box::pin(async {
            // It reads files.
            let config = tokio::task::spawn_blocking(EngineConfig::from_environment)
                .await
                .map_err(|error| failure(&error))?
                .map_err(|error| failure(&error))?;
            let engine = Engine::new(config);
            let ping = engine.ping().await.map_err(|error| failure(&error))?;
            let version = engine.version().await.map_err(|error| failure(&error))?;
            if version.os == "windows" {
                return Err(EngineFailure::new(format!(
                    "the Docker Engine at {} builds images for Windows; switch it to Linux containers",
                    ping.endpoint
                )));
            }
            let is_podman = version
                .components
                .iter()
                .any(|component| component.name.contains("Podman"));
            let kind = if is_podman { "Podman" } else { "Docker Engine" };
            Ok(Box::new(DockerRun {
                engine,
                name: format!("{kind} {} at {}", version.version, ping.endpoint),
                platform: Platform::new(version.os, version.arch),
                made: Steps::default(),
                used: Vec::new(),
                shared: Arc::clone(&self.shared),
            }) as Box<dyn EngineRun>)
        })
    }
}

/// One build, and what is to be removed after it.
struct DockerRun {
    engine: Engine,
    name: String,
    platform: Platform,
    /// The images that the Engine has made.
    made: Steps,
    /// The images of the embedded registry that this build uses.
    used: Vec<String>,
    shared: Arc<Shared>,
}

impl EngineRun for DockerRun {
    fn platform(&self) -> Platform {
        self.platform.clone()
    }

    fn engine(&self) -> &str {
        &self.name
    }

    fn build(
        &mut self,
        build: EngineBuild,
        log: EngineLog,
    ) -> BoxFuture<'_, Result<Box<dyn Source>, EngineFailure>> {
        Box::pin(async move {
            let credentials = build
                .registry_password
                .map(|password| EngineCredentials::new(REGISTRY_USER, password));
            for image in &build.images {
                self.pull(image, credentials.as_ref(), &log).await?;
            }
            // What another build has made may go while this one stands upon it.
            let mut request = BuildRequest::new()
                .dockerfile(build.dockerfile)
                .no_cache(true);
            for (registry, credentials) in credentials_for(&build.other_images).await {
                request = request.credentials(registry, credentials);
            }
            for (name, value) in &build.arguments {
                request = request.build_arg(name, value.expose_secret());
            }
            let made = &mut self.made;
            let built = self
                .engine
                .build(&request, build.context, |event| {
                    if let Some(text) = &event.stream {
                        made.read(text);
                    }
                    write(&log, &event);
                })
                .await;
            let id = built.map_err(|error| not_built(&error))?;
            self.made.end(&id);
            let image = format!("docker-daemon:{id}").parse();
            let image: DaemonImage = image.map_err(|error| failure(&error))?;
            Ok(Box::new(EngineSource::new(self.engine.clone(), image)) as Box<dyn Source>)
        })
    }

    fn clean_up(&mut self) -> BoxFuture<'_, Result<(), EngineFailure>> {
        Box::pin(async {
            let mut problem = None;
            // What was made last stands upon the others.
            for id in self.made.take().into_iter().rev() {
                if let Err(error) = remove(&self.engine, &id).await {
                    problem = problem.or(Some(error));
                }
            }
            for image in std::mem::take(&mut self.used) {
                if let Err(error) = self.release(&image).await {
                    problem = problem.or(Some(error));
                }
            }
            match problem {
                None => Ok(()),
                Some(error) => Err(failure(&error)),
            }
        })
    }
}

impl DockerRun {
    /// Brings an image of the embedded registry into the Engine, for as long as builds use it.
    async fn pull(
        &mut self,
        image: &str,
        credentials: Option<&EngineCredentials>,
        log: &EngineLog,
    ) -> Result<(), EngineFailure> {
        let reference: Reference = image.parse().map_err(|error| failure(&error))?;
        // Nobody may take away what another build has just found.
        let mut pulled = self.shared.pulled.lock().await;
        let entry = pulled.entry(image.to_owned()).or_default();
        entry.users += 1;
        self.used.push(image.to_owned());
        if entry.is_there {
            return Ok(());
        }
        let done = self
            .engine
            .pull(&reference, credentials, |event| write(log, &event))
            .await;
        match done {
            Ok(_) => {
                entry.is_there = true;
                Ok(())
            }
            Err(error) => Err(EngineFailure::new(format!(
                    "it cannot pull {image} from the embedded registry, which an Engine on another machine, or in a virtual \
                     machine, does not reach"
                ))
                .with_source(error)),
        }
    }

    /// Takes an image of the embedded registry away again, if no other build uses it.
    async fn release(&self, image: &str) -> Result<(), EngineError> {
        let mut pulled = self.shared.pulled.lock().await;
        if let Some(entry) = pulled.get_mut(image) {
            entry.users = entry.users.saturating_sub(1);
            if entry.users > 0 {
                return Ok(());
            }
        }
        pulled.remove(image);
        // The name is this platform's own, so nobody else misses it.
        let removal = RemoveOptions::new().keep_parents(true);
        match self.engine.remove(image, removal).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Removes an image that a build has made, unless somebody has named it, built upon it or removed it since.
async fn remove(engine: &Engine, id: &str) -> Result<(), EngineError> {
    let removal = RemoveOptions::new().keep_parents(true);
    let mut left = REMOVALS;
    loop {
        match engine.inspect(id).await {
            Ok(image) if image.repo_tags.is_empty() && image.repo_digests.is_empty() => {}
            Ok(_) => return Ok(()),
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(error),
        }
        match engine.remove(id, removal).await {
            Ok(_) => return Ok(()),
            Err(error) if error.is_not_found() => return Ok(()),
            Err(EngineError::Conflict { message, .. })
                if message.contains("dependent child images") =>
            {
                return Ok(());
            }
            Err(error @ EngineError::Conflict { .. }) => {
                left -= 1;
                if left == 0 {
                    return Err(error);
                }
                tokio::time::sleep(BETWEEN_REMOVALS).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// The credentials that people keep for the registries of these images.
async fn credentials_for(images: &[String]) -> BTreeMap<String, EngineCredentials> {
    let mut found = BTreeMap::new();
    if images.is_empty() {
        return found;
    }
    let keychain = Keychain::from_environment();
    for image in images {
        // What is no reference is for the Engine to refuse.
        let Ok(reference) = image.parse::<Reference>() else {
            continue;
        };
        let (registry, repository) = (reference.registry(), reference.repository().as_str());
        if let Some(credentials) = keychain.credentials(registry, Some(repository)).await {
            let secret = credentials.secret().clone();
            let credentials = if credentials.is_identity_token() {
                EngineCredentials::identity_token(secret)
            } else {
                EngineCredentials::new(credentials.user(), secret)
            };
            found.insert(registry.to_owned(), credentials);
        }
    }
    found
}

/// What an event says, without the progress of single layers.
fn write(log: &EngineLog, event: &EngineEvent) {
    if let Some(text) = &event.stream {
        log.write(text);
    } else if let (None, Some(status)) = (&event.id, &event.status) {
        log.line(status);
    }
}

/// Why there is no image, in the words of whoever knows it best.
fn not_built(error: &EngineError) -> EngineFailure {
    match error {
        EngineError::Failed { message, .. }
        | EngineError::NotFound { message, .. }
        | EngineError::Denied { message, .. }
        | EngineError::Unauthorized { message, .. } => {
            let hint = if message.contains("BuildKit") {
                "; it builds without BuildKit here, so that line has to do without it"
            } else {
                ""
            };
            EngineFailure::new(format!("{message}{hint}"))
        }
        other => failure(other),
    }
}

/// An error with its causes on one line.
fn failure(error: &dyn Error) -> EngineFailure {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    EngineFailure::new(lines.join("; "))
}
