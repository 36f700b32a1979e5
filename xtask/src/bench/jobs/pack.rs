//! Packing a project of many files.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Context as _;

use crate::bench::measure::Command;
use crate::bench::tools;
use crate::bench::{Job, Kind, Race, Run, Runner, Workplace};

pub(super) const JOB: Job = Job {
    name: "pack",
    about: "A directory of 4,000 files (15 MB that look like source code) into a zip. Of the Python client only \
            the packing is called; loading its modules is part of its time.",
    prepare,
};

const FILES: u32 = 4000;

/// Mean size of the files in bytes.
const MEAN_SIZE: u32 = 3750;

/// Calls what the Python client's command line calls, and no more.
const PYTHON: &str = "\
import shutil, sys
from peak.compression import compress
with compress(sys.argv[1]) as archive, open(sys.argv[2], 'wb') as out:
    shutil.copyfileobj(archive, out)
";

fn prepare(workplace: &Workplace) -> anyhow::Result<Vec<Race>> {
    let place = workplace.data.join("pack");
    let tree = place.join("tree");
    make_tree(&tree)?;
    let peak = tools::peak(workplace)?;
    let output = |name: &str| place.join(name);
    let runner = |name: &str, kind, command: Result<Command, String>, output| Runner {
        name: name.to_owned(),
        kind,
        run: match command {
            Ok(command) => Run::Command {
                command,
                output: Some(output),
                scratch: None,
            },
            Err(reason) => Run::Missing(reason),
        },
    };

    let ours = output("peak.zip");
    let command = Command::new(peak)
        .arg("pack")
        .arg(&tree)
        .arg("--output")
        .arg(&ours);
    let ours = runner("peak pack", Kind::Ours, Ok(command), ours);

    let zipped = output("zip.zip");
    let command = tools::find("zip").map(|zip| {
        let arguments = Command::new(zip).arg("-qr").arg(&zipped).arg(".");
        arguments.directory(&tree)
    });
    let zip = runner("zip -r", Kind::Peer, command, zipped);

    let packed = output("python.zip");
    let command = tools::python_client(workplace).map(|bin| {
        let python = Command::new(bin.join("python")).arg("-c").arg(PYTHON);
        python.arg(&tree).arg(&packed)
    });
    let python = runner("Python client's packing", Kind::Peer, command, packed);

    Ok(vec![Race {
        title: "",
        runners: vec![ours, zip, python],
        held: Vec::new(),
    }])
}

/// Makes the files, the same ones each time, unless they are there.
fn make_tree(tree: &Path) -> anyhow::Result<()> {
    let done = tree.with_extension("made");
    if done.exists() {
        return Ok(());
    }
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let words = vocabulary(&mut random);
    for number in 0..FILES {
        let directory = tree.join(format!("package{}/module{}", number % 40, number / 40 % 12));
        fs::create_dir_all(&directory)?;
        // From a few hundred bytes to three times the mean, small ones more often.
        let size = 200 + random.below(2 * MEAN_SIZE - 400) / 2 + random.below(MEAN_SIZE - 100);
        let path = directory.join(format!("file{number}.py"));
        fs::write(&path, source_code(size as usize, &words, &mut random))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    fs::write(done, "")?;
    Ok(())
}

/// Identifiers, of which code uses some often and most seldom.
fn vocabulary(random: &mut Random) -> Vec<String> {
    let syllables = [
        "re", "con", "for", "der", "get", "val", "ue", "in", "dex", "ta", "mo", "del", "_", "set",
    ];
    (0..1500)
        .map(|_| {
            let parts = 1 + random.below(4);
            (0..parts).map(|_| random.choose(&syllables)).collect()
        })
        .collect()
}

fn source_code(size: usize, words: &[String], random: &mut Random) -> String {
    let mut text = String::with_capacity(size + 200);
    let mut indent = 0;
    while text.len() < size {
        let mut word = || {
            // The product of two prefers the first words.
            let most = u32::try_from(words.len()).unwrap_or(u32::MAX);
            let bound = 1 + random.below(most);
            let index = random.below(bound) as usize;
            words.get(index).map_or("", String::as_str)
        };
        let (a, b, c, d) = (word(), word(), word(), word());
        let margin = "    ".repeat(indent);
        // Writing to a string cannot fail.
        let _ = match random.below(9) {
            0 => writeln!(
                text,
                "\n{margin}def {a}_{b}(self, {c}, {d}=None):\n{margin}    \"\"\"Returns {a} of {b}.\"\"\""
            ),
            1 => writeln!(
                text,
                "{margin}if {a}.{b} is not None and {c} > {}:",
                random.below(1000)
            ),
            2 => writeln!(text, "{margin}for {a} in {b}.{c}({d}):"),
            3 => writeln!(text, "{margin}# {a} {b} {c} {d}"),
            4 => writeln!(
                text,
                "{margin}return self.{a}({b}, {c}[{}])",
                random.below(20)
            ),
            5 => writeln!(text, "{margin}raise ValueError(f\"{a} {{{b}}} is no {c}\")"),
            _ => writeln!(
                text,
                "{margin}{a} = {b}.{c}({d}, {:#x})",
                random.below(100_000)
            ),
        };
        indent = random.below(4) as usize;
    }
    text
}

/// Marsaglia's xorshift64: the same numbers on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        // The upper half; the remainder is less than the divisor.
        u32::try_from((self.0 >> 32) % u64::from(bound.max(1))).unwrap_or(0)
    }

    fn choose<'a>(&mut self, words: &[&'a str]) -> &'a str {
        let count = u32::try_from(words.len()).unwrap_or(u32::MAX);
        words
            .get(self.below(count) as usize)
            .copied()
            .unwrap_or_default()
    }
}
