//! Which stages are needed, and doing their instructions.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufReader, Read};
use std::ops::Range;

use flate2::bufread::MultiGzDecoder;
use peak_oci::{Descriptor, Digest, MediaType, Platform, RepositoryName};
use peak_registry_server::Repository;

use super::base::{self, GZIP_MAGIC, Registry, StoredLayer, StoredLayers, ZSTD_MAGIC};
use super::contents::{ContentNumber, Contents};
use super::copy::{self, Changes, Item, Placement};
use super::dockerfile::{Action, Copy, Dockerfile, Instruction, Stage};
use super::error::{BuildError, Fault, Problem};
use super::expand::{Budget, Expander, Value, Variables, Word};
use super::image::{Environment, Image, Layer, Origin};
use super::layer::{self, PendingLayer};
use super::limits::Limits;
use super::stop::Stop;
use super::tarball::{self, Member, MemberKind, TarError};
use super::tree::{Content, Kind, Node, Tree};
use super::{human_size, path};

/// The name that means "nothing" after `FROM`.
const SCRATCH: &str = "scratch";

/// Arguments that Docker knows without `ARG`; not declaring them is no oversight.
const PREDEFINED: [&str; 5] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "FTP_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
];

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

/// Variables before the first stage, or in one.
struct Scope<'a> {
    environment: Option<&'a Environment>,
    arguments: &'a BTreeMap<String, Value>,
}

impl Variables for Scope<'_> {
    fn variable(&self, name: &str) -> Option<&Value> {
        // `ENV` wins over `ARG`.
        self.environment
            .and_then(|environment| environment.get(name))
            .or_else(|| self.arguments.get(name))
    }
}

/// What a stage starts from.
enum Start {
    Scratch,
    Stage(usize),
    Image(Word),
}

/// What is known about a stage before it is done.
struct Plan {
    start: Start,
    platform: Platform,
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

impl<'a> Workshop<'a> {
    fn open(self) -> Result<(Work<'a>, Vec<Plan>), BuildError> {
        let stored = StoredLayers::new(self.registry.store, self.limits);
        let mut work = Work {
            budget: Budget::default(),
            globals: BTreeMap::new(),
            consumed: BTreeSet::new(),
            stored,
            written: Vec::new(),
            done: Vec::new(),
            shop: self,
            step: 0,
            steps: 0,
            extracted_bytes: 0,
        };
        work.set_globals()?;
        let plans = work.plan()?;
        Ok((work, plans))
    }

    /// The images that any stage starts from or copies from. Nothing is built.
    pub(crate) fn named_images(self) -> Result<NamedImages, BuildError> {
        let dockerfile = self.dockerfile;
        let (work, plans) = self.open()?;
        let registry = &work.shop.registry;
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
        for (index, (stage, plan)) in dockerfile.stages.iter().zip(&plans).enumerate() {
            if let Start::Image(word) = &plan.start {
                add(word, &stage.image_place).map_err(|fault| fault.at(stage.line, "FROM"))?;
            }
            for instruction in &stage.instructions {
                if let Action::Copy(Copy {
                    from: Some(from),
                    from_place,
                    ..
                }) = &instruction.action
                    && matches!(copy_source(&dockerfile.stages, index, from), Ok(None))
                {
                    add(&Word::plain(from), from_place)
                        .map_err(|fault| fault.at(instruction.line, instruction.keyword))?;
                }
            }
        }
        Ok(named)
    }

    /// Does all that is needed for the last stage.
    pub(crate) fn run(self) -> Result<Built, BuildError> {
        let dockerfile = self.dockerfile;
        let (mut work, plans) = self.open()?;
        let last = dockerfile.stages.len().saturating_sub(1);
        let needed = work.needed(&plans, last)?;
        let kept = lineage(&plans, last);
        for (index, stage) in dockerfile.stages.iter().enumerate() {
            if needed.contains(&index) {
                work.steps += 1 + stage.instructions.len();
                refuse_early(stage)?;
            }
        }
        (work.shop.log)("building with the embedded builder");
        for (index, (stage, plan)) in dockerfile.stages.iter().zip(&plans).enumerate() {
            let state = if needed.contains(&index) {
                Some(work.stage(index, stage, plan, kept.contains(&index))?)
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

/// The stages whose layers end up in the image: the last one and what it starts from.
fn lineage(plans: &[Plan], last: usize) -> BTreeSet<usize> {
    let mut kept = BTreeSet::from([last]);
    let mut index = last;
    while let Some(Plan {
        start: Start::Stage(base),
        ..
    }) = plans.get(index)
    {
        kept.insert(*base);
        index = *base;
    }
    kept
}

struct Work<'a> {
    shop: Workshop<'a>,
    budget: Budget,
    globals: BTreeMap<String, Value>,
    /// Names of build arguments that an `ARG` asked for.
    consumed: BTreeSet<String>,
    stored: StoredLayers<'a>,
    written: Vec<PendingLayer>,
    /// One for each stage so far; `None` for those that are not needed.
    done: Vec<Option<State>>,
    step: usize,
    steps: usize,
    /// Of all archives that `ADD` has taken apart.
    extracted_bytes: u64,
}

impl Work<'_> {
    fn expander<'s>(&'s self, scope: &'s Scope<'s>) -> Expander<'s> {
        Expander {
            escape: self.shop.dockerfile.escape,
            variables: scope,
            budget: &self.budget,
        }
    }

    /// The last value given for a build argument.
    fn build_argument(&self, name: &str) -> Option<Value> {
        let (_, text) = self
            .shop
            .build_arguments
            .iter()
            .rev()
            .find(|(given, _)| given == name)?;
        Some(Value {
            text: text.clone(),
            private: true,
        })
    }

    /// Platform arguments, and `ARG` before the first `FROM`.
    fn set_globals(&mut self) -> Result<(), BuildError> {
        let known = platform_arguments(&target_platform());
        self.globals.extend(known.into_iter().map(|(name, text)| {
            let private = false;
            (name, Value { text, private })
        }));
        for instruction in &self.shop.dockerfile.arguments {
            let Action::Argument(declarations) = &instruction.action else {
                continue;
            };
            let mut set = Vec::new();
            for (name, default) in declarations {
                let scope = Scope {
                    environment: None,
                    arguments: &self.globals,
                };
                let value = match (self.build_argument(name), default) {
                    (Some(value), _) => Some(value),
                    (None, Some(default)) => Some(
                        self.expander(&scope)
                            .word(default)
                            .map_err(|error| Problem::from(error).at(instruction.line, "ARG"))?
                            .into_value(),
                    ),
                    (None, None) => None,
                };
                set.extend(value.map(|value| (name.clone(), value)));
                self.consumed.insert(name.clone());
            }
            self.globals.extend(set);
        }
        Ok(())
    }

    fn plan(&self) -> Result<Vec<Plan>, BuildError> {
        let stages = &self.shop.dockerfile.stages;
        let scope = Scope {
            environment: None,
            arguments: &self.globals,
        };
        let expander = self.expander(&scope);
        let mut plans = Vec::new();
        for (index, stage) in stages.iter().enumerate() {
            let expand = |text: &str| {
                expander
                    .word(text)
                    .map_err(|error| Problem::from(error).at(stage.line, "FROM"))
            };
            let image = expand(&stage.image)?;
            let start = if image.text == SCRATCH {
                Start::Scratch
            } else if let Some(base) = stage_named(stages, index, &image.text) {
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
            plans.push(Plan { start, platform });
        }
        Ok(plans)
    }

    /// The stages that the last one needs, itself among them.
    fn needed(&self, plans: &[Plan], last: usize) -> Result<BTreeSet<usize>, BuildError> {
        let stages = &self.shop.dockerfile.stages;
        let mut needed = BTreeSet::new();
        let mut open = vec![last];
        while let Some(index) = open.pop() {
            let (Some(stage), Some(plan)) = (stages.get(index), plans.get(index)) else {
                continue;
            };
            if !needed.insert(index) {
                continue;
            }
            if let Start::Stage(base) = plan.start {
                open.push(base);
            }
            for instruction in &stage.instructions {
                if let Action::Copy(Copy {
                    from: Some(from), ..
                }) = &instruction.action
                {
                    let source = copy_source(stages, index, from)
                        .map_err(|problem| problem.at(instruction.line, instruction.keyword))?;
                    open.extend(source);
                }
            }
        }
        Ok(needed)
    }

    fn announce(&mut self, text: &str, line: usize) {
        self.step += 1;
        let message = format!("[{}/{}] {text} (line {line})", self.step, self.steps);
        (self.shop.log)(&message);
    }

    fn stage(
        &mut self,
        index: usize,
        stage: &Stage,
        plan: &Plan,
        kept: bool,
    ) -> Result<State, BuildError> {
        self.shop.stop.check()?;
        self.announce(&stage.text, stage.line);
        let mut state = self
            .start(plan)
            .map_err(|fault| fault.at(stage.line, "FROM"))?;
        for instruction in &stage.instructions {
            self.shop.stop.check()?;
            self.announce(&instruction.text, instruction.line);
            let changes = self
                .instruction(index, &mut state, instruction)
                .map_err(|fault| fault.at(instruction.line, instruction.keyword))?;
            let layer = match changes {
                Some(changes) if kept && !changes.is_empty() => Some(self.write_layer(changes)?),
                _ => None,
            };
            state.image.record(&instruction.text, layer);
        }
        Ok(state)
    }

    fn start(&mut self, plan: &Plan) -> Result<State, Fault> {
        let fresh = |image, tree| State {
            image,
            arguments: BTreeMap::new(),
            tree,
            private_directory: false,
        };
        Ok(match &plan.start {
            Start::Scratch => fresh(Image::scratch(plan.platform.clone()), Some(Tree::default())),
            Start::Image(word) => {
                let base = self.shop.registry.find(word, &plan.platform)?;
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
        index: usize,
        state: &mut State,
        instruction: &Instruction,
    ) -> Result<Option<Changes>, Fault> {
        match &instruction.action {
            Action::Argument(declarations) => self.declare(state, declarations)?,
            Action::Copy(copy) => return self.copy(index, state, copy).map(Some),
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
        let mut set = Vec::new();
        for (name, default) in declarations {
            let value = match (self.build_argument(name), default) {
                (Some(value), _) => Some(value),
                (None, Some(default)) => Some(self.word(state, default)?.into_value()),
                (None, None) => self.globals.get(name).cloned(),
            };
            set.extend(value.map(|value| (name.clone(), value)));
            self.consumed.insert(name.clone());
        }
        state.arguments.extend(set);
        Ok(())
    }

    fn copy(&mut self, index: usize, state: &mut State, copy: &Copy) -> Result<Changes, Fault> {
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
        let (tree, place) = match &copy.from {
            None => (self.shop.context, "artifact"),
            Some(from) => {
                other = self.other_tree(index, from)?;
                (&other, "stage or image that is copied from")
            }
        };
        let mut items = copy::select(tree, &sources, place, self.shop.stop)?;
        let extracted = if copy.add {
            self.extract(&mut items)?
        } else {
            Vec::new()
        };
        for (name, shown, tree) in &extracted {
            items.push(Item {
                tree,
                path: String::new(),
                name: name.clone(),
                shown: shown.clone(),
            });
        }
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
    fn other_tree(&mut self, index: usize, from: &str) -> Result<Tree, Fault> {
        let stop = self.shop.stop;
        if let Some(number) = copy_source(&self.shop.dockerfile.stages, index, from)? {
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

    /// Takes archives out of the items and gives what is in them, each with name and shown path.
    fn extract(&mut self, items: &mut Vec<Item<'_>>) -> Result<Vec<(String, String, Tree)>, Fault> {
        let mut extracted = Vec::new();
        let mut others = Vec::new();
        for item in items.drain(..) {
            let content = match item.node().map(|node| &node.kind) {
                Some(Kind::File {
                    content: Content::Disk(number),
                    ..
                }) => Some(*number),
                _ => None,
            };
            let tree = match content {
                Some(number) => self.extract_one(number, &item.shown)?,
                None => None,
            };
            match tree {
                Some(tree) => extracted.push((item.name, item.shown, tree)),
                None => others.push(item),
            }
        }
        *items = others;
        Ok(extracted)
    }

    /// What is in an archive; `None` if the file is none.
    fn extract_one(&mut self, number: ContentNumber, shown: &str) -> Result<Option<Tree>, Fault> {
        let read = BuildError::disk("read an unpacked file");
        let open = |contents: &Contents| contents.open(number);
        let mut head = Vec::new();
        open(self.shop.contents)
            .and_then(|file| file.take(tarball::BLOCK as u64).read_to_end(&mut head))
            .map_err(read)?;
        if let Some(format) = foreign_compression(&head) {
            return Err(Problem::ArchiveFormat {
                path: shown.to_owned(),
                format,
            }
            .into());
        }
        let stop = self.shop.stop;
        let compressed = head.starts_with(GZIP_MAGIC);
        if compressed {
            head.clear();
            let file =
                open(self.shop.contents).map_err(BuildError::disk("read an unpacked file"))?;
            // What does not decompress is no archive, but a file like others.
            let decoder = MultiGzDecoder::new(BufReader::new(file));
            if decoder
                .take(tarball::BLOCK as u64)
                .read_to_end(&mut head)
                .is_err()
            {
                return Ok(None);
            }
        }
        if !tarball::is_header(&head) {
            return Ok(None);
        }
        let file = open(self.shop.contents).map_err(BuildError::disk("read an unpacked file"))?;
        let reader = BufReader::new(stop.watch(file));
        let reader: Box<dyn Read> = if compressed {
            Box::new(MultiGzDecoder::new(reader))
        } else {
            Box::new(reader)
        };
        let mut extraction = Extraction {
            tree: Tree::default(),
            limits: self.shop.limits,
            count: 0,
            bytes: self.extracted_bytes,
        };
        let contents = &mut *self.shop.contents;
        let result = tarball::read(reader, |member, reader| {
            extraction.add(member, reader, contents)
        });
        self.extracted_bytes = extraction.bytes;
        stop.check()?;
        match result {
            Ok(()) => Ok(Some(extraction.tree)),
            Err(TarError::Visit(error)) => Err(error.into()),
            Err(TarError::Malformed(reason)) => Err(Problem::Archive {
                path: shown.to_owned(),
                reason,
            }
            .into()),
            Err(TarError::Read(error)) => Err(Problem::Archive {
                path: shown.to_owned(),
                reason: error.to_string(),
            }
            .into()),
        }
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
        let unused: BTreeSet<&str> = self
            .shop
            .build_arguments
            .iter()
            .map(|(name, _)| name.as_str())
            .filter(|name| !self.consumed.contains(*name))
            .filter(|name| !PREDEFINED.contains(&name.to_ascii_uppercase().as_str()))
            .collect();
        if !unused.is_empty() {
            let names: Vec<&str> = unused.into_iter().collect();
            let message = format!(
                "warning: no ARG asks for the build arguments {}",
                names.join(", ")
            );
            (self.shop.log)(&message);
        }
    }
}

fn scope(state: &State) -> Scope<'_> {
    Scope {
        environment: Some(&state.image.environment),
        arguments: &state.arguments,
    }
}

/// The arguments that have values without anybody giving them.
pub(crate) fn platform_arguments(platform: &Platform) -> Vec<(String, String)> {
    let parts = [
        ("PLATFORM", platform.to_string()),
        ("OS", platform.os.clone()),
        ("ARCH", platform.architecture.clone()),
        ("VARIANT", platform.variant.clone().unwrap_or_default()),
    ];
    ["TARGET", "BUILD"]
        .into_iter()
        .flat_map(|prefix| {
            parts
                .iter()
                .map(move |(suffix, text)| (format!("{prefix}{suffix}"), text.clone()))
        })
        .collect()
}

/// Images are for Linux, on the kind of processor that is here.
pub(crate) fn target_platform() -> Platform {
    let host = Platform::host();
    let mut platform = Platform::new("linux", host.architecture);
    platform.variant = host.variant;
    platform
}

/// The stage of this name before the one at `index`.
fn stage_named(stages: &[Stage], index: usize, name: &str) -> Option<usize> {
    stages.get(..index)?.iter().rposition(|stage| {
        stage
            .name
            .as_deref()
            .is_some_and(|own| own.eq_ignore_ascii_case(name))
    })
}

/// The stage that `COPY --from` means; `None` if it means an image.
fn copy_source(stages: &[Stage], index: usize, from: &str) -> Result<Option<usize>, Problem> {
    if let Some(named) = stage_named(stages, index, from) {
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

/// Compressions that Docker would undo and this builder cannot.
fn foreign_compression(head: &[u8]) -> Option<&'static str> {
    match head {
        [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, ..] => Some("bzip2"),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some("xz"),
        _ if head.starts_with(ZSTD_MAGIC) => Some("zstd"),
        _ => None,
    }
}

/// Taking a tar of the artifact apart.
struct Extraction<'a> {
    tree: Tree,
    limits: &'a Limits,
    count: usize,
    bytes: u64,
}

impl Extraction<'_> {
    fn add(
        &mut self,
        member: Member,
        reader: &mut dyn Read,
        contents: &mut Contents,
    ) -> Result<(), TarError> {
        let Member {
            path,
            kind,
            mode,
            owner,
        } = member;
        let refuse = |reason: String| Err(TarError::Malformed(reason));
        self.count += 1;
        if self.count > self.limits.entries {
            return refuse(format!("it has more than {} entries", self.limits.entries));
        }
        if path.len() > self.limits.path_bytes
            || path::components(&path).count() > self.limits.path_depth
        {
            return refuse("it has a path that is too long".to_owned());
        }
        for parent in path::ancestors(&path) {
            if self
                .tree
                .get(parent)
                .is_some_and(|node| !node.is_directory())
            {
                return refuse(format!(
                    "{path:?} is below {parent:?}, which is no directory"
                ));
            }
        }
        let kind = match kind {
            MemberKind::Directory => Kind::Directory,
            MemberKind::Symlink { target } if !target.is_empty() => Kind::Symlink { target },
            MemberKind::Symlink { .. } => return refuse(format!("{path:?} is a link to nothing")),
            MemberKind::File { size } => {
                // The reader gives no more than the size, so this holds for what is written too.
                self.bytes = self.bytes.saturating_add(size);
                if size > self.limits.entry_bytes || self.bytes > self.limits.total_bytes {
                    return refuse("it is too large when it is extracted".to_owned());
                }
                Kind::File {
                    size,
                    content: base::save(reader, contents)?,
                }
            }
            MemberKind::HardLink { target } => match self.tree.get(&target) {
                Some(Node {
                    kind: kind @ Kind::File { .. },
                    ..
                }) => kind.clone(),
                _ => return refuse(format!("{path:?} is a link to nothing")),
            },
            MemberKind::Special => Kind::Special,
        };
        self.tree.insert_parents(&path);
        self.tree.insert(&path, Node { kind, mode, owner });
        if self.tree.len() > self.limits.entries {
            return Err(TarError::Malformed(format!(
                "it has more than {} entries",
                self.limits.entries
            )));
        }
        Ok(())
    }
}
