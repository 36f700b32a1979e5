//! What can be wrong with the command line and the directory, said before any work.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use peak_sdk::oci::{RepositoryName, Tag};
use peak_sdk::pack::FileList;
use peak_sdk::transfer::Target;

use super::ShipArguments;
use crate::arguments::PackingOptions;
use crate::commands::pack::directory_name;
use crate::error::{CliError, ErrorKind};
use crate::output::printable;
use crate::suggest::{did_you_mean, either, nearest};

/// What leaves files out where nothing else is named.
const DEFAULT_IGNORE_FILE: &str = ".dockerignore";

/// Most files that are suggested in place of a Dockerfile.
const SUGGESTIONS: usize = 3;

/// Refuses to write two images to a place that holds one: the second would replace the first.
pub(super) fn refuse_lost(targets: &[Target]) -> Result<(), CliError> {
    let mut replaced: Vec<_> = targets
        .iter()
        .filter(|target| target.is_replaced())
        .filter_map(Target::path)
        .collect();
    replaced.sort_unstable();
    match replaced.windows(2).find(|pair| pair.first() == pair.last()) {
        Some([path, ..]) => Err(CliError::usage(format!(
            "--to names the archive {} twice, and it holds one image under one name",
            path.display()
        ))
        .with_hint("name each archive once; a layout directory (oci:DIR:TAG) takes several names")),
        _ => Ok(()),
    }
}

/// The name asked for, else that of the directory where it can name an image. Which names another platform takes is for
/// that one to say.
pub(super) fn image_name(arguments: &ShipArguments) -> Result<String, CliError> {
    let (name, whose) = match &arguments.name {
        Some(name) if !arguments.local => return Ok(name.clone()),
        Some(name) => (name.clone(), "the name"),
        None => (
            directory_name(&arguments.directory)?,
            "the directory's name",
        ),
    };
    match name.parse::<RepositoryName>() {
        Ok(_) => Ok(name),
        Err(error) => Err(CliError::from_chain(ErrorKind::Usage, &error)
            .with_context(&format!(
                "{whose} `{}` cannot be that of an image",
                printable(&name)
            ))
            .with_hint("give another with --name")),
    }
}

/// Refuses a version that the embedded platform cannot name an image by. Which versions another platform takes is for that
/// one to say.
pub(super) fn version_can_be_a_tag(arguments: &ShipArguments) -> Result<(), CliError> {
    let Some(version) = arguments.version.as_deref().filter(|_| arguments.local) else {
        return Ok(());
    };
    match version.parse::<Tag>() {
        Ok(_) => Ok(()),
        Err(_) => Err(CliError::usage(format!(
            "`{}` cannot be a version: it takes up to 128 letters, digits, `.`, `_` and `-`, none of `.` and `-` first",
            printable(version)
        ))
        .with_hint("give another with --version, such as 1.0.0")),
    }
}

/// The path of the Dockerfile, which must be among the files that go up.
pub(super) fn dockerfile_among(
    arguments: &ShipArguments,
    files: &FileList,
) -> Result<String, CliError> {
    let given = arguments.dockerfile_path.as_str();
    if !is_inside(given) {
        return Err(CliError::usage(format!(
            "the Dockerfile `{}` is not below the directory",
            printable(given)
        ))
        .with_hint("--dockerfile-path is relative to DIR, without `..`"));
    }
    let wanted = normal(given);
    if let Some(file) = files
        .files
        .iter()
        .find(|file| Path::new(&file.path) == wanted)
    {
        return Ok(file.path.clone());
    }
    let (directory, wanted) = (arguments.directory.display(), wanted.display().to_string());
    if arguments.directory.join(&wanted).is_file() {
        return Err(left_out(&arguments.packing, &arguments.directory, &wanted));
    }
    let what = format!(
        "`{directory}` has no file `{}` to build from",
        printable(&wanted)
    );
    let wanted = wanted.as_str();
    let found = dockerfiles_like(wanted, files);
    let hint = if found.is_empty() {
        "add one, or name another with --dockerfile-path".to_owned()
    } else {
        format!("did you mean --dockerfile-path {}?", either(&found))
    };
    Err(CliError::new(ErrorKind::NotFound, what).with_hint(hint))
}

/// A Dockerfile that is there, and does not go up.
fn left_out(packing: &PackingOptions, directory: &Path, wanted: &str) -> CliError {
    let wanted = printable(wanted);
    let (ignore_files, last) = match packing.ignore_files.as_slice() {
        [] => (format!("`{DEFAULT_IGNORE_FILE}`"), DEFAULT_IGNORE_FILE),
        [one] => (format!("`{}`", printable(one)), one.as_str()),
        [.., last] => (
            format!("one of `{}`", printable(&packing.ignore_files.join("`, `"))),
            last.as_str(),
        ),
    };
    CliError::new(
        ErrorKind::NotFound,
        format!(
            "{ignore_files} of `{}` leaves out its `{wanted}`",
            directory.display()
        ),
    )
    .with_hint(format!(
        "put `!{wanted}` at the end of `{}`, or name another with --dockerfile-path",
        printable(last)
    ))
}

/// The files that could be meant where there is no such Dockerfile: those of nearly that name, else those that are called
/// so wherever they lie.
fn dockerfiles_like(wanted: &str, files: &FileList) -> Vec<String> {
    let paths = || files.files.iter().map(|file| file.path.as_str());
    let is_dockerfile = |path: &str| {
        let name = path.rsplit('/').next().unwrap_or(path);
        name.to_ascii_lowercase().contains("dockerfile") && !name.ends_with("ignore")
    };
    let near = nearest(wanted, paths().filter(|path| is_dockerfile(path)));
    if !near.is_empty() {
        return near;
    }
    let mut others: Vec<_> = paths().filter(|path| is_dockerfile(path)).collect();
    others.sort_unstable_by_key(|path| (path.matches('/').count(), *path));
    others.truncate(SUGGESTIONS);
    others.into_iter().map(printable).collect()
}

/// Refuses a context that none of the files that go up lies in.
pub(super) fn context_among(arguments: &ShipArguments, files: &FileList) -> Result<(), CliError> {
    let Some(context) = &arguments.context else {
        return Ok(());
    };
    if !is_inside(context) {
        return Err(CliError::usage(format!(
            "the context `{}` is not below the directory",
            printable(context)
        ))
        .with_hint("--context is relative to DIR, without `..`"));
    }
    let mut inside = files.files.iter().map(|file| Path::new(&file.path));
    let wanted = normal(context);
    if inside.any(|file| file != wanted && file.starts_with(&wanted)) {
        return Ok(());
    }
    let directories: BTreeSet<_> = files
        .files
        .iter()
        .flat_map(|file| Path::new(&file.path).ancestors().skip(1))
        .filter_map(Path::to_str)
        .collect();
    let hint = did_you_mean(context, directories)
        .unwrap_or_else(|| "--context names a directory below DIR; without it DIR is meant".into());
    Err(CliError::new(
        ErrorKind::NotFound,
        format!(
            "`{}` has no directory `{}` with files to build from",
            arguments.directory.display(),
            printable(context)
        ),
    )
    .with_hint(hint))
}

/// Whether a path leads to something below the directory it starts from.
fn is_inside(path: &str) -> bool {
    Path::new(path)
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

/// The path without `.`.
fn normal(path: &str) -> PathBuf {
    Path::new(path)
        .components()
        .filter(|part| matches!(part, Component::Normal(_)))
        .collect()
}
