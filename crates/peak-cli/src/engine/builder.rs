//! A build on the Engine: found when one is needed, told what to build, and left as it was before.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use peak_sdk::docker::{
    BuildRequest, DaemonImage, Engine, EngineConfig, EngineCredentials, EngineError, EngineSource,
    RemoveOptions,
};
use peak_sdk::local::{EngineBuild, EngineBuilder, EngineFailure, EngineLog, EngineRun};
use peak_sdk::oci::{BoxFuture, Platform, Reference, Source};
use peak_sdk::registry::Keychain;
use secrecy::ExposeSecret as _;

use super::pulled::{PulledImages, UsedImages};
use super::said::{failure, not_built, write};
use super::steps::Steps;
use crate::application::REGISTRY_USER;

/// How often, and after what time, an image is removed again that a container still uses: the Engine needs a moment to
/// take away the container of a build that was stopped.
const REMOVALS: usize = 20;
const BETWEEN_REMOVALS: Duration = Duration::from_millis(250);

/// Finds the Engine where the `docker` command would find it, when a build needs one and not before.
#[derive(Debug, Default)]
pub(super) struct DockerBuilder {
    /// What the Engine has from the embedded registry.
    pulled: Arc<PulledImages>,
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
                used: UsedImages::of(Arc::clone(&self.pulled)),
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
    used: UsedImages,
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
                self.used
                    .pull(&self.engine, image, credentials.as_ref(), &log)
                    .await?;
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
            if let Err(error) = self.used.release(&self.engine).await {
                problem = problem.or(Some(error));
            }
            match problem {
                None => Ok(()),
                Some(error) => Err(failure(&error)),
            }
        })
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
