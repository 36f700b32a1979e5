//! Whether there is a Docker Engine, and which.

use peak_sdk::docker::{Engine, EngineConfig, EngineConfigError, EngineError, TriedEndpoint};
use serde_json::json;

use super::TIME_LIMIT;
use super::check::{Check, Group};
use crate::error::{CliError, ErrorKind};

const GROUP: Group = Group::Engine;
const NAME: &str = "engine";
const HINT: &str = "start one, or say where it is with DOCKER_HOST; only docker-daemon:, `peak apolo` and \
                    builds with RUN need it";

pub(super) async fn check() -> Check {
    match tokio::time::timeout(TIME_LIMIT, Box::pin(look())).await {
        Ok(check) => check,
        Err(_) => Check::failed(
            GROUP,
            NAME,
            format!("no answer within {} s", TIME_LIMIT.as_secs()),
        )
        .hint("see whether the Engine hangs (`docker info`)"),
    }
}

async fn look() -> Check {
    // It reads files.
    let config = match tokio::task::spawn_blocking(EngineConfig::from_environment).await {
        Ok(Ok(config)) => config,
        // The file of credentials names the context, too, and has a check of its own.
        Ok(Err(EngineConfigError::Invalid { path, .. } | EngineConfigError::File { path, .. }))
            if path.ends_with("config.json") =>
        {
            let why = "not looked for, since it may be named there: see docker-config";
            return Check::skipped(GROUP, NAME, why);
        }
        Ok(Err(error)) => {
            return Check::error(GROUP, NAME, &CliError::from_chain(ErrorKind::Other, &error))
                .hint(
                    "correct the setting; another Engine than the one that is meant is never taken",
                );
        }
        Err(error) => {
            return Check::error(GROUP, NAME, &CliError::from_chain(ErrorKind::Other, &error));
        }
    };
    let engine = Engine::new(config);
    let ping = match engine.ping().await {
        Ok(ping) => ping,
        Err(EngineError::Unreachable { tried }) => return unreachable(&tried),
        Err(error) => {
            return Check::error(GROUP, NAME, &CliError::from_chain(ErrorKind::Other, &error));
        }
    };
    let check = match engine.version().await {
        Ok(version) => {
            let kind = version
                .components
                .first()
                .map_or("", |component| component.name.as_str());
            let kind = if kind.contains("Podman") {
                "Podman"
            } else {
                "Docker Engine"
            };
            Check::ok(
                GROUP,
                NAME,
                format!(
                    "{kind} {} at {} ({})",
                    version.version, ping.endpoint, ping.origin
                ),
            )
            .detail("version", version.version)
            .detail("os", version.os)
            .detail("architecture", version.arch)
        }
        Err(error) => Check::error(GROUP, NAME, &CliError::from_chain(ErrorKind::Other, &error)),
    };
    check
        .detail("endpoint", ping.endpoint)
        .detail("origin", ping.origin)
        .detail("api_version", ping.api_version.to_string())
}

/// What was tried. Of the usual places those matter that are there.
fn unreachable(tried: &[TriedEndpoint]) -> Check {
    let details: Vec<_> = tried
        .iter()
        .map(|one| json!({"origin": one.origin, "endpoint": one.endpoint, "why": one.why}))
        .collect();
    let check = match tried {
        // One place alone was named by somebody.
        [named] => Check::failed(GROUP, NAME, format!("none answers at {named}")),
        places => {
            let there = places
                .iter()
                .find(|place| !place.why.contains("no such file"));
            match there {
                Some(place) => Check::warning(GROUP, NAME, format!("none answers at {place}")),
                None => Check::warning(GROUP, NAME, "there is none in the usual places"),
            }
        }
    };
    check.hint(HINT).detail("tried", details)
}
