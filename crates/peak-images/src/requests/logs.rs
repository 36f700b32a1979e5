//! Reading the log of a build.

use http::Request;
use peak_http::Body;
use peak_models::{BuildLogs, BuildLogsDownload, Id};
use peak_platform::{Download, Endpoint, Error, Operation};

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

/// `save_build_logs`, first step: where a build's log can be had as a file.
#[derive(Debug, Clone, Copy)]
pub struct BuildLogsUrl<'a> {
    /// The image.
    pub image: &'a Id,
    /// The build of one of its versions.
    pub build: &'a Id,
}

impl Operation for BuildLogsUrl<'_> {
    const NAME: &'static str = "save_build_logs";
    type Answer = BuildLogsDownload;

    fn request(&self, endpoint: &Endpoint) -> Result<Request<Body>, Error> {
        let (image, build) = (self.image.as_str(), self.build.as_str());
        endpoint
            .get(&path(&[image, "builds", build, "logs", "download"]))?
            .build()
    }
}

/// `save_build_logs`, second step: the file. The URL holds its own credentials.
pub(crate) struct SignedBuildLogs<'a> {
    pub(crate) url: &'a str,
}

impl Download for SignedBuildLogs<'_> {
    const NAME: &'static str = "save_build_logs";
    const MAY_BE_EMPTY: bool = true;

    fn request(&self, endpoint: &Endpoint) -> Result<Request<Body>, Error> {
        endpoint.get_signed(self.url)
    }
}

/// What the file is called unless the caller says. Identifiers are the platform's, so whatever in
/// them could lead to another directory, or stand in no name, is replaced.
pub(crate) fn default_file_name(image: &Id, build: &Id) -> String {
    let plain = |id: &Id| id.as_str().replace(is_unfit, "_");
    format!("image_build_logs_{}_{}.log", plain(image), plain(build))
}

fn is_unfit(character: char) -> bool {
    let reserved: &[char] = if cfg!(windows) {
        &['/', '\\', ':', '*', '?', '"', '<', '>', '|']
    } else {
        &['/', '\\']
    };
    character.is_control() || reserved.contains(&character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_file_stays_in_its_directory() {
        let name = |build: &str| default_file_name(&Id::from(17), &Id::from(build));
        assert_eq!(name("21-98"), "image_build_logs_17_21-98.log");
        assert_eq!(
            name("a/../../b\\\0c"),
            "image_build_logs_17_a_.._.._b__c.log"
        );
        if !cfg!(windows) {
            assert_eq!(name("mock:21"), "image_build_logs_17_mock:21.log");
        }
    }
}
