//! Files and directories that the command line names to write to: what is wrong with one, said before the work.

use std::path::Path;

use crate::error::{CliError, ErrorKind};
use crate::output::printable;

/// Looks whether a file can be written there at all, before the work begins; `named` says what names it.
pub(crate) fn can_be_written(named: &str, file: &Path) -> Result<(), CliError> {
    let path = file.display();
    if file.as_os_str().is_empty() {
        return Err(CliError::usage(format!("{named} names no file")).with_hint("write its name"));
    }
    if file.is_dir() {
        return Err(CliError::usage(format!("`{path}` is a directory"))
            .with_hint(format!("{named} names the file to write")));
    }
    match file.parent() {
        Some(directory) if !directory.as_os_str().is_empty() && !directory.is_dir() => {
            let directory = directory.display();
            Err(CliError::new(
                ErrorKind::NotFound,
                format!("`{path}` cannot be written: there is no directory `{directory}`"),
            )
            .with_hint("make it first, or name another place"))
        }
        _ => Ok(()),
    }
}

/// Looks whether this is a directory, or could become one; `named` says what names it.
pub(crate) fn may_be_a_directory(named: &str, directory: &Path) -> Result<(), CliError> {
    if directory.exists() && !directory.is_dir() {
        return Err(
            CliError::usage(format!("`{}` is not a directory", directory.display()))
                .with_hint(format!("{named} names a directory")),
        );
    }
    Ok(())
}

/// A path as a shell takes it for one word.
pub(crate) fn in_shell(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,=".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text;
    }
    format!("'{}'", printable(&text).replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_of_a_shell() {
        for (path, expected) in [
            ("a/b-c.d", "a/b-c.d"),
            ("my site", "'my site'"),
            ("it's", r"'it'\''s'"),
            ("$HOME", "'$HOME'"),
            ("", "''"),
        ] {
            assert_eq!(in_shell(Path::new(path)), expected);
        }
    }

    #[test]
    fn what_cannot_be_written_is_said_before_the_work() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        std::fs::write(at("file"), "").unwrap();
        for (file, kind) in [
            (place.path().to_owned(), ErrorKind::Usage),
            (Path::new("").to_owned(), ErrorKind::Usage),
            (at("gone/file"), ErrorKind::NotFound),
            (at("file/file"), ErrorKind::NotFound),
        ] {
            let error = can_be_written("FILE", &file).unwrap_err();
            assert_eq!(error.kind, kind, "{}", error.message);
        }
        for file in [at("file"), at("new"), Path::new("new").to_owned()] {
            can_be_written("FILE", &file).unwrap();
        }
    }

    #[test]
    fn a_file_is_no_directory_and_a_new_one_may_become_one() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(may_be_a_directory("--state-dir", &file).is_err());
        assert!(may_be_a_directory("--state-dir", place.path()).is_ok());
        assert!(may_be_a_directory("--state-dir", &place.path().join("new")).is_ok());
    }
}
