//! What no client can beat: the same bytes without the rest of the work.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::bench::images::Image;
use crate::bench::measure::Command;
use crate::bench::{Kind, Run, Runner, tools};

/// Fetches what each of the files named after the directory says, all at the same time.
const FETCH: &str = r#"
mkdir -p "$1" && cd "$1" || exit 1
shift
failed=0
pids=
for list; do
  curl -sSf --config "$list" & pids="$pids $!"
done
for pid in $pids; do wait $pid || failed=1; done
exit $failed
"#;

/// `connections` processes of `curl`, which fetch the layers of an image and look at nothing. The image is at `url`, up to
/// `/v2/NAME`; its lists go into `lists`, and what comes into `scratch`.
pub(super) fn curl(
    connections: usize,
    image: &Image,
    url: &str,
    certificate: Option<&Path>,
    lists: &Path,
    scratch: &Path,
) -> anyhow::Result<Runner> {
    let mut texts = vec![String::new(); connections];
    for (number, digest) in image.layers().iter().enumerate() {
        if let Some(text) = texts.get_mut(number % connections.max(1)) {
            writeln!(text, "url = \"{url}/blobs/sha256:{digest}\"")?;
            writeln!(text, "output = \"{digest}\"")?;
        }
    }
    fs::create_dir_all(lists).with_context(|| format!("cannot make {}", lists.display()))?;
    let mut files = Vec::new();
    for (number, mut text) in texts.into_iter().enumerate() {
        if text.is_empty() {
            continue;
        }
        if let Some(file) = certificate {
            writeln!(text, "cacert = \"{}\"", file.display())?;
        }
        let file = lists.join(format!("curl-{number}"));
        fs::write(&file, text)?;
        files.push(file);
    }
    let count = files.len();
    let times = if count == 1 {
        String::new()
    } else {
        format!("{count} × ")
    };
    Ok(runner(
        &format!("{times}curl, nothing hashed"),
        "curl",
        |_| {
            Command::new("sh")
                .args(["-c", FETCH, "sh"])
                .arg(scratch)
                .args(&files)
        },
        Some(scratch),
    ))
}

/// The layers of an image through SHA-256, on one processor.
pub(super) fn hash(image: &Image) -> Runner {
    runner(
        "openssl, SHA-256 alone",
        "openssl",
        |program| {
            Command::new(program)
                .args(["dgst", "-sha256"])
                .args(image.layer_files())
        },
        None,
    )
}

/// What `curl` gets from one URL.
pub(super) fn get(url: &str) -> Runner {
    runner(
        "curl",
        "curl",
        |program| Command::new(program).args(["-sSf", url]),
        None,
    )
}

fn runner(
    name: &str,
    program: &str,
    command: impl FnOnce(PathBuf) -> Command,
    scratch: Option<&Path>,
) -> Runner {
    Runner {
        name: name.to_owned(),
        kind: Kind::Floor,
        run: match tools::find(program) {
            Ok(program) => Run::Command {
                command: command(program),
                output: None,
                scratch: scratch.map(Path::to_owned),
            },
            Err(reason) => Run::Missing(reason),
        },
    }
}
