//! Requests to the Engine as values: pure code that says method, path and query.

use http::header::{HeaderName, HeaderValue};
use http::{Method, Request};
use peak_http::{Body, RequestBuilderExt as _, RequestExt as _};
use peak_oci::Reference;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use crate::error::EngineError;
use crate::version::ApiVersion;

/// What stands as it is in the name of an image in a path.
const IN_NAME: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b':')
    .remove(b'@')
    .remove(b'.')
    .remove(b'_')
    .remove(b'-');

/// Longest name of an image that is asked for, in bytes.
const MAX_NAME: usize = Reference::MAX_LENGTH;

/// A request to the Engine.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// The name of the operation in spans.
    pub(crate) operation: &'static str,
    /// What it is to a person: `push of registry.example/app:v1`.
    pub(crate) what: String,
    method: Method,
    /// Behind the version, percent-encoded.
    path: String,
    query: Vec<(&'static str, String)>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The oldest version of the API that has all of it. Engines pass over what they do not know.
    pub(crate) needs: ApiVersion,
}

impl Call {
    pub(crate) fn new(
        operation: &'static str,
        what: impl Into<String>,
        method: Method,
        path: impl Into<String>,
    ) -> Self {
        Self {
            operation,
            what: what.into(),
            method,
            path: path.into(),
            query: Vec::new(),
            headers: Vec::new(),
            needs: ApiVersion::OLDEST,
        }
    }

    pub(crate) fn get(
        operation: &'static str,
        what: impl Into<String>,
        path: impl Into<String>,
    ) -> Self {
        Self::new(operation, what, Method::GET, path)
    }

    pub(crate) fn post(
        operation: &'static str,
        what: impl Into<String>,
        path: impl Into<String>,
    ) -> Self {
        Self::new(operation, what, Method::POST, path)
    }

    pub(crate) fn query(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.query.push((key, value.into()));
        self
    }

    /// A switch of the API, sent where it is on.
    pub(crate) fn switch(self, key: &'static str, on: bool) -> Self {
        if on { self.query(key, "1") } else { self }
    }

    /// Something that Engines know since this version of the API.
    pub(crate) fn query_since(
        mut self,
        version: ApiVersion,
        key: &'static str,
        value: impl Into<String>,
    ) -> Self {
        self.needs = self.needs.max(version);
        self.query(key, value)
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The request to the Engine at `base`.
    pub(crate) fn request(
        &self,
        base: &Url,
        version: ApiVersion,
        body: Body,
    ) -> Result<Request<Body>, EngineError> {
        let mut url = base.clone();
        url.set_path(&format!("{}v{version}/{}", base.path(), self.path));
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.query);
        }
        let mut builder = Request::builder()
            .method(self.method.clone())
            .uri(url.as_str())
            .operation(self.operation);
        for (name, value) in &self.headers {
            builder = builder.header(name, value);
        }
        builder
            .with_body(body)
            .map_err(|source| EngineError::of_transport(&self.what, source))
    }
}

/// The name of an image as a part of a path: a reference, or an identifier.
pub(crate) fn in_path(name: &str) -> Result<String, EngineError> {
    let invalid = |why| EngineError::InvalidName {
        name: name.chars().take(200).collect(),
        why,
    };
    if name.is_empty() {
        return Err(invalid("is empty, where the name of an image is expected"));
    }
    if name.len() > MAX_NAME {
        return Err(invalid("is too long for the name of an image"));
    }
    // These would lead to another request than the one that was meant.
    if name.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(invalid("is not the name of an image"));
    }
    if name
        .chars()
        .any(|character| character.is_control() || character.is_whitespace())
    {
        return Err(invalid("has characters that no name of an image has"));
    }
    Ok(utf8_percent_encode(name, IN_NAME).to_string())
}

/// Registry and repository of a reference that the Engine can ask a registry about.
pub(crate) fn repository(reference: &Reference) -> Result<String, EngineError> {
    if reference.has_registry() {
        Ok(reference.name())
    } else {
        Err(EngineError::InvalidName {
            name: reference.to_string(),
            why: "names no registry",
        })
    }
}

/// Repository and tag of a reference by which an image can be tagged or pushed.
pub(crate) fn tagged(reference: &Reference) -> Result<(String, String), EngineError> {
    let invalid = |why| EngineError::InvalidName {
        name: reference.to_string(),
        why,
    };
    if reference.digest().is_some() {
        return Err(invalid("has a digest, where a name with a tag is expected"));
    }
    let tag = reference.tag().ok_or_else(|| invalid("has no tag"))?;
    Ok((repository(reference)?, tag.to_string()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sent(call: &Call, base: &str) -> String {
        let base = Url::parse(base).unwrap();
        let version = "1.41".parse().unwrap();
        let request = call.request(&base, version, Body::empty()).unwrap();
        format!("{} {}", request.method(), request.uri())
    }

    #[test]
    fn paths_have_the_version_and_queries_are_encoded() {
        let name = in_path("registry.example:5000/team/app@sha256:abc").unwrap();
        let call = Call::get("inspect", "x", format!("images/{name}/json"))
            .query("a", "b&c=d e")
            .switch("on", true)
            .switch("off", false);
        assert_eq!(
            sent(&call, "http://localhost/"),
            "GET http://localhost/v1.41/images/registry.example:5000/team/app@sha256:abc/json?a=b%26c%3Dd+e&on=1"
        );
        let call = Call::post("x", "x", "images/load");
        assert_eq!(
            sent(&call, "https://h:1/engine/"),
            "POST https://h:1/engine/v1.41/images/load"
        );
    }

    #[test]
    fn names_that_would_lead_elsewhere_are_refused() {
        let long = "a".repeat(MAX_NAME + 1);
        for name in [
            "",
            "..",
            "a/../../containers/create",
            "a//b",
            "/a",
            "a/",
            "./a",
            "a b",
            "a\n",
            &long,
        ] {
            let error = in_path(name).unwrap_err();
            assert!(matches!(error, EngineError::InvalidName { .. }), "{name}");
        }
        assert_eq!(in_path("a?b#c%2e%2e\\").unwrap(), "a%3Fb%23c%252e%252e%5C");
    }

    #[test]
    fn tags_are_for_names_with_a_tag_and_a_registry() {
        let tagged = |text: &str| tagged(&text.parse().unwrap());
        let (repository, tag) = tagged("busybox:1").unwrap();
        assert_eq!((&*repository, &*tag), ("docker.io/library/busybox", "1"));
        assert!(tagged("busybox").is_err());
        let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert!(tagged(&format!("busybox:1@{digest}")).is_err());
        assert!(tagged("my_reg.io/app:1").is_err());
    }

    proptest! {
        #[test]
        fn no_name_leaves_its_place_in_the_path(name in ".{1,60}") {
            if let Ok(encoded) = in_path(&name) {
                let call = Call::get("x", "x", format!("images/{encoded}/json"));
                let sent = sent(&call, "http://h/");
                let path = sent.strip_prefix("GET http://h/v1.41/images/").unwrap();
                let path = path.strip_suffix("/json").unwrap();
                // What the Engine decodes is what was given.
                let decoded = percent_encoding::percent_decode_str(path).decode_utf8().unwrap();
                prop_assert_eq!(decoded, name);
            }
        }
    }
}
