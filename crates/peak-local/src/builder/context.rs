//! The files that a Docker Engine gets for a build: those of the artifact, as a tar that is written while it is sent.

use std::collections::BTreeSet;
use std::io::{self, BufWriter, Read, Write};
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use futures_util::stream;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::BuildRequest;
use super::contents::Contents;
use super::error::BuildError;
use super::layer;
use super::plan::NamedImages;
use super::stop::Stop;
use super::tree::{Content, Kind, Node, Owner, Tree};
use crate::engine::BuildContext;

/// What says which files of a context are not for `COPY`.
const IGNORE_FILE: &str = ".dockerignore";

/// The mode of files that are added here.
const FILE_MODE: u32 = 0o644;

/// How much of the tar is written at a time, in bytes, and how many such pieces may wait to be sent.
const PIECE: usize = 64 * 1024;
const WAITING_PIECES: usize = 4;

/// The Dockerfile of a build.
pub(crate) struct Dockerfile<'a> {
    pub text: &'a str,
    /// Where it stands in the context, if it does.
    pub path: Option<&'a str>,
    /// The names that its `ARG` declare without a value.
    pub declared: BTreeSet<&'a str>,
}

/// What an Engine gets.
pub(crate) struct Files {
    tree: Tree,
    contents: Contents,
    /// The path of the Dockerfile among them.
    pub dockerfile: String,
    /// The images of the embedded registry that it names.
    pub images: Vec<String>,
    /// The names of those of others.
    pub other_images: Vec<String>,
    /// The build arguments that the Dockerfile declares without a value.
    pub declared: BTreeSet<String>,
    /// What the Engine reads that is shown as something else, and as what.
    pub shown: Vec<(String, String)>,
}

/// Puts together what an Engine gets.
///
/// Images of the embedded registry are named as the Engine finds them: by address and digest. A Dockerfile that says
/// something else, or is not in the context, is added under a name of its own, which the ignore file hides from `COPY`.
pub(crate) fn prepare(
    dockerfile: &Dockerfile<'_>,
    named: NamedImages,
    request: &BuildRequest,
    tree: Tree,
    contents: Contents,
) -> Result<Files, BuildError> {
    let NamedImages { stored, others } = named;
    let mut files = Files {
        tree,
        contents,
        dockerfile: String::new(),
        images: Vec::new(),
        other_images: others,
        declared: dockerfile
            .declared
            .iter()
            .map(|name| (*name).to_owned())
            .collect(),
        shown: Vec::new(),
    };
    let host = request.registry_hosts.first().map_or("", String::as_str);
    let mut text = without_mark(dockerfile.text).to_owned();
    for image in stored.iter().rev() {
        let reference = format!("{host}/{}@{}", image.repository, image.digest);
        if text.get(image.place.clone()).is_none() {
            continue;
        }
        text.replace_range(image.place.clone(), &reference);
        if !files.images.contains(&reference) {
            files.shown.push((reference.clone(), image.shown.clone()));
            files.images.push(reference);
        }
    }
    match dockerfile.path {
        Some(path) if stored.is_empty() => path.clone_into(&mut files.dockerfile),
        _ => {
            files.dockerfile = format!(".peak-dockerfile-{}", Uuid::new_v4().simple());
            files.hide_dockerfile(request)?;
            let name = files.dockerfile.clone();
            files.add(&name, text.as_bytes())?;
        }
    }
    Ok(files)
}

/// The Dockerfile's reader leaves the mark out as well, and counts from behind it.
fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

impl Files {
    /// Lets the ignore file name the added Dockerfile, and itself where it was not there.
    fn hide_dockerfile(&mut self, request: &BuildRequest) -> Result<(), BuildError> {
        let mut text = Vec::new();
        match self.tree.get(IGNORE_FILE).map(|node| &node.kind) {
            Some(Kind::File {
                content: Content::Disk(number),
                ..
            }) => {
                let limit = request.limits.dockerfile_bytes;
                self.contents
                    .open(*number)
                    .and_then(|file| file.take(limit + 1).read_to_end(&mut text))
                    .map_err(BuildError::disk("read the ignore file"))?;
                if text.len() as u64 > limit {
                    return Err(BuildError::UnusableDockerfile {
                        path: IGNORE_FILE.to_owned(),
                        reason: "is too large".to_owned(),
                    });
                }
                text.push(b'\n');
            }
            _ => text.extend_from_slice(format!("{IGNORE_FILE}\n").as_bytes()),
        }
        // The last line that matches decides.
        text.extend_from_slice(self.dockerfile.as_bytes());
        text.push(b'\n');
        self.add(IGNORE_FILE, &text)
    }

    fn add(&mut self, path: &str, bytes: &[u8]) -> Result<(), BuildError> {
        let write = "write a file for the Docker Engine";
        let (number, mut file) = self.contents.create().map_err(BuildError::disk(write))?;
        file.write_all(bytes).map_err(BuildError::disk(write))?;
        let kind = Kind::File {
            size: bytes.len() as u64,
            content: Content::Disk(number),
        };
        let node = Node {
            kind,
            mode: FILE_MODE,
            owner: Owner::default(),
        };
        self.tree.insert(path, node);
        Ok(())
    }

    /// The tar, and the work of writing it, which ends when the tar is read to its end or dropped.
    pub(crate) fn into_tar(self, runtime: &Handle) -> (BuildContext, JoinHandle<()>) {
        let (sender, mut receiver) = mpsc::channel(WAITING_PIECES);
        let work = runtime.spawn_blocking(move || {
            let pieces = BufWriter::with_capacity(PIECE, Pieces(&sender));
            if let Err(error) = write_tar(&self.tree, &self.contents, pieces) {
                // Nobody listens any more only if nobody wants the tar.
                let _ = sender.blocking_send(Err(io::Error::other(error)));
            }
        });
        let pieces = stream::poll_fn(move |context| receiver.poll_recv(context));
        (Box::pin(pieces), work)
    }
}

fn write_tar(tree: &Tree, contents: &Contents, writer: impl Write) -> Result<(), BuildError> {
    // Whoever wants it to stop drops the reading end.
    let never = AtomicBool::new(false);
    let mut archive = tar::Builder::new(writer);
    for (path, node) in tree.iter() {
        layer::append(&mut archive, path, node, contents, Stop::new(&never))?;
    }
    archive
        .into_inner()
        .and_then(|mut writer| writer.flush())
        .map_err(BuildError::disk("write the files for the Docker Engine"))
}

/// What is written goes through a channel.
struct Pieces<'a>(&'a mpsc::Sender<io::Result<Bytes>>);

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .blocking_send(Ok(Bytes::copy_from_slice(bytes)))
            .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
