//! `peak pack`: a directory as an artifact, or what would go into it.

use std::path::{Path, PathBuf};

use clap::Args;
use peak_sdk::images::Artifact;
use peak_sdk::pack::{
    Archive, CancelFlag, FileList, PackError, PackOptions, pack_to_file, scan, tree,
};
use serde_json::json;

use crate::application::Application;
use crate::arguments::PackingOptions;
use crate::blocking::blocking;
use crate::error::{CliError, ErrorKind};
use crate::output::{Output, counted, human_size};
use crate::paths::can_be_written;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  peak pack examples/hello-web --dry-run
  peak pack examples/hello-web --output hello-web.zip")]
pub(crate) struct PackArguments {
    /// Directory to pack
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    #[command(flatten)]
    packing: PackingOptions,
    /// Show what would go in, as a tree or as JSON, and write nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(
    application: &Application,
    arguments: PackArguments,
) -> Result<(), CliError> {
    let file = match application.output_file() {
        Some(file) => {
            can_be_written("--output", file)?;
            file.to_owned()
        }
        None => PathBuf::from(format!("{}.zip", directory_name(&arguments.directory)?)),
    };
    // An archive of an earlier run may lie in the directory.
    let options = arguments.packing.to_options().leave_out([&file]);
    if arguments.dry_run {
        let list = scan_directory(&arguments.directory, &options).await?;
        return show_files(application.output, &list);
    }
    let archive = pack_directory(&arguments.directory, &options, &file).await?;
    if archive.files.files.is_empty() {
        application.progress.warning(&format!(
            "the archive is empty: `{}` has no files, or ignore files leave out all of them",
            arguments.directory.display()
        ));
    }
    application.output.object(
        &json!({"path": file, "size": archive.size, "files": archive.files.files.len()}),
        &[
            ("path", file.display().to_string()),
            ("size", human_size(archive.size)),
            ("files", archive.files.files.len().to_string()),
        ],
    )
}

impl PackingOptions {
    pub(crate) fn to_options(&self) -> PackOptions {
        PackOptions::new().ignore_files(self.ignore_files.iter().cloned())
    }
}

/// The name of a directory, also where it is written as `.` or ends in `..`.
pub(crate) fn directory_name(directory: &Path) -> Result<String, CliError> {
    let mut name = directory.file_name().map(ToOwned::to_owned);
    if name.is_none() {
        let resolved = directory
            .canonicalize()
            .map_err(|_| PackError::DirectoryNotFound {
                path: directory.to_owned(),
            })?;
        name = resolved.file_name().map(ToOwned::to_owned);
    }
    name.and_then(|name| name.into_string().ok())
        .ok_or_else(|| {
            CliError::usage(format!("`{}` has no name to go by", directory.display()))
                .with_hint("give one with --name or --output")
        })
}

/// A directory to pack, and the ignore files to go by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PackingInput {
    pub(crate) path: PathBuf,
    pub(crate) ignore_files: Vec<String>,
}

impl PackingInput {
    pub(crate) fn to_options(&self) -> PackOptions {
        PackOptions::new().ignore_files(self.ignore_files.iter().cloned())
    }
}

/// The archive, in a directory that goes when this is dropped.
pub(crate) struct Packed {
    pub(crate) artifact: Artifact,
    pub(crate) size: u64,
    _directory: tempfile::TempDir,
}

impl Packed {
    pub(crate) async fn of(
        application: &Application,
        directory: &Path,
        options: &PackOptions,
    ) -> Result<Self, CliError> {
        let failed = |error: std::io::Error| {
            CliError::other(format!("the artifact cannot be kept on disk: {error}"))
        };
        let scratch = tempfile::Builder::new()
            .prefix("peak-ship-")
            .tempdir()
            .map_err(failed)?;
        let file = scratch.path().join("artifact.zip");
        let packing = application
            .progress
            .meter("pack", directory.display().to_string());
        let archive = packing
            .watch(pack_directory(directory, options, &file))
            .await?;
        drop(packing);
        application.progress.step(
            "pack",
            &format!(
                "{}: {}, {} packed",
                directory.display(),
                counted(archive.files.files.len(), "file"),
                human_size(archive.size)
            ),
        );
        Ok(Self {
            artifact: Artifact::file(&file).map_err(failed)?,
            size: archive.size,
            _directory: scratch,
        })
    }
}

/// Lists the files of the artifact, off the async threads. Dropping it ends the work.
pub(crate) async fn scan_directory(
    directory: &Path,
    options: &PackOptions,
) -> Result<FileList, CliError> {
    let flag = CancelFlag::new();
    let _cancel = flag.cancel_on_drop();
    let (directory, options) = (directory.to_owned(), options.clone().cancel_flag(&flag));
    Ok(blocking(move || scan(&directory, &options)).await??)
}

/// Packs the directory into a file, off the async threads. Dropping it ends the work and leaves no file.
pub(crate) async fn pack_directory(
    directory: &Path,
    options: &PackOptions,
    file: &Path,
) -> Result<Archive, CliError> {
    let flag = CancelFlag::new();
    let _cancel = flag.cancel_on_drop();
    let (directory, file) = (directory.to_owned(), file.to_owned());
    let options = options.clone().cancel_flag(&flag);
    Ok(blocking(move || pack_to_file(&directory, &options, &file)).await??)
}

/// The list of files of an artifact, as `spec/cli.md` has it.
pub(crate) fn show_files(output: Output, list: &FileList) -> Result<(), CliError> {
    output.value(&files_as_json(list), || Ok(format!("{}\n", tree(list))))
}

/// `{"files": [{"path", "size"}], "total"}`
pub(crate) fn files_as_json(list: &FileList) -> serde_json::Value {
    let files: Vec<_> = list
        .files
        .iter()
        .map(|file| json!({"path": file.path, "size": file.size}))
        .collect();
    json!({"files": files, "total": list.total()})
}

impl From<PackError> for CliError {
    fn from(error: PackError) -> Self {
        let kind = match error {
            PackError::DirectoryNotFound { .. } | PackError::IgnoreFileNotFound { .. } => {
                ErrorKind::NotFound
            }
            PackError::NotADirectory { .. }
            | PackError::IgnoreFileOutside { .. }
            | PackError::IgnorePattern { .. } => ErrorKind::Usage,
            // What the platform itself would answer with 413.
            PackError::SizeLimit { .. } => ErrorKind::Refused,
            _ => ErrorKind::Other,
        };
        let converted = Self::from_chain(kind, &error);
        match error {
            PackError::SizeLimit { .. } => {
                converted.with_hint("`peak pack DIR --dry-run` shows what goes in")
            }
            PackError::IgnoreFileNotFound { .. } => {
                converted.with_hint("name one that lies directly in it")
            }
            _ => converted,
        }
    }
}
