//! What the stages of a Dockerfile start from, and which of them are needed. Nothing is done here.

use std::collections::BTreeSet;
use std::ops::Range;

use peak_oci::{Digest, Platform, RepositoryName};

use super::base::Registry;
use super::dockerfile::{Action, Copy, Dockerfile, Instruction, Stage};
use super::error::{BuildError, Fault, Problem};
use super::expand::{Expander, Word};
use super::target::target_platform;

/// The name that means "nothing" after `FROM`.
const SCRATCH: &str = "scratch";

/// What a stage starts from.
pub(crate) enum Start {
    Scratch,
    Stage(usize),
    Image(Word),
}

/// A stage, and what is known about it before it is done.
pub(crate) struct PlannedStage<'a> {
    pub stage: &'a Stage,
    pub start: Start,
    pub platform: Platform,
}

/// All stages of a Dockerfile, in the order of the text.
pub(crate) struct Plan<'a> {
    stages: Vec<PlannedStage<'a>>,
}

/// The images that a Dockerfile names.
#[derive(Default)]
pub(crate) struct NamedImages {
    /// Those of the registry, in the order of the text.
    pub stored: Vec<NamedImage>,
    /// The names of others.
    pub others: Vec<String>,
}

/// An image of the registry that the Dockerfile names.
pub(crate) struct NamedImage {
    /// Where it is named in the text.
    pub place: Range<usize>,
    /// What a person may see of the name.
    pub shown: String,
    pub repository: RepositoryName,
    pub digest: Digest,
}

impl<'a> Plan<'a> {
    /// Reads what stands after each `FROM`.
    pub(crate) fn new(
        dockerfile: &'a Dockerfile,
        expander: &Expander<'_>,
    ) -> Result<Self, BuildError> {
        let all = &dockerfile.stages;
        let mut stages = Vec::new();
        for (index, stage) in all.iter().enumerate() {
            let expand = |text: &str| {
                expander
                    .word(text)
                    .map_err(|error| Problem::from(error).at(stage.line, "FROM"))
            };
            let image = expand(&stage.image)?;
            let start = if image.text == SCRATCH {
                Start::Scratch
            } else if let Some(base) = last_named(all.iter().take(index), &image.text) {
                Start::Stage(base)
            } else {
                Start::Image(image)
            };
            let platform = match &stage.platform {
                None => target_platform(),
                Some(text) => {
                    let word = expand(text)?;
                    let platform: Result<Platform, _> = word.text.parse();
                    platform.map_err(|_| {
                        let shown = word.shown();
                        Problem::malformed(format!(
                            "{shown:?} is not a platform such as linux/amd64"
                        ))
                        .at(stage.line, "FROM")
                    })?
                }
            };
            stages.push(PlannedStage {
                stage,
                start,
                platform,
            });
        }
        Ok(Self { stages })
    }

    /// The stages, each with its number.
    pub(crate) fn stages(&self) -> impl Iterator<Item = (usize, &PlannedStage<'a>)> {
        self.stages.iter().enumerate()
    }

    /// The stages that the last one needs, itself among them.
    pub(crate) fn needed(&self) -> Result<BTreeSet<usize>, BuildError> {
        let mut needed = BTreeSet::new();
        let mut open = vec![self.last()];
        while let Some(index) = open.pop() {
            let Some(planned) = self.stages.get(index) else {
                continue;
            };
            if !needed.insert(index) {
                continue;
            }
            if let Start::Stage(base) = planned.start {
                open.push(base);
            }
            for (instruction, from, _) in copies(planned.stage) {
                let source = self
                    .copy_source(index, from)
                    .map_err(|problem| problem.at(instruction.line, instruction.keyword))?;
                open.extend(source);
            }
        }
        Ok(needed)
    }

    /// The stages whose layers end up in the image: the last one and what it starts from.
    pub(crate) fn lineage(&self) -> BTreeSet<usize> {
        let mut index = self.last();
        let mut lineage = BTreeSet::from([index]);
        while let Some(Start::Stage(base)) = self.stages.get(index).map(|planned| &planned.start) {
            lineage.insert(*base);
            index = *base;
        }
        lineage
    }

    /// The stage that `COPY --from` means in the stage at `index`; `None` if it means an image.
    pub(crate) fn copy_source(&self, index: usize, from: &str) -> Result<Option<usize>, Problem> {
        let before = self.stages.iter().map(|planned| planned.stage).take(index);
        if let Some(named) = last_named(before, from) {
            return Ok(Some(named));
        }
        match from.parse::<usize>() {
            Ok(number) if number < index => Ok(Some(number)),
            Ok(_) => Err(Problem::NoStage {
                name: from.to_owned(),
            }),
            Err(_) => Ok(None),
        }
    }

    /// The images that any stage starts from or copies from.
    pub(crate) fn named_images(&self, registry: &Registry<'_>) -> Result<NamedImages, BuildError> {
        let mut named = NamedImages::default();
        let mut add = |word: &Word, place: &Range<usize>| {
            match registry.locate(word)? {
                Some((repository, digest)) => named.stored.push(NamedImage {
                    place: place.clone(),
                    shown: word.shown().to_owned(),
                    repository,
                    digest,
                }),
                None => named.others.push(word.text.clone()),
            }
            Ok::<(), Fault>(())
        };
        for (index, PlannedStage { stage, start, .. }) in self.stages() {
            if let Start::Image(word) = start {
                add(word, &stage.image_place).map_err(|fault| fault.at(stage.line, "FROM"))?;
            }
            for (instruction, from, place) in copies(stage) {
                if matches!(self.copy_source(index, from), Ok(None)) {
                    add(&Word::plain(from), place)
                        .map_err(|fault| fault.at(instruction.line, instruction.keyword))?;
                }
            }
        }
        Ok(named)
    }

    fn last(&self) -> usize {
        self.stages.len().saturating_sub(1)
    }
}

/// The instructions of a stage that copy from elsewhere, each with that name and where it stands.
fn copies(stage: &Stage) -> impl Iterator<Item = (&Instruction, &str, &Range<usize>)> {
    stage.instructions.iter().filter_map(|instruction| {
        let Action::Copy(Copy {
            from: Some(from),
            from_place,
            ..
        }) = &instruction.action
        else {
            return None;
        };
        Some((instruction, from.as_str(), from_place))
    })
}

/// The last stage of this name.
fn last_named<'a>(stages: impl Iterator<Item = &'a Stage>, name: &str) -> Option<usize> {
    let named = stages.enumerate().filter(|(_, stage)| {
        let own = stage.name.as_deref();
        own.is_some_and(|own| own.eq_ignore_ascii_case(name))
    });
    named.last().map(|(index, _)| index)
}
