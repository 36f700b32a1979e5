//! Receiving a multipart form: text fields in memory, within bounds, and the archive on the disk.

use std::collections::HashMap;
use std::time::Duration;

use axum::RequestExt;
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{Multipart, Request};
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderMap, StatusCode};

use super::Application;
use super::error::ApiError;
use super::json::shown;
use super::query::Parameters;
use crate::artifacts::Spooled;

/// How much longer a body may be than the largest archive, bytes: the other fields and the form itself.
pub(super) const FORM_ALLOWANCE: u64 = 2 * 1024 * 1024;

/// The longest text field, bytes. The text of a Dockerfile is a part of one.
const TEXT_LIMIT: usize = 1024 * 1024;

/// The most parts of a form.
const PARTS: usize = 64;

/// A client that sends nothing for so long is given up.
pub(super) const IDLE: Duration = Duration::from_secs(30);

/// The part with the archive.
const ARTIFACT: &str = "artifact";

/// The file name and the type that the part with the archive must have.
const ARTIFACT_FILE: &str = "artifact.zip";
const ARTIFACT_TYPE: &str = "application/zip";

/// A form that has arrived whole.
#[derive(Default)]
pub(super) struct Form {
    pub(super) texts: HashMap<&'static str, String>,
    pub(super) artifact: Option<Spooled>,
}

/// Receives a form that may have these text fields and an archive. Nothing of it is kept where this fails or is
/// dropped.
pub(super) async fn receive(
    application: &Application,
    request: Request,
    fields: &[&'static str],
) -> Result<Form, ApiError> {
    Parameters::of(request.uri()).none()?;
    check_length(request.headers(), application.artifact_limit)?;
    let mut multipart: Multipart = request.extract().await.map_err(|_| {
        ApiError::malformed(
            "the body must be `multipart/form-data` with a boundary in its `Content-Type`",
        )
    })?;
    let mut form = Form::default();
    for _ in 0..PARTS {
        let Some(field) = in_time(multipart.next_field()).await? else {
            return Ok(form);
        };
        let Some(name) = field.name() else {
            return Err(ApiError::malformed("a part of the form has no name"));
        };
        if name == ARTIFACT {
            check_artifact_head(&field)?;
            if form.artifact.is_some() {
                return Err(twice(ARTIFACT));
            }
            form.artifact = Some(receive_artifact(application, field).await?);
            continue;
        }
        let Some(known) = fields.iter().find(|known| **known == name) else {
            return Err(ApiError::malformed(format!(
                "the form has a field `{}` that is not known here; there are: {}, {ARTIFACT}",
                shown(name),
                fields.join(", ")
            )));
        };
        if field.file_name().is_some() {
            return Err(ApiError::malformed(format!(
                "the field `{known}` is a text and must have no file name"
            )));
        }
        if form.texts.contains_key(known) {
            return Err(twice(known));
        }
        let text = receive_text(known, field).await?;
        form.texts.insert(known, text);
    }
    Err(ApiError::malformed(format!(
        "the form has more than {PARTS} parts"
    )))
}

/// The part with the archive must say that it is one.
fn check_artifact_head(field: &Field<'_>) -> Result<(), ApiError> {
    if field.file_name() == Some(ARTIFACT_FILE) && field.content_type() == Some(ARTIFACT_TYPE) {
        return Ok(());
    }
    Err(ApiError::malformed(format!(
        "the part `{ARTIFACT}` must have the file name `{ARTIFACT_FILE}` and the type `{ARTIFACT_TYPE}`"
    )))
}

/// A length must be given, so that a body that is too long is known before it is read. The connection
/// delivers no more than that length.
fn check_length(headers: &HeaderMap, artifact_limit: u64) -> Result<(), ApiError> {
    let Some(length) = headers.get(CONTENT_LENGTH) else {
        return Err(ApiError::new(
            StatusCode::LENGTH_REQUIRED,
            "the request needs a `Content-Length`; send the form with a known length, not in chunks",
        ));
    };
    let length = length
        .to_str()
        .ok()
        .and_then(|text| text.parse::<u64>().ok());
    let length =
        length.ok_or_else(|| ApiError::malformed("the `Content-Length` is not a number"))?;
    if length > artifact_limit.saturating_add(FORM_ALLOWANCE) {
        return Err(artifact_too_large(artifact_limit));
    }
    Ok(())
}

fn artifact_too_large(limit: u64) -> ApiError {
    ApiError::too_large(format!(
        "the artifact is larger than the limit of {limit} bytes; a dry run shows what is in it, an ignore file leaves \
         files out"
    ))
}

fn twice(name: &str) -> ApiError {
    ApiError::malformed(format!("the form has the part `{name}` twice"))
}

async fn receive_artifact(
    application: &Application,
    mut field: Field<'_>,
) -> Result<Spooled, ApiError> {
    let mut spool = application
        .shared
        .blocking(|shared| shared.artifacts.spool())
        .await??;
    while let Some(bytes) = in_time(field.chunk()).await? {
        spool.write(&bytes).await?;
        if spool.size() > application.artifact_limit {
            return Err(artifact_too_large(application.artifact_limit));
        }
    }
    let spooled = spool.finish().await?;
    if spooled.size() == 0 {
        return Err(ApiError::impossible("the artifact is empty"));
    }
    Ok(spooled)
}

async fn receive_text(name: &str, mut field: Field<'_>) -> Result<String, ApiError> {
    let mut text = Vec::new();
    while let Some(bytes) = in_time(field.chunk()).await? {
        if text.len().saturating_add(bytes.len()) > TEXT_LIMIT {
            return Err(ApiError::too_large(format!(
                "the field `{name}` is longer than {TEXT_LIMIT} bytes"
            )));
        }
        text.extend_from_slice(&bytes);
    }
    String::from_utf8(text)
        .map_err(|_| ApiError::malformed(format!("the field `{name}` is not UTF-8")))
}

async fn in_time<T>(step: impl Future<Output = Result<T, MultipartError>>) -> Result<T, ApiError> {
    match tokio::time::timeout(IDLE, step).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(ApiError::malformed(format!(
            "the form is malformed or ends early: {}",
            error.body_text()
        ))),
        Err(_) => Err(ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            format!("nothing of the body arrived for {} seconds", IDLE.as_secs()),
        )),
    }
}
