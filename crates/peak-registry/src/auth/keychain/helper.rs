//! Credential helpers: programs `docker-credential-NAME` that keep secrets, spoken to over stdin and stdout.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use super::error::KeychainError;
use crate::auth::Credentials;

/// Most that a helper may say, in bytes.
const MAX_OUTPUT: usize = 256 * 1024;
/// How much of its message an error shows.
const MAX_MESSAGE: usize = 200;
const MAX_NAME: usize = 64;
/// What helpers say where they have nothing.
const NOT_FOUND: &str = "credentials not found";

/// What helpers say, among others, to what they do not know.
const NOT_KNOWN: [&str; 4] = [
    "not implemented",
    "unimplemented",
    "not supported",
    "unknown action",
];

/// How helpers are run.
#[derive(Clone, Debug)]
pub(super) struct Helpers {
    /// Directories where they are, as in `PATH`.
    pub(super) path: Option<OsString>,
    pub(super) timeout: Duration,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Username", default)]
    user: String,
    #[serde(rename = "Secret")]
    secret: SecretString,
}

#[derive(Serialize)]
struct Entry<'a> {
    #[serde(rename = "ServerURL")]
    server: &'a str,
    #[serde(rename = "Username")]
    user: &'a str,
    #[serde(rename = "Secret")]
    secret: &'a str,
}

impl Helpers {
    /// What the helper has for a server; `None` where it has nothing.
    pub(super) async fn get(
        &self,
        name: &str,
        server: &str,
    ) -> Result<Option<Credentials>, KeychainError> {
        let output = match self.run(name, "get", server.as_bytes()).await {
            Ok(output) => output,
            Err(KeychainError::HelperFailed { message, .. })
                if message.to_ascii_lowercase().contains(NOT_FOUND) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        // The parser's error may quote the secret.
        let answer: Answer =
            serde_json::from_slice(&output).map_err(|_| KeychainError::HelperAnswer {
                name: name.to_owned(),
            })?;
        Ok(Some(Credentials::new(answer.user, answer.secret)))
    }

    /// Has the helper list what it knows, which holds no secrets and is of no interest: whether it answers is.
    pub(super) async fn list(&self, name: &str) -> Result<(), KeychainError> {
        match self.run(name, "list", b"").await {
            Ok(_) => Ok(()),
            // Some know but how to get.
            Err(KeychainError::HelperFailed { message, .. })
                if NOT_KNOWN
                    .iter()
                    .any(|text| message.to_ascii_lowercase().contains(text)) =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Gives the helper credentials to keep.
    pub(super) async fn store(
        &self,
        name: &str,
        server: &str,
        credentials: &Credentials,
    ) -> Result<(), KeychainError> {
        let secret = credentials.secret().expose_secret();
        let user = if credentials.is_identity_token() {
            crate::auth::credentials::TOKEN_USER
        } else {
            credentials.user()
        };
        let entry = Entry {
            server,
            user,
            secret,
        };
        let input = serde_json::to_vec(&entry).map_err(|_| KeychainError::HelperAnswer {
            name: name.to_owned(),
        })?;
        match self.run(name, "store", &input).await {
            Ok(_) => Ok(()),
            Err(KeychainError::HelperFailed { name, message }) if message.contains(secret) => {
                let message = "its message holds the secret and is not shown".to_owned();
                Err(KeychainError::HelperFailed { name, message })
            }
            Err(error) => Err(error),
        }
    }

    /// Has the helper forget a server; `false` where it knew nothing of it.
    pub(super) async fn erase(&self, name: &str, server: &str) -> Result<bool, KeychainError> {
        match self.run(name, "erase", server.as_bytes()).await {
            Ok(_) => Ok(true),
            Err(KeychainError::HelperFailed { message, .. })
                if message.to_ascii_lowercase().contains(NOT_FOUND) =>
            {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Runs the program, not by a shell. It is killed where it takes too long, says too much, or nobody waits for it.
    async fn run(&self, name: &str, verb: &str, input: &[u8]) -> Result<Vec<u8>, KeychainError> {
        check_name(name)?;
        let program = self.find(name)?;
        let failed = |source| KeychainError::HelperRun {
            name: name.to_owned(),
            source,
        };
        let mut child = Command::new(program)
            .arg(verb)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take();
        let write = async move {
            if let Some(mut stdin) = stdin {
                // A helper that ends without reading says why by its output.
                let _ = stdin.write_all(input).await;
                let _ = stdin.shutdown().await;
            }
        };
        let read = async move {
            let mut output = Vec::new();
            if let Some(stdout) = stdout {
                let limit = MAX_OUTPUT as u64 + 1;
                stdout.take(limit).read_to_end(&mut output).await?;
            }
            Ok(output)
        };
        let whole = async {
            let ((), output) = tokio::join!(write, read);
            let output: Vec<u8> = output.map_err(failed)?;
            if output.len() > MAX_OUTPUT {
                return Err(KeychainError::HelperAnswer {
                    name: name.to_owned(),
                });
            }
            Ok((child.wait().await.map_err(failed)?, output))
        };
        let (status, output) =
            tokio::time::timeout(self.timeout, whole)
                .await
                .map_err(|_| KeychainError::HelperTimeout {
                    name: name.to_owned(),
                    seconds: self.timeout.as_secs(),
                })??;
        if status.success() {
            Ok(output)
        } else {
            Err(KeychainError::HelperFailed {
                name: name.to_owned(),
                message: message(&output, status),
            })
        }
    }

    /// The program, from the absolute directories of `PATH`: never from where somebody happens to stand.
    fn find(&self, name: &str) -> Result<PathBuf, KeychainError> {
        let file = format!("docker-credential-{name}{}", std::env::consts::EXE_SUFFIX);
        let path = self.path.as_deref().unwrap_or(OsStr::new(""));
        std::env::split_paths(path)
            .filter(|directory| directory.is_absolute())
            .map(|directory| directory.join(&file))
            .find(|program| program.is_file())
            .ok_or_else(|| KeychainError::HelperMissing {
                name: name.to_owned(),
            })
    }
}

fn check_name(name: &str) -> Result<(), KeychainError> {
    let sound = (1..=MAX_NAME).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if sound {
        Ok(())
    } else {
        Err(KeychainError::HelperName {
            name: name
                .chars()
                .take(MAX_NAME)
                .filter(|one| !one.is_control())
                .collect(),
        })
    }
}

/// What a failing helper said on stdout, as the protocol has it, fit for a terminal.
fn message(output: &[u8], status: std::process::ExitStatus) -> String {
    let text: String = String::from_utf8_lossy(output)
        .trim()
        .chars()
        .map(|character| {
            if character.is_control() {
                ' '
            } else {
                character
            }
        })
        .take(MAX_MESSAGE)
        .collect();
    // What looks like an answer may hold a secret.
    if text.is_empty() || text.starts_with('{') {
        status.to_string()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_helper_is_a_name_and_no_path() {
        for name in ["pass", "ecr-login", "gcr_v2.1"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        let long = "x".repeat(65);
        for name in ["", "../evil", "a b", "a;rm", "a/b", "a\n", "é", &long] {
            let error = check_name(name).unwrap_err();
            assert!(matches!(error, KeychainError::HelperName { .. }), "{name}");
        }
    }

    #[test]
    fn helpers_are_not_taken_from_relative_directories() {
        let helpers = Helpers {
            path: Some(".:bin:".into()),
            timeout: Duration::from_secs(1),
        };
        assert!(matches!(
            helpers.find("pass"),
            Err(KeychainError::HelperMissing { .. })
        ));
    }

    #[test]
    fn an_answer_does_not_show_its_secret() {
        let answer: Answer =
            serde_json::from_str(r#"{"ServerURL":"x","Username":"u","Secret":"hunter2"}"#).unwrap();
        assert!(!format!("{:?}", answer.secret).contains("hunter2"));
    }
}
