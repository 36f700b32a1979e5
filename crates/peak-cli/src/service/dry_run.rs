//! Requests that are shown and not sent.

use clap::Args;
use http::{Request, header};
use peak_sdk::http::Body;
use peak_sdk::pack::tree;
use serde_json::{Map, Value, json};

use super::Upload;
use crate::commands::pack::files_as_json;
use crate::error::CliError;
use crate::output::{Output, printable};
use crate::view::cell;

/// What stands where a secret was.
const HIDDEN: &str = "[hidden]";

/// Whether to send.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct DryRun {
    /// Show what would be sent, and send nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// A request as it is shown.
pub(crate) struct Shown(Value);

impl Shown {
    /// The request, with its body as a value, and when it would be sent if that depends.
    pub(crate) fn of(request: &Request<Body>, body: Option<&Value>, when: Option<&str>) -> Self {
        let mut headers = Map::new();
        for (name, value) in request.headers() {
            let text = value.to_str().unwrap_or(HIDDEN);
            let text = if name == header::CONTENT_TYPE {
                // The boundary is another one each time.
                text.split(';').next().unwrap_or(text)
            } else {
                text
            };
            headers.insert(name.to_string(), Value::from(text));
        }
        headers.insert(header::AUTHORIZATION.to_string(), Value::from(HIDDEN));
        let mut shown = json!({
            "method": request.method().as_str(),
            "url": request.uri().to_string(),
            "headers": headers,
            "body": body.map(without_secrets),
        });
        if let (Some(when), Some(shown)) = (when, shown.as_object_mut()) {
            shown.insert("when".to_owned(), Value::from(when));
        }
        Self(shown)
    }
}

/// The body with the token of its build details hidden.
fn without_secrets(body: &Value) -> Value {
    let mut body = body.clone();
    if let Some(token) = body.pointer_mut("/buildDetails/token") {
        *token = Value::from(HIDDEN);
    }
    body
}

/// Shows requests, and the files that would be packed.
pub(crate) fn show_requests(
    output: Output,
    requests: &[Shown],
    upload: Option<&Upload>,
) -> Result<(), CliError> {
    let files = upload.and_then(Upload::files);
    let document = json!({
        "requests": requests.iter().map(|shown| &shown.0).collect::<Vec<_>>(),
        "artifact": files.map(files_as_json),
    });
    output.value(&document, || {
        let mut text = String::new();
        for Shown(request) in requests {
            text.push_str(&request_as_text(request));
        }
        if let Some(files) = files {
            text.extend([format!("{}\n\n", tree(files))]);
        }
        text.push_str("nothing was sent\n");
        Ok(text)
    })
}

fn request_as_text(request: &Value) -> String {
    let part = |name: &str| {
        request
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let mut text = format!("{} {}\n", part("method"), part("url"));
    if request.get("when").is_some() {
        text = format!("{}:\n{text}", part("when"));
    }
    let fields = |name: &str| {
        request
            .get(name)
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
    };
    for (name, value) in fields("headers") {
        text.extend([format!("{name}: {}\n", cell(value))]);
    }
    text.push('\n');
    let mut body = false;
    for (name, value) in fields("body") {
        let value = match value {
            Value::String(text) => printable(text),
            other => other.to_string(),
        };
        text.extend([format!("{name} = {value}\n")]);
        body = true;
    }
    if body {
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_shown_without_secrets() {
        let request = Request::post("https://x.example/a?b=c")
            .header("content-type", "multipart/form-data; boundary=random")
            .body(Body::empty())
            .unwrap();
        let body = json!({"name": "n", "buildDetails": {"token": "s3cret", "source": "github"}});
        let Shown(shown) = Shown::of(&request, Some(&body), None);
        assert_eq!(
            shown,
            json!({
                "method": "POST",
                "url": "https://x.example/a?b=c",
                "headers": {"authorization": "[hidden]", "content-type": "multipart/form-data"},
                "body": {"name": "n", "buildDetails": {"token": "[hidden]", "source": "github"}},
            })
        );
        assert_eq!(
            request_as_text(&shown),
            "POST https://x.example/a?b=c\nauthorization: [hidden]\ncontent-type: multipart/form-data\n\n\
             buildDetails = {\"source\":\"github\",\"token\":\"[hidden]\"}\nname = n\n\n"
        );
    }
}
