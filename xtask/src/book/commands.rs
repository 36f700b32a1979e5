//! The commands on the pages are commands of the program: their subcommands and options are in its help, they have
//! as many arguments as its usage says, and a block of code has no command that lacks one.
//!
//! What values mean is not looked at, and nothing is run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::Problem;
use super::page::{Code, CodeKind, Page};

/// Words after which another command or a file follows.
const OPERATORS: [&str; 7] = ["|", "||", "&&", ";", "&", "do", "exec"];

/// Checks the commands of all pages, and counts them. `help` gives what a command, named by the words behind `peak`,
/// prints as its help, or nothing where there is no such command.
pub(super) fn check(
    pages: &BTreeMap<PathBuf, Page>,
    mut help: impl FnMut(&[String]) -> anyhow::Result<Option<String>>,
) -> anyhow::Result<(Vec<Problem>, usize)> {
    let mut known = BTreeMap::new();
    let mut help_of = |path: &[String]| -> anyhow::Result<Option<Help>> {
        if let Some(known) = known.get(path) {
            return Ok(Option::clone(known));
        }
        let read = help(path)?.map(|text| Help::read(&text));
        known.insert(path.to_vec(), read.clone());
        Ok(read)
    };
    let mut problems = Vec::new();
    let mut count = 0;
    for (path, page) in pages {
        for code in &page.code {
            for (line, written) in commands(code) {
                let all = alternatives(&written);
                // A command that is only named need not be whole.
                let whole = code.kind == CodeKind::Block && all.len() == 1;
                for words in all {
                    count += 1;
                    let result = understand(&words, whole, &mut help_of)?;
                    if let Err(message) = result {
                        problems.push(Problem {
                            page: path.clone(),
                            line,
                            message: format!("`peak {}`: {message}", words.join(" ")),
                        });
                    }
                }
            }
        }
    }
    Ok((problems, count))
}

/// The words behind `peak` of each command in a piece of code, with its line.
fn commands(code: &Code) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    let mut lines = code.text.lines().enumerate();
    while let Some((offset, line)) = lines.next() {
        let mut text = line.to_owned();
        while text.ends_with('\\')
            && let Some((_, more)) = lines.next()
        {
            text.pop();
            text.push_str(more);
        }
        // A prompt, an entry of a list in YAML, a key that has a command as its value.
        let text = text.trim();
        let text = ["$ ", "- ", "run: "].iter().fold(text, |text, prefix| {
            text.strip_prefix(prefix).unwrap_or(text)
        });
        // What is no line of a shell has no command of ours.
        let words = shlex::split(text).unwrap_or_default();
        for command in words.split(|word| OPERATORS.contains(&word.as_str())) {
            let mut command = command.iter().skip_while(|word| is_assignment(word));
            if command.next().is_some_and(|word| word == "peak") {
                let words = command
                    .take_while(|word| !is_redirection(word))
                    .cloned()
                    .collect();
                found.push((code.line + offset, words));
            }
        }
    }
    found
}

/// Is it `NAME=value` before a command?
fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        name.chars()
            .all(|character| character.is_ascii_alphanumeric() || character == '_')
    })
}

/// Does it send output to a file, or take input from one?
fn is_redirection(word: &str) -> bool {
    let word = word.trim_start_matches(|character: char| character.is_ascii_digit());
    word.starts_with('>') || word.starts_with("<<") || word == "<"
}

/// `local gc|check` names two commands; so does `auth explain|…` one, the dots being no command.
fn alternatives(words: &[String]) -> Vec<Vec<String>> {
    let mut all = vec![Vec::new()];
    for word in words {
        let names: Vec<&str> = match word.split_once('|') {
            Some(_) => word.split('|').filter(|name| *name != "…").collect(),
            None => vec![word],
        };
        all = all
            .iter()
            .flat_map(|before: &Vec<String>| {
                names.iter().map(|name| {
                    let mut words = before.clone();
                    words.push((*name).to_owned());
                    words
                })
            })
            .collect();
    }
    all
}

/// Compares a command with the help of the program; one that is not `whole` may lack arguments. The inner error says what is wrong with the command.
fn understand(
    words: &[String],
    whole: bool,
    help_of: &mut impl FnMut(&[String]) -> anyhow::Result<Option<Help>>,
) -> anyhow::Result<Result<(), String>> {
    let mut path = Vec::new();
    let Some(mut help) = help_of(&path)? else {
        return Ok(Err("the program has no help".to_owned()));
    };
    let mut options = BTreeSet::new();
    let mut arguments = 0;
    let mut elided = false;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == "…" || word == "..." || word == "[OPTIONS]" {
            elided = true;
        } else if let Some(option) = word.strip_prefix("--").filter(|name| !name.is_empty()) {
            let (name, value) = match option.split_once('=') {
                Some((name, value)) => (format!("--{name}"), Some(value)),
                None => (word.clone(), None),
            };
            let Some(&takes_value) = help.options.get(&name) else {
                return Ok(Err(format!("`{name}` is not in its help")));
            };
            if takes_value && value.is_none() && words.next().is_none() && whole {
                return Ok(Err(format!("`{name}` takes a value")));
            }
            options.insert(name);
        } else if word.len() > 1 && word.starts_with('-') {
            // `-vv`, `-p K=V`, `-pK=V`.
            let name: String = word.chars().take(2).collect();
            let Some(&takes_value) = help.options.get(&name) else {
                return Ok(Err(format!("`{name}` is not in its help")));
            };
            if takes_value && *word == name && words.next().is_none() && whole {
                return Ok(Err(format!("`{name}` takes a value")));
            }
            options.insert(name);
        } else if word == "COMMAND" {
            // Any of them is meant.
            return Ok(Ok(()));
        } else if !help.commands.is_empty() {
            path.push(word.clone());
            match help_of(&path)? {
                Some(next) if help.commands.contains(word) => help = next,
                _ => return Ok(Err(format!("there is no command `{word}`"))),
            }
        } else {
            arguments += 1;
        }
    }
    if help.arguments_at_most.is_some_and(|most| arguments > most) {
        return Ok(Err(format!(
            "it has {arguments} arguments, more than its usage says"
        )));
    }
    if !whole || elided || options.contains("--help") || options.contains("--version") {
        return Ok(Ok(()));
    }
    if !help.commands.is_empty() && !path.is_empty() {
        return Ok(Err("it needs a subcommand".to_owned()));
    }
    if arguments < help.arguments_at_least {
        return Ok(Err(format!(
            "it has {arguments} arguments, fewer than its usage says"
        )));
    }
    match help.required.iter().find(|name| !options.contains(*name)) {
        Some(missing) => Ok(Err(format!("it needs `{missing}`"))),
        None => Ok(Ok(())),
    }
}

/// What the help of a command says of its form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Help {
    commands: BTreeSet<String>,
    /// Names with their dashes, and whether a value follows.
    options: BTreeMap<String, bool>,
    /// Options without which the command is not understood.
    required: BTreeSet<String>,
    arguments_at_least: usize,
    arguments_at_most: Option<usize>,
}

impl Help {
    /// Reads what clap prints.
    fn read(text: &str) -> Self {
        let mut help = Self {
            arguments_at_most: Some(0),
            ..Self::default()
        };
        let mut section = "";
        let mut usage = Vec::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("Usage: ") {
                section = "Usage";
                usage.extend(rest.split_whitespace());
            } else if line.is_empty() {
                if section == "Usage" {
                    section = "";
                }
            } else if !line.starts_with(' ') {
                section = line;
            } else if section == "Usage" {
                usage.extend(line.split_whitespace());
            } else if section == "Commands:" {
                // Deeper lines go on with what the one before says.
                if let Some(name) = line
                    .strip_prefix("  ")
                    .filter(|rest| !rest.starts_with(' '))
                {
                    help.commands
                        .extend(name.split_whitespace().next().map(str::to_owned));
                }
            } else {
                help.read_option(line);
            }
        }
        help.read_usage(&usage);
        help
    }

    /// A line such as `  -o, --output <FORMAT>`.
    fn read_option(&mut self, line: &str) {
        let line = line.trim_start();
        if !line.starts_with('-') || line.starts_with("- ") {
            return;
        }
        let takes_value = line.contains('<');
        for name in line.split([',', ' ']) {
            let name = name.trim_end_matches("...");
            if name.starts_with('-') {
                self.options.insert(name.to_owned(), takes_value);
            }
        }
    }

    /// Words such as `peak local serve [OPTIONS] --id <ID> <SRC> [REF]...`.
    fn read_usage(&mut self, usage: &[&str]) {
        let mut words = usage.iter();
        while let Some(word) = words.next() {
            let bare = word.trim_end_matches("...");
            if bare.starts_with("--") {
                self.required.insert(bare.to_owned());
                words.next();
                continue;
            }
            if bare == "[OPTIONS]" || bare == "<COMMAND>" || bare == "[COMMAND]" {
                continue;
            }
            if bare.starts_with('<') {
                self.arguments_at_least += 1;
            } else if !bare.starts_with('[') {
                continue;
            }
            self.arguments_at_most = match self.arguments_at_most {
                Some(most) if bare == *word => Some(most + 1),
                _ => None,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use super::super::page::Page;
    use super::check;

    /// Two commands, as clap tells of them.
    fn help(path: &[String]) -> Option<String> {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let text = match path.as_slice() {
            [] => {
                "The program\n\nUsage: peak [OPTIONS] <COMMAND>\n\nCommands:\n  ship   Ship it\n         at once\n  image  \
                 Images\n\nOptions:\n  -q, --quiet\n          Print less\n      --stage <STAGE>\n          Stage\n"
            }
            ["ship"] => {
                "Ship\n\nUsage: peak ship [OPTIONS] <DIR>\n\nOptions:\n      --to <TARGET>\n          Where to\n\n          \
                 - auto: by itself\n  -q, --quiet\n  -v, --verbose...\n"
            }
            ["image"] => {
                "Images\n\nUsage: peak image <COMMAND>\n\nCommands:\n  wait  Wait\n  tags  Tags\n"
            }
            ["image", "wait"] => {
                "Wait\n\nUsage: peak image wait [OPTIONS] --id\n       <ID>\n\nOptions:\n      --id <ID>\n"
            }
            ["image", "tags"] => "Tags\n\nUsage: peak image tags [REPO]...\n",
            _ => return None,
        };
        Some(text.to_owned())
    }

    fn problems(text: &str) -> (Vec<String>, usize) {
        let pages = BTreeMap::from([(PathBuf::from("a.md"), Page::read(text))]);
        let (problems, count) = check(&pages, |path| Ok(help(path))).unwrap();
        (problems.iter().map(ToString::to_string).collect(), count)
    }

    #[test]
    fn commands_that_the_program_has_are_fine() {
        let (problems, count) = problems(
            "`peak ship --to`, `peak image wait|tags|…`, `peak COMMAND --any`\n\n```sh\nA=b peak ship . --to x -vv # note\n\
             $ echo it | peak -q image tags a b > file\npeak ship \\\n  --to=x .\npeak image …\n\
             it's no command\n- run: peak image wait --id 1\npeak\n```\n",
        );
        assert_eq!(problems, [""; 0]);
        assert_eq!(count, 10);
    }

    #[test]
    fn commands_that_the_program_does_not_have_are_found() {
        let (problems, _) = problems(
            "```\npeak sihp .\npeak ship\npeak ship . --ot x\npeak ship a b\npeak image\npeak image wait\npeak ship . --to\n\
             true && peak ship . -x\n```\nand `peak image list`\n",
        );
        assert_eq!(
            problems,
            [
                "a.md:2: `peak sihp .`: there is no command `sihp`",
                "a.md:3: `peak ship`: it has 0 arguments, fewer than its usage says",
                "a.md:4: `peak ship . --ot x`: `--ot` is not in its help",
                "a.md:5: `peak ship a b`: it has 2 arguments, more than its usage says",
                "a.md:6: `peak image`: it needs a subcommand",
                "a.md:7: `peak image wait`: it needs `--id`",
                "a.md:8: `peak ship . --to`: `--to` takes a value",
                "a.md:9: `peak ship . -x`: `-x` is not in its help",
                "a.md:11: `peak image list`: there is no command `list`",
            ]
        );
    }
}
