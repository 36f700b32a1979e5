//! The programs that move images, and how each is told what to do.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::bench::measure::Command;
use crate::bench::registries::DockerRegistry;
use crate::bench::{Kind, Run, Runner, Workplace, tools};

/// Who moves images.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Client {
    Peak,
    Crane,
    Skopeo,
    Oras,
}

impl Client {
    pub(super) const ALL: [Self; 4] = [Self::Peak, Self::Crane, Self::Skopeo, Self::Oras];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Peak => "peak",
            Self::Crane => "crane",
            Self::Skopeo => "skopeo",
            Self::Oras => "oras",
        }
    }

    fn kind(self) -> Kind {
        match self {
            Self::Peak => Kind::Ours,
            _ => Kind::Peer,
        }
    }
}

/// A repository with a tag, as `HOST:PORT/NAME:TAG`.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) reference: String,
    /// The certificate of the registry, if it speaks TLS.
    certificate: Option<PathBuf>,
}

impl Place {
    /// The image `v1` of a repository.
    pub(super) fn new(registry: &DockerRegistry, repository: &str) -> Self {
        Self {
            reference: format!("{}/{repository}:v1", registry.address),
            certificate: registry.certificate.clone(),
        }
    }

    /// The same at an address without TLS.
    pub(super) fn at(address: &str, repository: &str) -> Self {
        Self {
            reference: format!("{address}/{repository}:v1"),
            certificate: None,
        }
    }
}

/// The programs that are there.
pub(super) struct Clients {
    peak: PathBuf,
    root: PathBuf,
}

impl Clients {
    pub(super) fn find(workplace: &Workplace) -> anyhow::Result<Self> {
        Ok(Self {
            peak: tools::peak(workplace)?,
            root: workplace.root.clone(),
        })
    }

    /// An image from a registry into the layout at `layout`, which is not there.
    pub(super) fn pull(&self, client: Client, from: &Place, layout: &Path) -> Runner {
        let target = tagged("oci:", layout);
        let reference = &from.reference;
        self.runner(
            client,
            Some(layout),
            from.certificate.as_deref(),
            |command| match client {
                Client::Peak => command
                    .args(["registry", "pull"])
                    .args(peak_trust(from))
                    .arg(reference)
                    .arg(target),
                Client::Crane => command
                    .args(["pull", "--format", "oci", reference])
                    .arg(layout),
                Client::Skopeo => command
                    .args(["copy", "--insecure-policy", "--preserve-digests", "--quiet"])
                    .args(plain("--src-tls-verify=false", from))
                    .arg(format!("docker://{reference}"))
                    .arg(target),
                Client::Oras => command
                    .args(["copy", "--no-tty"])
                    .args(plain("--from-plain-http", from))
                    .arg(reference)
                    .arg("--to-oci-layout")
                    .arg(tagged("", layout)),
            },
        )
    }

    /// An image from a layout into a registry. `cleared` is what the registry must not have.
    pub(super) fn push(&self, client: Client, layout: &Path, to: &Place, cleared: &Path) -> Runner {
        let source = tagged("oci:", layout);
        let reference = &to.reference;
        self.runner(
            client,
            Some(cleared),
            to.certificate.as_deref(),
            |command| match client {
                Client::Peak => command
                    .args(["registry", "push"])
                    .args(peak_trust(to))
                    .arg(source)
                    .arg(reference),
                Client::Crane => command.arg("push").arg(layout).arg(reference),
                Client::Skopeo => command
                    .args(["copy", "--insecure-policy", "--preserve-digests", "--quiet"])
                    .args(plain("--dest-tls-verify=false", to))
                    .arg(source)
                    .arg(format!("docker://{reference}")),
                Client::Oras => command
                    .args(["copy", "--no-tty"])
                    .args(plain("--to-plain-http", to))
                    .arg("--from-oci-layout")
                    .arg(tagged("", layout))
                    .arg(reference),
            },
        )
    }

    /// An image from a registry into one. `cleared` is what the latter must not have.
    pub(super) fn copy(&self, client: Client, from: &Place, to: &Place, cleared: &Path) -> Runner {
        let references = [&from.reference, &to.reference];
        self.runner(client, Some(cleared), None, |command| match client {
            Client::Peak => command.args(["registry", "copy"]).args(references),
            Client::Crane => command.arg("copy").args(references),
            Client::Skopeo => command
                .args(["copy", "--insecure-policy", "--preserve-digests", "--quiet"])
                .args(["--src-tls-verify=false", "--dest-tls-verify=false"])
                .args(references.map(|reference| format!("docker://{reference}"))),
            Client::Oras => command
                .args(["copy", "--no-tty", "--from-plain-http", "--to-plain-http"])
                .args(references),
        })
    }

    /// The tags of a repository, `HOST:PORT/NAME`.
    pub(super) fn tags(&self, client: Client, repository: &str) -> Runner {
        self.runner(client, None, None, |command| match client {
            Client::Peak => command.args(["registry", "tags", repository]),
            Client::Crane => command.args(["ls", repository]),
            Client::Skopeo => command
                .args(["list-tags", "--tls-verify=false"])
                .arg(format!("docker://{repository}")),
            Client::Oras => command.args(["repo", "tags", "--plain-http", repository]),
        })
    }

    fn runner(
        &self,
        client: Client,
        scratch: Option<&Path>,
        certificate: Option<&Path>,
        arguments: impl FnOnce(Command) -> Command,
    ) -> Runner {
        let name = client.name();
        let program = match client {
            Client::Peak => Ok(self.peak.clone()),
            _ => tools::find_peer(&self.root, name),
        };
        let run = match program {
            Err(reason) => Run::Missing(reason),
            Ok(program) => {
                // Programs in Go have no option for it in common, but this.
                let command = match certificate {
                    Some(file) if client != Client::Peak => {
                        let mut trust = OsString::from("SSL_CERT_FILE=");
                        trust.push(file);
                        Command::new("env").arg(trust).arg(program)
                    }
                    _ => Command::new(program),
                };
                Run::Command {
                    command: arguments(command),
                    output: None,
                    scratch: scratch.map(Path::to_owned),
                }
            }
        };
        Runner {
            name: name.to_owned(),
            kind: client.kind(),
            run,
        }
    }
}

fn tagged(transport: &str, layout: &Path) -> OsString {
    let mut text = OsString::from(transport);
    text.push(layout);
    text.push(":v1");
    text
}

fn peak_trust(place: &Place) -> Vec<OsString> {
    match &place.certificate {
        Some(file) => vec!["--ca-file".into(), file.into()],
        None => Vec::new(),
    }
}

/// The option that a program needs for a registry without TLS.
fn plain(option: &'static str, place: &Place) -> Option<&'static str> {
    place.certificate.is_none().then_some(option)
}
