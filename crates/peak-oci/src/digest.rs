//! Content digests: `sha256:<hex>` and `sha512:<hex>`.

use std::fmt;
use std::str::FromStr;

use crate::hash::State;
use crate::text::{Excerpt, text_value};

/// A digest algorithm that is computed and verified here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// SHA-256, the algorithm that every registry knows.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// The name as it stands before the colon of a digest.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// How many hexadecimal digits a digest of this algorithm has.
    pub const fn hex_length(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        match text {
            "sha256" => Ok(Self::Sha256),
            "sha512" => Ok(Self::Sha512),
            other => Err(DigestError::UnsupportedAlgorithm {
                algorithm: other.chars().take(64).collect(),
            }),
        }
    }
}

/// Why a text is not a digest that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DigestError {
    /// The text has not the form `algorithm:hex`.
    #[error(
        "{} is not a digest; the form is `sha256:` and 64 hexadecimal digits",
        Excerpt(text)
    )]
    Malformed {
        /// The text as given, cut to a sensible length.
        text: String,
    },
    /// The text is well formed but the algorithm is not one that can be verified.
    #[error(
        "the digest algorithm {} is not supported; use sha256 or sha512",
        Excerpt(algorithm)
    )]
    UnsupportedAlgorithm {
        /// The name of the algorithm.
        algorithm: String,
    },
    /// The hexadecimal part has not the length that its algorithm gives.
    #[error("a {algorithm} digest has {} hexadecimal digits, not {actual}", algorithm.hex_length())]
    Length {
        /// The algorithm before the colon.
        algorithm: Algorithm,
        /// The length that was found.
        actual: usize,
    },
    /// The hexadecimal part has a character other than `0-9` and `a-f`.
    #[error("the digits of a {algorithm} digest are 0-9 and a-f in lower case, not {character:?}")]
    Character {
        /// The algorithm before the colon.
        algorithm: Algorithm,
        /// The first character that does not belong there.
        character: char,
    },
}

/// A parsed digest: algorithm and lower-case hexadecimal digits, so that two digests are equal exactly when their values are.
///
/// ```
/// use peak_oci::Digest;
/// let digest = Digest::sha256_of(b"");
/// assert_eq!(digest.to_string(), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
/// assert_eq!(digest.to_string().parse::<Digest>(), Ok(digest));
/// assert!("md5:d41d8cd98f00b204e9800998ecf8427e".parse::<Digest>().unwrap_err().to_string().contains("md5"));
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    algorithm: Algorithm,
    text: Box<str>,
}

impl Digest {
    /// The SHA-256 digest of `bytes`.
    pub fn sha256_of(bytes: &[u8]) -> Self {
        Self::of(Algorithm::Sha256, bytes)
    }

    /// The digest of `bytes` by `algorithm`.
    pub fn of(algorithm: Algorithm, bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The hexadecimal digits after the colon, always lower case.
    pub fn hex(&self) -> &str {
        self.text.split_once(':').map_or("", |(_, hex)| hex)
    }

    /// The whole text, `algorithm:hex`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn from_hash(algorithm: Algorithm, hash: &[u8]) -> Self {
        use fmt::Write as _;
        let mut text = String::with_capacity(algorithm.as_str().len() + 1 + algorithm.hex_length());
        text.push_str(algorithm.as_str());
        text.push(':');
        for byte in hash {
            // Writing into a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        Self {
            algorithm,
            text: text.into_boxed_str(),
        }
    }
}

text_value!(Digest);

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Digest({})", self.text)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let malformed = || DigestError::Malformed {
            text: text.chars().take(200).collect(),
        };
        let (name, hex) = text.split_once(':').ok_or_else(malformed)?;
        if !is_algorithm_name(name) {
            return Err(malformed());
        }
        let algorithm: Algorithm = name.parse()?;
        if let Some(character) = hex
            .chars()
            .find(|character| !matches!(character, '0'..='9' | 'a'..='f'))
        {
            return Err(DigestError::Character {
                algorithm,
                character,
            });
        }
        if hex.len() != algorithm.hex_length() {
            return Err(DigestError::Length {
                algorithm,
                actual: hex.len(),
            });
        }
        Ok(Self {
            algorithm,
            text: text.into(),
        })
    }
}

/// The grammar of the part before the colon: lower-case words joined by one of `+._-` (image-spec, descriptor.md, Digests).
fn is_algorithm_name(name: &str) -> bool {
    name.split(['+', '.', '_', '-']).all(|word| {
        !word.is_empty()
            && word
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    })
}

/// Computes a [`Digest`] while bytes stream by.
#[derive(Clone)]
pub struct Hasher {
    algorithm: Algorithm,
    state: State,
}

impl Hasher {
    /// A hasher that has seen nothing yet.
    pub fn new(algorithm: Algorithm) -> Self {
        Self {
            algorithm,
            state: State::new(algorithm),
        }
    }

    /// The algorithm it was made for.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Takes the next bytes in.
    pub fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
    }

    /// The digest of everything taken in.
    pub fn finish(self) -> Digest {
        Digest::from_hash(self.algorithm, &self.state.finish())
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Hasher")
            .field("algorithm", &self.algorithm())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        // From FIPS 180-4 and its examples.
        let million = "a".repeat(1_000_000);
        for (message, expected) in [
            (
                "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "sha256:248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
            ),
            (
                &million,
                "sha256:cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
            ),
            (
                "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
                "sha512:8e959b75dae313da8cf4f72814fc143f8f7779c6eb9f7fa17299aeadb6889018\
                 501d289e4900f7e4331b99dec4b5433ac7d329eeb6dd26545e96e55b874be909",
            ),
            (
                &million,
                "sha512:e718483d0ce769644e2e42c7bc15b4638e1f98b13b2044285632a803afa973eb\
                 de0ff244877ea60a4cb0432ce577c31beb009c5c2c49aa2e4eadb217ad8cc09b",
            ),
        ] {
            let expected: Digest = expected.parse().unwrap();
            assert_eq!(
                Digest::of(expected.algorithm(), message.as_bytes()),
                expected
            );
        }
        assert_eq!(
            Digest::of(Algorithm::Sha256, b"abc").to_string(),
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(
            Digest::of(Algorithm::Sha512, b"abc").to_string(),
            "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
             2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
        );
    }

    #[test]
    fn errors_say_what_is_wrong() {
        let error = |text: &str| text.parse::<Digest>().expect_err(text);
        let hex = "0".repeat(64);
        for algorithm in ["md5", "sha384", "sha256+b64", "blake3"] {
            let expected = DigestError::UnsupportedAlgorithm {
                algorithm: algorithm.to_owned(),
            };
            assert_eq!(error(&format!("{algorithm}:{hex}")), expected);
            assert!(expected.to_string().contains(algorithm));
        }
        assert_eq!(
            error(&format!("sha256:{hex}0")),
            DigestError::Length {
                algorithm: Algorithm::Sha256,
                actual: 65
            }
        );
        assert_eq!(
            error(&format!("sha256:A{}", "0".repeat(63))),
            DigestError::Character {
                algorithm: Algorithm::Sha256,
                character: 'A'
            }
        );
        for text in ["", "sha256", "SHA256:00", ":00", "sha256-:00", "a b:00"] {
            assert!(
                matches!(error(text), DigestError::Malformed { .. }),
                "{text:?}"
            );
        }
    }
}
