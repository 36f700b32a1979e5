//! The way to one Engine, and the version of its API that is spoken on it.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use http::{HeaderMap, Request};
use peak_http::{
    Client, ClientBuilder, Error, ErrorKind, RequestBuilderExt as _, RequestExt as _, RetryPolicy,
};
use url::Url;

use crate::config::{Candidate, EngineConfig};
use crate::endpoint::Endpoint;
use crate::error::{EngineError, TriedEndpoint};
use crate::version::ApiVersion;

/// For how long an Engine may think about whether it is alive. One that is busy writing to a slow disk takes seconds.
const PING_TIMEOUT: Duration = Duration::from_secs(15);
/// For how long the answers may take that an Engine knows without working for them.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2 * 60);
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// An Engine that has answered once.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) client: Client,
    pub(crate) base: Url,
    pub(crate) endpoint: Endpoint,
    /// Who says that it is there.
    pub(crate) origin: String,
    /// What is spoken.
    pub(crate) version: ApiVersion,
}

impl Connection {
    /// The first of the candidates that answers. With `client` that is asked in the place of all connections.
    pub(crate) async fn find(
        config: &EngineConfig,
        client: Option<&Client>,
    ) -> Result<Self, EngineError> {
        let mut tried = Vec::new();
        for candidate in &config.candidates {
            match Box::pin(try_candidate(candidate, client)).await {
                Ok(connection) => return connection,
                Err(why) => tried.push(TriedEndpoint {
                    origin: candidate.origin.clone(),
                    endpoint: candidate.endpoint.as_ref().ok().map(ToString::to_string),
                    why,
                }),
            }
        }
        Err(EngineError::Unreachable { tried })
    }

    /// Asks whether the Engine is alive, and gives what it says of itself.
    pub(crate) async fn ping(&self) -> Result<HeaderMap, Error> {
        ping(&self.client, &self.base).await
    }
}

/// Whether something may be done again is for the caller to say: the Engine is near, and its 500 is as often a "no" as a
/// failure.
fn settings() -> ClientBuilder {
    Client::builder()
        .retry(RetryPolicy::never())
        .redirects(0)
        .attempt_timeout(ANSWER_TIMEOUT)
        .idle_timeout(IDLE_TIMEOUT)
}

/// `Err` says why there is no Engine there.
async fn try_candidate(
    candidate: &Candidate,
    client: Option<&Client>,
) -> Result<Result<Connection, EngineError>, String> {
    let endpoint = candidate.endpoint.as_ref();
    let endpoint = endpoint.map_err(ToString::to_string)?.clone();
    let base = endpoint.base().map_err(|error| error.to_string())?;
    let client = match client {
        Some(client) => Ok(client.clone()),
        None => endpoint.client(settings()),
    };
    let client = client.map_err(|error| error.to_string())?;
    let headers = ping(&client, &base).await.map_err(|error| why(&error))?;
    // Engines before 1.25 say nothing of their version there.
    let offered = headers.get("api-version");
    let offered = match offered.and_then(|version| version.to_str().ok()) {
        None => ApiVersion::OLDEST,
        Some(text) => text.parse().map_err(|_| {
            "what answers is no Docker Engine: it has no version of the API".to_owned()
        })?,
    };
    Ok(match ApiVersion::agree(offered) {
        Some(version) => {
            tracing::debug!(%endpoint, %version, "found a Docker Engine");
            Ok(Connection {
                client,
                base,
                endpoint,
                origin: candidate.origin.clone(),
                version,
            })
        }
        None => Err(EngineError::TooOld {
            endpoint: endpoint.to_string(),
            offered,
            needed: ApiVersion::OLDEST,
        }),
    })
}

/// The only request without a version in its path: the answer says which there are.
async fn ping(client: &Client, base: &Url) -> Result<HeaderMap, Error> {
    let url = base.join("_ping").map_err(|source| {
        Error::new(ErrorKind::InvalidRequest, "the URL is not valid").with_source(source)
    })?;
    let request = Request::get(url.as_str())
        .operation("docker_ping")
        .attempt_timeout(PING_TIMEOUT)
        .deadline(PING_TIMEOUT)
        .without_body()?;
    let response = client.send(request).await?;
    let status = response.status();
    if !status.is_success() {
        let message = format!("what answers is no Docker Engine, or a broken one: {status}");
        return Err(Error::new(ErrorKind::Other, message));
    }
    let headers = response.headers().clone();
    // Read to its end, so that the connection can be used again.
    response.bytes(1024).await?;
    Ok(headers)
}

/// Why there is no connection, for a list.
fn why(error: &Error) -> String {
    let mut causes = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        match kind {
            Some(io::ErrorKind::NotFound) => return "there is no such file".to_owned(),
            Some(io::ErrorKind::ConnectionRefused) => return "nobody listens there".to_owned(),
            Some(io::ErrorKind::PermissionDenied) => {
                return "permission denied; to use it one has to be in the group that owns it (`docker`), or root"
                    .to_owned();
            }
            _ => causes.push(cause.to_string()),
        }
        next = cause.source();
    }
    match causes.pop() {
        Some(last) => format!("{error}: {last}"),
        None => error.to_string(),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::net::UnixListener as Bound;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixListener;

    use super::*;
    use crate::endpoint::EndpointError;

    fn candidate(origin: &str, endpoint: Result<Endpoint, EndpointError>) -> Candidate {
        Candidate {
            origin: origin.to_owned(),
            endpoint,
        }
    }

    #[tokio::test]
    async fn the_first_place_that_answers_is_taken_and_all_that_failed_are_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let socket = |name: &str| candidate(name, Ok(Endpoint::socket(path(name))));
        drop(Bound::bind(path("dead")).unwrap());
        let mut config = EngineConfig::at(Endpoint::socket(path("absent")));
        config.candidates = vec![
            socket("absent"),
            candidate("CONTAINER_HOST", Err(EndpointError::Ssh)),
            socket("dead"),
        ];
        let error = Connection::find(&config, None).await.unwrap_err();
        let EngineError::Unreachable { tried } = &error else {
            panic!("{error:?}");
        };
        let tried: Vec<_> = tried
            .iter()
            .map(|tried| (&*tried.origin, tried.endpoint.is_some(), &*tried.why))
            .collect();
        assert_eq!(tried[0], ("absent", true, "there is no such file"));
        assert!(tried[1].2.contains("ssh -nNT -L"), "{tried:?}");
        assert_eq!(tried[2], ("dead", true, "nobody listens there"));

        let listener = UnixListener::bind(path("alive")).unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let read = stream.read(&mut request).await.unwrap();
            let answer = "HTTP/1.1 200 OK\r\nApi-Version: 1.40\r\nContent-Length: 2\r\n\r\nOK";
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8_lossy(&request[..read]).into_owned()
        });
        config.candidates.push(socket("alive"));
        config.candidates.push(socket("never asked"));
        let connection = Connection::find(&config, None).await.unwrap();
        assert_eq!(connection.endpoint.socket_path(), Some(&*path("alive")));
        assert_eq!(connection.version.to_string(), "1.40");
        let request = server.await.unwrap();
        assert!(request.starts_with("GET /_ping HTTP/1.1\r\n"), "{request}");
    }
}
