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

/// The text fields that mean something; others are read and thrown away.
const TEXT_FIELDS: [&str; 9] = [
    "name",
    "type",
    "version",
    "description",
    "buildDetails",
    "autodeployResources",
    "source",
    "scan",
    "validate",
];

/// A form that has arrived whole.
#[derive(Default)]
pub(super) struct Form {
    pub(super) texts: HashMap<&'static str, String>,
    pub(super) artifact: Option<Spooled>,
}

/// Receives a form. Nothing of it is kept where this fails or is dropped.
pub(super) async fn receive(application: &Application, request: Request) -> Result<Form, ApiError> {
    check_length(request.headers(), application.artifact_limit)?;
    let mut multipart: Multipart = request.extract().await.map_err(|_| {
        ApiError::invalid(
            "the body must be `multipart/form-data` with a boundary in its `Content-Type`",
        )
    })?;
    let mut form = Form::default();
    for _ in 0..PARTS {
        let Some(field) = in_time(multipart.next_field()).await? else {
            return Ok(form);
        };
        match field.name() {
            Some(ARTIFACT) => {
                if form.artifact.is_some() {
                    return Err(twice(ARTIFACT));
                }
                form.artifact = Some(receive_artifact(application, field).await?);
            }
            Some(name) => match TEXT_FIELDS.into_iter().find(|known| *known == name) {
                Some(known) => {
                    let text = receive_text(known, field).await?;
                    if form.texts.insert(known, text).is_some() {
                        return Err(twice(known));
                    }
                }
                None => skip(field).await?,
            },
            None => skip(field).await?,
        }
    }
    Err(ApiError::invalid(format!(
        "the form has more than {PARTS} parts"
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
    let length = length.ok_or_else(|| ApiError::invalid("the `Content-Length` is not a number"))?;
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
    ApiError::invalid(format!("the form has the part `{name}` twice"))
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
        return Err(ApiError::invalid("the artifact is empty"));
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
        .map_err(|_| ApiError::invalid(format!("the field `{name}` is not UTF-8")))
}

async fn skip(mut field: Field<'_>) -> Result<(), ApiError> {
    while in_time(field.chunk()).await?.is_some() {}
    Ok(())
}

async fn in_time<T>(step: impl Future<Output = Result<T, MultipartError>>) -> Result<T, ApiError> {
    match tokio::time::timeout(IDLE, step).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(ApiError::invalid(format!(
            "the form is malformed or ends early: {}",
            error.body_text()
        ))),
        Err(_) => Err(ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            format!("nothing of the body arrived for {} seconds", IDLE.as_secs()),
        )),
    }
}
