//! A platform in this process, and clients of it.

use std::io::{Cursor, Write};
use std::path::PathBuf;
use std::time::Duration;

use peak_local::Platform;
use peak_local::faults::Faults;
use peak_sdk::artifacts::{Artifact, Artifacts};
use peak_sdk::http::{Client, RetryPolicy};
use peak_sdk::images::{FollowOptions, Images};
use peak_sdk::models::{BuildStatus, Id};
use peak_sdk::platform::Session;

/// What the clients prove themselves with; no error may show it.
pub(crate) const TOKEN: &str = "t0ken-of-the-tests";

/// The largest archive that the platform takes, bytes.
pub(crate) const LIMIT: u64 = 8 * 1024 * 1024;

/// How often the clients send again.
pub(crate) const RETRIES: u32 = 3;

pub(crate) struct Bench {
    pub(crate) platform: Platform,
    pub(crate) faults: Faults,
    pub(crate) artifacts: Artifacts,
    pub(crate) images: Images,
    directory: tempfile::TempDir,
}

impl Bench {
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let faults = Faults::new();
        let platform = Platform::builder()
            .state_dir(directory.path().join("state"))
            .token(Some(TOKEN.into()))
            .artifact_limit(LIMIT)
            .faults(faults.clone())
            .start()
            .await
            .unwrap();
        let session = session(&platform, TOKEN, RETRIES);
        Self {
            artifacts: Artifacts::new(session.clone()),
            images: Images::new(session),
            platform,
            faults,
            directory,
        }
    }

    /// A path for a file of the test.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A zip of these files, to be uploaded.
    pub(crate) fn zip(&self, name: &str, files: &[(&str, &[u8])]) -> Artifact {
        let path = self.path(name);
        std::fs::write(&path, zip(files)).unwrap();
        Artifact::file(path).unwrap()
    }

    /// How many archives the platform keeps.
    pub(crate) fn kept(&self) -> usize {
        std::fs::read_dir(self.path("state/artifacts"))
            .unwrap()
            .count()
    }

    /// Waits until a build has ended, which must be so.
    pub(crate) async fn built(&self, image: &Id, build: Option<&Id>, status: BuildStatus) {
        let options = FollowOptions::new().poll_interval(Duration::from_millis(2));
        let ended = self
            .images
            .wait_for_build(image, build.unwrap(), options)
            .await
            .unwrap();
        assert_eq!(ended.status, status);
    }
}

/// A session with the platform that repeats almost without waiting.
pub(crate) fn session(platform: &Platform, token: &str, retries: u32) -> Session {
    let policy = RetryPolicy::new()
        .retries(retries)
        .waits(Duration::from_millis(1), Duration::from_millis(4));
    Session::builder()
        .endpoint(platform.url())
        .token(token.to_owned().into())
        .client_options(Client::builder().retry(policy))
        .build()
        .unwrap()
}

pub(crate) fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, content) in files {
        writer.start_file(*name, options).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// Bytes that look like nothing, the same in each run (xorshift).
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 7_u64;
    let word = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(word)
        .flatten()
        .take(length)
        .collect()
}

/// Waits for something that happens soon after, in a test that hangs where it never does.
pub(crate) async fn eventually<T>(mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    loop {
        if let Some(value) = attempt().await {
            return value;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
