//! `docs/registries.md` names the tests that show what it says.

use std::path::Path;

/// The text of all Rust files under a directory.
fn sources(directory: &Path, into: &mut String) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_test_that_the_table_of_registries_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = std::fs::read_to_string(root.join("docs/registries.md")).unwrap();
    let mut code = String::new();
    sources(&root.join("crates"), &mut code);
    let rows = text.lines().filter(|line| line.starts_with('|'));
    let named: Vec<&str> = rows
        .flat_map(|row| row.split('`').skip(1).step_by(2))
        .filter_map(|quoted| quoted.rsplit_once("::").map(|(_, name)| name))
        .filter(|name| name.contains('_') && !name.contains(' '))
        .collect();
    assert!(named.len() > 50, "{named:?}");
    for name in named {
        let definition = format!("fn {name}(");
        assert!(code.contains(&definition), "there is no test `{name}`");
    }
}
