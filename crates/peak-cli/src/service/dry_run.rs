//! Requests that are shown and not sent.

use clap::Args;
use http::{Request, header};
use peak_sdk::http::Body;
use peak_sdk::http::redact::HIDDEN;
use peak_sdk::pack::tree;
use peak_sdk::platform::Session;
use serde_json::{Map, Value, json};

use super::Upload;
use crate::commands::pack::files_as_json;
use crate::error::CliError;
use crate::output::{Output, printable};
use crate::view::cell;

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
    /// The request as this session would send it, with its body as a value, and when it would be sent if that depends.
    pub(crate) fn of(
        session: &Session,
        request: &Request<Body>,
        body: Option<&Value>,
        when: Option<&str>,
    ) -> Self {
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
        // Another machine is never asked without a token, so that one is only not set yet.
        if session.token().is_some() || !session.endpoint().is_loopback() {
            headers.insert(header::AUTHORIZATION.to_string(), Value::from(HIDDEN));
        }
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

/// The body with tokens hidden, and what a repository's URL holds before its host. FILE may have them where they do
/// not belong, and build details as text.
fn without_secrets(body: &Value) -> Value {
    match body {
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .map(|(name, value)| (name.clone(), field_without_secrets(name, value)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(without_secrets).collect()),
        other => other.clone(),
    }
}

fn field_without_secrets(name: &str, value: &Value) -> Value {
    match (name.to_ascii_lowercase().as_str(), value) {
        ("token", Value::Null) => Value::Null,
        ("token", _) => Value::from(HIDDEN),
        ("repository", Value::String(url)) => Value::from(without_user_information(url)),
        ("builddetails" | "build_details", Value::String(text)) => {
            // What cannot be read cannot be searched for a token.
            serde_json::from_str(text).map_or_else(
                |_| Value::from(HIDDEN),
                |details| Value::from(without_secrets(&details).to_string()),
            )
        }
        (_, value) => without_secrets(value),
    }
}

/// The URL with what stands before an `@` in its authority hidden.
fn without_user_information(url: &str) -> String {
    let start = url.find("://").map_or(0, |at| at + "://".len());
    let Some((scheme, rest)) = url.split_at_checked(start) else {
        return HIDDEN.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
    match authority.rsplit_once('@') {
        // The user of `git@HOST:PATH` is no secret.
        None | Some(("git", _)) => url.to_owned(),
        Some((_, host)) => format!("{scheme}{HIDDEN}@{host}{path}"),
    }
}

/// Shows requests, and the files that would be packed.
pub(crate) fn show_requests(
    output: Output,
    requests: &[Shown],
    upload: Option<&Upload>,
) -> Result<(), CliError> {
    show_plan(output, requests, upload, None)
}

/// As [`show_requests`], with where the built image would be copied.
pub(crate) fn show_plan(
    output: Output,
    requests: &[Shown],
    upload: Option<&Upload>,
    copies: Option<&[String]>,
) -> Result<(), CliError> {
    let files = upload.and_then(Upload::files);
    let mut document = json!({
        "requests": requests.iter().map(|shown| &shown.0).collect::<Vec<_>>(),
        "artifact": files.map(files_as_json),
    });
    if let (Some(copies), Some(document)) = (copies, document.as_object_mut()) {
        document.insert("to".to_owned(), json!(copies));
    }
    output.value(&document, || {
        let mut text = String::new();
        for Shown(request) in requests {
            text.push_str(&request_as_text(request));
        }
        if let Some(files) = files {
            text.extend([format!("{}\n\n", tree(files))]);
        }
        for place in copies.into_iter().flatten() {
            text.extend([format!(
                "the image would be copied to {}\n",
                printable(place)
            )]);
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
    fn secrets_are_hidden_wherever_a_file_puts_them() {
        let hidden = |body: Value| {
            let shown = without_secrets(&body).to_string();
            assert!(!shown.contains("s3cret"), "{shown}");
            shown
        };
        for body in [
            json!({"token": "s3cret"}),
            json!({"build_details": {"token": "s3cret"}}),
            json!({"buildDetails": "{\"token\": \"s3cret\"}"}),
            json!({"buildDetails": "{token: s3cret}"}),
            json!({"buildDetails": {"Token": ["s3cret"]}}),
            json!({"buildDetails": [{"token": {"x": "s3cret"}}]}),
            json!({"buildDetails": {"repository": "https://user:s3cret@github.com/a/b"}}),
            json!({"buildDetails": {"repository": "https://s3cret@github.com/a@b"}}),
            json!({"buildDetails": {"repository": "https://a@s3cret@github.com"}}),
        ] {
            hidden(body);
        }
        for url in [
            "https://github.com/a/b@c",
            "git@github.com:a/b",
            "https://git@github.com/a",
        ] {
            let body = json!({"repository": url});
            assert_eq!(without_secrets(&body), body);
        }
        assert_eq!(
            hidden(json!({"buildDetails": "{\"source\": \"github\", \"token\": \"s3cret\"}"})),
            json!({"buildDetails": "{\"source\":\"github\",\"token\":\"REDACTED\"}"}).to_string()
        );
    }

    #[test]
    fn a_request_is_shown_without_secrets() {
        let request = Request::post("https://x.example/a?b=c")
            .header("content-type", "multipart/form-data; boundary=random")
            .body(Body::empty())
            .unwrap();
        let body = json!({"name": "n", "buildDetails": {"token": "s3cret", "source": "github"}});
        let session = |token: &str| {
            let builder = Session::builder().endpoint("http://127.0.0.1:1".parse().unwrap());
            builder.token(token.to_owned().into()).build().unwrap()
        };
        let Shown(open) = Shown::of(&session(""), &request, None, None);
        assert!(!open.to_string().contains("authorization"), "{open}");
        let Shown(shown) = Shown::of(&session("t"), &request, Some(&body), None);
        assert_eq!(
            shown,
            json!({
                "method": "POST",
                "url": "https://x.example/a?b=c",
                "headers": {"authorization": "REDACTED", "content-type": "multipart/form-data"},
                "body": {"name": "n", "buildDetails": {"token": "REDACTED", "source": "github"}},
            })
        );
        assert_eq!(
            request_as_text(&shown),
            "POST https://x.example/a?b=c\nauthorization: REDACTED\ncontent-type: multipart/form-data\n\n\
             buildDetails = {\"source\":\"github\",\"token\":\"REDACTED\"}\nname = n\n\n"
        );
    }
}
