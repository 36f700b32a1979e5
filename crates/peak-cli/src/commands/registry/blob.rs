//! `peak registry blob`: blobs by their digest.

use std::io::{Seek as _, Write as _};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use peak_sdk::oci::{ContentError, ContentErrorKind, Descriptor, MediaType, stream_verified};
use peak_sdk::registry::Registry;
use serde_json::json;

use super::names::parse_reference;
use crate::application::Application;
use crate::error::{CliError, ErrorKind, tidy};
use crate::output::{human_size, printable};

/// Larger blobs go with the images they belong to.
const PUT_LIMIT: u64 = 64 * 1024 * 1024;

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Example:
  peak registry blob put 127.0.0.1:7325/hello-web config.json")]
pub(crate) enum BlobCommand {
    /// Write a blob to standard output or, with --output FILE, into a file, once it is verified
    #[command(after_help = "\
Example:
  peak registry blob get 127.0.0.1:7325/hello-web@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 --output layer.tar.gz")]
    Get {
        /// Repository and digest
        #[arg(value_name = "REPO@DIGEST")]
        reference: String,
    },
    /// Send a small file as a blob; print its digest
    #[command(after_help = "\
Example:
  peak registry blob put 127.0.0.1:7325/hello-web config.json")]
    Put {
        /// Repository
        #[arg(value_name = "REPO")]
        repository: String,
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

pub(crate) async fn run(
    application: &Application,
    registry: &Registry,
    command: BlobCommand,
) -> Result<(), CliError> {
    match command {
        BlobCommand::Get { reference } => get(application, registry, &reference).await,
        BlobCommand::Put { repository, file } => {
            let reference = parse_reference(&repository)?;
            let failed = |error: std::io::Error| CliError::unreadable(&file, &error);
            let about = tokio::fs::metadata(&file).await.map_err(failed)?;
            if !about.is_file() {
                return Err(CliError::usage(format!(
                    "`{}` is not a regular file",
                    printable(&file.display().to_string())
                ))
                .with_hint("name a file; its size has to be known"));
            }
            let size = about.len();
            if size > PUT_LIMIT {
                return Err(CliError::usage(format!(
                    "`{}` has {}; this command sends at most {}",
                    file.display(),
                    human_size(size),
                    human_size(PUT_LIMIT)
                ))
                .with_hint("a layer goes with its image"));
            }
            let bytes = tokio::fs::read(&file).await.map_err(failed)?;
            let digest = registry
                .repository(&reference)
                .put_blob(bytes.into())
                .await?;
            application.output.object(
                &json!({"digest": digest.to_string(), "size": size}),
                &[("digest", digest.to_string()), ("size", human_size(size))],
            )
        }
    }
}

/// Streams the blob into a file beside the target, or into one that is then printed: unverified bytes reach nobody.
async fn get(
    application: &Application,
    registry: &Registry,
    reference: &str,
) -> Result<(), CliError> {
    let reference = parse_reference(reference)?;
    let digest = reference.digest().ok_or_else(|| {
        CliError::usage(format!("`{reference}` has no digest")).with_hint(
            "write it as REPO@DIGEST; `peak registry inspect --output json` lists the digests of an image",
        )
    })?;
    let repository = registry.repository(&reference);
    let size = repository.get_blob_size(digest).await?.ok_or_else(|| {
        CliError::new(
            ErrorKind::NotFound,
            format!("{repository} has no blob {digest}"),
        )
        .with_hint("a manifest is read by `peak registry manifest get`")
    })?;
    let failed = |error: std::io::Error| {
        CliError::other(format!(
            "the blob cannot be kept on disk: {}",
            tidy(&error.to_string())
        ))
    };
    let output = application.output_file();
    // A device is written to: a file that took its place would be the end of `/dev/null`.
    let is_device = |file: &&Path| std::fs::metadata(file).is_ok_and(|there| !there.is_file());
    let device = output.filter(is_device);
    let target = output.filter(|_| device.is_none());
    if let Some(directory) = device.filter(|path| path.is_dir()) {
        let shown = printable(&directory.display().to_string());
        return Err(CliError::usage(format!("`{shown}` is a directory"))
            .with_hint("name a file to write to"));
    }
    let directory = match target.map(|file| file.parent()) {
        Some(Some(parent)) if !parent.as_os_str().is_empty() => parent.to_owned(),
        Some(_) => PathBuf::from("."),
        None => std::env::temp_dir(),
    };
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(failed)?;
    let descriptor = Descriptor::new(MediaType::OCI_EMPTY, digest.clone(), size);
    let meter = application.progress.meter("blob", digest.to_string());
    meter.expect_more(size);
    let kept = |error: std::io::Error| {
        ContentError::new(ContentErrorKind::Storage, "the blob cannot be kept on disk")
            .with_source(error)
    };
    let read = stream_verified(&repository, &descriptor, |piece| {
        file.write_all(piece).map_err(kept)?;
        meter.moved(piece.len() as u64);
        Ok(())
    });
    read.await.map_err(|error| match error.kind() {
        ContentErrorKind::Integrity => CliError::from(error)
            .with_context(&format!("{repository} sent other content than {digest}")),
        _ => CliError::from(error),
    })?;
    drop(meter);
    if let Some(target) = target {
        file.as_file().sync_all().map_err(failed)?;
        file.persist(target).map_err(|error| failed(error.error))?;
        return Ok(());
    }
    file.as_file_mut().rewind().map_err(failed)?;
    if let Some(device) = device {
        let copied = std::fs::File::options()
            .write(true)
            .open(device)
            .and_then(|mut device| std::io::copy(file.as_file_mut(), &mut device));
        return copied.map(drop).map_err(failed);
    }
    let mut stdout = std::io::stdout().lock();
    match std::io::copy(file.as_file_mut(), &mut stdout).and_then(|_| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(CliError::other(
            format!("standard output cannot be written: {error}"),
        )),
        _ => Ok(()),
    }
}
