//! Reading a Dockerfile: `parse-dockerfile` finds the instructions, this gives them the form that
//! the builder works with, each with its line.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

use parse_dockerfile as parser;

use super::error::{BuildError, Problem};
use super::limits::Limits;
use super::words;

/// A Dockerfile.
#[derive(Debug)]
pub(crate) struct Dockerfile {
    /// The character that continues lines and takes away meanings.
    pub escape: char,
    /// `ARG` before the first `FROM`.
    pub arguments: Vec<Instruction>,
    /// At least one.
    pub stages: Vec<Stage>,
}

/// A `FROM` and what follows it.
#[derive(Debug)]
pub(crate) struct Stage {
    pub line: usize,
    /// The instruction on one line, as written.
    pub text: String,
    pub image: String,
    /// Where the image stands in the text.
    pub image_place: Range<usize>,
    pub name: Option<String>,
    pub platform: Option<String>,
    pub instructions: Vec<Instruction>,
}

/// One instruction.
#[derive(Debug)]
pub(crate) struct Instruction {
    pub line: usize,
    pub keyword: &'static str,
    /// The instruction on one line, as written.
    pub text: String,
    pub action: Action,
}

/// What an instruction asks for. Words are as written, not yet expanded.
#[derive(Debug)]
pub(crate) enum Action {
    Argument(Vec<(String, Option<String>)>),
    Copy(Copy),
    Environment(Vec<(String, String)>),
    Label(Vec<(String, String)>),
    WorkingDirectory(String),
    User(String),
    Expose(Vec<String>),
    Command(Command),
    Entrypoint(Command),
    StopSignal(String),
    Volume(Vec<String>),
    Shell(Vec<String>),
    HealthCheck(HealthCheck),
    Maintainer(String),
    /// Cannot be done; a problem only if the stage is needed.
    Refused(Problem),
}

/// `COPY` or `ADD`.
#[derive(Debug, Default)]
pub(crate) struct Copy {
    /// `ADD`: archives are extracted.
    pub add: bool,
    pub sources: Vec<String>,
    pub destination: String,
    pub from: Option<String>,
    /// Where `from` stands in the text.
    pub from_place: Range<usize>,
    pub owner: Option<String>,
    pub mode: Option<String>,
}

/// A command in one of its two forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    Exec(Vec<String>),
    Shell(String),
}

/// `HEALTHCHECK`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HealthCheck {
    None,
    Command {
        command: Command,
        /// In nanoseconds, under Docker's names.
        durations: Vec<(&'static str, u64)>,
        retries: Option<u64>,
    },
}

impl Dockerfile {
    /// Reads a Dockerfile.
    ///
    /// # Errors
    /// [`BuildError::Syntax`] and [`BuildError::Instruction`], with the line.
    pub(crate) fn parse(text: &str, limits: &Limits) -> Result<Self, BuildError> {
        let text = text.trim_start_matches('\u{feff}');
        let readable = with_readable_entrypoints(text);
        let parsed = parser::parse(&readable).map_err(|error| BuildError::Syntax {
            // A Dockerfile without any FROM has its error at no line.
            line: error.line().max(1),
            message: format!("{error:#}"),
        })?;
        let escape = parsed
            .parser_directives
            .escape
            .as_ref()
            .map_or('\\', |escape| escape.value.value);
        if parsed.instructions.len() > limits.instructions {
            return Err(BuildError::Syntax {
                line: 1,
                message: format!(
                    "there are {} instructions; the embedded builder takes {}",
                    parsed.instructions.len(),
                    limits.instructions
                ),
            });
        }
        let mut source = Source {
            text,
            escape,
            position: 0,
            line: 1,
        };
        let mut arguments = Vec::new();
        let mut stages: Vec<Stage> = Vec::new();
        for instruction in parsed.instructions {
            if let parser::Instruction::From(from) = instruction {
                stages.push(source.stage(&from)?);
                continue;
            }
            let instruction = source.instruction(&instruction)?;
            match stages.last_mut() {
                Some(stage) => stage.instructions.push(instruction),
                None => arguments.push(instruction),
            }
        }
        Ok(Self {
            escape,
            arguments,
            stages,
        })
    }
}

impl Dockerfile {
    /// The names that any `ARG` declares without giving them a value.
    pub(crate) fn declared(&self) -> BTreeSet<&str> {
        let stages = self.stages.iter().flat_map(|stage| &stage.instructions);
        self.arguments
            .iter()
            .chain(stages)
            .filter_map(|instruction| match &instruction.action {
                Action::Argument(declarations) => Some(declarations),
                _ => None,
            })
            .flatten()
            .filter(|(_, default)| default.is_none())
            .map(|(name, _)| name.as_str())
            .collect()
    }
}

/// How many empty entrypoints a Dockerfile may have; each costs reading it once more.
const MAX_EMPTY_ENTRYPOINTS: usize = 32;

const ENTRYPOINT: &str = "ENTRYPOINT";
const CMD_IN_ITS_PLACE: &str = "CMD       ";

/// `ENTRYPOINT []` takes an inherited entrypoint away. The parser takes such an empty list from `CMD`
/// only, so it gets to read that, in the same place; [`Source::action`] sees what was written.
fn with_readable_entrypoints(text: &str) -> Cow<'_, str> {
    let mut readable = Cow::Borrowed(text);
    for _ in 0..MAX_EMPTY_ENTRYPOINTS {
        let Some(start) = parser::parse(&readable)
            .err()
            .and_then(|error| empty_entrypoint(&readable, error.line()))
        else {
            break;
        };
        readable
            .to_mut()
            .replace_range(start..start + ENTRYPOINT.len(), CMD_IN_ITS_PLACE);
    }
    readable
}

/// Where `ENTRYPOINT []` starts, if the line of this number, counted from 1, is that.
fn empty_entrypoint(text: &str, line: usize) -> Option<usize> {
    let (start, line) = text
        .split_inclusive('\n')
        .scan(0, |next, line| {
            let start = *next;
            *next += line.len();
            Some((start, line))
        })
        .nth(line.checked_sub(1)?)?;
    let indent = line.len() - line.trim_start().len();
    let (keyword, list) = line.trim_start().split_at_checked(ENTRYPOINT.len())?;
    let list = list.trim().strip_prefix('[')?.strip_suffix(']')?;
    (keyword.eq_ignore_ascii_case(ENTRYPOINT) && list.trim().is_empty()).then_some(start + indent)
}

/// The text, and how far its lines have been counted.
struct Source<'a> {
    text: &'a str,
    escape: char,
    position: usize,
    line: usize,
}

impl Source<'_> {
    /// The line and the text of the instruction that starts here. Instructions come in order.
    fn locate(&mut self, start: usize) -> (usize, String) {
        let passed = self.text.get(self.position..start).unwrap_or_default();
        self.line += passed.bytes().filter(|byte| *byte == b'\n').count();
        self.position = start;
        let rest = self.text.get(start..).unwrap_or_default();
        (
            self.line,
            words::for_people(&words::logical_line(rest, self.escape)),
        )
    }

    fn stage(&mut self, from: &parser::FromInstruction<'_>) -> Result<Stage, BuildError> {
        let (line, text) = self.locate(from.from.span.start);
        let mut platform = None;
        for option in &from.options {
            match (option.name.value.as_ref(), &option.value) {
                ("platform", Some(value)) => platform = Some(value.value.to_string()),
                (name, _) => return Err(unknown_option(name).at(line, "FROM")),
            }
        }
        Ok(Stage {
            line,
            text,
            image: from.image.value.to_string(),
            image_place: from.image.span.clone(),
            name: from.as_.as_ref().map(|(_, name)| name.value.to_string()),
            platform,
            instructions: Vec::new(),
        })
    }

    fn instruction(
        &mut self,
        instruction: &parser::Instruction<'_>,
    ) -> Result<Instruction, BuildError> {
        let (keyword, start) = keyword(instruction);
        let (line, text) = self.locate(start);
        let action = self
            .action(instruction)
            .map_err(|problem| problem.at(line, keyword))?;
        Ok(Instruction {
            line,
            keyword,
            text,
            action,
        })
    }

    fn action(&self, instruction: &parser::Instruction<'_>) -> Result<Action, Problem> {
        use parser::Instruction as Parsed;
        let pairs = |text: &str| words::pairs(text, self.escape).map_err(Problem::malformed);
        Ok(match instruction {
            Parsed::Add(add) => copy(true, &add.options, &add.src, &add.dest),
            Parsed::Copy(plain) => copy(false, &plain.options, &plain.src, &plain.dest),
            Parsed::Arg(argument) => {
                Action::Argument(declarations(&argument.arguments.value, self.escape)?)
            }
            Parsed::Env(environment) => Action::Environment(pairs(&environment.arguments.value)?),
            Parsed::Label(label) => Action::Label(pairs(&label.arguments.value)?),
            Parsed::Workdir(directory) => {
                Action::WorkingDirectory(directory.arguments.value.to_string())
            }
            Parsed::User(user) => Action::User(user.arguments.value.to_string()),
            Parsed::Expose(ports) => Action::Expose(strings(&ports.arguments)),
            Parsed::Cmd(command) if self.is_entrypoint(command.cmd.span.start) => {
                Action::Entrypoint(self.command(&command.arguments)?)
            }
            Parsed::Cmd(command) => Action::Command(self.command(&command.arguments)?),
            Parsed::Entrypoint(command) => Action::Entrypoint(self.command(&command.arguments)?),
            Parsed::Stopsignal(signal) => Action::StopSignal(signal.arguments.value.to_string()),
            Parsed::Volume(volume) => Action::Volume(match &volume.arguments {
                parser::JsonOrStringArray::Json(list) => strings(&list.value),
                parser::JsonOrStringArray::String(list) => strings(list),
            }),
            Parsed::Shell(shell) => Action::Shell(strings(&shell.arguments)),
            Parsed::Healthcheck(check) => Action::HealthCheck(self.health_check(check)?),
            Parsed::Maintainer(maintainer) => Action::Maintainer(maintainer.name.value.to_string()),
            Parsed::Run(_) => Action::Refused(Problem::NeedsEngine),
            Parsed::Onbuild(_) => Action::Refused(Problem::unsupported("ONBUILD")),
            _ => Action::Refused(Problem::unsupported("this instruction")),
        })
    }

    fn is_entrypoint(&self, start: usize) -> bool {
        self.text
            .get(start..)
            .is_some_and(|rest| rest.starts_with(['E', 'e']))
    }

    fn command(&self, command: &parser::Command<'_>) -> Result<Command, Problem> {
        Ok(match command {
            parser::Command::Exec(list) => Command::Exec(strings(&list.value)),
            parser::Command::Shell(text) => Command::Shell(
                words::logical_line(text.value, self.escape)
                    .trim()
                    .to_owned(),
            ),
            _ => return Err(Problem::unsupported("this form of command")),
        })
    }

    fn health_check(
        &self,
        check: &parser::HealthcheckInstruction<'_>,
    ) -> Result<HealthCheck, Problem> {
        let parser::HealthcheckArguments::Cmd { arguments, .. } = &check.arguments else {
            return Ok(HealthCheck::None);
        };
        let mut durations = Vec::new();
        let mut retries = None;
        for option in &check.options {
            let name = option.name.value.as_ref();
            let value = option
                .value
                .as_ref()
                .map_or("", |value| value.value.as_ref());
            let malformed = || Problem::malformed(format!("--{name}={value} cannot be understood"));
            let docker_name = match name {
                "interval" => "Interval",
                "timeout" => "Timeout",
                "start-period" => "StartPeriod",
                "start-interval" => "StartInterval",
                "retries" => {
                    retries = Some(value.parse().map_err(|_| malformed())?);
                    continue;
                }
                _ => return Err(unknown_option(name)),
            };
            durations.push((docker_name, nanoseconds(value).ok_or_else(malformed)?));
        }
        Ok(HealthCheck::Command {
            command: self.command(arguments)?,
            durations,
            retries,
        })
    }
}

fn keyword(instruction: &parser::Instruction<'_>) -> (&'static str, usize) {
    use parser::Instruction as Parsed;
    match instruction {
        Parsed::Add(add) => ("ADD", add.add.span.start),
        Parsed::Arg(argument) => ("ARG", argument.arg.span.start),
        Parsed::Cmd(command) => ("CMD", command.cmd.span.start),
        Parsed::Copy(copy) => ("COPY", copy.copy.span.start),
        Parsed::Entrypoint(entrypoint) => ("ENTRYPOINT", entrypoint.entrypoint.span.start),
        Parsed::Env(environment) => ("ENV", environment.env.span.start),
        Parsed::Expose(expose) => ("EXPOSE", expose.expose.span.start),
        Parsed::From(from) => ("FROM", from.from.span.start),
        Parsed::Healthcheck(check) => ("HEALTHCHECK", check.healthcheck.span.start),
        Parsed::Label(label) => ("LABEL", label.label.span.start),
        Parsed::Maintainer(maintainer) => ("MAINTAINER", maintainer.maintainer.span.start),
        Parsed::Onbuild(onbuild) => ("ONBUILD", onbuild.onbuild.span.start),
        Parsed::Run(run) => ("RUN", run.run.span.start),
        Parsed::Shell(shell) => ("SHELL", shell.shell.span.start),
        Parsed::Stopsignal(signal) => ("STOPSIGNAL", signal.stopsignal.span.start),
        Parsed::User(user) => ("USER", user.user.span.start),
        Parsed::Volume(volume) => ("VOLUME", volume.volume.span.start),
        Parsed::Workdir(directory) => ("WORKDIR", directory.workdir.span.start),
        _ => ("instruction", 0),
    }
}

fn strings(list: &[parser::UnescapedString<'_>]) -> Vec<String> {
    list.iter().map(|item| item.value.to_string()).collect()
}

fn unknown_option(name: &str) -> Problem {
    Problem::unsupported(format!("the option --{name}"))
}

fn copy(
    add: bool,
    options: &[parser::Flag<'_>],
    sources: &[parser::Source<'_>],
    destination: &parser::UnescapedString<'_>,
) -> Action {
    let mut copy = Copy {
        add,
        destination: destination.value.to_string(),
        ..Copy::default()
    };
    for option in options {
        let place = option.value.as_ref().map(|value| value.span.clone());
        let place = place.unwrap_or_default();
        let value = option.value.as_ref().map(|value| value.value.to_string());
        match (option.name.value.as_ref(), value) {
            ("chown", Some(value)) => copy.owner = Some(value),
            ("chmod", Some(value)) => copy.mode = Some(value),
            ("from", Some(value)) if !add => {
                copy.from = Some(value);
                copy.from_place = place;
            }
            // How the layer is laid upon the others; the files are the same.
            ("link", None) => {}
            ("link", Some(value)) if matches!(value.as_str(), "true" | "false") => {}
            (name, _) => return Action::Refused(unknown_option(name)),
        }
    }
    for source in sources {
        match source {
            parser::Source::Path(path) => copy.sources.push(path.value.to_string()),
            _ => return Action::Refused(Problem::unsupported("here-documents")),
        }
    }
    Action::Copy(copy)
}

/// The names of `ARG`, each perhaps with a default.
fn declarations(text: &str, escape: char) -> Result<Vec<(String, Option<String>)>, Problem> {
    words::split(text, escape)
        .into_iter()
        .map(|word| {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (word.clone(), None),
            };
            if is_variable_name(&name) {
                Ok((name, value))
            } else {
                Err(Problem::malformed(format!(
                    "{name:?} cannot be the name of an argument"
                )))
            }
        })
        .collect()
}

fn is_variable_name(name: &str) -> bool {
    !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
}

/// Reads a duration such as `1m30s` or `1.5s`.
fn nanoseconds(text: &str) -> Option<u64> {
    if text == "0" {
        return Some(0);
    }
    let mut total: u64 = 0;
    let mut rest = text;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| c != '.' && !c.is_ascii_digit())?);
        let unit_end = after
            .find(|c: char| c == '.' || c.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let unit: u64 = match unit {
            "ns" => 1,
            "us" | "µs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.len() > 9 || fraction.contains('.') {
            return None;
        }
        let whole: u64 = if whole.is_empty() {
            0
        } else {
            whole.parse().ok()?
        };
        let digits = u32::try_from(fraction.len()).ok()?;
        let fraction: u64 = if fraction.is_empty() {
            0
        } else {
            fraction.parse().ok()?
        };
        let part = u128::from(fraction) * u128::from(unit) / u128::from(10_u64.pow(digits));
        total = total
            .checked_add(whole.checked_mul(unit)?)?
            .checked_add(u64::try_from(part).ok()?)?;
        rest = after;
    }
    // What Docker keeps is signed.
    i64::try_from(total).is_ok().then_some(total)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Dockerfile, BuildError> {
        Dockerfile::parse(text, &Limits::default())
    }

    fn error(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn instructions_have_their_lines_and_text() {
        let text = "\u{feff}# escape=`\nARG A=1\n\n# comment\nFROM a AS b\nCOPY --chown=1:2 x `\n  # between\n  y /z/\r\nCMD echo `\n   hello\n";
        let file = parse(text).unwrap();
        assert_eq!(file.escape, '`');
        assert_eq!(file.arguments[0].line, 2);
        let stage = &file.stages[0];
        assert_eq!((stage.line, stage.name.as_deref()), (5, Some("b")));
        let copy = &stage.instructions[0];
        assert_eq!(
            (copy.line, copy.text.as_str()),
            (6, "COPY --chown=1:2 x y /z/")
        );
        let Action::Copy(action) = &copy.action else {
            panic!("{copy:?}")
        };
        assert_eq!(action.sources, ["x", "y"]);
        assert_eq!(action.owner.as_deref(), Some("1:2"));
        let Action::Command(command) = &stage.instructions[1].action else {
            panic!()
        };
        assert_eq!(*command, Command::Shell("echo    hello".to_owned()));
        assert_eq!(stage.instructions[1].line, 9);
    }

    #[test]
    fn exec_forms_are_json() {
        let file = parse("FROM scratch\nCMD [\"a\", \"b\\n\"]\nENTRYPOINT [not json]\n").unwrap();
        let actions: Vec<_> = file.stages[0]
            .instructions
            .iter()
            .map(|i| &i.action)
            .collect();
        assert!(
            matches!(actions[0], Action::Command(Command::Exec(list)) if *list == ["a", "b\n"])
        );
        assert!(
            matches!(actions[1], Action::Entrypoint(Command::Shell(text)) if text == "[not json]")
        );
    }

    #[test]
    fn an_entrypoint_may_be_taken_away() {
        let text =
            "FROM a\nCMD [ ]\n  entrypoint [ ]\r\nENTRYPOINT []\nUSER 1\nFROM b\nENTRYPOINT []";
        let file = parse(text).unwrap();
        let actions: Vec<_> = file
            .stages
            .iter()
            .flat_map(|stage| &stage.instructions)
            .map(|instruction| {
                (
                    instruction.line,
                    instruction.text.as_str(),
                    &instruction.action,
                )
            })
            .collect();
        assert!(
            matches!(
                actions[..],
                [
                    (2, "CMD [ ]", Action::Command(Command::Exec(_))),
                    (3, "entrypoint [ ]", Action::Entrypoint(Command::Exec(first))),
                    (4, "ENTRYPOINT []", Action::Entrypoint(Command::Exec(second))),
                    (5, "USER 1", Action::User(_)),
                    (7, "ENTRYPOINT []", Action::Entrypoint(Command::Exec(third))),
                ] if first.is_empty() && second.is_empty() && third.is_empty()
            ),
            "{actions:?}"
        );
        assert_eq!(
            error("FROM a\nENTRYPOINT\n"),
            "Dockerfile line 2: ENTRYPOINT instruction requires at least one argument"
        );
        let many = format!(
            "FROM a\n{}",
            "ENTRYPOINT []\n".repeat(MAX_EMPTY_ENTRYPOINTS + 1)
        );
        assert!(error(&many).contains("ENTRYPOINT"));
    }

    #[test]
    fn errors_name_the_line_and_the_instruction() {
        assert_eq!(
            error("FROM scratch\n\nFROBNICATE now\n"),
            "Dockerfile line 3: unknown instruction 'FROBNICATE'"
        );
        assert_eq!(error("FROM scratch\nENV A\n").lines().count(), 1);
        assert!(error("FROM scratch\nENV A\n").starts_with("Dockerfile line 2: ENV: "));
        assert!(error("COPY a b\n").starts_with("Dockerfile line 1: expected FROM"));
        assert!(error("").contains("FROM"));
        assert!(error("FROM a\nFROM --frob=1 b\n").starts_with("Dockerfile line 2: FROM: "));
    }

    #[test]
    fn what_cannot_be_done_is_known_but_not_yet_an_error() {
        let text =
            "FROM scratch\nRUN make\nCOPY <<E /x\ntext\nE\nONBUILD RUN x\nCOPY --parents a b\n";
        let file = parse(text).unwrap();
        for instruction in &file.stages[0].instructions {
            assert!(
                matches!(instruction.action, Action::Refused(_)),
                "{instruction:?}"
            );
        }
        assert_eq!(file.stages[0].instructions[2].line, 6);
    }

    #[test]
    fn too_many_instructions_are_refused() {
        let limits = Limits {
            instructions: 2,
            ..Limits::default()
        };
        assert!(Dockerfile::parse("FROM a\nUSER 1\nUSER 2\n", &limits).is_err());
    }

    #[test]
    fn health_checks_have_durations() {
        let file =
            parse("FROM a\nHEALTHCHECK --interval=1m30s --timeout=1.5s --retries=3 CMD curl x\n");
        let file = file.unwrap();
        let Action::HealthCheck(check) = &file.stages[0].instructions[0].action else {
            panic!()
        };
        assert_eq!(
            *check,
            HealthCheck::Command {
                command: Command::Shell("curl x".to_owned()),
                durations: vec![("Interval", 90_000_000_000), ("Timeout", 1_500_000_000)],
                retries: Some(3),
            }
        );
        assert_eq!(nanoseconds("1"), None);
        assert_eq!(nanoseconds("9999999999h"), None);
        assert_eq!(nanoseconds("."), None);
    }

    proptest! {
        #[test]
        fn never_panics(parts in prop::collection::vec(
            prop::sample::select(vec![
                "FROM", "COPY", "ADD", "RUN", "CMD", "ENV", "ARG", "LABEL", "HEALTHCHECK", "NONE", "ONBUILD",
                "SHELL", "VOLUME", "ENTRYPOINT", "ENTRYPOINT []", "EXPOSE", "USER", " ", " ", " ", "\n", "\n", "\\\n", "\\", "\r", "\r\n",
                "[", "]", "\"", "\\u", "d83d", ",", "a", "ä", "--x", "=", "<<E", "<<-E", "E", "\n#", "# escape=`\n", "`", "$", "AS", "\t",
            ]), 0..40)) {
            let _ = parse(&parts.concat());
            let _ = parse(&format!("FROM scratch\n{}", parts.concat()));
        }
    }
}
