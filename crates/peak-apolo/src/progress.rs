//! What a push or pull tells while it works.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use peak_docker::EngineEvent;
use peak_oci::Digest;
use peak_transfer::Event;

use crate::{LocalImage, RemoteImage};

/// How much of an identifier is shown, in characters: what Docker shows of layers.
const SHORT: usize = 12;

/// A transfer without an Engine tells of a blob each time that so much more of it is there, in bytes; of large blobs when
/// another hundredth is.
const STEP: u64 = 1024 * 1024;

/// Listens to a push or pull: once to [`push`](Self::push) or [`pull`](Self::pull), then to each [`step`](Self::step).
///
/// It is called from within the operation, so it should be quick and must not block.
pub trait ImageProgress: Send + Sync {
    /// A pull begins.
    fn pull(&self, data: &ImageProgressPull);

    /// A push begins.
    fn push(&self, data: &ImageProgressPush);

    /// Something has become of a layer.
    fn step(&self, data: &ImageProgressStep);
}

/// A pull.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImageProgressPull {
    /// What is pulled.
    pub src: RemoteImage,
    /// What it is called here; for a place on disk, that place as the name.
    pub dst: LocalImage,
}

/// A push.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImageProgressPush {
    /// What is pushed; for a place on disk, that place as the name.
    pub src: LocalImage,
    /// What it is called in the registry.
    pub dst: RemoteImage,
}

/// Something that has become of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImageProgressStep {
    /// The layer: the first characters of the digest. Without an Engine also the image's configuration is one.
    pub layer_id: String,
    /// `ID: STATUS PROGRESS`, without the last part where there is none.
    pub message: String,
    /// What is done with it: `Pushing`, `Layer already exists`.
    pub status: String,
    /// How much is done, in bytes, where that is counted.
    pub current: Option<u64>,
    /// How much there is to do, in bytes, where that is known.
    pub total: Option<u64>,
}

impl ImageProgressStep {
    fn new(
        layer_id: String,
        status: String,
        progress: Option<&str>,
        current: Option<u64>,
        total: Option<u64>,
    ) -> Self {
        let message = match progress {
            Some(progress) => format!("{layer_id}: {status} {progress}"),
            None => format!("{layer_id}: {status}"),
        };
        Self {
            layer_id,
            message,
            status,
            current,
            total,
        }
    }

    /// What a message of the Engine says of a layer; `None` where it is about the tag, or the image as a whole.
    pub(crate) fn of_engine(event: EngineEvent, tag: &str) -> Option<Self> {
        let layer_id = event.id.filter(|id| id != tag)?;
        let detail = event.detail.unwrap_or_default();
        Some(Self::new(
            layer_id,
            event.status?,
            event.progress.as_deref(),
            detail.current,
            detail.total,
        ))
    }
}

/// Which way blobs go, which is what their steps are called after.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    Push,
    Pull,
}

impl Way {
    fn moving(self) -> &'static str {
        match self {
            Self::Push => "Pushing",
            Self::Pull => "Downloading",
        }
    }

    fn done(self) -> &'static str {
        match self {
            Self::Push => "Pushed",
            Self::Pull => "Pull complete",
        }
    }

    fn there(self) -> &'static str {
        match self {
            Self::Push => "Layer already exists",
            Self::Pull => "Already exists",
        }
    }
}

/// Makes steps of what a transfer without an Engine tells, by the words of the Engine.
#[derive(Debug)]
pub(crate) struct Steps {
    way: Way,
    moving: Mutex<BTreeMap<Digest, Moving>>,
}

#[derive(Debug)]
struct Moving {
    done: u64,
    /// How much was done when it was told last.
    told: u64,
    size: u64,
}

impl Steps {
    pub(crate) fn new(way: Way) -> Self {
        Self {
            way,
            moving: Mutex::default(),
        }
    }

    /// The step that an event is, if it is worth one.
    pub(crate) fn step(&self, event: &Event) -> Option<ImageProgressStep> {
        let mut moving = self.moving.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Started {
                digest,
                size,
                offset,
            } => {
                let blob = Moving {
                    done: *offset,
                    told: *offset,
                    size: *size,
                };
                let step = self.so_far(digest, &blob);
                moving.insert(digest.clone(), blob);
                Some(step)
            }
            Event::Bytes { digest, count } => {
                let blob = moving.get_mut(digest)?;
                blob.done = blob.done.saturating_add(*count).min(blob.size);
                if blob.done - blob.told.min(blob.done) < STEP.max(blob.size / 100) {
                    return None;
                }
                blob.told = blob.done;
                Some(self.so_far(digest, blob))
            }
            Event::Retried { digest, offset } => {
                let blob = moving.get_mut(digest)?;
                blob.done = *offset;
                blob.told = *offset;
                Some(self.so_far(digest, blob))
            }
            Event::Finished { digest, size } => {
                moving.remove(digest);
                Some(whole(digest, self.way.done(), *size))
            }
            Event::Skipped { digest, size } => Some(whole(digest, self.way.there(), *size)),
            Event::Mounted { digest, size } => {
                moving.remove(digest);
                Some(whole(digest, "Mounted", *size))
            }
            _ => None,
        }
    }

    fn so_far(&self, digest: &Digest, blob: &Moving) -> ImageProgressStep {
        let progress = format!("{}/{} B", blob.done, blob.size);
        ImageProgressStep::new(
            short(digest),
            self.way.moving().to_owned(),
            Some(&progress),
            Some(blob.done),
            Some(blob.size),
        )
    }
}

fn whole(digest: &Digest, status: &str, size: u64) -> ImageProgressStep {
    ImageProgressStep::new(
        short(digest),
        status.to_owned(),
        None,
        Some(size),
        Some(size),
    )
}

fn short(digest: &Digest) -> String {
    let text = digest.to_string();
    let hex = text.split_once(':').map_or(text.as_str(), |(_, hex)| hex);
    hex.chars().take(SHORT).collect()
}

#[cfg(test)]
mod tests {
    use peak_docker::ProgressDetail;

    use super::*;

    fn event(id: Option<&str>, status: Option<&str>, progress: Option<&str>) -> EngineEvent {
        let mut event = EngineEvent::default();
        event.id = id.map(str::to_owned);
        event.status = status.map(str::to_owned);
        event.progress = progress.map(str::to_owned);
        event
    }

    #[test]
    fn messages_of_the_engine_about_layers_are_steps() {
        let bar = "[==>      ]  2B/9B";
        let mut pushing = event(Some("0123456789ab"), Some("Pushing"), Some(bar));
        let mut detail = ProgressDetail::default();
        detail.current = Some(2);
        detail.total = Some(9);
        pushing.detail = Some(detail);
        let step = ImageProgressStep::of_engine(pushing, "v1").unwrap();
        assert_eq!(step.message, format!("0123456789ab: Pushing {bar}"));
        assert_eq!(step.layer_id, "0123456789ab");
        assert_eq!(step.status, "Pushing");
        assert_eq!((step.current, step.total), (Some(2), Some(9)));

        let waiting = event(Some("0123456789ab"), Some("Waiting"), None);
        let step = ImageProgressStep::of_engine(waiting, "v1").unwrap();
        assert_eq!(step.message, "0123456789ab: Waiting");
        assert_eq!((step.current, step.total), (None, None));
    }

    #[test]
    fn messages_about_the_tag_and_the_whole_are_no_steps() {
        for other in [
            event(Some("v1"), Some("Pulling from acme/proj/app"), None),
            event(None, Some("Digest: sha256:00"), None),
            event(Some("0123456789ab"), None, None),
        ] {
            assert_eq!(ImageProgressStep::of_engine(other, "v1"), None);
        }
    }

    #[test]
    fn a_transfer_tells_each_blob_from_its_beginning_to_its_end() {
        let steps = Steps::new(Way::Push);
        let digest = Digest::sha256_of(b"a layer");
        let size = 10 * STEP;
        let mut messages = Vec::new();
        let mut tell = |event: Event| messages.extend(steps.step(&event).map(|step| step.message));
        tell(Event::Started {
            digest: digest.clone(),
            size,
            offset: 0,
        });
        for _ in 0..STEP / 64 {
            let digest = digest.clone();
            tell(Event::Bytes { digest, count: 96 });
        }
        tell(Event::Retried {
            digest: digest.clone(),
            offset: 5,
        });
        tell(Event::Finished {
            digest: digest.clone(),
            size,
        });
        tell(Event::Skipped {
            digest: digest.clone(),
            size,
        });
        let id = short(&digest);
        assert_eq!(id.len(), SHORT);
        assert_eq!(
            messages,
            [
                format!("{id}: Pushing 0/{size} B"),
                format!("{id}: Pushing {}/{size} B", STEP.div_ceil(96) * 96),
                format!("{id}: Pushing 5/{size} B"),
                format!("{id}: Pushed"),
                format!("{id}: Layer already exists"),
            ]
        );
    }
}
