//! Taking in the body of a request.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;

use crate::routes::blocking;
use crate::routes::failure::{Code, Failure};
use crate::routes::sessions::Held;
use crate::routes::share::Share;
use crate::store::StoreError;

/// How many bytes are collected, while there are few bodies, before they go to the disk together:
/// this bounds the memory of an upload and keeps the number of switches to a blocking thread low.
const BATCH: usize = 512 * 1024;

/// How many frames are collected at most: each takes memory of its own, and a client can send a byte
/// in each.
const BATCH_FRAMES: usize = 1024;

/// What a body is held to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// The longest time without a byte.
    pub(crate) idle: Duration,
    /// The largest blob in bytes, if there is a limit.
    pub(crate) blob_size: Option<u64>,
}

/// Appends the body to the upload, on disk as it arrives.
///
/// If the body breaks off, what arrived stays in the upload: the client asks how far it got and
/// goes on from there. `length` is what the client said that the body has.
pub(crate) async fn append(
    body: Body,
    mut held: Held,
    length: Option<u64>,
    limits: Limits,
    share: Share,
) -> Result<Held, Failure> {
    let start = held.upload()?.received();
    if let Some(length) = length {
        check_size(start.saturating_add(length), limits)?;
    }
    let mut frames = body.into_data_stream();
    let mut arrived: u64 = 0;
    let end = loop {
        let mut batch = Vec::new();
        let mut collected = 0;
        let enough = share.size(BATCH);
        let end = loop {
            match next_frame(&mut frames, limits.idle, Code::BlobUploadInvalid).await {
                Ok(Some(frame)) => {
                    arrived = arrived.saturating_add(frame.len() as u64);
                    if let Err(failure) = check_arrived(start, arrived, length, limits) {
                        break Some(Err(failure));
                    }
                    collected += frame.len();
                    batch.push(frame);
                    if collected >= enough || batch.len() >= BATCH_FRAMES {
                        break None;
                    }
                }
                Ok(None) => break Some(Ok(())),
                Err(failure) => break Some(Err(failure)),
            }
        };
        if !batch.is_empty() {
            held = write(held, batch).await?;
        }
        if let Some(end) = end {
            break end;
        }
    };
    end?;
    match length {
        Some(length) if length != arrived => Err(Failure::bad_request(
            Code::SizeInvalid,
            format!("{length} bytes were announced, but {arrived} came"),
        )),
        _ => Ok(held),
    }
}

/// Reads a body of at most `limit` bytes into memory.
pub(crate) async fn whole(
    body: Body,
    headers: &HeaderMap,
    limit: u64,
    idle: Duration,
) -> Result<Bytes, Failure> {
    let too_large = || {
        Failure::too_large(
            Code::SizeInvalid,
            format!("a manifest has at most {limit} bytes"),
        )
    };
    if content_length(headers).is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let mut frames = body.into_data_stream();
    let mut bytes = BytesMut::new();
    while let Some(frame) = next_frame(&mut frames, idle, Code::ManifestInvalid).await? {
        if bytes.len() as u64 + frame.len() as u64 > limit {
            return Err(too_large());
        }
        bytes.extend_from_slice(&frame);
    }
    Ok(bytes.freeze())
}

/// The length of the body as the header has it; the server's HTTP layer has checked it.
pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

async fn next_frame(
    frames: &mut axum::body::BodyDataStream,
    idle: Duration,
    code: Code,
) -> Result<Option<Bytes>, Failure> {
    match tokio::time::timeout(idle, frames.next()).await {
        Ok(frame) => frame
            .transpose()
            .map_err(|error| Failure::bad_request(code, format!("the body broke off: {error}"))),
        Err(_) => Err(Failure::new(
            StatusCode::REQUEST_TIMEOUT,
            code,
            format!("no byte came for {} s", idle.as_secs()),
        )),
    }
}

fn check_arrived(
    start: u64,
    arrived: u64,
    length: Option<u64>,
    limits: Limits,
) -> Result<(), Failure> {
    if let Some(length) = length.filter(|length| arrived > *length) {
        return Err(Failure::bad_request(
            Code::SizeInvalid,
            format!("more came than the {length} bytes that were announced"),
        ));
    }
    check_size(start.saturating_add(arrived), limits)
}

fn check_size(size: u64, limits: Limits) -> Result<(), Failure> {
    match limits.blob_size {
        Some(limit) if size > limit => Err(Failure::too_large(
            Code::SizeInvalid,
            format!("this registry takes blobs of at most {limit} bytes"),
        )),
        _ => Ok(()),
    }
}

async fn write(mut held: Held, batch: Vec<Bytes>) -> Result<Held, Failure> {
    blocking(move || {
        let upload = held.upload_mut().ok_or(StoreError::UploadBroken)?;
        match batch.iter().try_for_each(|bytes| upload.write(bytes)) {
            Ok(()) => Ok(held),
            Err(error) => {
                // What is on disk now is not known, so nobody may go on with it.
                drop(held.take());
                Err(error)
            }
        }
    })
    .await
}
