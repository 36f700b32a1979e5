//! The way to one registry: what every request to it has in common.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, Method, StatusCode};
use peak_http::{
    Attempt, AttemptTimeout, Body, Deadline, ErrorKind, Idempotency, Operation, Origin, Response,
    WholeBody,
};
use peak_oci::RepositoryName;
use url::Url;

use crate::RegistryError;
use crate::auth::Scope;
use crate::blobs::ranges::{Lanes, ParallelRanges};
use crate::blobs::upload::{Abandoned, States};
use crate::capabilities::Capabilities;
use crate::host::Host;
use crate::known_blobs::KnownBlobs;
use crate::notices::Notices;
use crate::own_writes::OwnWrites;
use crate::pace::{Limits, Paces};
use crate::pauses::Pauses;
use crate::reasons::{MAX_ERROR_BODY, Reasons};
use crate::schemes::Schemes;

/// What all connections of a client know in common.
pub(crate) struct Shared {
    pub(crate) notices: Notices,
    pub(crate) capabilities: Capabilities,
    pub(crate) abandoned: Abandoned,
    upload_states: Option<States>,
    page_size: NonZeroU32,
    known_blobs: KnownBlobs,
    own_writes: OwnWrites,
    pauses: Pauses,
    paces: Paces,
    lanes: Lanes,
    schemes: Schemes,
}

impl Shared {
    /// Nothing is known yet.
    pub(crate) fn new(
        limits: Limits,
        ranges: ParallelRanges,
        page_size: NonZeroU32,
        upload_states: Option<States>,
    ) -> Self {
        Self {
            notices: Notices::default(),
            capabilities: Capabilities::default(),
            abandoned: Abandoned::default(),
            upload_states,
            page_size,
            known_blobs: KnownBlobs::default(),
            own_writes: OwnWrites::default(),
            pauses: Pauses::default(),
            paces: Paces::new(limits),
            lanes: Lanes::new(ranges),
            schemes: Schemes::default(),
        }
    }

    /// Looks at what became of an attempt to send a request.
    pub(crate) fn notice(&self, attempt: &Attempt) {
        self.pauses.notice(attempt);
        self.paces.notice(attempt);
    }
}

/// One registry, as a client sees it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Connection {
    client: peak_http::Client,
    pub(crate) host: Host,
    shared: Arc<Shared>,
}

/// A request to be sent.
pub(crate) struct Call {
    operation: &'static str,
    method: Method,
    url: Url,
    scope: Option<Scope>,
    headers: HeaderMap,
    body: Body,
    anonymous: bool,
    idempotency: Option<Idempotency>,
    whole_body: Option<WholeBody>,
    attempt_timeout: Option<AttemptTimeout>,
    deadline: Option<Deadline>,
}

impl Call {
    /// A request without headers or body. The operation is what traces call it.
    pub(crate) fn new(operation: &'static str, method: Method, url: Url) -> Self {
        Self {
            operation,
            method,
            url,
            scope: None,
            headers: HeaderMap::new(),
            body: Body::empty(),
            anonymous: false,
            idempotency: None,
            whole_body: None,
            attempt_timeout: None,
            deadline: None,
        }
    }

    /// What the request needs to be allowed.
    pub(crate) fn scope(mut self, scope: Scope) -> Self {
        self.scope = Some(scope);
        self
    }

    pub(crate) fn headers(mut self, headers: HeaderMap) -> Self {
        self.headers = headers;
        self
    }

    pub(crate) fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }

    /// Whether it may be sent twice, where its method does not say.
    pub(crate) fn idempotency(mut self, idempotency: Idempotency) -> Self {
        self.idempotency = Some(idempotency);
        self
    }

    /// The answer's body is wanted whole, with at most so many bytes: where it is lost, the request is repeated.
    pub(crate) fn whole_body(mut self, limit: u64) -> Self {
        self.whole_body = Some(WholeBody(limit));
        self
    }

    /// For how long the answer may not come after the last byte was taken.
    pub(crate) fn attempt_timeout(mut self, limit: Duration) -> Self {
        self.attempt_timeout = Some(AttemptTimeout(limit));
        self
    }

    /// How long it may take with all repetitions.
    pub(crate) fn deadline(mut self, limit: Duration) -> Self {
        self.deadline = Some(Deadline(limit));
        self
    }

    /// Without credentials: the URL is another server's and holds its own.
    pub(crate) fn anonymous(mut self, yes: bool) -> Self {
        self.anonymous = yes;
        self
    }
}

impl Connection {
    pub(crate) fn new(client: peak_http::Client, host: Host, shared: Arc<Shared>) -> Self {
        Self {
            client,
            host,
            shared,
        }
    }

    pub(crate) fn own_writes(&self) -> &OwnWrites {
        &self.shared.own_writes
    }

    pub(crate) fn capabilities(&self) -> &Capabilities {
        &self.shared.capabilities
    }

    pub(crate) fn known_blobs(&self) -> &KnownBlobs {
        &self.shared.known_blobs
    }

    pub(crate) fn abandoned(&self) -> &Abandoned {
        &self.shared.abandoned
    }

    /// Where the states of uploads are kept, where they are.
    pub(crate) fn upload_states(&self) -> Option<&States> {
        self.shared.upload_states.as_ref()
    }

    /// How many requests and uploads each server gets at once.
    pub(crate) fn paces(&self) -> &Paces {
        &self.shared.paces
    }

    pub(crate) fn lanes(&self) -> &Lanes {
        &self.shared.lanes
    }

    /// How many entries of a list are asked for at once.
    pub(crate) fn page_size(&self) -> NonZeroU32 {
        self.shared.page_size
    }

    /// The URL of the API's root. Where it may be one of plain HTTP, the registry is asked whether it speaks TLS, unless
    /// that is known.
    pub(crate) async fn root(&self) -> Result<Url, RegistryError> {
        let scheme = self.shared.schemes.of(&self.client, &self.host).await?;
        self.host.root(scheme)
    }

    /// The URL of something in a repository. Names, tags and digests are parsed values: nothing in them needs
    /// escaping or can leave the path.
    pub(crate) async fn url(
        &self,
        repository: &RepositoryName,
        kind: &str,
        what: &(dyn fmt::Display + Sync),
    ) -> Result<Url, RegistryError> {
        let mut url = self.root().await?;
        url.set_path(&format!("/v2/{repository}/{kind}/{what}"));
        Ok(url)
    }

    /// Sends a request. `place` is what errors call the other side.
    pub(crate) async fn send(&self, call: Call, place: &str) -> Result<Response, RegistryError> {
        let mut request = http::Request::builder()
            .method(call.method)
            .uri(call.url.as_str())
            .extension(Operation(call.operation))
            .body(call.body)
            .map_err(|_| RegistryError::InvalidRegistry {
                registry: self.host.name().to_owned(),
            })?;
        if let Some(scope) = call.scope {
            request.extensions_mut().insert(scope);
        }
        if let Some(idempotency) = call.idempotency {
            request.extensions_mut().insert(idempotency);
        }
        if let Some(whole_body) = call.whole_body {
            request.extensions_mut().insert(whole_body);
        }
        if let Some(attempt_timeout) = call.attempt_timeout {
            request.extensions_mut().insert(attempt_timeout);
        }
        if let Some(deadline) = call.deadline {
            request.extensions_mut().insert(deadline);
        }
        if call.anonymous {
            request.extensions_mut().insert(peak_http::Anonymous);
        }
        *request.headers_mut() = call.headers;
        let server = Origin::of(&call.url);
        // What carries a blob up may wait for another request from within its body.
        let counts = !matches!(
            *request.method(),
            Method::PUT | Method::PATCH | Method::POST
        );
        let turn = self.shared.paces.turn(server.as_ref(), counts).await;
        self.shared.pauses.wait(server.as_ref()).await;
        let is_plain = call.url.scheme() == "http";
        let response = self.client.send(request).await.map_err(|source| {
            if is_plain && source.may_have_been_sent() {
                self.shared.schemes.doubt(&self.host);
            }
            transport(place, source)
        })?;
        drop(turn);
        self.shared
            .notices
            .read(self.host.name(), response.headers());
        Ok(response)
    }
}

/// The error of a request that did not get through, or of an answer that could not be read.
pub(crate) fn transport(place: &str, source: peak_http::Error) -> RegistryError {
    let repository = place.to_owned();
    if source.kind() == ErrorKind::Authentication {
        RegistryError::NoCredential { repository, source }
    } else {
        RegistryError::Transport { repository, source }
    }
}

/// What the registry says in the body of an answer that is no success. No body, no reasons.
pub(crate) async fn reasons(response: Response) -> Reasons {
    let wait = peak_http::retry_after(response.headers(), SystemTime::now());
    let (status, url) = (response.status(), response.url().clone());
    let body = response
        .beginning(usize::try_from(MAX_ERROR_BODY).unwrap_or(usize::MAX))
        .await;
    Reasons::parse(&body).waiting(wait).of_answer(status, &url)
}

/// The error for a status that means the same for every request.
pub(crate) fn refusal(place: &str, status: StatusCode, reasons: Reasons) -> RegistryError {
    let repository = place.to_owned();
    match status {
        StatusCode::UNAUTHORIZED => RegistryError::Unauthorized {
            repository,
            reasons,
        },
        StatusCode::FORBIDDEN => RegistryError::Denied {
            repository,
            reasons,
        },
        StatusCode::TOO_MANY_REQUESTS => RegistryError::RateLimited {
            repository,
            retry_after: reasons.wait(),
            reasons,
        },
        status => RegistryError::Status {
            repository,
            status,
            reasons,
        },
    }
}
