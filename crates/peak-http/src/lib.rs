//! Transport core: an HTTP client with deadlines, retries, authentication, redirects, replayable bodies and typed
//! errors, for the clients of this workspace.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use peak_http::{Client, Error, RequestBuilderExt as _, RequestExt as _, StaticToken};
//! use url::Url;
//!
//! async fn image_name(endpoint: &Url, token: secrecy::SecretString) -> Result<String, Error> {
//!     let client = Client::builder()
//!         .authenticator(Arc::new(StaticToken::new(endpoint, token)?))
//!         .deadline(Duration::from_secs(30))
//!         .build()?;
//!     let request = http::Request::get(format!("{endpoint}image-management/api/v2/images/1"))
//!         .operation("describe_image")
//!         .without_body()?;
//!     let response = client.send(request).await?;
//!     // Any status is a response; what a status means is for the caller to say.
//!     assert_eq!(response.status(), 200);
//!     let image: std::collections::HashMap<String, String> = response.json(1024 * 1024).await?;
//!     Ok(image.get("name").cloned().unwrap_or_default())
//! }
//! ```
//!
//! # The stack
//!
//! A request goes through these layers, outermost first, each in its own file under `layer/`:
//!
//! 1. **span**: one `tracing` span for the operation, with OpenTelemetry's names and a redacted URL;
//! 2. **deadline**: total time to the response headers (with [`WholeBody`]: to the end of the body), over all attempts and
//!    waits;
//! 3. **retry**: see [`RetryPolicy`]; reads the body where it is part of the attempt ([`WholeBody`]);
//! 4. **timeout**: time to the response headers of one attempt, and the idle limit of the response body;
//! 5. **auth**: see [`Authenticator`];
//! 6. **redirect**: bounded; credentials are dropped for good when the origin changes; never from `https` to `http`, nor
//!    from outside to a machine of a private network;
//! 7. whatever [`ClientBuilder::layer`] was given;
//! 8. **headers**: `User-Agent` and the exact `Content-Length`;
//! 9. **log**: events for each exchange as it goes over the wire, without secrets: at `info` one line, at `debug` the
//!    headers, at `trace` the bodies that are JSON and in memory;
//! 10. **transport**: pooled connections, HTTP/1.1 or HTTP/2 ([`HttpVersions`]), with TLS where the URL says so
//!     ([`TlsOptions`]) and through a proxy where one is given ([`Proxies`]); or all of them over one Unix socket
//!     (`ClientBuilder::unix_socket`); or the service given to [`Client::from_service`].
//!
//! Whoever counts requests is told of each attempt: [`ClientBuilder::on_attempt`].
//!
//! # What it is not
//!
//! Not a general HTTP client: there are no cookies, no decompression, no SOCKS proxies, and no convenience methods per
//! verb. It knows nothing about any particular service: statuses are not errors here, and pages, JSON error bodies and
//! tokens belong to the crates above. It does not resume downloads: a broken body is an error that says so
//! ([`ErrorKind::Transport`], [`ErrorKind::Idle`]), and [`resume`] has what loops that go on need. It reads the environment
//! only in [`Proxies::from_environment`].
//!
//! # Features
//!
//! `aws-lc-rs` (default) and `ring` choose the cryptography of TLS; with both, `aws-lc-rs` is used. No process-wide
//! provider is ever installed. With neither the crate does not build.
//!
//! `test-util` adds `test_util`: a service for tests that answers by a script in the place of the network.

// The client, and the stack that a request goes through.
mod client;
mod layer;

// What goes into a request, and what comes out of an answer.
mod body;
mod error;
pub mod multipart;
mod request;
mod response;

// The rules of the layers.
mod attempt;
mod auth;
pub mod resume;
mod retry;
mod retry_budget;

// The connections below them.
mod connect;
mod proxy;
mod tls;
mod transport;
mod version;

// Facts about URLs, and what of them may be shown.
pub mod address;
mod origin;
pub mod redact;

// For tests.
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "test-util")]
pub mod test_util;

use std::pin::Pin;

pub use crate::client::{Client, ClientBuilder};

pub use crate::body::{Body, BodyStream};
pub use crate::error::{BoxError, Error, ErrorKind, TlsProblem};
pub use crate::request::{
    Anonymous, AttemptTimeout, Deadline, Idempotency, IdleTimeout, Operation, RequestBuilderExt,
    RequestExt, WholeBody,
};
pub use crate::response::{Response, ResponseBody};

pub use crate::attempt::{Attempt, AttemptOutcome};
pub use crate::auth::{Authenticator, Beginning, ChallengedBefore, StaticToken};
pub use crate::layer::custom::{InnerService, RequestLayer};
pub use crate::retry::{RetryPolicy, retry_after};

pub use crate::origin::Origin;
pub use crate::proxy::{Proxies, Proxy};
pub use crate::tls::TlsOptions;
pub use crate::version::HttpVersions;

/// A boxed future that can move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
