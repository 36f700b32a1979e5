//! The embedded registry beside Debian's `docker-registry`, with the same client.

use std::any::Any;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use anyhow::Context as _;

use crate::bench::measure::Command;
use crate::bench::registries::DockerRegistry;
use crate::bench::tools::{self, Background};
use crate::bench::{Job, Kind, Race, Run, Runner, Workplace};

pub(super) const JOB: Job = Job {
    name: "registry",
    about: "How fast registries take and give blobs: `curl` pushes 4 × 256 MiB, two at a time, or pulls them without \
            a look at what it gets. Both registries store in the same place and have the blobs already, but take them \
            once more as if they had not. CPU and memory are the client's: it is the wall time that tells. The floor \
            copies the same bytes from disk to disk, or reads them.",
    prepare,
};

/// How many blobs, and how large each is, in MiB.
const BLOBS: u64 = 4;
const MIB: u64 = 256;

/// Pushes the blobs named after the registry's address, two at a time.
const PUSH: &str = r#"
push() {
  location=$(curl -sSf -X POST -o /dev/null -w '%header{location}' "http://$1/v2/bench/blobs/uploads/") || return 1
  case $location in http*) ;; *) location=http://$1$location ;; esac
  case $location in *\?*) location="$location&" ;; *) location="$location?" ;; esac
  digest=sha256:$(basename "$2")
  curl -sSf -o /dev/null -H Expect: -H Content-Type:application/octet-stream -T "$2" "${location}digest=$digest"
}
registry=$1
shift
while [ $# -gt 0 ]; do
  push "$registry" "$1" & first=$!
  push "$registry" "$2" || exit 1
  wait $first || exit 1
  shift 2
done
"#;

/// The same the other way round.
const PULL: &str = r#"
pull() {
  curl -sSf -o /dev/null "http://$1/v2/bench/blobs/sha256:$(basename "$2")"
}
registry=$1
shift
while [ $# -gt 0 ]; do
  pull "$registry" "$1" & first=$!
  pull "$registry" "$2" || exit 1
  wait $first || exit 1
  shift 2
done
"#;

/// Copies the files named after a directory into it, and waits for the disk.
const COPY: &str = r#"
directory=$1
shift
while [ $# -gt 0 ]; do
  dd if="$1" of="$directory/1" bs=1M conv=fsync status=none & first=$!
  dd if="$2" of="$directory/2" bs=1M conv=fsync status=none || exit 1
  wait $first || exit 1
  shift 2
done
"#;

/// Reads the files named after a word that is not looked at.
const READ: &str = r#"
shift
while [ $# -gt 0 ]; do
  dd if="$1" of=/dev/null bs=1M status=none & first=$!
  dd if="$2" of=/dev/null bs=1M status=none || exit 1
  wait $first || exit 1
  shift 2
done
"#;

fn prepare(workplace: &Workplace) -> anyhow::Result<Vec<Race>> {
    let place = workplace.data.join("registry");
    let blobs = place.join("blobs");
    make_blobs(&blobs)?;
    let mut files = fs::read_dir(&blobs)?
        .map(|entry| Ok(entry?.path().into_os_string()))
        .collect::<anyhow::Result<Vec<_>>>()?;
    files.sort();
    let copies = place.join("copies");
    fs::create_dir_all(&copies)?;

    let arguments = ["-p", "peak-registry-server", "--example", "serve"];
    let program = tools::build(workplace, &arguments, "serve")?;
    let store = place.join("embedded");
    let store = store.to_str().context("the path is not text")?;
    let (embedded, ours) = Background::start(&program, &[store])?;
    let (peer, theirs) = match tools::find("docker-registry") {
        Ok(_) => {
            let server = DockerRegistry::start(&place.join("docker-registry"))?;
            let address = server.address.clone();
            (Some(server), Ok(address))
        }
        Err(reason) => (None, Err(reason)),
    };

    let shell = |script: &str, first: &OsStr| {
        let command = Command::new("sh").args(["-c", script, "sh"]).arg(first);
        Run::Command {
            command: command.args(&files),
            output: None,
            scratch: None,
        }
    };
    let race = |title, script, floor, held| Race {
        title,
        runners: vec![
            runner(
                "embedded registry",
                Kind::Ours,
                shell(script, ours.as_ref()),
            ),
            runner(
                "docker-registry",
                Kind::Peer,
                match &theirs {
                    Ok(address) => shell(script, address.as_ref()),
                    Err(reason) => Run::Missing(reason.clone()),
                },
            ),
            runner("dd", Kind::Floor, shell(floor, copies.as_ref())),
        ],
        held,
    };
    let push = race("push", PUSH, COPY, Vec::new());
    // All races are prepared before the first runs: the last one keeps the servers.
    let held: Vec<Box<dyn Any>> = vec![Box::new(embedded), Box::new(peer)];
    Ok(vec![push, race("pull", PULL, READ, held)])
}

fn runner(name: &str, kind: Kind, run: Run) -> Runner {
    Runner {
        name: name.to_owned(),
        kind,
        run,
    }
}

/// Makes files that are called what their SHA-256 digest is, unless they are there.
fn make_blobs(directory: &Path) -> anyhow::Result<()> {
    let done = directory.with_extension("made");
    if done.exists() {
        return Ok(());
    }
    fs::create_dir_all(directory)?;
    for number in 1..=BLOBS {
        let path = directory.join("unfinished");
        let mut file = BufWriter::new(fs::File::create(&path)?);
        let mut state = number;
        for _ in 0..MIB * 1024 * 1024 / 8 {
            // Marsaglia's xorshift64: nothing that a file system could make smaller.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            file.write_all(&state.to_le_bytes())?;
        }
        file.into_inner()
            .map_err(std::io::IntoInnerError::into_error)?
            .sync_all()?;
        let output = std::process::Command::new("sha256sum").arg(&path).output();
        let output = output.context("cannot start sha256sum")?;
        let said = String::from_utf8_lossy(&output.stdout);
        let digest = said.split(' ').next().context("sha256sum says nothing")?;
        fs::rename(&path, directory.join(digest))?;
    }
    fs::write(done, "")?;
    Ok(())
}
