//! The platform's multipart bodies (`spec/peak-api.md`, "Multipart bodies").

use std::io;
use std::path::{Path, PathBuf};

use http::HeaderValue;
use peak_http::{Body, multipart};
use serde::Serialize;
use serde_json::Value;

use crate::error::Error;

/// A packed zip on disk, to be uploaded.
///
/// It is streamed while it is sent, and read again if the request has to be repeated; it must not
/// change until then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    path: PathBuf,
    length: u64,
}

impl Artifact {
    /// The zip at this path. Looks at the file's size, which goes before it in the request.
    ///
    /// # Errors
    /// If there is no such file.
    pub fn file(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        let metadata = std::fs::metadata(&path)?;
        if !metadata.is_file() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the artifact is not a regular file",
            ));
        }
        Ok(Self {
            path,
            length: metadata.len(),
        })
    }

    /// The zip that will be at this path and of this length by the time a request is sent. Nothing
    /// is looked at, so that a request can be shown before anything is packed.
    pub fn with_length(path: impl Into<PathBuf>, length: u64) -> Self {
        Self {
            path: path.into(),
            length,
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its size in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }
}

/// A multipart form as the platform reads it.
#[derive(Debug, Default)]
pub struct Form(multipart::Form);

impl Form {
    /// A form without fields.
    pub fn new() -> Self {
        Self(multipart::Form::new())
    }

    /// A form with a field for each property of a body: text as that text, any other value as its
    /// JSON text; what is absent is not sent.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] if the body has no JSON form or is not an object.
    pub fn of<T: Serialize + ?Sized>(body: &T) -> Result<Self, Error> {
        let invalid = |message| Error::InvalidRequest { message };
        let value = serde_json::to_value(body)
            .map_err(|error| invalid(format!("the body has no JSON form: {error}")))?;
        let Value::Object(fields) = value else {
            return Err(invalid("the body is not an object".to_owned()));
        };
        let form = fields
            .into_iter()
            .fold(Self::new(), |form, (name, value)| match value {
                Value::Null => form,
                Value::String(text) => Self(form.0.text(&name, text)),
                other => Self(form.0.text(&name, other.to_string())),
            });
        Ok(form)
    }

    /// Adds the file part.
    #[must_use]
    pub fn artifact(self, artifact: &Artifact) -> Self {
        Self(self.0.file(
            "artifact",
            "artifact.zip",
            "application/zip",
            Body::file(artifact.path.clone(), artifact.length),
        ))
    }

    /// The value of `Content-Type`, and the body, whose length is known.
    pub fn into_body(self) -> (HeaderValue, Body) {
        self.0.into_body()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use serde_json::json;

    use super::*;

    async fn sent(form: Form) -> String {
        let (content_type, body) = form.into_body();
        let boundary = content_type
            .to_str()
            .unwrap()
            .split_once("boundary=")
            .unwrap()
            .1
            .to_owned();
        let length = body.len().unwrap();
        let bytes = body.collect().await.unwrap().to_bytes();
        assert_eq!(bytes.len() as u64, length);
        String::from_utf8(bytes.to_vec())
            .unwrap()
            .replace(&boundary, "B")
            .replace("\r\n", "|")
    }

    #[tokio::test]
    async fn text_goes_as_it_is_other_values_as_json_and_nothing_for_nothing() {
        let body = json!({
            "a": "text", "b": true, "c": 1, "d": null, "e": [], "f": { "g": "h" }
        });
        assert_eq!(
            sent(Form::of(&body).unwrap()).await,
            "--B|Content-Disposition: form-data; name=\"a\"||text|\
             --B|Content-Disposition: form-data; name=\"b\"||true|\
             --B|Content-Disposition: form-data; name=\"c\"||1|\
             --B|Content-Disposition: form-data; name=\"e\"||[]|\
             --B|Content-Disposition: form-data; name=\"f\"||{\"g\":\"h\"}|\
             --B--|"
        );
        assert!(matches!(
            Form::of("text"),
            Err(Error::InvalidRequest { .. })
        ));
    }

    #[tokio::test]
    async fn the_artifact_is_a_zip_of_one_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "zip").unwrap();
        let artifact = Artifact::file(file.path()).unwrap();
        assert_eq!((artifact.path(), artifact.length()), (file.path(), 3));
        assert_eq!(
            sent(Form::new().artifact(&artifact)).await,
            "--B|Content-Disposition: form-data; name=\"artifact\"; filename=\"artifact.zip\"|\
             Content-Type: application/zip||zip|--B--|"
        );
    }

    #[test]
    fn an_artifact_is_a_file() {
        let place = tempfile::tempdir().unwrap();
        assert!(Artifact::file(place.path()).is_err());
        assert!(Artifact::file(place.path().join("missing")).is_err());
    }
}
