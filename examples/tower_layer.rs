//! A tower layer of one's own in the HTTP client of Peak's services: it numbers the requests, and says what became of each.
//!
//! ```sh
//! cargo run -p peak-sdk --example tower_layer --features local
//! ```
//!
//! `PEAK_AUTH_TOKEN` and `PEAK__STAGE` say who asks and where, as they do for the `peak` command. With nothing set, the
//! embedded platform is asked. Layers made by others (`tower::limit`, `tower::util::MapRequestLayer`) are added alike.
#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::error::Error;
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use futures_util::TryStreamExt as _;
use http::{Request, Response};
use peak_sdk::http::{Body, BoxFuture, Client};
use peak_sdk::images::{Images, ListImages};
use peak_sdk::local::Platform;
use peak_sdk::platform::Session;
use tower::{Layer, Service};

/// Wraps the service below it.
#[derive(Clone, Default)]
struct Numbering {
    last: Arc<AtomicU64>,
}

impl<S> Layer<S> for Numbering {
    type Service = Numbered<S>;

    fn layer(&self, inner: S) -> Numbered<S> {
        let last = Arc::clone(&self.last);
        Numbered { inner, last }
    }
}

#[derive(Clone)]
struct Numbered<S> {
    inner: S,
    last: Arc<AtomicU64>,
}

impl<S, B> Service<Request<Body>> for Numbered<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error: Display, Future: Send + 'static>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        request
            .headers_mut()
            .insert("x-request-number", number.into());
        // The path without the query, which may have secrets.
        let name = format!("{number}: {} {}", request.method(), request.uri().path());
        let begun = Instant::now();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            let time = begun.elapsed();
            match &answer {
                Ok(answer) => println!("{name} {} after {time:?}", answer.status()),
                Err(error) => println!("{name} failed after {time:?}: {error}"),
            }
            answer
        })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut session =
        Session::builder().client_options(Client::builder().layer(Numbering::default()));
    let state = tempfile::tempdir()?;
    let mut embedded = None;
    let set = |name: &&str| std::env::var_os(name).is_some();
    if !["PEAK_AUTH_TOKEN", "PEAK_ENDPOINT_URL"].iter().any(set) {
        let state = state.path().join("platform");
        let platform = Platform::builder().state_dir(state).start().await?;
        session = session.endpoint(platform.url()).without_token();
        embedded = Some(platform);
    }
    let images = Images::new(session.build()?);
    let found: Vec<_> = images.list_images(ListImages::new()).try_collect().await?;
    println!("{} images", found.len());
    if let Some(platform) = embedded {
        platform.shutdown().await;
    }
    Ok(())
}
