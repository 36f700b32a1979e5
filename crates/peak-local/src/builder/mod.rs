//! The embedded builder: from an uploaded artifact and a Dockerfile to an image in the embedded
//! registry, without a Docker Engine where it can be done without one.
//!
//! It does what needs no running container: `FROM` nothing, an earlier stage or an image of the
//! embedded registry, `COPY` and `ADD` of files, and everything that sets metadata. `RUN` is
//! refused before anything else is done. Where an Engine is plugged in, builds go there that were refused for something
//! that an Engine may be able to do ([`BuildError::an_engine_may_help`]): so there is one rule of what needs an Engine,
//! and it is what the builder itself does.
//!
//! The result of what is built here depends on the artifact, the Dockerfile, the build arguments and the base images
//! alone: the same input gives the same digests on every machine and at any time. Nothing of a
//! build is visible in the registry before all of it is done; the tag is set last.
//!
//! | module | what |
//! |---|---|
//! | `unpack` | the uploaded zip becomes a `tree` in memory and `contents` on disk |
//! | `dockerfile`, `words` | reading the Dockerfile |
//! | `expand` | variables and quotes |
//! | `arguments`, `target` | the values of `ARG`, those of the platform among them |
//! | `plan` | what stages start from, and which are needed |
//! | `stage` | doing their instructions |
//! | `copy`, `pattern` | the rules of `COPY` and `ADD` |
//! | `extract` | the archives of `ADD` |
//! | `base` | images of the registry that stages start from or copy from |
//! | `stored_layers`, `tarball` | the files in their layers |
//! | `layer` | writing a layer |
//! | `image` | metadata, history, config and manifest |
//! | `engine`, `context` | builds on a Docker Engine, and the files that it gets for them |

mod arguments;
mod base;
mod contents;
mod context;
mod copy;
mod dockerfile;
mod engine;
mod error;
mod expand;
mod extract;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod image;
mod layer;
mod limits;
mod path;
mod pattern;
mod plan;
mod stage;
mod stop;
mod stored_layers;
mod tarball;
mod target;
#[cfg(test)]
mod tests;
mod tree;
mod unpack;
mod unpack_error;
mod words;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use peak_oci::{Digest, RepositoryName, Selector, Tag};
use peak_registry_server::{Repository, Store};

use base::Registry;
use contents::Contents;
use dockerfile::Dockerfile;
pub(crate) use engine::EngineLink;
pub(crate) use error::BuildError;
use image::Origin;
pub(crate) use limits::Limits;
use stage::{Built, Workshop};
use stop::Stop;
use tree::{Content, Kind, Tree};

use crate::engine::EngineUse;

/// What to build. It holds the values of build arguments, so it has no `Debug`.
pub(crate) struct BuildRequest {
    /// The uploaded zip; without one there are no files to copy.
    pub archive: Option<PathBuf>,
    /// Where the Dockerfile is.
    pub dockerfile: DockerfileSource,
    /// The directory of the artifact that `COPY` starts from; its root if not given.
    pub context: Option<String>,
    /// Values for `ARG`; of several for one name the last counts. Never shown.
    pub build_arguments: Vec<(String, String)>,
    /// Where the image goes.
    pub repository: RepositoryName,
    /// The tag that it gets.
    pub tag: Tag,
    /// A directory for temporary work, made if it is not there and removed at the end.
    pub scratch: PathBuf,
    /// The names under which the embedded registry is known, `127.0.0.1:4321`; the first is how others reach it.
    pub registry_hosts: Vec<String>,
    /// The Docker Engine for what is not done here, if there may be one.
    pub engine: Option<EngineLink>,
    /// How much the build may take.
    pub limits: Limits,
}

/// Where a Dockerfile is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DockerfileSource {
    /// In the artifact, seen from its root.
    Path(String),
    /// Here.
    Text(String),
}

/// An image that was built and tagged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BuiltImage {
    /// Of the manifest.
    pub digest: Digest,
    /// Config, layers (those of the base image too) and manifest together, in bytes.
    pub size: u64,
}

/// Builds an image and puts it into the store. Blocks; `log` gets lines while it works, and
/// setting `cancelled` ends it soon.
///
/// # Errors
///
/// [`BuildError`]. Nothing of the build is visible then, unless the store itself failed while it
/// took the finished image in, and the tag points to what it pointed to before.
pub(crate) fn build(
    request: &BuildRequest,
    store: &Store,
    log: &mut dyn FnMut(&str),
    cancelled: &AtomicBool,
) -> Result<BuiltImage, BuildError> {
    let stop = Stop::new(cancelled);
    stop.check()?;
    let scratch = Scratch::create(&request.scratch)?;
    let mut contents = Contents::new(scratch.path());
    let limits = &request.limits;
    let artifact = match &request.archive {
        Some(archive) => {
            let artifact = unpack::unpack(archive, &mut contents, limits, stop)?;
            log(&summary(&artifact));
            artifact
        }
        None => Tree::default(),
    };
    let (text, dockerfile_path) =
        dockerfile_text(&request.dockerfile, &artifact, &contents, limits)?;
    let dockerfile = Dockerfile::parse(&text, limits)?;
    let (context, context_path) = context(request.context.as_deref(), artifact)?;
    let bench = Bench {
        request,
        store,
        dockerfile: &dockerfile,
        context: &context,
        stop,
    };
    let refusal = match &request.engine {
        Some(engine) if engine.when == EngineUse::Always => BuildError::EngineWanted,
        _ => match bench.workshop(&mut contents, log).run() {
            Ok(built) => {
                stop.check()?;
                let repository = store.repository(&request.repository);
                let image = publish(built, &repository, &request.tag)?;
                log_pushed(request, &image, log);
                return Ok(image);
            }
            Err(error) if error.an_engine_may_help() => error,
            Err(error) => return Err(error),
        },
    };
    let Some(engine) = &request.engine else {
        let refusal = Box::new(refusal);
        return Err(BuildError::EngineForbidden { refusal });
    };
    let run = engine.connect(refusal, stop, log)?;
    let images = bench.workshop(&mut contents, log).named_images()?;
    let dockerfile = context::Dockerfile {
        declared: dockerfile.declared(),
        text: &text,
        path: dockerfile_path
            .as_deref()
            .and_then(|path| below(&context_path, path)),
    };
    let files = context::prepare(&dockerfile, images, request, context, contents)?;
    let image = engine.build(run, files, request, store, stop, log)?;
    log_pushed(request, &image, log);
    Ok(image)
}

/// What a build works on, before anything is done.
struct Bench<'a> {
    request: &'a BuildRequest,
    store: &'a Store,
    dockerfile: &'a Dockerfile,
    context: &'a Tree,
    stop: Stop<'a>,
}

impl<'a> Bench<'a> {
    fn workshop<'b>(
        &'b self,
        contents: &'b mut Contents,
        log: &'b mut dyn FnMut(&str),
    ) -> Workshop<'b>
    where
        'a: 'b,
    {
        Workshop {
            dockerfile: self.dockerfile,
            context: self.context,
            build_arguments: &self.request.build_arguments,
            registry: Registry {
                store: self.store,
                hosts: &self.request.registry_hosts,
            },
            repository: self.store.repository(&self.request.repository),
            contents,
            limits: &self.request.limits,
            stop: self.stop,
            log,
        }
    }
}

fn log_pushed(request: &BuildRequest, image: &BuiltImage, log: &mut dyn FnMut(&str)) {
    log(&format!(
        "pushed {}:{} {}",
        request.repository, request.tag, image.digest
    ));
}

/// The path seen from a directory, if it is below it.
fn below<'a>(directory: &str, path: &'a str) -> Option<&'a str> {
    if directory.is_empty() {
        return Some(path);
    }
    path.strip_prefix(directory)?.strip_prefix('/')
}

/// The directory for temporary work; goes away with this.
struct Scratch<'a>(&'a Path);

impl<'a> Scratch<'a> {
    fn create(path: &'a Path) -> Result<Self, BuildError> {
        fs::create_dir_all(path)
            .map_err(BuildError::disk("create the directory for temporary work"))?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        self.0
    }
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        // Nobody is left to tell.
        let _ = fs::remove_dir_all(self.0);
    }
}

fn summary(artifact: &Tree) -> String {
    let (mut files, mut bytes) = (0_u64, 0_u64);
    for (_, node) in artifact.iter() {
        if let Kind::File { size, .. } = &node.kind {
            files += 1;
            bytes += size;
        }
    }
    let noun = if files == 1 { "file" } else { "files" };
    format!("unpacked {files} {noun}, {}", human_size(bytes))
}

/// The text of the Dockerfile, and where it stands in the artifact if it does.
fn dockerfile_text(
    source: &DockerfileSource,
    artifact: &Tree,
    contents: &Contents,
    limits: &Limits,
) -> Result<(String, Option<String>), BuildError> {
    let path = match source {
        DockerfileSource::Text(text) => {
            let unusable = |reason| unusable_dockerfile("Dockerfile", reason);
            if text.len() as u64 > limits.dockerfile_bytes {
                return Err(unusable(TOO_LARGE));
            }
            return Ok((text.clone(), None));
        }
        DockerfileSource::Path(path) => path,
    };
    let missing = || BuildError::NoDockerfile {
        path: path.clone(),
        seen: dockerfiles(artifact),
    };
    let place = path::resolve("", path.trim_start_matches('/'))
        .ok()
        .and_then(|place| artifact.follow(&place).ok())
        .ok_or_else(missing)?;
    let Some(Kind::File {
        content: Content::Disk(number),
        ..
    }) = artifact.get(&place).map(|node| &node.kind)
    else {
        return Err(missing());
    };
    let mut bytes = Vec::new();
    contents
        .open(*number)
        .and_then(|file| {
            file.take(limits.dockerfile_bytes + 1)
                .read_to_end(&mut bytes)
        })
        .map_err(BuildError::disk("read the Dockerfile"))?;
    if bytes.len() as u64 > limits.dockerfile_bytes {
        return Err(unusable_dockerfile(path, TOO_LARGE));
    }
    match String::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok((text, Some(place))),
        _ => Err(unusable_dockerfile(path, "is not a text in UTF-8")),
    }
}

const TOO_LARGE: &str = "is too large";

fn unusable_dockerfile(path: &str, reason: &str) -> BuildError {
    BuildError::UnusableDockerfile {
        path: path.to_owned(),
        reason: reason.to_owned(),
    }
}

/// Files that look like Dockerfiles: `Dockerfile`, `Dockerfile.x`, `x.Dockerfile`.
fn dockerfiles(artifact: &Tree) -> Vec<String> {
    let looks_like_one = |path: &str| {
        let name = path::name(path).to_ascii_lowercase();
        name == "containerfile"
            || name == "dockerfile"
            || name.starts_with("dockerfile.") && name != "dockerfile.dockerignore"
            || name.ends_with(".dockerfile")
    };
    artifact
        .iter()
        .filter(|(path, node)| !node.is_directory() && looks_like_one(path))
        .map(|(path, _)| path.to_owned())
        .collect()
}

/// The part of the artifact that files are copied from, and where it stands there.
fn context(given: Option<&str>, artifact: Tree) -> Result<(Tree, String), BuildError> {
    let Some(given) = given else {
        return Ok((artifact, String::new()));
    };
    let missing = || BuildError::NoContext {
        path: given.to_owned(),
    };
    let path = path::resolve("", given.trim_start_matches('/'))
        .ok()
        .and_then(|path| artifact.follow(&path).ok())
        .ok_or_else(missing)?;
    if path.is_empty() {
        Ok((artifact, path))
    } else if artifact.is_directory(&path) {
        Ok((artifact.subtree(&path), path))
    } else {
        Err(missing())
    }
}

/// Makes a finished image part of its repository: layers, config, manifest, and with it the tag.
fn publish(built: Built, repository: &Repository, tag: &Tag) -> Result<BuiltImage, BuildError> {
    let Built {
        image,
        layers: written,
    } = built;
    let config = image.config()?;
    let manifest = image.manifest(&config)?;
    for layer in written {
        layer.publish()?;
    }
    for layer in &image.layers {
        if let Origin::Stored(base) = &layer.origin {
            // If it went away meanwhile, the manifest is refused.
            repository
                .link_blob_from(base, &layer.descriptor.digest)
                .map_err(BuildError::store("take a layer of the base image into"))?;
        }
    }
    let store = BuildError::store;
    let mut upload = repository
        .new_upload()
        .map_err(store("write the config to"))?;
    upload
        .write(config.bytes())
        .map_err(store("write the config to"))?;
    upload
        .finish(config.digest())
        .map_err(store("write the config to"))?;
    let layers: u64 = image.layers.iter().map(|layer| layer.descriptor.size).sum();
    let size = layers + config.size() + manifest.size();
    let content_type = manifest.media_type().to_string();
    let stored = repository
        .put_manifest(
            &Selector::Tag(tag.clone()),
            Some(&content_type),
            manifest.bytes().clone(),
        )
        .map_err(store("write the manifest to"))?;
    Ok(BuiltImage {
        digest: stored.digest().clone(),
        size,
    })
}

/// A size for people: `1.2 kB`.
pub(super) fn human_size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut unit = UNITS[0];
    let mut tenths = bytes / 100;
    for next in UNITS.into_iter().skip(1) {
        if tenths < 10_000 {
            break;
        }
        tenths /= 1000;
        unit = next;
    }
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}
