//! `multipart/form-data` bodies (RFC 7578) with an exact length, streamed and replayable.

use std::fmt::Write as _;

use http::HeaderValue;

use crate::body::Body;

/// A form under construction.
///
/// ```
/// use peak_http::{Body, multipart::Form};
///
/// let (content_type, body) = Form::new()
///     .text("name", "hello")
///     .file("artifact", "artifact.zip", "application/zip", Body::from("zip bytes"))
///     .into_body();
/// assert!(content_type.to_str().is_ok_and(|text| text.starts_with("multipart/form-data; boundary=")));
/// assert!(body.len().is_some() && body.is_replayable());
/// ```
#[derive(Debug)]
pub struct Form {
    boundary: String,
    parts: Vec<Body>,
}

impl Default for Form {
    fn default() -> Self {
        Self::new()
    }
}

impl Form {
    /// An empty form with a random boundary: 128 bits in hex, which no content holds by chance.
    pub fn new() -> Self {
        Self {
            boundary: format!("{:032x}", rand::random::<u128>()),
            parts: Vec::new(),
        }
    }

    /// Adds a text field. The value goes as it is, line ends included.
    #[must_use]
    pub fn text(mut self, name: &str, value: impl Into<String>) -> Self {
        self.open_part(&format!("name=\"{}\"", escape(name)), None);
        self.parts.push(Body::from(value.into()));
        self.parts.push(Body::from("\r\n"));
        self
    }

    /// Adds a file field. A `content_type` that could not stand in a header (it must be visible ASCII with one `/`)
    /// is replaced by `application/octet-stream`.
    #[must_use]
    pub fn file(mut self, name: &str, filename: &str, content_type: &str, content: Body) -> Self {
        let content_type = if is_media_type(content_type) {
            content_type
        } else {
            "application/octet-stream"
        };
        let disposition = format!(
            "name=\"{}\"; filename=\"{}\"",
            escape(name),
            escape(filename)
        );
        self.open_part(&disposition, Some(content_type));
        self.parts.push(content);
        self.parts.push(Body::from("\r\n"));
        self
    }

    /// The value for `Content-Type`, and the body. Its length is known if that of every file is, and it is
    /// replayable if every file is.
    pub fn into_body(mut self) -> (HeaderValue, Body) {
        self.parts
            .push(Body::from(format!("--{}--\r\n", self.boundary)));
        let content_type = format!("multipart/form-data; boundary={}", self.boundary);
        let content_type = HeaderValue::try_from(content_type)
            .unwrap_or_else(|_| HeaderValue::from_static("multipart/form-data"));
        (content_type, Body::chain(self.parts))
    }

    fn open_part(&mut self, disposition: &str, content_type: Option<&str>) {
        let mut head = format!(
            "--{}\r\nContent-Disposition: form-data; {disposition}\r\n",
            self.boundary
        );
        if let Some(content_type) = content_type {
            // Writing to a string does not fail.
            let _ = write!(head, "Content-Type: {content_type}\r\n");
        }
        head.push_str("\r\n");
        self.parts.push(Body::from(head));
    }
}

/// As HTML forms do it: the three characters that could end the value or the line are percent-encoded, the rest is
/// UTF-8 as it is.
fn escape(name: &str) -> String {
    name.replace('\r', "%0D")
        .replace('\n', "%0A")
        .replace('"', "%22")
}

fn is_media_type(text: &str) -> bool {
    let visible = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let mut halves = text.split(';').next().unwrap_or_default().split('/');
    let named = |half: Option<&str>| half.is_some_and(|half| !half.trim().is_empty());
    visible && named(halves.next()) && named(halves.next()) && halves.next().is_none()
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use proptest::prelude::*;

    use super::*;

    async fn text_of(body: Body) -> String {
        let bytes = body.collect().await.unwrap().to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn the_body_is_what_the_standard_says_and_as_long_as_declared() {
        let (content_type, body) = Form::new()
            .text("name", "hello")
            .file(
                "artifact",
                "artifact.zip",
                "application/zip",
                Body::from("PK"),
            )
            .into_body();
        let boundary = content_type
            .to_str()
            .unwrap()
            .strip_prefix("multipart/form-data; boundary=")
            .unwrap()
            .to_owned();
        assert_eq!(boundary.len(), 32);
        assert!(boundary.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let length = body.len().unwrap();
        let again = body.try_clone().unwrap();
        let text = text_of(body).await;
        assert_eq!(text.len() as u64, length);
        assert_eq!(
            text,
            format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\nhello\r\n\
                 --{boundary}\r\nContent-Disposition: form-data; name=\"artifact\"; filename=\"artifact.zip\"\r\n\
                 Content-Type: application/zip\r\n\r\nPK\r\n--{boundary}--\r\n"
            )
        );
        assert_eq!(text_of(again).await, text);
    }

    #[test]
    fn boundaries_differ() {
        assert_ne!(Form::new().boundary, Form::new().boundary);
    }

    #[tokio::test]
    async fn an_empty_form_is_only_its_end() {
        let form = Form::new();
        let expected = format!("--{}--\r\n", form.boundary);
        assert_eq!(text_of(form.into_body().1).await, expected);
    }

    #[tokio::test]
    async fn a_file_of_unknown_length_makes_the_length_unknown() {
        let content = Body::replayable(None, |_| Box::pin(futures_util::stream::empty()));
        let (_, body) = Form::new().file("a", "b", "c/d", content).into_body();
        assert_eq!(body.len(), None);
        assert!(body.is_replayable());
    }

    #[test]
    fn a_content_type_that_is_none_is_replaced() {
        for good in ["application/zip", "text/plain; charset=utf-8"] {
            assert!(is_media_type(good), "{good}");
        }
        for bad in ["", "zip", "a/b\r\nX: y", "a/", "/b", "a/b/c", "täxt/plain"] {
            assert!(!is_media_type(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_name_breaks_out_of_its_header_line(name in any::<String>(), filename in any::<String>(), kind in any::<String>()) {
            let form = Form::new().file(&name, &filename, &kind, Body::empty());
            let boundary = form.boundary.clone();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let text = runtime.block_on(text_of(form.into_body().1));
            let (head, rest) = text.split_once("\r\n\r\n").unwrap();
            let lines: Vec<&str> = head.split(['\r', '\n']).filter(|line| !line.is_empty()).collect();
            prop_assert_eq!(lines.len(), 3);
            prop_assert_eq!(lines[1].matches('"').count(), 4);
            prop_assert!(lines[2].starts_with("Content-Type: "));
            prop_assert_eq!(rest, format!("\r\n--{boundary}--\r\n"));
        }
    }
}
