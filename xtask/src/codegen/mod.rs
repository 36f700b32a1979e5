//! Generates the types of `peak-models`: read ([`schema`]), lower ([`lower`]), emit ([`emit`]).

mod emit;
mod error;
mod json;
mod lower;
mod schema;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::Context as _;

use self::emit::File;

/// Where the schemas are, and where the generated code goes.
#[derive(Debug)]
pub(crate) struct Layout {
    schemas: PathBuf,
    output: PathBuf,
}

impl Layout {
    /// The places within the workspace.
    pub(crate) fn of_workspace(root: &Path) -> Self {
        Self {
            schemas: root.join("schemas"),
            output: root.join("crates/peak-models/src/generated"),
        }
    }
}

/// What [`check`] found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The output on disk is what the schemas give.
    Same,
    /// It is not.
    Differs {
        /// From what is on disk to what should be, as a unified diff.
        diff: String,
    },
}

/// Brings the output up to date and returns the files that were written or removed.
pub(crate) fn write(layout: &Layout) -> anyhow::Result<Vec<PathBuf>> {
    let files = generate(layout)?;
    fs::create_dir_all(&layout.output)
        .with_context(|| format!("cannot create {}", layout.output.display()))?;
    let mut changed = Vec::new();
    for file in &files {
        let path = layout.output.join(&file.name);
        if read_if_there(&path)?.as_deref() != Some(&file.text) {
            fs::write(&path, &file.text)
                .with_context(|| format!("cannot write {}", path.display()))?;
            changed.push(path);
        }
    }
    for path in stale(layout, &files)? {
        fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        changed.push(path);
    }
    Ok(changed)
}

/// Compares the output on disk with what the schemas give; writes nothing.
pub(crate) fn check(layout: &Layout) -> anyhow::Result<Outcome> {
    let files = generate(layout)?;
    let mut diff = String::new();
    for file in &files {
        let path = layout.output.join(&file.name);
        let found = read_if_there(&path)?.unwrap_or_default();
        write_diff(&mut diff, &path, &found, &file.text)?;
    }
    for path in stale(layout, &files)? {
        let found = read_if_there(&path)?.unwrap_or_default();
        write_diff(&mut diff, &path, &found, "")?;
    }
    Ok(if diff.is_empty() {
        Outcome::Same
    } else {
        Outcome::Differs { diff }
    })
}

fn generate(layout: &Layout) -> anyhow::Result<Vec<File>> {
    let documents = schema_files(&layout.schemas)?
        .iter()
        .map(|path| {
            let text = fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            schema::read(&name, &text).context("in the schemas")
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let model = lower::lower(&documents).context("in the schemas")?;
    emit::emit(&model).context("the generated code is not Rust; this is a bug of `xtask codegen`")
}

/// The `.json` files of the directory, sorted by name: the order in which a file system lists them says nothing.
fn schema_files(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let files = files_with_extension(directory, "json")
        .with_context(|| format!("cannot list {}", directory.display()))?;
    anyhow::ensure!(
        !files.is_empty(),
        "there is no schema in {}",
        directory.display()
    );
    Ok(files)
}

/// Files of the output folder that are no longer generated.
fn stale(layout: &Layout, files: &[File]) -> anyhow::Result<Vec<PathBuf>> {
    let there = match files_with_extension(&layout.output, "rs") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        result => result.with_context(|| format!("cannot list {}", layout.output.display()))?,
    };
    Ok(there
        .into_iter()
        .filter(|path| {
            !files
                .iter()
                .any(|file| path.file_name() == Some(file.name.as_ref()))
        })
        .collect())
}

fn files_with_extension(directory: &Path, extension: &str) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|found| found == extension) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read_if_there(path: &Path) -> anyhow::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn write_diff(
    out: &mut String,
    path: &Path,
    found: &str,
    expected: &str,
) -> Result<(), std::fmt::Error> {
    if found == expected {
        return Ok(());
    }
    let path = path.display().to_string();
    write!(
        out,
        "{}",
        similar::TextDiff::from_lines(found, expected)
            .unified_diff()
            .context_radius(3)
            .header(&path, "from the schemas")
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::{Layout, Outcome, check, write};

    const PETS: &str = r#"{
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://example.com/pets.json",
        "description": "Pets.",
        "$defs": {
            "Pet": {
                "type": "object",
                "description": "A pet.",
                "properties": {"name": {"type": "string", "description": "Its name."}},
                "examples": [{"name": "Rex"}]
            }
        }
    }"#;

    fn workspace() -> (TempDir, Layout) {
        let directory = TempDir::new().unwrap();
        let layout = Layout {
            schemas: directory.path().join("schemas"),
            output: directory.path().join("src/generated"),
        };
        fs::create_dir(&layout.schemas).unwrap();
        fs::write(layout.schemas.join("pets.json"), PETS).unwrap();
        fs::write(layout.schemas.join("README.md"), "not a schema").unwrap();
        (directory, layout)
    }

    #[test]
    fn running_twice_gives_the_same_bytes() {
        let (_directory, layout) = workspace();
        let first = write(&layout).unwrap();
        assert_eq!(first.len(), 3);
        let bytes = fs::read(layout.output.join("pets.rs")).unwrap();

        assert!(write(&layout).unwrap().is_empty());
        assert_eq!(fs::read(layout.output.join("pets.rs")).unwrap(), bytes);
        assert_eq!(check(&layout).unwrap(), Outcome::Same);
    }

    #[test]
    fn check_shows_what_differs_and_writes_nothing() {
        let (_directory, layout) = workspace();
        write(&layout).unwrap();
        let path = layout.output.join("pets.rs");
        let edited = fs::read_to_string(&path)
            .unwrap()
            .replace("Option<String>", "String");
        fs::write(&path, &edited).unwrap();
        fs::remove_file(layout.output.join("mod.rs")).unwrap();
        fs::write(layout.output.join("old.rs"), "pub struct Old;\n").unwrap();

        let Outcome::Differs { diff } = check(&layout).unwrap() else {
            panic!("the difference was not seen");
        };
        assert!(
            diff.contains("-    pub name: String,\n+    pub name: Option<String>,\n"),
            "{diff}"
        );
        assert!(diff.contains("+mod pets;"), "{diff}");
        assert!(diff.contains("-pub struct Old;"), "{diff}");
        assert_eq!(fs::read_to_string(&path).unwrap(), edited);
        assert!(!layout.output.join("mod.rs").exists());

        write(&layout).unwrap();
        assert_eq!(check(&layout).unwrap(), Outcome::Same);
        assert!(!layout.output.join("old.rs").exists());
    }

    #[test]
    fn an_error_in_a_schema_names_the_place_and_leaves_the_output() {
        let (_directory, layout) = workspace();
        write(&layout).unwrap();
        let before = fs::read(layout.output.join("pets.rs")).unwrap();
        fs::write(
            layout.schemas.join("pets.json"),
            PETS.replace(r#""type": "string""#, r#""type": "string", "maxLength": 3"#),
        )
        .unwrap();
        let error = format!("{:#}", write(&layout).unwrap_err());
        assert!(
            error.contains(
                "pets.json#/$defs/Pet/properties/name/maxLength: unknown keyword `maxLength`"
            ),
            "{error}"
        );
        assert_eq!(fs::read(layout.output.join("pets.rs")).unwrap(), before);
    }

    #[test]
    fn a_directory_without_schemas_is_an_error() {
        let (directory, layout) = workspace();
        fs::remove_file(layout.schemas.join("pets.json")).unwrap();
        let error = write(&layout).unwrap_err().to_string();
        assert!(error.contains("there is no schema in"), "{error}");
        drop(directory);
    }
}
