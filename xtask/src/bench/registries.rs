//! The server that transfers are measured with: Debian's `docker-registry`, with its storage in memory.

use std::ffi::OsStr;
use std::fs;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::bench::Workplace;
use crate::bench::tools::{self, Background};

/// Memory that looks like a directory.
const MEMORY: &str = "/dev/shm";

/// A directory that goes when it is dropped; in memory, where that is possible.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new(workplace: &Workplace, name: &str) -> anyhow::Result<Self> {
        let memory = Path::new(MEMORY);
        let name = format!("peak-bench-{}-{name}", std::process::id());
        let path = if memory.is_dir() {
            memory.join(name)
        } else {
            workplace.data.join(name)
        };
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is in nobody's way.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A `docker-registry` that runs.
pub(super) struct DockerRegistry {
    /// HOST:PORT.
    pub(super) address: String,
    /// Where it keeps everything.
    pub(super) storage: PathBuf,
    /// Its certificate, if it speaks TLS.
    pub(super) certificate: Option<PathBuf>,
    _process: Background,
}

impl DockerRegistry {
    /// Starts one that speaks plain HTTP and keeps everything in `storage`.
    pub(super) fn start(storage: &Path) -> anyhow::Result<Self> {
        let address = free_address(Ipv4Addr::LOCALHOST)?;
        Self::start_with(storage, address, "", None)
    }

    /// Starts one that speaks TLS, at an address that is not loopback: there clients would not try TLS, or not first.
    pub(super) fn start_tls(storage: &Path) -> anyhow::Result<Self> {
        let ip = outside_address()?;
        let address = free_address(ip)?;
        let certificate = storage.with_extension("crt");
        let key = storage.with_extension("key");
        let output = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt"])
            .args(["ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
            .args(["-subj", "/CN=bench", "-addext"])
            .arg(format!("subjectAltName=IP:{ip}"))
            // Otherwise it is an authority, and not everybody takes one for a server.
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .output()
            .context("cannot start openssl")?;
        if !output.status.success() {
            bail!(
                "openssl makes no certificate: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        let tls = format!(
            ", tls: {{certificate: {}, key: {}}}",
            certificate.display(),
            key.display()
        );
        Self::start_with(storage, address, &tls, Some(certificate))
    }

    fn start_with(
        storage: &Path,
        address: String,
        tls: &str,
        certificate: Option<PathBuf>,
    ) -> anyhow::Result<Self> {
        let program = tools::find("docker-registry").map_err(anyhow::Error::msg)?;
        let settings = storage.with_extension("yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage:\n  filesystem: \
             {{rootdirectory: {}}}\n  delete: {{enabled: true}}\nhttp: {{addr: '{address}'{tls}}}\n",
            storage.display()
        );
        fs::write(&settings, text)
            .with_context(|| format!("cannot write {}", settings.display()))?;
        let arguments = [OsStr::new("serve"), settings.as_os_str()];
        let process = Background::start_at(&program, &arguments, &address)?;
        Ok(Self {
            address,
            storage: storage.to_owned(),
            certificate,
            _process: process,
        })
    }

    /// Where it keeps a repository.
    pub(super) fn repository(&self, name: &str) -> PathBuf {
        let repositories = self.storage.join("docker/registry/v2/repositories");
        repositories.join(name)
    }

    /// Where it keeps everything that was ever pushed.
    pub(super) fn everything(&self) -> PathBuf {
        self.storage.join("docker")
    }
}

fn free_address(ip: Ipv4Addr) -> anyhow::Result<String> {
    Ok(TcpListener::bind((ip, 0))?.local_addr()?.to_string())
}

/// An address of this machine that is not loopback. Nothing is sent.
fn outside_address() -> anyhow::Result<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    // An address that stands for "somewhere else" in documents.
    socket
        .connect(("198.51.100.1", 9))
        .context("this machine has no address but loopback")?;
    match socket.local_addr()?.ip() {
        std::net::IpAddr::V4(ip) => Ok(ip),
        std::net::IpAddr::V6(_) => bail!("this machine has no IPv4 address"),
    }
}
