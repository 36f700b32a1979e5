//! What has to be kept of an upload so that another process can go on with it.

use std::fmt;

use peak_http::redact;
use peak_oci::Digest;
use serde::{Deserialize, Serialize};
use url::Url;

/// An upload that has begun: which blob, where it goes on, and how much of it the registry has.
///
/// It can be kept as text (`serde`) and used by [`Repository::resume_upload`](crate::Repository::resume_upload) in
/// another process. **Where it goes on may be a signed URL, which is as good as a password for this one upload**: keep it
/// in a file that nobody else can read. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct UploadState {
    /// The blob.
    #[serde(with = "text")]
    pub digest: Digest,
    /// How many of its bytes the registry has acknowledged. It is asked again before the upload goes on.
    pub acknowledged: u64,
    #[serde(with = "text")]
    pub(super) location: Url,
}

impl fmt::Debug for UploadState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("UploadState")
            .field("digest", &self.digest)
            .field("acknowledged", &self.acknowledged)
            .field("location", &redact::url(&self.location))
            .finish()
    }
}

/// Values that are kept as their text.
mod text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize as _, Deserializer, Serializer, de};

    pub(super) fn serialize<T: Display, S: Serializer>(
        value: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr,
        T::Err: Display,
        D: Deserializer<'de>,
    {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_kept_as_text_and_shows_no_signature() {
        let state = UploadState {
            digest: Digest::sha256_of(b"x"),
            acknowledged: 7,
            location: Url::parse("https://r.example/u/1?_state=geheim%2Fx").unwrap(),
        };
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<UploadState>(&text).unwrap(), state);
        assert!(text.contains("_state=geheim%2Fx"), "{text}");
        assert!(!format!("{state:?}").contains("geheim"), "{state:?}");
        assert!(serde_json::from_str::<UploadState>(&text.replace("sha256", "md")).is_err());
    }
}
