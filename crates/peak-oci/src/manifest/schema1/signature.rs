//! The JSON web signatures in a schema 1 manifest, as far as they say what was signed.

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;

use super::Schema1Manifest;
use crate::json::{Fields, FromJson, Json, JsonError, parse};
use crate::media_type::MediaType;

/// Base64 as in a JWS (RFC 7515), with or without padding.
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A signature of a schema 1 manifest. It is kept for those who want to look at it; nothing here verifies it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Schema1Signature {
    /// The algorithm, `ES256`.
    pub algorithm: Option<String>,
    /// The identifier of the key.
    pub key_id: Option<String>,
    /// The header that is signed too, in base64url: it says what part of the text is signed.
    pub protected: String,
    /// The signature, in base64url.
    pub signature: String,
}

impl FromJson for Schema1Signature {
    fn from_json(value: Json) -> Result<Self, JsonError> {
        let header = value.get("header");
        let text = |value: Option<&Json>| value.and_then(Json::as_str).map(str::to_owned);
        let key = header.and_then(|header| header.get("jwk"));
        let algorithm = text(header.and_then(|header| header.get("alg")));
        let key_id = text(key.and_then(|key| key.get("kid")));
        let mut fields = Fields::of(value)?;
        Ok(Self {
            algorithm,
            key_id,
            protected: fields.required("protected")?,
            signature: fields.required("signature")?,
        })
    }
}

/// What a protected header says about the signed text: it is the first `length` bytes of the document and then `tail`.
#[derive(PartialEq, Eq)]
struct Format {
    length: usize,
    tail: Vec<u8>,
}

impl Format {
    fn of(signature: &Schema1Signature) -> Result<Self, JsonError> {
        let header = parse(&decode(&signature.protected)?)?;
        let mut fields = Fields::of(header)?;
        let length: u64 = fields.required("formatLength")?;
        let tail: String = fields.required("formatTail")?;
        Ok(Self {
            length: usize::try_from(length).unwrap_or(usize::MAX),
            tail: decode(&tail).map_err(|error| error.below("formatTail"))?,
        })
    }
}

fn decode(text: &str) -> Result<Vec<u8>, JsonError> {
    BASE64_URL
        .decode(text)
        .map_err(|error| JsonError::here(format!("not base64url: {error}")))
}

/// The text that the signatures of a manifest are for; `None` where there are no signatures. `bytes` are those that
/// `manifest` was read from.
///
/// All signatures have to be for the same text, and that has to say what the whole document says: the digest is that of
/// the signed text, so nothing beside it may be believed.
pub(in crate::manifest) fn payload(
    bytes: &Bytes,
    manifest: &Schema1Manifest,
) -> Result<Option<Bytes>, JsonError> {
    let mut common: Option<Format> = None;
    for (index, signature) in manifest.signatures.iter().enumerate() {
        let in_place = |error: JsonError| {
            JsonError::here(format!("the protected header cannot be used: {error}"))
                .below("protected")
                .below_index(index)
                .below("signatures")
        };
        let format = Format::of(signature).map_err(in_place)?;
        match &common {
            Some(first) if *first != format => {
                return Err(in_place(JsonError::here(
                    "it is for another text than the first signature",
                )));
            }
            _ => common = Some(format),
        }
    }
    let Some(Format { length, tail }) = common else {
        return Ok(None);
    };
    let wrong = |reason: String| JsonError::here(reason).below("signatures");
    let Some(head) = bytes.get(..length) else {
        return Err(wrong(format!(
            "the signed part is {length} bytes long, the document {}",
            bytes.len()
        )));
    };
    let payload = [head, &tail].concat();
    let signed = parse(&payload)
        .and_then(|document| {
            Schema1Manifest::from_document(document, MediaType::DOCKER_MANIFEST_V1)
        })
        .map_err(|error| wrong(format!("the signed part is no manifest: {error}")))?;
    let unsigned = Schema1Manifest {
        media_type: MediaType::DOCKER_MANIFEST_V1,
        signatures: Vec::new(),
        ..manifest.clone()
    };
    if signed == unsigned {
        Ok(Some(payload.into()))
    } else {
        Err(wrong(
            "the signed part says something else than the whole document".to_owned(),
        ))
    }
}
