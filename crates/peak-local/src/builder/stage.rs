//! Doing the instructions of the stages that are needed.

use std::collections::BTreeMap;

use peak_oci::{Descriptor, MediaType};
use peak_registry_server::Repository;

use super::arguments::{Arguments, Scope};
use super::base::Registry;
use super::contents::Contents;
use super::copy::{self, Changes, Placement};
use super::dockerfile::{Action, Copy, Dockerfile, Instruction, Stage};
use super::error::{BuildError, Fault, Problem};
use super::expand::{Budget, Expander, Value, Word};
use super::extract::{Extracted, Extractor};
use super::human_size;
use super::image::{Image, Layer, Origin};
use super::layer::{self, PendingLayer};
use super::limits::Limits;
use super::plan::{NamedImages, Plan, PlannedStage, Start};
use super::stop::Stop;
use super::stored_layers::{StoredLayer, StoredLayers};
use super::target::target_platform;
use super::tree::Tree;

/// What the stages of one build share.
pub(crate) struct Workshop<'a> {
    pub dockerfile: &'a Dockerfile,
    pub context: &'a Tree,
    pub build_arguments: &'a [(String, String)],
    pub registry: Registry<'a>,
    pub repository: Repository,
    pub contents: &'a mut Contents,
    pub limits: &'a Limits,
    pub stop: Stop<'a>,
    pub log: &'a mut dyn FnMut(&str),
}

/// What was built: the image, and its layers that are not yet part of the repository.
pub(crate) struct Built {
    pub image: Image,
    pub layers: Vec<PendingLayer>,
}

/// A stage while it is done, and after.
struct State {
    image: Image,
    arguments: BTreeMap<String, Value>,
    /// `None` while nobody has looked into the base image.
    tree: Option<Tree>,
    /// Something of the working directory came from a build argument.
    private_directory: bool,
}

impl State {
    fn load_tree(
        &mut self,
        stored: &mut StoredLayers<'_>,
        stop: Stop<'_>,
    ) -> Result<&mut Tree, BuildError> {
        if self.tree.is_none() {
            self.tree = Some(stored.tree(&stored_layers(&self.image), stop)?);
        }
        Ok(self.tree.get_or_insert_default())
    }
}

fn stored_layers(image: &Image) -> Vec<StoredLayer> {
    let stored = |layer: &Layer| match &layer.origin {
        Origin::Stored(repository) => Some(StoredLayer {
            repository: repository.clone(),
            digest: layer.descriptor.digest.clone(),
        }),
        // Layers are written only after the tree has been looked at.
        Origin::Written(_) => None,
    };
    image.layers.iter().filter_map(stored).collect()
}

impl<'a> Workshop<'a> {
    fn open(self) -> Result<(Work<'a>, Plan<'a>), BuildError> {
        let stored = StoredLayers::new(self.registry.store, self.limits);
        let mut work = Work {
            budget: Budget::default(),
            arguments: Arguments::new(self.build_arguments),
            stored,
            written: Vec::new(),
            done: Vec::new(),
            shop: self,
            step: 0,
            steps: 0,
            extractor: Extractor::default(),
        };
        work.set_globals()?;
        let scope = work.arguments.global_scope();
        let plan = Plan::new(work.shop.dockerfile, &work.expander(&scope))?;
        Ok((work, plan))
    }

    /// The images that any stage starts from or copies from. Nothing is built.
    pub(crate) fn named_images(self) -> Result<NamedImages, BuildError> {
        let (work, plan) = self.open()?;
        plan.named_images(&work.shop.registry)
    }

    /// Does all that is needed for the last stage.
    pub(crate) fn run(self) -> Result<Built, BuildError> {
        let (mut work, plan) = self.open()?;
        let needed = plan.needed()?;
        let kept = plan.lineage();
        for (index, planned) in plan.stages() {
            if needed.contains(&index) {
                work.steps += 1 + planned.stage.instructions.len();
                refuse_early(planned.stage)?;
            }
        }
        (work.shop.log)("building with the embedded builder");
        for (index, planned) in plan.stages() {
            let state = if needed.contains(&index) {
                Some(work.stage(&plan, index, planned, kept.contains(&index))?)
            } else {
                None
            };
            work.done.push(state);
        }
        work.warn_about_arguments();
        match work.done.pop().flatten() {
            Some(state) => Ok(Built {
                image: state.image,
                layers: work.written,
            }),
            None => Err(BuildError::Syntax {
                line: 1,
                message: "there is no stage".to_owned(),
            }),
        }
    }
}

/// What cannot be done anyhow is said before anything is done.
fn refuse_early(stage: &Stage) -> Result<(), BuildError> {
    stage
        .instructions
        .iter()
        .try_for_each(|instruction| match &instruction.action {
            Action::Refused(problem) => {
                Err(problem.clone().at(instruction.line, instruction.keyword))
            }
            _ => Ok(()),
        })
}

struct Work<'a> {
    shop: Workshop<'a>,
    budget: Budget,
    arguments: Arguments<'a>,
    stored: StoredLayers<'a>,
    written: Vec<PendingLayer>,
    /// One for each stage so far; `None` for those that are not needed.
    done: Vec<Option<State>>,
    step: usize,
    steps: usize,
    extractor: Extractor,
}

impl Work<'_> {
    fn expander<'s>(&'s self, scope: &'s Scope<'s>) -> Expander<'s> {
        Expander {
            escape: self.shop.dockerfile.escape,
            variables: scope,
            budget: &self.budget,
        }
    }

    /// `ARG` before the first `FROM`.
    fn set_globals(&mut self) -> Result<(), BuildError> {
        for instruction in &self.shop.dockerfile.arguments {
            let Action::Argument(declarations) = &instruction.action else {
                continue;
            };
            let scope = self.arguments.global_scope();
            let values = self.arguments.values(declarations, |text| {
                self.expander(&scope)
                    .word(text)
                    .map(Word::into_value)
                    .map_err(|error| Problem::from(error).at(instruction.line, "ARG"))
            })?;
            self.arguments.declared(declarations);
            self.arguments.set_globals(values);
        }
        Ok(())
    }

    fn announce(&mut self, text: &str, line: usize) {
        self.step += 1;
        let message = format!("[{}/{}] {text} (line {line})", self.step, self.steps);
        (self.shop.log)(&message);
    }

    fn stage(
        &mut self,
        plan: &Plan<'_>,
        index: usize,
        planned: &PlannedStage<'_>,
        kept: bool,
    ) -> Result<State, BuildError> {
        self.shop.stop.check()?;
        let stage = planned.stage;
        self.announce(&stage.text, stage.line);
        let mut state = self
            .start(planned)
            .map_err(|fault| fault.at(stage.line, "FROM"))?;
        for instruction in &stage.instructions {
            self.shop.stop.check()?;
            self.announce(&instruction.text, instruction.line);
            let changes = self
                .instruction((plan, index), &mut state, instruction)
                .map_err(|fault| fault.at(instruction.line, instruction.keyword))?;
            let layer = match changes {
                Some(changes) if kept && !changes.is_empty() => Some(self.write_layer(changes)?),
                _ => None,
            };
            state.image.record(&instruction.text, layer);
        }
        Ok(state)
    }

    fn start(&mut self, planned: &PlannedStage<'_>) -> Result<State, Fault> {
        let fresh = |image, tree| State {
            image,
            arguments: BTreeMap::new(),
            tree,
            private_directory: false,
        };
        Ok(match &planned.start {
            Start::Scratch => fresh(
                Image::scratch(planned.platform.clone()),
                Some(Tree::default()),
            ),
            Start::Image(word) => {
                let base = self.shop.registry.find(word, &planned.platform)?;
                fresh(Image::from_base(base, word.shown())?, None)
            }
            Start::Stage(base) => {
                let base = self
                    .done
                    .get(*base)
                    .and_then(Option::as_ref)
                    .ok_or_else(|| Problem::NoStage {
                        name: base.to_string(),
                    })?;
                State {
                    image: base.image.as_base(),
                    arguments: base.arguments.clone(),
                    tree: base.tree.clone(),
                    private_directory: base.private_directory,
                }
            }
        })
    }

    /// Does one instruction. Returns what a layer must have if it is one that changes files.
    fn instruction(
        &mut self,
        place: (&Plan<'_>, usize),
        state: &mut State,
        instruction: &Instruction,
    ) -> Result<Option<Changes>, Fault> {
        match &instruction.action {
            Action::Argument(declarations) => self.declare(state, declarations)?,
            Action::Copy(copy) => return self.copy(place, state, copy).map(Some),
            Action::WorkingDirectory(text) => {
                let word = self.word(state, text)?;
                if word.text.is_empty() {
                    return Err(Problem::malformed("the directory is empty").into());
                }
                let directory = state.image.set_working_directory(&word.text);
                state.private_directory |= word.private;
                let private = state.private_directory;
                let tree = state.load_tree(&mut self.stored, self.shop.stop)?;
                let changes = copy::make_directory(tree, &directory).map_err(|problem| {
                    if private {
                        problem.showing(word.shown())
                    } else {
                        problem
                    }
                })?;
                self.check_weight(state)?;
                return Ok(Some(changes));
            }
            action => self.set(state, action)?,
        }
        Ok(None)
    }

    /// The instructions that set metadata and nothing else.
    fn set(&self, state: &mut State, action: &Action) -> Result<(), Fault> {
        match action {
            Action::Environment(pairs) => {
                for (name, value) in self.pairs(state, pairs)? {
                    if name.text.is_empty() || name.text.contains('\0') {
                        return Err(Problem::malformed("a variable has no usable name").into());
                    }
                    state.image.environment.set(name.text, value.into_value());
                }
            }
            Action::Label(pairs) => {
                for (name, value) in self.pairs(state, pairs)? {
                    state.image.set_label(name.text, value.text);
                }
            }
            Action::User(text) => {
                let word = self.word(state, text)?;
                state.image.set_user(&word.text)?;
            }
            Action::Expose(ports) => {
                for port in ports {
                    let scope = scope(state);
                    for word in self.expander(&scope).words(port)? {
                        state.image.expose(&word.text, word.shown(), &self.budget)?;
                    }
                }
            }
            Action::Volume(volumes) => {
                for volume in volumes {
                    let word = self.word(state, volume)?;
                    state.image.add_volume(&word.text)?;
                }
            }
            Action::StopSignal(text) => {
                let word = self.word(state, text)?;
                state.image.set_stop_signal(&word.text)?;
            }
            Action::Command(command) => state.image.set_command(command),
            Action::Entrypoint(command) => state.image.set_entrypoint(command),
            Action::Shell(shell) => state.image.set_shell(shell)?,
            Action::HealthCheck(check) => state.image.set_health_check(check)?,
            Action::Maintainer(name) => state.image.set_author(name),
            Action::Refused(problem) => return Err(problem.clone().into()),
            Action::Argument(_) | Action::Copy(_) | Action::WorkingDirectory(_) => {}
        }
        Ok(())
    }

    fn word(&self, state: &State, text: &str) -> Result<Word, Fault> {
        Ok(self.expander(&scope(state)).word(text)?)
    }

    /// All pairs see the variables as they were before.
    fn pairs(&self, state: &State, pairs: &[(String, String)]) -> Result<Vec<(Word, Word)>, Fault> {
        pairs
            .iter()
            .map(|(name, value)| Ok((self.word(state, name)?, self.word(state, value)?)))
            .collect()
    }

    fn declare(
        &mut self,
        state: &mut State,
        declarations: &[(String, Option<String>)],
    ) -> Result<(), Fault> {
        let values = self.arguments.values(declarations, |text| {
            self.word(state, text).map(Word::into_value)
        })?;
        self.arguments.declared(declarations);
        state.arguments.extend(values);
        Ok(())
    }

    fn copy(
        &mut self,
        place: (&Plan<'_>, usize),
        state: &mut State,
        copy: &Copy,
    ) -> Result<Changes, Fault> {
        let mut sources = Vec::new();
        for source in &copy.sources {
            let word = self.word(state, source)?;
            if copy::is_remote(&word.text) && copy.add {
                return Err(Problem::RemoteSource {
                    path: word.shown().to_owned(),
                }
                .into());
            }
            sources.push(word);
        }
        let destination = self.word(state, &copy.destination)?;
        let option =
            |text: &Option<String>| text.as_ref().map(|text| self.word(state, text)).transpose();
        let owner = option(&copy.owner)?
            .map(|word| copy::owner(&word))
            .transpose()?;
        let mode = option(&copy.mode)?
            .map(|word| copy::mode(&word))
            .transpose()?;
        let working_directory = state.image.working_directory();
        let placement = Placement {
            destination: &destination,
            working_directory: &working_directory,
            owner,
            mode,
        };
        state.load_tree(&mut self.stored, self.shop.stop)?;
        let target = state.tree.get_or_insert_default();

        let other;
        let (tree, origin) = match &copy.from {
            None => (self.shop.context, "artifact"),
            Some(from) => {
                other = self.other_tree(place, from)?;
                (&other, "stage or image that is copied from")
            }
        };
        let mut items = copy::select(tree, &sources, origin, self.shop.stop)?;
        let extracted = if copy.add {
            let (contents, limits) = (&mut *self.shop.contents, self.shop.limits);
            let stop = self.shop.stop;
            self.extractor.extract(&mut items, contents, limits, stop)?
        } else {
            Vec::new()
        };
        items.extend(extracted.iter().map(Extracted::item));
        let private =
            state.private_directory || destination.private || sources.iter().any(|s| s.private);
        let changes = copy::place(&items, target, &placement, self.shop.stop);
        self.check_weight(state)?;
        changes.map_err(|fault| match fault {
            Fault::Problem(problem) if private => problem.showing(destination.shown()).into(),
            other => other,
        })
    }

    /// Refuses a Dockerfile that makes file trees grow and grow.
    fn check_weight(&self, state: &State) -> Result<(), Problem> {
        let weight = |state: &State| state.tree.as_ref().map_or(0, Tree::weight);
        let others: usize = self.done.iter().flatten().map(weight).sum();
        if others + weight(state) > self.shop.limits.tree_bytes {
            return Err(Problem::malformed(
                "the stages have too many files together",
            ));
        }
        Ok(())
    }

    /// The files of an earlier stage or of an image, for `COPY --from`.
    fn other_tree(&mut self, (plan, index): (&Plan<'_>, usize), from: &str) -> Result<Tree, Fault> {
        let stop = self.shop.stop;
        if let Some(number) = plan.copy_source(index, from)? {
            let Some(state) = self.done.get_mut(number).and_then(Option::as_mut) else {
                return Err(Problem::NoStage {
                    name: from.to_owned(),
                }
                .into());
            };
            return Ok(state.load_tree(&mut self.stored, stop)?.clone());
        }
        let word = Word::plain(from);
        let base = self.shop.registry.find(&word, &target_platform())?;
        let layers: Vec<StoredLayer> = base
            .layers
            .into_iter()
            .map(|layer| StoredLayer {
                repository: base.repository.clone(),
                digest: layer.digest,
            })
            .collect();
        Ok(self.stored.tree(&layers, stop)?)
    }

    fn write_layer(&mut self, mut changes: Changes) -> Result<Layer, BuildError> {
        let shop = &mut self.shop;
        self.stored.fetch(&mut changes, shop.contents, shop.stop)?;
        let pending = layer::write(&changes, shop.contents, &shop.repository, shop.stop)?;
        (shop.log)(&format!(
            "layer {} {}",
            pending.digest,
            human_size(pending.size)
        ));
        let descriptor = Descriptor::new(
            MediaType::OCI_LAYER_GZIP,
            pending.digest.clone(),
            pending.size,
        );
        let layer = Layer {
            descriptor,
            diff_id: pending.diff_id.clone(),
            origin: Origin::Written(self.written.len()),
        };
        self.written.push(pending);
        Ok(layer)
    }

    fn warn_about_arguments(&mut self) {
        let unused = self.arguments.unused();
        if !unused.is_empty() {
            let names = unused.join(", ");
            (self.shop.log)(&format!(
                "warning: no ARG asks for the build arguments {names}"
            ));
        }
    }
}

fn scope(state: &State) -> Scope<'_> {
    Scope {
        environment: Some(&state.image.environment),
        arguments: &state.arguments,
    }
}
