//! Versions of the Engine's API.

use std::fmt;
use std::str::FromStr;

/// A version of the Engine's API, such as `1.41`, which is that of Docker Engine 20.10.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiVersion {
    major: u16,
    minor: u16,
}

impl ApiVersion {
    /// The oldest that is spoken: Docker 1.12, of 2016.
    pub const OLDEST: Self = Self::new(1, 24);
    /// The newest whose description the requests here were compared with. Newer Engines answer it too.
    pub const NEWEST: Self = Self::new(1, 51);

    pub(crate) const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }

    /// What to speak with an Engine whose newest version is `offered`: that, or ours where ours is older. `None` if it is
    /// too old.
    pub(crate) fn agree(offered: Self) -> Option<Self> {
        (offered >= Self::OLDEST).then(|| offered.min(Self::NEWEST))
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

/// Why a text is no [`ApiVersion`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a version of the Engine's API has the form 1.41")]
pub struct ApiVersionError;

impl FromStr for ApiVersion {
    type Err = ApiVersionError;

    fn from_str(text: &str) -> Result<Self, ApiVersionError> {
        let number = |part: &str| {
            let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| part.parse().ok()).flatten()
        };
        let (major, minor) = text.split_once('.').ok_or(ApiVersionError)?;
        match (number(major), number(minor)) {
            (Some(major), Some(minor)) => Ok(Self { major, minor }),
            _ => Err(ApiVersionError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        let version = |text: &str| text.parse::<ApiVersion>().unwrap();
        assert!(version("1.9") < version("1.24"));
        assert_eq!(ApiVersion::agree(version("1.41")), Some(version("1.41")));
        assert_eq!(ApiVersion::agree(version("1.99")), Some(ApiVersion::NEWEST));
        assert_eq!(ApiVersion::agree(version("2.0")), Some(ApiVersion::NEWEST));
        assert_eq!(ApiVersion::agree(version("1.23")), None);
        assert_eq!(version("1.41").to_string(), "1.41");
        for bad in ["", "1", "1.", ".4", "1.4.1", "+1.4", "1.-4", "1.99999999"] {
            assert!(bad.parse::<ApiVersion>().is_err(), "{bad}");
        }
    }
}
