//! Building images with the Engine's own builder.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use futures_core::Stream;
use http::header::{CONTENT_TYPE, HeaderName};
use peak_http::{Body, BoxError};
use peak_oci::{Platform, Reference};

use crate::archive::TAR;
use crate::call::{Call, tagged};
use crate::credentials::{EngineCredentials, registry_config};
use crate::engine::Engine;
use crate::error::EngineError;
use crate::follow::follow;
use crate::progress::EngineEvent;
use crate::version::ApiVersion;

const X_REGISTRY_CONFIG: HeaderName = HeaderName::from_static("x-registry-config");
/// Docker's builder without `BuildKit`, which every Engine has and which needs no second connection.
const CLASSIC: &str = "1";

/// What to build, beside the build context.
///
/// ```
/// use peak_docker::BuildRequest;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let request = BuildRequest::new()
///     .dockerfile("docker/Dockerfile")
///     .target("runtime")
///     .build_arg("VERSION", "1.2")
///     .tag("127.0.0.1:5000/app:v1".parse()?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
#[must_use]
pub struct BuildRequest {
    dockerfile: Option<String>,
    target: Option<String>,
    build_args: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
    tags: Vec<Reference>,
    no_cache: bool,
    pull: bool,
    network: Option<String>,
    platform: Option<Platform>,
    credentials: Vec<(String, EngineCredentials)>,
}

impl BuildRequest {
    /// A build of `Dockerfile` at the root of the context, whose image gets no name.
    pub fn new() -> Self {
        Self::default()
    }

    /// The Dockerfile's path in the context. Default: `Dockerfile`.
    pub fn dockerfile(mut self, path: impl Into<String>) -> Self {
        self.dockerfile = Some(path.into());
        self
    }

    /// The stage to build. Default: the last one.
    pub fn target(mut self, stage: impl Into<String>) -> Self {
        self.target = Some(stage.into());
        self
    }

    /// A value for an `ARG` of the Dockerfile. It is no place for secrets: the history of the image has it. All the same it
    /// is shown in no log and no `Debug`.
    pub fn build_arg(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.build_args.insert(name.into(), value.into());
        self
    }

    /// A label of the image.
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }

    /// One more name of the image; it needs a tag.
    pub fn tag(mut self, name: Reference) -> Self {
        self.tags.push(name);
        self
    }

    /// Runs every step, whatever earlier builds have left.
    pub fn no_cache(mut self, no_cache: bool) -> Self {
        self.no_cache = no_cache;
        self
    }

    /// Asks the registries for newer images under the names of `FROM`, also where the Engine has some.
    pub fn pull(mut self, pull: bool) -> Self {
        self.pull = pull;
        self
    }

    /// The network that `RUN` steps are in: `none`, `host`, or the name of one. Default: the Engine's.
    pub fn network(mut self, network: impl Into<String>) -> Self {
        self.network = Some(network.into());
        self
    }

    /// The platform to build for. Default: the Engine's.
    pub fn platform(mut self, platform: Platform) -> Self {
        self.platform = Some(platform);
        self
    }

    /// Who the Engine is towards a registry (`registry.example:5000`, `docker.io`) that images of `FROM` come from.
    pub fn credentials(
        mut self,
        registry: impl Into<String>,
        credentials: EngineCredentials,
    ) -> Self {
        self.credentials.push((registry.into(), credentials));
        self
    }

    fn call(&self) -> Result<Call, EngineError> {
        let first = self.tags.first();
        let what = first.map_or_else(|| "build".to_owned(), |tag| format!("build of {tag}"));
        let mut call = Call::post("docker_build_image", what, "build")
            .query("version", CLASSIC)
            // Containers of steps do not stay, also where one fails.
            .query("rm", "1")
            .query("forcerm", "1")
            .switch("nocache", self.no_cache)
            .switch("pull", self.pull)
            .header(CONTENT_TYPE, TAR);
        for tag in &self.tags {
            let (name, tag) = tagged(tag)?;
            call = call.query("t", format!("{name}:{tag}"));
        }
        let platform = self.platform.as_ref().map(ToString::to_string);
        for (since, key, value) in [
            (ApiVersion::OLDEST, "dockerfile", self.dockerfile.clone()),
            (ApiVersion::OLDEST, "buildargs", json(&self.build_args)),
            (ApiVersion::OLDEST, "labels", json(&self.labels)),
            (ApiVersion::new(1, 25), "networkmode", self.network.clone()),
            (ApiVersion::new(1, 29), "target", self.target.clone()),
            (ApiVersion::new(1, 32), "platform", platform),
        ] {
            if let Some(value) = value {
                call = call.query_since(since, key, value);
            }
        }
        if !self.credentials.is_empty() {
            let header = registry_config(&self.credentials);
            let header = header.ok_or_else(|| EngineError::unsendable_credentials(&call.what))?;
            call = call.header(X_REGISTRY_CONFIG, header);
        }
        Ok(call)
    }
}

/// Without the values of build arguments.
impl fmt::Debug for BuildRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("BuildRequest")
            .field("dockerfile", &self.dockerfile)
            .field("target", &self.target)
            .field("build_args", &self.build_args.keys())
            .field("labels", &self.labels)
            .field("tags", &self.tags)
            .field("no_cache", &self.no_cache)
            .field("pull", &self.pull)
            .field("network", &self.network)
            .field("platform", &self.platform)
            .field("credentials", &self.credentials)
            .finish()
    }
}

/// `None` for a map with nothing in it.
fn json(map: &BTreeMap<String, String>) -> Option<String> {
    if map.is_empty() {
        return None;
    }
    serde_json::to_string(map).ok()
}

impl Engine {
    /// Builds an image from a build context, which is a tar (plain, or compressed by gzip, bzip2 or xz), and gives the
    /// image's identifier. What the build prints comes as [`EngineEvent::stream`], in pieces of any length.
    ///
    /// The build has no limit on silence, as a step may say nothing for hours; see
    /// [`EngineConfig::longest_silence`](crate::EngineConfig::longest_silence) for what is noticed all the same.
    ///
    /// # Errors
    /// [`EngineError::Failed`] if a step fails or the Dockerfile is wrong; [`EngineError::Input`] if `context` fails;
    /// [`EngineError::Interrupted`] if the Engine goes away; [`EngineError::InvalidName`] for a tag that is none;
    /// [`EngineError::TooOld`] if the Engine does not know one of the options, which it would pass over;
    /// [`EngineError::UnprotectedCredentials`].
    pub async fn build<S, E>(
        &self,
        request: &BuildRequest,
        context: S,
        mut on_event: impl FnMut(EngineEvent) + Send,
    ) -> Result<String, EngineError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        let call = request.call()?;
        let connection = self.connection().await?;
        let credentials = request.credentials.first();
        self.check_protection(&connection, credentials.map(|(_, credentials)| credentials))?;
        let mut patience = self.patience(&connection, &call.what).without_limit();
        let body = Body::stream(patience.observe(context));
        let response = Box::pin(self.begin(&connection, &call, body, &patience)).await?;
        let mut result = None;
        let mut said = None;
        let noted = |event: EngineEvent| {
            if let Some(id) = event.result.as_ref().and_then(|result| result.id.clone()) {
                result = Some(id);
            }
            // What Engines say that have no other way to say it.
            let built = event.stream.as_deref();
            if let Some(id) = built.and_then(|text| text.strip_prefix("Successfully built ")) {
                said = Some(id.trim().to_owned());
            }
            on_event(event);
        };
        Box::pin(follow(&call.what, response, &patience, noted)).await?;
        result.or(said).ok_or_else(|| EngineError::Unexpected {
            what: call.what,
            message: "the build ended without an image".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use peak_http::Body;
    use url::Url;

    use super::*;

    #[test]
    fn every_option_has_its_place_in_the_request() {
        let request = BuildRequest::new()
            .dockerfile("a b/Dockerfile")
            .target("run")
            .build_arg("TOKEN", "s3cret")
            .label("a.b", "c")
            .tag("127.0.0.1:5000/app:v1".parse().unwrap())
            .tag("app:v2".parse().unwrap())
            .no_cache(true)
            .pull(true)
            .network("none")
            .platform("linux/arm64".parse().unwrap())
            .credentials("h:1", EngineCredentials::new("robot", "hunter2".into()));
        let base = Url::parse("http://localhost/").unwrap();
        let call = request.call().unwrap();
        let sent = call
            .request(&base, "1.41".parse().unwrap(), Body::empty())
            .unwrap();
        let url = Url::parse(&sent.uri().to_string()).unwrap();
        assert_eq!(url.path(), "/v1.41/build");
        let mut pairs: Vec<_> = url
            .query_pairs()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        pairs.sort();
        assert_eq!(
            pairs,
            [
                "buildargs={\"TOKEN\":\"s3cret\"}",
                "dockerfile=a b/Dockerfile",
                "forcerm=1",
                "labels={\"a.b\":\"c\"}",
                "networkmode=none",
                "nocache=1",
                "platform=linux/arm64",
                "pull=1",
                "rm=1",
                "t=127.0.0.1:5000/app:v1",
                "t=docker.io/library/app:v2",
                "target=run",
                "version=1",
            ]
        );
        assert_eq!(sent.headers()["content-type"], "application/x-tar");
        assert!(sent.headers()["x-registry-config"].is_sensitive());
        let shown = format!("{request:?}");
        assert!(
            !shown.contains("s3cret") && !shown.contains("hunter2"),
            "{shown}"
        );
        assert!(
            BuildRequest::new()
                .tag("app".parse().unwrap())
                .call()
                .is_err()
        );
    }
}
