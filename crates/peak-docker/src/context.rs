//! Docker's contexts: named Engines that `docker context` keeps below Docker's configuration directory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use peak_http::TlsOptions;
use peak_oci::Digest;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::config::EngineConfigError;
use crate::endpoint::Endpoint;

/// The name that means "no context".
const DEFAULT: &str = "default";
/// Largest file of JSON that is read, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// The part of `config.json` that is about contexts.
#[derive(Deserialize)]
struct ConfigFile {
    #[serde(rename = "currentContext", default)]
    current_context: Option<String>,
}

/// `meta.json` of a context.
#[derive(Deserialize)]
struct Metadata {
    #[serde(rename = "Endpoints", default)]
    endpoints: BTreeMap<String, Meta>,
}

#[derive(Deserialize)]
struct Meta {
    #[serde(rename = "Host", default)]
    host: Option<String>,
    #[serde(rename = "SkipTLSVerify", default)]
    skip_tls_verify: bool,
}

/// The context that `config.json` in this directory makes the current one; `None` where that is none.
pub(crate) fn current(directory: &Path) -> Result<Option<String>, EngineConfigError> {
    let file: Option<ConfigFile> = read_json(&directory.join("config.json"))?;
    Ok(file
        .and_then(|file| file.current_context)
        .filter(|name| is_a_context(name)))
}

/// Whether the name is that of a context, and not of the Engine that is there without any.
pub(crate) fn is_a_context(name: &str) -> bool {
    !name.is_empty() && name != DEFAULT
}

/// The Engine of the context `name`.
pub(crate) fn endpoint(directory: &Path, name: &str) -> Result<Endpoint, EngineConfigError> {
    // Docker names the directories by the digest, so that any name is a safe one.
    let digest = Digest::sha256_of(name.as_bytes());
    let contexts = directory.join("contexts");
    let meta = contexts.join("meta").join(digest.hex()).join("meta.json");
    let unknown = || EngineConfigError::UnknownContext {
        name: name.to_owned(),
        place: meta.clone(),
    };
    let metadata: Metadata = read_json(&meta)?.ok_or_else(unknown)?;
    let docker = metadata.endpoints.get("docker");
    let host = docker.and_then(|docker| docker.host.as_deref());
    let host = host.ok_or_else(|| EngineConfigError::ContextWithoutEngine {
        name: name.to_owned(),
    })?;
    let endpoint = Endpoint::parse(host).map_err(|source| EngineConfigError::Endpoint {
        origin: format!("the Docker context `{name}`"),
        source,
    })?;
    let tls = tls(&contexts.join("tls").join(digest.hex()).join("docker"))?;
    if docker.is_some_and(|docker| docker.skip_tls_verify) && endpoint.socket_path().is_none() {
        return Err(EngineConfigError::Unverified {
            name: name.to_owned(),
        });
    }
    Ok(match tls {
        Some(options) => endpoint.with_tls(options),
        None => endpoint,
    })
}

/// TLS by the files that Docker keeps in a directory: `ca.pem` is whom to trust, and nobody else then; `cert.pem` and
/// `key.pem` are who we are. `None` if there is none of them.
pub(crate) fn tls(directory: &Path) -> Result<Option<TlsOptions>, EngineConfigError> {
    let there = |name: &str| Some(directory.join(name)).filter(|path| path.exists());
    let (ca, cert, key) = (there("ca.pem"), there("cert.pem"), there("key.pem"));
    if ca.is_none() && cert.is_none() && key.is_none() {
        return Ok(None);
    }
    let mut options = TlsOptions::new();
    if let Some(ca) = ca {
        options = options
            .with_root_certificates_file(ca)?
            .without_platform_roots();
    }
    if cert.is_some() || key.is_some() {
        // Of a pair that is not whole the error names the file that is missing.
        let path = |found: Option<PathBuf>, name: &str| found.unwrap_or(directory.join(name));
        options =
            options.with_client_certificate_files(path(cert, "cert.pem"), path(key, "key.pem"))?;
    }
    Ok(Some(options))
}

/// `None` if there is no such file.
fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, EngineConfigError> {
    let failed = |source: io::Error| EngineConfigError::File {
        path: path.to_owned(),
        source,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut text = Vec::new();
    file.take(MAX_FILE + 1)
        .read_to_end(&mut text)
        .map_err(failed)?;
    if text.len() as u64 > MAX_FILE {
        return Err(failed(io::Error::other("it is larger than 1 MiB")));
    }
    // The parser's message may quote a secret of `config.json`; where it stopped does not.
    match serde_json::from_slice(&text) {
        Ok(value) => Ok(Some(value)),
        Err(error) => Err(EngineConfigError::Invalid {
            path: path.to_owned(),
            line: error.line(),
            column: error.column(),
        }),
    }
}
