//! Which files and variables are read, and whether they can be.

use peak_sdk::apolo;
use peak_sdk::http::redact;
use peak_sdk::registry::{CredentialSource, ExaminedHelper, ExaminedSource, Keychain, SourceState};
use serde_json::json;

use super::check::{Check, Group};
use crate::application::{Application, NamedBy, platform_variable, state_home};
use crate::error::{CliError, ErrorKind};

const GROUP: Group = Group::Configuration;

pub(super) async fn checks(application: &Application) -> Vec<Check> {
    let mut checks = vec![settings(application), endpoint(application)];
    let sources = Keychain::from_environment().examine().await;
    let helpers: Vec<Check> = sources.iter().flat_map(helpers).collect();
    checks.extend(sources.iter().filter_map(source));
    checks.push(state());
    checks.push(apolo_settings());
    checks.extend(helpers);
    checks
}

/// The file of `--config`. One that cannot be read ends any command before it begins.
fn settings(application: &Application) -> Check {
    match application.config_file() {
        Some(file) => Check::ok(GROUP, "settings", format!("{} is read", file.display()))
            .detail("file", file.display().to_string()),
        None => Check::ok(
            GROUP,
            "settings",
            "options and variables alone; no --config FILE",
        ),
    }
}

/// Where the platform is, and who says so.
fn endpoint(application: &Application) -> Check {
    let said_by = match (application.platform_named_by(), platform_variable()) {
        (Some(NamedBy::Options), _) => "the options".to_owned(),
        (Some(NamedBy::File(file)), _) => file.display().to_string(),
        (None, Some(variable)) => variable.to_owned(),
        (None, None) => "the default".to_owned(),
    };
    match application.session_without_token() {
        Ok(session) => {
            let url = redact::url(session.endpoint().url());
            Check::ok(GROUP, "endpoint", format!("{url}, by {said_by}"))
                .detail("url", url)
                .detail("said_by", said_by)
        }
        Err(error) => Check::error(GROUP, "endpoint", &error).detail("said_by", said_by),
    }
}

/// A source of credentials as a file; of those that are not there only the one that most have is told.
fn source(source: &ExaminedSource) -> Option<Check> {
    let name = match source.source {
        CredentialSource::Environment => "docker-auth-config",
        CredentialSource::Podman => "podman-auth",
        _ => "docker-config",
    };
    let check = match &source.state {
        SourceState::Absent if source.source != CredentialSource::Docker => return None,
        SourceState::Absent => {
            Check::ok(GROUP, name, format!("{} is not there", source.place)).detail("found", false)
        }
        SourceState::Read { entries, helpers } => {
            let entries_text = match entries {
                0 => "no credentials in it".to_owned(),
                1 => "credentials for 1 registry in it".to_owned(),
                count => format!("credentials for {count} registries in it"),
            };
            let helpers: Vec<_> = helpers.iter().map(|helper| helper.name.as_str()).collect();
            let helpers_text = match helpers.as_slice() {
                [] => String::new(),
                names => format!("; credential helpers: {}", names.join(", ")),
            };
            let finding = format!("{}: {entries_text}{helpers_text}", source.place);
            Check::ok(GROUP, name, finding)
                .detail("found", true)
                .detail("entries", *entries)
                .detail("helpers", json!(helpers))
        }
        SourceState::Failed { reason } => Check::failed(GROUP, name, reason)
            .hint("until then no credentials are taken from there")
            .detail("found", true),
        _ => Check::skipped(GROUP, name, &source.place),
    };
    Some(check.detail("place", source.place.as_str()))
}

fn helpers(source: &ExaminedSource) -> Vec<Check> {
    let SourceState::Read { helpers, .. } = &source.state else {
        return Vec::new();
    };
    helpers.iter().map(helper).collect()
}

fn helper(helper: &ExaminedHelper) -> Check {
    let program = format!("docker-credential-{}", helper.name);
    let for_whom = match helper.registries.as_slice() {
        [] => "for all registries".to_owned(),
        names => format!("for {}", names.join(", ")),
    };
    let check = match &helper.failure {
        None => Check::ok(
            Group::Credentials,
            "helper",
            format!("{program} answers; it is {for_whom}"),
        ),
        Some(reason) => Check::failed(
            Group::Credentials,
            "helper",
            format!("{reason}; it is {for_whom}"),
        )
        .hint(if helper.is_installed {
            format!("run `echo | {program} list` to see more, or take it out of the configuration")
        } else {
            format!("install {program}, or take it out of the configuration")
        }),
    };
    check
        .detail("program", program)
        .detail("registries", json!(helper.registries))
}

/// Where what has to be found again is kept.
fn state() -> Check {
    let Some(directory) = state_home().map(|base| base.join("peak")) else {
        return Check::warning(GROUP, "state", "there is no place to keep state")
            .hint("set HOME or XDG_STATE_HOME; `peak ship --local` needs one, or --state-dir");
    };
    let place = directory.display().to_string();
    let check = match std::fs::metadata(&directory) {
        Ok(metadata) if metadata.is_dir() => Check::ok(GROUP, "state", format!("{place} is there")),
        Ok(_) => Check::failed(GROUP, "state", format!("{place} is no directory"))
            .hint("move it away; the embedded platform keeps its state there"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Check::ok(GROUP, "state", format!("{place} is made when it is needed"))
        }
        Err(error) => Check::failed(GROUP, "state", format!("{place} cannot be read: {error}")),
    };
    check.detail("directory", place)
}

fn apolo_settings() -> Check {
    match apolo::Config::from_environment() {
        Ok(config) => {
            let clusters: Vec<_> = config
                .clusters()
                .iter()
                .map(|cluster| json!({"name": cluster.name(), "registry": cluster.registry()}))
                .collect();
            let default = config.clusters().default_cluster();
            let finding = format!(
                "the default cluster is {}, whose registry is {}",
                default.name(),
                default.registry()
            );
            Check::ok(GROUP, "apolo", finding).detail("clusters", clusters)
        }
        Err(apolo::ConfigError::NoRegistry) => {
            Check::skipped(GROUP, "apolo", "no registry of the Apolo platform is set")
                .hint("set APOLO_REGISTRY_URL to use `peak apolo`")
        }
        Err(error) => Check::error(
            GROUP,
            "apolo",
            &CliError::from_chain(ErrorKind::Usage, &error),
        )
        .hint("correct the variables APOLO_…, or unset them"),
    }
}
