//! The images of the embedded registry that builds stand upon: in the Engine for as long as one of them uses them.

use std::collections::BTreeMap;
use std::sync::Arc;

use peak_sdk::docker::{Engine, EngineCredentials, EngineError, RemoveOptions};
use peak_sdk::local::{EngineFailure, EngineLog};
use peak_sdk::oci::Reference;
use tokio::sync::Mutex;

use super::said::{failure, write};

/// What the Engine has from the embedded registry, for all builds.
#[derive(Debug, Default)]
pub(super) struct PulledImages {
    by_name: Mutex<BTreeMap<String, Pulled>>,
}

/// An image of the embedded registry.
#[derive(Debug, Default)]
struct Pulled {
    /// How many builds use it.
    users: usize,
    is_there: bool,
}

/// Those that one build uses.
pub(super) struct UsedImages {
    pulled: Arc<PulledImages>,
    names: Vec<String>,
}

impl UsedImages {
    /// None yet.
    pub(super) fn of(pulled: Arc<PulledImages>) -> Self {
        Self {
            pulled,
            names: Vec::new(),
        }
    }

    /// Brings an image of the embedded registry into the Engine, for as long as builds use it.
    pub(super) async fn pull(
        &mut self,
        engine: &Engine,
        image: &str,
        credentials: Option<&EngineCredentials>,
        log: &EngineLog,
    ) -> Result<(), EngineFailure> {
        let reference: Reference = image.parse().map_err(|error| failure(&error))?;
        // Nobody may take away what another build has just found.
        let mut pulled = self.pulled.by_name.lock().await;
        let entry = pulled.entry(image.to_owned()).or_default();
        entry.users += 1;
        self.names.push(image.to_owned());
        if entry.is_there {
            return Ok(());
        }
        let done = engine
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

    /// Takes away again what no other build uses. Says what went wrong first, when all was tried.
    pub(super) async fn release(&mut self, engine: &Engine) -> Result<(), EngineError> {
        let mut problem = None;
        for image in std::mem::take(&mut self.names) {
            if let Err(error) = self.pulled.release(engine, &image).await {
                problem = problem.or(Some(error));
            }
        }
        problem.map_or(Ok(()), Err)
    }
}

impl PulledImages {
    /// Takes an image of the embedded registry away again, if no other build uses it.
    async fn release(&self, engine: &Engine, image: &str) -> Result<(), EngineError> {
        let mut pulled = self.by_name.lock().await;
        if let Some(entry) = pulled.get_mut(image) {
            entry.users = entry.users.saturating_sub(1);
            if entry.users > 0 {
                return Ok(());
            }
        }
        pulled.remove(image);
        // The name is this platform's own, so nobody else misses it.
        let removal = RemoveOptions::new().keep_parents(true);
        match engine.remove(image, removal).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }
}
