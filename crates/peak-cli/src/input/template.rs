//! Templates in the Jinja language, as the public Python tool renders them: undefined variables are empty,
//! values print as in Python, and `{% include %}` keeps the indentation of the line it stands in.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use minijinja::value::{Serde, Value, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind as TemplateErrorKind, Output, State};
use serde_json::Map;

use super::read_text;
use crate::error::{CliError, ErrorKind};

/// No rendered text may be longer, in bytes.
const OUTPUT_LIMIT: usize = 16 * 1024 * 1024;

/// How many steps of a template are run at most; a loop without end stops there.
const STEP_LIMIT: u64 = 2_000_000;

/// How deep includes may be.
const DEPTH_LIMIT: usize = 50;

/// How many files may be included.
const FILE_COUNT_LIMIT: usize = 1000;

/// Renders the template in a file with these values, and with the environment as `os_env`.
pub(crate) fn render(
    file: &Path,
    parameters: &Map<String, serde_json::Value>,
) -> Result<String, CliError> {
    // Read here, a file that is missing is said as every other command says it. And it is read once: it may be a
    // pipe, as `<(…)` of a shell is.
    let text = read_text(file)?;
    let name = file
        .to_str()
        .ok_or_else(|| CliError::usage(format!("`{}` is not UTF-8", file.display())))?;
    let environment = environment(Loader::of(file, text));
    let mut values: Vec<(String, Value)> = parameters
        .iter()
        .map(|(key, value)| (key.clone(), Value::from(Serde(value))))
        .collect();
    values.push(("os_env".to_owned(), Value::from_pairs(variables())));
    let mut output = Bounded(Vec::new());
    environment
        .get_template(name)
        .and_then(|template| {
            template
                .render_captured_to(Value::from_pairs(values), &mut output)
                .map(drop)
        })
        .map_err(|error| failed(file, &error))?;
    String::from_utf8(output.0)
        .map_err(|_| CliError::other(format!("`{}` does not render to text", file.display())))
}

fn failed(file: &Path, error: &Error) -> CliError {
    // The chain ends with what a loader said of a file; what stands before it only says that there is more.
    let failure = CliError::from_chain(ErrorKind::Usage, error).with_context(&format!(
        "the template `{}` cannot be rendered",
        file.display()
    ));
    match error.kind() {
        TemplateErrorKind::UndefinedError => {
            failure.with_hint("give the value with --params KEY=VALUE or --params-file")
        }
        TemplateErrorKind::TemplateNotFound => failure.with_hint(
            "what is included is looked up in the current directory, then in that of FILE",
        ),
        TemplateErrorKind::SyntaxError => failure.with_hint(
            "FILE is a Jinja template; text that is none stands between {% raw %} and {% endraw %}",
        ),
        _ => failure.with_hint("see the line of the template that is named"),
    }
}

/// The process's environment. What is not UTF-8 cannot be named in a template.
fn variables() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

fn environment(loader: Loader) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_formatter(format_value);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.set_fuel(Some(STEP_LIMIT));
    environment.set_recursion_limit(DEPTH_LIMIT);
    let loader = Arc::new(Mutex::new(loader));
    environment.set_loader(move |name| {
        loader
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .load(name)
            .map(Some)
    });
    environment
}

/// Finds and reads templates: below the current directory first, then below the directory of each file that was
/// read before.
struct Loader {
    /// The file that is rendered, with its text, until it is loaded.
    root: Option<(PathBuf, String)>,
    directories: Vec<PathBuf>,
    count: usize,
}

impl Loader {
    fn of(file: &Path, text: String) -> Self {
        Self {
            root: Some((file.to_owned(), text)),
            directories: Vec::new(),
            count: 0,
        }
    }

    fn load(&mut self, name: &str) -> Result<String, Error> {
        let refused = |message: String| Error::new(TemplateErrorKind::TemplateNotFound, message);
        self.count += 1;
        if self.count > FILE_COUNT_LIMIT {
            return Err(refused(format!(
                "more than {FILE_COUNT_LIMIT} files are included"
            )));
        }
        if let Some((file, text)) = self.root.take() {
            self.directories
                .push(file.parent().unwrap_or(Path::new("")).to_owned());
            return Ok(indent_includes(&text));
        }
        let name = Path::new(name.trim());
        let found = std::iter::once(name.to_owned())
            .chain(
                self.directories
                    .iter()
                    .map(|directory| directory.join(name)),
            )
            .find(|path| path.is_file())
            .ok_or_else(|| refused(format!("there is no file `{}`", name.display())))?;
        let text = read_text(&found).map_err(|error| refused(error.message))?;
        let directory = found.parent().unwrap_or(Path::new("")).to_owned();
        let text = match self.directories.first() {
            Some(root) => rewrite_contexts(&text, &directory, root),
            None => Cow::Borrowed(text.as_str()),
        };
        let text = indent_includes(&text);
        self.directories.push(directory);
        Ok(text)
    }
}

/// Lets what a line includes be indented as far as the `{% include %}` of that line is.
fn indent_includes(source: &str) -> String {
    let mut text = String::with_capacity(source.len());
    for line in source.split_inclusive('\n') {
        match IncludeLine::find(line) {
            Some(found) => {
                let width = found.before.chars().count();
                // Writing to a string cannot fail.
                let _ = write!(
                    text,
                    "{}{{%{} filter indent({width}) %}}{{% {} %}}{{% endfilter {}%}}{}",
                    found.before, found.open, found.statement, found.close, found.after
                );
            }
            None => text.push_str(line),
        }
    }
    text
}

/// A line with an include directive, taken apart.
struct IncludeLine<'a> {
    before: &'a str,
    /// The whitespace sign after `{%`
    open: &'a str,
    statement: &'a str,
    /// The whitespace sign before `%}`
    close: &'a str,
    after: &'a str,
}

impl<'a> IncludeLine<'a> {
    /// The last one of the line.
    fn find(line: &'a str) -> Option<Self> {
        line.rmatch_indices("{%").find_map(|(at, tag)| {
            let (before, rest) = (line.get(..at)?, line.get(at + tag.len()..)?);
            let (inside, after) = rest.split_once("%}")?;
            let (open, inside) = split_sign(inside, str::strip_prefix);
            let (close, inside) = split_sign(inside, str::strip_suffix);
            let statement = inside.trim();
            let name = statement.strip_prefix("include")?;
            let is_include = name.starts_with([' ', '\t', '"', '\'', '(', '[']);
            is_include.then_some(Self {
                before,
                open,
                statement,
                close,
                after,
            })
        })
    }
}

/// A whitespace sign at one end of a tag, and the rest.
fn split_sign(
    text: &str,
    strip: impl for<'t> Fn(&'t str, char) -> Option<&'t str>,
) -> (&'static str, &str) {
    for (sign, word) in [('-', "-"), ('+', "+")] {
        if let Some(rest) = strip(text, sign) {
            return (word, rest);
        }
    }
    ("", text)
}

/// In a file that is included, the `context` of an image is meant from where that file is; from the root file's
/// place it is another path.
fn rewrite_contexts<'a>(text: &'a str, directory: &Path, root: &Path) -> Cow<'a, str> {
    if !text.contains("context") {
        return Cow::Borrowed(text);
    }
    let mut rewritten = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        match context_of(line) {
            Some((before, value)) => {
                let path = relative(&directory.join(value), root);
                let ending = line.get(line.trim_end_matches(['\n', '\r']).len()..);
                rewritten.push_str(before);
                rewritten.push_str(&path.to_string_lossy());
                rewritten.push_str(ending.unwrap_or_default());
            }
            None => rewritten.push_str(line),
        }
    }
    Cow::Owned(rewritten)
}

/// `context: value`, as what stands before the value, and the value without quotes.
fn context_of(line: &str) -> Option<(&str, &str)> {
    let rest = line.trim_start().strip_prefix("context")?;
    let rest = rest.trim_start().strip_prefix(':')?;
    let value = rest.trim();
    if value.is_empty() || !rest.starts_with([' ', '\t']) {
        return None;
    }
    let start = line.len() - rest.len() + (rest.len() - rest.trim_start().len());
    Some((
        line.get(..start)?,
        value.trim_matches('"').trim_matches('\''),
    ))
}

/// A path as seen from a directory, both taken from the current one, by their text alone.
fn relative(path: &Path, directory: &Path) -> PathBuf {
    let (path, directory) = (normal(path), normal(directory));
    let shared = path
        .iter()
        .zip(&directory)
        .take_while(|(a, b)| a == b)
        .count();
    let mut result: PathBuf = directory.iter().skip(shared).map(|_| "..").collect();
    result.extend(path.iter().skip(shared));
    if result.as_os_str().is_empty() {
        result.push(".");
    }
    result
}

/// The path from the root, without `.` and `..`.
fn normal(path: &Path) -> PathBuf {
    let mut result = PathBuf::new();
    let start = std::env::current_dir().unwrap_or_default();
    for part in start.join(path).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                result.pop();
            }
            other => result.push(other),
        }
    }
    result
}

/// Prints a value as Python's `str` does.
fn format_value(
    output: &mut Output<'_>,
    _: &mut State<'_, '_>,
    value: &Value,
) -> Result<(), Error> {
    let mut text = String::new();
    match value.kind() {
        ValueKind::Undefined => {}
        ValueKind::String => text.push_str(value.as_str().unwrap_or_default()),
        _ => represent(value, &mut text)?,
    }
    output.write_str(&text).map_err(Error::from)
}

/// As Python's `repr` does.
fn represent(value: &Value, text: &mut String) -> Result<(), Error> {
    match value.kind() {
        ValueKind::Undefined | ValueKind::None => text.push_str("None"),
        ValueKind::Bool => text.push_str(if value.is_true() { "True" } else { "False" }),
        ValueKind::String => quote(value.as_str().unwrap_or_default(), text),
        ValueKind::Seq | ValueKind::Iterable => {
            text.push('[');
            for (number, item) in value.try_iter()?.enumerate() {
                if number > 0 {
                    text.push_str(", ");
                }
                represent(&item, text)?;
            }
            text.push(']');
        }
        ValueKind::Map => {
            text.push('{');
            for (number, key) in value.try_iter()?.enumerate() {
                if number > 0 {
                    text.push_str(", ");
                }
                represent(&key, text)?;
                text.push_str(": ");
                represent(&value.get_item(&key)?, text)?;
            }
            text.push('}');
        }
        _ => {
            let _ = write!(text, "{value}");
        }
    }
    Ok(())
}

fn quote(word: &str, text: &mut String) {
    let sign = if word.contains('\'') && !word.contains('"') {
        '"'
    } else {
        '\''
    };
    text.push(sign);
    for c in word.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            c if c == sign => text.extend(['\\', c]),
            c => text.push(c),
        }
    }
    text.push(sign);
}

/// Takes what is rendered, up to the limit.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len().saturating_add(bytes.len()) > OUTPUT_LIMIT {
            return Err(io::Error::other(format!(
                "the template renders to more than {OUTPUT_LIMIT} bytes"
            )));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rendered(files: &[(&str, &str)], parameters: serde_json::Value) -> Result<String, CliError> {
        let place = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = place.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let serde_json::Value::Object(parameters) = parameters else {
            panic!("parameters are an object");
        };
        render(&place.path().join(files[0].0), &parameters)
    }

    fn text(source: &str, parameters: serde_json::Value) -> String {
        rendered(&[("file.yaml", source)], parameters).unwrap()
    }

    #[test]
    fn undefined_variables_are_empty() {
        assert_eq!(
            text("a: {{ missing }}|{% if missing %}x{% endif %}", json!({})),
            "a: |"
        );
        assert!(rendered(&[("f", "{{ missing.part }}")], json!({})).is_err());
    }

    #[test]
    fn values_print_as_in_python() {
        let parameters =
            json!({"t": true, "n": null, "l": ["a", 1, false, "it's"], "m": {"k": 1.0}, "f": 1.5});
        assert_eq!(
            text(
                "{{ t }} {{ n }} {{ l }} {{ m }} {{ f }} {{ 7 / 2 }}",
                parameters
            ),
            "True None ['a', 1, False, \"it's\"] {'k': 1.0} 1.5 3.5"
        );
    }

    #[test]
    fn methods_and_filters_of_python_work() {
        assert_eq!(
            text(
                "{{ name.upper() }} {{ os_env.get('PEAK_NO_SUCH_VARIABLE', 'none') }} {{ name | default('x') }} {% for k, v in m.items() %}{{ k }}={{ v }};{% endfor %}",
                json!({"name": "hello", "m": {"a": 1, "b": 2}})
            ),
            "HELLO none hello a=1;b=2;"
        );
        let path = std::env::var("PATH").unwrap();
        assert_eq!(
            text("{{ os_env.PATH }}{{ os_env['PATH'] }}", json!({})),
            path.repeat(2)
        );
    }

    #[test]
    fn nothing_is_escaped() {
        assert_eq!(
            text("{{ x }}", json!({"x": "<a href=\"b\"> & 'c'"})),
            "<a href=\"b\"> & 'c'"
        );
    }

    #[test]
    fn included_text_keeps_the_indentation_of_its_line() {
        let files = [
            (
                "root.yaml",
                "body:\n  details:\n    {% include 'part.yaml' %}\nend: 1\n",
            ),
            (
                "part.yaml",
                "a: 1\nb:\n  {%- include 'deep/leaf.yaml' %}\n\nc: 2\n",
            ),
            ("deep/leaf.yaml", " [x,\ny]"),
        ];
        assert_eq!(
            rendered(&files, json!({})).unwrap(),
            "body:\n  details:\n    a: 1\n    b: [x,\n      y]\n\n    c: 2\nend: 1"
        );
    }

    #[test]
    fn text_after_an_include_stays() {
        let files = [("root", "x: [{% include 'a' %}, 3]"), ("a", "1, 2")];
        assert_eq!(rendered(&files, json!({})).unwrap(), "x: [1, 2, 3]");
    }

    #[test]
    fn the_context_of_an_included_file_is_meant_from_its_own_place() {
        let files = [
            ("root.yaml", "context: here\n{% include 'sub/part.yaml' %}"),
            (
                "sub/part.yaml",
                "  context: \"app\"\ncontext : ../other\ncontexts: x",
            ),
        ];
        assert_eq!(
            rendered(&files, json!({})).unwrap(),
            "context: here\n  context: sub/app\ncontext : other\ncontexts: x"
        );
    }

    #[test]
    fn a_file_that_includes_itself_ends_in_an_error() {
        let error = rendered(&[("a", "{% include 'a' %}")], json!({})).unwrap_err();
        assert!(
            error.message.contains("recursion limit"),
            "{}",
            error.message
        );
    }

    #[test]
    fn a_loop_without_end_stops() {
        let source =
            "{% for a in range(10000) %}{% for b in range(10000) %}{{ b }}{% endfor %}{% endfor %}";
        assert!(rendered(&[("a", source)], json!({})).is_err());
    }

    #[test]
    fn errors_name_the_file_and_what_is_missing() {
        let error = rendered(&[("a.yaml", "x\n{% include 'gone.yaml' %}")], json!({})).unwrap_err();
        assert!(error.message.contains("a.yaml"), "{}", error.message);
        assert!(error.message.contains("gone.yaml"), "{}", error.message);
        let error = rendered(&[("a.yaml", "{{ open")], json!({})).unwrap_err();
        assert!(error.message.contains("a.yaml"), "{}", error.message);
    }
}
