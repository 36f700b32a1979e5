//! Programs in Go: the conformance suite of the distribution specification, `crane` and `oras`.
//!
//! A module of its own says which versions, and has the hashes of everything that they are made from.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::{run, runs};

/// The module, from the top of the workspace.
const MODULE: &str = "tests/system/peers/go";

/// Where the programs go, which is where the tests look for them.
const PROGRAMS: &str = "target/peers/go/bin";

/// Written last: the module's files that the programs were made from.
const STAMP: &str = "target/peers/go/installed.txt";

/// Go is often unpacked here, and not in `PATH`.
const COMPILERS: [&str; 2] = ["go", "/usr/local/go/bin/go"];

/// What was built.
pub(super) struct Programs {
    pub(super) directory: PathBuf,
    /// Of the programs, as the module has them.
    pub(super) names: String,
}

/// Builds the programs unless they are there from these versions; `None` without Go.
pub(super) fn up(workspace: &Path) -> anyhow::Result<Option<Programs>> {
    let module = workspace.join(MODULE);
    let read = |name: &str| {
        let file = module.join(name);
        std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
    };
    let requirements = read("go.mod")?;
    let versions = format!("{requirements}\n{}", read("go.sum")?);
    let tools = tools(&requirements);
    let programs = Programs {
        directory: workspace.join(PROGRAMS),
        names: tools.join(", "),
    };

    let stamp = workspace.join(STAMP);
    let is_current = std::fs::read_to_string(&stamp).is_ok_and(|made_from| made_from == versions)
        && tools
            .iter()
            .all(|tool| programs.directory.join(tool).exists());
    if is_current {
        return Ok(Some(programs));
    }
    let Some(compiler) = COMPILERS
        .into_iter()
        .find(|compiler| runs(Command::new(compiler).arg("version")))
    else {
        return Ok(None);
    };
    run(Command::new(compiler)
        .args(["install", "tool"])
        .current_dir(&module)
        .env("GOBIN", &programs.directory)
        .env("GOWORK", "off")
        .env("GOFLAGS", "-mod=readonly -trimpath -buildvcs=false"))?;
    std::fs::write(&stamp, versions)
        .with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(Some(programs))
}

/// The names of the programs that a `go.mod` lists as its tools.
fn tools(requirements: &str) -> Vec<&str> {
    requirements
        .lines()
        .skip_while(|line| *line != "tool (")
        .skip(1)
        .take_while(|line| *line != ")")
        .filter_map(|line| line.trim().rsplit('/').next())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{MODULE, PROGRAMS, STAMP, tools, up};

    #[test]
    fn the_tests_programs_are_tools_of_the_module() {
        let file = crate::workspace_root().unwrap().join(MODULE).join("go.mod");
        let requirements = std::fs::read_to_string(file).unwrap();
        assert_eq!(tools(&requirements), ["crane", "conformance", "oras"]);
    }

    #[test]
    fn programs_from_these_versions_are_not_built_again() {
        let workspace = tempfile::tempdir().unwrap();
        let root = workspace.path();
        for directory in [MODULE, PROGRAMS] {
            std::fs::create_dir_all(root.join(directory)).unwrap();
        }
        // No Go would build this.
        let requirements = "tool (\n\texample.test/one\n)\n";
        std::fs::write(root.join(MODULE).join("go.mod"), requirements).unwrap();
        std::fs::write(root.join(MODULE).join("go.sum"), "sums\n").unwrap();
        std::fs::write(root.join(PROGRAMS).join("one"), "").unwrap();
        std::fs::write(root.join(STAMP), format!("{requirements}\nsums\n")).unwrap();
        let programs = up(root).unwrap().unwrap();
        assert_eq!(programs.names, "one");
        assert_eq!(programs.directory, root.join(PROGRAMS));
    }
}
