//! Reading the log of a build.

use http::Request;
use peak_http::Body;
use peak_models::{BuildLogs, Id};
use peak_platform::{Endpoint, Error, Operation};

use super::path;

/// `get_build_logs`: one page of a build's log.
#[derive(Debug, Clone, Copy)]
pub struct BuildLogsPage<'a> {
    /// The image.
    pub image: &'a Id,
    /// The build of one of its versions.
    pub build: &'a Id,
    /// What the page before gave to go on with; from the start unless given.
    pub next_token: Option<&'a str>,
}

impl Operation for BuildLogsPage<'_> {
    const NAME: &'static str = "get_build_logs";
    type Answer = BuildLogs;

    fn request(&self, endpoint: &Endpoint) -> Result<Request<Body>, Error> {
        let (image, build) = (self.image.as_str(), self.build.as_str());
        endpoint
            .get(&path(&[image, "builds", build, "logs"]))?
            .query_each("nextToken", self.next_token)
            .build()
    }
}
