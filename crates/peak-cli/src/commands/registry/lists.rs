//! `peak registry tags`, `catalog` and `referrers`: lists, printed while they are walked.

use std::pin::pin;

use futures_util::{Stream, TryStreamExt as _, stream};
use peak_sdk::layout::DockerArchive;
use peak_sdk::oci::Descriptor;
use peak_sdk::registry::{Registry, RegistryError};
use peak_sdk::transfer::{Clients, Target, TargetError};
use serde_json::{Value, json};

use super::names::{parse_media_type, parse_reference, parse_source};
use crate::application::Application;
use crate::commands::transfer::open_source;
use crate::error::{CliError, ErrorKind};
use crate::output::{Output, human_size, printable, shown, table, to_yaml, write_out};

/// The tags of a repository, or of a place on disk; of a Docker archive the names, which it has instead.
pub(crate) async fn tags(
    application: &Application,
    registry: &Registry,
    repository: &str,
) -> Result<(), CliError> {
    if repository.starts_with("docker-daemon:") {
        return Err(CliError::usage(
            "a Docker Engine has images by name, and no repositories with tags",
        )
        .with_hint("`docker image ls NAME` lists the tags of a name"));
    }
    let target = parse_source(repository)?;
    refuse_one_image(&target)?;
    if let Target::DockerArchive { path, .. } = &target {
        let all = DockerArchive::all_names(path).map_err(TargetError::Layout)?;
        let nothing = format!("{target} has no image with a name");
        return names(application, stream::iter(all.into_iter().map(Ok)), &nothing).await;
    }
    let (source, _) = open_source(&target, &Clients::from(registry))?;
    let tags = source.tags().map_ok(|tag| tag.to_string());
    let place = shown(repository);
    names(
        application,
        tags.map_err(CliError::from),
        &format!("{place} has no tags"),
    )
    .await
}

/// A tag behind the name would be ignored, and who writes it means to ask for it.
fn refuse_one_image(target: &Target) -> Result<(), CliError> {
    let names_one = match target {
        Target::Registry(reference) => reference.selector().is_some(),
        Target::Layout { selector, .. } | Target::OciArchive { selector, .. } => selector.is_some(),
        Target::DockerArchive { reference, .. } => reference.is_some(),
        _ => false,
    };
    if names_one {
        return Err(CliError::usage(format!(
            "{target} names one image, and tags are listed of all"
        ))
        .with_hint("leave out the tag; `peak registry digest` says whether one is there"));
    }
    Ok(())
}

/// The repositories of a registry.
pub(crate) async fn catalog(
    application: &Application,
    registry: &Registry,
    host: &str,
) -> Result<(), CliError> {
    let repositories = registry.catalog(host).map_ok(|name| name.to_string());
    let repositories = repositories.map_err(|error| match error {
        // Here it is the list itself that is not there.
        RegistryError::RepositoryNotFound { .. } => CliError::new(
            ErrorKind::NotFound,
            format!("{host} does not list its repositories"),
        )
        .with_status(error.status().map(|status| status.as_u16()))
        .with_url(error.url().map(str::to_owned))
        .with_hint(format!(
            "many registries do not; `peak registry tags {host}/REPOSITORY` lists the tags of one"
        )),
        error => error.into(),
    });
    names(
        application,
        repositories,
        &format!("{host} has no repositories"),
    )
    .await
}

/// A name a line, or a list of texts; none is kept. Where there is none, a person is told so.
async fn names(
    application: &Application,
    names: impl Stream<Item = Result<String, CliError>>,
    nothing: &str,
) -> Result<(), CliError> {
    let mut names = pin!(names);
    let output = application.asked_output.unwrap_or(Output::Table);
    let mut text = String::new();
    if output == Output::Json {
        text.push('[');
    }
    let mut count = 0_u64;
    while let Some(name) = names.try_next().await? {
        match output {
            Output::Table => text.extend([&printable(&name), "\n"]),
            Output::Yaml => text.extend(["- ", &to_yaml(&name)?]),
            Output::Json => {
                let comma = if count == 0 { "\n  " } else { ",\n  " };
                text.extend([comma, &Value::from(name).to_string()]);
            }
        }
        count += 1;
        if text.len() > 16 * 1024 {
            write_out(&text)?;
            text.clear();
        }
    }
    match output {
        Output::Json => text.push_str(if count == 0 { "]\n" } else { "\n]\n" }),
        Output::Yaml if count == 0 => text.push_str("[]\n"),
        Output::Table if count == 0 => application.progress.note(nothing),
        _ => {}
    }
    write_out(text)
}

/// What refers to an image.
pub(crate) async fn referrers(
    application: &Application,
    registry: &Registry,
    reference: &str,
    artifact_type: Option<&str>,
) -> Result<(), CliError> {
    let reference = parse_reference(reference)?;
    let wanted = artifact_type.map(parse_media_type).transpose()?;
    let repository = registry.repository(&reference);
    let subject = match reference.digest() {
        Some(digest) => digest.clone(),
        None => {
            repository
                .get_manifest_digest(&reference.selector_or_latest())
                .await?
        }
    };
    let found: Vec<Descriptor> = repository
        .referrers(&subject, wanted.as_ref())
        .try_collect()
        .await?;
    if found.is_empty() && application.output == Output::Table {
        let what = match &wanted {
            Some(kind) => format!("nothing of type {kind} refers to {subject}"),
            None => format!("nothing refers to {subject}"),
        };
        application.progress.note(&what);
        return Ok(());
    }
    let rows = found
        .iter()
        .map(|entry| {
            let kind = entry.artifact_type.as_ref().unwrap_or(&entry.media_type);
            vec![
                entry.digest.to_string(),
                kind.to_string(),
                human_size(entry.size),
            ]
        })
        .collect();
    application.output.value(
        &json!({"subject": subject.to_string(), "referrers": found}),
        || Ok(table(&["digest", "artifact type", "size"], rows)),
    )
}
