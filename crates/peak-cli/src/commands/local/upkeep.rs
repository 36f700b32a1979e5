//! Work on the embedded registry, and who does it: the platform that runs on the state directory, else this process.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use peak_sdk::http::{
    Client, Error as HttpError, RequestBuilderExt as _, RequestExt as _, RetryPolicy, StaticToken,
};
use peak_sdk::local::{Outcome, RunningPlatform, StoreError, Upkeep};
use peak_sdk::registry_server::Store;
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::blocking::blocking;
use crate::error::{CliError, ErrorKind};
use crate::output::printable;
use crate::signals::Signals;

/// No report is larger, in bytes.
const REPORT_LIMIT: u64 = 16 * 1024 * 1024;

/// Has the work done by the platform that runs on the directory, or does it here, and says that it begins once there is
/// something to work on. A signal stops it either way.
pub(super) async fn work_on<T: DeserializeOwned + Send + 'static>(
    directory: &Path,
    begin: impl FnOnce(),
    url: impl FnOnce(&RunningPlatform) -> String,
    request: &impl Serialize,
    work: impl FnOnce(&Store, Arc<AtomicBool>) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, CliError> {
    let mut signals = Signals::listen()?;
    let place = directory.to_owned();
    let upkeep = blocking(move || Upkeep::open(&place)).await??;
    begin();
    match upkeep {
        Upkeep::Here(free) => {
            let stop = Arc::new(AtomicBool::new(false));
            let flag = Arc::clone(&stop);
            let mut work = std::pin::pin!(blocking(move || work(free.registry(), flag)));
            tokio::select! {
                biased;
                result = &mut work => Ok(result??),
                _ = signals.next() => {
                    stop.store(true, Ordering::Relaxed);
                    // It ends soon, and the directory is left in order.
                    let _ = work.await;
                    Err(CliError::interrupted())
                }
            }
        }
        Upkeep::There(platform) => {
            let url = url(&platform);
            tokio::select! {
                biased;
                _ = signals.next() => Err(CliError::interrupted()),
                result = ask(&platform, &url, request) => result,
            }
        }
        _ => Err(CliError::other(
            "the state directory is in an unknown state",
        )),
    }
}

/// Asks the running platform. It sends white space for as long as it works.
async fn ask<T: DeserializeOwned>(
    platform: &RunningPlatform,
    url: &str,
    request: &impl Serialize,
) -> Result<T, CliError> {
    let unreachable = |error: &HttpError| {
        CliError::from_chain(ErrorKind::Unavailable, error)
            .with_url(Some(url.to_owned()))
            .with_hint("the platform that uses the state directory does not answer; stop it, then try again")
    };
    let address = Url::parse(url)
        .map_err(|_| CliError::other("the platform's control file has no good address"))?;
    let secret = StaticToken::new(&address, platform.authorization())
        .map_err(|error| unreachable(&error))?;
    let client = Client::builder()
        .retry(RetryPolicy::never())
        .authenticator(Arc::new(secret))
        .build()
        .map_err(|error| unreachable(&error))?;
    let request = http::Request::post(url)
        .operation("upkeep")
        .json(request)
        .map_err(|error| unreachable(&error))?;
    let response = client
        .send(request)
        .await
        .map_err(|error| unreachable(&error))?;
    let outcome: Outcome<T> = response
        .json(REPORT_LIMIT)
        .await
        .map_err(|error| unreachable(&error))?;
    match outcome {
        Outcome::Report(report) => Ok(report),
        Outcome::Error(reason) => Err(CliError::other(printable(&reason))),
    }
}
